package stream

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"footfall/internal/db"
	"footfall/journey"
)

// TestVersionsRetire: a version that is not in the files is kept while somebody is under way by it and for as long as reports are
// kept after that, through restarts; then it is gone, and with the last one the journey, but not what an operator has said.
func TestVersionsRetire(t *testing.T) {
	const text = "journey: v\nentry: {event: view}\nwindow: {to: never}\nreentry: never\nsteps: [{wait: 10d}, {emit: %s}]\n"
	r := newRig(t)
	r.tune = func(c *Config) { c.Reports = 9 * 24 * time.Hour }
	day := func(n float64) { r.clock.set(noon.Add(time.Duration(n * 24 * float64(time.Hour)))) }
	versions := func() (list []string) {
		t.Helper()
		if _, err := r.gw.retireVersions(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := r.db.View(func(tx *db.Tx) error {
			js, _, err := journey.Load(tx)
			for _, j := range js {
				list = append(list, j.Revision)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(list)
		return list
	}
	r.yaml = fmt.Sprintf(text, "one")
	r.start()
	r.event("a", "va", "view", "x")
	r.settle()
	r.yaml = fmt.Sprintf(text, "two")
	r.apply()
	r.event("b", "vb", "view", "x")
	r.settle()
	if got := versions(); len(got) != 2 {
		t.Fatalf("versions %q", got)
	}
	for _, at := range []float64{8, 9.6} { // a is under way until day 10
		r.halt()
		day(at)
		r.start()
		if got := versions(); len(got) != 2 {
			t.Fatalf("on day %v: versions %q", at, got)
		}
	}
	day(10.01)
	r.awaitCounts("v", map[string]int64{"ended.finished": 2})
	day(18.8) // 9.2 days after it was last seen in use
	if got := versions(); len(got) != 2 {
		t.Fatalf("before the reports are over: versions %q", got)
	}
	day(18.9)
	if got := versions(); len(got) != 1 {
		t.Fatalf("after the reports: versions %q", got)
	}
	r.event("a", "va2", "view", "x") // reentry: never holds, whatever the version
	r.settle()
	r.awaitCounts("v", map[string]int64{"entered": 2, "held.once": 1})

	if _, err := r.gw.PauseJourney(t.Context(), "v"); err != nil {
		t.Fatal(err)
	}
	r.yaml = testCampaign
	r.apply()
	versions()
	day(20)
	r.yaml = fmt.Sprintf(text, "two") // it is back, and gone again: that counts from now
	r.apply()
	r.yaml = testCampaign
	r.apply()
	versions()
	day(29)
	if got := versions(); len(got) != 1 {
		t.Fatalf("versions %q", got)
	}
	day(30)
	if got := versions(); len(got) != 0 {
		t.Fatalf("versions %q", got)
	}
	if views, err := r.gw.JourneyViews(); err != nil || len(views) != 0 {
		t.Errorf("journeys %+v %v", views, err)
	}
	r.halt()
	r.yaml = fmt.Sprintf(text, "three")
	r.start()
	defer r.halt()
	if v := r.show("v", ""); v.State != "paused" || len(v.Counts) != 0 || v.Looked != 0 {
		t.Errorf("back after all was gone: %+v", v)
	}
}
