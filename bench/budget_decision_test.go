package bench

import (
	"slices"
	"testing"

	"footfall/bench/world"
	"footfall/track"
)

var decisionOperations = map[string]operation{
	"decision/batch/fences=100":   func(tb testing.TB) func(int) { return decision(tb, 100, true) },
	"decision/batch/fences=20000": func(tb testing.TB) func(int) { return decision(tb, 20_000, true) },
	"decision/single/fences=100":  func(tb testing.TB) func(int) { return decision(tb, 100, false) },
}

// decision is pings of known devices near fences.
func decision(tb testing.TB, fenceCount int, batch bool) func(int) {
	shapes := world.Stores(fenceCount)
	set, t := fenceSet(tb, shapes), track.New(track.DefaultRules())
	const devices = 1024
	f := &fleet{ids: deviceIDs(devices), at: world.Walkers(shapes, devices, 4), now: 1_764_324_000_000}
	var res track.Result
	res.Transitions = make([]track.Transition, 0, 16)
	each := func(_ int, res *track.Result) { sink += uint64(len(res.Transitions)) }
	t.ApplyBatch(set, f.batch(4*devices), &res, each)
	in := slices.Clone(f.batch(maxOps))
	return func(n int) {
		if batch {
			for i := 0; i < n; i += 128 {
				t.ApplyBatch(set, in[i:i+128], &res, each)
			}
			return
		}
		for k := range in[:n] {
			t.Apply(set, in[k].ID, in[k].Fix, in[k].Pos, &res)
			each(k, &res)
		}
	}
}
