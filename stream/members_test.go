package stream

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"footfall/audience"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/journey"
)

const joining = `segments:
  gold: 'tags.loyalty == "gold"'
  buyers: 'events("purchase", {within: "30d"}) >= 2'
  lost: 'segment("buyers") == false and events("purchase") >= 2'
  regulars: 'visits() >= 1'
---
journey: welcome
entry: {joins: gold}
window: {to: never}
steps: [{wait: 30d}]
---
journey: sorry
entry: {leaves: gold}
window: {to: never}
steps: [{wait: 30d}]
---
journey: thanks
entry: {joins: buyers}
window: {to: never}
goal: {joins: lost}
steps: [{wait: 90d}]
---
journey: again
entry: {joins: regulars}
window: {to: never}
steps: [{tag: {loyalty: gold}}]
`

// sweeps waits until all that can be found out about segments by now has been.
func (r *rig) sweeps() {
	r.t.Helper()
	r.settle()
	from := r.gw.swept.Load()
	r.gw.members.poke()
	r.await("a look at segments", func() bool {
		r.gw.members.poke()
		done := r.gw.swept.Load() >= from+3
		if done {
			done = r.db.View(func(tx *db.Tx) error {
				list, err := journey.Checks(tx, 1)
				done = done && len(list) == 0
				return err
			}) == nil && done
		}
		return done
	})
}

func (r *rig) tag(device, loyalty string) {
	r.t.Helper()
	tags := map[string]any{"loyalty": loyalty}
	if loyalty == "" {
		tags["loyalty"] = nil
	}
	r.mustAsk("device.shop."+device, map[string]any{"tags": tags})
}

func (r *rig) count(id, name string) int64 {
	r.t.Helper()
	return r.show(id, "").Counts[name]
}

// TestJourneyByJoining: who joins a segment, or leaves it, enters: by a tag that the app or a journey sets, an event, a visit, or
// because time passes; once each time, through restarts. Who was in it when the journey came has not joined.
func TestJourneyByJoining(t *testing.T) {
	r := newRig(t)
	r.start()
	r.tag("was", "gold")
	r.settle()
	r.yaml = joining
	r.apply()
	r.sweeps()
	r.tag("was", "gold")   // nothing new
	r.tag("new", "silver") // registers
	r.tag("new", "gold")
	r.tag("new", "gold")
	r.sweeps()
	r.awaitCounts("welcome", map[string]int64{"entered": 1})
	r.tag("was", "")
	r.sweeps()
	r.awaitCounts("sorry", map[string]int64{"entered": 1})
	r.halt()
	r.start()
	r.tag("was", "gold") // now it joins
	r.sweeps()
	r.awaitCounts("welcome", map[string]int64{"entered": 2})

	r.event("new", "p1", "purchase", "x")
	r.sweeps()
	if n := r.count("thanks", "entered"); n != 0 {
		t.Errorf("%d entered by one purchase", n)
	}
	r.event("new", "p2", "purchase", "x")
	r.event("new", "p3", "purchase", "x")
	r.event("new", "v", "view", "x") // of no concern
	r.sweeps()
	r.awaitCounts("thanks", map[string]int64{"entered": 1})
	if v := r.show("thanks", "shop.new"); v.Run == nil || v.Run.Cause[:6] != "joined" {
		t.Errorf("the run %+v", v.Run)
	}

	r.register("walker")
	r.mustAsk("ping.shop.walker", []map[string]any{ping(noon.Add(-time.Minute), 50.47, 30.53), ping(noon, 50.4501, 30.5234)})
	r.sweeps()
	r.awaitCounts("again", map[string]int64{"entered": 1})
	r.awaitCounts("welcome", map[string]int64{"entered": 3}) // by the tag that the other journey has set

	r.halt()
	r.clock.set(noon.Add(31 * 24 * time.Hour)) // no purchase within 30 days any more
	r.start()
	defer r.halt()
	r.awaitCounts("thanks", map[string]int64{"goal": 1, "ended.goal": 1})
	r.clock.set(noon.Add(32 * 24 * time.Hour))
	r.gw.ClockSet()
	r.sweeps()
	if a, b := r.count("welcome", "entered"), r.count("sorry", "entered"); a != 3 || b != 1 {
		t.Errorf("%d joined and %d left in all, want 3 and 1", a, b)
	}
}

// TestJoiningAsAPerson: a person is in a segment by any of their devices; signing in and out is no joining; who is forgotten is
// in nothing, and joins anew.
func TestJoiningAsAPerson(t *testing.T) {
	r := newRig(t)
	r.yaml = joining
	r.start()
	defer r.halt()
	r.sweeps()
	user := func(device string, who any) { r.mustAsk("device.shop."+device, map[string]any{"user": who}) }
	r.tag("a", "gold") // nobody is signed in
	r.sweeps()
	r.awaitCounts("welcome", map[string]int64{"entered": 1})
	user("a", "u1")
	r.sweeps()
	user("b", "u1")
	r.tag("b", "gold")
	r.sweeps()
	r.tag("a", "")
	r.sweeps() // still by b
	user("b", nil)
	r.sweeps() // b by itself, as before; u1 has only a
	r.awaitCounts("sorry", map[string]int64{"entered": 1})
	if n := r.count("welcome", "entered"); n != 1 {
		t.Errorf("%d joined, want 1: signing in and out is no joining", n)
	}
	f, err := r.gw.Forget(t.Context(), Someone{App: "shop", Device: "b"})
	if err != nil || f.Erased["journey runs and their timers"] == 0 {
		t.Errorf("forgotten: %+v %v", f, err)
	}
	r.tag("b", "gold")
	r.sweeps()
	r.awaitCounts("welcome", map[string]int64{"entered": 2})
}

