package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/push"
)

func TestAcceptedCommitsTheClaim(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		mid := r.enter("a")
		synctest.Wait()
		d := r.want(mid, StateAccepted, dedupe.Committed)
		if d.ProviderID != "id-"+mid || d.Attempts != 1 {
			t.Errorf("row %+v", d)
		}
		if again := r.enter("a"); again != "" {
			t.Error("a second entry of the day won")
		}
		if want := []string{mid + " accepted accepted"}; !slices.Equal(r.outcomes, want) {
			t.Errorf("outcomes %q", r.outcomes)
		}
		r.stop()                                 // a week of sweeps would take its time
		time.Sleep(7*24*time.Hour + time.Minute) // then the row is forgotten
		if err := r.db.View(func(tx *db.Tx) error {
			for _, f := range []Filter{{}, {State: StateAccepted}} {
				if err := List(tx, f, func(d *Delivery) bool { t.Errorf("still there: %+v", d); return true }); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// Enqueue is idempotent by message id, whatever became of the row.
func TestEnqueueIsIdempotent(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		mid := r.enter("a")
		synctest.Wait()
		d := r.row(mid)
		if err := r.db.Update(context.Background(), func(tx *db.Tx) error { return Enqueue(tx, &d) }); err != nil {
			t.Fatal(err)
		}
		r.out.Notify()
		time.Sleep(time.Minute)
		if n := len(r.prov.log()); n != 1 {
			t.Errorf("sent %d times", n)
		}
		for _, bad := range []Delivery{{}, {MID: "m", Lane: testLane, CreatedAt: 1}, {MID: "m", CreatedAt: 1, ExpiresAt: 1}} {
			if err := r.db.Update(context.Background(), func(tx *db.Tx) error { return Enqueue(tx, &bad) }); !errors.Is(err, ErrIncomplete) {
				t.Errorf("%+v: %v", bad, err)
			}
		}
	})
}

// 503s are tried again with rising, jittered, stored delays; Retry-After is
// obeyed; then it is accepted.
func TestRetries(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.prov.script["a"] = []push.Outcome{
			{Class: push.Retry, Status: 503, Sent: true},
			{Class: push.Retry, Status: 503, Sent: true, RetryAfter: 40 * time.Second},
			{Class: push.RetryNow},
		}
		mid := r.enter("a")
		time.Sleep(3 * time.Minute)
		at := r.prov.to("a", r.start)
		if len(at) != 4 || at[0] != 0 || at[1]-at[0] > time.Second+10*time.Millisecond || at[2]-at[1] < 40*time.Second ||
			at[3]-at[2] > 10*time.Millisecond {
			t.Errorf("sent at %v", at)
		}
		if d := r.want(mid, StateAccepted, dedupe.Committed); d.Attempts != 3 || d.Redos != 1 ||
			d.FirstAt != r.start.UnixMilli()+at[0].Milliseconds() || d.UpdatedAt < d.FirstAt+40_000 {
			t.Errorf("row %+v", d)
		}
		for _, s := range r.prov.log() {
			if s.mid != mid {
				t.Errorf("sent as %s", s.mid)
			}
		}
	})
}

func TestAttemptsUsedUp(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.prov.script["a"] = slices.Repeat([]push.Outcome{{Class: push.Retry, Status: 500, Sent: true}}, 20)
		mid := r.enter("a", expires(24*time.Hour))
		time.Sleep(time.Hour)
		d := r.want(mid, StateDead, dedupe.Reserved) // kept: it may be sent again by hand
		if n := len(r.prov.log()); d.Attempts != 8 || n != 8 {
			t.Errorf("%d attempts, %d requests", d.Attempts, n)
		}
	})
}

