// Package reach remembers how many different people came into each fence in each hour of the store's clock, as sketches
// that hold no name and no position, and estimates from the days that it remembers what a day to come will bring.
//
// It knows fences by their id and people by a keyed hash; campaigns, windows and audiences are its caller's. It reads
// no clock.
package reach

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"footfall/internal/db"
)

var (
	sketchSpace = db.Register(0x58, "reach", 1)      // fence, day, hour -> entries, Sketch
	daySpace    = db.Register(0x59, "reach days", 1) // day -> nothing: somebody came somewhere
	keySpace    = db.Register(0x5a, "reach key", 1)  // "hash" -> the key of the hash of people
)

// Keep is how long sketches are kept when nobody says otherwise: twelve of each day of the week.
const Keep = 85 * 24 * time.Hour

// MaxKeep is the longest that they can be kept.
const MaxKeep = 366 * 24 * time.Hour

// An Entry is that somebody came into a fence. Day is the date on the store's clock as days since 1970-01-01, Hour is
// the hour on it, 0 to 23.
type Entry struct {
	Fence   string
	Day     int32
	Hour    int
	Subject string
}

// place is what one sketch is of.
type place struct {
	fence string
	day   int32
	hour  int
}

func (p place) key() []byte {
	return sketchSpace.Key([]byte(p.fence), binary.BigEndian.AppendUint32(nil, uint32(p.day)), []byte{byte(p.hour)})
}

// Put adds entries to their sketches: one read and one write of at most 1 KiB for each fence and hour among them, however
// many they are. Each sketch is kept for keep after the end of its day.
func Put(tx *db.Tx, entries []Entry, keep time.Duration) error {
	if len(entries) == 0 {
		return nil
	}
	key, err := hashKey(tx)
	if err != nil {
		return err
	}
	at := map[place][]uint64{}
	for i := range entries {
		e := &entries[i]
		p := place{e.Fence, e.Day, e.Hour}
		at[p] = append(at[p], hashOf(key, e.Subject))
	}
	days := map[int32]bool{}
	places := slices.SortedFunc(maps.Keys(at), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.fence, b.fence), cmp.Compare(a.day, b.day), cmp.Compare(a.hour, b.hour))
	})
	for _, p := range places {
		until := time.Unix((int64(p.day)+2)*86_400, 0).Add(keep)
		if err := put(tx, p, at[p], until); err != nil {
			return fmt.Errorf("reach: %w", err)
		}
		if !days[p.day] {
			days[p.day] = true
			if err := tx.SetUntil(daySpace.Key(binary.BigEndian.AppendUint32(nil, uint32(p.day))), nil, until); err != nil {
				return fmt.Errorf("reach: %w", err)
			}
		}
	}
	return nil
}

func put(tx *db.Tx, p place, people []uint64, until time.Time) error {
	var s Sketch
	var n uint64
	row, err := tx.Get(p.key())
	if err == nil {
		n, err = readRow(row, &s)
	}
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	for _, h := range people {
		s.Add(h)
	}
	return tx.SetUntil(p.key(), s.append(binary.AppendUvarint(nil, n+uint64(len(people)))), until)
}

// readRow merges a row into s and returns how many entries it stands for.
func readRow(row []byte, s *Sketch) (entries uint64, err error) {
	entries, n := binary.Uvarint(row)
	if n <= 0 {
		return 0, errRow
	}
	return entries, s.mergeRow(row[n:])
}

// hashKey reads the key of this ledger, or makes it. It keeps names that somebody guesses from being tried on a sketch
// without the ledger, and differs from ledger to ledger.
func hashKey(tx *db.Tx) ([]byte, error) {
	key, err := tx.Get(keySpace.Key([]byte("hash")))
	if errors.Is(err, db.ErrNotFound) {
		key = make([]byte, 16)
		_, _ = rand.Read(key) // never fails
		err = tx.Set(keySpace.Key([]byte("hash")), key)
	}
	if err != nil {
		return nil, fmt.Errorf("reach: %w", err)
	}
	return key, nil
}

func hashOf(key []byte, subject string) uint64 {
	sum := sha256.Sum256(append(slices.Clone(key), subject...))
	return binary.BigEndian.Uint64(sum[:8])
}

// Days lists the days, ascending, on which somebody came anywhere.
func Days(tx *db.Tx) (days []int32, err error) {
	err = tx.Scan(daySpace.Prefix(), nil, func(key, _ []byte) (bool, error) {
		parts, ok := daySpace.Split(key)
		if !ok || len(parts) != 1 || len(parts[0]) != 4 {
			return false, errRow
		}
		days = append(days, int32(binary.BigEndian.Uint32(parts[0])))
		return true, nil
	})
	return days, err
}

// Each calls fn for each hour of a fence on the days from from to to in which somebody came, ascending. The sketch is
// good until fn returns.
func Each(tx *db.Tx, fence string, from, to int32, fn func(day int32, hour int, entries uint64, s *Sketch)) error {
	prefix := sketchSpace.Key([]byte(fence))
	first, end := place{fence, from, 0}.key(), place{fence, to + 1, 0}.key()
	return tx.ScanRange(prefix, first, end, func(key, val []byte) (bool, error) {
		parts, ok := sketchSpace.Split(key)
		if !ok || len(parts) != 3 || len(parts[1]) != 4 || len(parts[2]) != 1 {
			return false, errRow
		}
		var s Sketch
		n, err := readRow(val, &s)
		if err != nil {
			return false, err
		}
		fn(int32(binary.BigEndian.Uint32(parts[1])), int(parts[2][0]), n, &s)
		return true, nil
	})
}