// TestFirstLook: whom the first look at a segment has not come to, and who changes meanwhile, is told by who they were before; a
// segment that nobody waits for is forgotten, and begins anew.
func TestFirstLook(t *testing.T) {
	r := newRig(t)
	r.start()
	const people = 2*sweepPage + 1 - (2*sweepPage+1)%3
	for i := range people {
		r.tag(fmt.Sprintf("d%04d", i), "gold")
	}
	for _, d := range []string{"y", "z"} {
		r.mustAsk("device.shop."+d, map[string]any{"user": "two", "user_tags": map[string]any{"loyalty": "silver"}})
	}
	r.settle()
	r.yaml = joining
	r.apply()
	if a, err := r.gw.SetTags(t.Context(), TagRequest{Rows: []TagRow{{User: "two", Tags: []byte(`{"loyalty":"gold"}`)}}}); err != nil || a.Changed != 1 {
		t.Fatalf("tags: %+v, %v", a, err)
	}
	for i := range people { // while it goes on
		if i%3 == 0 {
			r.mustAsk("device.shop."+fmt.Sprintf("d%04d", i), map[string]any{"tags": map[string]any{"n": i}})
		} else if i%3 == 1 {
			r.tag(fmt.Sprintf("d%04d", i), "")
		}
	}
	r.halt()
	r.start()
	r.sweeps()
	r.awaitCounts("sorry", map[string]int64{"entered": people / 3})
	if n := r.count("welcome", "entered"); n != 1 {
		t.Errorf("%d joined, want one: the others were in it", n)
	}
	r.yaml = testCampaign // runs of sorry are under way; nobody enters any more
	r.apply()
	r.sweeps()
	states := map[string]journey.WatchState{}
	err := r.db.View(func(tx *db.Tx) (err error) {
		states, err = journey.WatchStates(tx)
		return err
	})
	if err != nil || len(states) != 1 { // the goal of thanks, which its version still has
		t.Errorf("still watched: %v %v", states, err)
	}
	r.yaml = joining
	r.apply()
	r.sweeps()
	r.halt()
	r.start()
	defer r.halt()
	r.sweeps()
	if n := r.count("welcome", "entered"); n != 1 {
		t.Errorf("%d joined by an edit of files", n-1)
	}
}

// TestJourneyStanding: who leaves both of two fences by one ping is out.
func TestJourneyStanding(t *testing.T) {
	r := newRig(t)
	r.fences = []fences.Fence{store(t, "k01", 50.4501, 30.5234), store(t, "k02", 50.4502, 30.5235)}
	r.yaml = "journey: s\nentry: {event: ordered}\nwindow: {to: never}\nsteps:\n  - wait_for: {up_to: 4h, branches: {here: {inside: {all: true}}}}\n" +
		"  - wait_for: {up_to: 4h, branches: {gone: {outside: {all: true}}}}\n"
	r.start()
	defer r.halt()
	r.register("a")
	r.mustAsk("ping.shop.a", []map[string]any{ping(noon.Add(-time.Minute), 50.47, 30.53), ping(noon, 50.4501, 30.5234)})
	r.event("a", "o", "ordered", "x")
	r.settle()
	r.awaitCounts("s", map[string]int64{"entered": 1, "step.1.here": 1, "step.2.gone": 0})
	r.clock.set(noon.Add(5 * time.Minute))
	r.mustAsk("ping.shop.a", []map[string]any{ping(noon.Add(3*time.Minute), 50.46, 30.53), ping(noon.Add(5*time.Minute), 50.4601, 30.53)})
	r.settle()
	r.awaitCounts("s", map[string]int64{"step.2.gone": 1, "ended.finished": 1})
}

// BenchmarkSweep is a sweep over profiles in memory, with a purchase and four views each, for one segment by events: what a joining
// by the passing of time is found by.
func BenchmarkSweep(b *testing.B) {
	const people = 20_000
	d, err := db.Open(db.Config{InMemory: true})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	now := time.Now()
	for from := 0; from < people; from += 200 {
		err := d.Update(b.Context(), func(tx *db.Tx) error {
			for i := from; i < from+200; i++ {
				p := audience.Profile{Device: fmt.Sprintf("shop.d%06d", i), Person: fmt.Sprintf("u%06d", i), Platform: "ios", Token: "t", Tags: map[string]any{"loyalty": "gold"}}
				if err := audience.Put(tx, &p); err != nil {
					return err
				}
				for k := range 5 {
					name := "view"
					if k == 0 {
						name = "purchase"
					}
					if err := audience.PutEvent(tx, p.Device, fmt.Sprint(i, k), name, now.Add(-time.Duration(k)*time.Hour).UnixMilli(), []byte(`{"category":"phones"}`), audience.KeepEvents); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	js, err := journey.Parse("bench.yaml", []byte(joining))
	if err != nil {
		b.Fatal(err)
	}
	set := &journeySet{active: map[string]*journey.Journey{}, versions: map[[2]string]*journey.Journey{}}
	for _, j := range js {
		if j.ID == "thanks" {
			j.Goal = nil // one segment
			set.active[j.ID], set.versions[[2]string{j.ID, j.Revision}] = j, j
		}
	}
	set.index()
	m, err := loadMembers(d, now)
	if err != nil {
		b.Fatal(err)
	}
	g := &Gateway{cfg: Config{DB: d, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)}, members: m}
	m.states[set.watches[0].ID] = journey.WatchState{Ready: 1}
	b.ReportAllocs()
	for b.Loop() {
		s := sweeper{g: g}
		for s.began.IsZero() || s.under {
			s.rest = time.Time{}
			if _, err := s.sweep(b.Context(), set); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/people, "µs/profile")
}
