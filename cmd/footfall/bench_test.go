package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"footfall/bench/load"
	"footfall/bench/report"
)

// benchSelf lets the processes that a load test starts be this test binary.
func benchSelf(t *testing.T) {
	t.Helper()
	was := selfCommand
	t.Cleanup(func() { selfCommand = was })
	selfCommand = func(args ...string) (*exec.Cmd, error) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childArgs+"="+strings.Join(args, "\n"))
		return cmd, nil
	}
}

// runBench makes one run and returns its result.
func runBench(t *testing.T, args ...string) (*report.Result, int, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	code, out, errs := runCLIFor(t, 2*time.Minute, append([]string{"bench", "run", "--out", dir, "--seed", "5"}, args...)...)
	res, err := report.Read(filepath.Join(dir, "result.json"))
	if err != nil {
		t.Fatalf("exit %d, %v\n%s%s", code, err, out, errs)
	}
	return res, code, out + errs
}

// mustBeRight fails unless a run gave exactly what it had to. How fast it was is not asked: the machine is shared.
func mustBeRight(t *testing.T, res *report.Result, said string) {
	t.Helper()
	if res.Correctness.Judged && !res.Correct || res.Correctness.Enters.Expected == 0 {
		c, _ := json.MarshalIndent(res.Correctness, "", " ")
		t.Errorf("%s\n%s", c, said)
	}
	if !res.Correctness.Judged {
		t.Errorf("not judged: %s\n%s", res.Correctness.Why, said)
	}
	for _, stage := range []string{"collect", "store", "decide", "claim", "accept", "event"} {
		if res.Stages[stage] == nil || res.Stages[stage].P50US <= 0 {
			t.Errorf("no latency until %s", stage)
		}
	}
	if len(res.Timeline) == 0 || res.Gateway.RSSMB == 0 {
		t.Error("the gateway was not looked at while it ran")
	}
}

// Every profile against a real gateway with real fakes, in processes of their own: nothing lost, extra or twice.
func TestBenchProfilesAreRight(t *testing.T) {
	benchSelf(t)
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"city", []string{"--profile", "city", "--devices", "1500", "--rate", "1000", "--entries", "0.02"}},
		{"city acknowledged in protobuf", []string{"--profile", "city", "--devices", "1500", "--rate", "1000", "--entries", "0.02", "--ack", "--encoding", "protobuf", "--batch", "5"}},
		{"citrus", []string{"--profile", "citrus", "--devices", "3000", "--rate", "1500", "--shape", "burst"}},
		{"jitter", []string{"--profile", "jitter", "--devices", "200", "--rate", "400", "--arrival", "fixed"}},
		{"catchup", []string{"--profile", "catchup", "--rate", "5000", "--shape", "ramp"}},
		{"worst", []string{"--profile", "worst", "--devices", "800", "--rate", "800", "--entries", "0.02"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && tt.name != "city" {
				t.Skip("a run of three seconds; left to the full tests")
			}
			res, _, said := runBench(t, append(tt.args, "--duration", "3s", "--warmup", "500ms", "--connections", "8")...)
			mustBeRight(t, res, said)
			if strings.Contains(tt.name, "acknowledged") && (res.Stages["ack"] == nil || res.Load.Acked == 0) {
				t.Error("no answer was measured")
			}
		})
	}
}

func TestBenchReplaysATrace(t *testing.T) {
	if testing.Short() {
		t.Skip("a run of some seconds; left to the full tests")
	}
	benchSelf(t)
	var trace strings.Builder
	trace.WriteString("device,ts,lat,lon\n")
	for i := range 1200 { // forty devices walk through a store of 200 m, one after the other
		device, step := i%40, i/40
		trace.WriteString(strings.Join([]string{"d" + string(rune('a'+device%26)) + string(rune('a'+device/26)), jsonNumber(1_700_000_000 + i), jsonNumber(50.4501 - 0.006 + 0.0004*float64(step)), jsonNumber(30.5234 + 0.00002*float64(device))}, ",") + "\n")
	}
	res, _, said := runBench(t, "--profile", "replay", file(t, "walk.csv", trace.String()), "--fences", file(t, "one.geojson",
		`{"type":"FeatureCollection","features":[{"type":"Feature","id":"a","properties":{"radius":200},"geometry":{"type":"Point","coordinates":[30.5234,50.4501]}}]}`),
		"--rate", "400", "--duration", "3s", "--warmup", "100ms")
	mustBeRight(t, res, said)
	if n := res.Correctness.Enters.Expected; n != 40 {
		t.Errorf("%d entries, want 40", n)
	}
}

