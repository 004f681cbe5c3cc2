package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/fences"
	"footfall/stream"
	"footfall/stream/natsd"
	"footfall/track"
)

// canaryFences have what makes a walk hard: waits, a corner in which the centre is outside, another fence on top, an id that is no
// device's name, and a size that takes time to cross.
var canaryFences = []string{
	oneStore,
	`{"type":"Feature","id":"door","properties":{"radius":50},"geometry":{"type":"Point","coordinates":[30.5234,50.4501]}}`,
	`{"type":"Feature","id":"node/7","properties":{"radius":150,"min_stay":"60s","min_away":"10m","initial":false},"geometry":{"type":"Point","coordinates":[30.6,50.4]}}`,
	`{"type":"Feature","id":"yard","properties":{"max_accuracy":3},"geometry":{"type":"Polygon","coordinates":[[[30.70,50.40],[30.71,50.40],[30.71,50.401],[30.701,50.401],[30.701,50.41],[30.70,50.41],[30.70,50.40]]]}}`,
	`{"type":"Feature","id":"region","properties":{"radius":20000},"geometry":{"type":"Point","coordinates":[32,49]}}`,
}

// canary runs the command for one round and reads its report.
func canary(t *testing.T, args ...string) (code int, r canaryReport, out string) {
	t.Helper()
	code, out, errs := runCLI(t, append([]string{"canary", "--once", "--json", "--per-second", "1000"}, args...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: exit code %d, %v: %s%s", args, code, err, out, errs)
	}
	return code, r, out
}

// TestCanary walks across the fences of a real gateway: all of them are crossed, with the waits that they ask for and without the
// time; a fence that the gateway does not have is missing, and one that it should not have is in the way. Nothing of it is counted.
func TestCanary(t *testing.T) {
	path := file(t, "gateway.geojson", strings.Join(canaryFences, "\n"))
	_, url := serveChild(t, "--data", t.TempDir(), "--fences", path, "--campaigns", file(t, "c.yaml", campaignText("welcome")))
	code, r, out := canary(t, "--fences", path, "--server", url)
	if n := len(canaryFences); code != 0 || r.Fences != n || r.Crossed != n || len(r.Faults) > 0 || r.Enter.Max <= 0 || r.Exit.Max <= 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}

	ghost := strings.NewReplacer("k1", "ghost", "50.4501", "50.47").Replace(oneStore)
	more := file(t, "more.geojson", strings.Join(append(slices.Clone(canaryFences), ghost), "\n"))
	code, r, out = canary(t, "--fences", more, "--server", url, "--fence", "ghost", "--deadline", "200ms")
	if code != exitThresholds || r.Crossed != 0 || len(r.Faults) != 2 || r.Faults[0].What != "missing" || r.Faults[0].Transition != "enter" || r.Faults[0].Fence != "ghost" ||
		!strings.Contains(r.Faults[0].Detail, "footfall explain canary.ghost") || r.Faults[1].What != "fences" {
		t.Errorf("a fence that the gateway lacks: exit code %d: %s", code, out)
	}

	code, r, out = canary(t, "--fences", file(t, "less.geojson", oneStore), "--server", url, "--app", "canary-b")
	if code != exitThresholds || len(r.Faults) == 0 || r.Faults[0].What != "wrong" || !strings.Contains(r.Faults[0].Detail, "door") {
		t.Errorf("a fence that only the gateway has: exit code %d: %s", code, out)
	}

	code, r, out = canary(t, "--fences", path, "--server", url, "--fence", "node/7")
	if code != exitThresholds || len(r.Faults) != 1 || r.Faults[0].What != "too_soon" {
		t.Errorf("a second walk at once: exit code %d: %s", code, out)
	}

	// Until it is stopped: one line a round.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lines := &stopWriter{word: "crossed", stop: cancel}
	code = run(&env{ctx: ctx, in: strings.NewReader(""), out: lines, err: lines}, []string{"canary", "--fences", path, "--server", url, "--app", "canary-c", "--every", "2h", "--per-second", "1000"})
	if text := lines.String(); code != 0 || !strings.Contains(text, fmt.Sprintf("%d of %d fences crossed", len(canaryFences), len(canaryFences))) || strings.Count(text, "\n") != 1 {
		t.Errorf("exit code %d: %s", code, text)
	}

	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	m, err := nc.Request(stream.StatsSubject, nil, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var s stream.Status
	if err := json.Unmarshal(m.Data, &s); err != nil || len(s.Funnel) > 0 || s.Stats.Processed == 0 {
		t.Errorf("counted as people: %v, %v", s.Funnel, err)
	}
}

// TestCanaryRefuses: what cannot work ends with what to do.
func TestCanaryRefuses(t *testing.T) {
	server := "nats://" + guarded(t)
	path := file(t, "s.geojson", strings.Join(canaryFences, "\n"))
	token := file(t, "token", "hunter2\n")
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no fences", []string{"--server", server}, exitUsage, "--fences PATH"},
		{"app of people", []string{"--fences", path, "--app", "shop"}, exitUsage, "canary-"},
		{"app that is no token", []string{"--fences", path, "--app", "canary-a.b"}, exitUsage, "--app"},
		{"once and every", []string{"--fences", path, "--once", "--every", "1h"}, exitUsage, "not both"},
		{"no rate", []string{"--fences", path, "--per-second", "0"}, exitUsage, "--per-second"},
		{"no deadline", []string{"--fences", path, "--deadline", "0s"}, exitUsage, "--deadline"},
		{"wrong token", []string{"--fences", path, "--server", server, "--token-file", file(t, "wrong", "letmein")}, exitFailed, "refuses the token in "},
		{"no token", []string{"--fences", path, "--server", server}, exitFailed, "asks for a token"},
		{"no gateway", []string{"--fences", path, "--server", server, "--token-file", token}, exitFailed, "no Footfall gateway"},
		{"unknown fence", []string{"--fences", path, "--fence", "k9", "--server", server, "--token-file", token}, exitFailed, `no fence "k9"`},
		{"too short for its waits", []string{"--fences", path, "--every", "20m", "--server", server, "--token-file", token}, exitFailed, "a walk across node/7 takes"},
		{"too short for the rate", []string{"--fences", path, "--fence", "k1,yard", "--every", "30s", "--per-second", "0.05", "--server", server, "--token-file", token}, exitFailed, "raise --per-second"},
	} {
		if code, out, errs := runCLI(t, append([]string{"canary"}, tt.args...)...); code != tt.code || !strings.Contains(errs, tt.says) || out != "" {
			t.Errorf("%s: exit code %d, want %d and %q in:\n%s%s", tt.name, code, tt.code, tt.says, out, errs)
		}
	}
}

