package outbox

import (
	"cmp"
	"math/rand/v2"
	"time"

	"footfall/push"
)

// claimStep is what an outcome does to the claim.
type claimStep uint8

const (
	claimKeep    claimStep = iota
	claimCommit            // the provider has it
	claimRelease           // it failed for certain; not when it was ever in doubt
)

// delayKind is how the next attempt is timed.
type delayKind uint8

const (
	delayNone    delayKind = iota
	delayNow               // at once the first time, then as delayBackoff
	delayRestart           // at once the first time, then a few seconds
	delayAway              // 2 s, doubled to 5 min; the device may come before
	delayBackoff           // full jitter, not before RetryAfter
	delayDevice            // 30-60 s, not before RetryAfter
	delayLane              // RetryAfter, or 60 s
	delayGate              // due soon; the lane's pause holds it
)

// laneStep is what an outcome says about the lane.
type laneStep uint8

const (
	laneNeutral laneStep = iota // says nothing about the provider's health
	laneGood
	laneBad   // counts towards the breaker
	laneHold  // nothing more until RetryAfter
	lanePause // credentials refused: pause, alarm, then probe
	laneAlarm // our configuration is wrong, the lane goes on
	laneCalls // a call was refused: many in a row pause the lane
)

// action is what follows from one outcome.
type action struct {
	state State
	spend bool // one of the attempts is used
	doubt bool // nobody knows whether it arrived
	delay delayKind
	claim claimStep
	lane  laneStep
	// slow: the provider is asked for too much; the lane's rate is halved.
	slow bool
	// token: the answer says something about the token, good or bad.
	token bool
	// another: the person may have another token that works.
	another bool
}

// actionFor is the table: it maps the class of an outcome to what is done. sent
// is Outcome.Sent. An unknown class is treated as Retry, the harmless one.
func actionFor(class push.Class, sent bool) action {
	switch class {
	case push.Accepted:
		return action{state: StateAccepted, spend: true, claim: claimCommit, lane: laneGood, token: true}
	case push.TokenDead, push.TokenBad, push.TokenForeign:
		return action{state: StateFailed, spend: sent, claim: claimRelease, lane: laneGood, token: sent, another: true}
	case push.Bug, push.TooLarge:
		return action{state: StateFailed, spend: sent, claim: claimRelease, lane: laneNeutral}
	case push.Refused:
		return action{state: StateFailed, spend: sent, claim: claimRelease, lane: laneCalls}
	case push.Config:
		return action{state: StateFailed, spend: sent, claim: claimRelease, lane: laneAlarm}
	case push.Auth:
		return action{state: StateRetryWait, delay: delayGate, lane: lanePause}
	case push.RetryNow:
		return action{state: StateRetryWait, delay: delayNow, lane: laneNeutral}
	case push.Away:
		return action{state: StateRetryWait, delay: delayAway, lane: laneNeutral}
	case push.DeviceRate:
		return action{state: StateRetryWait, spend: sent, delay: delayDevice, lane: laneGood}
	case push.LaneRate:
		return action{state: StateRetryWait, delay: delayLane, lane: laneHold, slow: true}
	case push.InDoubt:
		return action{state: StateInDoubt, spend: true, doubt: true, delay: delayBackoff, lane: laneBad}
	case push.Expired:
		return action{state: StateExpired, claim: claimRelease, lane: laneNeutral}
	case push.Retry:
	}
	return action{state: StateRetryWait, spend: sent, delay: delayBackoff, lane: laneBad}
}

// Timing of the schedule. The values are those of AWS's "full jitter" with the
// floors that Apple and Google ask for.
const (
	backoffBase = time.Second
	backoffCap  = 60 * time.Second
	deviceFloor = 30 * time.Second // and as much again at random
	laneFloor   = 60 * time.Second
	// restartCap bounds the delay after a crash: the provider has refused nothing
	// and the person waits, but a row that itself ends the gateway must leave
	// time for others.
	restartCap = 8 * time.Second
	gateJitter = 5 * time.Second
	// A device that was not there is asked seldom: apps say when they come (Here),
	// so this finds those that do not say it, and what a crash has taken.
	awayBase = 2 * time.Second
	awayCap  = 5 * time.Minute
	// expiryMargin: an attempt that would begin this close to the expiry is not
	// worth making.
	expiryMargin = 5 * time.Second
)

