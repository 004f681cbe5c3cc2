package world

import (
	"testing"

	"footfall/bench/measure"
	"footfall/geo"
)

// Peer is another way to count the fences that contain a point.
type Peer struct {
	Name  string
	Count func(geo.Point) int
}

// Containment times the index against peers over ps, as the impls "batch" and "single":
// how many of shapes contain each point. All must find the same number in all before
// anything is timed. It also reports how often that is and what the index weighs.
func Containment(b *testing.B, shapes []*geo.Shape, ps []geo.Point, peers ...Peer) measure.Ratios {
	b.Helper()
	x, y := geo.NewIndex(shapes), geo.NewIndex(shapes) // one each: neither may warm the other's caches
	dst := make([]int32, 0, 256)
	hits := make([]geo.Hit, 0, 1<<14)
	type subject struct {
		name  string
		count func([]geo.Point) int
	}
	each := func(f func(geo.Point) int) func([]geo.Point) int {
		return func(ps []geo.Point) (n int) {
			for _, p := range ps {
				n += f(p)
			}
			return n
		}
	}
	subjects := []subject{
		{"batch", func(ps []geo.Point) int { hits = y.MatchBatch(hits[:0], ps); return len(hits) }},
		{"single", each(func(p geo.Point) int { dst = x.Match(dst[:0], p); return len(dst) })},
	}
	for _, p := range peers {
		subjects = append(subjects, subject{p.Name, each(p.Count)})
	}
	want := subjects[0].count(ps)
	for _, s := range subjects[1:] {
		if got := s.count(ps); got != want || want == 0 {
			b.Fatalf("%s finds %d matches, the batch %d", s.name, got, want)
		}
	}
	impls := make([]measure.Impl, len(subjects))
	for k, s := range subjects {
		at := k * len(ps) / len(subjects) // not where another has just been
		impls[k] = measure.Impl{Name: s.name, Run: func(n int) {
			if at+n > len(ps) {
				at = 0
			}
			s.count(ps[at : at+n])
			at += n
		}}
	}
	r := measure.Paired(b, 1<<14, impls...)
	b.ReportMetric(float64(want)/float64(len(ps)), "matches/point")
	b.ReportMetric(float64(x.Stats().Bytes)/float64(len(shapes)), "B/fence")
	return r
}
