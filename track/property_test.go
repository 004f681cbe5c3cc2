package track_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"footfall/fences"
	"footfall/geo"
	"footfall/internal/dice"
	"footfall/track"
)

// town is a random workload: a few overlapping fences that are edited now and
// then, and a few devices that do everything devices do.
type town struct {
	rng *rand.Rand
	fs  []fences.Fence
	cat fences.Catalogue
	set *fences.Set
	now int64

	crossed bool // there are fences that may be crossed: no ping is usual then

	last  map[track.DeviceID]track.Fix
	where map[track.DeviceID]geo.Point
}

const townLat, townLng = 50.45, 30.52

func newTown(rng *rand.Rand) *town {
	w := &town{rng: rng, crossed: rng.IntN(2) == 0, now: 1_764_324_000_000, last: map[track.DeviceID]track.Fix{}, where: map[track.DeviceID]geo.Point{}}
	for i := range 6 {
		w.fs = append(w.fs, w.fence(fmt.Sprintf("f%d", i)))
	}
	w.publish()
	return w
}

func (w *town) publish() {
	set, err := fences.NewSet(w.fs, &w.cat)
	if err != nil {
		panic(err)
	}
	w.set = set
}

func (w *town) chance(p float64) bool { return w.rng.Float64() < p }

func (w *town) near(m float64) geo.Point {
	return geo.Point{
		Lat: townLat + (w.rng.Float64()*2-1)*m/111_200,
		Lng: townLng + (w.rng.Float64()*2-1)*m/70_900,
	}
}

func (w *town) fence(id string) fences.Fence {
	f := fences.Fence{ID: fences.ID(id), Location: time.UTC, Crossed: w.crossed && w.chance(0.4)}
	var err error
	if w.chance(0.7) {
		f.Shape, err = geo.NewCircle(w.near(600), []float64{40, 120, 200, 350, 900}[w.rng.IntN(5)])
	} else {
		c, d := w.near(500), 0.001+w.rng.Float64()*0.004
		f.Shape, err = geo.NewPolygons([]geo.Polygon{{{
			{Lat: c.Lat - d, Lng: c.Lng - d}, {Lat: c.Lat - d, Lng: c.Lng + d}, {Lat: c.Lat + d, Lng: c.Lng}, {Lat: c.Lat - d, Lng: c.Lng - d},
		}}})
	}
	if err != nil {
		panic(err)
	}
	if w.chance(0.3) {
		f.MinStay = time.Duration(30+w.rng.IntN(200)) * time.Second
	}
	if w.chance(0.3) {
		f.MinAway = time.Duration(30+w.rng.IntN(400)) * time.Second
	}
	if w.chance(0.4) {
		f.Dwell = time.Duration(60+w.rng.IntN(600)) * time.Second
	}
	if w.chance(0.2) {
		f.Initial = new(w.chance(0.5))
	}
	if w.chance(0.2) {
		f.ExitMarginM = 10 + w.rng.Float64()*50
	}
	if w.chance(0.2) {
		f.MaxAccuracyM = 10 + w.rng.Float64()*100
	}
	return f
}

// edit changes the fences in one of the ways people do.
func (w *town) edit() {
	i := w.rng.IntN(len(w.fs))
	w.fs = slices.Clone(w.fs)
	switch w.rng.IntN(4) {
	case 0: // redraw
		id := string(w.fs[i].ID)
		w.fs[i] = w.fence(id)
	case 1: // rename
		w.fs[i].Name = fmt.Sprint(w.rng.IntN(1000))
	case 2: // remove
		if len(w.fs) > 2 {
			w.fs = slices.Delete(w.fs, i, i+1)
		}
	case 3: // add, or put back
		id := fences.ID(fmt.Sprintf("f%d", w.rng.IntN(9)))
		if !slices.ContainsFunc(w.fs, func(f fences.Fence) bool { return f.ID == id }) {
			w.fs = append(w.fs, w.fence(string(id)))
		}
	}
	w.publish()
}

// input makes the next input of a random device.
func (w *town) input() (track.DeviceID, track.Fix) {
	id := track.DeviceID(fmt.Sprintf("shop.d%d", w.rng.IntN(4)))
	last, known := w.last[id]
	if known && w.chance(0.06) {
		return id, last // the same message again
	}
	switch {
	case w.chance(0.01):
		w.now += 13 * 3600_000
	case w.chance(0.05):
		w.now += w.rng.Int64N(3600_000)
	default:
		w.now += w.rng.Int64N(60_000)
	}
	f := track.Fix{FixedAt: w.now, ReceivedAt: w.now, HasPosition: true, SpeedMPS: -1}
	p, ok := w.where[id]
	switch {
	case !ok || w.chance(0.1):
		p = w.near(1200)
	case w.chance(0.4): // stay about where it is
		p.Lat += (w.rng.Float64() - 0.5) * 0.0005
		p.Lng += (w.rng.Float64() - 0.5) * 0.0005
	default: // go somewhere near a fence's edge
		s := &w.fs[w.rng.IntN(len(w.fs))].Shape
		c, r := s.Center(), s.SizeM()*(0.5+w.rng.Float64())
		a := w.rng.Float64() * 2 * math.Pi
		p = geo.Point{Lat: c.Lat + r*math.Cos(a)/111_200, Lng: c.Lng + r*math.Sin(a)/70_900}
	}
	switch {
	case w.chance(0.04): // far away: a jump
		p.Lat += 0.3 * w.rng.Float64()
	default:
		w.where[id] = p
	}
	f.Lat, f.Lng = e7(p.Lat), e7(p.Lng)
	f.AccuracyM = []float32{0, 3, 5, 5, 8, 15, 30, 60, 120, 400, 2000, 17000}[w.rng.IntN(12)]
	switch {
	case known && w.chance(0.05):
		f.FixedAt = last.FixedAt // the same time
	case w.chance(0.05):
		f.FixedAt -= w.rng.Int64N(200_000) // late
	}
	switch {
	case w.chance(0.05):
		f.ReceivedAt += w.rng.Int64N(1_300_000) // perhaps stale
	case w.chance(0.03):
		f.ReceivedAt -= w.rng.Int64N(300_000) // perhaps skewed
	}
	if w.chance(0.15) {
		f.Source = track.SourceOSEnter + track.Source(w.rng.IntN(3))
		f.Fence = fmt.Sprintf("f%d", w.rng.IntN(9))
		f.HasPosition = w.chance(0.5)
		if f.HasPosition && w.chance(0.1) {
			f.Fence = ""
		}
	}
	if w.chance(0.02) {
		f.Mock = true
	}
	w.last[id] = f
	return id, f
}