// backoff returns a random delay below base·2^n, capped. random is in [0,1).
func backoff(n int, random float64) time.Duration {
	limit := backoffCap
	if n < 6 { // 2^6 s is past the cap
		limit = min(limit, backoffBase<<n)
	}
	return time.Duration(random * float64(limit))
}

// delayFor returns the time until the next attempt. d is the row before this
// outcome.
func delayFor(kind delayKind, d *Delivery, retryAfter time.Duration, random float64) time.Duration {
	n := d.Attempts + d.Redos
	switch kind {
	case delayNow:
		if d.Redos == 0 {
			return retryAfter
		}
		return max(retryAfter, backoff(n-1, random))
	case delayRestart:
		if d.Redos == 0 {
			return 0
		}
		return min(backoff(n-1, random), time.Duration(random*float64(restartCap)))
	case delayAway:
		wait := awayCap
		if n < 8 { // 2^8 times the base is past the cap
			wait = min(wait, awayBase<<n)
		}
		return max(retryAfter, wait-time.Duration(random*float64(wait)/4))
	case delayBackoff:
		return max(retryAfter, backoff(n, random))
	case delayDevice:
		return max(retryAfter, deviceFloor+time.Duration(random*float64(deviceFloor)))
	case delayLane:
		if retryAfter <= 0 {
			retryAfter = laneFloor
		}
		return retryAfter
	case delayGate:
		return time.Duration(random * float64(gateJitter))
	}
	return 0
}

// policy is the part of Config that decides about a row.
type policy struct {
	maxAttempts int
	onDoubt     OnDoubt
}

// next returns the row after outcome o at nowMS, and what becomes of the
// claim. It is pure: random is in [0,1).
func next(d Delivery, a action, o push.Outcome, nowMS int64, random float64, p policy) (Delivery, claimStep) {
	old := d
	d.State, d.UpdatedAt, d.Reason = a.state, nowMS, string(o.Class)
	if o.Reason != "" {
		d.Reason += ": " + o.Reason
	}
	switch {
	case a.spend:
		d.Attempts++
	case !a.state.Final():
		d.Redos++
	}
	d.Doubt = d.Doubt || a.doubt || o.Doubt
	if o.ProviderID != "" {
		d.ProviderID = o.ProviderID
	}
	if !d.State.Final() {
		d.NextAt = nowMS + delayFor(a.delay, &old, o.RetryAfter, random).Milliseconds()
		switch {
		case (a.doubt || o.Doubt) && cmp.Or(d.OnDoubt, p.onDoubt) == Drop:
			d.State, a.claim = StateFailed, claimKeep
		case a.spend && d.Attempts >= p.maxAttempts:
			d.State, a.claim = StateDead, claimKeep
		case a.delay == delayAway:
			// The app may come until the very end. A last look is made while it is worth it.
			last := d.ExpiresAt - expiryMargin.Milliseconds() - 1
			if d.NextAt > last {
				if d.NextAt = last; last < nowMS+awayBase.Milliseconds() {
					d.NextAt = d.ExpiresAt
				}
			}
		case d.NextAt >= d.ExpiresAt-expiryMargin.Milliseconds():
			d.State, a.claim = StateExpired, claimRelease
			d.Reason = "no attempt left before the expiry; last " + d.Reason
		}
	}
	if d.State.Final() {
		d.NextAt = 0
	}
	if a.claim == claimRelease && d.Doubt {
		a.claim = claimKeep
	}
	return d, a.claim
}

// random is the jitter's source; math/rand/v2 is safe for concurrent use.
func random() float64 { return rand.Float64() }
