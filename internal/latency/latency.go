// Package latency counts durations in buckets, for metrics.
package latency

import (
	"sync/atomic"
	"time"
)

// Counter counts durations. Safe for concurrent use; Add takes no lock.
type Counter struct {
	bounds []float64
	counts []atomic.Int64 // one more than bounds
	micros atomic.Int64
}

// NewCounter returns a Counter with the upper bounds of its buckets, in seconds and in rising order, which it keeps.
func NewCounter(bounds []float64) *Counter {
	return &Counter{bounds: bounds, counts: make([]atomic.Int64, len(bounds)+1)}
}

// Add counts d; a negative one, after the clock was set back, counts as 0. It allocates nothing.
func (c *Counter) Add(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(c.bounds) && d.Seconds() > c.bounds[i] {
		i++
	}
	c.counts[i].Add(1)
	c.micros.Add(d.Microseconds())
}

// Histogram is a snapshot of durations in seconds.
type Histogram struct {
	// Buckets are in rising order and cumulative: N durations were not above LE.
	// What is above the last is in Count only.
	Buckets []Bucket `json:"buckets"`
	Count   uint64   `json:"count"`
	Sum     float64  `json:"sum"`
}

// Bucket is one step of a Histogram.
type Bucket struct {
	LE float64 `json:"le"`
	N  uint64  `json:"n"`
}

// Histogram returns what was counted so far.
func (c *Counter) Histogram() Histogram {
	out := Histogram{Sum: float64(c.micros.Load()) / 1e6}
	for i := range c.counts {
		out.Count += uint64(c.counts[i].Load())
		if i < len(c.bounds) {
			out.Buckets = append(out.Buckets, Bucket{c.bounds[i], out.Count})
		}
	}
	return out
}
