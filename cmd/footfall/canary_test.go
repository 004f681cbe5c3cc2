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

	"footfall/canary"
	"footfall/stream"
	"footfall/stream/natsd"
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

// canaryRound runs the command for one round and reads its report.
func canaryRound(t *testing.T, args ...string) (code int, r canary.Report, out string) {
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
	code, r, out := canaryRound(t, "--fences", path, "--server", url)
	if n := len(canaryFences); code != 0 || r.Fences != n || r.Crossed != n || len(r.Faults) > 0 || r.Enter.Max <= 0 || r.Exit.Max <= 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}

	ghost := strings.NewReplacer("k1", "ghost", "50.4501", "50.47").Replace(oneStore)
	more := file(t, "more.geojson", strings.Join(append(slices.Clone(canaryFences), ghost), "\n"))
	code, r, out = canaryRound(t, "--fences", more, "--server", url, "--fence", "ghost", "--deadline", "200ms")
	if code != exitThresholds || r.Crossed != 0 || len(r.Faults) != 2 || r.Faults[0].What != "missing" || r.Faults[0].Transition != "enter" || r.Faults[0].Fence != "ghost" ||
		!strings.Contains(r.Faults[0].Detail, "footfall explain canary.ghost") || r.Faults[1].What != "fences" {
		t.Errorf("a fence that the gateway lacks: exit code %d: %s", code, out)
	}

	code, r, out = canaryRound(t, "--fences", file(t, "less.geojson", oneStore), "--server", url, "--app", "canary-b")
	if code != exitThresholds || len(r.Faults) == 0 || r.Faults[0].What != "wrong" || !strings.Contains(r.Faults[0].Detail, "door") {
		t.Errorf("a fence that only the gateway has: exit code %d: %s", code, out)
	}

	code, r, out = canaryRound(t, "--fences", path, "--server", url, "--fence", "node/7")
	if code != exitThresholds || len(r.Faults) != 1 || r.Faults[0].What != "too_soon" {
		t.Errorf("a second walk at once: exit code %d: %s", code, out)
	}

	// Until it is stopped: one line a round.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lines := &stopWriter{word: "crossed", stop: cancel}
	code = run(&env{ctx: ctx, in: strings.NewReader(""), out: lines, err: lines}, []string{"canary", "--fences", path, "--server", url, "--app", "canary-c", "--every", "2h", "--per-second", "1000", "--deadline", "10s"})
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
	code, r, out := canaryRound(t, "--fences", file(t, "s.geojson", strings.Join(canaryFences[:2], "\n")), "--server", s.ClientURL(), "--deadline", "100ms")
	if code != exitThresholds || r.Crossed != 0 || len(r.Faults) != 3 || r.Faults[0].What != "fences" && r.Faults[2].What != "fences" {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for _, want := range []string{`door: unsent: not stored within 200ms: the gateway is busy`, `k1: refused: no_positions: this gateway takes no positions`} {
		if !slices.ContainsFunc(r.Faults, func(f canary.Fault) bool { return f.String() == want }) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}
