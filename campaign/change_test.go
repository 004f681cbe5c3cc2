package campaign

import (
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/audience"
	"footfall/dedupe"
	"footfall/track"
)

// TestChanges: what is proposed is what a marketer would call the nearest passing condition. That all of it together
// passes is judged by Decide itself, within Changes.
func TestChanges(t *testing.T) {
	noon := func(h, m int) time.Time { return time.Date(2026, 11, 28, h, m, 0, 0, zone(t, "Europe/Kyiv")) }
	for _, tt := range []struct {
		name   string
		edit   func(string) string
		change func(*Input)
		wall   string
		want   string // joined by "; "
		not    bool   // there is no remedy
	}{
		{name: "nothing is in the way"},
		{name: "too early", wall: "2026-11-28T09:40:00", want: "after Sat 2026-11-28 10:00:00 +02:00"},
		{name: "too late for good", wall: "2026-11-28T21:10:00", want: "until Sat 2026-11-28 20:59:59 +02:00"},
		{name: "outside the hours", edit: with(`"10:00-21:00"`, `["10:00-11:30", "13:00-21:00"]`), wall: "2026-11-28T12:30:00", want: "after Sat 2026-11-28 13:00:00 +02:00"},
		{name: "just outside the hours", edit: with(`"10:00-21:00"`, `["10:00-11:30", "13:00-21:00"]`), wall: "2026-11-28T11:40:00", want: "until Sat 2026-11-28 11:29:59 +02:00"},
		{name: "a window that never opens", edit: with("[sat]", "[sun]"), want: "a window that opens", not: true},
		{name: "paused, late, opted out", edit: with("campaign: day", "campaign: day\npaused: true"), change: func(in *Input) {
			in.Now = in.Now.Add(time.Hour)
			in.Profile.ConsentPush = new(false)
		}, want: "paused: false; a position that arrives within 10m; the person's consent"},
		{name: "past its ttl", edit: with("ttl: 15m", "ttl: 5m"), change: func(in *Input) { in.Now = in.Now.Add(6 * time.Minute) }, want: "a position that arrives within its ttl of 5m"},
		{name: "a tag", edit: with("window:", "audience: 'tags.city == \"Kyiv\"'\nwindow:"), want: "tag city=Kyiv"},
		{name: "a purchase", edit: with("window:", "audience: 'events(\"purchase\") > 1'\nwindow:"), want: `somebody who fits events("purchase") > 1`, not: true},
		{name: "confidence", edit: with("{tag: kyiv}", "{tag: kyiv}, min_confidence: 3"), change: func(in *Input) { in.Tr.Confidence, in.Tr.Fix.AccuracyM = 2, 95 }, want: "an accuracy of at most 88 m, or 7 m farther in"},
		{name: "the third visit", edit: with("{tag: kyiv}", "{tag: kyiv}, visits: 3"), want: "visit 3 instead of 1"},
		{name: "never registered", change: func(in *Input) { in.Profile = &audience.Profile{Device: "shop.d1"} }, want: "a push token that the provider takes"},
		{name: "quiet", edit: with("window:", "quiet: {hours: \"12:00-13:30\"}\nwindow:"), want: "after Sat 2026-11-28 13:30:00 +02:00"},
		{name: "quiet until it has closed", edit: with("window:", "quiet: {hours: \"12:00-22:00\"}\nwindow:"), want: "a window that opens", not: true},
		{name: "capped in a week", edit: with("window: {from: 2026-11-28T10:00, to: 2026-11-28T21:00,", "caps: [{max: 1, per: 2h}]\nwindow: {to: never,"), change: func(in *Input) {
			in.Sends = []dedupe.Send{{Campaign: "day", At: noon(11, 0)}}
		}, want: "after Sat 2026-11-28 13:00:00 +02:00"},
		{name: "capped today, and then it is Sunday", edit: with("window: {from: 2026-11-28T10:00, to: 2026-11-28T21:00,", "caps: [{max: 1, per: day}]\nwindow: {to: never,"), change: func(in *Input) {
			in.Sends = []dedupe.Send{{Campaign: "day", At: noon(11, 0)}}
		}, want: "after Sat 2026-12-05 10:00:00 +02:00"},
		{name: "capped by the gateway", edit: with("window: {from: 2026-11-28T10:00, to: 2026-11-28T21:00,", "window: {to: never,"), change: func(in *Input) {
			in.Sends, in.Caps = []dedupe.Send{{Campaign: "other", At: noon(11, 0)}}, []Cap{{Max: 1, Per: 2 * time.Hour, All: true}}
		}, want: "after Sat 2026-11-28 13:00:00 +02:00"},
		{name: "capped for ever", edit: with("window:", "caps: [{max: 1, per: campaign}]\nwindow:"), change: func(in *Input) {
			in.Sends = []dedupe.Send{{Campaign: "day", At: noon(11, 0)}}
		}, want: "a larger cap than at most 1 ever; 1 are used for good", not: true},
		{name: "another fence", change: func(in *Input) { in.Tr.Fence = fence(t, "l01", 200, "lviv"); in.Tr.FenceID = "l01" }, want: "a transition that it waits for: enter of tag kyiv", not: true},
		{name: "an edit", change: func(in *Input) { in.Tr.Reason = track.FenceChanged }, want: "a person who walks in, or edits: true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := dayFile
			if tt.edit != nil {
				if file = tt.edit(file); file == dayFile {
					t.Fatal("the edit changes nothing")
				}
			}
			c := mustParse(t, file)
			wall := tt.wall
			if wall == "" {
				wall = "2026-11-28T12:00:00"
			}
			in := entry(t, wall)
			if tt.change != nil {
				tt.change(&in)
			}
			before := c.Decide(in, false)
			got, ok := c.Changes(in)
			if ok == tt.not || !strings.Contains(strings.Join(got, "; "), tt.want) || tt.want == "" && len(got) > 0 {
				t.Errorf("%q, %v; want %q, %v", got, ok, tt.want, !tt.not)
			}
			if after := c.Decide(in, false); after.Reason != before.Reason || !slices.Equal(after.Checks, before.Checks) {
				t.Errorf("asking has changed %s into %s", before.Reason, after.Reason)
			}
		})
	}
}

