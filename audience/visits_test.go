package audience

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/internal/db"
)

// TestVisitsOf: a person's visits are those of all the person's devices, also from before it signed in; two phones
// in one fence at one time are one visit; the end is kept when it is seen, and a repeat changes nothing.
func TestVisitsOf(t *testing.T) {
	now := time.UnixMilli(100 * 24 * 3_600_000)
	d, err := db.Open(db.Config{InMemory: true, NoCompaction: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	at := func(hours int64) int64 { return now.UnixMilli() + hours*3_600_000 }
	put := func(tx *db.Tx, device, fence string, from, to int64) {
		t.Helper()
		for range 2 {
			if err := PutVisit(tx, &Visit{Device: device, Fence: fence, Tags: []string{"kyiv"}, At: at(from)}, KeepVisits); err != nil {
				t.Fatal(err)
			}
			if to > 0 {
				if err := EndVisit(tx, device, fence, at(from), at(to), KeepVisits); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	err = d.Update(t.Context(), func(tx *db.Tx) error {
		for _, device := range []string{"shop.d1", "shop.d2", "shop.d11"} {
			p := Profile{Device: device, Person: "u1"}
			if device == "shop.d11" {
				p.Person = ""
			}
			if err := Put(tx, &p); err != nil {
				return err
			}
		}
		put(tx, "shop.d1", "k01", 1, 3)
		put(tx, "shop.d2", "k01", 2, 4)  // with the other phone
		put(tx, "shop.d2", "k02", 2, 0)  // in an overlapping fence
		put(tx, "shop.d1", "k01", 6, 0)  // no exit seen
		put(tx, "shop.d1", "k01", 7, 0)  // the same phone again: it must have left
		put(tx, "shop.d2", "k01", 20, 0) // half a day later
		put(tx, "shop.d11", "k01", 1, 2) // somebody else, whose id begins the same
		return EndVisit(tx, "shop.d1", "k09", at(1), at(2), KeepVisits)
	})
	if err != nil {
		t.Fatal(err)
	}
	list := func(p *Profile) (out [][3]any) {
		t.Helper()
		err := d.View(func(tx *db.Tx) error {
			vs, err := VisitsOf(tx, p)
			for _, v := range vs {
				until := int64(0)
				if v.Until > 0 {
					until = (v.Until - now.UnixMilli()) / 3_600_000
				}
				out = append(out, [3]any{v.Fence, (v.At - now.UnixMilli()) / 3_600_000, until})
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	i := func(n int64) any { return n }
	want := [][3]any{{"k01", i(1), i(4)}, {"k02", i(2), i(0)}, {"k01", i(6), i(0)}, {"k01", i(7), i(0)}, {"k01", i(20), i(0)}}
	if diff := cmp.Diff(want, list(&Profile{Device: "shop.d1", Person: "u1"})); diff != "" {
		t.Error("of the person (-want +got):", diff)
	}
	if got := list(&Profile{Device: "shop.d11"}); len(got) != 1 {
		t.Error("of the other device:", got)
	}
	if err := d.Update(t.Context(), func(tx *db.Tx) error { return Erase(tx, "shop.d11") }); err != nil {
		t.Fatal(err)
	}
	if got := list(&Profile{Device: "shop.d11"}); got != nil {
		t.Error("erased, but still there:", got)
	}
	if got := list(&Profile{Device: "shop.d1"}); len(got) != 3 {
		t.Error("of the device alone:", got)
	}
	now = now.Add(KeepVisits + 21*time.Hour)
	if got := list(&Profile{Device: "shop.d1", Person: "u1"}); got != nil {
		t.Error("a year later:", got)
	}
}
