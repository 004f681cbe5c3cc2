package bench

import (
	"fmt"
	"math"
	"testing"

	"github.com/golang/geo/s1"
	"github.com/golang/geo/s2"
	"github.com/tidwall/rtree"
	"github.com/uber/h3-go/v4"

	"footfall/geo"
)

// The peers: what one would build with each library by its documentation. All of them
// count the fences that contain the point.

// rtreePeer is boxes in an R-tree, then haversine.
func rtreePeer(shapes []*geo.Shape) func(geo.Point) int {
	var tr rtree.RTreeG[int32]
	for i, s := range shapes {
		c := s.Center()
		dLat := fenceM / earthM * 180 / math.Pi
		dLng := dLat / math.Cos(c.Lat*math.Pi/180) * 1.001
		tr.Insert([2]float64{c.Lng - dLng, c.Lat - dLat}, [2]float64{c.Lng + dLng, c.Lat + dLat}, int32(i))
	}
	return func(p geo.Point) (n int) {
		at := [2]float64{p.Lng, p.Lat}
		tr.Search(at, at, func(_, _ [2]float64, i int32) bool {
			if haversineM(p, shapes[i].Center()) <= fenceM {
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
		caps[i] = s2.CapFromCenterAngle(s2.PointFromLatLng(s2.LatLngFromDegrees(c.Lat, c.Lng)), s1.Angle(fenceM/earthM))
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

// h3Peer is the naive twin: a built-in map by H3 cell of resolution 9, then haversine.
func h3Peer(shapes []*geo.Shape) func(geo.Point) int {
	cells := map[h3.Cell][]int32{}
	for i, s := range shapes {
		for _, c := range geo.Cover(s) {
			cells[h3.Cell(c.Cell)] = append(cells[h3.Cell(c.Cell)], int32(i))
		}
	}
	return func(p geo.Point) (n int) {
		c, err := h3.LatLngToCell(h3.LatLng{Lat: p.Lat, Lng: p.Lng}, 9)
		if err != nil {
			return 0
		}
		for _, i := range cells[c] {
			if haversineM(p, shapes[i].Center()) <= fenceM {
				n++
			}
		}
		return n
	}
}

// BenchmarkContainment is the question which fences contain a point, for devices that
// walk near fences and for the taxis of San Francisco among 1,000 of their own haunts.
func BenchmarkContainment(b *testing.B) {
	for _, c := range []struct{ fences, devices int }{{10_000, 10_000}, {100_000, 10_000}, {100_000, 100_000}} {
		b.Run(fmt.Sprintf("fences=%d/devices=%d", c.fences, c.devices), func(b *testing.B) {
			shapes := stores(c.fences)
			containment(b, shapes, clearOfEdges(walkers(shapes, c.devices, 400_000/c.devices), shapes))
		})
	}
	b.Run("cabs/fences=1000", func(b *testing.B) {
		ps := cabs(b)
		at := make([]geo.Point, 1000)
		for i := range at {
			at[i] = ps[i*len(ps)/len(at)]
		}
		shapes := circles(at)
		containment(b, shapes, clearOfEdges(ps, shapes))
	})
}

func containment(b *testing.B, shapes []*geo.Shape, ps []geo.Point) {
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
		{"rtree", each(rtreePeer(shapes))},
		{"s2", each(s2Peer(shapes))},
		{"h3map", each(h3Peer(shapes))},
	}
	want := subjects[0].count(ps)
	for _, s := range subjects[1:] {
		if got := s.count(ps); got != want || want == 0 {
			b.Fatalf("%s finds %d matches, the batch %d", s.name, got, want)
		}
	}
	const ops = 1 << 14
	impls := make([]impl, len(subjects))
	for k, s := range subjects {
		at := k * len(ps) / len(subjects)
		impls[k] = impl{s.name, func(n int) {
			if at+n > len(ps) {
				at = 0
			}
			s.count(ps[at : at+n])
			at += n
		}}
	}
	paired(b, ops, impls...)
	b.ReportMetric(float64(want)/float64(len(ps)), "matches/point")
	b.ReportMetric(float64(x.Stats().Bytes)/float64(len(shapes)), "B/fence")
}
