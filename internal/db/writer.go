package db

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// maxGroup bounds the fns of one commit, and with it how long the first of
// them waits for the last. 1,000 claims per commit is where Badger's rate
// levels off.
const maxGroup = 1024

// ErrBroken: a commit failed half-way, so that only reopening can tell whether
// it happened. Reading still works. Nothing acknowledged is affected.
var ErrBroken = errors.New("db: a commit failed half-way; restart to recover")

// States of a request. Queued goes to started or abandoned, once.
const (
	queued = iota
	started
	abandoned
)

// request is one fn on its way through the writer.
type request struct {
	ctx   context.Context // of this one operation, for cancelling it in the queue
	fn    func(*Tx) error
	done  func(error)
	rides bool // nobody waits for it: see Ride
	state atomic.Int32

	queued time.Time // when it was submitted
}

// abandon takes a request back that has not started.
func (r *request) abandon() bool { return r.state.CompareAndSwap(queued, abandoned) }

// start reports whether the request is to be run now or was started before.
func (r *request) start() bool {
	return r.state.Load() == started || r.state.CompareAndSwap(queued, started)
}

// rideFor is how long a request that rides waits for a commit to go with.
const rideFor = 50 * time.Millisecond

// write is the writer goroutine: it gathers what is queued and commits it,
// until Close closes the queue and it is empty. Requests that ride do not start
// a commit until the first of them has waited for rideFor.
func (d *DB) write() {
	batch := make([]*request, 0, maxGroup)
	late := time.NewTimer(rideFor)
	late.Stop()
	for open := true; open; {
		due := false
		select {
		case r, ok := <-d.queue:
			if open = ok; ok {
				if batch = append(batch, r); len(batch) == 1 {
					late.Reset(rideFor)
				}
				due = !r.rides
			}
		case <-late.C:
			due = true
		}
		if open && !due && len(batch) < maxGroup {
			continue
		}
		late.Stop()
		for more := open; more && len(batch) < maxGroup; {
			select {
			case r, ok := <-d.queue:
				if more = ok; ok {
					batch = append(batch, r)
				}
			default:
				more = false // commit what there is: nobody waits for company
			}
		}
		for rest := batch; len(rest) > 0; {
			rest = rest[d.commitGroup(rest, len(rest)):]
		}
		clear(batch)
		batch = batch[:0]
	}
}

// commitGroup runs requests from the front of reqs, at most limit, commits
// what they wrote, tells them, and returns how many it has dealt with. That is
// fewer than limit when the rest does not fit into the same transaction.
func (d *DB) commitGroup(reqs []*request, limit int) int {
	txn := d.bdb.NewTransactionAt(d.version, false)
	defer txn.Discard()
	begun, now := time.Now(), d.cfg.Now()
	var group overlay
	errs := make([]error, 0, limit)
	var after []func()
	for _, r := range reqs[:limit] {
		if !r.start() {
			errs = append(errs, errAbandoned)
			continue
		}
		if err := context.Cause(r.ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		var own overlay
		tx := &Tx{db: d, txn: txn, nowMS: now.UnixMilli(), group: &group, own: &own, locals: d.local}
		err := run(r.fn, tx)
		if err == nil && !d.fits(&own, nil) {
			err = fmt.Errorf("%w: %d keys, %d bytes", ErrTooBig, own.count, own.size)
		}
		if err == nil && !d.fits(&own, &group) {
			break // it runs again, first in the next group
		}
		if !r.rides {
			d.stages.wait.Add(begun.Sub(r.queued))
		}
		if err == nil {
			group.merge(&own)
			after = append(after, tx.after...)
		}
		errs = append(errs, err)
	}
	err := d.commit(&group, now, begun)
	if errors.Is(err, ErrTooBig) && len(errs) > 1 {
		// entrySize has promised otherwise; one by one still gets them through.
		for i := range errs {
			d.commitGroup(reqs[i:], 1)
		}
		return len(errs)
	}
	if err == nil {
		for _, fn := range after {
			fn()
		}
	}
	for i, r := range reqs[:len(errs)] {
		switch {
		case errs[i] == errAbandoned: //nolint:errorlint // our own marker
		case err != nil:
			// Also for a fn that failed by itself: what it saw may never have been.
			r.done(err)
		default:
			r.done(errs[i])
		}
	}
	return len(errs)
}

var errAbandoned = errors.New("abandoned")

// run calls fn and turns a panic into an error: it costs that fn, not the
// writer.
func run(fn func(*Tx) error, tx *Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("db: update panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(tx)
}

// fits reports whether own and group together are within one transaction.
func (d *DB) fits(own, group *overlay) bool {
	count, size := own.count, own.size
	if group != nil {
		count, size = count+group.count, size+group.size
	}
	return count <= d.maxCount && size <= d.maxSize
}

// commit makes the writes of a group that was begun at begun durable.
func (d *DB) commit(group *overlay, now, begun time.Time) error {
	if group.count == 0 {
		return nil
	}
	if broken := d.broken.Load(); broken != nil {
		return *broken
	}
	if err := d.disk.check(); err != nil {
		return err
	}
	txn := d.bdb.NewTransactionAt(d.version, true)
	defer txn.Discard()
	settled := time.Now()
	d.stages.settle.Add(settled.Sub(begun))
	if err := group.apply(txn, now, settled); err != nil {
		return classify(err, d.cfg.Dir) // nothing has left the transaction yet
	}
	if err := d.commitAndSync(txn, settled); err != nil {
		if errors.Is(err, badger.ErrTxnTooBig) {
			return classify(err, d.cfg.Dir) // refused before anything was written
		}
		err = fmt.Errorf("%w: %w", ErrBroken, classify(err, d.cfg.Dir))
		d.broken.Store(&err)
		d.log.Error("database stopped writing", "dir", d.cfg.Dir, "err", err)
		return err
	}
	d.groups.Add(1)
	return nil
}

// commitAndSync returns when the transaction is on disk, whose fns were done at settled. Until then no View sees it.
func (d *DB) commitAndSync(txn *badger.Txn, settled time.Time) error {
	d.version++ // also when it fails: a version is used once
	if err := d.commitTxn(txn, d.version); err != nil {
		return err
	}
	written := time.Now()
	d.stages.write.Add(written.Sub(settled))
	if d.wal != nil {
		if err := d.wal.flush(); err != nil {
			return err
		}
		d.stages.sync.Add(time.Since(written))
	}
	d.durable.replace(d.snapshotAt(d.version))
	return nil
}
