package outbox

import (
	"testing"
	"testing/synctest"
	"time"

	"footfall/push"
)

// The table of what each class does, for a request that was sent and one that
// certainly was not. Written out in full so that a change shows.
func TestActionTable(t *testing.T) {
	for class, want := range map[push.Class]struct {
		sent, unsent action
	}{
		push.Accepted:     {action{StateAccepted, true, false, delayNone, claimCommit, laneGood, false, true, false}, action{StateAccepted, true, false, delayNone, claimCommit, laneGood, false, true, false}},
		push.TokenDead:    {action{StateFailed, true, false, delayNone, claimRelease, laneGood, false, true, true}, action{StateFailed, false, false, delayNone, claimRelease, laneGood, false, false, true}},
		push.TokenBad:     {action{StateFailed, true, false, delayNone, claimRelease, laneGood, false, true, true}, action{StateFailed, false, false, delayNone, claimRelease, laneGood, false, false, true}},
		push.TokenForeign: {action{StateFailed, true, false, delayNone, claimRelease, laneGood, false, true, true}, action{StateFailed, false, false, delayNone, claimRelease, laneGood, false, false, true}},
		push.Config:       {action{StateFailed, true, false, delayNone, claimRelease, laneAlarm, false, false, false}, action{StateFailed, false, false, delayNone, claimRelease, laneAlarm, false, false, false}},
		push.Auth:         {action{StateRetryWait, false, false, delayGate, claimKeep, lanePause, false, false, false}, action{StateRetryWait, false, false, delayGate, claimKeep, lanePause, false, false, false}},
		push.Bug:          {action{StateFailed, true, false, delayNone, claimRelease, laneNeutral, false, false, false}, action{StateFailed, false, false, delayNone, claimRelease, laneNeutral, false, false, false}},
		push.Refused:      {action{StateFailed, true, false, delayNone, claimRelease, laneCalls, false, false, false}, action{StateFailed, false, false, delayNone, claimRelease, laneCalls, false, false, false}},
		push.TooLarge:     {action{StateFailed, true, false, delayNone, claimRelease, laneNeutral, false, false, false}, action{StateFailed, false, false, delayNone, claimRelease, laneNeutral, false, false, false}},
		push.Retry:        {action{StateRetryWait, true, false, delayBackoff, claimKeep, laneBad, false, false, false}, action{StateRetryWait, false, false, delayBackoff, claimKeep, laneBad, false, false, false}},
		push.RetryNow:     {action{StateRetryWait, false, false, delayNow, claimKeep, laneNeutral, false, false, false}, action{StateRetryWait, false, false, delayNow, claimKeep, laneNeutral, false, false, false}},
		push.Away:         {action{StateRetryWait, false, false, delayAway, claimKeep, laneNeutral, false, false, false}, action{StateRetryWait, false, false, delayAway, claimKeep, laneNeutral, false, false, false}},
		push.DeviceRate:   {action{StateRetryWait, true, false, delayDevice, claimKeep, laneGood, false, false, false}, action{StateRetryWait, false, false, delayDevice, claimKeep, laneGood, false, false, false}},
		push.LaneRate:     {action{StateRetryWait, false, false, delayLane, claimKeep, laneHold, true, false, false}, action{StateRetryWait, false, false, delayLane, claimKeep, laneHold, true, false, false}},
		push.InDoubt:      {action{StateInDoubt, true, true, delayBackoff, claimKeep, laneBad, false, false, false}, action{StateInDoubt, true, true, delayBackoff, claimKeep, laneBad, false, false, false}},
		push.Expired:      {action{StateExpired, false, false, delayNone, claimRelease, laneNeutral, false, false, false}, action{StateExpired, false, false, delayNone, claimRelease, laneNeutral, false, false, false}},
		"from the future": {action{StateRetryWait, true, false, delayBackoff, claimKeep, laneBad, false, false, false}, action{StateRetryWait, false, false, delayBackoff, claimKeep, laneBad, false, false, false}},
	} {
		if got := actionFor(class, true); got != want.sent {
			t.Errorf("%s, sent: %+v, want %+v", class, got, want.sent)
		}
		if got := actionFor(class, false); got != want.unsent {
			t.Errorf("%s, unsent: %+v, want %+v", class, got, want.unsent)
		}
	}
	for _, class := range push.Classes() { // every class ends the row or times the next attempt
		if a := actionFor(class, true); a.state.Final() != (a.delay == delayNone) {
			t.Errorf("%s: %+v", class, a)
		}
	}
}

