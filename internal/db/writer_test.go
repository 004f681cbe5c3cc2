package db

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// block occupies the writer until the returned func is called.
func block(t testing.TB, d *DB) (release func()) {
	t.Helper()
	started, gate := make(chan struct{}), make(chan struct{})
	go func() {
		_ = d.Update(context.Background(), func(*Tx) error {
			close(started)
			<-gate
			return nil
		})
	}()
	<-started
	return sync.OnceFunc(func() { close(gate) })
}

func TestFailingFnLeavesNothingAndHarmsNobody(t *testing.T) {
	d := mustOpen(t, Config{InMemory: true})
	release := block(t, d)
	mine := errors.New("mine")
	errs := make([]chan error, 3)
	for i, fn := range []func(*Tx) error{
		func(tx *Tx) error { return tx.Set(tkey("good"), []byte("1")) },
		func(tx *Tx) error {
			if _, err := tx.Get(tkey("good")); err != nil {
				t.Errorf("a fn does not see the one before it in its group: %v", err)
			}
			return errors.Join(tx.Set(tkey("bad"), nil), tx.Delete(tkey("good")), mine)
		},
		func(tx *Tx) error {
			_, bad := tx.Get(tkey("bad"))
			_, good := tx.Get(tkey("good"))
			if bad != ErrNotFound || good != nil {
				t.Errorf("after a failed fn: bad %v, good %v", bad, good)
			}
			return tx.Set(tkey("last"), []byte("1"))
		},
	} {
		errs[i] = make(chan error, 1)
		if err := d.Submit(t.Context(), fn, func(err error) { errs[i] <- err }); err != nil {
			t.Fatal(err)
		}
	}
	release()
	if e0, e1, e2 := <-errs[0], <-errs[1], <-errs[2]; e0 != nil || !errors.Is(e1, mine) || e2 != nil {
		t.Errorf("errors: %v, %v, %v", e0, e1, e2)
	}
	if g, b, l := get(t, d, "good"), get(t, d, "bad"), get(t, d, "last"); g != "1" || b != "(absent)" || l != "1" {
		t.Errorf("stored: good %s, bad %s, last %s", g, b, l)
	}
}

func TestPanickingFnCostsItselfOnly(t *testing.T) {
	d := mustOpen(t, Config{InMemory: true})
	err := d.Update(t.Context(), func(tx *Tx) error {
		_ = tx.Set(tkey("a"), nil)
		panic("oops")
	})
	if err == nil || !strings.Contains(err.Error(), "oops") {
		t.Errorf("error: %v", err)
	}
	set(t, d, "b", "1")
	if a, b := get(t, d, "a"), get(t, d, "b"); a != "(absent)" || b != "1" {
		t.Errorf("a %s, b %s", a, b)
	}
}

func TestGroupsShareOneCommit(t *testing.T) {
	d := mustOpen(t, Config{Dir: t.TempDir(), MinFree: 1})
	release := block(t, d)
	before := d.Stats().Groups
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() { set(t, d, fmt.Sprint(i), "v") })
	}
	for d.Stats().Queued < 500 {
		time.Sleep(time.Millisecond) // real goroutines on their way to a real queue
	}
	release()
	wg.Wait()
	if n := d.Stats().Groups - before; n > 2 {
		t.Errorf("500 waiting updates took %d commits", n)
	}
}

