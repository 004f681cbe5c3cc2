package bench

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/uber/h3-go/v4"

	"footfall/bench/measure"
	"footfall/bench/world"
	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// fenceSet is a set of circles with ids.
func fenceSet(tb testing.TB, shapes []*geo.Shape) *fences.Set {
	tb.Helper()
	set, err := fences.NewSet(fenceList(shapes), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func fenceList(shapes []*geo.Shape) []fences.Fence {
	fs := make([]fences.Fence, len(shapes))
	for i, s := range shapes {
		fs[i] = fences.Fence{ID: fences.ID(fmt.Sprintf("store-%07d", i)), Shape: *s}
	}
	return fs
}

// deviceIDs are ids as SDKs make them: an app and 16 hexadecimal digits.
func deviceIDs(n int) []track.DeviceID {
	rng := rand.New(rand.NewPCG(9, 9))
	ids := make([]track.DeviceID, n)
	for i := range ids {
		ids[i] = track.DeviceID(fmt.Sprintf("shop.%016x", rng.Uint64()))
	}
	return ids
}

// fleet plays walkers in batches, time going on for ever.
type fleet struct {
	ids  []track.DeviceID
	at   []geo.Point // whole rounds of all devices
	next int
	now  int64
	pos  uint64
	in   []track.Input
}

const fleetStep = 30_000 // ms from fix to fix

func (f *fleet) batch(n int) []track.Input {
	f.in = f.in[:0]
	for range n {
		d := f.next % len(f.ids)
		if d == 0 {
			f.now += fleetStep
		}
		p := f.at[f.next]
		f.pos++
		f.in = append(f.in, track.Input{ID: f.ids[d], Pos: f.pos, Fix: track.Fix{
			FixedAt: f.now, ReceivedAt: f.now + 900, Lat: p.Lat, Lng: p.Lng, HasPosition: true, AccuracyM: 12, SpeedMPS: -1}})
		if f.next++; f.next == len(f.at) {
			f.next = 0
		}
	}
	return f.in
}

// BenchmarkDecision is the whole in-process decision: fences of the position, state of
// the device, transitions. In batches and one at a time, beside one bare cell lookup of
// the H3 binding. The cost of making up the pings is in all but the last.
func BenchmarkDecision(b *testing.B) {
	for _, c := range []struct{ fences, devices int }{{100, 100_000}, {10_000, 100_000}, {1_000_000, 100_000}} {
		b.Run(fmt.Sprintf("fences=%d/devices=%d", c.fences, c.devices), func(b *testing.B) {
			shapes := world.Stores(c.fences)
			set := fenceSet(b, shapes)
			ids, at := deviceIDs(c.devices), world.Walkers(shapes, c.devices, 6)
			var total [2]int
			var res track.Result
			subject := func(k int, apply func(t *track.Tracker, in []track.Input)) func(int) {
				t := track.New(track.DefaultRules())
				f := &fleet{ids: ids, at: at, now: 1_764_324_000_000}
				for range c.devices / 128 {
					apply(t, f.batch(128))
				}
				total[k] = 0
				return func(ops int) {
					for ; ops > 0; ops -= 128 {
						apply(t, f.batch(128))
					}
				}
			}
			count := func(k int) func(int, *track.Result) {
				return func(_ int, res *track.Result) { total[k] += len(res.Transitions) }
			}
			each := [2]func(int, *track.Result){count(0), count(1)}
			i := 0
			var sum h3.Cell
			r := measure.Paired(b, 1<<14,
				measure.Impl{Name: "batch", Run: subject(0, func(t *track.Tracker, in []track.Input) { t.ApplyBatch(set, in, &res, each[0]) })},
				measure.Impl{Name: "single", Run: subject(1, func(t *track.Tracker, in []track.Input) {
					for k := range in {
						t.Apply(set, in[k].ID, in[k].Fix, in[k].Pos, &res)
						each[1](k, &res)
					}
				})},
				measure.Impl{Name: "h3go_cell", Run: func(ops int) {
					for range ops {
						p := at[i%len(at)]
						c, err := h3.LatLngToCell(h3.LatLng{Lat: p.Lat, Lng: p.Lng}, 9)
						if err != nil {
							b.Fatal(err)
						}
						sum += c
						i++
					}
				}},
			)
			if total[0] != total[1] || total[0] == 0 {
				b.Fatalf("%d transitions in batches, %d one at a time (%v)", total[0], total[1], sum)
			}
			switch c.fences {
			case 10_000:
				measure.AtMost(b, "decision, 10,000 fences, in batches / one h3-go cell", r.Of("batch", "h3go_cell"), 0.07, "")
			case 1_000_000:
				measure.AtMost(b, "decision, 1,000,000 fences, in batches / one h3-go cell", r.Of("batch", "h3go_cell"), 0.12, "")
			}
		})
	}
}
