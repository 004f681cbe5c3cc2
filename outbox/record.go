package outbox

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/push"
)

// change is one step of one row: what it was, what it becomes, and what goes
// with it.
type change struct {
	old, new Delivery
	claim    claimStep
	outcome  push.Outcome
	tell     bool // call OnOutcome
}

var (
	// errStale: the row is no longer what the change started from.
	errStale = errors.New("outbox: delivery has moved on")
	// errNoRow: an index entry that leads nowhere.
	errNoRow = errors.New("outbox: ready index without its row")
	// errHook wraps what OnOutcome returned.
	errHook = errors.New("outbox: outcome hook")
)

// hookTries is how often a change is tried with a failing OnOutcome.
const hookTries = 3

// apply writes c within tx: row and indexes, claim, and the owner's part. It
// has no other effect, because the transaction may run again; oddClaim says
// that the claim was not there to be settled.
func (o *Outbox) apply(tx *db.Tx, c *change, hook bool) (oddClaim error, err error) {
	stored, found, err := Get(tx, c.old.MID)
	if err != nil {
		return nil, err
	}
	if !found || stored.State != c.old.State || stored.NextAt != c.old.NextAt {
		return nil, errStale
	}
	if err := put(tx, &stored, &c.new, o.cfg.KeepFinished); err != nil {
		return nil, err
	}
	if c.new.Claim != (dedupe.Key{}) {
		switch c.claim {
		case claimCommit:
			err = dedupe.Commit(tx, c.new.Claim, c.new.MID)
		case claimRelease:
			err = dedupe.Release(tx, c.new.Claim, c.new.MID, string(c.new.State)+": "+c.new.Reason)
		}
		switch {
		case errors.Is(err, dedupe.ErrNoClaim), errors.Is(err, dedupe.ErrNotHolder),
			errors.Is(err, dedupe.ErrCommitted), errors.Is(err, dedupe.ErrUnreadable):
			// The message has its outcome in any case. A claim that is gone is past
			// its period; the others are counted so that someone looks.
			oddClaim, err = err, nil
		case err != nil:
			return nil, err
		}
	}
	if c.tell && hook {
		if err := o.callHook(tx, c); err != nil {
			return nil, fmt.Errorf("%w: %w", errHook, err)
		}
	}
	return oddClaim, nil
}

func (o *Outbox) callHook(tx *db.Tx, c *change) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	d := c.new // the hook may do with it what it likes
	return o.cfg.OnOutcome(tx, &d, c.outcome)
}

// record makes one change durable. It tries again for as long as the database
// refuses for a passing reason, until the row's lease runs out or ctx ends.
func (o *Outbox) record(ctx context.Context, c *change) error {
	pause := 50 * time.Millisecond
	giveUp := time.Now().Add(leaseSlack)
	for hooks := 0; ; {
		var odd error
		err := o.cfg.DB.Update(context.WithoutCancel(ctx), func(tx *db.Tx) (err error) {
			odd, err = o.apply(tx, c, hooks < hookTries)
			return err
		})
		switch {
		case err == nil:
			o.recorded(c, odd, hooks == hookTries)
			return nil
		case errors.Is(err, errHook):
			hooks++
			if hooks == hookTries {
				o.cfg.Logger.Error("outcome recorded without its hook", "mid", c.new.MID, "state", string(c.new.State), "err", err)
			}
			continue
		case errors.Is(err, errStale):
			o.count(func(n *counts) { n.stale++ })
			return err
		case errors.Is(err, db.ErrClosed), errors.Is(err, db.ErrBroken), time.Now().After(giveUp):
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		}
	}
}

// recordAll makes many changes durable, each atomic by itself, in as few
// commits as the group commit needs. It returns the changes that were made.
func (o *Outbox) recordAll(ctx context.Context, cs []*change) (made []*change, err error) {
	type result struct {
		odd, err error
	}
	results := make([]result, len(cs))
	done := make(chan struct{}, len(cs))
	sent := 0
	for i, c := range cs {
		r := &results[i]
		err = o.cfg.DB.Submit(ctx, func(tx *db.Tx) (err error) {
			r.odd, err = o.apply(tx, c, true)
			return err
		}, func(err error) {
			r.err = err
			done <- struct{}{}
		})
		if err != nil {
			break
		}
		sent++
	}
	for range sent {
		<-done
	}
	for i, c := range cs[:sent] {
		switch r := results[i]; {
		case r.err == nil:
			o.recorded(c, r.odd, false)
			made = append(made, c)
		case errors.Is(r.err, errHook):
			if e := o.record(ctx, c); e == nil {
				made = append(made, c)
			}
		case errors.Is(r.err, errStale):
			o.count(func(n *counts) { n.stale++ })
		default:
			err = r.err
		}
	}
	return made, err
}

// recorded counts and logs a change that is now durable.
func (o *Outbox) recorded(c *change, oddClaim error, withoutHook bool) {
	newDoubt := c.new.Doubt && c.outcome.Class == push.InDoubt
	o.count(func(n *counts) {
		if c.new.State.Final() {
			n.finals[c.new.State]++
		}
		if newDoubt {
			n.doubts++
		}
		if withoutHook {
			n.hookFails++
		}
		if oddClaim != nil {
			n.claimOdds++
		}
	})
	if oddClaim != nil {
		o.cfg.Logger.Warn("claim could not be settled", "mid", c.new.MID, "campaign", c.new.Campaign,
			"state", string(c.new.State), "err", oddClaim)
	}
	if newDoubt {
		o.cfg.Logger.Warn("nobody knows whether a push arrived", "mid", c.new.MID, "lane", c.new.Lane,
			"reason", c.new.Reason, "state", string(c.new.State))
	}
}

// final returns the change that ends d without an answer of a provider.
// maybeSent: a request may have been made that nobody knows the answer of.
func (o *Outbox) final(d Delivery, state State, reason string, class push.Class, maybeSent bool) *change {
	c := &change{old: d, new: d, claim: claimRelease, tell: true, outcome: push.Outcome{Class: class, Reason: reason}}
	c.new.State, c.new.Reason, c.new.NextAt = state, reason, 0
	c.new.UpdatedAt = o.nowMS()
	c.new.Doubt = d.Doubt || maybeSent
	if c.new.Doubt {
		c.claim = claimKeep
	}
	return c
}

// discard takes index entries out that lead nowhere, so that a bad row does
// not stop its lane. The rows, if there are any, stay for inspection.
func (o *Outbox) discard(ctx context.Context, keys [][]byte, cause error) error {
	if len(keys) == 0 {
		return nil
	}
	err := o.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		for _, key := range keys {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("outbox: discard bad index entries: %w", err)
	}
	o.cfg.Logger.Error("bad entries taken out of the ready index", "n", len(keys), "err", cause)
	return nil
}

func (o *Outbox) nowMS() int64 { return o.cfg.Now().UnixMilli() }