// A group that does not fit into one transaction is split between fns, never
// inside one; a fn that does not fit by itself is refused.
func TestTooBigGroupIsSplit(t *testing.T) {
	d := mustOpen(t, Config{Dir: t.TempDir(), NoSync: true, MinFree: 1})
	release := block(t, d)
	before := d.Stats().Groups
	big := make([]byte, 500<<10)
	const n = 20 // 10 MB; one transaction holds about 2 MB
	results := make(chan error, n+1)
	for i := range n {
		fn := func(tx *Tx) error {
			return errors.Join(tx.Set(tkey(fmt.Sprint(i, "a")), big), tx.Set(tkey(fmt.Sprint(i, "b")), []byte("b")))
		}
		if err := d.Submit(t.Context(), fn, func(err error) { results <- err }); err != nil {
			t.Fatal(err)
		}
	}
	tooBig := make(chan error, 1)
	if err := d.Submit(t.Context(), func(tx *Tx) error {
		for i := range 10 {
			if err := tx.Set(tkey(fmt.Sprint("huge", i)), big); err != nil {
				return err
			}
		}
		return nil
	}, func(err error) { tooBig <- err }); err != nil {
		t.Fatal(err)
	}
	release()
	for range n {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if err := <-tooBig; !errors.Is(err, ErrTooBig) {
		t.Errorf("5 MB in one fn: %v, want ErrTooBig", err)
	}
	for i := range n {
		if a, b := get(t, d, fmt.Sprint(i, "a")), get(t, d, fmt.Sprint(i, "b")); len(a) != len(big) || b != "b" {
			t.Errorf("fn %d: %d bytes and %q", i, len(a), b)
		}
	}
	if got := get(t, d, "huge0"); got != "(absent)" {
		t.Error("a refused fn left something behind")
	}
	if groups := d.Stats().Groups - before; groups < 4 || groups > n*3/4 {
		t.Errorf("%d commits: neither one nor one each was expected", groups)
	}
	// Many small keys hit the bound on the count.
	for range 2 {
		err := d.Update(t.Context(), func(tx *Tx) error {
			for i := range d.maxCount {
				if err := tx.Set(testSpace.Key(binary.BigEndian.AppendUint32(nil, uint32(i))), nil); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("%d keys: %v", d.maxCount, err)
		}
	}
}

func TestCancelledWhileQueuedNeverRuns(t *testing.T) {
	d := mustOpen(t, Config{InMemory: true})
	release := block(t, d)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone home")
	var ran atomic.Bool
	result := make(chan error, 2)
	go func() {
		result <- d.Update(ctx, func(*Tx) error { ran.Store(true); return nil })
	}()
	if err := d.Submit(ctx, func(*Tx) error { ran.Store(true); return nil }, func(err error) { result <- err }); err != nil {
		t.Fatal(err)
	}
	for d.Stats().Queued < 2 {
		time.Sleep(time.Millisecond)
	}
	cancel(gone)
	if err := <-result; !errors.Is(err, gone) { // Update returns although the writer is stuck
		t.Errorf("Update: %v", err)
	}
	release()
	if err := <-result; !errors.Is(err, gone) {
		t.Errorf("Submit: %v", err)
	}
	set(t, d, "a", "1") // behind them in the queue
	if ran.Load() {
		t.Error("a cancelled fn ran")
	}
	if err := d.Update(ctx, func(*Tx) error { return nil }); !errors.Is(err, gone) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

func TestFullQueueBlocksAndObeysTheContext(t *testing.T) {
	d := mustOpen(t, Config{InMemory: true})
	release := block(t, d)
	defer release()
	var done sync.WaitGroup
	done.Add(queueLen)
	for range queueLen {
		if err := d.Submit(t.Context(), func(*Tx) error { return nil }, func(error) { done.Done() }); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	err := d.Submit(ctx, func(*Tx) error { return nil }, func(error) { t.Error("done of a refused Submit") })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("full queue: %v", err)
	}
	release()
	done.Wait()
}

func TestCloseDrains(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(Config{Dir: dir, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	release := block(t, d)
	var ok atomic.Int64
	for i := range 300 {
		err := d.Submit(t.Context(), func(tx *Tx) error { return tx.Set(tkey(fmt.Sprint(i)), []byte("v")) }, func(err error) {
			if err == nil {
				ok.Add(1)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	closed := make(chan error, 2)
	go func() { closed <- d.Close() }()
	go func() { closed <- d.Close() }()
	for d.enter() == nil {
		d.leave()
		time.Sleep(time.Millisecond)
	}
	if err := d.Update(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Update while closing: %v", err)
	}
	if err := d.View(func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("View while closing: %v", err)
	}
	release()
	if e1, e2 := <-closed, <-closed; e1 != nil || e2 != nil {
		t.Errorf("close: %v, %v", e1, e2)
	}
	if ok.Load() != 300 {
		t.Errorf("%d of 300 queued updates were acknowledged", ok.Load())
	}
	d = mustOpen(t, Config{Dir: dir, MinFree: 1})
	for i := range 300 {
		if got := get(t, d, fmt.Sprint(i)); got != "v" {
			t.Fatalf("row %d: %s", i, got)
		}
	}
}

// After a commit that failed half-way nothing more may be written, because
// Badger's memory may hold what its disk does not. Reopening settles it.
func TestBrokenCommitStopsWriting(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(Config{Dir: dir, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	set(t, d, "a", "1")
	d.commitTxn = func(txn *badger.Txn, version uint64) error {
		return errors.Join(txn.CommitAt(version, nil), syscall.EIO) // written, but the sync failed
	}
	for range 2 {
		err := d.Update(t.Context(), func(tx *Tx) error { return tx.Set(tkey("b"), []byte("2")) })
		if !errors.Is(err, ErrBroken) || !errors.Is(err, syscall.EIO) {
			t.Errorf("error: %v", err)
		}
	}
	if got := get(t, d, "a"); got != "1" || !d.Stats().Broken {
		t.Errorf("a is %s; Stats: %+v", got, d.Stats())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = mustOpen(t, Config{Dir: dir, MinFree: 1})
	set(t, d, "c", "3")
	if b, c := get(t, d, "b"), get(t, d, "c"); b != "2" || c != "3" {
		t.Errorf("after reopening: b %s, c %s", b, c)
	}
}

// TestAfterCommitRunsForWhatIsStored: once for each fn whose writes are on disk and before its caller hears of it,
// also for a group that has to be split; never for a fn that failed.
func TestAfterCommitRunsForWhatIsStored(t *testing.T) {
	d := mustOpen(t, Config{InMemory: true})
	release := block(t, d)
	const fns = 40
	var calls [fns]atomic.Int32
	done := make(chan int, fns)
	for i := range fns {
		fn := func(tx *Tx) error {
			tx.AfterCommit(func() {
				calls[i].Add(1)
				// Of the writer's own goroutine, so a View sees what was committed.
				_ = d.View(func(tx *Tx) error {
					if _, err := tx.Get(tkey(fmt.Sprint("big", i))); err != nil {
						t.Errorf("fn %d was told before its row was there: %v", i, err)
					}
					return nil
				})
			})
			if i%10 == 9 {
				return errors.New("no")
			}
			return tx.Set(tkey(fmt.Sprint("big", i)), make([]byte, d.maxSize/8))
		}
		err := d.Submit(t.Context(), fn, func(err error) {
			want := int32(1)
			if i%10 == 9 {
				want = 0
			}
			if got := calls[i].Load(); got != want || (err == nil) != (want == 1) {
				t.Errorf("fn %d: called %d times when its caller heard %v, want %d", i, got, err, want)
			}
			done <- i
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	release()
	for range fns {
		<-done
	}
}

// What rides starts no commit while somebody may still come who does, keeps its place before what comes after it, and
// does not wait for ever.
func TestRideGoesAlong(t *testing.T) {
	d := mustOpen(t, Config{Dir: t.TempDir(), MinFree: 1})
	ride := func(key, val string) chan error {
		landed := make(chan error, 1)
		err := d.Ride(t.Context(), func(tx *Tx) error { return tx.Set(tkey(key), []byte(val)) }, func(err error) { landed <- err })
		if err != nil {
			t.Fatal(err)
		}
		return landed
	}
	release := block(t, d)
	before := d.Stats().Groups
	a, b := ride("a", "1"), ride("b", "1")
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		set(t, d, "a", "2")
	}()
	for d.Stats().Queued < 3 {
		time.Sleep(time.Millisecond) // a real goroutine on its way to a real queue
	}
	release()
	<-taken
	if errA, errB := <-a, <-b; errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if n := d.Stats().Groups - before; n != 1 {
		t.Errorf("two riders and an update took %d commits", n)
	}
	if a := get(t, d, "a"); a != "2" {
		t.Errorf("a rider came after what was submitted later: a = %s", a)
	}
	if err := <-ride("c", "1"); err != nil { // nobody else comes
		t.Fatal(err)
	}
	last := ride("d", "1")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-last; err != nil {
		t.Errorf("a rider at the time of Close: %v", err)
	}
}

// Each commit is counted once in its stages, and each fn that somebody waits for once in the wait.
func TestStages(t *testing.T) {
	d := mustOpen(t, Config{Dir: t.TempDir(), MinFree: 1})
	before := d.Stats().Groups
	for i := range 3 {
		set(t, d, fmt.Sprint(i), "v")
	}
	landed := make(chan error, 1)
	if err := d.Ride(t.Context(), func(tx *Tx) error { return tx.Set(tkey("r"), nil) }, func(err error) { landed <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-landed; err != nil {
		t.Fatal(err)
	}
	if err := d.Update(t.Context(), func(*Tx) error { return nil }); err != nil { // commits nothing
		t.Fatal(err)
	}
	commits := uint64(d.Stats().Groups - before)
	want := map[string]uint64{"wait": 4, "settle": commits, "write": commits, "sync": commits}
	if !ownSync {
		want["sync"] = 0
	}
	for _, s := range d.Stages() {
		if s.Times.Count != want[s.Name] {
			t.Errorf("%s: %d, want %d", s.Name, s.Times.Count, want[s.Name])
		}
	}
}
