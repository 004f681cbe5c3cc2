package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/push"
)

// The rate halves when the provider asks for less, once a second at most, and
// comes back by a twentieth of the full rate a second; it never falls to zero.
func TestRateFollowsTheProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGovernor(640, 64)
		at := func(want float64) {
			t.Helper()
			if got := g.now(); got < want-0.01 || got > want+0.01 {
				t.Errorf("rate %v, want %v", got, want)
			}
		}
		g.slower()
		g.slower() // of the same second
		at(320)
		time.Sleep(5 * time.Second)
		at(480)
		g.slower()
		at(240)
		time.Sleep(time.Minute)
		at(640)
		for range 100 {
			g.slower()
			time.Sleep(time.Second)
		}
		if got := g.now(); got < 640*floorShare || got > 80 {
			t.Errorf("after a hundred complaints the rate is %v", got)
		}
	})
}

// A provider that answers 503 to what is above its own limit is found out: the
// lane settles near the limit instead of hammering it.
func TestLaneSettlesAtTheProvidersLimit(t *testing.T) {
	const limit = 40
	inRig(t, func(c *Config) { c.Rate, c.Burst, c.MaxAttempts = 400, 4, 50 }, func(r *rig) {
		var second int64
		n := 0
		r.prov.fallback = func(*push.Notification) push.Outcome { // under its lock
			if s := time.Now().Unix(); s != second {
				second, n = s, 0
			}
			if n++; n > limit {
				return push.Outcome{Class: push.LaneRate, Status: 429, RetryAfter: time.Second, Sent: true}
			}
			return push.Outcome{Class: push.Accepted, Sent: true}
		}
		for i := range 3000 {
			r.enter(fmt.Sprint("d", i), expires(time.Hour))
		}
		time.Sleep(30 * time.Second)
		if got := r.out.Stats().Lanes[testLane]; got.Rate > 200 {
			t.Errorf("the rate is %v of %v under constant complaints", got.Rate, got.BaseRate)
		}
		time.Sleep(5 * time.Minute)
		if got := r.out.Stats(); got.Finals[StateAccepted] != 3000 {
			t.Errorf("%v", got.Finals)
		}
		if total := len(r.prov.log()); total > 3000+3000/4 {
			t.Errorf("%d requests for 3000 pushes", total)
		}
	})
}

// After 429 nothing is sent before Retry-After, not even what was leased when
// the answer came.
func TestNothingIsSentBeforeRetryAfter(t *testing.T) {
	inRig(t, func(c *Config) { c.Workers = 4; c.Rate, c.Burst = 1000, 1000 }, func(r *rig) {
		r.prov.latency = 100 * time.Millisecond
		first := true
		r.prov.fallback = func(*push.Notification) push.Outcome {
			if first {
				first = false
				return push.Outcome{Class: push.LaneRate, Status: 429, RetryAfter: 45 * time.Second, Sent: true}
			}
			return push.Outcome{Class: push.Accepted, Sent: true}
		}
		for i := range 100 {
			r.enter(fmt.Sprint("d", i))
		}
		time.Sleep(2 * time.Minute)
		early := 0
		for _, s := range r.prov.log() {
			if after := s.at.Sub(r.start); after > 110*time.Millisecond && after < 45*time.Second {
				early++
			}
		}
		if early > 0 {
			t.Errorf("%d requests before Retry-After", early)
		}
		if n := r.out.Stats().Finals[StateAccepted]; n != 100 {
			t.Errorf("%d accepted", n)
		}
	})
}

