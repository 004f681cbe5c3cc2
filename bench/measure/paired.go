// Package measure times several ways to do the same against each other, and keeps the
// table of goals. It is for tests and benchmarks alone.
//
// On a machine whose clock and caches are shared with others nanoseconds do not stay
// put. What does is the quotient of two times taken within the same milliseconds: so
// the subject and its peers run in turn, in short rounds in one process, and the median
// of the rounds' quotients is the figure.
package measure

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Impl is one of several ways to do the same: Run does its work ops times, going on
// where the last call stopped.
type Impl struct {
	Name string
	Run  func(ops int)
}

// Ratios are what Paired measured.
type Ratios struct {
	names []string
	times [][]float64 // by impl, then by round: ns for an operation
}

// Paired times impls in rounds: each round runs every impl once for ops operations, in
// an order that changes from round to round. It reports to b the median time of each
// for an operation, and for each but the first, the subject, the median over the rounds
// of the quotient subject / peer, named "x" and the peer.
//
// Time is what the calling thread uses of the processor, so that waiting for one that
// others keep busy does not count: an impl does its work in the calling goroutine. ops
// should be some hundred microseconds of it.
func Paired(b *testing.B, ops int, impls ...Impl) Ratios {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return paired(b, ops, ThreadTime, impls)
}

// PairedWall is Paired for impls that let other goroutines or processes work: time is
// that of the clock.
func PairedWall(b *testing.B, ops int, impls ...Impl) Ratios {
	b.Helper()
	start := time.Now()
	return paired(b, ops, func() time.Duration { return time.Since(start) }, impls)
}

func paired(b *testing.B, ops int, now func() time.Duration, impls []Impl) Ratios {
	b.Helper()
	r := Ratios{times: make([][]float64, len(impls))}
	for _, im := range impls {
		r.names = append(r.names, im.Name)
		im.Run(ops) // caches and branch predictors
	}
	round := 0
	b.ResetTimer()
	for b.Loop() {
		for k := range impls {
			i := (k + round) % len(impls)
			start := now()
			impls[i].Run(ops)
			r.times[i] = append(r.times[i], float64(now()-start)/float64(ops))
		}
		round++
	}
	b.ReportMetric(0, "ns/op") // of a whole round: says nothing
	for i, name := range r.names {
		unit := strings.ReplaceAll(name, " ", "_")
		b.ReportMetric(Median(r.times[i]), "ns/"+unit)
		if i > 0 {
			b.ReportMetric(r.Of(r.names[0], name), "x/"+unit)
		}
	}
	return r
}

// Of is the median over the rounds of the time of one impl divided by another's.
// An unknown name panics.
func (r Ratios) Of(name, peer string) float64 {
	a, b := r.of(name), r.of(peer)
	q := make([]float64, len(a))
	for i := range q {
		q[i] = a[i] / b[i]
	}
	return Median(q)
}

// NS is the median time of an impl for one operation, in nanoseconds.
func (r Ratios) NS(name string) float64 { return Median(r.of(name)) }

func (r Ratios) of(name string) []float64 {
	i := slices.Index(r.names, name)
	if i < 0 {
		panic("measure: no impl " + name)
	}
	return r.times[i]
}

// Median is the middle of v, the upper one of two; 0 when v is empty. v is not changed.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(v))[len(v)/2]
}
