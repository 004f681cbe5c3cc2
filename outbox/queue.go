package outbox

import (
	"bytes"
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"footfall/internal/db"
	"footfall/push"
)

const (
	// leaseBatch bounds the rows that one round leases.
	leaseBatch = 256
	// pollEvery is the longest sleep of a queue: what nobody has told it is found
	// then.
	pollEvery = 5 * time.Second
)

// queue feeds a lane with the due rows of one part of the ready index.
type queue struct {
	l    *lane
	bulk bool   // announcements
	part []byte // byDue or bulkDue
	most int    // rows held at once
	wake chan struct{}

	leasing chan struct{} // leases being written: while one is, the next is prepared

	held    atomic.Int64 // leased and not settled
	starved atomic.Bool  // waits for one of them to end
	// caughtUp: the last look found no due row that it did not settle.
	caughtUp atomic.Bool

	// settled are the rows that ended while collect looks: its snapshot may be
	// older and show them as they were before. nil: it does not look.
	settledMu sync.Mutex
	settled   map[string]struct{}

	from []byte // where the current pass over the index goes on; nil: a new one. Of the feeding goroutine alone
}

func newQueue(l *lane, bulk bool, most int) *queue {
	d := Delivery{Bulk: bulk}
	return &queue{l: l, bulk: bulk, part: d.queue(), most: most, wake: make(chan struct{}, 1), leasing: make(chan struct{}, 2)}
}

