package stream

import (
	"fmt"
	"testing"
	"time"
)

// TestJourneySplitByOpen: what a phone reports of a journey's push decides the way, once, through a restart; who does not
// open it is reminded.
func TestJourneySplitByOpen(t *testing.T) {
	r := newRig(t)
	r.yaml = `journey: offer
entry: {event: view}
window: {to: never}
goals: {basket: {event: add_to_basket, stay: true}}
steps:
  - id: first
    push: {ttl: 1h, template: {locales: {en: {body: "Look"}}}}
  - id: look
    wait_for:
      up_to: 2h
      branches: {seen: {opened: first, then: [{tag: {keen: true}}, {exit: opened}]}}
  - push: {ttl: 1h, template: {locales: {en: {body: "Look again"}}}}
`
	r.start()
	for _, d := range []string{"opens", "closes"} {
		r.register(d)
		r.event(d, "v"+d, "view", "x")
	}
	r.settle()
	r.await("both pushes", func() bool { return r.gw.Status().Funnel["offer"]["push.accepted"] == 2 })
	r.clock.set(noon.Add(time.Hour))
	for _, n := range r.provider.pushes() {
		if n.Device == "opens" {
			for range 2 { // the answer to the first was lost
				r.mustAsk("receipt.shop.opens", map[string]any{"mid": n.MID, "k": n.ReceiptKey, "ev": "opened", "t": r.clock.now().UnixMilli()})
			}
		}
	}
	r.settle()
	r.awaitCounts("offer", map[string]int64{"opened.first": 1, "step.look.seen": 1, "ended.exit": 1})
	r.event("closes", "b1", "add_to_basket", "x")
	r.event("closes", "b2", "add_to_basket", "x")
	r.settle()
	r.awaitCounts("offer", map[string]int64{"reached.basket": 1})
	r.halt()
	r.start()
	defer r.halt()
	r.clock.set(noon.Add(2*time.Hour + time.Minute))
	r.await("the reminder", func() bool { return r.gw.Status().Funnel["offer"]["push.accepted"] == 3 })
	r.awaitCounts("offer", map[string]int64{"step.look.seen": 1, "step.look.not_triggered": 1, "ended.exit": 1, "ended.finished": 1})
	if n := r.provider.pushes()[2]; n.Device != "closes" || n.Body != "Look again" {
		t.Errorf("reminded %s with %q", n.Device, n.Body)
	}
}

// TestJourneySignedIn: somebody who enters unknown and signs in while they wait goes on as the person, whose pushes are
// theirs and who cannot enter a second time; who is in it already by another phone does not get it twice. A restart and
// a pause change nothing.
func TestJourneySignedIn(t *testing.T) {
	r := newRig(t)
	r.yaml = "journey: s\nentry: {event: view}\nwindow: {to: never}\nsteps: [{wait: 1h}, {push: {ttl: 2h, template: {locales: {en: {body: Hi}}}}}]\n"
	r.start()
	sign := func(device, user string) {
		t.Helper()
		m := map[string]any{"platform": "ios", "token": fmt.Sprintf("%064x", []byte(device)), "locale": "en"}
		if user != "" {
			m["user"] = user
		}
		r.mustAsk("device.shop."+device, m)
		r.settle()
	}
	for _, d := range []string{"phone", "tablet"} {
		sign(d, "")
		r.event(d, "v"+d, "view", "x")
		r.settle()
	}
	r.awaitCounts("s", map[string]int64{"entered": 2})
	if _, err := r.gw.PauseJourney(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	sign("phone", "olena")
	r.clock.set(noon.Add(61 * time.Minute)) // the wait is over, and the journey paused
	r.settle()
	sign("tablet", "olena")
	r.event("phone", "again", "view", "x")
	r.settle()
	r.halt()
	r.start()
	defer r.halt()
	if v := r.show("s", "shop.tablet"); v.Subject != "p:olena" || v.Run == nil || !v.Run.Active() || v.Run.Device != "shop.phone" {
		t.Errorf("olena's run: %+v", v.Run)
	}
	if v := r.show("s", ""); v.Counts["carried"] != 1 || v.Counts["ended.signed_in"] != 1 || v.Counts["entered"] != 2 || v.Waiting != 1 {
		t.Errorf("counts %v, %d waiting", v.Counts, v.Waiting)
	}
	if _, err := r.gw.ResumeJourney(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	r.awaitCounts("s", map[string]int64{"ended.finished": 1, "ended.signed_in": 1})
	r.await("the push", func() bool { return r.gw.Status().Funnel["s"]["push.accepted"] == 1 })
	if n := r.provider.pushes(); len(n) != 1 || n[0].Device != "phone" {
		t.Errorf("pushed %+v", n)
	}
}