// Each definite failure ends the row and gives the slot back: the next entry
// notifies, under another message id.
func TestDefiniteFailureReleases(t *testing.T) {
	for _, class := range []push.Class{push.TokenDead, push.TokenBad, push.TokenForeign, push.Bug, push.TooLarge, push.Config} {
		inRig(t, nil, func(r *rig) {
			r.prov.script["a"] = []push.Outcome{{Class: class, Status: 400, Reason: "Because", Sent: true}}
			first := r.enter("a")
			synctest.Wait()
			if d := r.want(first, StateFailed, dedupe.Released); d.Reason != string(class)+": Because" {
				t.Errorf("reason %q", d.Reason)
			}
			second := r.enter("a")
			synctest.Wait()
			if second == "" || second == first {
				t.Fatalf("%s: second entry got %q after %q", class, second, first)
			}
			r.want(second, StateAccepted, dedupe.Committed)
			if alarms := r.out.Stats().Lanes[testLane].Alarms; (len(alarms) > 0) != (class == push.Config) {
				t.Errorf("%s: alarms %v", class, alarms)
			}
		})
	}
}

// A request that timed out is sent again under the same id; and although the
// token turns out dead, the claim is kept: the phone may have shown it.
func TestDoubt(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.prov.script["a"] = []push.Outcome{{Class: push.InDoubt, Sent: true}}
		r.prov.script["b"] = []push.Outcome{{Class: push.InDoubt, Sent: true}, {Class: push.TokenDead, Sent: true}}
		r.prov.script["c"] = []push.Outcome{{Class: push.InDoubt, Sent: true}}
		a, b := r.enter("a"), r.enter("b")
		c := r.enter("c", func(d *Delivery) { d.OnDoubt = Drop })
		time.Sleep(10 * time.Second)
		if d := r.want(a, StateAccepted, dedupe.Committed); !d.Doubt || d.Attempts != 2 {
			t.Errorf("a: %+v", d)
		}
		r.want(b, StateFailed, dedupe.Reserved)
		r.want(c, StateFailed, dedupe.Reserved)
		if n := len(r.prov.to("c", r.start)); n != 1 {
			t.Errorf("dropped one was sent %d times", n)
		}
		for _, s := range r.prov.log() {
			if !slices.Contains([]string{a, b, c}, s.mid) {
				t.Errorf("sent under another id: %s", s.mid)
			}
		}
		if n := r.out.Stats().Doubts; n != 3 {
			t.Errorf("%d doubts counted", n)
		}
	})
}

// A silent provider: the attempt ends after 10 s, not later, and is in doubt.
func TestSilentProvider(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.prov.latency = time.Hour
		mid := r.enter("a", expires(25*time.Second))
		time.Sleep(9 * time.Second)
		if d := r.row(mid); d.State != StateSending {
			t.Errorf("after 9 s: %s", d.State)
		}
		time.Sleep(21 * time.Second)
		r.want(mid, StateExpired, dedupe.Reserved) // in doubt: not released
		if at := r.prov.to("a", r.start); len(at) != 2 || at[1] < 10*time.Second || at[1] > 12*time.Second {
			t.Errorf("sent at %v", at)
		}
	})
}

// Composing may say no, also on a re-send; a panic in it fails that row alone.
func TestComposeDecides(t *testing.T) {
	inRig(t, func(c *Config) {
		ok := c.Compose
		c.Compose = func(tx *db.Tx, d *Delivery) (*push.Notification, Suppress) {
			switch d.Device {
			case "nope":
				return nil, "no_token"
			case "later":
				if d.Attempts > 0 {
					return nil, "opted_out"
				}
			case "boom":
				panic("template")
			case "nil":
				return nil, ""
			}
			return ok(tx, d)
		}
	}, func(r *rig) {
		r.prov.script["later"] = []push.Outcome{{Class: push.InDoubt, Sent: true}}
		nope, boom, none, later, fine := r.enter("nope"), r.enter("boom"), r.enter("nil"), r.enter("later"), r.enter("fine")
		time.Sleep(5 * time.Second)
		if d := r.want(nope, StateSuppressed, dedupe.Released); d.Reason != "no_token" || d.Attempts != 0 {
			t.Errorf("suppressed: %+v", d)
		}
		r.want(boom, StateFailed, dedupe.Released)
		r.want(none, StateFailed, dedupe.Released)
		r.want(later, StateSuppressed, dedupe.Reserved) // its first attempt is in doubt
		r.want(fine, StateAccepted, dedupe.Committed)
		if !slices.Contains(r.outcomes, nope+" suppressed ") {
			t.Errorf("outcomes %q", r.outcomes)
		}
	})
}

