package outbox

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"footfall/internal/db"
	"footfall/push"
)

// send makes one attempt with a leased row and records what came of it.
func (l *lane) send(ctx context.Context, leased *change) {
	d := leased.new
	defer l.ended(d.MID)
	var c *change
	switch out, t := l.attempt(ctx, &d); {
	case !t.answered && t.suppress != "":
		c = l.o.final(d, StateSuppressed, string(t.suppress), "", false)
	case !t.answered:
		// Back to where it was, due at once: whatever held it back now holds the
		// whole lane.
		c = &change{old: d, new: leased.old}
		c.new.NextAt, c.new.UpdatedAt = l.o.nowMS(), l.o.nowMS()
	default:
		act := actionFor(out.Class, out.Sent)
		c = &change{old: d, outcome: out, tell: true}
		c.new, c.claim = next(d, act, out, l.o.nowMS(), random(), policy{l.o.cfg.MaxAttempts, l.o.cfg.OnDoubt})
		if act.delay == delayDevice && !c.new.State.Final() {
			l.pacer.hold(d.App+"/"+d.Device, c.new.NextAt)
		}
	}
	if err := l.o.record(ctx, c); err != nil {
		// The lease runs out and the row is then in doubt, which is the truth.
		l.o.cfg.Logger.Error("outcome could not be recorded", "mid", d.MID, "lane", l.name,
			"state", string(c.new.State), "reason", c.new.Reason, "err", err)
		return
	}
	if !c.new.State.Final() {
		l.poke() // its time may come before what the feeder waits for
	}
}

// tried says how an attempt ended that may have had no answer.
type tried struct {
	answered bool
	suppress Suppress
}

// attempt composes and sends d. Not answered and not suppressed means handed
// back: nothing was sent and nothing is known.
func (l *lane) attempt(ctx context.Context, d *Delivery) (out push.Outcome, t tried) {
	if ctx.Err() != nil || l.o.isStopping(d.Campaign) {
		return out, tried{}
	}
	n, suppress, err := l.compose(d)
	switch {
	case err != nil:
		l.o.cfg.Logger.Error("message cannot be composed", "mid", d.MID, "campaign", d.Campaign, "err", err)
		return push.Outcome{Class: push.Bug, Reason: "compose"}, tried{answered: true}
	case suppress != "":
		return out, tried{suppress: suppress}
	}
	left := time.Duration(d.ExpiresAt-l.o.nowMS()) * time.Millisecond
	if left <= 0 {
		return push.Outcome{Class: push.Expired, Reason: "before it could be sent"}, tried{answered: true}
	}
	done, err := l.breaker.Allow()
	if err != nil {
		return out, tried{}
	}
	// An attempt that has begun is waited for, also by a shutdown: its answer is
	// worth more than the seconds.
	sendCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(l.o.cfg.AttemptTimeout, left))
	defer cancel()
	out = call(sendCtx, l.provider, n)
	done(l.observe(out))
	return out, tried{answered: true}
}

// compose calls Config.Compose; a panic in it costs this row.
func (l *lane) compose(d *Delivery) (n *push.Notification, suppress Suppress, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	row := *d
	err = l.o.cfg.DB.View(func(tx *db.Tx) error {
		n, suppress = l.o.cfg.Compose(tx, &row)
		return nil
	})
	if err == nil && n == nil && suppress == "" {
		err = errors.New("neither a notification nor a reason")
	}
	return n, suppress, err
}

// call is Provider.Send; after a panic in it nobody knows what was sent.
func call(ctx context.Context, p push.Provider, n *push.Notification) (out push.Outcome) {
	defer func() {
		if r := recover(); r != nil {
			out = push.Outcome{Class: push.InDoubt, Reason: fmt.Sprintf("provider panicked: %v", r), Sent: true}
		}
	}()
	return p.Send(ctx, n)
}

// observe applies what an answer says about the lane and returns what the
// breaker is to be told.
func (l *lane) observe(out push.Outcome) error {
	step := actionFor(out.Class, out.Sent).lane
	log := l.o.cfg.Logger
	l.mu.Lock()
	defer l.mu.Unlock()
	l.classes[out.Class]++
	now := time.Now()
	hold := func(d time.Duration) {
		if till := now.Add(d); till.After(l.heldTill) {
			l.heldTill = till
		}
	}
	switch step {
	case laneGood:
		if l.probing {
			log.Info("lane is itself again", "lane", l.name, "was", l.alarm)
			l.probing, l.alarm = false, ""
		}
		return nil
	case laneBad:
		return errLaneBad
	case laneHold:
		hold(delayFor(delayLane, &Delivery{}, out.RetryAfter, 0))
		log.Warn("provider asks for less; the lane waits", "lane", l.name, "reason", out.Reason, "until", l.heldTill)
	case lanePause:
		hold(max(l.o.cfg.AuthPause, out.RetryAfter))
		if !l.probing {
			log.Error("credentials refused; the lane pauses", "lane", l.name, "status", out.Status, "reason", out.Reason)
		}
		l.probing, l.alarm = true, fmt.Sprintf("credentials refused: %s (%d)", out.Reason, out.Status)
		return errLaneBad
	case laneAlarm:
		if l.alarm == "" {
			log.Error("provider says that the configuration is wrong", "lane", l.name, "status", out.Status, "reason", out.Reason)
			l.alarm = fmt.Sprintf("configuration refused: %s (%d)", out.Reason, out.Status)
		}
	}
	return errLaneNeutral
}

// ended gives the row and its place in the lane free.
func (l *lane) ended(mid string) {
	l.o.drop(mid)
	l.mu.Lock()
	l.inFlight--
	wake := l.starved
	l.mu.Unlock()
	if wake {
		l.poke()
	}
}