// TestLastOpenTouchesTheClosing: a millisecond later the window is closed, at whatever time one asks.
func TestLastOpenTouchesTheClosing(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine that computes")
	}
	loc := zone(t, "Europe/Kyiv")
	for _, file := range []string{
		`window: {to: never, hours: "10:00-21:00", days: [mon, sat]}`, `window: {to: never, hours: "22:00-06:00", days: [sat]}`,
		`window: {to: never, days: [tue]}`, `window: {from: 2026-10-20T00:00, to: 2026-10-28T12:30, hours: ["03:00-04:00", "03:30-05:00"]}`,
	} {
		c := mustParse(t, strings.Replace(dayFile, "window: {from: 2026-11-28T10:00, to: 2026-11-28T21:00, hours: \"10:00-21:00\", days: [sat]}", file, 1))
		w := &c.Window
		found := 0
		for at := time.Date(2026, 10, 22, 0, 0, 0, 0, loc); at.Before(time.Date(2026, 11, 10, 0, 0, 0, 0, loc)); at = at.Add(17 * time.Minute) {
			if w.Check(at, loc) == "" {
				continue
			}
			last, ok := w.lastOpen(at, loc)
			if !ok {
				continue
			}
			found++
			if w.Check(last, loc) != "" || !last.Before(at) {
				t.Fatalf("%s: closed at %s, last open %s?", file, at, last)
			}
			for probe := last.Add(time.Millisecond); probe.Before(at); probe = probe.Add(5 * time.Minute) {
				if w.Check(probe, loc) == "" {
					t.Fatalf("%s: closed at %s, last open %s, but open at %s", file, at, last, probe)
				}
			}
		}
		if found < 100 {
			t.Errorf("%s: %d times only", file, found)
		}
	}
}
