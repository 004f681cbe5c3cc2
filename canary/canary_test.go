package canary

import (
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/fences"
	"footfall/stream"
	"footfall/track"
)

// hardFences have what makes a walk hard: waits, a corner in which the centre is outside, another fence on top, an id that is no
// device's name, and a size that takes time to cross.
var hardFences = []string{
	`{"type":"Feature","id":"k1","properties":{"radius":200},"geometry":{"type":"Point","coordinates":[30.5234,50.4501]}}`,
	`{"type":"Feature","id":"door","properties":{"radius":50},"geometry":{"type":"Point","coordinates":[30.5234,50.4501]}}`,
	`{"type":"Feature","id":"node/7","properties":{"radius":150,"min_stay":"60s","min_away":"10m","initial":false},"geometry":{"type":"Point","coordinates":[30.6,50.4]}}`,
	`{"type":"Feature","id":"yard","properties":{"max_accuracy":3},"geometry":{"type":"Polygon","coordinates":[[[30.70,50.40],[30.71,50.40],[30.71,50.401],[30.701,50.401],[30.701,50.41],[30.70,50.41],[30.70,50.40]]]}}`,
	`{"type":"Feature","id":"region","properties":{"radius":20000},"geometry":{"type":"Point","coordinates":[32,49]}}`,
}

// TestCanaryDeadline: a transition counts by how long after its ping it came, and one of an earlier walk not at all.
func TestCanaryDeadline(t *testing.T) {
	began := time.Now()
	came := func(kind string, took, received time.Duration) event {
		return event{stream.TransitionEvent{Kind: kind, Fence: "k1", ReceivedAt: began.Add(received).UnixMilli()}, began.Add(took)}
	}
	for _, tt := range []struct {
		name   string
		events []event
		took   time.Duration
		says   string
	}{
		{"in time", []event{came("enter", time.Hour, 0)}, time.Hour, ""},
		{"late", []event{came("enter", 90*time.Minute, 0)}, 90 * time.Minute, "k1: enter late after 1h30m0s"},
		{"after one of yesterday and what is left of a walk that was cut off", []event{came("enter", time.Second, -24*time.Hour), came("exit", time.Second, 0), came("enter", time.Minute, -time.Minute)}, time.Minute, ""},
	} {
		w := &Walkers{config: Config{Deadline: time.Hour}}
		c := crossing{w: w, walk: &walk{fence: &fences.Fence{ID: "k1"}}, began: began, box: make(chan event, 3)}
		for _, ev := range tt.events {
			c.box <- ev
		}
		took, says := c.await(t.Context(), track.Enter, began), ""
		for i := range c.faults {
			says += c.faults[i].String()
		}
		if took != tt.took || says != tt.says {
			t.Errorf("%s: took %v and said %q, want %v and %q", tt.name, took, says, tt.took, tt.says)
		}
	}
}

