package stream

import (
	"fmt"
	"testing"
	"time"

	"footfall/fences"
	"footfall/geo"
)

// visit is one step of a walk through days: where the device is when, and how many pushes there are then.
type visit struct {
	at     string // in the store's zone
	inside bool
	pushes int
}

// TestDaysAndSilence walks one device through midnights, a day of 25 hours and long silences. Staying over midnight
// is no new entry; leaving and coming back on the new day is; a return after a silence of more than twelve hours is
// an entry, and the day's claim decides whether it pushes.
func TestDaysAndSilence(t *testing.T) {
	for _, tt := range []struct {
		name, zone string
		visits     []visit
	}{
		{"over midnight", "Asia/Tashkent", []visit{
			{"2026-11-27 23:40", false, 0}, {"2026-11-27 23:50", true, 1}, {"2026-11-28 00:05", true, 1}, {"2026-11-28 00:10", true, 1},
			{"2026-11-28 00:15", false, 1}, {"2026-11-28 00:20", true, 2}, {"2026-11-28 00:30", false, 2}, {"2026-11-28 23:50", true, 2},
		}},
		{"a day of 25 hours", "Europe/Kyiv", []visit{
			{"2026-10-25 00:10", true, 1}, {"2026-10-25 01:00", false, 1}, {"2026-10-25 10:00", true, 1}, {"2026-10-25 10:10", false, 1},
			{"2026-10-25 23:50", true, 1}, {"2026-10-26 00:00", false, 1}, {"2026-10-26 00:10", true, 2},
		}},
		{"silence, back on the same day", "Europe/Kyiv", []visit{{"2026-11-28 08:00", true, 1}, {"2026-11-28 21:00", true, 1}}},
		{"silence, back on the next day", "Europe/Kyiv", []visit{{"2026-11-28 20:00", true, 1}, {"2026-11-29 10:00", true, 2}}},
		{"short silence over midnight", "Europe/Kyiv", []visit{{"2026-11-28 20:00", true, 1}, {"2026-11-29 07:00", true, 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			loc := mustZone(tt.zone)
			for i := range r.fences {
				r.fences[i].Zone, r.fences[i].Location = tt.zone, loc
			}
			r.start()
			defer r.halt()
			first := r.moment(tt.visits[0].at, loc)
			r.clock.set(first.Add(-time.Minute))
			r.register("d1")
			for _, v := range tt.visits {
				at := r.moment(v.at, loc)
				r.clock.set(at)
				lat := 50.4501
				if !v.inside {
					lat = 50.4540
				}
				r.mustAsk("ping.shop.d1", ping(at, lat, 30.5234))
				r.settle()
				r.await(fmt.Sprintf("%d pushes at %s", v.pushes, v.at), func() bool { return len(r.provider.pushes()) >= v.pushes })
				if n := len(r.provider.pushes()); n != v.pushes {
					t.Fatalf("%s: %d pushes, want %d", v.at, n, v.pushes)
				}
			}
		})
	}
}

func (r *rig) moment(text string, loc *time.Location) time.Time {
	r.t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04", text, loc)
	if err != nil {
		r.t.Fatal(err)
	}
	return at
}

// TestEditsPushNobody shrinks a fence under a device, lets it grow back, renames and deletes it: presence follows,
// with the edit as its reason, nobody is pushed to for it, and the day's claim stays taken.
func TestEditsPushNobody(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	r.register("d1")
	const lat = 50.4501 + 150.0/111_230 // 150 m north of the door
	now := noon
	step := func(edit func(*fences.Fence), kind, reason string, kinds int64) {
		t.Helper()
		edited := append([]fences.Fence(nil), r.fences...)
		edit(&edited[0])
		if edited[0].ID == "" {
			edited = edited[1:]
		}
		if _, err := r.gw.SetFences(t.Context(), edited); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
		r.clock.set(now)
		r.mustAsk("ping.shop.d1", ping(now, lat, 30.5234))
		r.settle()
		if got := Total(r.gw.Status().Stats.Kinds); got != kinds {
			t.Fatalf("%d transitions so far, want %d: %v", got, kinds, r.gw.Status().Stats.Kinds)
		}
		e, err := r.gw.Explain(t.Context(), "shop.d1", 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if last := e.Decisions[len(e.Decisions)-1]; last.Kind != kind || last.Reason.String() != reason {
			t.Errorf("the last decision is %s (%s), want %s (%s)", last.Kind, last.Reason, kind, reason)
		}
	}
	radius := func(m float64) func(*fences.Fence) {
		return func(f *fences.Fence) {
			shape, err := geo.NewCircle(f.Shape.Center(), m)
			if err != nil {
				t.Fatal(err)
			}
			f.Shape = shape
		}
	}
	step(func(*fences.Fence) {}, "enter", "initial", 1)
	r.await("the push of the day", func() bool { return len(r.provider.pushes()) == 1 })
	step(radius(100), "exit", "fence_changed", 2)
	step(radius(200), "enter", "fence_changed", 3)
	step(func(f *fences.Fence) { f.Name = "Renamed" }, "enter", "fence_changed", 3)
	step(func(f *fences.Fence) { f.ID = "" }, "exit", "fence_deleted", 4)
	step(func(*fences.Fence) {}, "enter", "fence_created", 5)
	if n := len(r.provider.pushes()); n != 1 {
		t.Errorf("%d pushes, want the one of the first entry", n)
	}
}
