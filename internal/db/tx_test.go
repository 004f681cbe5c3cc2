package db

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// scanAll lists "key=value" of the test space from a key on.
func scanAll(t testing.TB, tx *Tx, from []byte) []string {
	t.Helper()
	var got []string
	err := tx.Scan(testSpace.Prefix(), from, func(key, val []byte) (bool, error) {
		parts, ok := testSpace.Split(key)
		if !ok {
			return false, fmt.Errorf("bad key % x", key)
		}
		got = append(got, string(bytes.Join(parts, []byte("/")))+"="+string(val))
		return true, nil
	})
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	return got
}

func TestScanMergesOwnWritesWithStoredRows(t *testing.T) {
	d := mustOpen(t, Config{InMemory: true})
	for _, k := range []string{"a", "c", "e", "g"} {
		set(t, d, k, "stored")
	}
	err := d.Update(t.Context(), func(tx *Tx) error {
		for _, err := range []error{
			tx.Set(tkey("b"), []byte("new")), tx.Set(tkey("c"), []byte("over")),
			tx.Delete(tkey("e")), tx.Delete(tkey("absent")), tx.Set(tkey("z"), nil),
		} {
			if err != nil {
				return err
			}
		}
		want := []string{"a=stored", "b=new", "c=over", "g=stored", "z="}
		if diff := cmp.Diff(want, scanAll(t, tx, nil)); diff != "" {
			t.Errorf("scan (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want[2:], scanAll(t, tx, tkey("c"))); diff != "" {
			t.Errorf("scan from c (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want[3:], scanAll(t, tx, After(tkey("c")))); diff != "" {
			t.Errorf("scan after c (-want +got):\n%s", diff)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestScanAllowsWritingAndNesting(t *testing.T) {
	d := mustOpen(t, Config{InMemory: true})
	for _, k := range []string{"a", "b", "c", "d"} {
		set(t, d, k, "1")
	}
	err := d.Update(t.Context(), func(tx *Tx) error {
		seen := ""
		err := tx.Scan(testSpace.Prefix(), nil, func(key, _ []byte) (bool, error) {
			parts, _ := testSpace.Split(key)
			seen += string(parts[0])
			inner := len(scanAll(t, tx, nil))
			if string(parts[0]) == "a" {
				if inner != 4 {
					t.Errorf("nested scan saw %d rows", inner)
				}
				return true, tx.Delete(tkey("b")) // ahead: must not be visited
			}
			return true, tx.Delete(key)
		})
		if seen != "acd" {
			t.Errorf("visited %q, want acd", seen)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.View(func(tx *Tx) error {
		if got := scanAll(t, tx, nil); !slices.Equal(got, []string{"a=1"}) {
			t.Errorf("left %v", got)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestViewCannotWriteAndForeignKeysAreRefused(t *testing.T) {
	d := mustOpen(t, Config{InMemory: true})
	err := d.View(func(tx *Tx) error { return tx.Set(tkey("a"), nil) })
	if !errors.Is(err, ErrReadOnly) {
		t.Errorf("write in View: %v", err)
	}
	for _, key := range [][]byte{nil, {0xF1}, {0xEE, 1}, formatKey} {
		err := d.Update(t.Context(), func(tx *Tx) error { return tx.Set(key, nil) })
		if !errors.Is(err, ErrKey) {
			t.Errorf("key % x: %v, want ErrKey", key, err)
		}
	}
}

func TestValuesAreCopied(t *testing.T) {
	d := mustOpen(t, Config{InMemory: true})
	key, val := tkey("k"), []byte("before")
	err := d.Update(t.Context(), func(tx *Tx) error {
		err := tx.Set(key, val)
		copy(val, "AFTER!")
		copy(key[1:], "x")
		got, gerr := tx.Get(tkey("k"))
		copy(got, "XXXXXX")
		return errors.Join(err, gerr)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, d, "k"); got != "before" {
		t.Errorf("got %q", got)
	}
}

// The expiry follows the configured clock, in both directions from the real
// one, to the millisecond, also for rows that the transaction itself wrote.
func TestSetUntilFollowsTheConfiguredClock(t *testing.T) {
	for _, start := range []string{"2019-03-01T00:00:00Z", "2099-12-31T23:59:59Z"} {
		at, _ := time.Parse(time.RFC3339, start)
		c := &clock{at}
		d := mustOpen(t, Config{Dir: t.TempDir(), Now: c.now, NoSync: true, MinFree: 1})
		err := d.Update(t.Context(), func(tx *Tx) error {
			for k, left := range map[string]time.Duration{"past": -time.Second, "now": 0, "hour": time.Hour} {
				if err := tx.SetUntil(tkey(k), []byte("v"), tx.Now().Add(left)); err != nil {
					return err
				}
			}
			if err := tx.SetUntil(tkey("ever"), []byte("v"), time.Time{}); err != nil {
				return err
			}
			if got := scanAll(t, tx, nil); !slices.Equal(got, []string{"ever=v", "hour=v"}) {
				t.Errorf("%s: own writes: %v", start, got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		c.advance(time.Hour - time.Millisecond)
		if got := get(t, d, "hour"); got != "v" {
			t.Errorf("%s: gone a millisecond early", start)
		}
		c.advance(time.Millisecond)
		if got := get(t, d, "hour"); got != "(absent)" {
			t.Errorf("%s: still there at its expiry: %q", start, got)
		}
		c.advance(1000 * 24 * time.Hour)
		if got := get(t, d, "ever"); got != "v" {
			t.Errorf("%s: row without expiry: %q", start, got)
		}
	}
}

func TestKeysSortAsTheirPartsAndNeverCollide(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	part := func() []byte {
		p := make([]byte, rng.IntN(4))
		for i := range p {
			p[i] = []byte{0x00, 0x01, 0xFF, 'a'}[rng.IntN(4)]
		}
		return p
	}
	lists := make([][][]byte, 400)
	for i := range lists {
		lists[i] = [][]byte{}
		for range 1 + rng.IntN(3) {
			lists[i] = append(lists[i], part())
		}
	}
	for _, a := range lists {
		got, ok := testSpace.Split(testSpace.Key(a...))
		if !ok || !slices.EqualFunc(a, got, bytes.Equal) {
			t.Fatalf("split of %q: %q, %v", a, got, ok)
		}
		for _, b := range lists {
			want := slices.CompareFunc(a, b, bytes.Compare)
			ka, kb := testSpace.Key(a...), testSpace.Key(b...)
			if got := bytes.Compare(ka, kb); got != want {
				t.Fatalf("%q and %q compare as %d, keys as %d", a, b, want, got)
			}
			prefix := len(a) <= len(b) && slices.EqualFunc(a, b[:min(len(a), len(b))], bytes.Equal)
			if bytes.HasPrefix(kb, ka) != prefix {
				t.Fatalf("key of %q as prefix of %q: %v, want %v", a, b, !prefix, prefix)
			}
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte{0xF1, 'a', 0, 1})
	f.Add([]byte{0xF1, 0, 0xFF, 0})
	f.Fuzz(func(t *testing.T, key []byte) {
		parts, ok := testSpace.Split(key)
		if ok && !bytes.Equal(testSpace.Key(parts...), key) {
			t.Errorf("% x splits into %q, whose key is % x", key, parts, testSpace.Key(parts...))
		}
	})
}

func TestRegisterRefusesMistakes(t *testing.T) {
	for name, f := range map[string]func(){
		"duplicate": func() { Register(0xF1, "again", 1) },
		"reserved":  func() { Register(0x00, "zero", 1) },
		"no name":   func() { Register(0xF3, "", 1) },
		"version 0": func() { Register(0xF3, "x", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "db: ") {
					t.Errorf("panic: %v", r)
				}
			}()
			f()
		})
	}
}

// TestTryLeavesNothing: fn sees what it writes, and nobody else does.
func TestTryLeavesNothing(t *testing.T) {
	d := mustOpen(t, Config{InMemory: true})
	set(t, d, "a", "stored")
	committed, made := false, false
	err := d.Try(time.Unix(1000, 0), func(tx *Tx) error {
		if tx.Now().Unix() != 1000 {
			t.Errorf("now is %s", tx.Now())
		}
		tx.AfterCommit(func() { committed = true })
		tx.Local("try", func() any { return new(int) })
		for _, err := range []error{tx.Delete(tkey("a")), tx.Set(tkey("b"), []byte("new")), tx.SetUntil(tkey("c"), nil, time.Unix(999, 0))} {
			if err != nil {
				return err
			}
		}
		if diff := cmp.Diff([]string{"b=new"}, scanAll(t, tx, nil)); diff != "" {
			t.Errorf("within (-want +got):\n%s", diff)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Update(t.Context(), func(tx *Tx) error {
		if diff := cmp.Diff([]string{"a=stored"}, scanAll(t, tx, nil)); diff != "" {
			t.Errorf("afterwards (-want +got):\n%s", diff)
		}
		tx.Local("try", func() any { made = true; return nil })
		return nil
	})
	if err != nil || committed || !made {
		t.Errorf("AfterCommit was called: %v; Local began anew: %v; %v", committed, made, err)
	}
}