// While the breaker is open no attempt is spent: each that is counted was a
// request, those that opened it and the probes, also with rows that were leased
// and waited for a worker when it opened.
func TestBreakerSpendsNoAttempts(t *testing.T) {
	inRig(t, func(c *Config) { c.Rate, c.Burst, c.Workers = 100, 100, 10 }, func(r *rig) {
		r.prov.latency = 20 * time.Millisecond
		down := true
		r.prov.fallback = func(*push.Notification) push.Outcome {
			if down {
				return push.Outcome{Class: push.Retry, Status: 500, Sent: true}
			}
			return push.Outcome{Class: push.Accepted, Sent: true}
		}
		var mids []string
		for i := range 400 {
			mids = append(mids, r.enter(fmt.Sprint("d", i), expires(time.Hour)))
		}
		time.Sleep(5 * time.Minute)
		spent := 0
		for _, mid := range mids {
			spent += r.row(mid).Attempts
		}
		if sent := len(r.prov.log()); spent != sent || sent > 100 {
			t.Errorf("%d attempts spent, %d requests in five minutes of outage", spent, sent)
		}
		s := r.out.Stats().Lanes[testLane]
		if len(s.Alarms) != 1 || s.Alarms[0].Kind != AlarmProvider {
			t.Errorf("alarms %v", s.Alarms)
		}
		r.prov.mu.Lock()
		down = false
		r.prov.mu.Unlock()
		for s = r.out.Stats().Lanes[testLane]; s.Breaker != "closed"; s = r.out.Stats().Lanes[testLane] {
			time.Sleep(100 * time.Millisecond)
		}
		if s.Rate > 60 { // half of it, and what has come back in 100 ms
			t.Errorf("the lane goes on with %v of %v a second", s.Rate, s.BaseRate)
		}
		time.Sleep(2 * time.Minute)
		for _, mid := range mids {
			r.want(mid, StateAccepted, dedupe.Committed)
		}
		if s := r.out.Stats().Lanes[testLane]; len(s.Alarms) > 0 || s.Breaker != "closed" {
			t.Errorf("afterwards: %+v", s)
		}
	})
}

// What waited out an outage does not come as one spike: in no tenth of a second
// after the recovery more than the rate allows, and not in step.
func TestNoSpikeAfterAnOutage(t *testing.T) {
	rows := 2000
	if testing.Short() {
		rows = 800
	}
	for name, out := range map[string]push.Outcome{
		"outage":      {Class: push.Retry, Status: 503, Sent: true},
		"429":         {Class: push.LaneRate, Status: 429, RetryAfter: 30 * time.Second, Sent: true},
		"credentials": {Class: push.Auth, Status: 403, Sent: true},
	} {
		inRig(t, func(c *Config) { c.Rate, c.Burst = 500, 50 }, func(r *rig) {
			down := true
			r.prov.fallback = func(*push.Notification) push.Outcome {
				if down {
					return out
				}
				return push.Outcome{Class: push.Accepted, Sent: true}
			}
			for i := range rows {
				r.enter(fmt.Sprint("d", i), expires(time.Hour))
			}
			time.Sleep(5*time.Minute + 30*time.Second) // a paused lane probes each minute: not at this very moment
			r.prov.mu.Lock()
			down = false
			r.prov.mu.Unlock()
			back := time.Now()
			time.Sleep(time.Minute)
			if n := r.out.Stats().Finals[StateAccepted]; n != int64(rows) {
				t.Errorf("%s: %d of %d accepted a minute after the recovery", name, n, rows)
			}
			tenths := map[int64]int{}
			for _, s := range r.prov.log() {
				if !s.at.Before(back) {
					tenths[s.at.Sub(back).Milliseconds()/100]++
				}
			}
			for at, n := range tenths {
				if n > 55 { // a tenth of the rate, and what one round may be early
					t.Errorf("%s: %d requests in the tenth of a second at %.1f s", name, n, float64(at)/10)
				}
			}
		})
	}
}

