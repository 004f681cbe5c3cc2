package outbox

import (
	"sync/atomic"
	"time"
)

// latencyBounds are the upper bounds of the buckets of every latency, in
// seconds: from a provider next door to a row that waited out an outage.
var latencyBounds = [...]float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900}

// histogram counts durations. Safe for concurrent use; adding takes no lock.
type histogram struct {
	counts [len(latencyBounds) + 1]atomic.Int64
	micros atomic.Int64
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(latencyBounds) && d.Seconds() > latencyBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.micros.Add(d.Microseconds())
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

func (h *histogram) snapshot() Histogram {
	out := Histogram{Sum: float64(h.micros.Load()) / 1e6}
	for i := range h.counts {
		out.Count += uint64(h.counts[i].Load())
		if i < len(latencyBounds) {
			out.Buckets = append(out.Buckets, Bucket{latencyBounds[i], out.Count})
		}
	}
	return out
}
