package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/internal/failpoint"
	"footfall/push"
)

// change is one step of one row: what it was, what it becomes, and what goes
// with it. old is not written to, so that several steps may share it.
type change struct {
	old     *Delivery
	new     Delivery
	claim   claimStep
	outcome push.Outcome
	tell    bool // call OnOutcome
	another bool // the token was refused: ask Another
	// lease is set when the row is leased by this process: nobody else changes it
	// then, and it need not be read again.
	lease *lease

	// What came of it, valid once made or refused is set.
	made    bool
	refused error     // errStale or errIllegal: nothing was written
	result  *Delivery // as written
	odd     error     // the claim was not there to be settled
	hookErr error     // OnOutcome failed and was left out
}

var (
	// errStale: the row is no longer what the change started from.
	errStale = errors.New("outbox: delivery has moved on")
	// errMisplaced: an entry of the ready index that is not where its row belongs.
	errMisplaced = errors.New("outbox: a row in a place that is not its own")
	// errNoEntry: a place where there is no row.
	errNoEntry = errors.New("outbox: no row in its place in the ready index")
	// errHook wraps what OnOutcome returned.
	errHook = errors.New("outbox: outcome hook")
)

// hookTries is how often a change is tried with a failing OnOutcome.
const hookTries = 3

// apply writes c within tx: row and indexes, claim, and the owner's part. It
// has no other effect than on c's results, because the transaction may run
// again.
func (o *Outbox) apply(tx *db.Tx, c *change) error {
	c.refused, c.odd = nil, nil
	old := c.old
	if c.lease == nil {
		stored, found, err := read(tx, old.MID)
		if err != nil {
			return err
		}
		if !found || stored.step != old.step || stored.CreatedAt != old.CreatedAt || o.taken(old.MID) {
			c.refused = errStale
			return nil
		}
	}
	d, claim := c.new, c.claim
	var err error
	arrived := false
	if o.cfg.Arrived != nil && d.State != StateAccepted {
		if arrived, err = o.cfg.Arrived(tx, d.MID); err != nil {
			return err
		}
	}
	if arrived {
		d, claim = confirmed(d), claimCommit
	} else if c.another {
		if route, ok, err := o.anotherRoute(tx, c); err != nil {
			return err
		} else if ok {
			d.Tried = append(slices.Clone(d.Tried), d.Route())
			d.Device, d.Lane, d.Env = route.Device, route.Lane, route.Env
			d.State, d.NextAt, claim = StatePending, d.UpdatedAt, claimKeep
		}
	}
	if c.refused = follow(old.State, d.State); c.refused != nil {
		return nil
	}
	if c.lease == nil || !d.State.Final() {
		touch(tx)
	}
	if err := put(tx, old, &d, o.cfg.KeepFinished); err != nil {
		return err
	}
	if c.odd, err = settleClaim(tx, &d, claim); err != nil {
		return err
	}
	if (c.tell || arrived) && c.hookErr == nil {
		if err := o.callHook(tx, old, d, c.outcome); err != nil {
			return fmt.Errorf("%w: %w", errHook, err)
		}
	}
	c.result = &d
	if o.walked != nil {
		o.walked(old.State, d.State)
	}
	return nil
}

// settleClaim does step to the claim of d. odd says that the claim was not
// there to be settled: the message has its outcome in any case. One that is
// gone is past its period; the others are counted so that someone looks.
func settleClaim(tx *db.Tx, d *Delivery, step claimStep) (odd, err error) {
	if d.Claim == (dedupe.Key{}) {
		return nil, nil
	}
	if step == claimRelease {
		if all, err := OthersFailed(tx, d); err != nil || !all {
			return nil, err
		}
	}
	switch step {
	case claimCommit:
		err = dedupe.Commit(tx, d.Claim, d.Message())
	case claimRelease:
		err = dedupe.Release(tx, d.Claim, d.Message(), string(d.State)+": "+d.Reason)
	}
	if errors.Is(err, dedupe.ErrNoClaim) || errors.Is(err, dedupe.ErrNotHolder) ||
		errors.Is(err, dedupe.ErrCommitted) || errors.Is(err, dedupe.ErrUnreadable) {
		return err, nil
	}
	return nil, err
}

