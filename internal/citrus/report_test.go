package citrus

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/receipt"
)

// reporter is what phones and tills do about the notices: a phone reports its notice when it shows it, some people open
// it a little later, and some of these buy an hour or more after that, at a till that sends the code of the notice.
type reporter struct {
	day     *Day
	phones  *phones
	reports map[int]Report
	waiting []int // people whose notice has not been seen yet
	due     []Message
	sales   int
}

func newReporter(day *Day, ph *phones) *reporter {
	r := &reporter{day: day, phones: ph, reports: day.Reports()}
	for i := range day.People {
		if _, ok := r.reports[i]; ok {
			r.waiting = append(r.waiting, i)
		}
	}
	return r
}

// look finds the notices that have come up and plans what is said of them; now is the time of the day.
func (r *reporter) look(now time.Time) {
	r.waiting = slices.DeleteFunc(r.waiting, func(i int) bool {
		p := &r.day.People[i]
		shown := r.phones.book.Shown(p.Token)
		if len(shown) == 0 {
			return false
		}
		s := &shown[0]
		say := func(after time.Duration, ev string) {
			r.due = append(r.due, Message{SendAt: now.Add(after), Person: i, Subject: "receipt." + App + "." + p.Device, Payload: encode(map[string]any{
				"mid": s.MID, "k": s.Key, "ev": ev, "t": s.At.Add(after).UnixMilli(),
			})})
		}
		say(0, receipt.Delivered)
		if r.reports[i].Opens {
			say(4*time.Minute, receipt.Opened)
			if i%5 == 0 { // the answer was lost
				say(7*time.Minute, receipt.Opened)
			}
		}
		if r.reports[i].Buys {
			_, code, _ := strings.Cut(s.Link, "?code=")
			at := now.Add(time.Hour + time.Duration(i%40)*time.Minute)
			till := i % len(stores)
			r.sales++
			r.due = append(r.due, Message{SendAt: at, Person: -100 - till, Subject: fmt.Sprintf("event.%s.till-%d", App, till), Payload: encode(map[string]any{
				"name": "purchase", "t": at.UnixMilli(), "id": "sale-" + p.Device,
				"props": map[string]any{"code": strings.ToLower(code), "value": 100 + i%900, "currency": "UAH"},
			})})
		}
		return true
	})
}

// ready takes out what is to be said by now.
func (r *reporter) ready(now time.Time) (out []Message) {
	r.due = slices.DeleteFunc(r.due, func(m Message) bool {
		if m.SendAt.After(now) {
			return false
		}
		out = append(out, m)
		return true
	})
	return out
}

// report lets phones and tills speak at the end of a step.
func (p *player) report(now time.Time) {
	p.t.Helper()
	if p.reporter == nil {
		return
	}
	p.reporter.look(now)
	for _, round := range rounds(p.reporter.ready(now)) {
		p.send(round)
	}
}

// evening goes on, step by step, until all has been said.
func (p *player) evening(now time.Time) {
	p.t.Helper()
	if p.reporter == nil {
		return
	}
	for ; len(p.reporter.due) > 0; now = now.Add(p.step) {
		p.clockTo(now)
		p.report(now)
	}
	p.drain(0)
	if n := len(p.reporter.waiting); n > 0 {
		p.t.Errorf("%d phones never showed their notice", n)
	}
}

// checkReport: what `footfall campaign report` says of the day is what the table of the day says, and what the gateway has
// counted.
func (r *result) checkReport(t *testing.T) {
	t.Helper()
	want, f := r.day.Totals(), r.funnel[CampaignID]
	c := r.report.Campaigns[0].Total
	for what, tt := range map[string]struct{ got, want int64 }{
		"entered":  {c.Entered, int64(want.Entries + want.Begun)},
		"people":   {c.People, int64(want.Entered)},
		"claimed":  {c.Claimed, int64(want.Notices)},
		"sent":     {c.Sent, f["sent"]},
		"accepted": {c.Accepted, int64(want.Notices)},
		"reached":  {c.Reached, int64(want.Notices)},
		"owed":     {c.Owed, 0},
	} {
		if tt.got != tt.want {
			t.Errorf("report: %s is %d, want %d", what, tt.got, tt.want)
		}
	}
	for reason, n := range want.Held {
		if c.Held[reason] != int64(n) {
			t.Errorf("report: %d held as %s, want %d", c.Held[reason], reason, n)
		}
	}
	rates := map[string]string{}
	for _, k := range r.report.Campaigns[0].Rates {
		rates[k.Name] = fmt.Sprintf("%d/%d = %.1f %% = %.2f %%", k.Part, k.Whole, 100*k.Rate, 100*k.Rate)
	}
	for name, want := range map[string]string{
		"CTR of pushed":        "976/2600 = 37.5 % = 37.54 %",
		"CTR of all meant":     "976/2750 = 35.5 % = 35.49 %", // with those who opted out
		"conversion":           "924/2600 = 35.5 % = 35.54 %",
		"conversion of opened": "924/976 = 94.7 % = 94.67 %",
	} {
		if rates[name] != want {
			t.Errorf("report: %s is %s, want %s", name, rates[name], want)
		}
	}
	for _, k := range r.report.Campaigns[0].Attribution { // all that was bought was bought by one who had opened
		if k.Conversions != Purchased || k.People != Purchased {
			t.Errorf("report: %d conversions of %d people are credited to %s, want %d", k.Conversions, k.People, k.Model, Purchased)
		}
	}
}

// checkReports: the funnel of the campaign case, from the ledger's own counts.
func (r *result) checkReports(t *testing.T) {
	t.Helper()
	f := r.funnel[CampaignID]
	entered, opened, purchased := f["claimed"], f[receipt.Opened], f[receipt.Converted]
	ofEntered, ofOpened := 100*float64(purchased)/float64(entered), 100*float64(purchased)/float64(max(1, opened))
	t.Logf("%d entered / %d opened / %d purchased = %.1f %% of entered and %.2f %% of opened", entered, opened, purchased, ofEntered, ofOpened)
	if entered != 2600 || opened != Opened || purchased != Purchased || fmt.Sprintf("%.1f %.2f", ofEntered, ofOpened) != "35.5 94.67" {
		t.Error("want 2,600 entered / 976 opened / 924 purchased = 35.5 % of entered and 94.67 % of opened")
	}
	reports := r.day.Reports()
	counted := map[string]int64{} // anew, from the facts about every single notice
	for i := range r.stored {
		for _, d := range r.stored[i].Deliveries {
			var got []string
			for _, f := range d.Receipts {
				got = append(got, f.Ev)
			}
			want := []string{receipt.Delivered}
			if rep := reports[i]; rep.Buys {
				want = []string{receipt.Converted, receipt.Delivered, receipt.Opened}
			} else if rep.Opens {
				want = append(want, receipt.Opened)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v was reported, want %v", r.day.People[i].Device, got, want)
			}
			for _, s := range receipt.Reached(d.Receipts) {
				counted[s]++
			}
		}
	}
	for _, s := range receipt.Stages() {
		if counted[s] != f[s] {
			t.Errorf("%s: the funnel says %d, the facts %d", s, f[s], counted[s])
		}
	}
}
