package track_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"footfall/track"
)

// TestWithdraw: whatever a device has done, a withdrawal leaves nothing of it but a log position, no input has an effect until
// Readmit, and from then on the device is like one that was never seen. A log that is read again from anywhere, over rows that are
// further than that, comes to the same.
func TestWithdraw(t *testing.T) {
	const id = track.DeviceID("shop.0123456789abcdef")
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 29))
		w := newTown(rng)
		rules := track.DefaultRules()
		if seed%5 == 4 {
			rules = track.PlainRules()
		}
		var fixes []track.Fix
		for range 120 {
			_, f := w.input()
			fixes = append(fixes, f)
		}
		base := seed << 48 // the last are of epochs that do not fit in a record
		const out, back = 40, 80
		// The device's log: position base+n is input n, but for the two words of the person.
		apply := func(tr *track.Tracker, n int, res *track.Result) {
			switch pos := base + uint64(n); n {
			case out:
				tr.Withdraw(id, pos)
			case back:
				tr.Readmit(id, pos)
			default:
				tr.Apply(w.set, id, fixes[n], pos, res)
			}
		}
		tr, fresh := track.New(rules), track.New(rules)
		for e := range seed { // the table knows the epochs in their order
			tr.Apply(w.set, "shop.other", fixes[0], e<<48+1, new(track.Result))
		}
		var res, want track.Result
		var rows [][]byte
		for n := 1; n < len(fixes); n++ {
			before := tr.Len()
			apply(tr, n, &res)
			switch {
			case n >= out && n < back:
				row, _ := tr.Encode(nil, id)
				p, known := tr.Presence(id)
				if !known || !track.Withdrawn(row) || len(row) > 15 || !cmp.Equal(p, track.Presence{LastPos: base + out, Withdrawn: true}) {
					t.Fatalf("seed %d, input %d: %v, presence %+v, row %x", seed, n, known, p, row)
				}
				if n > out && (res.Verdict != track.NoConsent || len(res.Transitions)+len(res.Notes) > 0 || res.Visiting) {
					t.Fatalf("seed %d, input %d after the withdrawal: %+v", seed, n, res)
				}
				if tr.Withdraw(id, base+uint64(n)) || tr.Len() != before {
					t.Fatalf("seed %d: a second withdrawal is a change", seed)
				}
			case n > back:
				fresh.Apply(w.set, id, fixes[n], base+uint64(n), &want)
				if fmt.Sprint(res.Transitions) != fmt.Sprint(want.Transitions) || res.Verdict != want.Verdict {
					t.Fatalf("seed %d, input %d: %+v, of a new device %+v", seed, n, res, want)
				}
			}
			row, _ := tr.Encode(nil, id)
			rows = append(rows, row) // after input n at n-1
		}
		final := rows[len(rows)-1]
		for range 20 {
			have := rng.IntN(len(rows)) // the row that the ledger has
			from := rng.IntN(have + 1)  // the checkpoint
			again := track.New(rules)
			if rows[have] != nil {
				if err := again.Restore(id, rows[have]); err != nil {
					t.Fatal(err)
				}
			}
			for n := from + 1; n < len(fixes); n++ {
				apply(again, n, &res)
			}
			if got, _ := again.Encode(nil, id); !bytes.Equal(got, final) {
				t.Fatalf("seed %d, row after input %d, read again from %d: %x, want %x", seed, have+1, from+1, got, final)
			}
		}
	}
}

func TestWithdrawUnknownDevice(t *testing.T) {
	tr := track.New(track.DefaultRules())
	if tr.Readmit("shop.a", 1) || tr.Len() != 0 {
		t.Error("consent given by a device that is not known is a change")
	}
	if tr.Withdraw("", 1) || !tr.Withdraw("shop.a", 1) || tr.Len() != 1 {
		t.Error("a device that is not known could not be withdrawn")
	}
	if dirty := tr.Dirty(nil); len(dirty) != 1 {
		t.Errorf("%v are to be stored", dirty)
	}
}
