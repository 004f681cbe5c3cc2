package peers

import (
	"fmt"
	"math"
	"testing"

	"github.com/golang/geo/s1"
	"github.com/golang/geo/s2"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/quadtree"
	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"
	"github.com/tidwall/rtree"

	"footfall/bench/measure"
	"footfall/bench/world"
	"footfall/geo"
)

// All of the peers count the fences that contain the point.

// boxTree has the boxes of the fences in an R-tree.
func boxTree(shapes []*geo.Shape) *rtree.RTreeG[int32] {
	var tr rtree.RTreeG[int32]
	for i, s := range shapes {
		c := s.Center()
		dLat := world.FenceM / world.EarthM * 180 / math.Pi
		dLng := dLat / math.Cos(c.Lat*math.Pi/180) * 1.001
		tr.Insert([2]float64{c.Lng - dLng, c.Lat - dLat}, [2]float64{c.Lng + dLng, c.Lat + dLat}, int32(i))
	}
	return &tr
}

// rtreePeer is boxes in an R-tree, then haversine.
func rtreePeer(shapes []*geo.Shape) func(geo.Point) int {
	tr := boxTree(shapes)
	return func(p geo.Point) (n int) {
		at := [2]float64{p.Lng, p.Lat}
		tr.Search(at, at, func(_, _ [2]float64, i int32) bool {
			if world.HaversineM(p, shapes[i].Center()) <= world.FenceM {
				n++
			}
			return true
		})
		return n
	}
}

// geojsonPeer is boxes in an R-tree, then the circle of tidwall/geojson: what Tile38 asks.
func geojsonPeer(shapes []*geo.Shape) func(geo.Point) int {
	tr := boxTree(shapes)
	circles := make([]*geojson.Circle, len(shapes))
	for i, s := range shapes {
		c := s.Center()
		circles[i] = geojson.NewCircle(geometry.Point{X: c.Lng, Y: c.Lat}, world.FenceM, 64)
	}
	return func(p geo.Point) (n int) {
		at := [2]float64{p.Lng, p.Lat}
		point := geojson.NewPoint(geometry.Point{X: p.Lng, Y: p.Lat})
		tr.Search(at, at, func(_, _ [2]float64, i int32) bool {
			if circles[i].Contains(point) {
				n++
			}
			return true
		})
		return n
	}
}

// s2Peer is an S2 cell index of covers of up to 8 cells, then the caps.
func s2Peer(shapes []*geo.Shape) func(geo.Point) int {
	index := &s2.CellIndex{}
	caps := make([]s2.Cap, len(shapes))
	rc := s2.RegionCoverer{MaxLevel: 30, MaxCells: 8}
	for i, s := range shapes {
		c := s.Center()
		caps[i] = s2.CapFromCenterAngle(s2.PointFromLatLng(s2.LatLngFromDegrees(c.Lat, c.Lng)), s1.Angle(world.FenceM/world.EarthM))
		index.AddCellUnion(rc.Covering(caps[i]), int32(i))
	}
	index.Build()
	ranges, contents := s2.NewCellIndexRangeIterator(index), s2.NewCellIndexContentsIterator(index)
	return func(p geo.Point) (n int) {
		ll := s2.LatLngFromDegrees(p.Lat, p.Lng)
		at := s2.PointFromLatLng(ll)
		ranges.Seek(s2.CellIDFromLatLng(ll))
		contents.Clear()
		for contents.StartUnion(ranges); !contents.Done(); contents.Next() {
			if caps[contents.Label()].ContainsPoint(at) {
				n++
			}
		}
		return n
	}
}

// store is a centre in orb's quadtree.
type store struct {
	at    orb.Point
	shape *geo.Shape
}

func (s store) Point() orb.Point { return s.at }

// orbPeer is the centres in a quadtree, asked for those in the box of a fence round the
// point, then haversine.
func orbPeer(shapes []*geo.Shape) func(geo.Point) int {
	tree := quadtree.New(orb.Bound{Min: orb.Point{-180, -90}, Max: orb.Point{180, 90}})
	for _, s := range shapes {
		c := s.Center()
		if err := tree.Add(store{orb.Point{c.Lng, c.Lat}, s}); err != nil {
			panic(err)
		}
	}
	var near []orb.Pointer
	return func(p geo.Point) (n int) {
		dLat := world.FenceM / world.EarthM * 180 / math.Pi * 1.001
		dLng := dLat / math.Cos(p.Lat*math.Pi/180) * 1.001
		near = tree.InBound(near[:0], orb.Bound{Min: orb.Point{p.Lng - dLng, p.Lat - dLat}, Max: orb.Point{p.Lng + dLng, p.Lat + dLat}})
		for _, s := range near {
			if world.HaversineM(p, s.(store).shape.Center()) <= world.FenceM {
				n++
			}
		}
		return n
	}
}

func all(shapes []*geo.Shape) []world.Peer {
	return []world.Peer{
		{Name: "rtree", Count: rtreePeer(shapes)},
		{Name: "rtree_geojson", Count: geojsonPeer(shapes)},
		{Name: "s2", Count: s2Peer(shapes)},
		{Name: "orb", Count: orbPeer(shapes)},
	}
}

// TestPeersAgree compares the answers point by point.
func TestPeersAgree(t *testing.T) {
	shapes := world.Stores(2000)
	ps := world.ClearOfEdges(world.Walkers(shapes, 2000, 10), shapes)
	x := geo.NewIndex(shapes)
	total := 0
	for _, p := range ps {
		total += len(x.Match(nil, p))
	}
	for _, peer := range all(shapes) {
		for _, p := range ps {
			if got, want := peer.Count(p), len(x.Match(nil, p)); got != want {
				t.Fatalf("%s: %d fences at %v, we say %d", peer.Name, got, p, want)
			}
		}
	}
	if total < 50 {
		t.Fatalf("only %d matches in %d points", total, len(ps))
	}
}

// BenchmarkContainment is BenchmarkContainment of the folder above, beside the peers.
func BenchmarkContainment(b *testing.B) {
	for _, c := range []struct{ fences, devices int }{{10_000, 10_000}, {100_000, 10_000}, {100_000, 100_000}} {
		b.Run(fmt.Sprintf("fences=%d/devices=%d", c.fences, c.devices), func(b *testing.B) {
			shapes := world.Stores(c.fences)
			ps := world.ClearOfEdges(world.Walkers(shapes, c.devices, 400_000/c.devices), shapes)
			r := world.Containment(b, shapes, ps, all(shapes)...)
			if c.fences == 100_000 && c.devices == 100_000 {
				for _, how := range []struct{ impl, text string }{{"batch", "in batches"}, {"single", "one at a time"}} {
					const what = "containment, 100,000 fences, %s / %s"
					measure.AtMost(b, fmt.Sprintf(what, how.text, "tidwall/rtree + haversine"), r.Of(how.impl, "rtree"), 0.10, "")
					measure.AtMost(b, fmt.Sprintf(what, how.text, "S2 CellIndex"), r.Of(how.impl, "s2"), 0.06, "")
				}
			}
		})
	}
}

func TestMain(m *testing.M) { measure.Main(m) }
