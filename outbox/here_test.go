package outbox

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/push"
)

const appLane = InApp + "/*/prod"

// app is a provider of one lane of apps: it answers for devices that are there.
type app struct {
	fakeProvider
	mu    sync.Mutex
	there map[string]bool
}

func (a *app) come(device string, there bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.there[device] = there
}

func newApp() *app {
	a := &app{there: map[string]bool{}}
	a.script = map[string][]push.Outcome{}
	a.fallback = func(n *push.Notification) push.Outcome {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.there[n.Device] {
			return push.Outcome{Class: push.Accepted, Sent: true}
		}
		return push.Outcome{Class: push.Away, Reason: "not connected"}
	}
	return a
}

func withApps(a *app) func(*Config) {
	return func(c *Config) { c.Providers[appLane] = a }
}

func inApp(d *Delivery) { d.Lane = appLane }

func inCampaign(c string) func(*Delivery) {
	return func(d *Delivery) { d.Campaign, d.MID, d.Claim = c, d.MID+c, dedupe.Key{} }
}

// TestHereHandsOverWhatWaits: the app that comes gets what waits for it at once, each message once, and nothing that is
// for a later time; what waits for others stays. Without a word the message comes when the device would be asked again.
func TestHereHandsOverWhatWaits(t *testing.T) {
	a := newApp()
	inRig(t, withApps(a), func(r *rig) {
		first, other := r.enter("d1", inApp), r.enter("d2", inApp)
		more := func(c string, change ...func(*Delivery)) string {
			var d Delivery
			change = append([]func(*Delivery){inApp, inCampaign(c)}, change...)
			r.enter("for "+c, append(change, func(row *Delivery) { row.Device = "d1"; d = *row })...)
			return d.MID
		}
		second := more("second")
		later := more("later", func(d *Delivery) { d.NextAt = d.CreatedAt + (10 * time.Minute).Milliseconds() })
		time.Sleep(5 * time.Minute)
		for _, mid := range []string{first, second, other} {
			if d := r.row(mid); d.State != StateRetryWait || d.Attempts != 0 || d.NextAt < time.Now().Add(30*time.Second).UnixMilli() {
				t.Fatalf("while the app is away: %+v", d)
			}
		}
		asked := len(a.log())
		a.come("d1", true)
		if n := r.waiting("d1"); n != 2 {
			t.Errorf("%d wait for d1, want 2", n)
		}
		if !r.out.Here("d1") {
			t.Fatal("not heard")
		}
		time.Sleep(100 * time.Millisecond)
		r.want(first, StateAccepted, dedupe.Committed)
		if d := r.row(second); d.State != StateAccepted {
			t.Errorf("the second: %+v", d)
		}
		if d := r.row(later); d.State != StatePending {
			t.Errorf("what is for later: %+v", d)
		}
		if n := len(a.log()) - asked; n != 2 {
			t.Errorf("asked %d times, want 2", n)
		}
		// The other's app says nothing: it is found all the same.
		a.come("d2", true)
		time.Sleep(8 * time.Minute)
		r.want(other, StateAccepted, dedupe.Committed)
		if d := r.row(later); d.State != StateAccepted || d.FirstAt < d.CreatedAt+(10*time.Minute).Milliseconds() {
			t.Errorf("what was for later: %+v", d)
		}
		if n := r.waiting("d1") + r.waiting("d2"); n != 0 {
			t.Errorf("%d still wait", n)
		}
	})
}

