package stream

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/campaign"
	"footfall/dedupe"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/push"
	"footfall/track"
)

const body = `
steps: [{push: {ttl: 15m, template: {locales: {en: {title: "{{ fence.name }}", body: "{{ campaign.variant }}"}}}}}]
`

// TestHeldPush walks through what becomes of an entry before the doors open: it waits in the ledger, through a restart,
// goes out when the window opens, and expires with its claim released when nobody was there to send it.
func TestHeldPush(t *testing.T) {
	for _, tt := range []struct {
		name, closed string
		leaves       bool          // before the window opens
		wake         time.Duration // after the window opened
		want         string        // what the funnel counts
		pushes       int
	}{
		{"waits", "hold", false, time.Minute, "push.accepted", 1},
		{"waits, also for one who left", "hold", true, time.Minute, "push.accepted", 1},
		{"still inside", "notify_if_inside", false, time.Minute, "push.accepted", 1},
		{"left", "notify_if_inside", true, time.Minute, "push.suppressed", 0},
		{"nobody sends it in time", "hold", false, 20 * time.Minute, "push.expired", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.yaml = "campaign: doors\ntrigger: {enter: {fences: {all: true}}}\nwindow: {hours: \"10:00-21:00\", closed: " + tt.closed + "}\n" + body
			early := r.moment("2026-11-28 09:30", mustZone("Europe/Kyiv"))
			open := early.Add(30 * time.Minute)
			r.clock.set(early)
			r.start()
			r.register("d1")
			r.mustAsk("ping.shop.d1", ping(early, 50.4501, 30.5234))
			if tt.leaves {
				r.clock.set(early.Add(3 * time.Minute))
				r.mustAsk("ping.shop.d1", ping(early.Add(3*time.Minute), 50.4541, 30.5234))
			}
			r.settle()
			e, err := r.gw.Explain(t.Context(), "shop.d1", 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			if c := e.Decisions[0].Campaigns[0]; c.SendAt != open.UnixMilli() || c.ExpiresAt != open.Add(15*time.Minute).UnixMilli() {
				t.Errorf("goes out %d until %d, want %d", c.SendAt, c.ExpiresAt, open.UnixMilli())
			}
			if n := len(r.provider.pushes()); n != 0 {
				t.Fatalf("%d pushes before the window opens", n)
			}
			r.halt()
			r.clock.set(open.Add(tt.wake))
			r.start()
			defer r.halt()
			r.await(tt.want, func() bool { return r.gw.Status().Funnel["doors"][tt.want] == 1 })
			if n := len(r.provider.pushes()); n != tt.pushes {
				t.Errorf("%d pushes, want %d", n, tt.pushes)
			}
			if f := r.gw.Status().Funnel["doors"]; f["claimed"] != 1 {
				t.Errorf("funnel %v", f)
			}
			released := 0
			err = r.db.View(func(tx *db.Tx) error {
				return dedupe.Scan(tx, "doors", "", func(_ dedupe.Key, c dedupe.Claim) bool {
					if c.State == dedupe.Released {
						released++
					}
					return true
				})
			})
			if want := 1 - tt.pushes; err != nil || released != want {
				t.Errorf("%d claims released, want %d; %v", released, want, err)
			}
		})
	}
}