func jsonNumber(v any) string { b, _ := json.Marshal(v); return string(b) }

// A generator that is the limit must never pass for a slow or fast gateway.
func TestBenchSlowGeneratorIsInvalid(t *testing.T) {
	benchSelf(t)
	cmd := benchRunCmd{
		Profile: "city", Devices: 300, Rate: 300, Duration: 2 * time.Second, Warmup: 200 * time.Millisecond, Connections: 4, Entries: 0.05,
		Encoding: "json", Arrival: "poisson", Shape: "steady", Seed: 1, Drain: 20 * time.Second, slow: 3 * time.Millisecond,
	}
	res := measure(t, &cmd)
	if res.Verdict != report.Invalid || !strings.Contains(strings.Join(res.Reasons, "\n"), "lag p99") {
		t.Errorf("%s %q, want INVALID for its lag", res.Verdict, res.Reasons)
	}
	// What is late is charged to what waited, and can be told from what the gateway took.
	if c, raw := res.Stages["claim"], res.Raw["claim"]; c == nil || c.P50US-raw.P50US < 2000 {
		t.Errorf("claim p50 since the plan %+v, since the send %+v: want 3 ms between them", c, raw)
	}
}

// A gateway that is the limit must never pass for VALID: here it gets more to write down than a disk takes.
func TestBenchSlowGatewayIsOverloaded(t *testing.T) {
	if testing.Short() {
		t.Skip("a run of some seconds; left to the full tests")
	}
	benchSelf(t)
	// Some 30,000 entries in two seconds: every one is a claim, a push and three events on disk.
	cmd := benchRunCmd{
		Profile: "jitter", Devices: 40_000, Rate: 20_000, Duration: 2 * time.Second, Warmup: 100 * time.Millisecond, Connections: 8, Batch: 1,
		Encoding: "protobuf", Arrival: "fixed", Shape: "steady", Seed: 1, Drain: 3 * time.Second,
	}
	res := measure(t, &cmd)
	over := strings.Join(res.Reasons, "\n")
	if res.Verdict == report.Valid || !strings.Contains(over, "gateway: ") {
		t.Errorf("%s %q, want signs of a gateway that did not keep up", res.Verdict, res.Reasons)
	}
	limits := report.DefaultLimits() // a machine shared with other tests may hold up the generator as well
	limits.LagP99US, limits.AchievedShare, limits.CPUShare, limits.GCPauseMS = 1e9, 0, 1, 1e9
	if res.Judge(limits); res.Verdict != report.Overloaded {
		t.Errorf("judged by its gateway alone: %s %q", res.Verdict, res.Reasons)
	}
}

func measure(t *testing.T, cmd *benchRunCmd) *report.Result {
	t.Helper()
	e := &env{ctx: t.Context(), in: strings.NewReader(""), out: t.Output(), err: t.Output()}
	cfg, err := cmd.config()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := load.NewPlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	res, err := cmd.measure(e, plan, true)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// Against a gateway that is there: the exported files make it ready, others are told from them.
func TestBenchAgainstARunningGateway(t *testing.T) {
	if testing.Short() {
		t.Skip("a run of some seconds; left to the full tests")
	}
	dir := t.TempDir()
	if code, out, errs := runCLI(t, "bench", "run", "--profile", "worst", "--export", dir); code != 0 {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	_, url := serveChild(t, "--fences", filepath.Join(dir, "fences.geojson"), "--campaigns", filepath.Join(dir, "campaign.yaml"), "--data", t.TempDir())
	res, _, said := runBench(t, "--profile", "worst", "--url", url, "--devices", "500", "--rate", "500", "--entries", "0.02", "--duration", "2s", "--warmup", "200ms")
	if !res.Correct || res.Correctness.Enters.Expected == 0 || res.Stages["claim"] == nil {
		t.Errorf("%+v\n%s", res.Correctness, said)
	}
	code, _, errs := runCLI(t, "bench", "run", "--profile", "city", "--url", url, "--duration", "1s", "--out", t.TempDir())
	if code != exitFailed || !strings.Contains(errs, "--export") {
		t.Errorf("with the wrong fences: exit %d, %s", code, errs)
	}
}

func TestBenchUsage(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"run --profile town", "there is no profile"},
		{"run --profile replay", "belong together"},
		{"run trace.csv", "belong together"},
		{"run --fail claim<1ms", "--fail"},
		{"run --rate 1e6 --devices 5", "devices or more"},
		{"run --raw --msgs 1 --connections 2", "no measurement"},
		{"compare a.json b.json --fail-worse 5", "--fail-worse"},
	} {
		code, _, errs := runCLI(t, append([]string{"bench"}, strings.Fields(tt.args)...)...)
		if code != exitUsage || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: exit %d, %q, want %q", tt.args, code, errs, tt.want)
		}
	}
}