// A failing hook delays nothing for good: the outcome is written without it.
func TestFailingHook(t *testing.T) {
	calls := map[string]int{}
	inRig(t, func(c *Config) {
		c.OnOutcome = func(_ *db.Tx, _, d *Delivery, _ push.Outcome) error {
			calls[d.Device]++ // on the writer goroutine
			switch {
			case d.Device == "never":
				return errors.New("no")
			case d.Device == "panic":
				panic("no")
			case d.Device == "twice" && calls["twice"] < 3:
				return errors.New("not yet")
			}
			return nil
		}
	}, func(r *rig) {
		for _, device := range []string{"never", "panic", "twice"} {
			mid := r.enter(device)
			time.Sleep(time.Second)
			r.want(mid, StateAccepted, dedupe.Committed)
			if n := len(r.prov.to(device, r.start)); n != 1 {
				t.Errorf("%s was sent %d times", device, n)
			}
		}
		if n := r.out.Stats().HookErrors; n != 2 {
			t.Errorf("%d hook errors counted", n)
		}
	})
	if diff := cmp.Diff(map[string]int{"never": 3, "panic": 3, "twice": 3}, calls); diff != "" {
		t.Errorf("hook calls (-want +got):\n%s", diff)
	}
}

// Waiting rows expire on time while the provider is down, their slots are
// given back, and the next entry notifies.
func TestProviderDownLongerThanTheExpiry(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.prov.fallback = func(*push.Notification) push.Outcome { return push.Outcome{Class: push.Retry, Reason: "refused"} }
		var mids []string
		for i := range 300 {
			mids = append(mids, r.enter(fmt.Sprint("d", i)))
		}
		time.Sleep(16 * time.Minute)
		for _, mid := range mids {
			if d := r.want(mid, StateExpired, dedupe.Released); d.Attempts != 0 {
				t.Errorf("%d attempts were spent on requests that were never made", d.Attempts)
			}
		}
		if n := r.out.Stats().Finals[StateExpired]; n != 300 {
			t.Errorf("%d expired counted", n)
		}
		if n := len(r.prov.log()); n > 900 {
			t.Errorf("%d requests in 16 minutes: the breaker did not hold", n)
		}
		r.prov.mu.Lock()
		r.prov.fallback = nil
		r.prov.mu.Unlock()
		mid := r.enter("d7")
		time.Sleep(30 * time.Second)
		if slices.Contains(mids, mid) {
			t.Error("the message id was used again")
		}
		r.want(mid, StateAccepted, dedupe.Committed)
	})
}

// Down for five minutes: everything is delivered within a minute of recovery,
// never faster than the bucket.
func TestProviderDownForAWhile(t *testing.T) {
	inRig(t, func(c *Config) { c.Rate, c.Burst = 50, 5 }, func(r *rig) {
		down := true
		r.prov.fallback = func(n *push.Notification) push.Outcome {
			if down {
				return push.Outcome{Class: push.Retry, Status: 503, Sent: true}
			}
			return push.Outcome{Class: push.Accepted, Sent: true}
		}
		var mids []string
		for i := range 500 {
			mids = append(mids, r.enter(fmt.Sprint("d", i), expires(time.Hour)))
		}
		time.Sleep(5 * time.Minute)
		if s := r.out.Stats().Lanes[testLane].Breaker; s == "closed" {
			t.Error("the breaker is closed")
		}
		r.prov.mu.Lock()
		down = false
		r.prov.mu.Unlock()
		time.Sleep(time.Minute)
		for _, mid := range mids {
			r.want(mid, StateAccepted, dedupe.Committed)
		}
		perSecond := map[int64]int{}
		for _, s := range r.prov.log() {
			perSecond[s.at.Unix()]++
		}
		for s, n := range perSecond {
			if n > 55 {
				t.Errorf("%d requests in second %d", n, s-r.start.Unix())
			}
		}
		if s := r.out.Stats().Lanes[testLane].Breaker; s != "closed" {
			t.Errorf("breaker is %s", s)
		}
	})
}