// anotherRoute asks for another token of the person. After doubt there is
// none: the first phone may have shown it.
func (o *Outbox) anotherRoute(tx *db.Tx, c *change) (r Route, ok bool, err error) {
	d := c.new
	if o.cfg.Another == nil || d.Doubt || len(d.Tried) >= maxRoutes || d.UpdatedAt >= d.ExpiresAt-expiryMargin.Milliseconds() {
		return r, false, nil
	}
	if r, ok, err = o.cfg.Another(tx, &d, c.outcome); err != nil || !ok {
		return r, false, err
	}
	if r.Device == "" || o.lanes[r.Lane] == nil || r == d.Route() || slices.Contains(d.Tried, r) {
		return r, false, nil
	}
	return r, true, nil
}

func (o *Outbox) callHook(tx *db.Tx, old *Delivery, d Delivery, out push.Outcome) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return o.cfg.OnOutcome(tx, old, &d, out) // the hook may do with it what it likes
}

// recordAll makes many changes durable in one commit and returns those that
// were made. A refused change is counted and does not disturb the others.
// After an error nothing was written, or (with db.ErrBroken) nobody knows.
func (o *Outbox) recordAll(ctx context.Context, cs []*change) (made []*change, err error) {
	if len(cs) == 0 {
		return nil, nil
	}
	err = o.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		for _, c := range cs {
			if err := o.apply(tx, c); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err == nil:
		for _, c := range cs {
			if c.made = c.refused == nil; c.made {
				made = append(made, c)
			}
			o.recorded(c)
		}
		return made, nil
	case len(cs) > 1 && (errors.Is(err, errHook) || errors.Is(err, db.ErrTooBig)):
		for i := range cs { // one of them is to blame
			m, e := o.recordAll(ctx, cs[i:i+1])
			if made = append(made, m...); e != nil {
				return made, e
			}
		}
		return made, nil
	case errors.Is(err, errHook):
		for try := 1; try < hookTries && errors.Is(err, errHook); try++ {
			err = o.cfg.DB.Update(ctx, func(tx *db.Tx) error { return o.apply(tx, cs[0]) })
		}
		if err == nil {
			break
		}
		if !errors.Is(err, errHook) {
			return nil, err
		}
		// An answer that is not recorded would be sent again.
		cs[0].hookErr = err
		o.cfg.Logger.Error("outcome recorded without its hook", "mid", cs[0].new.MID, "state", string(cs[0].new.State), "err", err)
		return o.recordAll(ctx, cs)
	default:
		return nil, err
	}
	cs[0].made = cs[0].refused == nil
	o.recorded(cs[0])
	if cs[0].made {
		made = cs
	}
	return made, nil
}

const (
	// recordBatch bounds the outcomes of one commit. When there are many, the
	// first waits recordWait for more of them, because a commit costs as much as
	// dozens of outcomes; a single one waits for nothing, and none once half of
	// what the lanes hold is there, so that they do not run dry.
	recordBatch = 256
	recordMany  = 8
	recordWait  = 20 * time.Millisecond
	// recordsAtOnce is how many commits may be asked for at once; the group
	// commit makes one of those that wait.
	recordsAtOnce = 8
	// stopPatience is how long a stopping outbox tries to record outcomes that
	// the database refuses.
	stopPatience = 5 * time.Second
)

