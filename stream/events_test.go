package stream

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"footfall/internal/db"
)

// Each committed event comes to the relay once and in order: in memory, and from the ledger where that is bounded, and never one that was
// erased or whose transaction failed.
func TestEventsAreHandedOver(t *testing.T) {
	d, err := db.Open(db.Config{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	var c counters
	open := func() *eventLog {
		t.Helper()
		l, err := openEventLog(d, &c, (&clock{t: noon}).now)
		if err != nil {
			t.Fatal(err)
		}
		l.room = 3
		return l
	}
	l := open()
	put := func(ids ...string) error {
		return d.Update(t.Context(), func(tx *db.Tx) error {
			for _, id := range ids {
				if id == "fail" {
					return errors.New("no")
				}
				if err := l.append(tx, id, "ev.shop.test."+id, PushEvent{ID: id}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	must := func(ids ...string) {
		t.Helper()
		if err := put(ids...); err != nil {
			t.Fatal(err)
		}
	}
	// expect looks at what is owed, and relays it.
	expect := func(what string, timed bool, want ...string) {
		t.Helper()
		rows, err := l.owing(d)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range rows {
			got = append(got, r.ID)
			if r.Subject != "ev.shop.test."+r.ID || len(r.Data) == 0 || (r.durableUS == noon.UnixMicro()) != timed {
				t.Errorf("%s: %s on %s, durable at %d: %s", what, r.ID, r.Subject, r.durableUS, r.Data)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
		if len(rows) > 0 {
			l.relayed(rows[len(rows)-1].n)
		}
	}
	expect("nothing yet", false)
	must("a", "b")
	if put("x", "fail") == nil {
		t.Fatal("a transaction that was to fail did not")
	}
	must("c")
	expect("in memory", true, "a", "b", "c")
	expect("all relayed", false)

	must("d")
	must("e", "f", "g") // more than there is room for
	must("h")
	expect("too many to remember", false, "d", "e", "f", "g")
	expect("in memory again", true, "h")

	must("i")
	must("gone")
	must("j")
	if n, err := l.erase(t.Context(), d, func(data []byte) bool { return bytes.Contains(data, []byte("gone")) }); n != 1 || err != nil {
		t.Errorf("%d erased, err %v", n, err)
	}
	expect("one was erased", false, "i", "j")

	// Nothing has left the ledger but that one: a new run begins with all of them, and has new ones after them.
	l = open()
	must("k")
	expect("an earlier run's", false, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
	expect("its own", true, "k")
}
