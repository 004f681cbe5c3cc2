package geo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"footfall/internal/cputime"
)

// scan is the slow, obvious answer.
func scan(shapes []*Shape, p Point) []int32 {
	var out []int32
	for i, s := range shapes {
		if s != nil && s.Contains(p) {
			out = append(out, int32(i))
		}
	}
	return out
}

// randomPlace favours the places where geometry goes wrong.
func randomPlace(rng *rand.Rand) Point {
	if rng.IntN(2) == 0 {
		return Point{rng.Float64()*180 - 90, rng.Float64()*360 - 180}
	}
	return (hardPoint)(rng).normal()
}

func (p Point) normal() Point { return Point{p.Lat, wrapLng(p.Lng)} }

// around is a point about dist metres from c.
func around(rng *rand.Rand, c Point, dist float64) Point {
	v := sphereVec(c)
	r := randomUnit(rng)
	r = r.sub(v.mul(r.dot(v))).unit()
	d := dist / meanRadiusM
	p := v.mul(math.Cos(d)).add(r.mul(math.Sin(d))).point()
	if rng.IntN(8) == 0 && p.Lng < 0 {
		p.Lng += 360 // the index and the shape must agree on these too
	}
	return p
}

// randomStar is a polygon with one ring of n corners around c, split at or unwrapped
// across the antimeridian; ok is false when it came too near to a pole.
func randomStar(rng *rand.Rand, c Point, sizeM float64, n int) (Shape, bool) {
	perLat, perLng := metresPerDegree(c.Lat)
	if math.Abs(c.Lat)+sizeM/perLat > 89.9 || sizeM/perLng > 80 {
		return Shape{}, false
	}
	ring := make([]Point, n, n+1)
	hole := make([]Point, n, n+1)
	for i := range ring {
		r := sizeM * (0.4 + 0.6*rng.Float64())
		sin, cos := math.Sincos(float64(i) * 2 * math.Pi / float64(n))
		ring[i] = Point{c.Lat + r*sin/perLat, wrapLng(c.Lng + r*cos/perLng)}
		hole[i] = Point{c.Lat + 0.2*r*sin/perLat, wrapLng(c.Lng + 0.2*r*cos/perLng)}
	}
	ring, hole = append(ring, ring[0]), append(hole, hole[0])
	if rng.IntN(2) == 0 {
		slices.Reverse(ring)
	}
	poly := Polygon{ring}
	if rng.IntN(3) == 0 {
		poly = append(poly, hole)
	}
	s, err := NewPolygons([]Polygon{poly})
	return s, err == nil
}

func randomShape(rng *rand.Rand) *Shape {
	for {
		c := randomPlace(rng)
		if rng.IntN(4) > 0 {
			s, err := NewCircle(c, 10*math.Exp(rng.Float64()*math.Log(5000)))
			if err == nil {
				return &s
			}
			continue
		}
		if s, ok := randomStar(rng, c, 10*math.Exp(rng.Float64()*math.Log(50_000)), 3+rng.IntN(40)); ok {
			return &s
		}
	}
}

// probe is a point in or near a shape, often near its boundary.
func probe(rng *rand.Rand, s *Shape) Point {
	size := s.RadiusM()
	if size == 0 {
		size = 1.3 * s.SizeM()
	}
	switch rng.IntN(4) {
	case 0:
		return around(rng, s.Center(), size*(1+1e-6*rng.NormFloat64()))
	case 1:
		return around(rng, s.Center(), size*(0.98+0.04*rng.Float64()))
	case 2:
		if polys := s.Polygons(); polys != nil {
			ring := polys[0][rng.IntN(len(polys[0]))]
			return ring[rng.IntN(len(ring))]
		}
	}
	return around(rng, s.Center(), size*1.1*math.Sqrt(rng.Float64()))
}

