package fake

import "time"

// Latency is how long a fake takes to answer. The zero value answers at once.
type Latency struct {
	kind  latencyKind
	a, b  time.Duration
	sigma float64
	seed  uint64
}

type latencyKind uint8

// FixedLatency answers after exactly d.
func FixedLatency(d time.Duration) Latency { return Latency{kind: 1, a: d} }

// UniformLatency draws evenly from [lo, hi].
func UniformLatency(lo, hi time.Duration, seed uint64) Latency {
	return Latency{kind: 2, a: lo, b: hi, seed: seed}
}

// LogNormalLatency has the given median and a tail whose weight is sigma, the
// standard deviation of the logarithm (0.5 is a calm service, 1 a bad day).
func LogNormalLatency(median time.Duration, sigma float64, seed uint64) Latency {
	return Latency{kind: 3, a: median, sigma: sigma, seed: seed}
}
