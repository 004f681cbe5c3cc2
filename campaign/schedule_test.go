package campaign

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"footfall/audience"
)

func announcementOf(t *testing.T, schedule, more string) *Campaign {
	t.Helper()
	list, err := Parse("test.yaml", []byte("campaign: news\ntrigger: {schedule: "+schedule+"}\nwindow: {to: never}\n"+more+
		"\nsteps: [{push: {ttl: 1h, template: {locales: {en: {body: Hi}}}}}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// TestScheduleDue: which occurrences may begin at a time, around changes of the clock, for one zone and for everybody's
// own.
func TestScheduleDue(t *testing.T) {
	kyiv, _ := time.LoadLocation("Europe/Kyiv")
	at := func(s string) time.Time {
		t.Helper()
		v, err := time.ParseInLocation("2006-01-02 15:04", s, kyiv)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tt := range []struct{ schedule, now, want string }{
		{"{at: 2026-11-21T12:00, zone: Europe/Kyiv}", "2026-11-21 11:59", ""},
		{"{at: 2026-11-21T12:00, zone: Europe/Kyiv}", "2026-11-21 12:00", "2026-11-21"},
		{"{at: 2026-11-21T12:00, zone: Europe/Kyiv}", "2026-11-21 17:59", "2026-11-21"},
		{"{at: 2026-11-21T12:00, zone: Europe/Kyiv}", "2026-11-21 18:00", ""}, // too late
		{`{at: "2026-11-21T10:00Z", zone: Europe/Kyiv}`, "2026-11-21 12:00", "2026-11-21"},
		{`{at: "2026-11-21T23:00Z", zone: Europe/Kyiv}`, "2026-11-22 01:00", "2026-11-22"},
		{`{days: every, at: "12:30", zone: Europe/Kyiv}`, "2026-11-21 12:29", ""},
		{`{days: every, at: "12:30", zone: Europe/Kyiv}`, "2026-11-21 12:30", "2026-11-21"},
		{`{days: [mon-fri], at: "12:30", zone: Europe/Kyiv}`, "2026-11-21 12:30", ""}, // a Saturday
		{`{days: every, at: "03:30", zone: Europe/Kyiv}`, "2026-03-29 04:00", "2026-03-29"},
		{`{days: every, at: "03:30", zone: Europe/Kyiv}`, "2026-03-29 02:59", ""},                                // the hour that is skipped comes with its end
		{`{days: every, at: "23:50", zone: Europe/Kyiv}`, "2026-11-22 00:10", "2026-11-21"},                      // begun late, past midnight
		{`{at: 2026-11-21T12:00, zone: device, fallback: Europe/Kyiv}`, "2026-11-20 23:59", ""},                  // 11:59 on Kiritimati
		{`{at: 2026-11-21T12:00, zone: device, fallback: Europe/Kyiv}`, "2026-11-21 00:00", "2026-11-21"},        // 12:00 there
		{`{at: 2026-11-21T12:00, zone: device, fallback: Europe/Kyiv}`, "2026-11-22 07:59", "2026-11-21"},        // 17:59 at the other end of the world
		{`{days: every, at: "12:00", zone: device, fallback: UTC}`, "2026-11-21 06:00", "2026-11-20 2026-11-21"}, // two at a time
		{"{on: 2026-11-21, at: best_time, between: \"12:00-15:00\", zone: Europe/Kyiv}", "2026-11-21 11:59", ""},
		{"{on: 2026-11-21, at: best_time, between: \"12:00-15:00\", zone: Europe/Kyiv}", "2026-11-21 12:00", "2026-11-21"},
		{"{on: 2026-11-21, at: best_time, between: \"12:00-15:00\", zone: Europe/Kyiv}", "2026-11-21 18:00", ""},
		{"{days: every, at: best_time, zone: Europe/Kyiv}", "2026-11-21 09:00", "2026-11-21"},
		{"{days: every, at: best_time, zone: Europe/Kyiv}", "2026-11-21 20:59", "2026-11-21"}, // the best hour may still come
		{"{days: every, at: best_time, zone: Europe/Kyiv}", "2026-11-21 21:00", ""},
	} {
		c := announcementOf(t, tt.schedule, "")
		var got []string
		for _, o := range c.Trigger.Schedule.Due(at(tt.now), 0) {
			got = append(got, o.Date)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s at %s: %q, want %q", tt.schedule, tt.now, got, tt.want)
		}
	}
}

// TestSchedulePlanned: when an occurrence is due for somebody.
func TestSchedulePlanned(t *testing.T) {
	for _, tt := range []struct{ schedule, date, zone, want string }{
		{"{at: 2026-11-21T12:00, zone: Europe/Kyiv}", "2026-11-21", "America/New_York", "2026-11-21T10:00:00Z"},
		{"{at: 2026-11-21T12:00, zone: Europe/Kyiv}", "2026-11-22", "", ""},
		{`{at: 2026-11-21T12:00, zone: device, fallback: Europe/Kyiv}`, "2026-11-21", "America/New_York", "2026-11-21T17:00:00Z"},
		{`{at: 2026-11-21T12:00, zone: device, fallback: Europe/Kyiv}`, "2026-11-21", "", "2026-11-21T10:00:00Z"},
		{`{at: 2026-11-21T12:00, zone: device, fallback: Europe/Kyiv}`, "2026-11-21", "Mars/Base", "2026-11-21T10:00:00Z"},
		{`{days: [sat], at: "12:30", zone: Europe/Kyiv}`, "2026-07-25", "", "2026-07-25T09:30:00Z"},
		{`{days: [sat], at: "12:30", zone: Europe/Kyiv}`, "2026-07-26", "", ""},
		{`{days: every, at: "03:30", zone: Europe/Kyiv}`, "2026-03-29", "", "2026-03-29T01:00:00Z"}, // skipped: when the clock has passed it
		{`{days: every, at: "03:30", zone: Europe/Kyiv}`, "2026-10-25", "", "2026-10-25T00:30:00Z"}, // twice: the first
		{`{days: every, at: "03:30", zone: Europe/Kyiv}`, "yesterday", "", ""},
	} {
		at, _, ok := announcementOf(t, tt.schedule, "").Trigger.Schedule.Planned(tt.date, tt.zone)
		got := ""
		if ok {
			got = at.UTC().Format(time.RFC3339)
		}
		if got != tt.want {
			t.Errorf("%s on %s in %q: %q, want %q", tt.schedule, tt.date, tt.zone, got, tt.want)
		}
	}
}

// TestDecideAnnouncement: the rules that an announcement has, and what one person's occurrence claims.
func TestDecideAnnouncement(t *testing.T) {
	no := false
	began := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC) // noon in Kyiv
	for _, tt := range []struct {
		name, schedule, more string
		p                    audience.Profile
		now                  time.Time
		want                 string
	}{
		{"at once", "{at: 2026-11-21T12:00, zone: Europe/Kyiv}", "", audience.Profile{}, began, "propose 2026-11-21 at  until 2026-11-21T11:00:00Z"},
		{"ttl counts from when it leaves", "{at: 2026-11-21T12:00, zone: Europe/Kyiv}", "", audience.Profile{}, began.Add(3 * time.Hour), "propose 2026-11-21 at  until 2026-11-21T14:00:00Z"},
		{"own time, later", `{at: 2026-11-21T12:00, zone: device, fallback: Europe/Kyiv}`, "", audience.Profile{Zone: "America/New_York"}, began, "propose 2026-11-21 at  until 2026-11-21T18:00:00Z"},
		{"own time, too long ago", `{at: 2026-11-21T12:00, zone: device, fallback: Europe/Kyiv}`, "", audience.Profile{Zone: "Pacific/Kiritimati"}, began, "held (expired)"},
		{"audience", "{at: 2026-11-21T12:00, zone: Europe/Kyiv}", "audience: 'tags.vip'", audience.Profile{}, began, "held (not_in_audience)"},
		{"opted out", "{at: 2026-11-21T12:00, zone: Europe/Kyiv}", "", audience.Profile{ConsentPush: &no}, began, "held (opted_out)"},
		{"quiet", "{at: 2026-11-21T12:00, zone: Europe/Kyiv}", `quiet: {hours: "11:00-13:00"}`, audience.Profile{}, began, "held (quiet_hours)"},
		{"quiet, waits", "{at: 2026-11-21T12:00, zone: Europe/Kyiv}", `quiet: {hours: "11:00-13:00", closed: hold}`, audience.Profile{}, began, "propose 2026-11-21 at  until 2026-11-21T12:00:00Z"},
		{"once ever", `{days: every, at: "12:00", zone: Europe/Kyiv}`, "once_per: campaign", audience.Profile{}, began, "propose ever at  until 2026-11-21T11:00:00Z"},
	} {
		c := announcementOf(t, tt.schedule, tt.more)
		tt.p.Device, tt.p.Platform, tt.p.Token = "shop.d1", "ios", "t"
		planned, _, ok := c.Trigger.Schedule.Planned("2026-11-21", tt.p.Zone)
		if !ok {
			t.Fatal(tt.name)
		}
		in := Input{Tr: c.Trigger.Schedule.Transition(planned, began), Profile: &tt.p, Now: tt.now}
		d := c.Decide(in, true)
		if got := strings.TrimPrefix(d.String(), "news: "); got != tt.want {
			t.Errorf("%s: %s, want %s\n%v", tt.name, got, tt.want, d.Checks)
		}
		if fast := c.Decide(in, false); fmt.Sprint(fast.Outcome, fast.Reason) != fmt.Sprint(d.Outcome, d.Reason) {
			t.Errorf("%s: explain says %s, the hot path %s", tt.name, d.Reason, fast.Reason)
		}
	}
}
