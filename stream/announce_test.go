package stream

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/internal/db"
	"footfall/outbox"
)

const newsTo = "campaign: news\ntrigger: {schedule: %s}\nwindow: {to: never}\n%s\nsteps: [{push: {ttl: 3d, template: {locales: {en: {body: \"Come on {{ now | date: '%%A' }}\"}}}}}]\n"

// rounds waits until schedules have been looked at n times from now on.
func (r *rig) rounds(n int64) {
	r.t.Helper()
	n += r.gw.rounds.Load()
	r.await("schedules to be looked at", func() bool { return r.gw.rounds.Load() >= n })
}

// registerMany signs up devices a000, a001, …
func (r *rig) registerMany(n int, more map[string]any) {
	r.t.Helper()
	for i := range n {
		reg := map[string]any{"platform": "ios", "token": fmt.Sprintf("%064x", i), "locale": "en"}
		for k, v := range more {
			reg[k] = v
		}
		r.mustAsk(fmt.Sprintf("device.shop.a%03d", i), reg)
	}
	r.settle()
}

// TestAnnouncement: everybody in the segment gets exactly one push when the time has come, though the gateway is
// restarted in the middle; it is bulk, and whoever has two phones gets it on one of them.
func TestAnnouncement(t *testing.T) {
	r := newRig(t)
	r.yaml = "segments: {vips: 'tags.vip'}\n---\n" + fmt.Sprintf(newsTo, "{at: 2026-11-28T13:00, zone: Europe/Kyiv, per_minute: 12000}", "audience: {segment: vips}")
	r.start()
	const people = 200
	r.registerMany(people, map[string]any{"tags": map[string]any{"vip": true}})
	r.mustAsk("device.shop.other", map[string]any{"platform": "ios", "token": "o", "locale": "en"})
	for _, d := range []string{"p1", "p2"} {
		r.mustAsk("device.shop."+d, map[string]any{"platform": "ios", "token": d, "user": "u1", "locale": "en", "tags": map[string]any{"vip": true}})
	}
	r.settle()
	r.clock.set(noon.Add(59 * time.Minute))
	r.rounds(2)
	if n := len(r.provider.pushes()); n != 0 {
		t.Fatalf("%d pushes before the time", n)
	}
	r.clock.set(noon.Add(time.Hour))
	for range 2 {
		r.await("some pushes", func() bool { return len(r.provider.pushes()) > 0 })
		r.halt()
		r.clock.set(r.clock.now().Add(7 * time.Hour)) // what has begun goes on, however late
		r.start()
	}
	defer r.halt()
	r.await("everybody's", func() bool { return r.gw.Status().Funnel["news"]["push.accepted"] == people+1 })
	got := map[string]int{}
	for _, n := range r.provider.pushes() {
		got[n.Device]++
	}
	delete(got, "p1")
	for d, n := range got {
		if n != 1 {
			t.Errorf("%s got %d pushes", d, n)
		}
	}
	if len(got) != people && len(got) != people+1 || got["other"] > 0 {
		t.Errorf("%d devices got it; other: %d", len(got), got["other"])
	}
	err := r.db.View(func(tx *db.Tx) error {
		return outbox.List(tx, outbox.Filter{}, func(d *outbox.Delivery) bool {
			if !d.Bulk {
				t.Errorf("%s is not bulk", d.MID)
			}
			return true
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := r.gw.Explain(t.Context(), "shop.a000", 0, 0)
	if err != nil || len(e.Decisions) != 1 || e.Decisions[0].Kind != "announcement" || e.Decisions[0].Campaigns[0].MID == "" {
		t.Errorf("explain: %+v, %v", e.Decisions, err)
	}
}

// TestAnnouncementToAllDevices: with devices: all each phone of a person gets it once, through a restart, and the person has one
// claim and one count.
func TestAnnouncementToAllDevices(t *testing.T) {
	r := newRig(t)
	r.yaml = strings.Replace(fmt.Sprintf(newsTo, "{at: 2026-11-28T13:00, zone: Europe/Kyiv}", ""), "push: {", "push: {devices: all, ", 1)
	r.start()
	defer r.halt()
	for _, d := range []string{"phone", "tablet"} {
		r.owns("olena", d, true)
	}
	r.owns("olena", "old", false)
	r.register("alone")
	r.settle()
	r.clock.set(noon.Add(time.Hour))
	both := func() bool {
		f := r.gw.Status().Funnel["news"]
		return f["device.accepted"] == 2 && f["push.accepted"] == 2
	}
	r.await("all devices to have it", both)
	r.halt()
	r.clock.set(r.clock.now().Add(time.Hour))
	r.start()
	r.rounds(2)
	if got := r.reached(); !slices.Equal(got, []string{"alone", "phone", "tablet"}) {
		t.Errorf("pushed to %v", got)
	}
	if f := r.gw.Status().Funnel["news"]; f["claimed"] != 2 || f["sent"] != 2 || !both() {
		t.Errorf("funnel %v", f)
	}
}

// TestAnnouncementByOwnTime: phones get it at their own time, one without a zone at the fallback's; what is not due yet
// is cancelled by a stop, and a start repeats nobody.
func TestAnnouncementByOwnTime(t *testing.T) {
	r := newRig(t)
	r.yaml = "campaign: news\ntrigger: {schedule: {days: every, at: \"13:00\", zone: device, fallback: Europe/Kyiv}}\nwindow: {from: 2026-11-28T12:00, to: 2026-11-28T23:59, zone: Europe/Kyiv}\n" + announcedBody
	r.clock.set(noon.Add(-24 * time.Hour)) // before the plan begins
	r.start()
	defer r.halt()
	for d, zone := range map[string]string{"kyiv": "Europe/Kyiv", "none": "", "lisbon": "Europe/Lisbon", "tokyo": "Asia/Tokyo"} {
		reg := map[string]any{"platform": "ios", "token": d, "locale": "en"}
		if zone != "" {
			reg["zone"] = zone
		}
		r.mustAsk("device.shop."+d, reg)
	}
	r.settle()
	r.clock.set(noon.Add(90 * time.Minute)) // 13:30 in Kyiv, 11:30 in Lisbon; in Tokyo it was 13:00 too long ago
	r.await("the plan", func() bool {
		f := r.gw.Status().Funnel["news"]
		return f["claimed"] == 3 && f["held.expired"] == 1 && f["push.accepted"] == 2
	})
	got := map[string]bool{}
	for _, n := range r.provider.pushes() {
		got[n.Device] = true
	}
	if !got["kyiv"] || !got["none"] || len(got) != 2 {
		t.Errorf("pushed to %v", got)
	}
	n, err := r.gw.StopCampaign(t.Context(), "news")
	if err != nil || n != 1 {
		t.Errorf("the stop cancelled %d, %v; want the one in Lisbon", n, err)
	}
	if _, err := r.gw.StartCampaign(t.Context(), "news"); err != nil {
		t.Fatal(err)
	}
	r.clock.set(noon.Add(4 * time.Hour))
	r.rounds(2)
	if n := len(r.provider.pushes()); n != 2 {
		t.Errorf("%d pushes after stop and start, want 2", n)
	}
}

const announcedBody = `steps: [{push: {ttl: 1h, template: {locales: {en: {body: Hello}}}}}]
`
