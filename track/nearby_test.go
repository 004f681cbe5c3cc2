package track

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"footfall/fences"
	"footfall/geo"
	"footfall/internal/dice"
)

// TestNearbyMissesNothing: whatever a path crosses, or an accuracy circle
// touches, anywhere on Earth, the grid must offer it. The slow answer asks every
// fence.
func TestNearbyMissesNothing(t *testing.T) {
	seed := dice.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	lats := []float64{0, 50.45, -16.8, 78.2, 84, 89.2, -89.6}
	lngs := []float64{30.5, 179.995, -179.99, 0}
	wrap := func(lng float64) float64 { return math.Remainder(lng, 360) }
	around := func(c geo.Point, m float64) geo.Point {
		k := max(math.Cos(c.Lat*math.Pi/180), 0.01)
		return geo.Point{
			Lat: max(-90, min(90, c.Lat+(rng.Float64()*2-1)*m/111_000)),
			Lng: wrap(c.Lng + (rng.Float64()*2-1)*m/111_000/k),
		}
	}
	crossed, touched, clear := 0, 0, 0
	sieved := func(n *nearby, a, b geo.Point) bool {
		p, q := placeOf(&Fix{Lat: a.Lat, Lng: a.Lng}), placeOf(&Fix{Lat: b.Lat, Lng: b.Lng})
		return n.sieve.clear(p.lat, p.lng, q.lat, q.lng)
	}
	for _, lat := range lats {
		for _, lng := range lngs {
			center := geo.Point{Lat: lat, Lng: lng}
			var fs []fences.Fence
			for i := range 40 {
				c := around(center, 6000)
				var shape geo.Shape
				var err error
				if i%4 == 0 && math.Abs(lat) < 88 {
					d := 0.001 + rng.Float64()*0.02
					// Written over the antimeridian with longitudes of both signs.
					ring := []geo.Point{
						{Lat: c.Lat - d, Lng: wrap(c.Lng - d)}, {Lat: c.Lat - d, Lng: wrap(c.Lng + d)},
						{Lat: c.Lat + d, Lng: wrap(c.Lng + d/2)}, {Lat: c.Lat - d, Lng: wrap(c.Lng - d)},
					}
					shape, err = geo.NewPolygons([]geo.Polygon{{ring}})
				} else {
					shape, err = geo.NewCircle(c, []float64{20, 200, 1000, 9000}[rng.IntN(4)])
				}
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				fs = append(fs, fences.Fence{ID: fences.ID(fmt.Sprint(i)), Shape: shape, Crossed: true})
			}
			set, err := fences.NewSet(fs, nil)
			if err != nil {
				t.Fatal(err)
			}
			rules := DefaultRules()
			rules.BufferEntries = true
			var n nearby
			n.build(set, &rules)
			for range 60 {
				a, b := around(center, 8000), around(center, 8000)
				if rng.IntN(3) == 0 { // far from most
					a = around(center, 60_000)
					b = around(a, 4000)
				}
				m := rng.Float64() * 150
				path := slices.Clone(n.query(along(a, b)))
				circle := slices.Clone(n.query(boxAround(a, m)))
				near := !sieved(&n, a, b)
				if !near {
					clear++
				}
				for i := range int32(set.Len()) {
					s := &set.At(i).Shape
					if s.Crosses(a, b) {
						crossed++
						if !near {
							t.Fatalf("seed %d: path %v to %v crosses fence %d at %v, size %.0f m, and the sieve says that it is clear", seed, a, b, i, s.Center(), s.SizeM())
						}
						if !slices.Contains(path, i) {
							t.Fatalf("seed %d: path %v to %v crosses fence %d at %v, size %.0f m, and the grid does not offer it", seed, a, b, i, s.Center(), s.SizeM())
						}
					}
					if s.EdgeDistanceM(a) <= m {
						touched++
						if sieved(&n, a, a) {
							t.Fatalf("seed %d: fence %d at %v, size %.0f m, is %.1f m from %v and the sieve says that it is clear", seed, i, s.Center(), s.SizeM(), s.EdgeDistanceM(a), a)
						}
						if !slices.Contains(circle, i) {
							t.Fatalf("seed %d: fence %d at %v, size %.0f m, is %.1f m from %v and the grid does not offer it within %.1f", seed, i, s.Center(), s.SizeM(), s.EdgeDistanceM(a), a, m)
						}
					}
				}
			}
		}
	}
	if crossed < 1000 || touched < 1000 || clear < 100 {
		t.Errorf("seed %d: %d crossings, %d touches and %d clear paths: too few to prove anything", seed, crossed, touched, clear)
	}
}

// TestSieveIsFine: what is clear, so that a sieve that never is fails; and a box as large as the Earth takes little memory.
func TestSieveIsFine(t *testing.T) {
	circle, err := geo.NewCircle(geo.Point{Lat: 50.45, Lng: 30.52}, 200)
	if err != nil {
		t.Fatal(err)
	}
	set, err := fences.NewSet([]fences.Fence{{ID: "shop", Shape: circle, Crossed: true}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rules := DefaultRules()
	var n nearby
	n.build(set, &rules)
	clear := func(lat0, lng0, lat1, lng1 float64) bool {
		return n.sieve.clear(roundE7(lat0), roundE7(lng0), roundE7(lat1), roundE7(lng1))
	}
	for _, tt := range []struct {
		lat0, lng0, lat1, lng1 float64
		want                   bool
	}{
		{50.45, 30.52, 50.45, 30.52, false},
		{50.47, 30.52, 50.47, 30.52, true},  // 2.2 km north
		{50.45, 30.55, 50.45, 30.55, true},  // 2.1 km east
		{50.47, 30.52, 50.43, 30.52, false}, // through it
		{50.47, 30.48, 50.47, 30.56, true},  // past it
		{50.9, 30.9, 51.1, 30.9, false},     // too long a way to be asked about
		{-50.45, 30.52, -50.45, 30.53, true},
		{50.45, -180, 50.45, 180, true}, // one place
		{90, 0, 90, 0, true},
	} {
		if got := clear(tt.lat0, tt.lng0, tt.lat1, tt.lng1); got != tt.want {
			t.Errorf("from %v, %v to %v, %v: clear is %v", tt.lat0, tt.lng0, tt.lat1, tt.lng1, got)
		}
	}
	rules.BufferEntries, rules.ExitAccuracyCapM = true, 2500
	n.build(set, &rules)
	if clear(50.47, 30.52, 50.47, 30.52) || clear(50.45, 30.55, 50.45, 30.55) || !clear(50.5, 30.52, 50.5, 30.52) {
		t.Error("the sieve does not reach as far as accuracies do")
	}
	// A large box takes memory at its rim only; a very large one none.
	var large sieve
	large.mark(box{south: 10, north: 40, west: 170, east: 200}, 0)
	blocks, own := 0, 0
	for _, row := range large.rows {
		for k := 0; row != nil && k < len(row); k++ {
			if row[k] != nil {
				blocks++
				if row[k] != &filled {
					own++
				}
			}
		}
	}
	if own == 0 || own > 4*62 || blocks < 60*60 || large.clear(25*degE7, -170*degE7, 25*degE7, -170*degE7) || !large.clear(25*degE7, 0, 25*degE7, 0) {
		t.Errorf("%d blocks of their own of %d", own, blocks)
	}
	large.mark(box{south: -90, north: 90, west: -180, east: 180}, 0)
	if large.rows != (sieve{}).rows || large.clear(0, 0, 0, 0) {
		t.Error("a box around the Earth is clear somewhere, or takes memory")
	}
}