func TestNext(t *testing.T) {
	const now, minute = 1_000_000, 60_000
	base := Delivery{MID: "m", State: StateSending, CreatedAt: now, ExpiresAt: now + 15*minute}
	with := func(f func(*Delivery)) Delivery { d := base; f(&d); return d }
	pol := policy{maxAttempts: 8, onDoubt: Resend}
	for _, tc := range []struct {
		name     string
		d        Delivery
		o        push.Outcome
		pol      policy
		state    State
		claim    claimStep
		attempts int
		wait     int64 // ms with random = 1
	}{
		{"accepted", base, push.Outcome{Class: push.Accepted}, pol, StateAccepted, claimCommit, 1, 0},
		{"first retry", base, push.Outcome{Class: push.Retry, Sent: true}, pol, StateRetryWait, claimKeep, 1, 1000},
		{"fourth retry", with(func(d *Delivery) { d.Attempts = 3 }), push.Outcome{Class: push.Retry, Sent: true}, pol, StateRetryWait, claimKeep, 4, 8000},
		{"capped", with(func(d *Delivery) { d.Attempts, d.Redos = 6, 60 }), push.Outcome{Class: push.Retry, Sent: true}, pol, StateRetryWait, claimKeep, 7, 60000},
		{"not sent: no attempt", base, push.Outcome{Class: push.Retry}, pol, StateRetryWait, claimKeep, 0, 1000},
		{"Retry-After is longer", base, push.Outcome{Class: push.Retry, Sent: true, RetryAfter: 90 * time.Second}, pol, StateRetryWait, claimKeep, 1, 90000},
		{"last attempt", with(func(d *Delivery) { d.Attempts = 7 }), push.Outcome{Class: push.Retry, Sent: true}, pol, StateDead, claimKeep, 8, 0},
		{"last attempt, not sent", with(func(d *Delivery) { d.Attempts = 7 }), push.Outcome{Class: push.Retry}, pol, StateRetryWait, claimKeep, 7, 60000},
		{"would be too late", with(func(d *Delivery) { d.ExpiresAt = now + 6000 }), push.Outcome{Class: push.Retry, Sent: true}, pol, StateRetryWait, claimKeep, 1, 999},
		{"too late", with(func(d *Delivery) { d.ExpiresAt = now + 5999 }), push.Outcome{Class: push.Retry, Sent: true}, pol, StateExpired, claimRelease, 1, 0},
		{"too late after doubt", with(func(d *Delivery) { d.ExpiresAt, d.Doubt = now+5999, true }), push.Outcome{Class: push.Retry, Sent: true}, pol, StateExpired, claimKeep, 1, 0},
		{"at once", base, push.Outcome{Class: push.RetryNow}, pol, StateRetryWait, claimKeep, 0, 0},
		{"at once, again", with(func(d *Delivery) { d.Redos = 1 }), push.Outcome{Class: push.RetryNow}, pol, StateRetryWait, claimKeep, 0, 1000},
		{"away", base, push.Outcome{Class: push.Away}, pol, StateRetryWait, claimKeep, 0, 1500},
		{"away, for long", with(func(d *Delivery) { d.Redos, d.ExpiresAt = 40, now+60*minute }), push.Outcome{Class: push.Away}, pol, StateRetryWait, claimKeep, 0, 3.75 * minute},
		{"away: a last look before the end", with(func(d *Delivery) { d.Redos = 40; d.ExpiresAt = now + 3*minute }), push.Outcome{Class: push.Away}, pol, StateRetryWait, claimKeep, 0, 3*minute - 5001},
		{"away, too late for another look", with(func(d *Delivery) { d.ExpiresAt = now + 6000 }), push.Outcome{Class: push.Away}, pol, StateRetryWait, claimKeep, 0, 6000},
		{"has it and says nothing, drop", base, push.Outcome{Class: push.Away, Sent: true, Doubt: true}, policy{8, Drop}, StateFailed, claimKeep, 0, 0},
		{"another channel may have brought it, drop", base, push.Outcome{Class: push.Retry, Sent: true, Doubt: true}, policy{8, Drop}, StateFailed, claimKeep, 1, 0},
		{"device rate", base, push.Outcome{Class: push.DeviceRate, Sent: true}, pol, StateRetryWait, claimKeep, 1, 60000},
		{"lane rate", base, push.Outcome{Class: push.LaneRate, Sent: true}, pol, StateRetryWait, claimKeep, 0, 60000},
		{"lane rate, told", base, push.Outcome{Class: push.LaneRate, Sent: true, RetryAfter: 7 * time.Second}, pol, StateRetryWait, claimKeep, 0, 7000},
		{"doubt", base, push.Outcome{Class: push.InDoubt, Sent: true}, pol, StateInDoubt, claimKeep, 1, 1000},
		{"doubt, drop", base, push.Outcome{Class: push.InDoubt, Sent: true}, policy{8, Drop}, StateFailed, claimKeep, 1, 0},
		{"doubt, the row says drop", with(func(d *Delivery) { d.OnDoubt = Drop }), push.Outcome{Class: push.InDoubt, Sent: true}, pol, StateFailed, claimKeep, 1, 0},
		{"doubt, the row says resend", with(func(d *Delivery) { d.OnDoubt = Resend }), push.Outcome{Class: push.InDoubt, Sent: true}, policy{8, Drop}, StateInDoubt, claimKeep, 1, 1000},
		{"dead token", base, push.Outcome{Class: push.TokenDead, Sent: true}, pol, StateFailed, claimRelease, 1, 0},
		{"dead token, but another channel may have brought it", base, push.Outcome{Class: push.TokenDead, Sent: true, Doubt: true}, pol, StateFailed, claimKeep, 1, 0},
		{"dead token after doubt", with(func(d *Delivery) { d.Doubt = true }), push.Outcome{Class: push.TokenDead, Sent: true}, pol, StateFailed, claimKeep, 1, 0},
	} {
		random := 1.0
		if tc.name == "would be too late" {
			random = 0.999
		}
		got, claim := next(tc.d, actionFor(tc.o.Class, tc.o.Sent), tc.o, now, random, tc.pol)
		wait := got.NextAt - now
		if got.State.Final() {
			wait = got.NextAt
		}
		if got.State != tc.state || claim != tc.claim || got.Attempts != tc.attempts || wait != tc.wait || got.UpdatedAt != now || got.Reason == "" {
			t.Errorf("%s: %+v, claim %d, wait %d", tc.name, got, claim, wait)
		}
	}
}