func (r *rig) waiting(device string) (n int) {
	r.t.Helper()
	if err := r.db.View(func(tx *db.Tx) (err error) {
		n, err = Waiting(tx, device)
		return err
	}); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// TestHereWhileAsked: the device comes while an answer from before is on its way, at each moment of it. Nothing is missed.
func TestHereWhileAsked(t *testing.T) {
	for _, after := range []time.Duration{0, time.Millisecond, 499 * time.Millisecond, 500 * time.Millisecond, 501 * time.Millisecond, 510 * time.Millisecond, 530 * time.Millisecond} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			a := newApp()
			inRig(t, withApps(a), func(r *rig) {
				a.latency = 500 * time.Millisecond // the answer, fixed when asked, says that it is away
				mid := r.enter("d1", inApp)
				time.Sleep(after)
				a.come("d1", true)
				r.out.Here("d1")
				time.Sleep(1200 * time.Millisecond) // less than until it would be asked again
				if d := r.row(mid); d.State != StateAccepted {
					t.Errorf("%+v", d)
				}
			})
		})
	}
}

// TestHereOutlivesARestart: what waits is found by the next process, and what was being said to an app when the gateway
// died is said again under the same id.
func TestHereOutlivesARestart(t *testing.T) {
	a := newApp()
	inRig(t, withApps(a), func(r *rig) {
		mid := r.enter("d1", inApp)
		time.Sleep(3 * time.Minute)
		r.stop()
		r.out = r.newOutbox(withApps(a))
		a.come("d1", true)
		r.out.Here("d1") // before it runs
		r.run()
		time.Sleep(100 * time.Millisecond)
		r.want(mid, StateAccepted, dedupe.Committed)
	})
}

// TestAppsThatDoNotCome: a message that nobody came for expires at its expiry and not before, its claim is free; one that a
// silent app may have shown keeps it. Neither spends an attempt, raises an alarm, or holds up the lane.
func TestAppsThatDoNotCome(t *testing.T) {
	a := newApp()
	silent := push.Outcome{Class: push.Away, Reason: "no answer before the deadline", Sent: true, Doubt: true}
	for i := range 30 {
		a.script[fmt.Sprint("silent", i)] = slices.Repeat([]push.Outcome{silent}, 50)
	}
	inRig(t, withApps(a), func(r *rig) {
		var mids, hung []string
		for i := range 30 {
			mids = append(mids, r.enter(fmt.Sprint("away", i), inApp))
			hung = append(hung, r.enter(fmt.Sprint("silent", i), inApp))
		}
		time.Sleep(14*time.Minute + 50*time.Second)
		a.come("there", true)
		mid := r.enter("there", inApp)
		a.come("away0", true) // in the last seconds
		r.out.Here("away0")
		time.Sleep(time.Second)
		r.want(mid, StateAccepted, dedupe.Committed)
		r.want(mids[0], StateAccepted, dedupe.Committed)
		if d := r.row(mids[1]); d.State != StateRetryWait {
			t.Errorf("before its expiry: %+v", d)
		}
		time.Sleep(10 * time.Second)
		for _, mid := range mids[1:] {
			if d := r.want(mid, StateExpired, dedupe.Released); d.Attempts != 0 || d.Reason != "the app was not there in time" {
				t.Errorf("%+v", d)
			}
		}
		for _, mid := range hung {
			if d := r.want(mid, StateExpired, dedupe.Reserved); d.Attempts != 0 || !d.Doubt {
				t.Errorf("%+v", d)
			}
		}
		s := r.out.Stats()
		if l := s.Lanes[appLane]; len(l.Alarms) != 0 || l.Breaker != "closed" || s.Doubts != 30 {
			t.Errorf("%d doubts, lane %+v", s.Doubts, l)
		}
		if n := len(a.log()); n > 60*13+2 {
			t.Errorf("60 devices were asked %d times in a quarter of an hour", n)
		}
	})
}

// TestHereIsBounded: more devices than can be looked after are told to come again, and those that were heard are seen to.
func TestHereIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withApps(newApp()))
		for i := range maxHere {
			if !r.out.Here(fmt.Sprint(i)) {
				t.Fatalf("device %d is not heard", i)
			}
		}
		if r.out.Here("one too many") || !r.out.Here("0") {
			t.Error("not bounded, or a known one is not heard")
		}
		r.run()
		synctest.Wait()
		if !r.out.Here("one too many") {
			t.Error("nobody is looked after")
		}
		r.stop()
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
}