// TestCanaryIsAnswered: what a gateway answers instead of ok is said, with its code.
func TestCanaryIsAnswered(t *testing.T) {
	s, err := natsd.Start(natsd.Config{Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	nc, err := s.Connect("fake")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	for subject, answer := range map[string]string{
		stream.StatsSubject: `{}`, stream.ExplainSubject: `{}`,
		"ping.canary.k1":   `{"ok":false,"error":{"code":"no_positions","reason":"this gateway takes no positions"},"accepted":0}`,
		"ping.canary.door": `{"ok":false,"busy":true,"retry_ms":20}`,
	} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond([]byte(answer)) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	code, r, out := canary(t, "--fences", file(t, "s.geojson", strings.Join(canaryFences[:2], "\n")), "--server", s.ClientURL(), "--deadline", "100ms")
	if code != exitThresholds || r.Crossed != 0 || len(r.Faults) != 3 || r.Faults[0].What != "fences" && r.Faults[2].What != "fences" {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for _, want := range []string{`door: unsent: not stored within 200ms: the gateway is busy`, `k1: refused: no_positions: this gateway takes no positions`} {
		if !slices.ContainsFunc(r.Faults, func(f canaryFault) bool { return f.String() == want }) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}

// TestCanaryDeadline: a transition counts by how long after its ping it came, and one of an earlier walk not at all.
func TestCanaryDeadline(t *testing.T) {
	began := time.Now()
	event := func(kind string, took, received time.Duration) canaryEvent {
		return canaryEvent{stream.TransitionEvent{Kind: kind, Fence: "k1", ReceivedAt: began.Add(received).UnixMilli()}, began.Add(took)}
	}
	for _, tt := range []struct {
		name   string
		events []canaryEvent
		took   time.Duration
		says   string
	}{
		{"in time", []canaryEvent{event("enter", time.Hour, 0)}, time.Hour, ""},
		{"late", []canaryEvent{event("enter", 90*time.Minute, 0)}, 90 * time.Minute, "k1: enter late after 1h30m0s"},
		{"after one of yesterday and what is left of a walk that was cut off", []canaryEvent{event("enter", time.Second, -24*time.Hour), event("exit", time.Second, 0), event("enter", time.Minute, -time.Minute)}, time.Minute, ""},
	} {
		w := &canaryWalkers{cmd: &canaryCmd{Deadline: time.Hour}}
		c := canaryCrossing{w: w, walk: &canaryWalk{fence: &fences.Fence{ID: "k1"}}, began: began, box: make(chan canaryEvent, 3)}
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
	odd := append(slices.Clone(canaryFences),
		`{"type":"Feature","id":"sliver","properties":{},"geometry":{"type":"Polygon","coordinates":[[[31,50],[31.02,50.01],[31.0201,50.01],[31.0001,50],[31,50]]]}}`,
		`{"type":"Feature","id":"ring","properties":{},"geometry":{"type":"Polygon","coordinates":[[[34,50],[34.01,50],[34.01,50.01],[34,50.01],[34,50]],[[34.001,50.001],[34.001,50.009],[34.009,50.009],[34.009,50.001],[34.001,50.001]]]}}`,
		`{"type":"Feature","id":"line","properties":{},"geometry":{"type":"MultiPolygon","coordinates":[[[[179.9,10],[180,10],[180,10.1],[179.9,10.1],[179.9,10]]],[[[-180,10],[-179.9,10],[-179.9,10.1],[-180,10.1],[-180,10]]]]}}`,
		`{"type":"Feature","id":"fiji","properties":{"radius":900},"geometry":{"type":"Point","coordinates":[179.9999,-17]}}`,
		`{"type":"Feature","id":"arctic","properties":{"radius":100},"geometry":{"type":"Point","coordinates":[20,84]}}`,
		`{"type":"Feature","id":"oblast","properties":{"radius":100000},"geometry":{"type":"Point","coordinates":[24,49]}}`,
		`{"type":"Feature","id":"hotel","properties":{"radius":60,"min_stay":"48h","min_away":"24h","exit_margin":500},"geometry":{"type":"Point","coordinates":[23,47]}}`,
	)
	set, err := loadFenceSet(t.Output(), file(t, "odd.geojson", strings.Join(odd, "\n")), fences.Options{DefaultZone: "UTC"})
	if err != nil {
		t.Fatal(err)
	}
	rules := track.DefaultRules()
	planner := newCanaryPlanner(set, rules, stream.Positions{})
	tracker, pos := track.New(rules), uint64(0)
	devices := map[string]bool{}
	for i := range set.Len() {
		f := set.At(int32(i))
		w := planner.plan(f)
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
			for _, steps := range w.legs {
				for _, s := range steps {
					var res track.Result
					pos++
					tracker.Apply(set, track.DeviceID(w.device), track.Fix{FixedAt: begin + s.after.Milliseconds(), ReceivedAt: begin + w.span.Milliseconds(), Lat: s.at.Lat, Lng: s.at.Lng, HasPosition: true, AccuracyM: float32(w.accuracyM), SpeedMPS: -1}, pos, &res)
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
	if w := planner.plan(mustLookup(t, set, "k1")); !w.enters["door"] || w.span > time.Minute {
		t.Errorf("the walk to k1 enters %v and takes %v", w.enters, w.span)
	}

	// Where no walk can show it, that is said before one is tried.
	for mode, says := range map[stream.PositionMode]string{stream.PositionsNone: "takes no positions", stream.PositionsCoarse: "nobody can enter it"} {
		p := newCanaryPlanner(set, rules, stream.Positions{Mode: mode, Resolution: 6})
		if w := p.plan(mustLookup(t, set, "k1")); !strings.Contains(w.cannot, says) {
			t.Errorf("%s: %q, want %q", mode, w.cannot, says)
		}
	}
	p := newCanaryPlanner(set, rules, stream.Positions{Mode: stream.PositionsCoarse, Resolution: 8})
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
