package funnel

import (
	"fmt"
	"math"
)

// Arm is one side of a comparison: people, and how many of them did what the campaign is for.
type Arm struct {
	People    int64   `json:"people"`
	Converted int64   `json:"converted"`
	Rate      float64 `json:"rate"`
}

// Lift compares those who were notified with the holdout. People count under how they were drawn, whatever became of
// their push, once each, from their first entry on. All intervals are of 95 %.
type Lift struct {
	Notified Arm `json:"notified"`
	Holdout  Arm `json:"holdout"`
	// Enough says that the figures below mean something; Why says what is missing when not.
	Enough bool   `json:"enough"`
	Why    string `json:"why,omitempty"`
	// Difference of the two rates with its interval.
	Diff     float64 `json:"diff"`
	DiffLow  float64 `json:"diff_low"`
	DiffHigh float64 `json:"diff_high"`
	// Ratio of the two rates with its interval; all 0 when nobody of one side converted.
	Ratio     float64 `json:"ratio,omitzero"`
	RatioLow  float64 `json:"ratio_low,omitzero"`
	RatioHigh float64 `json:"ratio_high,omitzero"`
	// Detectable is the smallest difference that groups of this size show four times out of five.
	Detectable float64 `json:"detectable"`
}

// z95 is the 97.5th percentile of the normal distribution; z80 its 80th.
const (
	z95 = 1.959963984540054
	z80 = 0.8416212335729143
)

// leastExpected is how many people on each side have to be expected to convert, and not to convert, if the message made
// no difference, before an interval is believed: the rule of Cochran (Biometrics 10, 1954).
const leastExpected = 5

// Compare compares two shares. The difference has the interval of Newcombe's hybrid score method (number 10 in
// Statistics in Medicine 17, 1998, 873-890), which stays inside [-1, 1] and holds for small shares; the ratio that of
// the logarithm (Katz et al., Biometrics 34, 1978, 469-474).
func Compare(notified, holdout Arm) Lift {
	l := Lift{Notified: notified, Holdout: holdout}
	x1, n1 := float64(notified.Converted), float64(notified.People)
	x0, n0 := float64(holdout.Converted), float64(holdout.People)
	if n1 == 0 || n0 == 0 {
		l.Why = fmt.Sprintf("not enough data: %d people were notified and %d held out; both are needed", notified.People, holdout.People)
		return l
	}
	p1, p0 := x1/n1, x0/n0
	l.Notified.Rate, l.Holdout.Rate = p1, p0
	low1, high1 := wilson(x1, n1)
	low0, high0 := wilson(x0, n0)
	l.Diff = p1 - p0
	l.DiffLow = l.Diff - math.Hypot(p1-low1, high0-p0)
	l.DiffHigh = l.Diff + math.Hypot(high1-p1, p0-low0)
	if x1 > 0 && x0 > 0 {
		se := math.Sqrt(1/x1 - 1/n1 + 1/x0 - 1/n0)
		l.Ratio = p1 / p0
		l.RatioLow, l.RatioHigh = l.Ratio*math.Exp(-z95*se), l.Ratio*math.Exp(z95*se)
	}
	pooled := (x1 + x0) / (n1 + n0)
	l.Detectable = (z95 + z80) * math.Sqrt(pooled*(1-pooled)*(1/n1+1/n0))
	smaller := min(n1, n0)
	switch expected := smaller * min(pooled, 1-pooled); {
	case expected >= leastExpected:
		l.Enough = true
	case pooled <= 0.5:
		l.Why = fmt.Sprintf("not enough data: %.1f conversions are to be expected in the smaller group of %.0f, %d are needed", expected, smaller, leastExpected)
	default:
		l.Why = fmt.Sprintf("not enough data: %.1f people without a conversion are to be expected in the smaller group of %.0f, %d are needed", expected, smaller, leastExpected)
	}
	return l
}

// wilson is the score interval of a share (Wilson, JASA 22, 1927, 209-212).
func wilson(x, n float64) (low, high float64) {
	p, z2 := x/n, z95*z95
	middle := p + z2/(2*n)
	half := z95 * math.Sqrt(p*(1-p)/n+z2/(4*n*n))
	low, high = (middle-half)/(1+z2/n), (middle+half)/(1+z2/n)
	return max(low, 0), min(high, 1)
}