// TestIndexEqualsScan is the promise of the index: no shape is missed, none invented.
func TestIndexEqualsScan(t *testing.T) {
	rounds, perRound, seed := 20, 100, uint64(1)
	if os.Getenv("FOOTFALL_LONG") == "1" {
		rounds, seed = 1000, uint64(time.Now().UnixNano())
	}
	for round := range rounds {
		rng := rand.New(rand.NewPCG(seed, uint64(round)))
		shapes := make([]*Shape, perRound)
		for i := range shapes {
			shapes[i] = randomShape(rng)
		}
		shapes[7] = nil
		x := NewIndex(shapes)
		inside := 0
		var got, cand []int32
		for i := range shapes {
			if shapes[i] == nil {
				continue
			}
			for range 50 {
				p := probe(rng, shapes[i])
				want := scan(shapes, p)
				got = x.Match(got[:0], p)
				if !slices.Equal(got, want) {
					t.Fatalf("seed %d round %d: Match(%.17g, %.17g) = %v, want %v (aimed at shape %d, centre %v size %.1f m)",
						seed, round, p.Lat, p.Lng, got, want, i, shapes[i].Center(), shapes[i].SizeM())
				}
				cand = x.Candidates(cand[:0], p)
				if !slices.IsSorted(cand) || len(slices.Compact(slices.Clone(cand))) != len(cand) {
					t.Fatalf("seed %d round %d: Candidates(%v) = %v: not ascending and distinct", seed, round, p, cand)
				}
				for _, w := range want {
					if !slices.Contains(cand, w) {
						t.Fatalf("seed %d round %d: Candidates(%v) = %v lack %d", seed, round, p, cand, w)
					}
				}
				if len(want) > 0 && !x.MayContain(p) {
					t.Fatalf("seed %d round %d: MayContain(%v) is false, shapes %v contain it", seed, round, p, want)
				}
				inside += len(want)
			}
		}
		if inside < 1000 {
			t.Fatalf("seed %d round %d: only %d points were inside", seed, round, inside)
		}
	}
}

// TestIndexPentagons puts fences on the twelve pentagons and their surroundings.
func TestIndexPentagons(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine that computes")
	}
	rng := rand.New(rand.NewPCG(2, 2))
	var shapes []*Shape
	for f := range faceFrames {
		fr := &faceFrames[f]
		for k := range 3 {
			a := float64(k) * 2 * math.Pi / 3
			d := 2 / unitsPerTangent
			corner := fr.C.add(fr.u.mul(d * math.Cos(a))).add(fr.v.mul(d * math.Sin(a))).unit().point()
			for _, r := range []float64{15, 200, 3_000, 40_000, 100_000} {
				s, err := NewCircle(around(rng, corner, r*rng.Float64()).normal(), r)
				if err != nil {
					t.Fatal(err)
				}
				shapes = append(shapes, &s)
			}
		}
	}
	x := NewIndex(shapes)
	for i, s := range shapes {
		for range 200 {
			p := probe(rng, s)
			if got, want := x.Match(nil, p), scan(shapes, p); !slices.Equal(got, want) {
				t.Fatalf("Match(%v) = %v, want %v (aimed at %d)", p, got, want, i)
			}
		}
	}
}