// A hundred thousand announcements do not delay entries: the slowest per cent
// of them waits less than a fifth longer than without any.
func TestAnnouncementsDoNotDelayEntries(t *testing.T) {
	announcements, entries := 100_000, 600
	if testing.Short() {
		announcements, entries = 6000, 300
	}
	measure := func(announcements int) (p99 time.Duration, bulkSent int) {
		inRig(t, func(c *Config) { c.Rate, c.Burst, c.Workers = 2000, 200, 64 }, func(r *rig) {
			latency := rand.New(rand.NewPCG(7, 7)) // the provider's alone: it draws under its own lock
			arrivals := rand.New(rand.NewPCG(7, 8))
			r.prov.delay = func() time.Duration { return 20*time.Millisecond + time.Duration(latency.IntN(20))*time.Millisecond }
			begun := time.Now()
			for from := 0; from < announcements; from += 1000 {
				if err := r.db.Update(context.Background(), func(tx *db.Tx) error {
					for i := from; i < from+1000; i++ {
						if err := Enqueue(tx, &Delivery{MID: fmt.Sprint("bulk", i), App: "app", Device: fmt.Sprint("b", i), Campaign: "news", Lane: testLane,
							Bulk: true, CreatedAt: begun.UnixMilli(), ExpiresAt: begun.Add(time.Hour).UnixMilli()}); err != nil {
							return err
						}
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			r.out.Notify()
			time.Sleep(time.Second)
			entered := map[string]time.Time{}
			for i := range entries {
				device := fmt.Sprint("e", i)
				entered[device] = time.Now()
				r.enter(device)
				time.Sleep(time.Duration(5+arrivals.IntN(20)) * time.Millisecond)
			}
			time.Sleep(time.Second)
			var waits []time.Duration
			for _, s := range r.prov.log() {
				if at, ok := entered[s.device]; ok {
					waits = append(waits, s.at.Add(30*time.Millisecond).Sub(at)) // to the middle of the answers
				} else {
					bulkSent++
				}
			}
			if len(waits) != entries {
				t.Errorf("%d entries sent", len(waits))
			}
			slices.Sort(waits)
			p99 = waits[len(waits)*99/100]
		})
		return p99, bulkSent
	}
	alone, _ := measure(0)
	among, sent := measure(announcements)
	t.Logf("p99 of entries: %v alone, %v among %d announcements, of which %d were sent meanwhile", alone, among, announcements, sent)
	if float64(among) > 1.2*float64(alone) {
		t.Errorf("p99 of entries is %v among announcements and %v without", among, alone)
	}
	if sent < announcements/20 {
		t.Errorf("only %d announcements were sent", sent)
	}
}

// Announcements get a tenth of the rate even while entries alone would use all
// of it.
func TestAnnouncementsDoNotStarve(t *testing.T) {
	inRig(t, func(c *Config) { c.Rate, c.Burst = 100, 10 }, func(r *rig) {
		for i := range 3000 {
			r.enter(fmt.Sprint("e", i), expires(time.Hour))
		}
		for i := range 300 {
			r.enter(fmt.Sprint("b", i), expires(time.Hour), func(d *Delivery) { d.Bulk = true })
		}
		time.Sleep(20 * time.Second)
		bulk, all := 0, 0
		for _, s := range r.prov.log() {
			if all++; s.device[0] == 'b' {
				bulk++
			}
		}
		if bulk < 150 || bulk > 250 || all > 20*100+20 {
			t.Errorf("%d of %d requests in 20 s were announcements", bulk, all)
		}
	})
}

// When a third of the answers call the token dead, deleting stops with the
// guard, with an alarm; it begins again when the share falls or an operator
// says so.
func TestGuardStopsDeletingTokens(t *testing.T) {
	trusted := 0
	inRig(t, func(c *Config) {
		c.OnOutcome = func(_ *db.Tx, _, d *Delivery, o push.Outcome) error { return nil }
		c.Rate, c.Burst = 20, 1
	}, func(r *rig) {
		r.out.cfg.OnOutcome = func(_ *db.Tx, _, _ *Delivery, o push.Outcome) error {
			if o.Class == push.TokenDead && r.out.TrustsTokens(testLane) {
				trusted++ // a deletion
			}
			return nil
		}
		n, share := 0, 3
		r.prov.fallback = func(*push.Notification) push.Outcome {
			if n++; share > 0 && n%share == 0 {
				return push.Outcome{Class: push.TokenDead, Status: 410, Sent: true}
			}
			return push.Outcome{Class: push.Accepted, Sent: true}
		}
		enter := func(count int) {
			for i := range count {
				r.enter(fmt.Sprint(time.Now().UnixNano(), ".", i), expires(time.Hour))
			}
			time.Sleep(time.Duration(count/20+2) * time.Second)
		}
		enter(1000)
		if trusted < 30 || trusted > 41 {
			t.Errorf("%d tokens deleted of 333 called dead", trusted)
		}
		alarms := r.out.Stats().Lanes[testLane].Alarms
		if len(alarms) != 1 || alarms[0].Kind != AlarmTokens || r.out.TrustsTokens(testLane) {
			t.Errorf("alarms %v", alarms)
		}
		r.out.Resume(testLane)
		if !r.out.TrustsTokens(testLane) || len(r.out.Stats().Lanes[testLane].Alarms) > 0 {
			t.Error("an operator's word does not count")
		}
		enter(1000)
		if r.out.TrustsTokens(testLane) {
			t.Error("the guard does not close again")
		}
		share = 0
		time.Sleep(11 * time.Minute)
		if !r.out.TrustsTokens(testLane) || len(r.out.Stats().Lanes[testLane].Alarms) > 0 {
			t.Error("the guard stays closed when the share has fallen")
		}
	})
}

// A few dead tokens among many good ones are believed, and so are the first
// ones of a quiet lane.
func TestGuardBelievesOrdinaryDeaths(t *testing.T) {
	var g guard
	now := time.UnixMilli(1_795_000_000_000)
	for i := range 2000 {
		if v := g.add(now.Add(time.Duration(i)*100*time.Millisecond), i%10 == 0, false); v.distrust {
			t.Fatalf("after %d answers with a tenth dead: %+v", i, v)
		}
	}
	g.forget()
	for i := range 40 {
		if v := g.add(now, true, false); v.distrust {
			t.Fatalf("after %d dead tokens alone: %+v", i+1, v)
		}
	}
	if v := g.add(now, true, false); !v.distrust {
		t.Error("41 dead tokens of 41 are believed")
	}
	if v := g.now(now.Add(guardWindow)); v.distrust || v.answers != 0 {
		t.Errorf("after the window: %+v", v)
	}
	for range 3 {
		if v := g.add(now.Add(time.Hour), false, true); v.foreign != (v.strange > 2) {
			t.Errorf("%+v", v)
		}
	}
}

// What a dying connection takes along is one failure of the lane, however much was on it; a provider that goes on
// losing requests opens the breaker all the same, and so do failures that it answers.
func TestOneConnectionIsOneFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.db.Close()
		l := r.out.lanes[testLane]
		bad := func(n int, apart time.Duration, out push.Outcome) (counted int) {
			for range n {
				if errors.Is(l.observe(out), errLaneBad) {
					counted++
				}
				time.Sleep(apart)
			}
			return counted
		}
		lost := push.Outcome{Class: push.InDoubt, Reason: "connection lost", Sent: true}
		if n := bad(50, time.Millisecond, lost); n != 1 {
			t.Errorf("50 requests lost together count as %d failures, want 1", n)
		}
		time.Sleep(time.Second)
		if n := bad(20, time.Second, lost); n != 20 {
			t.Errorf("20 requests lost one after the other count as %d failures", n)
		}
		if n := bad(20, 0, push.Outcome{Class: push.Retry, Status: 500, Sent: true}); n != 20 {
			t.Errorf("20 answers of 500 at once count as %d failures", n)
		}
	})
}