// recordOutcomes makes the outcomes of all lanes durable until the channel is
// closed, and returns when it has. While one batch is written the next gathers.
// While the database refuses, for a full disk, they wait here, their rows stay
// leased, and the lanes come to a halt: so nothing is sent that is not
// remembered.
func (o *Outbox) recordOutcomes(ctx context.Context) {
	var writing sync.WaitGroup
	defer writing.Wait()
	room := make(chan struct{}, recordsAtOnce)
	linger := time.NewTimer(recordWait)
	defer linger.Stop()
	many := false
	for first := range o.outcomes {
		batch := o.gather(first, many, linger)
		many = len(batch) >= recordMany
		room <- struct{}{}
		writing.Go(func() {
			defer func() { <-room }()
			o.recordBatch(ctx, batch)
			failpoint.Here(failpoint.Recorded)
			o.settled(batch)
		})
	}
}

// gather takes the outcomes that are there, and with many those of a little
// time, up to recordBatch.
func (o *Outbox) gather(first *change, many bool, linger *time.Timer) []*change {
	batch := append(make([]*change, 0, 2*recordMany), first)
	linger.Reset(recordWait)
	for len(batch) < recordBatch {
		select {
		case c, ok := <-o.outcomes:
			if !ok {
				return batch
			}
			batch = append(batch, c)
			continue
		default:
		}
		if !many || 2*len(batch) >= o.held() {
			return batch
		}
		select {
		case c, ok := <-o.outcomes:
			if !ok {
				return batch
			}
			batch = append(batch, c)
		case <-linger.C:
			return batch
		}
	}
	return batch
}

// held counts the rows that lanes have leased and not yet settled.
func (o *Outbox) held() (n int) {
	for _, l := range o.lanes {
		n += l.held()
	}
	return n
}

// settled gives the rows and their places in the lanes free. One whose outcome
// could not be recorded stays leased: it is in doubt at the next start.
func (o *Outbox) settled(batch []*change) {
	for _, c := range batch {
		if !c.made && c.refused == nil {
			continue
		}
		if c.lease.open.Add(-1) == 0 {
			o.spend(c.lease.key)
		}
		if l := o.lanes[c.old.Lane]; l != nil {
			l.queueOf(c.old).ended(c.old.MID)
		}
		o.drop(c.old.MID)
		// Its time may come before what the queue waits for.
		if !c.made || c.result.State.Final() {
			continue
		}
		if l := o.lanes[c.result.Lane]; l != nil {
			l.queueOf(c.result).poke()
		}
	}
}

func (o *Outbox) recordBatch(ctx context.Context, batch []*change) {
	pause := 50 * time.Millisecond
	var giveUp time.Time
	todo := slices.Clone(batch)
	for {
		_, err := o.recordAll(context.WithoutCancel(ctx), todo)
		if err == nil {
			return
		}
		// Some may have been recorded one by one.
		todo = slices.DeleteFunc(todo, func(c *change) bool { return c.made || c.refused != nil })
		if giveUp.IsZero() && ctx.Err() != nil {
			giveUp = time.Now().Add(stopPatience)
		}
		if errors.Is(err, db.ErrClosed) || errors.Is(err, db.ErrBroken) || !giveUp.IsZero() && time.Now().After(giveUp) {
			// The rows stay leased and are in doubt at the next start: the truth.
			o.cfg.Logger.Error("outcomes could not be recorded", "n", len(todo), "err", err)
			return
		}
		o.cfg.Logger.Warn("outcomes wait for the disk", "n", len(todo), "err", err)
		time.Sleep(pause)
		pause = min(2*pause, time.Second)
	}
}

