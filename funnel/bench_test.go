package funnel

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"footfall/internal/db"
	"footfall/receipt"
)

// BenchmarkMake makes a report of 20,000 entries, half of them pushes that were opened; the figure is for one entry.
func BenchmarkMake(b *testing.B) {
	const entries = 20_000
	w := &world{outcomes: map[string]Outcome{}, facts: map[string][]receipt.Fact{}, now: 20 * dayMS}
	for i := range entries {
		e := Entry{Campaign: "a", ID: fmt.Sprintf("%032d", i), At: 10*dayMS + int64(i), Fence: fmt.Sprintf("k%02d", i%10), Device: fmt.Sprintf("shop.d%d", i), Subject: fmt.Sprintf("d:shop.d%d", i), ReceivedAt: 10*dayMS + int64(i) + 900, DecidedAt: 10*dayMS + int64(i) + 910, Reason: "stale"}
		if i%2 == 0 {
			e.Reason, e.MID = "", fmt.Sprintf("%08d-6408-81e3-bed4-7f840af0ddef", i)
			w.outcomes[e.MID] = Outcome{State: Accepted, Asked: true, Leased: e.DecidedAt + 5, At: e.DecidedAt + 80}
			w.facts[e.MID] = []receipt.Fact{{Ev: receipt.Opened, At: e.DecidedAt + 1000}}
		}
		w.entries = append(w.entries, e)
	}
	d := w.store(b, rand.New(rand.NewPCG(1, 1)))
	b.ResetTimer()
	for range b.N {
		err := d.View(func(tx *db.Tx) error {
			r, err := Make(b.Context(), tx, w, Query{Campaign: "a", From: 10, To: 10}, w.now)
			if err == nil && r.Campaigns[0].Total.Opened != entries/2 {
				b.Fatalf("%+v", r.Campaigns[0].Total)
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/entries, "µs/entry")
}
