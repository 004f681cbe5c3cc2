package stream

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"footfall/internal/db"
	"footfall/internal/failpoint"
	"footfall/journey"
)

// wakes knows when the next timer of each shard is due, so that waiting costs neither reads nor memory however many
// runs wait. What it knows may be too early, never too late: every timer that is written is noted when it is on disk.
type wakes struct {
	mu     sync.Mutex
	shards [journey.Shards]shardWakes
	wake   chan struct{} // capacity 1: a second wake-up adds nothing
}

type shardWakes struct {
	next  int64         // Unix ms; the first timer is due then or later
	after *journey.Wake // everything up to it has been seen; nil: look from next on
	noted int64         // the earliest that was written since the last look began
}

func newWakes() *wakes { return &wakes{wake: make(chan struct{}, 1)} } // next 0: look at everything once

// note says that a timer has been written.
func (w *wakes) note(shard int, due int64) {
	w.mu.Lock()
	s := &w.shards[shard]
	first := due < s.next
	s.next, s.noted = min(s.next, due), min(s.noted, due)
	if s.after != nil && due <= s.after.Due {
		s.after = nil
	}
	w.mu.Unlock()
	if first {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// soonest is when the next timer is due.
func (w *wakes) soonest() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := int64(math.MaxInt64)
	for i := range w.shards {
		at = min(at, w.shards[i].next)
	}
	return at
}

const (
	// wakePage bounds the runs that one transaction moves on: entries wait for the ledger's writer meanwhile.
	wakePage = 128
	// wakePoll is how often it is looked whether a timer is due, while there are any: the clock may be set on meanwhile.
	wakePoll = 250 * time.Millisecond
	// wakeRetry is how long a timer waits that could not be settled.
	wakeRetry = 5 * time.Second
)

// collect reads up to wakePage timers that are due at now (Unix ms).
func (w *wakes) collect(d *db.DB, now int64) (due []journey.Wake, err error) {
	for shard := range w.shards {
		s := &w.shards[shard]
		w.mu.Lock()
		was := *s
		if was.next > now {
			w.mu.Unlock()
			continue
		}
		s.next, s.noted = math.MaxInt64, math.MaxInt64 // what is noted from here on is not in the snapshot, or is seen twice
		w.mu.Unlock()
		var next int64
		var found bool
		last := was.after
		err := d.View(func(tx *db.Tx) (err error) {
			next, found, err = journey.Wakes(tx, shard, was.next, was.after, now+1, func(t journey.Wake) (bool, error) {
				due = append(due, t)
				last = &t
				return len(due) < wakePage, nil
			})
			return err
		})
		w.mu.Lock()
		switch {
		case err != nil:
			s.next = min(s.next, was.next)
		case found:
			s.next = min(s.next, next)
		}
		if s.after = last; last != nil && s.noted <= last.Due {
			s.after = nil
		}
		w.mu.Unlock()
		if err != nil || len(due) >= wakePage {
			return due, err
		}
	}
	return due, nil
}

// ClockSet says that the clock of Config.Now has been set on, so that waits which are over and pushes that are due by it
// are looked at now, and not only after the time that they would have taken.
func (g *Gateway) ClockSet() {
	g.outbox.Notify()
	g.members.poke()
	select {
	case g.wakes.wake <- struct{}{}:
	default:
	}
}

// runTimers ends waits when they are due, until ctx ends. A timer is a row that is gone when its wait has ended, both in
// one transaction: what is due while nothing runs is found at the next start, and a crash repeats nothing.
func (g *Gateway) runTimers(ctx context.Context) {
	for ctx.Err() == nil {
		now := g.cfg.Now().UnixMilli()
		due, err := g.wakes.collect(g.cfg.DB, now)
		if err != nil && ctx.Err() == nil {
			g.cfg.Logger.Error("timers of journeys cannot be read; trying again", "err", err)
		}
		if len(due) > 0 {
			g.fireAll(ctx, due)
			continue
		}
		var soon <-chan time.Time // never, when nothing waits: what is written from now on is noted
		switch next := g.wakes.soonest(); {
		case err != nil:
			soon = time.After(wakePoll)
		case next != math.MaxInt64:
			soon = time.After(time.Duration(min(max(next-now, 1), wakePoll.Milliseconds())) * time.Millisecond)
		}
		select {
		case <-ctx.Done():
		case <-g.wakes.wake:
		case <-soon:
		}
	}
}

// fireAll ends the waits of a page in one transaction; when that fails, each in one of its own, so that one that cannot
// be settled does not hold up the others.
func (g *Gateway) fireAll(ctx context.Context, page []journey.Wake) {
	err := g.fire(ctx, page)
	if err == nil || ctx.Err() != nil {
		return
	}
	for i := range page {
		if len(page) > 1 && !errors.Is(err, db.ErrDiskFull) && !errors.Is(err, db.ErrBroken) {
			if err = g.fire(ctx, page[i:i+1]); err == nil {
				continue
			}
		}
		if ctx.Err() != nil {
			return
		}
		g.cfg.Logger.Error("a journey's timer could not be settled; trying again", "journey", page[i].Journey, "err", err)
		w := page[i]
		time.AfterFunc(wakeRetry, func() { g.wakes.note(journey.Shard(w.Subject), w.Due) })
	}
}

func (g *Gateway) fire(ctx context.Context, page []journey.Wake) error {
	var t tally
	err := g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		t = tally{funnel: map[funnelKey]int64{}}
		for _, w := range page {
			if err := g.settler.fire(tx, w, &t); err != nil {
				return err
			}
		}
		if t.moved > 0 {
			failpoint.Here(failpoint.Settling)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if t.moved > 0 {
		failpoint.Here(failpoint.Committed)
	}
	g.count.fired.Add(int64(t.moved))
	if t.deliveries > 0 {
		g.outbox.Notify()
	}
	return nil
}
