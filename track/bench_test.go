package track_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// workload is a city: shops of 200 m, and devices that wander at walking speed,
// a few of them near a shop.
type workload struct {
	set     *fences.Set
	devices []track.DeviceID
	steps   [][]track.Fix // per round, one fix of each device
}

func newWorkload(tb testing.TB, fenceCount, devices, rounds int, near float64) *workload {
	tb.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	w := &workload{}
	side := 0.3 // degrees
	var fs []fences.Fence
	for i := range fenceCount {
		c := geo.Point{Lat: 50.3 + rng.Float64()*side, Lng: 30.3 + rng.Float64()*side}
		shape, err := geo.NewCircle(c, 200)
		if err != nil {
			tb.Fatal(err)
		}
		fs = append(fs, fences.Fence{ID: fences.ID(fmt.Sprintf("shop-%05d", i)), Shape: shape})
	}
	var err error
	if w.set, err = fences.NewSet(fs, nil); err != nil {
		tb.Fatal(err)
	}
	at := make([]geo.Point, devices)
	for i := range at {
		w.devices = append(w.devices, track.DeviceID(fmt.Sprintf("shop.%016x", rng.Uint64())))
		if rng.Float64() < near {
			at[i] = fs[rng.IntN(len(fs))].Shape.Center()
		} else {
			at[i] = geo.Point{Lat: 52 + rng.Float64()*side, Lng: 30.3 + rng.Float64()*side}
		}
	}
	now := int64(1_764_324_000_000)
	for range rounds {
		now += 30_000
		step := make([]track.Fix, devices)
		for i := range step {
			a := rng.Float64() * 2 * math.Pi
			at[i].Lat += math.Cos(a) * 40 / 111_000
			at[i].Lng += math.Sin(a) * 40 / 71_000
			step[i] = track.Fix{FixedAt: now, ReceivedAt: now + 900, Lat: at[i].Lat, Lng: at[i].Lng, HasPosition: true,
				AccuracyM: float32(5 + rng.IntN(20)), SpeedMPS: -1}
		}
		w.steps = append(w.steps, step)
	}
	return w
}

// BenchmarkApply is the cost of one ping of a known device, and of the naive way
// beside it: a map of structs and a scan of all fences.
func BenchmarkApply(b *testing.B) {
	for _, c := range []struct {
		fences, devices int
		near            float64
	}{{1000, 50_000, 0.01}, {1000, 50_000, 0.3}} {
		w := newWorkload(b, c.fences, c.devices, 8, c.near)
		impls := []struct {
			name  string
			start func() applyFunc
		}{
			{"tracker", func() applyFunc {
				tr := track.New(track.DefaultRules())
				var res track.Result
				return func(id track.DeviceID, f *track.Fix, pos uint64) int {
					tr.Apply(w.set, id, *f, pos, &res)
					return len(res.Transitions)
				}
			}},
			{"naive", func() applyFunc {
				n := naive{set: w.set, devices: map[track.DeviceID]*naiveDevice{}}
				return n.apply
			}},
		}
		// Fast is worth nothing when it is wrong: both must find the same.
		want := w.first(200, impls[0].start())
		if got := w.first(200, impls[1].start()); got != want || want == 0 {
			b.Fatalf("the naive way makes %d transitions, the tracker %d", got, want)
		}
		for _, impl := range impls {
			b.Run(fmt.Sprintf("fences=%d/devices=%d/near=%v/impl=%s", c.fences, c.devices, c.near, impl.name), func(b *testing.B) {
				b.ReportAllocs()
				w.run(b, impl.start())
			})
		}
	}
}

type applyFunc func(id track.DeviceID, f *track.Fix, pos uint64) (transitions int)

// first counts the transitions of n devices that come near a shop, and of n
// others.
func (w *workload) first(n int, apply applyFunc) (transitions int) {
	var pos uint64
	for _, step := range w.steps {
		near, far := 0, 0
		for i, id := range w.devices {
			count := &near
			if step[i].Lat > 51 {
				count = &far
			}
			if *count++; *count <= n {
				pos++
				transitions += apply(id, &step[i], pos)
			}
		}
	}
	return transitions
}

// run feeds the workload over and over, time going on, after one round in which
// the devices become known.
func (w *workload) run(b *testing.B, apply applyFunc) {
	var pos uint64
	for i, id := range w.devices {
		pos++
		apply(id, &w.steps[0][i], pos)
	}
	round, i, total := 1, 0, 0
	var later int64
	var f track.Fix // outside the loop, so that its escape is not counted as Apply's
	b.ResetTimer()
	for b.Loop() {
		pos++
		f = w.steps[round][i]
		f.FixedAt += later
		f.ReceivedAt += later
		total += apply(w.devices[i], &f, pos)
		if i++; i == len(w.devices) {
			i = 0
			if round++; round == len(w.steps) {
				round = 0
				later += int64(len(w.steps)) * 30_000
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pings/s")
	b.ReportMetric(float64(total)/float64(b.N), "transitions/op")
}

// naive does the enter and exit rules of the same semantics in the obvious way.
type naive struct {
	set     *fences.Set
	devices map[track.DeviceID]*naiveDevice
}

type naiveDevice struct {
	last   track.Fix
	inside map[fences.ID]bool
}

func (n *naive) apply(id track.DeviceID, f *track.Fix, _ uint64) (transitions int) {
	d := n.devices[id]
	if d == nil {
		d = &naiveDevice{inside: map[fences.ID]bool{}}
		n.devices[id] = d
	}
	p := geo.Point{Lat: f.Lat, Lng: f.Lng}
	for i := range int32(n.set.Len()) {
		fence := n.set.At(i)
		switch in := fence.Shape.Contains(p); {
		case in && !d.inside[fence.ID] && f.AccuracyM <= 100:
			d.inside[fence.ID] = true
			transitions++
		case !in && d.inside[fence.ID] && fence.Shape.EdgeDistanceM(p) > 20+min(float64(f.AccuracyM), 150):
			delete(d.inside, fence.ID)
			transitions++
		}
	}
	d.last = *f
	return transitions
}
