package outbox

import (
	"fmt"
	"time"

	"footfall/push"
)

// callRefusals in a row and the lane of calls pauses: a single one may be the
// fault of what was filled in for one person, so many are the receiver's. What
// waits then can still be taken once it is mended; sent on, each would fail for
// good.
const callRefusals = 20

// callRefused applies the answer of a receiver that does not take a call, and
// returns what the breaker is to be told. mu is held.
func (l *lane) callRefused(out push.Outcome) error {
	if !out.Unproven { // it says that this one call is at fault
		l.well()
		return nil
	}
	if l.refused++; l.refused < callRefusals {
		return errLaneNeutral
	}
	l.hold(l.o.cfg.AuthPause)
	l.probing = true
	text := fmt.Sprintf("%d calls in a row were refused, the last with: %s (%d)", l.refused, out.Reason, out.Status)
	if l.alarms.raise(l.name, AlarmCalls, text, time.Now()) {
		l.o.cfg.Logger.Error("the receiver refuses one call after the other; the lane pauses and probes", "lane", l.name, "status", out.Status, "reason", out.Reason)
	}
	return errLaneNeutral
}

// well ends a pause that the next good answer was to end. mu is held.
func (l *lane) well() {
	l.refused = 0
	if !l.probing {
		return
	}
	l.probing = false
	l.alarms.end(AlarmCredentials)
	l.alarms.end(AlarmCalls)
	l.o.cfg.Logger.Info("lane is itself again", "lane", l.name)
}
