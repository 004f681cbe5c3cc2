package geo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// matchEach is the plain twin of MatchBatch.
func matchEach(x *Index, ps []Point) []Hit {
	var out []Hit
	for i, p := range ps {
		for _, s := range x.Match(nil, p) {
			out = append(out, Hit{int32(i), s})
		}
	}
	return out
}

func TestMatchBatchEqualsMatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(71, 1))
	var ahead Ahead // reused, as callers do
	rounds := 60
	if testing.Short() {
		rounds = 8
	}
	for round := range rounds {
		shapes := make([]*Shape, rng.IntN(300))
		for i := range shapes {
			switch {
			case round%3 == 0: // circles in a town: patches with several, no large shapes
				shapes[i] = mustCircle(t, around(rng, Point{50, 30}, 3000*rng.Float64()), 200)
			default:
				shapes[i] = randomShape(rng)
			}
		}
		x := NewIndex(shapes)
		ps := make([]Point, rng.IntN(700))
		for i := range ps {
			ps[i] = randomPlace(rng)
			if len(shapes) > 0 && rng.IntN(4) > 0 {
				ps[i] = probe(rng, shapes[rng.IntN(len(shapes))])
			}
			if round%2 == 0 {
				ps[i] = ps[i].normal()
			} else if rng.IntN(100) == 0 {
				ps[i] = []Point{{math.NaN(), 0}, {91, 0}, {0, math.Inf(1)}, {10, 370}}[rng.IntN(4)]
			}
		}
		prefix := []Hit{{-1, -1}}
		got := x.MatchBatch(prefix, ps)
		if want := matchEach(x, ps); !slices.Equal(got[1:], want) || got[0] != prefix[0] {
			t.Fatalf("round %d: %d shapes, %d points: got %v, want %v", round, len(shapes), len(ps), got[1:], want)
		}
		some := ps[:min(len(ps), batchSize)]
		x.LookAhead(&ahead, some)
		if got, want := x.MatchAhead(nil, some, &ahead), matchEach(x, some); !slices.Equal(got, want) {
			t.Fatalf("round %d, in two halves: %d shapes, %d points: got %v, want %v", round, len(shapes), len(some), got, want)
		}
	}
}

func TestMatchBatchDoesNotAllocate(t *testing.T) {
	rng := rand.New(rand.NewPCG(72, 1))
	for _, mixed := range []bool{false, true} {
		shapes := stores(500)
		if mixed {
			shapes = append(shapes, mustCircle(t, Point{50, 30}, 30_000))
		}
		x := NewIndex(shapes)
		ps := make([]Point, 1000)
		for i := range ps {
			ps[i] = probe(rng, shapes[rng.IntN(len(shapes))])
		}
		dst := make([]Hit, 0, 4000)
		if n := testing.AllocsPerRun(20, func() { dst = x.MatchBatch(dst[:0], ps) }); n != 0 || len(dst) < 300 {
			t.Errorf("mixed %v: %v allocations, %d hits", mixed, n, len(dst))
		}
	}
}

func BenchmarkMatchBatch(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		shapes := stores(n)
		x := NewIndex(shapes)
		rng := rand.New(rand.NewPCG(8, 8))
		ps := make([]Point, 1<<17)
		for i := range ps {
			ps[i] = around(rng, shapes[rng.IntN(n)].Center(), 3000*math.Sqrt(rng.Float64())).normal()
		}
		b.Run(fmt.Sprintf("fences=%d/impl=batch", n), func(b *testing.B) {
			dst := make([]Hit, 0, 4096)
			i := 0
			for b.Loop() {
				dst = x.MatchBatch(dst[:0], ps[i:i+128])
				i = (i + 128) & (len(ps) - 1)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/128, "ns/point")
		})
		b.Run(fmt.Sprintf("fences=%d/impl=each", n), func(b *testing.B) {
			dst := make([]int32, 0, 64)
			i := 0
			for b.Loop() {
				for _, p := range ps[i : i+128] {
					dst = x.Match(dst[:0], p)
				}
				i = (i + 128) & (len(ps) - 1)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/128, "ns/point")
		})
	}
}