// An answer that no table knows is handled by its status, and counted.
func TestUnknownReasonsAreCounted(t *testing.T) {
	inRig(t, func(*Config) {}, func(r *rig) {
		r.prov.script["a"] = []push.Outcome{{Class: push.Bug, Status: 400, Reason: "BadMood", Unknown: true, Sent: true}}
		a := r.enter("a")
		b := r.enter("b")
		synctest.Wait()
		r.want(a, StateFailed, dedupe.Released)
		r.want(b, StateAccepted, dedupe.Committed)
		s := r.out.Stats().Lanes[testLane]
		if s.UnknownReasons != 1 || len(s.Alarms) != 1 || s.Alarms[0].Kind != AlarmUnknown || !strings.Contains(s.Alarms[0].Text, "BadMood") {
			t.Errorf("%d unknown reasons, want 1; alarms %v", s.UnknownReasons, s.Alarms)
		}
		time.Sleep(puzzledFor)
		if s := r.out.Stats().Lanes[testLane]; s.UnknownReasons != 1 || len(s.Alarms) != 0 {
			t.Errorf("later: %d unknown reasons, alarms %v", s.UnknownReasons, s.Alarms)
		}
	})
}

// 429 for the lane: nothing at all is sent before Retry-After, no attempt is
// spent, other lanes go on.
func TestLaneRate(t *testing.T) {
	other := &fakeProvider{}
	inRig(t, func(c *Config) { c.Providers["other"] = other }, func(r *rig) {
		r.prov.script["a"] = []push.Outcome{{Class: push.LaneRate, Status: 429, RetryAfter: 30 * time.Second, Sent: true}}
		a := r.enter("a")
		synctest.Wait()
		b := r.enter("b")
		c := r.enter("c", func(d *Delivery) { d.Lane = "other" })
		synctest.Wait()
		r.want(c, StateAccepted, dedupe.Committed)
		if until := r.out.Stats().Lanes[testLane].HeldUntil; until.Sub(r.start) != 30*time.Second {
			t.Errorf("held until %v", until)
		}
		time.Sleep(31 * time.Second)
		r.want(a, StateAccepted, dedupe.Committed)
		r.want(b, StateAccepted, dedupe.Committed)
		if d := r.row(a); d.Attempts != 1 {
			t.Errorf("attempts %d", d.Attempts)
		}
		if at := r.prov.to("b", r.start); len(at) != 1 || at[0] < 30*time.Second {
			t.Errorf("b was sent at %v", at)
		}
	})
}