func e7(x float64) float64 { return math.Round(x*1e7) / 1e7 }

// TestAgainstModel plays random towns through the Tracker, through one that is
// restarted from its rows at random moments, and through the slow model. All
// three must answer the same to every input; re-delivered input must do
// nothing; and equal state must give equal rows.
func TestAgainstModel(t *testing.T) {
	towns := 40
	if os.Getenv("FOOTFALL_LONG") != "" {
		towns = 6000
	}
	seed := dice.Seed(t)
	var verdicts [track.Replayed + 1]int
	kinds := map[string]int{}
	for n := range towns {
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		rules := track.DefaultRules()
		rules.BufferEntries = rng.IntN(4) == 0
		rules.InferExit = rng.IntN(2) == 0
		rules.Initial = rng.IntN(3) > 0
		rules.Crossed = rng.IntN(4) == 0
		if rng.IntN(4) == 0 {
			rules.MinStay, rules.MinAway, rules.Dwell = time.Minute, 2*time.Minute, 4*time.Minute
		}
		w := newTown(rng)
		m, steady, restarted := newModel(rules), track.New(rules), track.New(rules)
		var a, b track.Result
		for pos := uint64(1); pos <= 600; pos++ {
			if w.chance(0.02) {
				w.edit()
			}
			id, f := w.input()
			at := pos
			if w.chance(0.02) {
				at = pos - uint64(w.rng.IntN(int(min(pos, 5)))) // some are delivered again
			}
			if w.chance(0.05) {
				restarted = restart(t, restarted, rules)
			}
			want := m.apply(w.set, id, f, at)
			steady.Apply(w.set, id, f, at, &a)
			restarted.Apply(w.set, id, f, at, &b)
			if got := answerOf(&a); !got.equal(want) {
				t.Fatalf("FOOTFALL_SEED=%d town %d input %d: device %s fix %+v\n got %+v\nwant %+v", seed, n, pos, id, f, got, want)
			}
			if got := answerOf(&b); !got.equal(want) {
				t.Fatalf("FOOTFALL_SEED=%d town %d input %d after restarts: device %s fix %+v\n got %+v\nwant %+v", seed, n, pos, id, f, got, want)
			}
			rowA, _ := steady.Encode(nil, id)
			rowB, _ := restarted.Encode(nil, id)
			if !bytes.Equal(rowA, rowB) {
				t.Fatalf("FOOTFALL_SEED=%d town %d input %d: rows differ after a restart\n%x\n%x", seed, n, pos, rowA, rowB)
			}
			verdicts[a.Verdict]++
			for i := range a.Transitions {
				kinds[a.Transitions[i].Kind.String()]++
				for _, r := range a.Transitions[i].Reason.Names() {
					kinds[r]++
				}
			}
			for _, n := range a.Notes {
				kinds[n.Kind.String()]++
			}
		}
	}
	// The workload is worth nothing when it does not reach every outcome.
	for v := track.Accepted; v <= track.Replayed; v++ {
		if verdicts[v] == 0 {
			t.Errorf("FOOTFALL_SEED=%d: no input was %v", seed, v)
		}
	}
	for _, k := range []string{
		"enter", "exit", "dwell", "crossed", "initial", "resumed", "fence_created", "fence_changed", "fence_deleted",
		"device", "stale", "skewed", "inferred", "accuracy_too_poor", "pending_min_stay", "pending_min_away", "inside_margin",
		"exit_accuracy_too_poor", "initial_off", "unknown_fence",
	} {
		if kinds[k] == 0 {
			t.Errorf("FOOTFALL_SEED=%d: nothing was %s", seed, k)
		}
	}
}

// restart moves every device to a new tracker through its row.
func restart(t *testing.T, old *track.Tracker, rules track.Rules) *track.Tracker {
	t.Helper()
	next := track.New(rules)
	for i := range 4 {
		id := track.DeviceID(fmt.Sprintf("shop.d%d", i))
		row, ok := old.Encode(nil, id)
		if !ok {
			continue
		}
		if err := next.Restore(id, row); err != nil {
			t.Fatal(err)
		}
		again, _ := next.Encode(nil, id)
		if !bytes.Equal(row, again) {
			t.Fatalf("row changes by being stored: %x, %x", row, again)
		}
	}
	return next
}
