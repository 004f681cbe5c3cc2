package outbox

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"footfall/internal/db"
	"footfall/internal/failpoint"
	"footfall/push"
)

// send makes one attempt with a leased row and hands on what came of it.
func (l *lane) send(ctx context.Context, leased *change) {
	d := &leased.new
	var c *change
	switch out, t := l.attempt(ctx, d); {
	case t.suppress == CampaignOver:
		c = l.o.final(d, StateCancelled, string(t.suppress), "", false)
	case t.suppress != "":
		c = l.o.final(d, StateSuppressed, string(t.suppress), "", false)
	case !t.answered:
		// Back to where it was, due at once: whatever held it back now holds the
		// whole lane.
		c = &change{old: d, new: *leased.old}
		c.new.NextAt, c.new.UpdatedAt = l.o.nowMS(), l.o.nowMS()
	default:
		c = l.o.answered(d, out)
		if actionFor(out.Class, out.Sent).delay == delayDevice && !c.new.State.Final() {
			l.pacer.hold(d.App+"/"+d.Device, c.new.NextAt)
		}
	}
	c.lease = leased.lease
	l.o.outcomes <- c // has room for all that the lanes may hold
}

// tried says how an attempt ended that may have had no answer.
type tried struct {
	answered bool
	suppress Suppress
}

// attempt composes and sends d. Not answered and not suppressed means handed
// back: nothing was sent and nothing is known.
func (l *lane) attempt(ctx context.Context, d *Delivery) (out push.Outcome, t tried) {
	if ctx.Err() != nil || l.o.isStopping(d.Campaign) || !l.enter() {
		return out, tried{}
	}
	defer l.leave()
	n, suppress, err := l.compose(d)
	switch {
	case err != nil:
		l.o.cfg.Logger.Error("message cannot be composed", "mid", d.MID, "campaign", d.Campaign, "err", err)
		return push.Outcome{Class: push.Bug, Reason: "compose"}, tried{answered: true}
	case suppress != "":
		return out, tried{suppress: suppress}
	}
	if !l.beginText(n) {
		return out, tried{suppress: TextRefused}
	}
	failpoint.Here(failpoint.Leased)
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
	begun := time.Now()
	failpoint.Soon(failpoint.Sent)
	out = call(sendCtx, l.provider, n)
	failpoint.Here(failpoint.Answered)
	if out.Sent {
		l.request.Add(time.Since(begun))
	}
	out = l.observeText(n, out)
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
