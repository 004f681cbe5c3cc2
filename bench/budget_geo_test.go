package bench

import (
	"testing"

	"github.com/uber/h3-go/v4"

	"footfall/bench/world"
	"footfall/geo"
)

var geoOperations = map[string]operation{
	"cell/res=9": func(testing.TB) func(int) {
		ps := world.Points(maxOps, world.Europe)
		return func(n int) {
			for _, p := range ps[:n] {
				sink += uint64(geo.CellAt(p, 9))
			}
		}
	},
	"h3go/res=9": func(tb testing.TB) func(int) {
		ps := world.Points(maxOps, world.Europe)
		return func(n int) {
			for _, p := range ps[:n] {
				c, err := h3.LatLngToCell(h3.LatLng{Lat: p.Lat, Lng: p.Lng}, 9)
				if err != nil {
					tb.Fatal(err)
				}
				sink += uint64(c)
			}
		}
	},
	"match/single/fences=10000": func(testing.TB) func(int) {
		shapes := world.Stores(10_000)
		x, ps := geo.NewIndex(shapes), world.Walkers(shapes, maxOps, 1)
		dst := make([]int32, 0, 64)
		return func(n int) {
			for _, p := range ps[:n] {
				dst = x.Match(dst[:0], p)
				sink += uint64(len(dst))
			}
		}
	},
	"match/batch/fences=10000": func(testing.TB) func(int) {
		shapes := world.Stores(10_000)
		x, ps := geo.NewIndex(shapes), world.Walkers(shapes, maxOps, 1)
		dst := make([]geo.Hit, 0, 1024)
		return func(n int) {
			for i := 0; i < n; i += 128 {
				dst = x.MatchBatch(dst[:0], ps[i:i+128])
				sink += uint64(len(dst))
			}
		}
	},
	"h3map/fences=10000": func(testing.TB) func(int) {
		shapes := world.Stores(10_000)
		count, ps := h3Map(shapes), world.Walkers(shapes, maxOps, 1)
		return func(n int) {
			for _, p := range ps[:n] {
				sink += uint64(count(p))
			}
		}
	},
}