func TestBackoffIsFullJitter(t *testing.T) {
	for n, limit := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		limit *= time.Second
		if lo, mid, hi := backoff(n, 0), backoff(n, 0.5), backoff(n, 1); lo != 0 || mid != limit/2 || hi != limit {
			t.Errorf("n=%d: %v, %v, %v", n, lo, mid, hi)
		}
	}
	if got := backoff(1<<40, 1); got != backoffCap {
		t.Errorf("far out: %v", got)
	}
}

func TestPacer(t *testing.T) {
	p := newPacer(2*time.Second, 3)
	var at []int64
	for range 6 {
		at = append(at, p.admit("hot", 10_000))
	}
	want := []int64{10_000, 10_000, 10_000, 12_000, 14_000, 16_000}
	for i := range want {
		if at[i] != want[i] {
			t.Fatalf("admitted at %v, want %v", at, want)
		}
	}
	if got := p.admit("cool", 10_000); got != 10_000 {
		t.Errorf("another device waits until %d", got)
	}
	for _, now := range want[3:] { // those put off pass when they come back
		if got := p.admit("hot", now); got != now {
			t.Errorf("at %d put off again to %d", now, got)
		}
	}
	p.hold("cool", 50_000)
	if got := p.admit("cool", 20_000); got < 50_000 {
		t.Errorf("held device admitted at %d", got)
	}
	for i := range 3 * maxPaced { // bounded
		p.admit(string(ms(int64(i))), 60_000)
	}
	if len(p.devices) > maxPaced {
		t.Errorf("%d devices remembered", len(p.devices))
	}
	off := newPacer(-1, 0)
	for range 2 {
		if got := off.admit("x", 1); got != 1 {
			t.Errorf("a pacer that is off puts off until %d", got)
		}
	}
}

// What announcements may take: half of a full bucket, and their share of one that the others have emptied.
func TestBulkShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGovernor(1000, 100)
		for _, tt := range []struct {
			bulk        bool
			spent, want int // by the others
		}{{false, 0, 100}, {true, 0, 50}, {true, 30, 20}, {true, 30, 10}, {true, 40, 10}, {false, 50, 0}} {
			g.spend(tt.spent, false)
			if n, _ := g.allowed(tt.bulk); n != tt.want {
				t.Errorf("%+v: %d", tt, n)
			}
		}
	})
}
