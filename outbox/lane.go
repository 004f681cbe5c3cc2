package outbox

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"footfall/internal/db"
	"footfall/push"
)

const (
	// leaseBatch bounds the rows that one round leases, and so what a lane
	// holds beyond what it is sending.
	leaseBatch = 256
	// leaseSlack is how much longer than the attempt a lease lasts: time to
	// record the outcome while the disk is slow or full.
	leaseSlack = 20 * time.Second
	// pollEvery is the longest sleep of a lane: what nobody has told it is found
	// then.
	pollEvery = 5 * time.Second
	// lateEnqueue is how far back a cheap pass over the ready index begins.
	lateEnqueue = 10 * time.Second
	// fullShare: a pass from the very start of the index, which wades through
	// what has been deleted there, may take this share of a lane's time.
	fullShare = 20
)

// lane sends the rows of one (provider, app, environment).
type lane struct {
	o        *Outbox
	name     string
	provider push.Provider
	limiter  *rate.Limiter
	breaker  *gobreaker.TwoStepCircuitBreaker[struct{}]
	pacer    *pacer
	wake     chan struct{} // capacity 1: a second poke adds nothing

	// Of the feeding goroutine alone.
	from     []byte // where the current pass over the index goes on; nil: a new one
	fullAt   time.Time
	fullCost time.Duration

	// mu guards what follows. Never call the breaker with mu held: its callback
	// takes mu.
	mu       sync.Mutex
	inFlight int
	starved  bool // the feeder waits for a request to end
	heldTill time.Time
	rests    time.Time // the breaker is open until then
	probing  bool      // one request at a time, until one is answered well
	alarm    string
	classes  map[push.Class]int64
}

// Results that the breaker is told of.
var (
	errLaneBad     = errors.New("outbox: failure of the lane")
	errLaneNeutral = errors.New("outbox: says nothing about the lane")
)

func newLane(o *Outbox, name string, p push.Provider) *lane {
	perSecond, burst := o.cfg.rate(name)
	l := &lane{
		o: o, name: name, provider: p,
		limiter: rate.NewLimiter(rate.Limit(perSecond), burst),
		pacer:   newPacer(o.cfg.DeviceEvery, o.cfg.DeviceBurst),
		wake:    make(chan struct{}, 1),
		classes: make(map[push.Class]int64),
	}
	l.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         name,
		Interval:     10 * time.Second,
		BucketPeriod: time.Second,
		Timeout:      o.cfg.BreakerPause,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			answered := c.TotalSuccesses + c.TotalFailures // those in flight say nothing yet
			return answered >= 20 && 2*c.TotalFailures >= answered
		},
		IsExcluded:    func(err error) bool { return errors.Is(err, errLaneNeutral) },
		OnStateChange: l.breakerChanged,
	})
	return l
}

func (l *lane) breakerChanged(_ string, from, to gobreaker.State) {
	l.mu.Lock()
	if to == gobreaker.StateOpen {
		l.rests = time.Now().Add(l.o.cfg.BreakerPause + time.Millisecond)
	}
	l.mu.Unlock()
	if to == gobreaker.StateOpen && from == gobreaker.StateClosed {
		l.o.cfg.Logger.Error("provider fails; the lane rests and probes", "lane", l.name, "pause", l.o.cfg.BreakerPause)
	}
	if to == gobreaker.StateClosed {
		l.o.cfg.Logger.Info("provider answers again", "lane", l.name)
	}
	l.poke()
}

// poke wakes the feeder.
func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (l *lane) resume() {
	l.mu.Lock()
	l.heldTill = time.Time{}
	l.mu.Unlock()
	l.poke()
}

// run feeds the lane until ctx ends and then waits for what it has started.
func (l *lane) run(ctx context.Context) {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		}
		wait, err := l.feed(ctx, &jobs)
		if err != nil && ctx.Err() == nil {
			l.o.cfg.Logger.Error("lane cannot lease rows", "lane", l.name, "err", err)
			wait = time.Second
		}
		timer.Reset(min(max(wait, time.Millisecond), pollEvery))
	}
}

