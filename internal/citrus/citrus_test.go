package citrus

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestCitrusDay plays the day through the whole gateway and checks every person: as it comes; with the gateway
// killed at 14:00 (v1); with its log replayed and shuffled across the partitions, an hour at a time, and through
// the door again in other packages (v2); its recorded log also goes through a backtest (v8). Each run by itself has to give what the table says, and all of them the
// same decisions under the same ids, and the same notices.
//
// The short form has 2,000 people far away in place of 72,200; FOOTFALL_LONG=1 runs the full day.
func TestCitrusDay(t *testing.T) {
	if testing.Short() {
		t.Skip("plays four whole days")
	}
	day := New(Config{Seed: 18, FarAway: farAway()})
	t.Logf("%d people, %d messages", len(day.People), len(day.Messages))
	var plain, killed, replayed, repacked *result
	var rec recording
	// One after the other: side by side they would only wait for each other's fsyncs.
	t.Run("play", func(t *testing.T) {
		run := func(name string, play func(t *testing.T)) {
			t.Run(name, func(t *testing.T) {
				began := time.Now()
				play(t)
				t.Logf("took %v", time.Since(began).Round(100*time.Millisecond))
			})
		}
		run("plain", func(t *testing.T) {
			plain, rec = plainDay(t, day)
			plain.log(t)
			plain.check(t, tolerance{})
		})
		run("v1 killed at 14", func(t *testing.T) {
			killed = killedDay(t, day)
			killed.check(t, tolerance{restarted: true})
		})
		run("v2 repacked", func(t *testing.T) {
			repacked = repackedDay(t, day)
			repacked.check(t, tolerance{})
		})
	})
	if plain == nil || len(rec[0]) == 0 {
		t.Log("without the plain day there is nothing to compare with")
		return
	}
	t.Run("v2 replayed", func(t *testing.T) {
		began := time.Now()
		replayed = replayedDay(t, day, &rec)
		replayed.check(t, tolerance{replayed: true})
		t.Logf("took %v", time.Since(began).Round(100*time.Millisecond))
	})
	t.Run("v8 backtest", func(t *testing.T) { checkBacktest(t, day, &rec, plain.notified()) })
	want := plain.identities()
	t.Logf("%d decisions", len(want))
	for name, r := range map[string]*result{"v1 killed": killed, "v2 repacked": repacked, "v2 replayed": replayed} {
		if r == nil {
			continue // said why already
		}
		if d := cmp.Diff(want, r.identities()); d != "" {
			t.Errorf("%s: other decisions than on the plain day (-want +got):\n%.4000s", name, d)
		}
		if d := cmp.Diff(plain.notified(), r.notified()); d != "" {
			t.Errorf("%s: other notices than on the plain day (-want +got):\n%.4000s", name, d)
		}
		if d := cmp.Diff(plain.events, r.events); d != "" {
			t.Errorf("%s: other events than on the plain day (-want +got):\n%.4000s", name, d)
		}
	}
}
