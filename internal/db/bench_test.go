package db

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// BenchmarkClaims compares the group commit with Badger used directly, on
// synced disks: a claim is a read and, if absent, a write of 20 B key and 8 B
// value with an expiry. The variants are:
//
//	group/workers=N   N goroutines, each waiting for its claim (Update)
//	group/submit      one producer that does not wait (Submit), as the ledger
//	badger/txn=1      a loop with one claim per transaction
//	badger/txn=100    a loop with 100 claims per transaction
func BenchmarkClaims(b *testing.B) {
	var seq atomic.Uint64
	run := rand.Uint64()
	key := func() []byte {
		k := binary.BigEndian.AppendUint64(nil, run)
		return testSpace.Key(binary.BigEndian.AppendUint32(k, uint32(seq.Add(1)*2654435761)))
	}
	val := []byte("claimed!")
	claim := func(tx *Tx) error {
		k := key()
		if _, err := tx.Get(k); err != ErrNotFound {
			return fmt.Errorf("key seen before: %v", err)
		}
		return tx.SetUntil(k, val, tx.Now().Add(48*time.Hour))
	}
	openHere := func(b *testing.B) *DB { return mustOpen(b, Config{Dir: b.TempDir(), MinFree: 1}) }
	badgerHere := func(b *testing.B) *badger.DB { // with our sizes, and syncing each commit itself
		b.Helper()
		dir := b.TempDir()
		opts, err := (&DB{cfg: Config{Dir: dir, MinFree: 1}, log: slog.New(slog.DiscardHandler), mode: mode{files: dir}}).prepare()
		if err != nil {
			b.Fatal(err)
		}
		d, err := badger.Open(opts.WithSyncWrites(true))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := d.Close(); err != nil {
				b.Error(err)
			}
		})
		return d
	}
	rate := func(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s") }

	for _, workers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("group/workers=%d", workers), func(b *testing.B) {
			d := openHere(b)
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for range workers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if err := d.Update(context.Background(), claim); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			rate(b)
		})
	}
	b.Run("group/submit", func(b *testing.B) {
		d := openHere(b)
		var wg sync.WaitGroup
		wg.Add(b.N)
		b.ResetTimer()
		for range b.N {
			err := d.Submit(context.Background(), claim, func(err error) {
				if err != nil {
					b.Error(err)
				}
				wg.Done()
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		wg.Wait()
		rate(b)
	})
	for _, per := range []int{1, 100} {
		b.Run(fmt.Sprintf("badger/txn=%d", per), func(b *testing.B) {
			d := badgerHere(b)
			b.ResetTimer()
			for done := 0; done < b.N; done += per {
				err := d.Update(func(txn *badger.Txn) error {
					for range min(per, b.N-done) {
						k := key()
						if _, err := txn.Get(k); !errors.Is(err, badger.ErrKeyNotFound) {
							return fmt.Errorf("key seen before: %v", err)
						}
						if err := txn.SetEntry(badger.NewEntry(k, val).WithTTL(48 * time.Hour)); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			rate(b)
		})
	}
}
