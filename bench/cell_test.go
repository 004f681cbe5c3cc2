package bench

import (
	"math/rand/v2"
	"testing"

	"github.com/uber/h3-go/v4"

	"footfall/bench/measure"
	"footfall/bench/world"
	"footfall/geo"
)

// BenchmarkCell is the cell of a point at resolution 9, beside the H3 binding's.
func BenchmarkCell(b *testing.B) {
	for _, area := range []struct {
		name string
		next func(*rand.Rand) geo.Point
	}{{"Europe", world.Europe}, {"world", world.Anywhere}} {
		b.Run("area="+area.name, func(b *testing.B) {
			ps := world.Points(1<<16, area.next)
			var own, ref uint64
			i, j := 0, 0
			r := measure.Paired(b, 1<<14,
				measure.Impl{Name: "own", Run: func(ops int) {
					for range ops {
						own += uint64(geo.CellAt(ps[i&(len(ps)-1)], 9))
						i++
					}
				}},
				measure.Impl{Name: "h3go", Run: func(ops int) {
					for range ops {
						p := ps[j&(len(ps)-1)]
						c, err := h3.LatLngToCell(h3.LatLng{Lat: p.Lat, Lng: p.Lng}, 9)
						if err != nil {
							b.Fatal(err)
						}
						ref += uint64(c)
						j++
					}
				}},
			)
			if own != ref {
				b.Fatal("the sums of the cells differ")
			}
			measure.AtMost(b, "geo.CellAt, points over "+area.name+" / h3-go 4.5.0 LatLngToCell", r.Of("own", "h3go"), 0.08, "")
		})
	}
}
