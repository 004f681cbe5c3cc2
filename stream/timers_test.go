package stream

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"footfall/audience"
	"footfall/internal/db"
	"footfall/journey"
)

// TestManyTimersAtOnce: 10,000 waits that end in the same second all end, once each, among others that go on; waiting costs
// the gateway no memory. With FOOTFALL_LONG=1 a million others wait.
func TestManyTimersAtOnce(t *testing.T) {
	due, waiting := 10_000, 10_000
	if testing.Short() {
		due, waiting = 2_000, 1_000
	}
	if os.Getenv("FOOTFALL_LONG") != "" {
		waiting = 1_000_000
	}
	r := newRig(t)
	r.yaml = "journey: many\nentry: {event: view}\nwindow: {to: never}\nsteps: [{wait: 1h}, {tag: {waited: true}}, {wait: 30d}]\n"
	js, err := journey.Parse("test.yaml", []byte(r.yaml))
	if err != nil {
		t.Fatal(err)
	}
	j := js[0]
	r.start()
	began, bytes := time.Now(), 0
	const page = 500
	for from := 0; from < due+waiting; from += page {
		err := r.db.Update(t.Context(), func(tx *db.Tx) error {
			for i := from; i < from+page; i++ {
				p := audience.Profile{Device: fmt.Sprintf("shop.d%07d", i)}
				entered := noon
				if i >= due {
					entered = noon.Add(24 * time.Hour) // and so due a day later
				}
				run, _, _ := j.Step(journey.Run{}, journey.Input{Kind: journey.Enter, ID: fmt.Sprintf("%032x", i), At: entered.UnixMilli(), Props: map[string]any{"category": "phones"}}, journey.Facts{Profile: &p}, entered.UnixMilli())
				if i == 0 {
					row, _ := json.Marshal(&run)
					bytes = len(row) + 2*(len(j.ID)+len(p.Subject())) + 25 // and the marks in the keys of the run and its timer
				}
				if err := j.Put(tx, p.Subject(), &journey.Run{}, &run); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	written := time.Since(began)
	r.halt()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r.start()
	defer r.halt()
	runtime.GC()
	runtime.ReadMemStats(&after)
	r.clock.set(noon.Add(time.Hour))
	began = time.Now()
	r.await("the waits to end", func() bool { return r.gw.count.fired.Load() == int64(due) })
	took := time.Since(began)
	r.clock.set(noon.Add(time.Hour + time.Minute))
	r.rounds(2)
	if n := r.gw.count.fired.Load(); n != int64(due) {
		t.Errorf("%d waits have ended, want %d", n, due)
	}
	at := map[string]int{}
	err = r.db.View(func(tx *db.Tx) error {
		return journey.Runs(tx, "many", "", func(_ string, run *journey.Run) (bool, error) {
			at[fmt.Sprint(run.At, " ", len(run.Path))]++
			return true, nil
		})
	})
	if err != nil || at["3 1"] != due || at["1 0"] != waiting {
		t.Errorf("where they are: %v %v", at, err)
	}
	t.Logf("%d runs written in %v, %d bytes each with key and timer; the gateway began with %.1f MiB of live heap more; %d waits ended in %v, %.0f a second",
		due+waiting, written.Round(time.Millisecond), bytes, float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/(1<<20), due, took.Round(time.Millisecond), float64(due)/took.Seconds())
}
