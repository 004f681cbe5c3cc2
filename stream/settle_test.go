package stream

import (
	"fmt"
	"testing"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/reach"
	"footfall/receipt"
	"footfall/stream/wire"
	"footfall/track"
)

// settleEntries returns what settles n entries of n registered devices, one campaign for each, in one transaction.
func settleEntries(tb testing.TB) func(n int) {
	d, err := db.Open(db.Config{Dir: tb.TempDir(), InMemory: true, Now: func() time.Time { return noon }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = d.Close() })
	shop := store(tb, "k01", 50.4501, 30.5234)
	set, err := fences.NewSet([]fences.Fence{shop}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	list, err := campaign.Parse("test.yaml", []byte(`
campaign: welcome
trigger: {enter: {fences: {all: true}}}
window: {from: 2026-11-28T10:00, to: 2026-12-24T21:00, hours: "10:00-21:00"}
once_per: {day: store}
steps: [{push: {template: {locales: {en: {body: hi}}}}}]
`))
	if err != nil {
		tb.Fatal(err)
	}
	campaigns, err := campaign.NewSet(list)
	if err != nil {
		tb.Fatal(err)
	}
	count := new(counters)
	events, err := openEventLog(d, count, time.Now)
	if err != nil {
		tb.Fatal(err)
	}
	keys, err := receipt.NewKeyring(receipt.Secrets{make([]byte, 32)})
	if err != nil {
		tb.Fatal(err)
	}
	s := &settler{
		campaigns: func() *campaign.Set { return campaigns }, lane: func(string, *audience.Profile) (string, bool) { return "test", true },
		events: events, keys: keys, count: count, onPush: func() {},
		keep: keepAll, keepFacts: keepAll, keepCodes: keepAll, reports: keepAll, keepVisits: keepAll, keepEvents: keepAll, keepSketches: reach.Keep,
		journeys: func() *journeySet { return new(journeySet) }, wakes: newWakes(),
	}
	f := set.At(0)
	at, seen := noon.UnixMilli(), 0
	return func(n int) {
		group := &effects{inputs: make([]input, 0, n)}
		for range n {
			device := track.DeviceID(fmt.Sprintf("shop.device-%08d", seen))
			seen++
			fix := track.Fix{Lat: 50.4501, Lng: 30.5234, HasPosition: true, AccuracyM: 8, FixedAt: at, ReceivedAt: at + 40}
			group.inputs = append(group.inputs, input{
				kind: wire.KindPing, device: device, receivedAt: at + 40, set: set, fix: fix, row: make([]byte, 48), near: candidatesAt(set, &fix),
				at: Stages{CollectedUS: at * 1000, StoredUS: at*1000 + 500, DecidedUS: at*1000 + 700},
				transitions: []track.Transition{{
					Kind: track.Enter, Fence: f, FenceID: f.ID, At: at, ConfirmedAt: at, EnteredAt: at, Confidence: 3, Fix: fix, EdgeDistanceM: -163.4, CenterDistanceM: 36.6,
				}},
			})
		}
		err := d.Update(tb.Context(), func(tx *db.Tx) error {
			for i := range group.inputs {
				p := audience.Profile{Device: string(group.inputs[i].device), Person: "u" + string(group.inputs[i].device), Platform: "ios", Token: "token", TokenAt: at}
				if err := audience.Put(tx, &p); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			err = d.Update(tb.Context(), func(tx *db.Tx) error { return s.settle(tx, group) })
		}
		if err != nil {
			tb.Fatal(err)
		}
		if group.tally.deliveries != n {
			tb.Fatalf("%d deliveries for %d entries", group.tally.deliveries, n)
		}
	}
}

// BenchmarkSettle is what one entry costs the ledger's writer, the commit apart.
func BenchmarkSettle(b *testing.B) {
	run := settleEntries(b)
	b.ReportAllocs()
	for b.Loop() {
		run(64)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/entry")
	b.ReportMetric(0, "ns/op")
}
