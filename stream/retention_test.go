package stream

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"footfall/audience"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/outbox"
)

// TestInputLeavesTheLog: what a phone has sent is in no file of the input log any more when it has reached the age that is
// configured, also when nothing else comes.
func TestInputLeavesTheLog(t *testing.T) {
	r := newRig(t)
	r.tune = func(c *Config) { c.Log.MaxAge, c.Checkpoint = 500*time.Millisecond, 100*time.Millisecond }
	r.start()
	defer r.halt()
	there := func() bool {
		return len(r.inLog(func(data []byte) bool { return bytes.Contains(data, []byte("zz9word")) })) > 0
	}
	for i := 0; ; i++ { // on a busy machine it may have gone before it is looked for
		r.mustAsk("event.shop.d1", map[string]any{"name": "zz9word", "t": noon.UnixMilli(), "id": fmt.Sprint(i)})
		if there() {
			break
		}
	}
	r.await("the input to leave", func() bool { return !there() })
}

// TestRetentionByKind: each kind of fact is there until its own time has passed, and then for no reader any more.
func TestRetentionByKind(t *testing.T) {
	keep := map[string]time.Duration{
		"decisions": time.Hour, "deliveries": 2 * time.Hour, "visits": 3 * time.Hour, "customer events": 4 * time.Hour, "reports": 5 * time.Hour,
	}
	r := newRig(t)
	r.tune = func(c *Config) {
		c.Decisions, c.Outbox.KeepFinished, c.Visits, c.CustomerEvents, c.Reports = keep["decisions"], keep["deliveries"], keep["visits"], keep["customer events"], keep["reports"]
		c.Events.MaxAge = 6 * time.Hour
	}
	r.start()
	defer r.halt()
	r.register("d1")
	r.mustAsk("ping.shop.d1", ping(noon, 50.4501, 30.5234))
	r.mustAsk("event.shop.d1", map[string]any{"name": "purchase", "t": noon.UnixMilli(), "id": "o1"})
	r.await("the push", func() bool { return len(r.provider.pushes()) == 1 })
	r.settle()
	mid := r.provider.pushes()[0].MID
	// What the phone and the till sent is in EVENTS for as long as that is told; of the log see TestInputLeavesTheLog.
	s, err := r.gw.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.CachedInfo().Config.MaxAge; got != 6*time.Hour {
		t.Errorf("EVENTS keeps %s, want 6h", got)
	}
	kept := func() []string {
		t.Helper()
		found := map[string]bool{}
		err := r.db.View(func(tx *db.Tx) error {
			p, err := profileOf(tx, "shop.d1")
			if err != nil {
				return err
			}
			decisions, _, err := Decisions(tx, "shop.d1", 0, 0, 10)
			if err != nil {
				return err
			}
			visits, err := audience.VisitsOf(tx, &p)
			if err != nil {
				return err
			}
			events, err := audience.EventsOf(tx, &p)
			if err != nil {
				return err
			}
			delivery, _, err := outbox.Get(tx, mid)
			if err != nil {
				return err
			}
			day := funnel.DayOf(noon.UnixMilli(), 120)
			report, err := funnel.Make(t.Context(), tx, people{tx: tx}, funnel.Query{From: day, To: day}, r.clock.now().UnixMilli())
			if err != nil {
				return err
			}
			found["decisions"], found["visits"], found["customer events"], found["deliveries"] = len(decisions) > 0, len(visits) > 0, len(events) > 0, delivery.State.Final()
			found["reports"] = len(report.Campaigns) > 0
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(found, func(_ string, there bool) bool { return !there })
		return slices.Sorted(maps.Keys(found))
	}
	r.await("the outcome", func() bool { return len(kept()) == len(keep) })
	for hours := range 6 {
		for _, minutes := range []int{-1, 1} { // around the hour at which one kind ends
			after := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
			if after < 0 {
				continue
			}
			r.clock.set(noon.Add(after))
			var want []string
			for _, kind := range slices.Sorted(maps.Keys(keep)) {
				if keep[kind] > after {
					want = append(want, kind)
				}
			}
			if got := kept(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("after %s there are %v, want %v", after, got, want)
			}
		}
	}
}
