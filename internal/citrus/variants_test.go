package citrus

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/campaign"
	"footfall/funnel"
	"footfall/internal/stage"
	"footfall/push/fake"
)

// variant plays the people near the stores with another campaign file, without anybody who is far away: the day is that of
// TestCitrusDay, at its full size but for them.
func variant(t *testing.T, text string, evening func(p *player, day *Day, now time.Time), before ...func(*Day, *stage.Phones)) (*result, *Day) {
	t.Helper()
	if os.Getenv("FOOTFALL_LONG") == "" {
		t.Skip("plays a whole day; with FOOTFALL_LONG=1")
	}
	day := New(Config{Seed: 18})
	var clock stage.Clock
	clock.Forward(day.Begins)
	ph, dir := newPhones(t, clock.Now), t.TempDir()
	for _, prepare := range before {
		prepare(day, ph)
	}
	set := settings(ph, dir)
	set.Campaigns = text
	g, err := stage.Open(set, &clock)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayer(t, inProcess{g}, 3*time.Minute)
	for _, ms := range stage.Steps(day.Messages, p.step) {
		p.play(ms)
	}
	evening(p, day, p.end(&day.Messages[len(day.Messages)-1]))
	return p.finish(day, ph, dir, false), day
}

// TestGhostHoldout is variant v7: a tenth of those who have a notice coming is held out. 35.5 % of the notified buy, as in the
// campaign case, and every fifth of the others; their apps report it. The report says by how much that is more.
func TestGhostHoldout(t *testing.T) {
	text := strings.Replace(Campaign, "once_per:", "holdout: 10%\nonce_per:", 1)
	cs, err := campaign.Parse("campaign.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var ghosts, sends, bought, without int64
	r, _ := variant(t, text, func(p *player, day *Day, now time.Time) {
		var ms []Message
		reports := day.Reports()
		for i := range day.People {
			rep, has := reports[i]
			if !has {
				continue
			}
			buys := rep.Buys
			if cs[0].HeldOut("p:" + day.People[i].User) {
				if ghosts++; ghosts%5 == 0 {
					without++
				}
				buys = ghosts%5 == 0
			} else if sends++; buys {
				bought++
			}
			if buys {
				ms = append(ms, Message{Person: i, Subject: "event." + App + "." + day.People[i].Device, Payload: encode(map[string]any{
					"name": "purchase", "t": now.UnixMilli(), "id": "sale", "props": map[string]any{"value": 250, "currency": "UAH"},
				})})
			}
		}
		p.clockTo(now)
		p.send(ms)
		p.drain(0)
	})
	c := r.report.Campaigns[0]
	if ghosts+sends != 2600 || ghosts < 200 || ghosts > 320 || c.Total.Held[funnel.HeldOut] != ghosts || c.Total.Claimed != sends || c.Total.Accepted != sends {
		t.Errorf("%d ghosts and %d sends; the report has %+v", ghosts, sends, c.Total.Counts)
	}
	if n := len(r.notified()); int64(n) != sends {
		t.Errorf("%d phones show a notice, want %d", n, sends)
	}
	l := c.Lift
	if l == nil || l.Notified.People != sends || l.Holdout.People != ghosts || l.Notified.Converted != bought || l.Holdout.Converted != without {
		t.Fatalf("lift %+v, want %d of %d and %d of %d", l, bought, sends, without, ghosts)
	}
	if !l.Enough || l.DiffLow <= 0 || l.Diff < l.DiffLow || l.Diff > l.DiffHigh || l.Ratio < 1.4 || l.Ratio > 2.4 {
		t.Errorf("lift %+v", l)
	}
	t.Logf("%d ghosts, %d sends; %.1f %% against %.1f %%: %.1f points (%.1f to %.1f), %.2f times as many (%.2f to %.2f)", ghosts, sends,
		100*l.Notified.Rate, 100*l.Holdout.Rate, 100*l.Diff, 100*l.DiffLow, 100*l.DiffHigh, l.Ratio, l.RatioLow, l.RatioHigh)
}

// TestRollingDay is variant v5, which the calendar decides: somebody who comes in the evening at 20:00 and again at 10:30 next
// day gets two notices under a day of the store, and one under 24 rolling hours.
func TestRollingDay(t *testing.T) {
	for once, want := range map[string]int{"{day: store}": 2, "{rolling: PT24H}": 1} {
		text := strings.NewReplacer("once_per: {day: store}", "once_per: "+once, "to: 2026-11-28T21:00", "to: 2026-11-29T21:00").Replace(Campaign)
		if !strings.Contains(text, once) || !strings.Contains(text, "11-29") {
			t.Fatal("the campaign file has another form")
		}
		if got := comeTwice(t, text, clock(20, 0), clock(34, 30)); got != want {
			t.Errorf("once per %s: %d notices, want %d", once, got, want)
		}
	}
}

// TestDayOf25Hours is variant v6: the same on the last Sunday of October, whose night is an hour longer. 23 hours of the wall
// clock later are 24 hours, so the rolling claim is free again, and the day is another one.
func TestDayOf25Hours(t *testing.T) {
	at := func(hour int) time.Time { // of the wall in Kyiv: from Saturday on, summer time until 04:00 on Sunday
		loc, err := time.LoadLocation(Zone)
		if err != nil {
			t.Fatal(err)
		}
		return time.Date(2026, 10, 24, hour, 30, 0, 0, loc)
	}
	base := strings.NewReplacer("from: 2026-11-28T10:00", "from: 2026-10-24T00:00", "to: 2026-11-28T21:00", "to: 2026-10-27T00:00")
	for _, tt := range []struct {
		once  string
		first int
		again int // hours of the wall clock from Saturday 00:00
		want  int
	}{
		{"{day: store}", 12, 24 + 11, 2},
		{"{rolling: PT24H}", 12, 24 + 11, 2}, // 23 hours by the wall, 24 by the clock
		{"{rolling: PT24H}", 12, 24 + 10, 1},
		{"{day: store}", 24, 24 + 23, 1}, // both ends of the long Sunday: 00:30 and 23:30, 24 hours apart
		{"{rolling: PT24H}", 24, 24 + 23, 2},
	} {
		text := strings.Replace(base.Replace(Campaign), "once_per: {day: store}", "once_per: "+tt.once, 1)
		if got := comeTwice(t, text, at(tt.first), at(tt.again)); got != tt.want {
			t.Errorf("once per %s, from hour %d to %d: %d notices, want %d", tt.once, tt.first, tt.again, got, tt.want)
		}
	}
}

// comeTwice has one phone come to a store at two times and returns its notices.
func comeTwice(t *testing.T, text string, times ...time.Time) int {
	t.Helper()
	var vc stage.Clock
	vc.Forward(times[0].Add(-time.Hour))
	ph, dir := newPhones(t, vc.Now), t.TempDir()
	set := settings(ph, dir)
	set.Campaigns = text
	g, err := stage.Open(set, &vc)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayer(t, inProcess{g}, 3*time.Minute)
	say := func(class string, v any) {
		p.send([]Message{{Subject: class + "." + App + ".once", Payload: encode(v)}})
	}
	token := strings.Repeat("ab", 32)
	say("device", map[string]any{"platform": "ios", "token": token, "locale": "en"})
	for _, at := range times {
		vc.Forward(at)
		say("ping", []ping{fixAt(at.Add(-2*time.Minute), offset(stores[0].Center, 0, 400), 8), fixAt(at, offset(stores[0].Center, 0, 40), 8)})
		p.drain(0)
	}
	p.nc.Close()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	mids := map[string]bool{}
	for _, s := range ph.Book.Shown(token) {
		mids[s.MID] = true
	}
	if len(mids) == 0 {
		t.Errorf("nothing was shown for %v", times)
	}
	return len(mids)
}

// TestDeadTokens is variant v3: the tokens of thirty people are refused as dead. They get no notice, their claims are free
// again, and their devices are no longer pushed to.
func TestDeadTokens(t *testing.T) {
	const dead = 30
	var gone []string
	r, day := variant(t, Campaign, func(*player, *Day, time.Time) {}, func(day *Day, ph *stage.Phones) {
		for i := range day.People {
			if p := &day.People[i]; p.Group == G1 && p.Platform == "ios" && len(gone) < dead {
				ph.APNs.SetToken(p.Token, fake.TokenGone, time.Time{})
				gone = append(gone, p.User)
			}
		}
	})
	c := r.report.Campaigns[0].Total
	if n := len(r.notified()); n != 2600-dead || c.Claimed != 2600 || c.Accepted != 2600-dead || c.Reached != 2600-dead || c.NotSent["failed"] != dead {
		t.Errorf("%d phones show a notice, want %d; the report has %+v", n, 2600-dead, c.Counts)
	}
	notified := r.notified()
	for i := range day.People {
		closed := slices.Contains(gone, day.People[i].User)
		if e := r.stored[i]; closed && (e.Reachable || notified[day.People[i].User] != "") || !closed && !e.Reachable {
			t.Errorf("%s: reachable %v, notice %q", day.People[i].Device, e.Reachable, notified[day.People[i].User])
		}
	}
}

// TestConfidentGlitches is variant v4: a phone that lies still, whose position jumps by 200 m and more for one fix at a
// time while it claims an accuracy of a few metres. The times, distances and accuracies are those that were reported from
// the field for a fence of 50 m (Ikolvi/Tracelet issue 294). Nothing in one such fix tells it from a walk, so each makes an
// exit and the next one an entry; the claim is what keeps the notices at one, and the others are held for that reason.
func TestConfidentGlitches(t *testing.T) {
	glitches := []struct {
		at          string
		metres, acc float64
	}{
		{"09:53:10", 330, 8}, {"09:53:40", 140, 8}, // comes
		{"09:54:06", 8.2, 8}, {"09:54:18", 200.2, 1.9}, {"09:54:30", 9.6, 8}, {"09:55:25", 198.1, 1.7}, {"09:55:46", 10.1, 8},
		{"09:56:33", 198.1, 9.1}, {"09:56:38", 45.3, 8}, {"09:58:02", 301.8, 4.4}, {"09:58:31", 8.9, 8}, {"10:01:15", 717.6, 10.9},
		{"10:01:44", 9.2, 8}, {"10:03:00", 93.8, 5}, {"10:03:46", 9.9, 8},
	}
	text := strings.Replace(Campaign, "from: 2026-11-28T10:00", "from: 2026-11-28T00:00", 1)
	if !strings.Contains(text, "from: 2026-11-28T00:00") {
		t.Fatal("the campaign file has another form")
	}
	for name, turn := range map[string]float64{"the same way": 0, "another way each time": 110} {
		var vc stage.Clock
		vc.Forward(clock(9, 50))
		ph, dir := newPhones(t, vc.Now), t.TempDir()
		set := settings(ph, dir)
		set.Campaigns = text
		set.Fences = bytes.ReplaceAll(Fences(), []byte(`"radius": 200`), []byte(`"radius": 50`))
		g, err := stage.Open(set, &vc)
		if err != nil {
			t.Fatal(err)
		}
		p, err := stage.Attach(g)
		if err != nil {
			t.Fatal(err)
		}
		token := strings.Repeat("cd", 32)
		play := func(at time.Time, class string, v any) {
			t.Helper()
			if err := p.Play(at, []Message{{Subject: class + "." + App + ".still", Payload: encode(v)}}); err != nil {
				t.Fatal(err)
			}
		}
		play(clock(9, 51), "device", map[string]any{"platform": "ios", "token": token, "locale": "en"})
		for i, f := range glitches {
			at, err := time.Parse(time.TimeOnly, f.at)
			if err != nil {
				t.Fatal(err)
			}
			when := clock(at.Hour(), at.Minute()).Add(time.Duration(at.Second()) * time.Second)
			play(when.Add(time.Second), "ping", fixAt(when, offset(stores[0].Center, 20+turn*float64(i/2), f.metres), f.acc))
		}
		status := g.Status()
		p.Close()
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		f, enters := status.Funnel[CampaignID], status.Stats.Kinds["enter"]
		if n := len(ph.Book.Shown(token)); n != 1 || ph.Book.Stats().Shown != 1 || enters < 2 || f["held.already_claimed"] != enters-1 {
			t.Errorf("%s: %d notices, %d entries, funnel %v; want one notice, the other entries held", name, n, enters, f)
		}
	}
}
