package db

import (
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// Badger is told the oldest version that somebody reads, whatever the order in which Views end.
func TestDiscardFollowsTheOldestView(t *testing.T) {
	d := mustOpen(t, Config{InMemory: true})
	var told []uint64
	s := &snapshots{discard: func(v uint64) { told = append(told, v) }}
	expect := func(what string, want ...uint64) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Errorf("%s: told %v, want %v", what, told, want)
		}
		told = nil
	}
	s.replace(d.snapshotAt(1))
	expect("opened", 1)
	a := s.take()
	s.replace(d.snapshotAt(2))
	b, c := s.take(), s.take()
	s.replace(d.snapshotAt(3))
	expect("1 is still read")
	s.drop(b)
	s.drop(a)
	expect("2 is still read", 2)
	s.drop(c)
	expect("only the latest is left", 3)

	a = s.take()
	s.replace(d.snapshotAt(4))
	b = s.take()
	s.replace(d.snapshotAt(5))
	s.drop(b)
	expect("the older one is still read")
	s.drop(a)
	expect("both have gone", 5)
	s.replace(nil)
	expect("closed")
}

// A compaction leaves what a View reads, and takes back what nobody does.
func TestCompactionKeepsWhatIsRead(t *testing.T) {
	d := mustOpen(t, Config{Dir: t.TempDir(), NoSync: true, NoCompaction: true, MinFree: 1})
	compact := func() {
		t.Helper()
		set(t, d, "A", "") // the new table has to reach over the row in question
		set(t, d, "z", "")
		// Besides, it writes what is in memory to a table and merges that with the others.
		if err := d.bdb.DropPrefix(tkey("z")); err != nil {
			t.Fatal(err)
		}
	}
	versions := func() (n int) {
		t.Helper()
		err := d.bdb.View(func(txn *badger.Txn) error {
			opts := badger.DefaultIteratorOptions
			opts.AllVersions = true
			it := txn.NewKeyIterator(tkey("a"), opts)
			defer it.Close()
			for it.Rewind(); it.Valid(); it.Next() {
				n++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	set(t, d, "a", "1")
	err := d.View(func(tx *Tx) error {
		set(t, d, "a", "2")
		set(t, d, "a", "3")
		compact()
		if val, err := tx.Get(tkey("a")); err != nil || string(val) != "1" {
			t.Errorf("the View that was there before reads %q, %v; want 1", val, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := versions(); n != 3 {
		t.Errorf("%d versions while the first was read, want 3", n)
	}
	compact()
	if n := versions(); n != 1 {
		t.Errorf("%d versions when nobody reads the older ones, want 1", n)
	}
	if got := get(t, d, "a"); got != "3" {
		t.Errorf("a is %s, want 3", got)
	}
}
