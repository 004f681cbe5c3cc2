package citrus

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"footfall/internal/stage"
	"footfall/receipt"
)

// report lets phones and tills speak at the end of a step.
func (p *player) report(now time.Time) {
	p.t.Helper()
	if p.reporter == nil {
		return
	}
	p.reporter.Look(now)
	for _, round := range stage.Rounds(p.reporter.Ready(now)) {
		p.send(round)
	}
}

// evening goes on, step by step, until all has been said.
func (p *player) evening(now time.Time) {
	p.t.Helper()
	if p.reporter == nil {
		return
	}
	for ; p.reporter.Due(); now = now.Add(p.step) {
		p.clockTo(now)
		p.report(now)
	}
	p.drain(0)
	if n := p.reporter.Waiting(); n > 0 {
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
