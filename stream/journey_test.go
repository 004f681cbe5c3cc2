package stream

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/audience"
	"footfall/internal/db"
)

const lunchJourney = `journey: lunch
zone: Europe/Kyiv
entry: {event: product_view}
window: {to: never}
reentry: {after: 7d}
goal: {event: add_to_basket}
steps:
  - wait_for:
      up_to: 24h
      branches:
        bought: {event: purchase, same: [category], then: [{exit: bought}]}
  - tag: {abandoned: {entry: category}}
  - wait: {at: "13:00", days: every, zone: device, fallback: Europe/Kyiv}
  - push: {ttl: 2h, template: {collapse: "lunch-{{ entry.category }}-{{ device.id }}", ttl: 90m, locales: {en: {title: "{{ tags.abandoned }}", body: "10% off {{ entry.category }}"}}}}
  - id: basket
    wait_for: {up_to: 48h, branches: {seen: {event: seen}}}
`

func (r *rig) event(device, id, name, category string) {
	r.t.Helper()
	r.mustAsk("event.shop."+device, map[string]any{"name": name, "id": id, "t": r.clock.now().UnixMilli(), "props": map[string]any{"category": category}})
}

// show asks about a journey, or about a device's person in it, as the command line does.
func (r *rig) show(id, device string) (v JourneyView) {
	r.t.Helper()
	q, _ := json.Marshal(JourneyRequest{Journey: id, Device: device})
	m, err := r.nc.Request(JourneyShowSubject, q, patience)
	if err != nil {
		r.t.Fatalf("show %s: %v", id, err)
	}
	if m.Header.Get("Nats-Service-Error") != "" || json.Unmarshal(m.Data, &v) != nil {
		r.t.Fatalf("show %s: %s %s", id, m.Header.Get("Nats-Service-Error"), m.Data)
	}
	return v
}

// awaitCounts waits until a journey's counts are these.
func (r *rig) awaitCounts(id string, want map[string]int64) {
	r.t.Helper()
	var got map[string]int64
	defer func() {
		if r.t.Failed() {
			r.t.Logf("counts of %s: %v, want %v", id, got, want)
		}
	}()
	r.await("the counts of "+id, func() bool {
		got = r.show(id, "").Counts
		for name, n := range want {
			if got[name] != n {
				return false
			}
		}
		return true
	})
}

