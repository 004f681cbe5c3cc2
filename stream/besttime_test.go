package stream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"footfall/audience"
	"footfall/besttime"
	"footfall/internal/db"
	"footfall/track"
)

const bestTimes = `journey: chat
entry: {event: go}
window: {to: never}
steps: [{push: {ttl: 2h, template: {locales: {en: {body: Hello}}}}}]
---
journey: tip
entry: {event: tip}
window: {to: never}
steps:
  - id: lunch
    wait: {at: best_time, between: "12:00-16:00", default: "12:30", zone: device, fallback: Europe/Kyiv}
  - push: {ttl: 2h, template: {locales: {en: {body: Lunch}}}}
---
campaign: news
trigger: {schedule: {on: 2026-11-29, at: best_time, between: "12:00-16:00", default: "12:30", zone: device, fallback: Europe/Kyiv}}
window: {to: never}
steps: [{push: {ttl: 1h, template: {locales: {en: {body: News}}}}}]
`

// TestBestTime: whoever opens in the afternoon gets an announcement and the end of a wait in the afternoon, and whoever has
// opened nothing at the default; both are told why, through a restart, and nothing of it is left when they are forgotten.
func TestBestTime(t *testing.T) {
	r := newRig(t)
	r.yaml = bestTimes
	r.start()
	r.mustAsk("device.shop.opens", map[string]any{"platform": "ios", "token": "t1", "user": "olena", "locale": "en", "zone": "Europe/Kyiv"})
	r.mustAsk("device.shop.new", map[string]any{"platform": "ios", "token": "t2", "locale": "en"})
	r.clock.set(noon.Add(2*time.Hour + 5*time.Minute))
	for i := range 3 {
		r.event("opens", fmt.Sprint(i), "go", "")
		r.settle()
		r.await("a push", func() bool { return r.gw.Status().Funnel["chat"]["push.accepted"] == int64(i+1) })
		n := r.provider.pushes()[i]
		for range 2 { // the second is a repeat
			r.mustAsk("receipt.shop.opens", map[string]any{"mid": n.MID, "k": n.ReceiptKey, "ev": "opened", "t": r.clock.now().UnixMilli()})
		}
		r.mustAsk("receipt.shop.opens", map[string]any{"mid": n.MID, "k": n.ReceiptKey, "ev": "delivered", "t": noon.UnixMilli()})
	}
	r.settle()
	r.halt()
	r.clock.set(noon.Add(4*time.Hour + 30*time.Minute)) // 16:30: the hours of today are over
	r.start()
	defer r.halt()
	for _, d := range []string{"opens", "new"} {
		r.event(d, "tip "+d, "tip", "")
	}
	r.settle()
	loc := mustZone("Europe/Kyiv")
	for d, want := range map[string]struct {
		hour   int
		minute int // -1: any
		why    string
	}{
		"opens": {14, -1, "the person: 100 % of 3.0 opens are from 14 to 15"},
		"new":   {12, 30, "the default, 12:30"},
	} {
		run := r.show("tip", "shop."+d).Run
		if run == nil || run.At != "lunch" {
			t.Fatalf("%s: %+v", d, run)
		}
		due := time.UnixMilli(run.Due).In(loc)
		if due.Day() != 29 || due.Hour() != want.hour || want.minute >= 0 && due.Minute() != want.minute || !strings.Contains(run.Path[0].Note, want.why) || !strings.HasPrefix(run.Path[0].Note, due.Format("2006-01-02 15:04")) {
			t.Errorf("%s waits until %s: %+v", d, due, run.Path)
		}
		r.clock.set(time.Date(2026, 11, 29, 1, 0, 0, 0, loc)) // the announcement is planned, where the day begins first
		device := d
		r.await("the decision about "+d, func() bool {
			e, err := r.gw.Explain(t.Context(), track.DeviceID("shop."+device), 0, 0)
			if err != nil {
				return false
			}
			for _, dec := range e.Decisions {
				if dec.Kind != "announcement" {
					continue
				}
				at, checks := time.UnixMilli(dec.Campaigns[0].SendAt).In(loc), dec.Campaigns[0].Checks
				why := checks[len(checks)-1]
				if at.Day() != 29 || at.Hour() != want.hour || want.minute >= 0 && at.Minute() != want.minute || why.Rule != "best_time" || !strings.Contains(why.Detail, want.why) {
					t.Errorf("the announcement to %s goes out %s: %+v", device, at, checks)
				}
				return true
			}
			return false
		})
	}
	r.clock.set(time.Date(2026, 11, 29, 12, 31, 0, 0, loc))
	r.await("the pushes at the default", func() bool {
		s := r.gw.Status().Funnel
		return s["news"]["push.accepted"] == 1 && s["tip"]["push.accepted"] == 1
	})
	r.clock.set(time.Date(2026, 11, 29, 15, 0, 0, 0, loc))
	r.await("those in the afternoon", func() bool {
		s := r.gw.Status().Funnel
		return s["news"]["push.accepted"] == 2 && s["tip"]["push.accepted"] == 2
	})

	olena := Someone{Person: "olena"}
	err := r.db.View(func(tx *db.Tx) error {
		x, err := ExportFrom(tx, r.gw.cfg.Rules, ExportRequest{Someone: olena, Part: "devices"})
		if len(x.OpenHours) != 1 || x.OpenHours[0].Subject != "p:olena" || x.OpenHours[0].Zone != "local" || x.OpenHours[0].Opens[14] != 3 {
			t.Errorf("exported %+v", x.OpenHours)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if f := r.forget(olena); f.Erased["hours of opens"] != 1 {
		t.Errorf("erased %v", f.Erased)
	}
	err = r.db.View(func(tx *db.Tx) error {
		own, err := besttime.Load(tx, besttime.Person, "p:olena")
		app, _ := besttime.Load(tx, besttime.App, "shop")
		if !own.At.IsZero() || app.N[14] < 2.9 { // the app's hours name nobody, and stay
			t.Errorf("after forgetting: %+v, %+v", own, app)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBestTimeOfEverybody: without opens of one's own those of the campaign's people decide, and an announcement that the
// gateway comes to when the hours are over is left out.
func TestBestTimeOfEverybody(t *testing.T) {
	r := newRig(t)
	r.yaml = bestTimes
	r.start()
	defer r.halt()
	loc := mustZone("Europe/Kyiv")
	err := r.db.Update(t.Context(), func(tx *db.Tx) error {
		for i := range 40 {
			if err := besttime.Learn(tx, fmt.Sprint("d:shop.x", i), "tip", "shop", noon.Add(3*time.Hour), loc); err != nil {
				return err
			}
		}
		for _, tt := range []struct{ id, why string }{{"tip", "everybody who opened tip: 100 %"}, {"other", "everybody in the app: 100 %"}} {
			sched := r.gw.Campaigns().Scheduled()[0].Trigger.Schedule
			at, why := r.gw.settler.bestNext(tx, sched, tt.id, &audience.Profile{Device: "shop.new"})
			if at.In(loc).Hour() != 15 || !strings.Contains(why, tt.why) {
				t.Errorf("%s: %s, %s", tt.id, at.In(loc), why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.register("late")
	r.settle()
	r.clock.set(time.Date(2026, 11, 29, 17, 0, 0, 0, loc)) // it may still begin, for people further west
	r.await("the decision", func() bool { return r.gw.Status().Funnel["news"]["held.expired"] == 1 })
}