// Refused credentials pause the lane with an alarm; then one row at a time
// probes, and when one passes the rest follows. No attempt is spent, no row
// lost, no token touched.
func TestAuthPausesTheLane(t *testing.T) {
	inRig(t, func(c *Config) { c.Workers = 4 }, func(r *rig) {
		broken := true
		r.prov.fallback = func(*push.Notification) push.Outcome {
			if broken {
				return push.Outcome{Class: push.Auth, Status: 403, Reason: "InvalidProviderToken", Sent: true}
			}
			return push.Outcome{Class: push.Accepted, Sent: true}
		}
		var mids []string
		for i := range 40 {
			mids = append(mids, r.enter(fmt.Sprint("d", i)))
		}
		time.Sleep(5*time.Minute - time.Second)
		if n := len(r.prov.log()); n > 4+5 {
			t.Errorf("%d requests in 5 minutes of refused credentials", n)
		}
		if s := r.out.Stats().Lanes[testLane]; len(s.Alarms) != 1 || s.Alarms[0].Kind != AlarmCredentials || !strings.Contains(s.Alarms[0].Text, "InvalidProviderToken") || s.HeldUntil.IsZero() {
			t.Errorf("stats %+v", s)
		}
		r.prov.mu.Lock()
		broken = false
		r.prov.mu.Unlock()
		if !r.out.Resume(testLane) || r.out.Resume("no such lane") {
			t.Error("Resume knows the wrong lanes")
		}
		time.Sleep(20 * time.Second)
		for _, mid := range mids {
			if d := r.want(mid, StateAccepted, dedupe.Committed); d.Attempts != 1 {
				t.Errorf("%d attempts", d.Attempts)
			}
		}
		if s := r.out.Stats().Lanes[testLane]; len(s.Alarms) > 0 {
			t.Errorf("alarms stay: %v", s.Alarms)
		}
	})
}

// One device with a flood of messages: it gets three at once and then one per
// two seconds, and the others do not wait behind it.
func TestHotDeviceDelaysNobody(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		err := r.db.Update(context.Background(), func(tx *db.Tx) error {
			for i := range 1000 {
				d := Delivery{MID: fmt.Sprint("hot", i), App: "app", Device: "hot", Campaign: "x", Lane: testLane,
					CreatedAt: time.Now().UnixMilli() - 1, ExpiresAt: time.Now().Add(time.Minute).UnixMilli()}
				if err := Enqueue(tx, &d); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var cool []string
		for i := range 50 {
			cool = append(cool, r.enter(fmt.Sprint("cool", i)))
		}
		time.Sleep(100 * time.Millisecond)
		for _, mid := range cool {
			r.want(mid, StateAccepted, dedupe.Committed)
		}
		time.Sleep(2 * time.Minute)
		at := r.prov.to("hot", r.start)
		if len(at) < 30 || len(at) > 33 || at[2] > 10*time.Millisecond || at[3] < 2*time.Second {
			t.Errorf("hot device: %d messages, %v", len(at), at[:min(6, len(at))])
		}
		if got := r.out.Stats().Finals; got[StateExpired]+got[StateAccepted] != 1050 {
			t.Errorf("outcomes %v", got)
		}
	})
}

// 429 for a device holds its other messages as well, and nobody else's.
func TestDeviceRate(t *testing.T) {
	inRig(t, func(c *Config) { c.DeviceEvery = -1 }, func(r *rig) {
		r.prov.script["a"] = []push.Outcome{{Class: push.DeviceRate, Status: 429, Sent: true}}
		a := r.enter("a")
		synctest.Wait()
		err := r.db.Update(context.Background(), func(tx *db.Tx) error {
			return Enqueue(tx, &Delivery{MID: "second", App: "app", Device: "a", Lane: testLane, Campaign: "x",
				CreatedAt: time.Now().UnixMilli(), ExpiresAt: time.Now().Add(time.Hour).UnixMilli()})
		})
		if err != nil {
			t.Fatal(err)
		}
		b := r.enter("b")
		time.Sleep(29 * time.Second)
		r.want(b, StateAccepted, dedupe.Committed)
		if at := r.prov.to("a", r.start); len(at) != 1 {
			t.Errorf("held device was sent to at %v", at)
		}
		time.Sleep(35 * time.Second)
		r.want(a, StateAccepted, dedupe.Committed)
		if d := r.row("second"); d.State != StateAccepted {
			t.Errorf("second: %+v", d)
		}
	})
}

// No more requests at once than workers.
func TestWorkersBoundTheLane(t *testing.T) {
	inRig(t, func(c *Config) { c.Workers = 7 }, func(r *rig) {
		r.prov.latency = 100 * time.Millisecond
		for i := range 70 {
			r.enter(fmt.Sprint("d", i))
		}
		time.Sleep(1500 * time.Millisecond)
		r.prov.mu.Lock()
		most := r.prov.most
		r.prov.mu.Unlock()
		if most != 7 {
			t.Errorf("%d at once", most)
		}
		if n := r.out.Stats().Finals[StateAccepted]; n != 70 {
			t.Errorf("%d accepted", n)
		}
	})
}

// A row of a lane that nobody serves ends as expired, with a reason.
func TestUnknownLane(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		mid := r.enter("a", func(d *Delivery) { d.Lane = "hms/app/prod" })
		time.Sleep(15*time.Minute + 2*time.Second)
		if d := r.want(mid, StateExpired, dedupe.Released); !strings.Contains(d.Reason, "hms/app/prod") {
			t.Errorf("reason %q", d.Reason)
		}
	})
}

