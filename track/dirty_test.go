package track_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"footfall/internal/dice"
	"footfall/track"
)

// TestDirty checks that a checkpoint which stores every dirty row can restart
// the whole tracker at any time.
func TestDirty(t *testing.T) {
	seed := dice.Seed(t)
	w := newTown(rand.New(rand.NewPCG(seed, 0)))
	rules := track.DefaultRules()
	tr := track.New(rules)
	stored := map[track.DeviceID]string{}
	var res track.Result
	for pos := uint64(1); pos <= 3000; pos++ {
		id, f := w.input()
		tr.Apply(w.set, id, f, pos, &res)
		if w.chance(0.01) {
			tr.Forget(id)
			delete(stored, id)
		}
		if !w.chance(0.1) {
			continue
		}
		dirty := tr.Dirty(nil)
		if sorted := slices.Sorted(slices.Values(dirty)); len(slices.Compact(sorted)) != len(dirty) {
			t.Fatalf("FOOTFALL_SEED=%d: a device twice in %v", seed, dirty)
		}
		for _, id := range dirty {
			row, ok := tr.Encode(nil, id)
			if !ok {
				t.Fatalf("FOOTFALL_SEED=%d: dirty device %s has no row", seed, id)
			}
			stored[id] = string(row)
			tr.MarkClean(id)
		}
		if again := tr.Dirty(nil); len(again) != 0 {
			t.Fatalf("FOOTFALL_SEED=%d: still dirty: %v", seed, again)
		}
		if len(stored) != tr.Len() {
			t.Fatalf("FOOTFALL_SEED=%d: %d rows stored of %d devices", seed, len(stored), tr.Len())
		}
		for id, row := range stored {
			if now, _ := tr.Encode(nil, id); string(now) != row {
				t.Fatalf("FOOTFALL_SEED=%d: %s changed without being dirty", seed, id)
			}
		}
	}
}