func TestIndexEmptyAndOddInput(t *testing.T) {
	circle, _ := NewCircle(Point{10, 10}, 200)
	for _, x := range []*Index{NewIndex(nil), NewIndex([]*Shape{nil, new(Shape)}), NewIndex([]*Shape{&circle})} {
		for _, p := range []Point{{0, 0}, {math.NaN(), 0}, {0, math.NaN()}, {math.Inf(1), 10}, {10, math.Inf(-1)}, {91, 10}, {-100, 0}, {90, 0}, {-90, 180}} {
			if got := x.Match(nil, p); got != nil || x.MayContain(p) && circle.Contains(p) {
				t.Errorf("Match(%v) = %v", p, got)
			}
			_ = x.Candidates(nil, p)
		}
	}
	x := NewIndex([]*Shape{&circle})
	if got := x.Match([]int32{42}, Point{10, 370}); !slices.Equal(got, []int32{42, 0}) {
		t.Errorf("Match appends to dst and wraps longitudes: got %v", got)
	}
	if st := x.Stats(); st.Shapes != 1 || st.Small != 1 || st.Patches == 0 || st.Cells != 0 || st.Bytes == 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestIndexDoesNotAllocate(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	var shapes []*Shape
	for range 200 {
		shapes = append(shapes, randomShape(rng))
	}
	x := NewIndex(shapes)
	var ps []Point
	for range 50 {
		ps = append(ps, probe(rng, shapes[rng.IntN(len(shapes))]))
	}
	dst := make([]int32, 0, 1000)
	if n := testing.AllocsPerRun(20, func() {
		for _, p := range ps {
			dst = x.Match(dst[:0], p)
			dst = x.Candidates(dst[:0], p)
			for _, s := range shapes {
				s.Contains(p)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// stores are circles of 200 m spread over Europe.
func stores(n int) []*Shape {
	rng := rand.New(rand.NewPCG(6, 6))
	out := make([]*Shape, n)
	for i := range out {
		s, err := NewCircle(Point{36 + 24*rng.Float64(), -9 + 50*rng.Float64()}, 200)
		if err != nil {
			panic(err)
		}
		out[i] = &s
	}
	return out
}

func TestIndexBuildTime(t *testing.T) {
	shapes := stores(10_000)
	start := cputime.Used()
	NewIndex(shapes)
	if d := cputime.Used() - start; d > 5*time.Second {
		t.Errorf("10,000 circles took %v", d)
	}
}

func BenchmarkIndexBuild(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		shapes := stores(n)
		b.Run(fmt.Sprintf("fences=%d", n), func(b *testing.B) {
			var x *Index
			for b.Loop() {
				x = NewIndex(shapes)
			}
			b.ReportMetric(float64(x.Stats().Bytes)/float64(n), "B/fence")
			b.ReportMetric(float64(x.Stats().Postings)/float64(n), "cells/fence")
		})
	}
}

// naive is what one would write first: a map from cell to fences, and haversine.
type naive struct {
	cells map[Cell][]int32
	at    []Point
}

func newNaive(shapes []*Shape) *naive {
	n := &naive{cells: map[Cell][]int32{}}
	for i, s := range shapes {
		n.at = append(n.at, s.Center())
		for _, c := range Cover(s) {
			n.cells[c.Cell] = append(n.cells[c.Cell], int32(i))
		}
	}
	return n
}

func (n *naive) match(dst []int32, p Point) []int32 {
	for _, i := range n.cells[h3Cell(p, BaseResolution)] {
		q := n.at[i]
		a, b := math.Sin((q.Lat-p.Lat)/2*degree), math.Sin((q.Lng-p.Lng)/2*degree)
		if 2*meanRadiusM*math.Asin(math.Sqrt(a*a+math.Cos(p.Lat*degree)*math.Cos(q.Lat*degree)*b*b)) <= 200 {
			dst = append(dst, i)
		}
	}
	return dst
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		shapes := stores(n)
		x, nv := NewIndex(shapes), newNaive(shapes)
		for _, hit := range []float64{0.01, 0.5} {
			rng := rand.New(rand.NewPCG(8, 8))
			ps := make([]Point, 1<<15)
			for i := range ps {
				ps[i] = Point{36 + 24*rng.Float64(), -9 + 50*rng.Float64()}
				if rng.Float64() < hit {
					ps[i] = around(rng, shapes[rng.IntN(n)].Center(), 190*math.Sqrt(rng.Float64())).normal()
				}
			}
			for _, impl := range []struct {
				name  string
				match func([]int32, Point) []int32
			}{{"index", x.Match}, {"naive", nv.match}} {
				b.Run(fmt.Sprintf("impl=%s/fences=%d/hit=%v", impl.name, n, hit), func(b *testing.B) {
					b.ReportAllocs()
					dst := make([]int32, 0, 16)
					i, found := 0, 0
					for b.Loop() {
						dst = impl.match(dst[:0], ps[i&(len(ps)-1)])
						found += len(dst)
						i++
					}
					if rate := float64(found) / float64(i); i > 1<<15 && (rate < hit*0.9 || rate > hit*1.5+0.1) {
						b.Fatalf("%v matches per point", rate)
					}
				})
			}
		}
	}
}