// TestCanaryPlans: every fence is crossed exactly once in each of three walks an hour apart by the gateway's rules, in places that are
// in it and clearly out of it, whatever its shape, size, waits and place on Earth.
func TestCanaryPlans(t *testing.T) {
	odd := append(slices.Clone(hardFences),
		`{"type":"Feature","id":"sliver","properties":{},"geometry":{"type":"Polygon","coordinates":[[[31,50],[31.02,50.01],[31.0201,50.01],[31.0001,50],[31,50]]]}}`,
		`{"type":"Feature","id":"ring","properties":{},"geometry":{"type":"Polygon","coordinates":[[[34,50],[34.01,50],[34.01,50.01],[34,50.01],[34,50]],[[34.001,50.001],[34.001,50.009],[34.009,50.009],[34.009,50.001],[34.001,50.001]]]}}`,
		`{"type":"Feature","id":"line","properties":{},"geometry":{"type":"MultiPolygon","coordinates":[[[[179.9,10],[180,10],[180,10.1],[179.9,10.1],[179.9,10]]],[[[-180,10],[-179.9,10],[-179.9,10.1],[-180,10.1],[-180,10]]]]}}`,
		`{"type":"Feature","id":"fiji","properties":{"radius":900},"geometry":{"type":"Point","coordinates":[179.9999,-17]}}`,
		`{"type":"Feature","id":"arctic","properties":{"radius":100},"geometry":{"type":"Point","coordinates":[20,84]}}`,
		`{"type":"Feature","id":"oblast","properties":{"radius":100000},"geometry":{"type":"Point","coordinates":[24,49]}}`,
		`{"type":"Feature","id":"hotel","properties":{"radius":60,"min_stay":"48h","min_away":"24h","exit_margin":500},"geometry":{"type":"Point","coordinates":[23,47]}}`,
	)
	parsed, findings := fences.Parse("odd.geojson", []byte(strings.Join(odd, "\n")), fences.Options{DefaultZone: "UTC"})
	set, err := fences.NewSet(parsed, nil)
	if err != nil || fences.HasErrors(findings) {
		t.Fatal(err, findings)
	}
	rules := track.DefaultRules()
	p := newPlanner(set, rules, stream.Positions{})
	tracker, pos := track.New(rules), uint64(0)
	devices := map[string]bool{}
	for i := range set.Len() {
		f := set.At(int32(i))
		w := p.plan(f)
		if w.cannot != "" || devices[w.device] {
			t.Errorf("%s by %s: %s", f.ID, w.device, w.cannot)
			continue
		}
		devices[w.device] = true
		for leg, steps := range w.legs {
			for _, s := range steps {
				margin := max(rules.ExitMarginM, rules.ExitMarginRatio*f.Shape.SizeM(), f.ExitMarginM) + w.accuracyM
				if edge := f.Shape.EdgeDistanceM(s.at); (leg == legEnter) != (edge <= 0) || leg != legEnter && edge <= margin {
					t.Errorf("%s: in leg %d it is %.1f m from the edge", f.ID, leg, edge)
				}
			}
		}
		begin := time.Date(2026, time.November, 28, 12, 0, 0, 0, time.UTC).UnixMilli()
		for walk := range 3 {
			kinds := ""
			for leg := range w.legs {
				since := time.Duration(leg) * 1900 * time.Microsecond // each is sent a little later, and no whole millisecond
				received := begin + w.span.Milliseconds() + since.Milliseconds()
				for _, s := range w.pings(leg, since) {
					var res track.Result
					pos++
					tracker.Apply(set, track.DeviceID(w.device), track.Fix{FixedAt: received - s.AgeMS, ReceivedAt: received, Lat: s.Lat, Lng: s.Lon, HasPosition: true, AccuracyM: float32(s.Acc), SpeedMPS: -1}, pos, &res)
					for i := range res.Transitions {
						if tr := &res.Transitions[i]; tr.FenceID == f.ID {
							kinds += tr.Kind.String() + " "
						} else if tr.Kind == track.Enter && !w.enters[tr.FenceID] {
							t.Errorf("%s: enters %s on the way, which was not planned", f.ID, tr.FenceID)
						}
					}
				}
			}
			if kinds != "enter exit " {
				t.Errorf("%s: walk %d made %q", f.ID, walk+1, kinds)
			}
			begin += w.span.Milliseconds() + time.Hour.Milliseconds()
		}
	}
	if w := p.plan(mustLookup(t, set, "k1")); !w.enters["door"] || w.span > time.Minute {
		t.Errorf("the walk to k1 enters %v and takes %v", w.enters, w.span)
	}

	// Where no walk can show it, that is said before one is tried.
	for mode, says := range map[stream.PositionMode]string{stream.PositionsNone: "takes no positions", stream.PositionsCoarse: "nobody can enter it"} {
		p := newPlanner(set, rules, stream.Positions{Mode: mode, Resolution: 6})
		if w := p.plan(mustLookup(t, set, "k1")); !strings.Contains(w.cannot, says) {
			t.Errorf("%s: %q, want %q", mode, w.cannot, says)
		}
	}
	p = newPlanner(set, rules, stream.Positions{Mode: stream.PositionsCoarse, Resolution: 8})
	if w := p.plan(mustLookup(t, set, "region")); w.cannot != "" {
		t.Errorf("a fence of 20 km and cells of 500 m: %s", w.cannot)
	}
}

func mustLookup(t *testing.T, set *fences.Set, id fences.ID) *fences.Fence {
	t.Helper()
	f, ok := set.Lookup(id)
	if !ok {
		t.Fatalf("no fence %s", id)
	}
	return f
}
