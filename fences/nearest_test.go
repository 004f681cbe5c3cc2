package fences

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"footfall/geo"
)

// anywhere is a point, often near a pole, the antimeridian or the one place where many are.
func anywhere(rng *rand.Rand) geo.Point {
	p := geo.Point{Lat: rng.Float64()*180 - 90, Lng: rng.Float64()*360 - 180}
	switch rng.IntN(5) {
	case 0:
		p.Lat = 90 - 0.01*rng.Float64()
	case 1:
		p.Lng = math.Copysign(180-0.01*rng.Float64(), p.Lng)
	case 2:
		p = geo.Point{Lat: 50 + 0.01*rng.Float64(), Lng: 30 + 0.01*rng.Float64()}
	}
	return p
}

// quad is a polygon of four corners around p, not always convex.
func quad(t testing.TB, rng *rand.Rand, id string) Fence {
	t.Helper()
	p := geo.Point{Lat: rng.Float64()*160 - 80, Lng: rng.Float64()*300 - 150}
	size := math.Pow(10, -3+3.9*rng.Float64())
	ring := make([]geo.Point, 0, 5)
	for k := range 4 {
		sin, cos := math.Sincos(float64(k)*math.Pi/2 + rng.Float64())
		r := size * (0.2 + 0.8*rng.Float64())
		ring = append(ring, geo.Point{Lat: p.Lat + r*sin, Lng: p.Lng + r*cos})
	}
	s, err := geo.NewPolygons([]geo.Polygon{{append(ring, ring[0])}})
	if err != nil {
		t.Fatal(err)
	}
	return Fence{ID: ID(id), Name: id, Shape: s}
}

func TestNearestEqualsScan(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine that computes")
	}
	rng := rand.New(rand.NewPCG(7, 11))
	for _, size := range []int{0, 1, 2, 16, 17, 257, 4_500} {
		var fs []Fence
		for i := range size {
			if rng.IntN(10) == 0 {
				fs = append(fs, quad(t, rng, fmt.Sprint("q", i)))
				continue
			}
			p, r := anywhere(rng), 50+rng.Float64()*500
			if rng.IntN(20) == 0 {
				r = 50_000
			}
			if len(fs) > 0 && rng.IntN(10) == 0 && fs[len(fs)-1].Shape.IsCircle() { // the same circle again
				p, r = fs[len(fs)-1].Shape.Center(), fs[len(fs)-1].Shape.RadiusM()
			}
			fs = append(fs, circleFence(t, fmt.Sprint("c", i), p.Lat, p.Lng, r))
		}
		s := mustSet(t, fs, nil)
		for range 300 {
			p, n := anywhere(rng), rng.IntN(25)
			type found struct {
				i int
				m float64
			}
			var all []found
			for i := range size {
				shape := &s.At(int32(i)).Shape
				all = append(all, found{i, geo.DistanceM(p, shape.Center()) - aroundM(shape)})
			}
			slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(a.m, b.m) })
			others := math.Inf(1)
			if n < size {
				others = all[n].m
				all = all[:n]
			}
			got, gotOthers := s.Nearest(p, n)
			if len(got) != len(all) || gotOthers != others {
				t.Fatalf("%d fences, %d near %v: got %d, others at %v; want %d, %v", size, n, p, len(got), gotOthers, len(all), others)
			}
			for k, w := range all {
				f := s.At(int32(w.i))
				if g := got[k]; g.Fence != f || g.DistanceM != w.m || g.Center != f.Shape.Center() || g.RadiusM != aroundM(&f.Shape) || g.Around == f.Shape.IsCircle() {
					t.Fatalf("%d fences, %v: number %d is %s at %v, want %s at %v", size, p, k, g.Fence.ID, g.DistanceM, f.ID, w.m)
				}
			}
		}
	}
}

// The circle around a polygon holds all of it: of whoever is in the fence the phone knows that they may be.
func TestCircleAroundAPolygon(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	for i := range 300 {
		f := quad(t, rng, fmt.Sprint(i))
		around, center := aroundM(&f.Shape), f.Shape.Center()
		ring := f.Shape.Polygons()[0][0]
		least := 0.0
		for k := range ring[1:] {
			least = max(least, geo.DistanceM(center, ring[k]))
			for range 200 { // on its edges, where it is farthest
				u := rng.Float64()
				p := geo.Point{Lat: ring[k].Lat + u*(ring[k+1].Lat-ring[k].Lat), Lng: ring[k].Lng + u*(ring[k+1].Lng-ring[k].Lng)}
				if d := geo.DistanceM(center, p); d > around {
					t.Fatalf("polygon %v: %v is %v m from the centre, the circle has %v", ring, p, d, around)
				}
			}
		}
		if around > least*1.01+1 && least > 0 && f.Shape.SizeM() < 50_000 {
			t.Errorf("polygon %v: a circle of %v m where %v suffice", ring, around, least)
		}
	}
}

func BenchmarkNearest(b *testing.B) {
	for _, size := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint("fences=", size), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 2))
			fs := make([]Fence, size)
			for i := range fs {
				fs[i] = circleFence(b, fmt.Sprint(i), 44+8*rng.Float64(), 22+18*rng.Float64(), 200)
			}
			s := mustSet(b, fs, nil)
			s.Nearest(geo.Point{}, 1)
			for b.Loop() {
				s.Nearest(geo.Point{Lat: 44 + 8*rng.Float64(), Lng: 22 + 18*rng.Float64()}, 20)
			}
		})
	}
}
