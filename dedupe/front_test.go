package dedupe

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/internal/db"
)

// TestFrontAgreesWithTheDisk claims, commits, releases, lets time pass, fails transactions half-way and restarts, at
// random, and asks of every answer whether the rows on disk give the same.
func TestFrontAgreesWithTheDisk(t *testing.T) {
	now := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	cfg := db.Config{Dir: filepath.Join(t.TempDir(), "db"), NoSync: true, MinFree: 1, Now: func() time.Time { return now }}
	d, err := db.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 8))
	fail := errors.New("fails on purpose")
	hits := 0
	keys := make([]Key, 12)
	for i := range keys {
		keys[i] = Key{Campaign: fmt.Sprint("c", i%2), Subject: fmt.Sprint("d:", i), Period: "2026-11-28"}
	}
	// check compares what the front says about a row with the row.
	check := func(tx *db.Tx, k Key) {
		f := frontOf(tx)
		got := f.get(&k, tx.NowMS())
		if got == nil {
			return
		}
		hits++
		val, err := tx.Get(k.Bytes())
		if err != nil {
			t.Fatalf("the front knows %+v of %v, the disk says %v", got, k, err)
		}
		want, err := decode(val)
		if d := cmp.Diff(want, *got); err != nil || d != "" {
			t.Fatalf("%v: %v\n%s", k, err, d)
		}
	}
	rounds := 3000
	if testing.Short() {
		rounds = 800
	}
	for round := range rounds {
		k := keys[rng.IntN(len(keys))]
		var done []chan error
		for range 1 + rng.IntN(4) { // often several in one group
			ch := make(chan error, 1)
			done = append(done, ch)
			k2, op, broken := keys[rng.IntN(len(keys))], rng.IntN(4), rng.IntN(4) == 0
			err := d.Submit(t.Context(), func(tx *db.Tx) error {
				check(tx, k2)
				c, found, err := loadKey(tx, &k2)
				if err != nil {
					return err
				}
				switch {
				case op == 0 && found:
					err = Commit(tx, k2, c.MID)
				case op == 1 && found:
					if err = Release(tx, k2, c.MID, "test"); errors.Is(err, ErrCommitted) {
						err = nil
					}
				default:
					_, _, err = Reserve(tx, k2, Period{Kind: PeriodDay}, Claim{At: now, PeriodEnds: now.Add(time.Hour), Fence: "f"})
				}
				check(tx, k2)
				check(tx, k)
				if err == nil && broken {
					return fail
				}
				return err
			}, func(err error) { ch <- err })
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, ch := range done {
			if err := <-ch; err != nil && err != fail {
				t.Fatal(err)
			}
		}
		if rng.IntN(40) == 0 {
			now = now.Add(time.Duration(rng.IntN(60)) * time.Hour)
		}
		if round%500 == 499 {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if d, err = db.Open(cfg); err != nil {
				t.Fatal(err)
			}
		}
	}
	if hits < rounds {
		t.Errorf("the front answered %d times in %d rounds: it is not used", hits, rounds)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFrontIsBounded: it never holds more than its capacity, and what it lost is answered all the same.
func TestFrontIsBounded(t *testing.T) {
	f := &front{half: 50, new: map[Key]*known{}, old: map[Key]*known{}}
	for i := range 10_000 {
		f.learn(Key{Subject: fmt.Sprint(i)}, Claim{State: Reserved})
		if n := len(f.new) + len(f.old); n > 100 {
			t.Fatalf("%d claims after %d", n, i)
		}
	}
	if f.get(&Key{Subject: "9999"}, 0) == nil {
		t.Error("the last one is not known")
	}
}

// BenchmarkRepeatClaim is a claim that stands already: the front's answer alone, the whole of Reserve with it, and Reserve
// without it, answered by Badger's memory.
func BenchmarkRepeatClaim(b *testing.B) {
	d, err := db.Open(db.Config{Dir: b.TempDir(), NoSync: true, MinFree: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	at := time.Now()
	ends := at.Add(time.Hour)
	keys := make([]Key, 10_000)
	for i := range keys {
		keys[i] = Key{Campaign: "welcome", Subject: fmt.Sprint("d:shop.device", i), Period: "2026-11-28"}
	}
	reserve := func(tx *db.Tx, k Key) bool {
		_, won, err := Reserve(tx, k, Period{Kind: PeriodDay}, Claim{At: at, PeriodEnds: ends, Fence: "f"})
		if err != nil {
			b.Fatal(err)
		}
		return won
	}
	for i := range keys {
		if err := d.Update(b.Context(), func(tx *db.Tx) error { reserve(tx, keys[i]); return nil }); err != nil {
			b.Fatal(err)
		}
	}
	for _, bm := range []struct {
		name string
		one  func(*db.Tx, *Key) (won bool)
	}{
		{"front", func(tx *db.Tx, k *Key) bool {
			return recent(tx, k) == nil
		}},
		{"reserve", func(tx *db.Tx, k *Key) bool { return reserve(tx, *k) }},
		{"badger", func(tx *db.Tx, k *Key) bool {
			frontOf(tx).forget(k)
			return reserve(tx, *k)
		}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			err := d.Update(b.Context(), func(tx *db.Tx) error {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if bm.one(tx, &keys[i%len(keys)]) {
						b.Fatal("claimed twice")
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

// TestRepeatAllocatesNothing: a repeat is answered without a new object.
func TestRepeatAllocatesNothing(t *testing.T) {
	d, err := db.Open(db.Config{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	at := time.Now()
	k := Key{Campaign: "welcome", Subject: "d:shop.device", Period: "2026-11-28"}
	reserve := func(tx *db.Tx) bool {
		_, won, err := Reserve(tx, k, Period{Kind: PeriodDay}, Claim{At: at, PeriodEnds: at.Add(time.Hour), Fence: "f"})
		if err != nil {
			t.Error(err)
		}
		return won
	}
	if err := d.Update(t.Context(), func(tx *db.Tx) error { reserve(tx); return nil }); err != nil {
		t.Fatal(err)
	}
	err = d.Update(t.Context(), func(tx *db.Tx) error {
		n := testing.AllocsPerRun(1000, func() {
			if reserve(tx) {
				t.Error("claimed twice")
			}
		})
		if n > 0 {
			t.Errorf("a repeat makes %v objects", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
