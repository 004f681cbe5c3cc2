package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"footfall/internal/say"
	"footfall/push/fake"
	"footfall/receipt"
	"footfall/stream"
)

// writeFunnel prints what became of everything that came in: positions, entries, claims, pushes, and for the demo
// what the fake phones show. Positions are counted since the start, the rest since the ledger was made.
func writeFunnel(w io.Writer, s stream.Status, phones *fake.PhoneStats) {
	row := func(indent int, name string, n int64, detail string) {
		fmt.Fprintf(w, "  %-24s %10s  %s\n", strings.Repeat("  ", indent)+name, say.Thousands(n), detail)
	}
	fmt.Fprintln(w, "\nfunnel")
	row(0, "pings", s.Stats.Pings, say.Counts(s.Stats.Verdicts))
	if len(s.Stats.Refused) > 0 {
		row(1, "refused", stream.Total(s.Stats.Refused), say.Counts(s.Stats.Refused))
	}
	if len(s.Stats.Dropped) > 0 {
		row(1, "not taken", stream.Total(s.Stats.Dropped), say.Counts(s.Stats.Dropped))
	}
	all := s.Funnel[""]
	row(0, "entries", all["entered"], "")
	if n := all["no_campaign"]; n > 0 {
		row(1, "no campaign", n, "")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Funnel)) {
		if name == "" {
			continue
		}
		c := s.Funnel[name]
		held, pushes := map[string]int64{}, map[string]int64{}
		for outcome, n := range c {
			if reason, ok := strings.CutPrefix(outcome, "held."); ok {
				held[reason] = n
			} else if state, ok := strings.CutPrefix(outcome, "push."); ok {
				pushes[state] = n
			}
		}
		fmt.Fprintf(w, "  campaign %s\n", name)
		row(1, "claims", c["claimed"], "one per person and period")
		row(1, "held", stream.Total(held), say.Counts(held))
		row(1, "sent", c["sent"], "to a provider or the app")
		row(1, "pushed", pushes["accepted"], "accepted by the provider")
		for _, stage := range receipt.Stages() {
			if n := c[stage]; n > 0 {
				row(2, stage, n, fmt.Sprintf("%.1f %% of pushed", 100*float64(n)/float64(max(1, pushes["accepted"]))))
			}
		}
		delete(pushes, "accepted")
		if len(pushes) > 0 {
			row(1, "not pushed", stream.Total(pushes), say.Counts(pushes))
		}
		if open := c["claimed"] - c["push.accepted"] - stream.Total(pushes); open > 0 {
			row(1, "still owed", open, "sent when the gateway runs again")
		}
	}
	if phones != nil {
		row(0, "shown", phones.Shown, fmt.Sprintf("on %s fake phones", say.Thousands(phones.Phones)))
	}
}
