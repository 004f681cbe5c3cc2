package track

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"footfall/fences"
	"footfall/geo"
)

// TestNearbyMissesNothing: whatever a path crosses, or an accuracy circle
// touches, anywhere on Earth, the grid must offer it. The slow answer asks every
// fence.
func TestNearbyMissesNothing(t *testing.T) {
	seed := rand.Uint64()
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
	crossed, touched := 0, 0
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
				m := rng.Float64() * 150
				path := slices.Clone(n.query(along(a, b)))
				circle := slices.Clone(n.query(boxAround(a, m)))
				for i := range int32(set.Len()) {
					s := &set.At(i).Shape
					if s.Crosses(a, b) {
						crossed++
						if !slices.Contains(path, i) {
							t.Fatalf("seed %d: path %v to %v crosses fence %d at %v, size %.0f m, and the grid does not offer it", seed, a, b, i, s.Center(), s.SizeM())
						}
					}
					if s.EdgeDistanceM(a) <= m {
						touched++
						if !slices.Contains(circle, i) {
							t.Fatalf("seed %d: fence %d at %v, size %.0f m, is %.1f m from %v and the grid does not offer it within %.1f", seed, i, s.Center(), s.SizeM(), s.EdgeDistanceM(a), a, m)
						}
					}
				}
			}
		}
	}
	if crossed < 1000 || touched < 1000 {
		t.Errorf("seed %d: %d crossings and %d touches: too few to prove anything", seed, crossed, touched)
	}
}
