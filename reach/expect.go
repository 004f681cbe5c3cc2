package reach

import "math"

// Expected is a figure for a time to come, with an interval that holds it 95 times out of 100 if that time is like
// those before it.
type Expected struct {
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	From int     `json:"from"` // how many past times it is made of
	// Enough says that there are LeastPast of them; Low and High are 0 without.
	Enough bool `json:"enough"`
}

// z975 is the 97.5th percentile of the normal distribution.
const z975 = 1.959963984540054

// LeastPast is how many past times an interval needs: with fewer, their spread says next to nothing.
const LeastPast = 3

// Expect estimates the next of past counts of which each person counts with the probability share, each on its own: the
// prediction interval of Student's t for one further observation, and with it that of the draw, added as squares. Counts vary more
// than a normal distribution when one day was a holiday; the interval is then wide rather than wrong.
func Expect(past []float64, share float64) Expected {
	e := Expected{From: len(past), Enough: len(past) >= LeastPast}
	if e.From == 0 {
		return e
	}
	n := float64(e.From)
	var sum, squares float64
	for _, v := range past {
		sum += v
	}
	mean := sum / n
	e.Mean = mean * share
	if !e.Enough {
		return e
	}
	for _, v := range past {
		squares += (v - mean) * (v - mean)
	}
	half := math.Hypot(t975(e.From-1)*share*math.Sqrt(squares/(n-1)*(1+1/n)), z975*math.Sqrt(e.Mean*(1-share)))
	e.Low, e.High = max(e.Mean-half, 0), e.Mean+half
	return e
}

// Vary widens the interval because the mean was multiplied by an estimate with this standard error, relative to it.
func (e *Expected) Vary(spread float64) {
	if !e.Enough || spread <= 0 {
		return
	}
	half := math.Hypot(e.High-e.Mean, z975*spread*e.Mean)
	e.Low, e.High = max(e.Mean-half, 0), e.Mean+half
}

// t975 is the 97.5th percentile of Student's t with k degrees of freedom: the first from a table (Abramowitz and Stegun,
// 26.10), those from 11 on by the expansion 26.7.5, which is right to 0.001 there.
func t975(k int) float64 {
	table := [...]float64{1: 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228}
	if k < len(table) {
		return table[k]
	}
	const z = z975
	n := float64(k)
	return z + (z*z*z+z)/(4*n) + (5*math.Pow(z, 5)+16*z*z*z+3*z)/(96*n*n)
}
