package journey

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"footfall/internal/db"
)

// TestTimersFollowRuns: a run has one timer while it waits and none when it has ended; parked ones come back; versions
// and runs are what they were; a run that has ended is forgotten when the re-entry rule allows.
func TestTimersFollowRuns(t *testing.T) {
	now := time.UnixMilli(t0)
	d, err := db.Open(db.Config{InMemory: true, NoCompaction: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	j := mustParse(t, lunch)
	update := func(fn func(tx *db.Tx) error) {
		t.Helper()
		if err := d.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	timers := func(to int64) (list []string) {
		t.Helper()
		err := d.View(func(tx *db.Tx) error {
			for shard := range Shards {
				_, _, err := Wakes(tx, shard, 0, nil, to, func(m Wake) (bool, error) {
					if Shard(m.Subject) != shard {
						t.Errorf("%s is in shard %d", m.Subject, shard)
					}
					list = append(list, fmt.Sprint(m.Subject, " ", (m.Due-t0)/hour))
					return true, nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(list)
		return list
	}
	step := func(subject string, in Input) (run Run) {
		t.Helper()
		update(func(tx *db.Tx) error {
			old, err := Get(tx, j.ID, subject)
			if err != nil {
				return err
			}
			p := phone()
			p.Person = subject
			var changed bool
			if run, _, changed = j.Step(old, in, Facts{Profile: p}, tx.Now().UnixMilli()); !changed {
				return nil
			}
			return j.Put(tx, subject, &old, &run)
		})
		return run
	}
	update(j.Store)
	for i := range 3 {
		step(fmt.Sprint("p:u", i), Input{Kind: Enter, ID: "e", Props: category("phones")})
	}
	if got := timers(t0 + 25*hour); !slices.Equal(got, []string{"p:u0 24", "p:u1 24", "p:u2 24"}) {
		t.Errorf("timers %v", got)
	}
	if got := timers(t0 + 24*hour); got != nil {
		t.Errorf("due before their time: %v", got)
	}
	step("p:u0", Input{Kind: Event, ID: "b", At: t0, Name: "purchase", Props: category("phones")})
	if got := timers(t0 + 99*hour); !slices.Equal(got, []string{"p:u1 24", "p:u2 24"}) {
		t.Errorf("after one has bought: %v", got)
	}
	update(func(tx *db.Tx) error { return Park(tx, Wake{j.ID, "p:u1", t0 + 24*hour}) })
	if got := timers(t0 + 99*hour); !slices.Equal(got, []string{"p:u2 24"}) {
		t.Errorf("parked: %v", got)
	}
	update(func(tx *db.Tx) error {
		list, err := Unpark(tx, j.ID, 10)
		if len(list) != 1 {
			t.Errorf("unparked %v", list)
		}
		return err
	})
	now = now.Add(24 * time.Hour)
	if run := step("p:u1", Input{Kind: Timer}); run.At != "3" {
		t.Errorf("moved on to %+v", run)
	}
	if got := timers(t0 + 99*hour); !slices.Equal(got, []string{"p:u1 25", "p:u2 24"}) {
		t.Errorf("after one has moved on: %v", got)
	}
	var versions []*Journey
	update(func(tx *db.Tx) (err error) {
		versions, _, err = Load(tx)
		return err
	})
	if len(versions) != 1 || versions[0].Revision != j.Revision || len(versions[0].steps) != len(j.steps) {
		t.Errorf("versions %v", versions)
	}
	now = now.Add(keepEnded)
	var subjects []string
	update(func(tx *db.Tx) error {
		return Runs(tx, j.ID, "", func(s string, r *Run) (bool, error) {
			subjects = append(subjects, s)
			return true, nil
		})
	})
	if !slices.Equal(subjects, []string{"p:u1", "p:u2"}) {
		t.Errorf("runs %v", subjects)
	}
}

// BenchmarkStep: one event that a waiting run does not wait for, and one that moves it on.
func BenchmarkStep(b *testing.B) {
	j := mustParse(b, lunch)
	run, _, _ := j.Step(Run{}, Input{Kind: Enter, ID: "e", Props: category("phones")}, Facts{Profile: phone()}, t0)
	for _, name := range []string{"other", "purchase"} {
		b.Run("event="+name, func(b *testing.B) {
			b.ReportAllocs()
			in := Input{Kind: Event, ID: "b", At: t0, Name: name, Props: category("phones")}
			for b.Loop() {
				if _, _, changed := j.Step(run, in, Facts{Profile: phone()}, t0+1); changed != (name == "purchase") {
					b.Fatal("another outcome")
				}
			}
		})
	}
}
