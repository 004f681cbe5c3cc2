package outbox

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFrontMissesNothing lets rows become visible, be placed, end, and be looked for in every order that transactions
// allow: a row is placed after it has become visible, and a look sees what was visible when it read. No look may begin
// behind a row that is placed and has not ended.
func TestFrontMissesNothing(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 0))
	type row struct {
		due    int64
		placed bool
	}
	var f front
	var rows []*row
	looking, first := false, int64(0)
	looks, moved := 0, 0
	for range 200_000 {
		switch rng.IntN(6) {
		case 0:
			rows = append(rows, &row{due: rng.Int64N(1_000)})
		case 1, 2:
			if i := slices.IndexFunc(rows, func(r *row) bool { return !r.placed }); i >= 0 {
				rows[i].placed = true
				f.place(rows[i].due)
			}
		case 3: // one that has been sent
			if i := rng.IntN(len(rows) + 1); i < len(rows) && rows[i].placed {
				rows = slices.Delete(rows, i, i+1)
			}
		case 4:
			if looking {
				break
			}
			looking, first = true, math.MaxInt64
			from := f.look()
			looks++
			if from > 0 {
				moved++
			}
			for _, r := range rows {
				if r.placed && r.due < from {
					t.Fatalf("seed %d, look %d begins at %d; a row is due at %d", seed, looks, from, r.due)
				}
				if r.due >= from {
					first = min(first, r.due)
				}
			}
		case 5:
			if looking {
				looking = false
				f.saw(first)
			}
		}
	}
	if looks < 10_000 || moved < looks/2 {
		t.Errorf("%d looks, %d of them not from the beginning", looks, moved)
	}
}
