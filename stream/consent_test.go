package stream

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/audience"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/stream/wire"
	"footfall/track"
)

const consentCampaigns = testCampaign + `---
campaign: evening
trigger: {enter: {fences: {all: true}}}
window: {to: never, hours: "18:00-21:00", closed: notify_if_inside}
` + body + `---
journey: visit
zone: Europe/Kyiv
entry: {enter: {all: true}}
window: {to: never}
reentry: never
steps:
  - wait: {for: 3h}
  - push: {ttl: 2h, template: {locales: {en: {title: "How was it?"}}}}
`

// places is what the ledger holds of where a device has been.
func (r *rig) places(device string) (found []string) {
	r.t.Helper()
	err := r.db.View(func(tx *db.Tx) error {
		id := track.DeviceID("shop." + device)
		ds, _, err := Decisions(tx, id, 0, 0, 100)
		if err != nil {
			return err
		}
		for _, d := range ds {
			found = append(found, "decision "+d.Kind)
		}
		visits, err := audience.VisitsOf(tx, &audience.Profile{Device: string(id)})
		for _, v := range visits {
			found = append(found, "visit "+v.Fence)
		}
		if row, noRow := tx.Get(presenceKey(id)); noRow == nil {
			tracker := track.New(r.gw.cfg.Rules)
			if err := tracker.Restore(id, row); err != nil {
				return err
			}
			if p, _ := tracker.Presence(id); p.HasPosition || len(p.Inside) > 0 {
				found = append(found, "presence")
			}
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

// TestLocationConsent withdraws the consent to a device's positions while it is inside a fence, with pushes waiting and a journey
// under way: nothing of where it was is left, nothing waits any more and nobody is said to have left. From then on its positions are
// refused, by the worker also those that come past the door, through a restart; given again, the device is a new one. The person's
// other device goes on.
func TestLocationConsent(t *testing.T) {
	r := newRig(t)
	r.yaml = consentCampaigns
	r.start()
	register := func(device string, more map[string]any) {
		t.Helper()
		doc := map[string]any{"platform": "ios", "token": fmt.Sprintf("%064x", device), "locale": "en", "user": "olena"}
		for k, v := range more {
			doc[k] = v
		}
		r.mustAsk("device.shop."+device, doc)
	}
	location := func(v any) map[string]any { return map[string]any{"consent": map[string]any{"location": v}} }
	explained := func(device string) Explanation {
		t.Helper()
		e, err := r.gw.ExplainNear(t.Context(), track.DeviceID("shop."+device), 0, 0, "")
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	waits := func() (states []string) {
		t.Helper()
		err := r.db.View(func(tx *db.Tx) error {
			return outbox.List(tx, outbox.Filter{Campaign: "evening"}, func(d *outbox.Delivery) bool {
				states = append(states, strings.TrimSuffix(d.Device+" "+string(d.State)+" "+d.Reason, " "))
				return true
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(states)
		return states
	}
	register("d1", nil)
	register("d2", nil)
	// The first push of each campaign is of d1; d2 comes later, and has nothing to wait for.
	r.mustAsk("ping.shop.d1", []map[string]any{ping(noon.Add(-2*time.Minute), 50.4701, 30.5234), ping(noon, 50.4501, 30.5234)})
	r.await("the push", func() bool { return len(r.provider.pushes()) == 1 })
	r.settle()
	if got := r.places("d1"); len(got) != 3 {
		t.Fatalf("before: %v", got)
	}
	if got := waits(); !slices.Equal(got, []string{"shop.d1 pending"}) {
		t.Fatalf("before: the evening's pushes are %v", got)
	}
	if run := r.show("visit", "shop.d1").Run; run == nil || !run.Active() || run.Fence != "k01" {
		t.Fatalf("before: the run is %+v", run)
	}
	// More visits than one transaction erases, as a courier has them.
	err := r.db.Update(t.Context(), func(tx *db.Tx) error {
		for n := range erasureMost {
			if err := audience.PutVisit(tx, &audience.Visit{Device: "shop.d1", Fence: "k02", At: noon.Add(-time.Duration(n+1) * time.Minute).UnixMilli()}, 365*24*time.Hour); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var inside []byte // as an earlier version would have left it
	if err := r.db.View(func(tx *db.Tx) (err error) { inside, err = tx.Get(presenceKey("shop.d1")); return err }); err != nil {
		t.Fatal(err)
	}

	r.clock.set(noon.Add(time.Minute))
	r.mustAsk("device.shop.d1", location(false))
	r.settle()
	r.await("the places to be erased", func() bool { return len(r.places("d1")) == 0 })
	r.await("what waited to be suppressed", func() bool {
		return slices.Equal(waits(), []string{"shop.d1 suppressed location_consent_withdrawn"})
	})
	run := r.show("visit", "shop.d1").Run
	if run == nil || run.Active() || run.Why != "location_consent_withdrawn" || run.Fence != "" {
		t.Errorf("the run is %+v", run)
	}
	st := r.gw.Status().Stats
	if st.Kinds["exit"] != 0 || st.Consents["withdrawn"] != 1 || st.Withdrawn != 1 {
		t.Errorf("counted: %+v", st)
	}
	if n := r.gw.Status().Funnel["evening"]["push.suppressed"]; n != 1 {
		t.Errorf("%d pushes are suppressed in the funnel", n)
	}
	if e := explained("d1"); e.WithdrawnAt != noon.Add(time.Minute).UnixMilli() || e.Live != nil || e.Closest == nil || e.Closest.Positions != 0 {
		t.Errorf("explained: %+v", e)
	}
	rec, err := ReadRecording(t.Context(), r.nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, rc := range rec.Records {
		if rc.Kind == wire.KindPing && rc.Device == "shop.d1" {
			t.Errorf("a recording has the position %+v", rc.Fix)
		}
	}
	if rec.Withdrawn != 2 {
		t.Errorf("a recording leaves out %d positions, want 2", rec.Withdrawn)
	}

	at := noon.Add(2 * time.Minute)
	refused := func() {
		t.Helper()
		for subject, payload := range map[string]any{
			"ping.shop.d1": ping(at, 50.4420, 30.5206),
			"near.shop.d1": map[string]any{"lat": 50.4501, "lon": 30.5234},
		} {
			if a := r.ask(subject, payload); !strings.Contains(a, `"code":"no_consent"`) {
				t.Errorf("%s: answered %s", subject, a)
			}
		}
		feed := []map[string]any{ping(at, 50.4420, 30.5206), ping(at, 50.4420, 30.5206)}
		feed[0]["device"], feed[1]["device"] = "d1", "d9"
		if a := r.ask("feed.shop", feed); !strings.Contains(a, `"code":"no_consent"`) || !strings.Contains(a, `"accepted":1,"refused":1`) {
			t.Errorf("a feed: answered %s", a)
		}
	}
	refused()
	if e := explained("d1"); e.Refusal == nil || e.Refusal.Reason != "no_consent" {
		t.Errorf("explained: %+v", e.Refusal)
	}
	past := func() { // the door
		t.Helper()
		r.settle()
		before := r.gw.Status().Stats.Verdicts["no_consent"]
		r.gw.settler.consents.forget("shop.d1")
		r.mustAsk("ping.shop.d1", ping(at, 50.4420, 30.5206))
		r.settle()
		if got := r.places("d1"); len(got) > 0 || r.gw.Status().Stats.Verdicts["no_consent"] != before+1 {
			t.Errorf("a position that came past the door: %v, verdicts %v", got, r.gw.Status().Stats.Verdicts)
		}
	}
	past()
	what, err := r.gw.WhatIf(t.Context(), WhatIfRequest{App: "shop", Device: "d1", Lat: 50.4501, Lon: 30.5234, At: at.UnixMilli()})
	if err != nil || what.Verdict != "no_consent" || what.Change == "" || len(what.Decisions) > 0 {
		t.Errorf("what if: %+v, %v", what, err)
	}
	// Consent is of a device.
	r.mustAsk("ping.shop.d2", []map[string]any{ping(noon, 50.4701, 30.5234), ping(at, 50.4501, 30.5234)})
	r.settle()
	if got := r.places("d2"); len(got) != 3 {
		t.Errorf("the other device: %v", got)
	}

	// A restart changes nothing; a ledger from before has the consent of profiles alone, and is brought to the same.
	r.halt()
	r.start()
	refused()
	past()
	r.halt()
	old, err := db.Open(db.Config{Dir: r.dir + "/ledger", Now: r.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	err = old.Update(t.Context(), func(tx *db.Tx) error {
		return cmp.Or(tx.Delete(withdrawnKey("")), tx.Delete(withdrawnKey("shop.d1")), tx.Set(presenceKey("shop.d1"), inside))
	})
	if err := cmp.Or(err, old.Close()); err != nil {
		t.Fatal(err)
	}
	r.start()
	defer r.halt()
	if got := r.places("d1"); len(got) > 0 {
		t.Errorf("after an upgrade: %v", got)
	}
	refused()
	past()

	// Given again, by nothing being said of it any more: a new device, which may be inside already.
	r.mustAsk("device.shop.d1", location(nil))
	at = noon.Add(10 * time.Minute)
	r.clock.set(at)
	r.mustAsk("ping.shop.d1", ping(at, 50.4501, 30.5234))
	r.settle()
	e := explained("d1")
	if len(e.Decisions) != 1 || e.Decisions[0].Kind != "enter" || !e.Decisions[0].Reason.Has(track.Initial) || e.WithdrawnAt != 0 || e.Live == nil {
		t.Errorf("given again: %+v", e)
	}
	if st := r.gw.Status().Stats; st.Consents["given"] != 1 || st.Withdrawn != 0 {
		t.Errorf("counted: %+v", st.Consents)
	}
	if n := len(r.provider.pushes()); n != 1 {
		t.Errorf("%d pushes, want 1: the claim of the day stands", n)
	}
}

// TestConsentInTheOrderOfTheLog sends positions and registrations without waiting for one another: each counts for what is sent
// after it, whatever batches they come in, and a registration of which the profile can take nothing else still says so.
func TestConsentInTheOrderOfTheLog(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	tags := map[string]any{}
	for n := range audience.MaxTags {
		tags[fmt.Sprint("t", n)] = n
	}
	const devices = 24
	for n := range devices {
		r.mustAsk(fmt.Sprint("device.shop.d", n), map[string]any{"tags": tags})
	}
	say := func(device int, kind string, payload any) {
		t.Helper()
		data, err := json.Marshal(payload)
		if err == nil {
			err = r.nc.Publish(fmt.Sprintf("%s.shop.d%d", kind, device), data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := range devices {
		at := noon.Add(-10 * time.Minute)
		visit := func(lat, lng float64) {
			for range 2 {
				at = at.Add(30 * time.Second)
				say(n, "ping", ping(at, lat, lng))
			}
		}
		visit(50.4701, 30.5234) // outside
		visit(50.4501, 30.5234) // k01
		say(n, "device", map[string]any{"consent": map[string]any{"location": false}, "tags": map[string]any{"one": "too many"}})
		visit(50.4420, 30.5206) // k02
		say(n, "device", map[string]any{"consent": map[string]any{"location": true}})
		visit(50.4701, 30.5234)
		visit(50.4420, 30.5206)
	}
	if err := r.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	r.settle()
	st := r.gw.Status().Stats
	if st.Kinds["enter"] != 2*devices || st.Kinds["exit"] != 0 {
		t.Errorf("transitions %v", st.Kinds)
	}
	if st.Consents["withdrawn"] != devices || st.Consents["given"] != devices || st.Refused["device_profile"] != devices {
		t.Errorf("consents %v, refused %v", st.Consents, st.Refused)
	}
	if n := st.Refused["no_consent"] + st.Verdicts["no_consent"]; n != 2*devices {
		t.Errorf("%d positions without consent, want %d", n, 2*devices)
	}
	for n := range devices {
		if got := r.places(fmt.Sprint("d", n)); len(got) != 3 || !slices.Contains(got, "visit k02") {
			t.Fatalf("d%d: %v", n, got)
		}
		if p := r.profile(fmt.Sprint("d", n)); p.Withdrawn() || p.ConsentLocation == nil {
			t.Fatalf("d%d: consent %v", n, p.ConsentLocation)
		}
	}
}

// TestWithdrawnStillGetsTheNews: consent to positions is no matter of pushes that no position has caused.
func TestWithdrawnStillGetsTheNews(t *testing.T) {
	r := newRig(t)
	push := `push: {ttl: 1h, template: {locales: {en: {body: "x"}}}}`
	r.yaml = testCampaign +
		"---\ncampaign: news\ntrigger: {schedule: {at: 2026-11-28T12:20, zone: Europe/Kyiv}}\nsteps: [{" + push + "}]\n" +
		"---\njourney: views\nzone: Europe/Kyiv\nentry: {event: product_view}\nwindow: {to: never}\nsteps: [{" + push + "}]\n"
	r.start()
	defer r.halt()
	r.register("d1")
	r.mustAsk("device.shop.d1", map[string]any{"consent": map[string]any{"location": false, "push": true}})
	r.event("d1", "v1", "product_view", "phones")
	r.await("the journey's push", func() bool { return len(r.provider.pushes()) == 1 })
	r.clock.set(noon.Add(20 * time.Minute))
	r.await("the announcement", func() bool { return len(r.provider.pushes()) == 2 })
	if answer := r.ask("ping.shop.d1", ping(noon.Add(20*time.Minute), 50.4501, 30.5234)); !strings.Contains(fmt.Sprint(answer), "no_consent") {
		t.Errorf("a position is answered with %v", answer)
	}
	if f := r.gw.Status().Funnel["welcome"]; f["claimed"] != 0 {
		t.Errorf("the store's campaign: %v", f)
	}
}