// A row whose time is up while its request is in flight gets the request's
// outcome: the provider's word is worth more than the clock's.
func TestExpirySparesRequestsInFlight(t *testing.T) {
	var ahead atomic.Int64
	inRig(t, func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}, func(r *rig) {
		r.prov.latency = 5 * time.Second
		mid := r.enter("a")
		time.Sleep(time.Second)
		ahead.Store(int64(20 * time.Minute)) // its expiry and its lease have passed
		time.Sleep(3 * time.Second)
		if d := r.row(mid); d.State != StateSending {
			t.Errorf("in flight, but %s", d.State)
		}
		time.Sleep(2 * time.Second)
		r.want(mid, StateAccepted, dedupe.Committed)
		if n := len(r.prov.log()); n != 1 {
			t.Errorf("sent %d times", n)
		}
	})
}

// Of two changes that start from the same row the second is refused and
// counted, and leaves row, claim and indexes as the first has made them.
func TestSecondChangeOfOneRowIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		mid := r.enter("a")
		row := r.row(mid)
		expired := r.out.final(&row, StateExpired, "r", push.Expired, false)
		cancelled := r.out.final(&row, StateCancelled, "r", "", true)
		if made, err := r.out.recordAll(context.Background(), []*change{expired}); err != nil || len(made) != 1 {
			t.Fatalf("%d made, %v", len(made), err)
		}
		for range 2 {
			made, err := r.out.recordAll(context.Background(), []*change{cancelled})
			if len(made) != 0 || err != nil || !errors.Is(cancelled.refused, errStale) {
				t.Errorf("%d made, %v, refused %v", len(made), err, cancelled.refused)
			}
		}
		r.want(mid, StateExpired, dedupe.Released)
		if n := r.out.Stats().Stale; n != 2 || len(r.outcomes) != 1 {
			t.Errorf("%d stale, outcomes %q", n, r.outcomes)
		}
		r.check()
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A row goes around within one millisecond: leased, answered "nothing was sent",
// due again when it was due before. A lease that began from the reading before
// that is refused, or what the answer has counted would be lost.
func TestOldReadingOfARowIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		mid := r.enter("a")
		lease := func(d Delivery) *change {
			c := &change{old: &d, new: d.asLeased(time.Now().UnixMilli())}
			if _, err := r.out.writeLease(context.Background(), []*change{c}, 0); err != nil {
				t.Fatal(err)
			}
			return c
		}
		around := func(out push.Outcome) {
			c := lease(r.row(mid))
			answer := r.out.answered(&c.new, out)
			answer.lease = c.lease
			if _, err := r.out.recordAll(context.Background(), []*change{answer}); err != nil || !c.made || !answer.made {
				t.Fatalf("not made, %v: %+v", err, r.row(mid))
			}
		}
		around(push.Outcome{Class: push.Retry, Status: 503, Sent: true, RetryAfter: time.Second})
		time.Sleep(time.Second)
		before := r.row(mid)
		around(push.Outcome{Class: push.RetryNow})
		after := r.row(mid)
		if after.State != before.State || after.NextAt != before.NextAt || after.Redos != 1 {
			t.Fatalf("the row went from %+v to %+v", before, after)
		}
		if lease(before).made {
			t.Errorf("leased from an old reading: %+v", r.row(mid))
		}
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A lease reads its rows again when anything has changed a row since the look, or
// while it looked: what a transaction has written may not be durable yet then.
func TestLeaseSeesChangesSinceTheLook(t *testing.T) {
	r := newRig(t, nil)
	lease := func(d Delivery, asOf uint64) bool {
		made, err := r.out.writeLease(context.Background(), []*change{{old: &d, new: d.asLeased(time.Now().UnixMilli())}}, asOf)
		if err != nil {
			t.Fatal(err)
		}
		return len(made) == 1
	}
	if r.out.lookedAt() != 0 || !lease(r.row(r.enter("first")), 0) || r.out.lookedAt() == 0 {
		t.Fatal("the first lease has read its row, and later ones need not")
	}
	before, during, undisturbed := r.row(r.enter("before")), r.row(r.enter("during")), r.row(r.enter("undisturbed"))
	erase := func(mid string, meanwhile func()) {
		err := r.db.Update(context.Background(), func(tx *db.Tx) error {
			_, _, err := Erase(tx, mid)
			meanwhile()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	asOf := r.out.lookedAt()
	erase(before.MID, func() {})
	if lease(before, asOf) {
		t.Error("leased a row that was erased after the look")
	}
	erase(during.MID, func() { asOf = r.out.lookedAt() })
	if lease(during, asOf) {
		t.Error("leased a row whose erasure was not durable when the look began")
	}
	if asOf = r.out.lookedAt(); !lease(undisturbed, asOf) {
		t.Error("a row that nothing has changed is not leased")
	}
	if err := r.db.Close(); err != nil {
		t.Error(err)
	}
}

// Without Notify rows are found all the same.
func TestForgottenNotify(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		time.Sleep(time.Minute)
		mid := "m"
		if err := r.db.Update(context.Background(), func(tx *db.Tx) error {
			return Enqueue(tx, &Delivery{MID: mid, App: "app", Device: "a", Lane: testLane, Campaign: "x",
				CreatedAt: time.Now().UnixMilli(), ExpiresAt: time.Now().Add(time.Minute).UnixMilli()})
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pollEvery + time.Millisecond)
		if d := r.row(mid); d.State != StateAccepted {
			t.Errorf("row is %s", d.State)
		}
	})
}

func TestListAndBacklog(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.prov.script["x"] = []push.Outcome{{Class: push.TokenDead, Sent: true}}
		r.enter("a")
		r.enter("x")
		r.enter("w", func(d *Delivery) { d.NextAt = d.CreatedAt + 60_000 })
		time.Sleep(time.Second)
		for _, tc := range []struct {
			f    Filter
			want string
		}{
			{Filter{}, "a w x"}, {Filter{State: StateAccepted}, "a"}, {Filter{State: StateFailed}, "x"},
			{Filter{State: StatePending}, "w"}, {Filter{Device: "x"}, "x"}, {Filter{Campaign: "nope"}, ""}, {Filter{Lane: "nope"}, ""},
		} {
			var got []string
			if err := r.db.View(func(tx *db.Tx) error {
				return List(tx, tc.f, func(d *Delivery) bool { got = append(got, d.Device); return true })
			}); err != nil {
				t.Fatal(err)
			}
			if slices.Sort(got); strings.Join(got, " ") != tc.want {
				t.Errorf("%+v: %q, want %q", tc.f, got, tc.want)
			}
		}
		if err := r.db.View(func(tx *db.Tx) error {
			n, err := Backlog(tx, testLane, 100)
			all, err2 := Backlog(tx, "", 100)
			if n != 1 || all != 1 {
				t.Errorf("backlog %d, %d", n, all)
			}
			return errors.Join(err, err2, List(tx, Filter{Limit: 2}, func(*Delivery) bool { return true }))
		}); err != nil {
			t.Fatal(err)
		}
	})
}
