package bench

import (
	"math/rand/v2"
	"testing"

	"github.com/uber/h3-go/v4"

	"footfall/geo"
)

// BenchmarkCell is the cell of a point at resolution 9, beside the H3 binding's.
func BenchmarkCell(b *testing.B) {
	for _, area := range []struct {
		name string
		next func(*rand.Rand) geo.Point
	}{
		{"europe", func(rng *rand.Rand) geo.Point {
			return geo.Point{Lat: 36 + 24*rng.Float64(), Lng: -9 + 50*rng.Float64()}
		}},
		{"world", func(rng *rand.Rand) geo.Point {
			return geo.Point{Lat: 180*rng.Float64() - 90, Lng: 360*rng.Float64() - 180}
		}},
	} {
		b.Run("area="+area.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			ps := make([]geo.Point, 1<<16)
			for i := range ps {
				ps[i] = area.next(rng)
			}
			var own, ref uint64
			i, j := 0, 0
			paired(b, 1<<14,
				impl{"own", func(ops int) {
					for range ops {
						own += uint64(geo.CellAt(ps[i&(len(ps)-1)], 9))
						i++
					}
				}},
				impl{"h3go", func(ops int) {
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
		})
	}
}