// TestCapsCountWhatWasSent: a cap over all campaigns counts the push that another campaign made for the same
// position, counts two phones of a person together, and does not count a push that certainly reached nobody.
func TestCapsCountWhatWasSent(t *testing.T) {
	r := newRig(t)
	r.yaml = "campaign: a\ntrigger: {enter: {fences: {all: true}}}\nonce_per: none\ncaps: [{max: 1, per: day, of: all}]\n" + body +
		"---\ncampaign: b\ntrigger: {enter: {fences: {all: true}}}\nonce_per: {day: store}\ncaps: [{max: 2, per: 7d, of: all}]\n" + body
	refuse := true
	r.provider.say = func(*push.Notification) push.Outcome {
		if refuse {
			return push.Outcome{Class: push.TokenDead, Status: 410, Reason: "Unregistered", Sent: true}
		}
		return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
	}
	r.start()
	defer r.halt()
	funnel := func(campaign string) map[string]int64 {
		f := r.gw.Status().Funnel[campaign]
		maps.DeleteFunc(f, func(k string, n int64) bool { return n == 0 })
		return f
	}
	at := noon
	visit := func(device string) {
		at = at.Add(10 * time.Minute)
		r.clock.set(at)
		r.mustAsk("ping.shop."+device, []map[string]any{ping(at.Add(-time.Minute), 50.4701, 30.5234), ping(at, 50.4501, 30.5234)})
		r.settle()
	}
	sign := func(device, token string) {
		r.mustAsk("device.shop."+device, map[string]any{"platform": "ios", "token": token, "user": "u1", "locale": "en"})
	}
	sign("d1", "one")
	visit("d1") // both go out, in the order of their ids, and fail for good
	r.await("both to fail", func() bool { return funnel("a")["push.failed"]+funnel("b")["push.failed"] == 2 })
	refuse = false
	sign("d1", "two")
	visit("d1") // nothing of that counts
	r.await("both to be accepted", func() bool { return funnel("a")["push.accepted"]+funnel("b")["push.accepted"] == 2 })
	sign("d2", "three")
	visit("d2") // the person's other phone
	if got := fmt.Sprint(funnel("a")["held.capped"], funnel("b")["held.already_claimed"], funnel("b")["held.capped"]); got != "1 1 0" {
		t.Errorf("capped and claimed %s: a %v, b %v", got, funnel("a"), funnel("b"))
	}
}

// TestGatewayCaps: what a person gets of campaigns, announcements and journeys together stays within the gateway's caps;
// what is exempt is neither held nor counted. What if knows them too.
func TestGatewayCaps(t *testing.T) {
	r := newRig(t)
	caps, err := campaign.ParseCaps("[{max: 2, per: day}]")
	if err != nil {
		t.Fatal(err)
	}
	r.tune = func(c *Config) { c.Caps = caps }
	push := `push: {ttl: 1h, template: {locales: {en: {body: "x"}}}}`
	r.yaml = "campaign: receipt\nexempt: true\ntrigger: {enter: {fences: {all: true}}}\nonce_per: none\n" + body +
		"---\ncampaign: store\ntrigger: {enter: {fences: {all: true}}}\nonce_per: none\n" + body +
		"---\ncampaign: news\ntrigger: {schedule: {at: 2026-11-28T12:20, zone: Europe/Kyiv}}\nsteps: [{" + push + "}]\n" +
		"---\njourney: views\nzone: Europe/Kyiv\nentry: {event: product_view}\nwindow: {to: never}\nsteps: [{" + push + "}]\n" +
		"---\njourney: order\nexempt: true\nzone: Europe/Kyiv\nentry: {event: product_view}\nwindow: {to: never}\nsteps: [{" + push + "}]\n"
	r.start()
	defer r.halt()
	r.register("d1")
	counts := func(id string) string {
		f := r.gw.Status().Funnel[id]
		return fmt.Sprint(f["claimed"], f["held.gateway_cap"])
	}
	enter := func(at time.Time) {
		r.clock.set(at)
		r.mustAsk("ping.shop.d1", []map[string]any{ping(at.Add(-time.Minute), 50.4701, 30.5234), ping(at, 50.4501, 30.5234)})
		r.settle()
	}
	enter(noon) // one
	r.event("d1", "v1", "product_view", "phones")
	r.await("the second", func() bool { return counts("views") == "1 0" && counts("order") == "1 0" })
	r.clock.set(noon.Add(20 * time.Minute))
	r.await("the announcement to be held", func() bool { return counts("news") == "0 1" })
	r.event("d1", "v2", "product_view", "phones") // held within a journey: the person goes on
	r.await("the journey's second push to be held", func() bool { return counts("views") == "1 1" })
	if run := r.show("views", "shop.d1").Run; run == nil || run.N != 2 || len(run.Path) != 1 || run.Path[0].Note != "held: gateway_cap" {
		t.Errorf("the run says %+v", run)
	}
	enter(noon.Add(30 * time.Minute))
	if got := fmt.Sprintf("store %s, receipt %s", counts("store"), counts("receipt")); got != "store 1 1, receipt 2 0" {
		t.Error(got)
	}
	r.clock.set(noon.Add(31 * time.Minute))
	day, _ := funnel.ParseDay("2026-11-28")
	if rep, text := r.asked(funnel.Query{Campaign: "views", From: day, To: day}); rep == nil || rep.Campaigns[0].Total.Held["gateway_cap"] != 1 || rep.Campaigns[0].ByHour[0].Key != "12" {
		t.Errorf("the report, by the journey's clock: %+v, %s", rep, text)
	}
	r.mustAsk("ping.shop.d1", ping(noon.Add(31*time.Minute), 50.4701, 30.5234)) // out again
	r.settle()
	next := noon.Add(23 * time.Hour)
	for at, want := range map[time.Time]campaign.Reason{noon.Add(time.Hour): campaign.GatewayCap, next: campaign.Eligible} {
		w, err := r.gw.WhatIf(t.Context(), WhatIfRequest{App: "shop", Device: "d1", Lat: 50.4501, Lon: 30.5234, At: at.UnixMilli(), Campaign: "store"})
		if err != nil || len(w.Decisions) != 1 || len(w.Decisions[0].Campaigns) != 1 {
			t.Fatalf("what if: %+v, %v", w, err)
		}
		if c := w.Decisions[0].Campaigns[0]; c.Reason != want {
			t.Errorf("what if at %s: %s, want %s", at, c.Reason, want)
		}
	}
	enter(next)
	if got := counts("store"); got != "2 1" {
		t.Errorf("the next day: store %s", got)
	}
}