// recorded counts and logs a change that is now durable, or was refused.
func (o *Outbox) recorded(c *change) {
	if c.refused != nil {
		o.count(func(n *counts) { n.stale++ })
		if errors.Is(c.refused, errIllegal) {
			o.cfg.Logger.Error("a change of state was refused; report this", "mid", c.old.MID, "err", c.refused)
		}
		return
	}
	d := c.result
	newDoubt := d.Doubt && d.State != StateAccepted &&
		(c.outcome.Class == push.InDoubt || c.outcome.Class == push.Away && !c.old.Doubt) // an app may be silent many times
	if d.State.Final() || newDoubt || c.hookErr != nil || c.odd != nil {
		o.count(func(n *counts) {
			if d.State.Final() {
				n.finals[d.State]++
			}
			if d.State == StateSuppressed && len(n.suppressed) < maxReasons {
				n.suppressed[d.Reason]++
			}
			if newDoubt {
				n.doubts++
			}
			if c.hookErr != nil {
				n.hookFails++
			}
			if c.odd != nil {
				n.claimOdds++
			}
		})
	}
	if l := o.lanes[d.Lane]; l != nil && d.State.Final() {
		l.mu.Lock()
		l.finals[d.State]++
		l.mu.Unlock()
		if d.State == StateAccepted {
			l.accepted.Add(time.Duration(d.UpdatedAt-d.CreatedAt) * time.Millisecond)
		}
	}
	if c.odd != nil {
		o.cfg.Logger.Warn("claim could not be settled", "mid", d.MID, "campaign", d.Campaign,
			"state", string(d.State), "err", c.odd)
	}
	if newDoubt {
		o.cfg.Logger.Warn("nobody knows whether a push arrived", "mid", d.MID, "lane", d.Lane,
			"reason", d.Reason, "state", string(d.State))
	}
}

// maxReasons bounds the reasons that are counted by name.
const maxReasons = 64

// leftBehind returns the change of a row that was leased by a process that is
// dead. It is in doubt, and spends no attempt: a gateway that dies again and
// again must not use up what its provider has never refused. It is due at once
// the first time, and within restartCap later on.
func (o *Outbox) leftBehind(d *Delivery) *change {
	out := push.Outcome{Class: push.InDoubt, Reason: "the gateway ended while it was sent"}
	c := &change{old: d, outcome: out, tell: true}
	act := actionFor(out.Class, true)
	act.spend, act.delay = false, delayRestart
	c.new, c.claim = next(*d, act, out, o.nowMS(), random(), policy{o.cfg.MaxAttempts, o.cfg.OnDoubt})
	return c
}

// answered returns the change that outcome out makes to d.
func (o *Outbox) answered(d *Delivery, out push.Outcome) *change {
	act := actionFor(out.Class, out.Sent)
	c := &change{old: d, outcome: out, tell: true}
	c.new, c.claim = next(*d, act, out, o.nowMS(), random(), policy{o.cfg.MaxAttempts, o.cfg.OnDoubt})
	c.another = act.another && c.new.State.Final()
	return c
}

// final returns the change that ends d without an answer of a provider.
// maybeSent: a request may have been made that nobody knows the answer of.
func (o *Outbox) final(d *Delivery, state State, reason string, class push.Class, maybeSent bool) *change {
	c := &change{old: d, new: *d, claim: claimRelease, tell: true, outcome: push.Outcome{Class: class, Reason: reason}}
	c.new.State, c.new.Reason, c.new.NextAt = state, reason, 0
	c.new.UpdatedAt = o.nowMS()
	c.new.Doubt = d.Doubt || maybeSent
	if c.new.Doubt {
		c.claim = claimKeep
	}
	return c
}

// discard takes entries out of the ready index that cannot be sent, so that a
// bad row does not stop its lane. What a message id leads to stays under the id
// for inspection.
func (o *Outbox) discard(ctx context.Context, bad []entry, cause error) error {
	if len(bad) == 0 {
		return nil
	}
	err := o.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		for _, e := range bad {
			if err := tx.Delete(e.key); err != nil {
				return err
			}
			_, _, mid, err := parseDue(e.key)
			if err != nil {
				continue
			}
			if place, err := tx.Get(rowKey(mid)); err != nil || !bytes.Equal(place, placeOf(e.key)) {
				continue
			}
			if err := tx.Set(rowKey(mid), e.val); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("outbox: discard bad index entries: %w", err)
	}
	o.cfg.Logger.Error("bad entries taken out of the ready index", "n", len(bad), "err", cause)
	return nil
}

func (o *Outbox) nowMS() int64 { return o.cfg.Now().UnixMilli() }
