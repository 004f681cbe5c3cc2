package bench

import (
	"fmt"
	"testing"
	"time"

	"footfall/audience"
	"footfall/bench/world"
	"footfall/campaign"
	"footfall/fences"
	"footfall/track"
)

var campaignOperations = map[string]operation{
	"entry/campaigns=1":     func(tb testing.TB) func(int) { return entries(tb, 1) },
	"entry/campaigns=10000": func(tb testing.TB) func(int) { return entries(tb, 10_000) },
}

// manyCampaigns is n live campaigns of which the first is for the fence; the others are for other fences, other tags
// and other kinds of transition, and all begin on the same morning.
func manyCampaigns(tb testing.TB, n int) *campaign.Set {
	tb.Helper()
	parse := func(id, trigger string) *campaign.Campaign {
		text := fmt.Sprintf(`campaign: %s
trigger: %s
window: {from: 2026-11-28T10:00, to: 2026-12-24T21:00, hours: "10:00-21:00"}
steps: [{push: {template: {locales: {en: {body: hi}}}}}]
`, id, trigger)
		list, err := campaign.Parse("bench.yaml", []byte(text))
		if err != nil {
			tb.Fatal(err)
		}
		return list[0]
	}
	list := []*campaign.Campaign{parse("here", "{enter: {fences: {tag: kyiv}}}")}
	// Parsing each would take longer than the measurement; a copy under another id will do.
	kinds := []*campaign.Campaign{
		parse("id", "{enter: {fences: {id: x}}}"), parse("tag", "{enter: {fences: {tag: x}}}"), parse("exit", "{exit: {fences: {tag: kyiv}}}"), parse("dwell", "{dwell: {fences: {all: true}}}"),
	}
	for i := len(list); i < n; i++ {
		c := *kinds[i%len(kinds)]
		c.ID = fmt.Sprintf("c%d", i)
		switch i % len(kinds) {
		case 0:
			c.Trigger.Fences.IDs = []fences.ID{fences.ID(fmt.Sprintf("store-%07d", i))}
		case 1:
			c.Trigger.Fences.Tags = []string{fmt.Sprintf("city-%d", i)}
		}
		list = append(list, &c)
	}
	set, err := campaign.NewSet(list)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

// entries is what the settler asks the campaigns about one entry, with the reasons that explain shows.
func entries(tb testing.TB, n int) func(int) {
	set := manyCampaigns(tb, n)
	f := fenceList(world.Stores(1))[0]
	f.ID, f.Tags, f.Location = "k01", []string{"24h", "kyiv", "mall"}, time.FixedZone("EET", 2*3600)
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, f.Location)
	ms := at.UnixMilli()
	tr := track.Transition{Kind: track.Enter, Fence: &f, FenceID: f.ID, At: ms, ConfirmedAt: ms, EnteredAt: ms, Confidence: 3, Fix: track.Fix{FixedAt: ms}}
	profile := audience.Profile{Device: "shop.4f2a", Person: "u1", Platform: "ios", Token: "t"}
	var room [16]*campaign.Campaign
	return func(n int) {
		for range n {
			if len(set.Starting(room[:0], &f, at.Add(-time.Minute), at)) != 0 { // they began two hours ago
				tb.Fatal("a campaign begins")
			}
			for _, c := range set.For(room[:0], &tr) {
				d := c.Decide(campaign.Input{Tr: &tr, Profile: &profile, Now: at}, true)
				if d.Outcome != campaign.Propose {
					tb.Fatal(d.String())
				}
				sink += uint64(len(d.Checks))
			}
		}
	}
}

// BenchmarkEntry: an entry costs the same whatever runs elsewhere.
func BenchmarkEntry(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("campaigns=%d", n), func(b *testing.B) {
			run := entries(b, n)
			b.ReportAllocs()
			b.ResetTimer()
			run(b.N)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
		})
	}
}