// TestVisitsAreCounted: the third visit gets the push, whichever of the person's phones made the others; two phones
// in the store at once are one visit.
func TestVisitsAreCounted(t *testing.T) {
	r := newRig(t)
	r.yaml = "campaign: third\ntrigger: {enter: {fences: {all: true}, visits: 3}}\nonce_per: none\n" + body
	r.start()
	defer r.halt()
	at := noon
	visit := func(pushes int, devices ...string) { // after which there are so many in all
		t.Helper()
		at = at.Add(time.Hour)
		r.clock.set(at)
		for _, d := range devices {
			r.mustAsk("ping.shop."+d, ping(at, 50.4501, 30.5234))
			r.settle()
		}
		// Before the clock goes on, or what is on its way would expire.
		r.await("the pushes", func() bool { return len(r.provider.pushes()) == pushes })
		r.clock.set(at.Add(20 * time.Minute))
		for _, d := range devices {
			r.mustAsk("ping.shop."+d, ping(at.Add(20*time.Minute), 50.4701, 30.5234))
		}
		r.settle()
	}
	for _, d := range []string{"d1", "d2"} {
		r.mustAsk("device.shop."+d, map[string]any{"platform": "ios", "token": "t" + d, "user": "u1", "locale": "en"})
	}
	visit(0, "d1", "d2")
	visit(0, "d2")
	visit(1, "d1")
	visit(1, "d1")
	if f := r.gw.Status().Funnel["third"]; f["claimed"] != 1 || f["held.other_visit"] != 4 {
		t.Errorf("funnel %v", f)
	}
}

