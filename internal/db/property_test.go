package db

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/internal/dice"
)

// modelRow is what a plain map remembers of a row.
type modelRow struct {
	val     string
	expires int64 // Unix ms; 0: never
}

// model is the slow, obvious database.
type model map[string]modelRow

func (m model) live(nowMS int64) []string {
	var got []string
	for k, r := range m {
		if r.expires == 0 || r.expires > nowMS {
			got = append(got, k+"="+r.val)
		}
	}
	slices.Sort(got)
	return got
}

// A random workload of transactions, failing ones, scans, reopens and a clock
// that moves, against a map. Keys are few so that they meet.
func TestAgreesWithAMap(t *testing.T) {
	seed := dice.Seed(t)
	steps := 600
	if testing.Short() {
		steps = 150
	}
	if os.Getenv("FOOTFALL_LONG") != "" {
		steps = 30_000
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	keys := []string{"a", "b", "c", "d", "e", "\x00", "\x00\xff", "aa"}
	pick := func() string { return keys[rng.IntN(len(keys))] }
	c := &clock{time.UnixMilli(1_700_000_000_000)}
	cfg := Config{Dir: t.TempDir(), NoSync: true, MinFree: 1, Now: c.now}
	d, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	m := model{}
	wanted := errors.New("wanted")
	for range steps {
		switch n := rng.IntN(100); {
		case n == 0:
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if d, err = Open(cfg); err != nil {
				t.Fatal(err)
			}
		case n < 20:
			c.advance(time.Duration(rng.IntN(3000)) * time.Millisecond)
		default:
			next := maps.Clone(m)
			err := d.Update(t.Context(), func(tx *Tx) error {
				for range rng.IntN(7) {
					k := pick()
					var err error
					switch rng.IntN(4) {
					case 0:
						delete(next, k)
						err = tx.Delete(tkey(k))
					case 1:
						until := c.t.Add(time.Duration(rng.IntN(4500)-500) * time.Millisecond)
						next[k] = modelRow{"ttl", until.UnixMilli()}
						err = tx.SetUntil(tkey(k), []byte("ttl"), until)
					default:
						v := fmt.Sprint(rng.IntN(100))
						next[k] = modelRow{v, 0}
						err = tx.Set(tkey(k), []byte(v))
					}
					if err != nil {
						return err
					}
					compare(t, tx, next, c.t, pick())
				}
				if rng.IntN(4) == 0 {
					return wanted
				}
				return nil
			})
			switch {
			case err == nil:
				m = next
			case !errors.Is(err, wanted):
				t.Fatal(err)
			}
		}
		if err := d.View(func(tx *Tx) error {
			compare(t, tx, m, c.t, pick())
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
}

// compare checks every row, a whole scan, one that begins at a key, and each of both up to a key. It may run on the
// writer goroutine, so it does not stop the test.
func compare(t *testing.T, tx *Tx, m model, now time.Time, from string) {
	want := m.live(now.UnixMilli())
	for _, start := range []string{"", from} {
		var first []byte
		if start != "" {
			first = tkey(start)
		}
		var got, wantFrom []string
		var last []byte
		err := tx.Scan(testSpace.Prefix(), first, func(key, val []byte) (bool, error) {
			if bytes.Compare(key, last) <= 0 {
				t.Errorf("key % x after % x", key, last)
			}
			last = bytes.Clone(key)
			parts, _ := testSpace.Split(key)
			got = append(got, string(parts[0])+"="+string(val))
			one, err := tx.Get(key)
			if err != nil || !bytes.Equal(one, val) {
				t.Errorf("scan says %q, get %q, %v", val, one, err)
			}
			return true, nil
		})
		if err != nil {
			t.Error(err)
		}
		for _, row := range want {
			if k := row[:bytes.IndexByte([]byte(row), '=')]; k >= start {
				wantFrom = append(wantFrom, row)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, wantFrom) {
			t.Errorf("from %q: got %q, want %q", start, got, wantFrom)
		}

		var until []string
		for _, end := range []string{"\x00", "aa", "c", "z"} {
			until = until[:0]
			if err := tx.ScanRange(testSpace.Prefix(), first, tkey(end), func(key, val []byte) (bool, error) {
				parts, _ := testSpace.Split(key)
				until = append(until, string(parts[0])+"="+string(val))
				return true, nil
			}); err != nil {
				t.Error(err)
			}
			slices.Sort(until)
			wanted := slices.DeleteFunc(slices.Clone(wantFrom), func(row string) bool { return row[:strings.IndexByte(row, '=')] >= end })
			if !slices.Equal(until, wanted) {
				t.Errorf("from %q to %q: got %q, want %q", start, end, until, wanted)
			}
		}
	}
}

// TestAppendKeyIsKey: both ways to a key agree, and Split undoes them, also with zeros and escapes in the parts.
func TestAppendKeyIsKey(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		parts, texts := make([][]byte, rng.IntN(5)), []string{}
		for i := range parts {
			parts[i] = make([]byte, rng.IntN(6))
			for j := range parts[i] {
				parts[i][j] = []byte{0, 1, 0xFE, 0xFF}[rng.IntN(4)]
			}
			texts = append(texts, string(parts[i]))
		}
		key := testSpace.Key(parts...)
		if got := testSpace.AppendKey([]byte("x"), texts...); string(got) != "x"+string(key) {
			t.Fatalf("%q: % x and % x", texts, got, key)
		}
		if got, ok := testSpace.Split(key); !ok || !slices.EqualFunc(got, parts, bytes.Equal) {
			t.Fatalf("%q came back as %q, %v", texts, got, ok)
		}
	}
}
