package stream

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"footfall/fences"
	"footfall/geo"
	"footfall/internal/dice"
)

// TestNearestSearchEqualsScan: over random walks among circles and polygons the search finds the distance that measuring
// every fence at every point finds, with a small part of the measurements.
func TestNearestSearchEqualsScan(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine that computes")
	}
	seed := dice.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	var fs []fences.Fence
	for i := range 3_000 {
		c := geo.Point{Lat: 50 + 2*rng.Float64(), Lng: 30 + 2*rng.Float64()}
		shape, err := geo.NewCircle(c, 50+400*rng.Float64())
		if i%3 == 0 {
			d := 0.001 + 0.004*rng.Float64()
			shape, err = geo.NewPolygons([]geo.Polygon{{{{Lat: c.Lat - d, Lng: c.Lng - d}, {Lat: c.Lat - d, Lng: c.Lng + d}, {Lat: c.Lat + d, Lng: c.Lng}, {Lat: c.Lat - d, Lng: c.Lng - d}}}})
		}
		if err != nil {
			t.Fatal(err)
		}
		fs = append(fs, fences.Fence{ID: fences.ID(fmt.Sprintf("f%d", i)), Shape: shape})
	}
	set, err := fences.NewSet(fs, nil)
	if err != nil {
		t.Fatal(err)
	}
	points, measured := 0, 0
	for walk := range 10 {
		s := newNearestSearch(set, "")
		p := geo.Point{Lat: 50 + 2*rng.Float64(), Lng: 30 + 2*rng.Float64()}
		best := math.Inf(1)
		for n := range 60 {
			if p.Lat, p.Lng = p.Lat+0.002*(rng.Float64()-0.4), p.Lng+0.002*(rng.Float64()-0.4); n == 30 {
				p.Lat = 50 + 2*rng.Float64() // by train
			}
			here := math.Inf(1)
			for i := range int32(set.Len()) {
				here = min(here, set.At(i).Shape.EdgeDistanceM(p))
			}
			if nearer := s.look(p); nearer != (here < best) {
				t.Fatalf("seed %d walk %d point %d: nearer is %v, at %.3f m after %.3f m", seed, walk, n, nearer, here, best)
			}
			if best = min(best, here); s.edgeM != best {
				t.Fatalf("seed %d walk %d point %d: %.3f m, want %.3f m", seed, walk, n, s.edgeM, best)
			}
			points++
		}
		measured += s.measured
	}
	if all := points * set.Len(); measured > all/8 {
		t.Errorf("%d of %d measurements", measured, all)
	}
}

// TestExplainFarFromEveryFence: of a device that came near no fence it is said how near it came, to which, and when, from the
// positions that the log still holds.
func TestExplainFarFromEveryFence(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	for i, lat := range []float64{50.4600, 50.4555, 50.4600} { // the second is 600 m north of k01's centre
		at := noon.Add(time.Duration(i) * time.Minute)
		r.clock.set(at)
		r.mustAsk("ping.shop.d1", ping(at, lat, 30.5234))
		r.mustAsk("ping.shop.d2", ping(at, 50.4501, 30.5234))
	}
	r.settle()
	e, err := r.gw.ExplainNear(t.Context(), "shop.d1", 0, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	c := e.Closest
	if c == nil || c.Nearest == nil || c.Positions != 3 || c.At != noon.Add(time.Minute).UnixMilli() || c.Nearest.Fence != "k01" ||
		math.Abs(c.Nearest.EdgeM-401) > 2 || c.Nearest.Change == "" || c.KeptSince != noon.UnixMilli() {
		t.Fatalf("%+v", c)
	}
	if e, err = r.gw.ExplainNear(t.Context(), "shop.d2", 0, 0, ""); err != nil || e.Closest != nil {
		t.Errorf("of a device with decisions: %+v, %v", e.Closest, err)
	}
	if e, err = r.gw.ExplainNear(t.Context(), "shop.d1", 0, 0, "k02"); err != nil || e.Closest.Nearest.Fence != "k02" || e.Closest.Nearest.EdgeM < 1_000 {
		t.Errorf("to another fence: %+v, %v", e.Closest, err)
	}
}

// TestExplainSaysWhatIsDoubted: a position inside a fence that is too far from the last one leads to nothing, and the
// explanation says that it is doubted, and by how much; once the next one agrees there is an entry and no doubt.
func TestExplainSaysWhatIsDoubted(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	r.mustAsk("ping.shop.d1", ping(noon, 50.4100, 30.5234))
	r.clock.set(noon.Add(time.Second))
	r.mustAsk("ping.shop.d1", ping(noon.Add(time.Second), 50.4501, 30.5234))
	r.settle()
	e, err := r.gw.ExplainNear(t.Context(), "shop.d1", 0, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Decisions) != 0 || e.Live == nil || e.Live.Doubted == nil {
		t.Fatalf("%+v", e)
	}
	if q := e.Live.Doubted; q.At != noon.Add(time.Second).UnixMilli() || q.AfterMS != 1000 || math.Abs(q.DistM-4461) > 10 || q.MaxSpeed != 90 {
		t.Errorf("%+v", q)
	}
	r.clock.set(noon.Add(2 * time.Second))
	r.mustAsk("ping.shop.d1", ping(noon.Add(2*time.Second), 50.4501, 30.5234))
	r.settle()
	if e, err = r.gw.ExplainNear(t.Context(), "shop.d1", 0, 0, ""); err != nil || len(e.Decisions) == 0 || e.Live.Doubted != nil {
		t.Errorf("after the next: %+v, %v", e, err)
	}
}
