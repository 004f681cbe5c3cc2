package db

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// crashWriter is the child of TestKill: eight goroutines write pairs of rows
// and report each pair once it is acknowledged, until the process is killed.
func crashWriter() {
	d, err := Open(Config{Dir: os.Getenv("FOOTFALL_DB_DIR"), MinFree: 1})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var out sync.Mutex
	start := uint64(time.Now().UnixNano())
	for g := range uint64(8) {
		go func() {
			for i := uint64(0); ; i++ {
				id := start + i*8 + g
				err := d.Update(context.Background(), func(tx *Tx) error { return writePair(tx, id) })
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(id)
				out.Unlock()
			}
		}()
	}
	select {}
}

// writePair writes the two halves of one update; readers check that both or
// none are there.
func writePair(tx *Tx, id uint64) error {
	key := keyOf(id)
	return errors.Join(
		tx.Set(testSpace.Key([]byte("l"), key), make([]byte, id%900)),
		tx.Set(otherSpace.Key(key), key))
}

func keyOf(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

// Kill -9 in the middle of writing, several times on one directory.
// Every acknowledged update is there and no update is there by half.
func TestKill(t *testing.T) {
	rounds := 3
	if os.Getenv("FOOTFALL_LONG") != "" {
		rounds = 60
	}
	dir := t.TempDir()
	acked := map[uint64]bool{}
	for round := range rounds {
		cmd, out := child(t, "writer", dir)
		// Killed after a random number of acknowledgements, at whatever moment.
		for n := 1 + rand.IntN(1500); n > 0 && out.Scan(); n-- {
			id, err := strconv.ParseUint(out.Text(), 10, 64)
			if err != nil {
				t.Fatalf("child: %s", out.Text())
			}
			acked[id] = true
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for out.Scan() { // acknowledged before it died, read by us afterwards
			if id, err := strconv.ParseUint(out.Text(), 10, 64); err == nil {
				acked[id] = true
			}
		}
		_ = cmd.Wait()

		d, err := Open(Config{Dir: dir, MinFree: 1})
		if err != nil {
			t.Fatalf("round %d: open after kill -9: %v", round, err)
		}
		left, right := map[uint64]bool{}, map[uint64]bool{}
		err = d.View(func(tx *Tx) error {
			return errors.Join(
				tx.Scan(testSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
					parts, _ := testSpace.Split(key)
					id := binary.BigEndian.Uint64(parts[1])
					left[id] = true
					if len(val) != int(id%900) {
						t.Errorf("row %d has %d bytes", id, len(val))
					}
					return true, nil
				}),
				tx.Scan(otherSpace.Prefix(), nil, func(_, val []byte) (bool, error) {
					right[binary.BigEndian.Uint64(val)] = true
					return true, nil
				}))
		})
		if err != nil {
			t.Fatal(err)
		}
		for id := range acked {
			if !left[id] {
				t.Fatalf("round %d: acknowledged update %d is lost", round, id)
			}
		}
		for id := range left {
			if !right[id] {
				t.Fatalf("round %d: update %d is there by half", round, id)
			}
		}
		if len(left) != len(right) {
			t.Fatalf("round %d: %d and %d halves", round, len(left), len(right))
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: %d acknowledged, %d stored", round, len(acked), len(left))
	}
}