// TestJourney leads five people through the second case study: one buys, one fills the basket, three are reminded at
// lunch with what they looked at. The gateway is restarted while they wait, and the journey is paused while the wait
// ends: nobody is lost, and nobody hears twice.
func TestJourney(t *testing.T) {
	r := newRig(t)
	r.yaml = lunchJourney
	r.start()
	people := []string{"buys", "basket", "one", "two", "three"}
	for i, d := range people {
		r.register(d)
		r.event(d, fmt.Sprint("v", i), "product_view", "phones")
		r.event(d, fmt.Sprint("v", i), "product_view", "phones") // a repeat
	}
	r.settle()
	r.awaitCounts("lunch", map[string]int64{"entered": 5})
	r.clock.set(noon.Add(time.Hour))
	r.event("buys", "b", "purchase", "phones")
	r.event("one", "o", "purchase", "cases")
	r.event("basket", "k", "add_to_basket", "phones")
	r.settle()
	r.awaitCounts("lunch", map[string]int64{"ended.exit": 1, "ended.goal": 1, "goal": 1})
	r.halt()
	r.clock.set(noon.Add(23 * time.Hour))
	r.start()
	if _, err := r.gw.PauseJourney(t.Context(), "lunch"); err != nil {
		t.Fatal(err)
	}
	r.clock.set(noon.Add(24*time.Hour + 10*time.Minute)) // 12:10: the wait is over
	r.event("three", "t", "purchase", "phones")          // remembered
	r.settle()
	r.halt()
	r.start()
	if v := r.show("lunch", ""); v.State != "paused" || v.Waiting != 3 || v.Where["1"] != 3 {
		t.Fatalf("while it is paused: %+v", v)
	}
	a, err := r.gw.ResumeJourney(t.Context(), "lunch")
	if err != nil || !a.Changed {
		t.Fatalf("resume: %+v %v", a, err)
	}
	r.awaitCounts("lunch", map[string]int64{"step.1.not_triggered": 2, "ended.exit": 2})
	if v := r.show("lunch", "shop.one"); v.Run == nil || v.Run.At != "3" || v.Subject != "d:shop.one" {
		t.Fatalf("one is at %+v", v.Run)
	}
	err = r.db.View(func(tx *db.Tx) error {
		p, _, err := audience.Get(tx, "shop.one")
		if p.AllTags()["abandoned"] != "phones" {
			t.Errorf("tags %v", p.AllTags())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.provider.pushes()); n != 0 {
		t.Fatalf("%d pushes before lunch", n)
	}
	r.clock.set(noon.Add(25*time.Hour + time.Second))
	r.await("the pushes", func() bool { return r.gw.Status().Funnel["lunch"]["push.accepted"] == 2 })
	var got []string
	for _, n := range r.provider.pushes() {
		// The wait ended at 13:00, and so long it is worth showing.
		got = append(got, strings.Join([]string{n.Device, n.Title, n.Body, n.Campaign, n.CollapseID, n.ExpiresAt.In(mustZone("Europe/Kyiv")).Format("15:04")}, " "))
	}
	slices.Sort(got)
	if want := []string{"one phones 10% off phones lunch lunch-phones-shop.one 14:30", "two phones 10% off phones lunch lunch-phones-shop.two 14:30"}; !slices.Equal(got, want) {
		t.Errorf("pushed %q", got)
	}
	e, err := r.gw.Explain(t.Context(), "shop.one", 0, 0)
	if err != nil || len(e.Decisions) != 1 || e.Decisions[0].Kind != "journey" || e.Deliveries[e.Decisions[0].Campaigns[0].MID].State != "accepted" {
		t.Errorf("explain: %+v %v", e, err)
	}
	// A run's push is one for its step, whatever the day: a text about days would send people looking for the wrong rule.
	said := fmt.Sprint(e.Decisions[0].Campaigns[0].Checks)
	if !strings.Contains(said, "step 4 of the journey") || !strings.Contains(said, "one for each step of each way through the journey") || strings.Contains(said, "once a day") {
		t.Errorf("explain says %s", said)
	}
	r.event("two", "k2", "add_to_basket", "phones")
	r.settle()
	r.halt()
	r.clock.set(noon.Add(100 * time.Hour))
	r.start()
	defer r.halt()
	r.awaitCounts("lunch", map[string]int64{"entered": 5, "goal": 2, "ended.goal": 2, "ended.exit": 2, "ended.finished": 1})
	if v := r.show("lunch", ""); v.Waiting != 0 {
		t.Errorf("%d are still waiting", v.Waiting)
	}
	if n := len(r.provider.pushes()); n != 2 {
		t.Errorf("%d pushes, want 2", n)
	}
}

// TestJourneyStop: a stop ends everybody, cancels what waits for quiet hours, lists what has gone, lets nobody in, holds
// through a restart, and a start brings nobody back.
func TestJourneyStop(t *testing.T) {
	r := newRig(t)
	r.yaml = `journey: doors
zone: Europe/Kyiv
entry: {enter: {fences: {all: true}}}
window: {to: never}
quiet: {hours: "12:30-14:00", closed: hold}
steps:
  - wait: 10m
  - push: {ttl: 2h, template: {locales: {en: {body: "Welcome to {{ fence.name }}"}}}}
  - wait_for: {up_to: 7d, branches: {back: {enter: {id: k02}, then: [{emit: came_back}]}}}
`
	r.yaml = strings.Replace(r.yaml, "{enter: {fences: {all: true}}}", "{enter: {all: true}}", 1)
	r.start()
	events, err := r.nc.SubscribeSync("ev.shop.journey.>")
	if err != nil {
		t.Fatal(err)
	}
	come := func(device string, lat, lng float64) {
		now := r.clock.now()
		r.mustAsk("ping.shop."+device, []map[string]any{ping(now.Add(-time.Minute), 50.47, 30.53), ping(now, lat, lng)})
		r.settle()
	}
	for _, d := range []string{"early", "late", "back"} {
		r.register(d)
	}
	come("early", 50.4501, 30.5234)
	come("back", 50.4501, 30.5234)
	r.clock.set(noon.Add(11 * time.Minute))
	r.await("two pushes", func() bool { return r.gw.Status().Funnel["doors"]["push.accepted"] == 2 })
	if n := r.provider.pushes()[0]; n.Body != "Welcome to Store k01" {
		t.Errorf("pushed %q", n.Body)
	}
	r.clock.set(noon.Add(25 * time.Minute))
	come("back", 50.4420, 30.5206)
	m, err := events.NextMsg(patience)
	if err != nil || m.Subject != "ev.shop.journey.doors.came_back" {
		t.Fatalf("emitted %v %v", m, err)
	}
	come("late", 50.4501, 30.5234)
	r.clock.set(noon.Add(36 * time.Minute)) // in the quiet hours
	r.await("the one that waits for their end", func() bool { return r.gw.Status().Funnel["doors"]["claimed"] == 3 })
	a, err := r.gw.StopJourney(t.Context(), "doors")
	if err != nil || a.Cancelled != 1 || a.Ended != 2 || len(a.Gone) != 2 || !a.Changed {
		t.Errorf("stop: %+v %v", a, err)
	}
	r.halt()
	r.start()
	defer r.halt()
	r.clock.set(noon.Add(3 * time.Hour))
	come("early", 50.4501, 30.5234)
	r.awaitCounts("doors", map[string]int64{"ended.stopped": 2, "ended.finished": 1, "held.stopped": 1, "entered": 3})
	if a, err := r.gw.StartJourney(t.Context(), "doors"); err != nil || !a.Changed || a.Ended != 0 {
		t.Errorf("start: %+v %v", a, err)
	}
	r.clock.set(noon.Add(4 * time.Hour))
	come("early", 50.4501, 30.5234)
	r.awaitCounts("doors", map[string]int64{"entered": 4})
	if n := len(r.provider.pushes()); n != 2 {
		t.Errorf("%d pushes, want 2", n)
	}
}

// TestJourneyVersions: who is in a journey that is edited ends by the version they entered by, also when it is gone from
// the files and after a restart; a migration moves those who can be moved.
func TestJourneyVersions(t *testing.T) {
	const text = "journey: v\nentry: {api: true}\nwindow: {to: never}\nsteps: [{id: pause, wait: 1h}, {push: {ttl: 2h, template: {locales: {en: {body: \"%s\"}}}}}]\n"
	r := newRig(t)
	r.yaml = fmt.Sprintf(text, "old {{ entry.n }}")
	r.start()
	enter := func(device, id string) (a JourneyEntered) {
		t.Helper()
		q, _ := json.Marshal(JourneyEnter{Journey: "v", App: "shop", Device: device, ID: id, Props: map[string]any{"n": 7}})
		m, err := r.nc.Request(JourneyEnterSubject, q, patience)
		if err != nil || json.Unmarshal(m.Data, &a) != nil {
			t.Fatalf("enter: %v %s %v", err, m.Data, m.Header)
		}
		return a
	}
	r.register("a")
	r.register("b")
	r.settle()
	if a := enter("a", "1"); !a.Entered {
		t.Fatalf("not entered: %+v", a)
	}
	if a := enter("a", "1"); a.Entered || a.Reason != "repeated" {
		t.Errorf("a repeat: %+v", a)
	}
	if a := enter("a", "2"); a.Entered || a.Reason != "active" {
		t.Errorf("again: %+v", a)
	}
	r.yaml = fmt.Sprintf(text, "new {{ entry.n }}")
	r.apply()
	enter("b", "3")
	if v := r.show("v", ""); len(v.Versions) != 2 || v.Where["pause"] != 2 {
		t.Errorf("two versions: %+v", v)
	}
	r.halt()
	r.yaml = testCampaign // the journey is gone from the files
	r.start()
	defer r.halt()
	if v := r.show("v", ""); v.State != "gone" {
		t.Errorf("state %s", v.State)
	}
	r.clock.set(noon.Add(61 * time.Minute))
	r.await("both pushes", func() bool { return r.gw.Status().Funnel["v"]["push.accepted"] == 2 })
	got := map[string]string{}
	for _, n := range r.provider.pushes() {
		got[n.Device] = n.Body
	}
	if got["a"] != "old 7" || got["b"] != "new 7" {
		t.Errorf("pushed %v", got)
	}
	r.yaml = fmt.Sprintf(text, "third")
	r.apply()
	enter("a", "4")
	r.yaml = fmt.Sprintf(text, "fourth")
	r.apply()
	if a, err := r.gw.MigrateJourney(t.Context(), "v"); err != nil || a.Migrated != 1 || a.Left != 0 {
		t.Errorf("migrate: %+v %v", a, err)
	}
	r.clock.set(noon.Add(3 * time.Hour))
	r.await("the last", func() bool { return r.gw.Status().Funnel["v"]["push.accepted"] == 3 })
	if n := r.provider.pushes()[2]; n.Body != "fourth" {
		t.Errorf("pushed %q", n.Body)
	}
}

// TestJourneyBySchedule: everybody in a segment enters when the time has come, once, by whichever device, through a
// restart.
func TestJourneyBySchedule(t *testing.T) {
	r := newRig(t)
	r.yaml = "segments: {vips: 'tags.vip'}\n---\njourney: s\nzone: UTC\nentry: {schedule: {at: 2026-11-28T13:00, zone: Europe/Kyiv, per_minute: 12000}}\naudience: {segment: vips}\nwindow: {to: never}\nreentry: never\n" +
		"steps: [{wait: 5m}, {push: {ttl: 2h, template: {locales: {en: {body: Hi}}}}}]\n"
	r.start()
	const people = 150
	r.registerMany(people, map[string]any{"tags": map[string]any{"vip": true}})
	r.register("other")
	r.settle()
	r.clock.set(noon.Add(time.Hour))
	r.await("some to enter", func() bool { return r.show("s", "").Counts["entered"] > 0 })
	r.halt()
	r.start()
	defer r.halt()
	r.awaitCounts("s", map[string]int64{"entered": people})
	r.clock.set(noon.Add(66 * time.Minute))
	r.await("the pushes", func() bool { return r.gw.Status().Funnel["s"]["push.accepted"] == people })
	if n := len(r.provider.pushes()); n != people {
		t.Errorf("%d pushes, want %d", n, people)
	}
}

// TestJourneyForgotten: whoever is forgotten is in no journey any more, and its timer does nothing.
func TestJourneyForgotten(t *testing.T) {
	r := newRig(t)
	r.yaml = "journey: f\nentry: {event: view}\nwindow: {to: never}\nsteps: [{wait: 1h}, {push: {template: {locales: {en: {body: Hi}}}}}]\n"
	r.start()
	defer r.halt()
	for _, d := range []string{"a", "b"} {
		r.register(d)
		r.event(d, "v"+d, "view", "x")
	}
	r.settle()
	r.awaitCounts("f", map[string]int64{"entered": 2})
	f, err := r.gw.Forget(t.Context(), Someone{App: "shop", Device: "a"})
	if err != nil || f.Erased["journey runs and their timers"] != 2 {
		t.Fatalf("forgotten: %+v %v", f, err)
	}
	if v := r.show("f", "shop.a"); v.Run != nil {
		t.Errorf("still in it: %+v", v.Run)
	}
	r.clock.set(noon.Add(2 * time.Hour))
	r.await("the push to the other", func() bool { return r.gw.Status().Funnel["f"]["push.accepted"] == 1 })
	if n := r.provider.pushes(); len(n) != 1 || n[0].Device != "b" {
		t.Errorf("pushed %+v", n)
	}
}
