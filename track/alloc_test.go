//go:build !race

package track_test

import (
	"testing"

	"footfall/track"
)

// TestApplyDoesNotAllocate: a ping that makes no transition costs no garbage,
// for a device far away as for one inside a fence, in its margin, or repeating
// itself. The race detector allocates by itself, so the test is not built then.
func TestApplyDoesNotAllocate(t *testing.T) {
	w := newWorkload(t, 200, 500, 1, 0.5)
	tr := track.New(track.DefaultRules())
	var res track.Result
	pos, now := uint64(0), int64(1_764_324_000_000)
	round := func(step int64) (transitions int) {
		now += step
		for i, id := range w.devices {
			f := w.steps[0][i]
			f.FixedAt, f.ReceivedAt = now, now
			pos++
			tr.Apply(w.set, id, f, pos, &res)
			transitions += len(res.Transitions)
		}
		return transitions
	}
	if round(30_000) == 0 {
		t.Fatal("no device is inside a fence: the test would prove nothing")
	}
	for _, c := range []struct {
		name string
		step int64
	}{{"moving on", 30_000}, {"duplicates", 0}} {
		allocs := testing.AllocsPerRun(20, func() {
			if n := round(c.step); n != 0 {
				t.Errorf("%s: %d transitions in a round that should make none", c.name, n)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations in a round of %d pings", c.name, allocs, len(w.devices))
		}
	}
	// Late, refused and replayed pings.
	late := w.steps[0][0]
	late.FixedAt, late.ReceivedAt = now-1, now-1
	bad := late
	bad.Lat = 91
	if n := testing.AllocsPerRun(100, func() {
		pos++
		tr.Apply(w.set, w.devices[0], late, pos, &res)
		tr.Apply(w.set, w.devices[0], late, pos, &res)
		pos++
		tr.Apply(w.set, w.devices[0], bad, pos, &res)
	}); n != 0 {
		t.Errorf("late, replayed and refused: %v allocations", n)
	}
}

// TestApplyBatchDoesNotAllocate: nor does a batch of such pings.
func TestApplyBatchDoesNotAllocate(t *testing.T) {
	w := newWorkload(t, 200, 500, 1, 0.5)
	tr := track.New(track.DefaultRules())
	var res track.Result
	pos, now := uint64(0), int64(1_764_324_000_000)
	var batch track.Batch
	var counts track.Counts
	transitions, visiting := 0, 0
	each := func(_ int, res *track.Result) {
		transitions += len(res.Transitions)
		if res.Visiting {
			visiting++
		}
	}
	round := func() {
		now += 30_000
		batch.Reset()
		for i, id := range w.devices {
			pos++
			f := w.steps[0][i]
			f.FixedAt, f.ReceivedAt = now, now
			batch.Add(id, &f, pos)
			if batch.Len() == track.BatchSize {
				tr.ApplyBatch(w.set, &batch, &counts, &res, each)
				batch.Reset()
			}
		}
		tr.ApplyBatch(w.set, &batch, &counts, &res, each)
	}
	if round(); transitions == 0 {
		t.Fatal("no device is inside a fence: the test would prove nothing")
	}
	round()
	transitions, visiting = 0, 0
	if n := testing.AllocsPerRun(20, round); n != 0 || transitions != 0 || visiting == 0 {
		t.Errorf("%v allocations, %d transitions in a round of %d pings, %d inside", n, transitions, len(w.devices), visiting)
	}
}