// poke wakes the queue.
func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// run feeds the lane until ctx ends.
func (q *queue) run(ctx context.Context, jobs *sync.WaitGroup) {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	for {
		wait, err := q.feed(ctx, jobs)
		if err != nil && ctx.Err() == nil {
			q.l.o.cfg.Logger.Error("lane cannot lease rows", "lane", q.l.name, "err", err)
			wait = time.Second
		}
		timer.Reset(min(max(wait, time.Millisecond), pollEvery))
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// feed starts what is due and allowed, and returns how long there will be
// nothing to do.
func (q *queue) feed(ctx context.Context, jobs *sync.WaitGroup) (wait time.Duration, err error) {
	for ctx.Err() == nil {
		n, wait := q.allowed()
		if n == 0 {
			q.caughtUp.Store(false)
			return wait, nil
		}
		resumed := q.from != nil
		asOf := q.l.o.lookedAt()
		due, nextDue, err := q.collect(n)
		if err != nil {
			return 0, err
		}
		q.caughtUp.Store(len(due) < n)
		if len(due) == 0 {
			if resumed {
				continue // rows may have come in behind the place where this pass went on: begin a new one
			}
			return nextDue, nil
		}
		if err := q.lease(ctx, due, asOf, jobs); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// allowed returns how many rows may be leased now; 0 comes with the time until
// it is worth asking again.
func (q *queue) allowed() (n int, wait time.Duration) {
	slots, wait := q.l.open()
	if slots == 0 {
		return 0, wait
	}
	q.starved.Store(true) // before looking, so that no end is missed
	slots = min(slots-q.l.held(), q.most-int(q.held.Load()))
	if slots <= 0 || slots < q.batch() && q.held.Load() > 0 {
		return 0, pollEvery
	}
	q.starved.Store(false)
	n, wait = q.l.gov.allowed(q.bulk)
	return min(slots, leaseBatch, n), wait
}

// batch is how many rows a busy queue leases at least: each lease is a commit,
// so it waits until a third of its room is free.
func (q *queue) batch() int { return min(leaseBatch, max(1, q.most/heldPerWorker)) }

// ended says that a leased row is settled. Call it before Outbox.drop.
func (q *queue) ended(mid string) {
	q.settledMu.Lock()
	if q.settled != nil {
		q.settled[mid] = struct{}{}
	}
	q.settledMu.Unlock()
	held := int(q.held.Add(-1))
	if q.starved.Load() && (held == 0 || q.most-held >= q.batch()) {
		q.poke()
	}
}

func (q *queue) watchSettled(on bool) {
	q.settledMu.Lock()
	defer q.settledMu.Unlock()
	q.settled = nil
	if on {
		q.settled = map[string]struct{}{}
	}
}

func (q *queue) justSettled(mid string) bool {
	q.settledMu.Lock()
	defer q.settledMu.Unlock()
	_, ok := q.settled[mid]
	return ok
}

// candidate is a due row; when it cannot be read, its entry and why.
type candidate struct {
	row *Delivery
	bad entry
	err error
}

// entry is one of the ready index as it is stored.
type entry struct{ key, val []byte }

func cloneEntry(key, val []byte) entry { return entry{bytes.Clone(key), bytes.Clone(val)} }

// collect returns up to n due rows in the order of their time, or how long
// until the next is due.
//
// A pass goes on where the last round ended, and a new one begins at the first row
// that the one before it saw, or at what has been placed before that since: what
// is before it in the index are deleted entries, which a scan has to wade
// through. At 200 entries a second passes that began ten seconds ago took a tenth of the
// gateway's processor time.
func (q *queue) collect(n int) (due []candidate, wait time.Duration, err error) {
	o := q.l.o
	now := o.nowMS()
	prefix := ready.Key(q.part, []byte(q.l.name))
	from := q.from
	var begun *front // of a new pass
	if from == nil {
		if begun = o.front(queueName{q.l.name, q.bulk}); begun != nil {
			from = ready.Key(q.part, []byte(q.l.name), ms(begun.look()))
		}
	}
	first := int64(math.MaxInt64)
	wait = pollEvery
	q.from = nil
	q.watchSettled(true)
	defer q.watchSettled(false)
	err = o.cfg.DB.View(func(tx *db.Tx) error {
		return tx.Scan(prefix, from, func(key, val []byte) (bool, error) {
			row, err := readDue(key, val)
			at := row.NextAt
			if err != nil {
				_, at, _, _ = parseDue(key) // 0 for a bad key: discarded at once
			}
			first = min(first, at)
			if at > now {
				wait = time.Duration(at-now) * time.Millisecond
				return false, nil
			}
			c := candidate{row: &row, err: err}
			if err != nil {
				c.bad = cloneEntry(key, val)
			} else if o.taken(row.MID) || o.isStopping(row.Campaign) ||
				q.justSettled(row.MID) { // this snapshot is older than its outcome, perhaps older than its lease
				return true, nil
			}
			if due = append(due, c); len(due) == n {
				q.from = db.After(key)
				return false, nil
			}
			return true, nil
		})
	})
	if begun != nil && err == nil {
		begun.saw(first)
	}
	return due, wait, err
}

// lease settles what is due as of a look: most rows become leased and are handed to the
// workers; expired ones expire, and those of a device that is to be spared are put off. It returns
// once that has been decided; it is written while the next rows are looked for.
func (q *queue) lease(ctx context.Context, due []candidate, asOf uint64, jobs *sync.WaitGroup) error {
	l, o := q.l, q.l.o
	now := o.nowMS()
	var leases, others []*change
	var bad []entry
	var cause error
	for _, cand := range due {
		d := cand.row
		switch {
		case cand.err != nil:
			bad, cause = append(bad, cand.bad), cand.err
			continue
		case d.ExpiresAt <= now:
			others = append(others, o.final(d, StateExpired, late(d), push.Expired, false))
			continue
		}
		if at := l.pacer.admit(d.App+"/"+d.Device, now); at > now {
			c := &change{old: d, new: *d}
			c.new.NextAt = at
			if at >= d.ExpiresAt {
				c = o.final(d, StateExpired, "too many messages for this device", push.Expired, false)
			}
			others = append(others, c)
			continue
		}
		if !o.take(d.MID) {
			continue
		}
		leases = append(leases, &change{old: d, new: d.asLeased(now)})
	}
	if err := o.discard(ctx, bad, cause); err != nil {
		return err
	}
	if _, err := o.recordAll(ctx, others); err != nil { // the next look must see these
		for _, c := range leases {
			o.drop(c.old.MID)
		}
		return err
	}
	if len(leases) == 0 {
		return nil
	}
	q.held.Add(int64(len(leases)))
	l.gov.spend(len(leases), q.bulk)
	q.leasing <- struct{}{}
	jobs.Go(func() {
		defer func() { <-q.leasing }()
		made, err := o.writeLease(ctx, leases, asOf)
		for _, c := range leases {
			if !c.made {
				q.ended(c.old.MID)
				o.drop(c.old.MID)
			}
		}
		l.begin(ctx, made, jobs)
		if err != nil && ctx.Err() == nil {
			o.cfg.Logger.Error("rows cannot be leased", "lane", l.name, "n", len(leases), "err", err)
		}
	})
	return nil
}