// TestHoldoutIsCountedOnce: one of the holdout gets nothing, uses up its claim, and owes no delivery.
func TestHoldoutIsCountedOnce(t *testing.T) {
	r := newRig(t)
	r.yaml = "campaign: lift\ntrigger: {enter: {fences: {all: true}}}\nholdout: 50%\n" +
		`steps: [{push: {template: {locales: {en: {body: "{{ campaign.variant }}"}}}, variants: {A: 50%, B: {share: 50%, template: {locales: {en: {body: "other {{ campaign.variant }}"}}}}}}}]` + "\n"
	r.start()
	defer r.halt()
	c, _ := r.gw.Campaigns().Find("lift")
	const people = 40
	out := 0
	for i := range people {
		device := fmt.Sprintf("d%d", i)
		r.register(device)
		if c.HeldOut("d:shop." + device) {
			out++
		}
		r.mustAsk("ping.shop."+device, []map[string]any{
			ping(noon.Add(-3*time.Minute), 50.4501, 30.5234), ping(noon.Add(-2*time.Minute), 50.4701, 30.5234), ping(noon, 50.4501, 30.5234),
		})
	}
	r.settle()
	r.await("the others", func() bool { return len(r.provider.pushes()) == people-out })
	f := r.gw.Status().Funnel["lift"]
	if f["held.holdout"] != int64(out) || f["claimed"] != int64(people-out) || f["held.already_claimed"] != people {
		t.Errorf("%d in the holdout: %v", out, f)
	}
	for _, n := range r.provider.pushes() {
		want := "A"
		if v := c.VariantFor("d:shop." + n.Device).Name; v == "B" {
			want = "other B"
		}
		if n.Body != want {
			t.Errorf("%s got %q, want %q", n.Device, n.Body, want)
		}
	}
	var claims, owed int
	err := r.db.View(func(tx *db.Tx) error {
		return dedupe.Scan(tx, "lift", "", func(_ dedupe.Key, c dedupe.Claim) bool {
			claims++
			if c.State == dedupe.Reserved {
				owed++
			}
			return true
		})
	})
	if err != nil || claims != people {
		t.Errorf("%d claims, %v", claims, err)
	}
	r.await("no claim to be owed", func() bool { return r.gw.Status().Funnel["lift"]["push.accepted"] == int64(people-out) })
}

// TestAudience: tags, events and visits of the person decide, as they were when it came, over all of its devices.
func TestAudience(t *testing.T) {
	r := newRig(t)
	r.yaml = "campaign: buyers\ntrigger: {enter: {fences: {all: true}}}\nonce_per: none\n" +
		`audience: 'tags.loyalty == "gold" && events("purchase", {within: "30d", where: {category: "phones"}}) >= 1 && visits() >= 1'` + "\n" + body
	r.start()
	defer r.halt()
	at := noon
	visit := func(device, want string) {
		t.Helper()
		at = at.Add(time.Hour)
		r.clock.set(at)
		r.mustAsk("ping.shop."+device, []map[string]any{ping(at.Add(-30*time.Minute), 50.4701, 30.5234), ping(at, 50.4501, 30.5234)})
		r.settle()
		e, err := r.gw.Explain(t.Context(), track.DeviceID("shop."+device), at.UnixMilli(), 0)
		if err != nil || len(e.Decisions) != 1 {
			t.Fatalf("%d decisions, %v", len(e.Decisions), err)
		}
		if got := string(e.Decisions[0].Campaigns[0].Reason); got != want {
			t.Errorf("%s: %s, want %s: %+v", device, got, want, e.Decisions[0].Campaigns[0].Checks)
		}
	}
	for _, d := range []string{"d1", "d2"} {
		r.mustAsk("device.shop."+d, map[string]any{"platform": "ios", "token": "t" + d, "user": "u1", "locale": "en", "tags": map[string]any{"loyalty": "gold"}})
	}
	visit("d1", "not_in_audience") // no purchase yet, and no visit
	r.mustAsk("event.shop.d2", map[string]any{"name": "purchase", "t": at.UnixMilli(), "id": "r1", "props": map[string]any{"category": "cases"}})
	visit("d1", "not_in_audience") // of something else
	r.mustAsk("event.shop.d2", map[string]any{"name": "purchase", "t": at.UnixMilli(), "id": "r2", "props": map[string]any{"category": "phones"}})
	r.settle()
	visit("d1", "eligible")
	r.await("the one push", func() bool { return len(r.provider.pushes()) == 1 })
	r.mustAsk("device.shop.d1", map[string]any{"tags": map[string]any{"loyalty": nil}})
	r.settle()
	visit("d1", "not_in_audience") // the tag is gone from this device
	at = at.Add(31 * 24 * time.Hour)
	visit("d2", "not_in_audience") // the purchase is too long ago

	// The same rule, counted by the running gateway.
	count := func(rule string) string {
		t.Helper()
		q, err := json.Marshal(AudienceRequest{Rule: rule, Sample: 10})
		if err != nil {
			t.Fatal(err)
		}
		m, err := r.nc.Request(AudienceSubject, q, patience)
		if err != nil {
			t.Fatal(err)
		}
		return string(m.Data) + m.Header.Get("Nats-Service-Error")
	}
	r.register("d3")
	r.settle()
	for rule, want := range map[string]string{
		`tags.loyalty == "gold"`:       `{"devices":3,"fitting":1,"reachable":1,"people":1,"failed":0,"sample":["shop.d2"]}`,
		`events("purchase") == 2`:      `{"devices":3,"fitting":2,"reachable":2,"people":1,"failed":0,"sample":["shop.d1","shop.d2"]}`,
		`visits() == 0 and !signed_in`: `{"devices":3,"fitting":1,"reachable":1,"people":1,"failed":0,"sample":["shop.d3"]}`,
		`device.platform == "ios"`:     `{"devices":3,"fitting":3,"reachable":3,"people":2,"failed":0,"sample":["shop.d1","shop.d2","shop.d3"]}`,
		`tag.loyalty == "gold"`:        "audience: unknown name tag",
	} {
		if got := count(rule); got != want {
			t.Errorf("%s: %s, want %s", rule, got, want)
		}
	}
}