func TestBenchRateSearch(t *testing.T) {
	for _, limit := range []float64{700, 5_000, 5_100, 33_000, 90_000} {
		s := rateSearch{start: 5_000, most: 1e6}
		tried := 0
		for rate, ok := s.next(); ok; rate, ok = s.next() {
			if tried++; rate <= limit {
				s.good = rate
			} else {
				s.bad = rate
			}
		}
		if s.good > limit || s.good < limit*0.93 || tried > 14 {
			t.Errorf("limit %.0f: found %.0f after %d runs", limit, s.good, tried)
		}
	}
	s := rateSearch{start: 5_000, most: 1e6}
	for rate, ok := s.next(); ok; rate, ok = s.next() {
		s.bad = rate
	}
	if s.good != 0 || s.bad < 300 {
		t.Errorf("without a good rate: %+v", s)
	}
	s = rateSearch{start: 5_000, most: 20_000}
	for rate, ok := s.next(); ok; rate, ok = s.next() {
		s.good = rate
	}
	if s.good < 15_000 || s.good > 20_000 {
		t.Errorf("up to a bound: %+v", s)
	}
}

// compare, report and the exit codes on result files, without a run.
func TestBenchResultsAreJudged(t *testing.T) {
	result := func(verdict report.Verdict, ms int) *report.Result {
		h := report.NewHistogram()
		for i := range 2000 {
			h.Record(time.Duration(ms)*time.Millisecond + time.Duration(i)*100*time.Nanosecond)
		}
		l, err := h.Summary()
		if err != nil {
			t.Fatal(err)
		}
		r := &report.Result{Schema: report.Schema, Config: json.RawMessage(`{}`), Stages: map[string]*report.Latency{"claim": l}, Generator: report.Generator{Lag: l}}
		r.Verdict, r.Correctness.Judged, r.Correct = verdict, true, true
		return r
	}
	write := func(r *report.Result) string {
		dir := t.TempDir()
		if err := r.WriteFiles(dir); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, "result.json")
	}
	a, b := write(result(report.Valid, 2)), write(result(report.Valid, 3))
	if code, out, errs := runCLI(t, "bench", "compare", a, b); code != 0 || !strings.Contains(out, "worse") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	page := filepath.Join(t.TempDir(), "both.html")
	if code, _, errs := runCLI(t, "bench", "compare", a, b, "--fail-worse", "5%", "--html", page); code != exitThresholds || !strings.Contains(errs, "claim p50") {
		t.Errorf("exit %d, %s", code, errs)
	}
	if _, err := os.Stat(page); err != nil {
		t.Error(err)
	}
	if code, _, errs := runCLI(t, "bench", "compare", b, a, "--fail-worse", "5%"); code != 0 {
		t.Errorf("a better run: exit %d, %s", code, errs)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(a), "report.html")); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := runCLI(t, "bench", "report", a); code != 0 || !strings.Contains(out, "report.html") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	e := &env{ctx: t.Context(), out: t.Output(), err: t.Output()}
	threshold := func(text string) []report.Threshold {
		th, err := report.ParseThreshold(text)
		if err != nil {
			t.Fatal(err)
		}
		return []report.Threshold{th}
	}
	wrong := result(report.Valid, 2)
	wrong.Correct = false
	for name, tt := range map[string]struct {
		r    *report.Result
		th   []report.Threshold
		want int
	}{
		"met":                    {result(report.Valid, 2), threshold("claim.p99<10ms"), 0},
		"missed":                 {result(report.Valid, 20), threshold("claim.p99<10ms"), exitThresholds},
		"met by an INVALID run":  {result(report.Invalid, 2), threshold("claim.p99<10ms"), exitThresholds},
		"INVALID, nothing asked": {result(report.Invalid, 2), nil, 0},
		"wrong entries":          {wrong, nil, exitFailed},
	} {
		if got := exitCode(e, verdict(e, tt.r, tt.th)); got != tt.want {
			t.Errorf("%s: exit %d, want %d", name, got, tt.want)
		}
	}
}
