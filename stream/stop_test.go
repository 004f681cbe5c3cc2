package stream

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/push"
)

// owe puts n deliveries of a campaign with their claims into the ledger, as if they had been decided.
func (r *rig) owe(campaign string, n int) {
	r.t.Helper()
	now := r.clock.now()
	for from := 0; from < n; from += 500 {
		if err := r.db.Update(r.t.Context(), func(tx *db.Tx) error {
			for i := from; i < min(from+500, n); i++ {
				device := fmt.Sprint("shop.owed", i)
				k := dedupe.Key{Campaign: campaign, Subject: "d:" + device, Period: "ever"}
				c, _, err := dedupe.Reserve(tx, k, dedupe.Period{Kind: dedupe.PeriodEver}, dedupe.Claim{At: now, Fence: "k01"})
				if err != nil {
					return err
				}
				p := audience.Profile{Device: device, Platform: "ios", Token: fmt.Sprintf("%064d", i), TokenAt: now.UnixMilli()}
				if err := audience.Put(tx, &p); err != nil {
					return err
				}
				if err := outbox.Enqueue(tx, &outbox.Delivery{MID: c.MID, App: "shop", Device: device, Campaign: campaign, Fence: "k01", Claim: k,
					Lane: "test", CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(time.Hour).UnixMilli(), Context: []byte(`{}`)}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			r.t.Fatal(err)
		}
	}
	r.gw.outbox.Notify()
}

func (r *rig) states() map[outbox.State]int {
	r.t.Helper()
	states := map[outbox.State]int{}
	err := r.db.View(func(tx *db.Tx) error {
		return outbox.List(tx, outbox.Filter{}, func(d *outbox.Delivery) bool {
			states[d.State]++
			c, _, err := dedupe.Get(tx, d.Claim)
			if want := map[outbox.State]dedupe.State{outbox.StateCancelled: dedupe.Released, outbox.StateAccepted: dedupe.Committed}[d.State]; err != nil || want != 0 && c.State != want {
				r.t.Errorf("%s is %s and its claim %v, %v", d.MID, d.State, c.State, err)
			}
			return true
		})
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return states
}

// gate is a provider that answers when it is opened.
type gate struct {
	recorder
	open   chan struct{}
	flying atomic.Int64
}

func (g *gate) Send(ctx context.Context, n *push.Notification) push.Outcome {
	g.flying.Add(1)
	defer g.flying.Add(-1)
	<-g.open
	return g.recorder.Send(ctx, n)
}

// A campaign with 10,000 pushes pending is stopped while as many as there are workers are on their way. The stop
// returns when they have been answered and not before, with everything else cancelled and its claim free; nothing is
// sent after it, ever: not after a restart either, until somebody starts it again.
func TestStoppedCampaignSendsNothingMore(t *testing.T) {
	const workers = 32
	owed := 10_000
	if testing.Short() {
		owed = 2_000
	}
	r := newRig(t)
	slow := &gate{open: make(chan struct{})}
	r.tune = func(c *Config) {
		c.Outbox.Rate, c.Outbox.Burst, c.Outbox.Workers = 2000, 200, workers
		c.Outbox.AttemptTimeout = 5 * time.Minute
		c.Providers["test"] = slow
	}
	r.start()
	r.owe("welcome", owed)
	r.await("every worker to send", func() bool { return slow.flying.Load() == workers })
	type stopped struct {
		n      int
		err    error
		flying int64 // when it returned
	}
	done := make(chan stopped, 1)
	go func() {
		n, err := r.gw.StopCampaign(t.Context(), "welcome")
		done <- stopped{n, err, slow.flying.Load()}
	}()
	r.await("what no worker waits with to be cancelled", func() bool {
		return r.gw.Status().Outbox.Finals[outbox.StateCancelled] >= int64(owed-4*workers) // a lane holds four for each
	})
	close(slow.open)
	stop := <-done
	sent, states := len(slow.pushes()), r.states()
	if stop.err != nil || stop.flying != 0 {
		t.Errorf("the stop returned %v with %d requests on their way", stop.err, stop.flying)
	}
	if stop.n != owed-workers || sent != workers || states[outbox.StateCancelled] != stop.n || states[outbox.StateAccepted] != sent {
		t.Errorf("cancelled %d, sent %d of %d, states %v", stop.n, sent, owed, states)
	}
	// Somebody enters: the decision says why nothing comes of it.
	r.register("d1")
	r.mustAsk("ping.shop.d1", ping(noon, 50.4502, 30.5235))
	r.await("the entry to be held", func() bool { return r.gw.Status().Funnel["welcome"]["held.disabled"] == 1 })
	r.halt()
	r.start()
	defer func() { r.halt() }()
	r.mustAsk("ping.shop.d2", ping(noon, 50.4502, 30.5235))
	r.await("the entry after the restart to be held", func() bool { return r.gw.Status().Funnel["welcome"]["held.disabled"] == 2 })
	if now := len(slow.pushes()); now != sent {
		t.Errorf("%d requests after the stop", now-sent)
	}
	if got := r.gw.StoppedCampaigns(); len(got) != 1 || got[0] != "welcome" {
		t.Errorf("stopped: %v", got)
	}
	if was, err := r.gw.StartCampaign(t.Context(), "welcome"); !was || err != nil {
		t.Errorf("start: %v, %v", was, err)
	}
	r.register("d3")
	r.mustAsk("ping.shop.d3", ping(noon, 50.4502, 30.5235))
	r.await("the push of a campaign that runs again", func() bool { return len(slow.pushes()) == sent+1 })
	if _, err := r.gw.StopCampaign(t.Context(), "nope"); !errors.Is(err, ErrNoCampaign) {
		t.Errorf("stop of an unknown campaign: %v", err)
	}
}

// A campaign that leaves the files, or is disabled there, has what it owes cancelled; another one notices nothing.
func TestCampaignThatLeavesTheFilesIsCancelled(t *testing.T) {
	r := newRig(t)
	r.yaml = testCampaign + "---" + `
campaign: other
trigger: {enter: {fences: {ids: [k02]}}}
once_per: {day: store}
steps:
  - push: {ttl: 15m, template: {default_locale: en, locales: {en: {title: Hello, body: Come in}}}}
`
	r.tune = func(c *Config) { c.Outbox.Rate, c.Outbox.Burst = 0.001, 1 }
	r.start()
	defer func() { r.halt() }()
	r.owe("welcome", 300)
	r.owe("other", 5)
	all := r.gw.Campaigns()
	other, _ := all.Find("other")
	set, err := campaign.NewSet([]*campaign.Campaign{other})
	if err != nil {
		t.Fatal(err)
	}
	r.gw.SetCampaigns(set)
	left := func() (open map[string]int) { // not final, by campaign
		open = map[string]int{}
		if err := r.db.View(func(tx *db.Tx) error {
			return outbox.List(tx, outbox.Filter{}, func(d *outbox.Delivery) bool {
				if !d.State.Final() {
					open[d.Campaign]++
				}
				return true
			})
		}); err != nil {
			t.Fatal(err)
		}
		return open
	}
	r.await("what it owes to be cancelled", func() bool { return left()["welcome"] == 0 })
	if s := r.states(); left()["other"] < 4 || s[outbox.StateCancelled] < 299 {
		t.Errorf("states %v, left %v", s, left())
	}
}

// An iOS token whose app has not said to which environment it belongs is tried in the sandbox when production does
// not know it, under the same message id; what was found is remembered. A token of a named environment is not tried
// elsewhere, and one that no environment knows is dead.
func TestSandboxTokenIsFoundAndRemembered(t *testing.T) {
	r := newRig(t)
	sandbox := &recorder{}
	bad := push.Outcome{Class: push.TokenBad, Status: 400, Reason: "BadDeviceToken", Sent: true}
	known := map[string]bool{"d1": true}
	r.provider.say = func(*push.Notification) push.Outcome { return bad }
	sandbox.say = func(n *push.Notification) push.Outcome {
		if n.Env != push.EnvSandbox || !known[n.Device] {
			return bad
		}
		return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
	}
	r.tune = func(c *Config) {
		c.Providers["sandbox"] = sandbox
		c.Lane = func(_ string, p *audience.Profile) (string, bool) {
			if p.Env == push.EnvSandbox {
				return "sandbox", true
			}
			return "test", true
		}
	}
	r.start()
	defer func() { r.halt() }()
	r.register("d1")
	r.register("d2")
	r.mustAsk("device.shop.d3", map[string]any{"platform": "ios", "token": fmt.Sprintf("%064x", "d3"), "env": "prod"})
	for _, d := range []string{"d1", "d2", "d3"} {
		r.mustAsk("ping.shop."+d, ping(noon, 50.4502, 30.5235))
	}
	r.await("all outcomes", func() bool {
		f := r.gw.Status().Funnel["welcome"]
		return f["push.accepted"]+f["push.failed"] == 3
	})
	if got := r.gw.Status().Funnel["welcome"]; got["push.accepted"] != 1 || got["claimed"] != 3 {
		t.Errorf("funnel %v", got)
	}
	if a, b := r.provider.pushes(), sandbox.pushes(); len(a) != 3 || len(b) != 2 {
		t.Errorf("%d sent to production, %d to the sandbox", len(a), len(b))
	} else {
		mids := map[string]string{}
		for _, n := range a {
			mids[n.Device] = n.MID
		}
		for _, n := range b {
			if mids[n.Device] != n.MID {
				t.Errorf("%s was sent as %s and %s", n.Device, mids[n.Device], n.MID)
			}
		}
	}
	for device, want := range map[string]struct {
		env  string
		dead bool
	}{"d1": {push.EnvSandbox, false}, "d2": {"", true}, "d3": {push.EnvProd, true}} {
		if p := r.profile(device); p.Env != want.env || p.TokenDead != want.dead {
			t.Errorf("%s: env %q, dead %v, want %+v", device, p.Env, p.TokenDead, want)
		}
	}
}

func (r *rig) profile(device string) (p audience.Profile) {
	r.t.Helper()
	if err := r.db.View(func(tx *db.Tx) (err error) {
		p, _, err = audience.Get(tx, "shop."+device)
		return err
	}); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// A person's second phone gets what the first one's dead token could not, under the same claim.
func TestOtherDeviceOfThePerson(t *testing.T) {
	r := newRig(t)
	r.provider.say = func(n *push.Notification) push.Outcome {
		if n.Device == "old" {
			return push.Outcome{Class: push.TokenDead, Status: 410, Reason: "Unregistered", Sent: true}
		}
		return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
	}
	r.start()
	defer func() { r.halt() }()
	for _, d := range []string{"old", "new"} {
		r.mustAsk("device.shop."+d, map[string]any{"user": "anna", "platform": "ios", "token": fmt.Sprintf("%064x", d), "locale": "en"})
	}
	r.settle() // the two are in logs of their own
	r.mustAsk("ping.shop.old", ping(noon, 50.4502, 30.5235))
	r.await("the outcome", func() bool { return r.gw.Status().Funnel["welcome"]["push.accepted"] == 1 })
	sent := r.provider.pushes()
	if len(sent) != 2 || sent[0].Device != "old" || sent[1].Device != "new" || sent[0].MID != sent[1].MID || sent[1].Token != fmt.Sprintf("%064x", "new") {
		t.Errorf("sent %+v", sent)
	}
	if !r.profile("old").TokenDead || r.profile("new").TokenDead {
		t.Error("the wrong token was retired")
	}
	r.mustAsk("ping.shop.new", ping(noon.Add(time.Second), 50.4502, 30.5235))
	r.await("the second phone's entry to be held", func() bool { return r.gw.Status().Funnel["welcome"]["held.already_claimed"] == 1 })
}

// A 410 that is older than the registration says nothing about the new token; one that is younger retires it; and
// none does while too many are called dead.
func TestTokensAreRetiredOnlyWhenItIsSafe(t *testing.T) {
	r := newRig(t)
	r.start()
	defer func() { r.halt() }()
	r.register("d1")
	r.settle() // the registration is in the ledger
	retire := func(device string, o push.Outcome) bool {
		t.Helper()
		if err := r.db.Update(context.Background(), func(tx *db.Tx) error {
			d := outbox.Delivery{Device: "shop." + device, Lane: "test"}
			return r.gw.retireToken(tx, &d, o)
		}); err != nil {
			t.Fatal(err)
		}
		return r.profile(device).TokenDead
	}
	if retire("d1", push.Outcome{Class: push.TokenDead, InvalidSince: noon.Add(-time.Hour)}) {
		t.Error("a 410 from before the registration retired the token")
	}
	if retire("d1", push.Outcome{Class: push.TokenBad, Unproven: true}) {
		t.Error("a word that would fit a wrong message as well retired the token")
	}
	if !retire("d1", push.Outcome{Class: push.TokenDead, InvalidSince: noon.Add(time.Hour)}) {
		t.Error("a 410 from after the registration did not retire the token")
	}
	r.provider.say = func(*push.Notification) push.Outcome {
		return push.Outcome{Class: push.TokenDead, Status: 410, Reason: "Unregistered", Sent: true}
	}
	r.owe("welcome", 300)
	r.await("all outcomes", func() bool { return r.gw.Status().Funnel["welcome"]["push.failed"] == 300 })
	// What was retired before the guard tripped is put back, also what was retired by hand just before.
	r.await("the retired tokens to come back", func() bool {
		s := r.gw.Status().Stats
		return s.TokensReturned > 0 && s.TokensReturned+s.TokensKept == 300+2 // and d1's, kept once and retired once
	})
	st := r.gw.Status()
	if n := st.Stats.TokensReturned; n > 41+1 {
		t.Errorf("%d tokens had been retired before deleting stopped, want at most 41 and d1's", n)
	}
	for i := range 300 {
		if r.profile(fmt.Sprint("owed", i)).TokenDead {
			t.Errorf("the token of owed%d is still retired", i)
		}
	}
	if r.profile("d1").TokenDead {
		t.Error("d1's token is still retired")
	}
	// A token that was registered anew meanwhile, or is in use, is left as it is.
	p := r.profile("d1")
	if n, err := r.gw.returnSome(t.Context(), []retiredToken{{device: p.Device, tokenAt: p.TokenAt}, {device: "shop.nobody"}}); n != 0 || err != nil {
		t.Errorf("%d of none were put back, %v", n, err)
	}
	p.TokenDead = true
	if err := r.db.Update(t.Context(), func(tx *db.Tx) error { return audience.Put(tx, &p) }); err != nil {
		t.Fatal(err)
	}
	if n, err := r.gw.returnSome(t.Context(), []retiredToken{{device: p.Device, tokenAt: p.TokenAt - 1}}); n != 0 || err != nil {
		t.Errorf("another token than the one that was retired came back (%d), %v", n, err)
	}
	if n, err := r.gw.returnSome(t.Context(), []retiredToken{{device: p.Device, tokenAt: p.TokenAt}}); n != 1 || err != nil {
		t.Errorf("the token that was retired did not come back (%d), %v", n, err)
	}
	if a := st.Outbox.Lanes["test"].Alarms; len(a) != 1 || a[0].Kind != outbox.AlarmTokens {
		t.Errorf("alarms %v", a)
	}
}