// TestCollapseStays: what a push replaces on the phone is settled when the push is decided. Neither a restart nor another
// template, fence or profile changes it for one that is owed, else a re-send after doubt would show a second copy. One that
// cannot be filled is counted, and explained.
func TestCollapseStays(t *testing.T) {
	r := newRig(t)
	file := func(collapse string) string {
		return "campaign: doors\ntrigger: {enter: {fences: {all: true}}}\nwindow: {hours: \"10:00-21:00\", closed: hold}\n" +
			"steps: [{push: {ttl: 15m, template: {collapse: \"" + collapse + "\", locales: {en: {body: \"{{ campaign.name }}\"}}}}}]\n"
	}
	r.yaml = file("{{ campaign.id }}-{{ event.kind }}-{{ device.id }}-{{ message.id }}")
	early := r.moment("2026-11-28 09:30", mustZone("Europe/Kyiv"))
	r.clock.set(early)
	r.start()
	r.register("d1")
	r.mustAsk("ping.shop.d1", ping(early, 50.4501, 30.5234))
	r.settle()
	r.halt()
	r.yaml = file("another")
	opening := early.Add(31 * time.Minute)
	r.clock.set(opening)
	r.provider.say = func(n *push.Notification) push.Outcome {
		if len(r.provider.sent) > 1 {
			return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
		}
		return push.Outcome{Class: push.InDoubt, Sent: true}
	}
	r.start()
	r.await("the doubt", func() bool { return r.gw.Status().Outbox.Doubts == 1 })
	r.halt()
	r.yaml = file("{{ tags.nothing }}")
	r.clock.set(opening.Add(time.Minute))
	r.start()
	defer r.halt()
	r.await("the push", func() bool { return r.gw.Status().Funnel["doors"]["push.accepted"] == 1 })
	pushes := r.provider.pushes()
	if len(pushes) != 2 {
		t.Fatalf("%d requests", len(pushes))
	}
	for _, n := range pushes {
		if want := "doors-enter-shop.d1-" + pushes[0].MID; n.CollapseID != want {
			t.Errorf("collapse %q, want %q", n.CollapseID, want)
		}
	}
	r.register("d2")
	r.enter("d2", opening.Add(time.Minute))
	r.await("the push without", func() bool { return r.gw.Status().Funnel["doors"]["push.accepted"] == 2 })
	if n := r.provider.pushes()[2]; n.CollapseID != "" {
		t.Errorf("collapse %q of nothing", n.CollapseID)
	}
	if got := r.gw.Status().Stats.CollapseFaults; len(got) != 1 || got["empty"] != 1 {
		t.Errorf("counted %v", got)
	}
	e, err := r.gw.Explain(t.Context(), "shop.d2", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	checks := e.Decisions[0].Campaigns[0].Checks
	if !slices.ContainsFunc(checks, func(c campaign.Check) bool { return c.Rule == "collapse" && strings.Contains(c.Detail, "(empty)") }) {
		t.Errorf("explained as %+v", checks)
	}
}