// feed starts what is due and allowed, and returns how long there will be
// nothing to do.
func (l *lane) feed(ctx context.Context, jobs *sync.WaitGroup) (wait time.Duration, err error) {
	for ctx.Err() == nil {
		n, wait := l.allowed()
		if n == 0 {
			return wait, nil
		}
		resumed := l.from != nil
		due, nextDue, err := l.collect(n)
		if err != nil {
			return 0, err
		}
		if len(due) == 0 {
			if resumed {
				continue // rows may have come in behind the place where this pass went on: begin a new one
			}
			return nextDue, nil
		}
		leased, err := l.lease(ctx, due)
		l.limiter.AllowN(time.Now(), len(leased))
		for _, c := range leased {
			jobs.Go(func() { l.send(ctx, c) })
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// allowed returns how many rows may be leased now; 0 comes with the time until
// it is worth asking again.
func (l *lane) allowed() (n int, wait time.Duration) {
	state := l.breaker.State()
	tokens := l.limiter.Tokens()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	until := l.heldTill
	if state == gobreaker.StateOpen {
		for _, t := range []time.Time{l.rests, now.Add(time.Millisecond)} {
			if t.After(until) {
				until = t
			}
		}
	}
	if until.After(now) {
		return 0, until.Sub(now)
	}
	slots := l.o.cfg.Workers - l.inFlight
	if l.probing || state == gobreaker.StateHalfOpen {
		slots = 1 - l.inFlight
	}
	if l.starved = slots <= 0; l.starved {
		return 0, pollEvery
	}
	if tokens < 1 {
		if l.limiter.Limit() <= 0 {
			return 0, pollEvery
		}
		return 0, time.Duration((1 - tokens) / float64(l.limiter.Limit()) * float64(time.Second))
	}
	return min(slots, leaseBatch, int(tokens)), 0
}

// candidate is a due row; when it cannot be read, err and its index entry.
type candidate struct {
	row Delivery
	key []byte
	err error
}

// collect returns up to n due rows in the order of their time, or how long
// until the next is due.
//
// A pass goes on where the last round ended, because the index before that
// point consists of deleted entries that a scan has to wade through. A new
// pass begins at the very start when its share of the time allows it, else a
// little before now, where new rows are.
func (l *lane) collect(n int) (due []candidate, wait time.Duration, err error) {
	now := l.o.nowMS()
	begun := time.Now()
	from, full := l.from, false
	if from == nil {
		if full = begun.Sub(l.fullAt) >= fullShare*l.fullCost; !full {
			from = ready.Key(byDue, []byte(l.name), ms(now-lateEnqueue.Milliseconds()))
		}
	}
	first := true
	wait = pollEvery
	l.from = nil
	err = l.o.cfg.DB.View(func(tx *db.Tx) error {
		return tx.Scan(ready.Key(byDue, []byte(l.name)), from, func(key, campaign []byte) (bool, error) {
			if first && full {
				l.fullAt, l.fullCost = begun, time.Since(begun)
			}
			first = false
			_, at, mid, err := parseDue(key)
			if err != nil {
				due = append(due, candidate{key: bytes.Clone(key), err: err})
				return len(due) < n, nil
			}
			if at > now {
				wait = time.Duration(at-now) * time.Millisecond
				return false, nil
			}
			if l.o.taken(mid) || l.o.isStopping(string(campaign)) {
				return true, nil
			}
			row, found, err := Get(tx, mid)
			if err == nil && (!found || row.State.Final() || row.NextAt != at) {
				err = errNoRow
			}
			c := candidate{row: row, err: err}
			if err != nil {
				c.key = bytes.Clone(key)
			}
			if due = append(due, c); len(due) == n {
				l.from = db.After(key)
				return false, nil
			}
			return true, nil
		})
	})
	if first && full { // nothing at all
		l.fullAt, l.fullCost = begun, time.Since(begun)
	}
	return due, wait, err
}

// lease settles what is due: most rows become leased and are returned; those
// of a lease that has run out become in doubt, expired ones expire, and those
// of a device that is to be spared are put off.
func (l *lane) lease(ctx context.Context, due []candidate) (leased []*change, err error) {
	now := l.o.nowMS()
	pol := policy{l.o.cfg.MaxAttempts, l.o.cfg.OnDoubt}
	changes := make([]*change, 0, len(due))
	var orphans [][]byte
	var cause error
	for _, cand := range due {
		d := cand.row
		switch {
		case cand.err != nil:
			orphans, cause = append(orphans, cand.key), cand.err
			continue
		case d.State == StateSending:
			out := push.Outcome{Class: push.InDoubt, Reason: "the lease ran out", Sent: true}
			c := &change{old: d, outcome: out, tell: true}
			c.new, c.claim = next(d, actionFor(out.Class, true), out, now, 0, pol)
			changes = append(changes, c)
			continue
		case d.ExpiresAt <= now:
			changes = append(changes, l.o.final(d, StateExpired, "waited too long in lane "+l.name, push.Expired, false))
			continue
		}
		if at := l.pacer.admit(d.App+"/"+d.Device, now); at > now {
			c := &change{old: d, new: d}
			c.new.NextAt = at
			if at >= d.ExpiresAt {
				c = l.o.final(d, StateExpired, "too many messages for this device", push.Expired, false)
			}
			changes = append(changes, c)
			continue
		}
		if !l.o.take(d.MID) {
			continue
		}
		c := &change{old: d, new: d}
		c.new.State = StateSending
		c.new.NextAt = now + (l.o.cfg.AttemptTimeout + leaseSlack).Milliseconds()
		c.new.UpdatedAt = now
		changes = append(changes, c)
	}
	defer func() {
		kept := make(map[string]bool, len(leased))
		for _, c := range leased {
			kept[c.new.MID] = true
		}
		for _, c := range changes {
			if c.new.State == StateSending && !kept[c.new.MID] {
				l.o.drop(c.new.MID)
			}
		}
	}()
	if err := l.o.discard(ctx, orphans, cause); err != nil {
		return nil, err
	}
	made, err := l.o.recordAll(ctx, changes)
	for _, c := range made {
		if c.new.State == StateSending {
			leased = append(leased, c)
		}
	}
	l.mu.Lock()
	l.inFlight += len(leased)
	l.mu.Unlock()
	return leased, err
}

// LaneStats is a snapshot of one lane.
type LaneStats struct {
	InFlight int
	// Breaker is "closed", "half-open" or "open".
	Breaker string
	// HeldUntil is when a pause or a provider's 429 ends; zero: not held.
	HeldUntil time.Time
	// Alarm says what an operator has to mend; "" is fine.
	Alarm string
	// Classes counts answers.
	Classes map[push.Class]int64
}

func (l *lane) stats() LaneStats {
	state := l.breaker.State().String()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := LaneStats{InFlight: l.inFlight, Breaker: state, Alarm: l.alarm, Classes: make(map[push.Class]int64, len(l.classes))}
	if l.heldTill.After(time.Now()) {
		s.HeldUntil = l.heldTill
	}
	for c, n := range l.classes {
		s.Classes[c] = n
	}
	return s
}
