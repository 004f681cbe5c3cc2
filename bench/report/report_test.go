package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"footfall/internal/page/pagetest"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite testdata")

// sample is a result with something in every field.
func sample(t testing.TB, slower float64) *Result {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	latency := func(median time.Duration) *Latency {
		h := NewHistogram()
		for range 5000 {
			h.Record(time.Duration(float64(median) * (0.7 + 0.6*rng.Float64()) * slower))
		}
		l, err := h.Summary()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	r := &Result{
		Schema: Schema, Started: "2026-11-27T21:00:00Z", Commit: "0123456789abcdef", Config: json.RawMessage(`{"profile":"city","seed":1}`),
		Target: "nats://127.0.0.1:4222", Machine: Machine{OS: "linux", Arch: "amd64", CPU: "a processor", Cores: 2, MemoryMB: 4096, Go: "go1.26.8", FileSystem: "ext4", SyncP50US: 400, SyncP99US: 2000},
		Load:   Load{Messages: 100, Pings: 100, OfferedRate: 100, AchievedRate: 100, AchievedShare: 1, CollectedRate: 100, DrainMS: 12},
		Stages: map[string]*Latency{}, Raw: map[string]*Latency{},
		Correctness: Correctness{Judged: true, Enters: Tally{Expected: 5, Got: 5}, Exits: Tally{Expected: 3, Got: 3}, Pushes: Tally{Expected: 4, Got: 4}, HeldOf: 1},
		Generator:   Generator{Lag: latency(80 * time.Microsecond), RealTime: true, CPUShare: 0.1, GCShare: 0.01, GCPauseMS: 0.2, HeapMB: 12},
		Gateway:     Gateway{Pings: 100, Processed: 101, CPUShare: 0.2, RSSMB: 80},
		Timeline: []Second{
			{T: 1, Offered: 50, Sent: 50, Collected: 49, Claims: 3, ClaimP50: 900, ClaimP99: 2000, ClaimMax: 2100, AcceptP50: 3000, AcceptP99: 4000, LagP50: 80, LagP99: 200, LagMax: 300, Heat: make([]int, 25), GatewayMB: 80, GatewayCPU: .3, HeapMB: 12, CPU: .1, GCMS: .1},
			{T: 2, Offered: 50, Sent: 50, Collected: 51, LagP50: 80, LagP99: 200, LagMax: 300, GatewayMB: 81, GatewayCPU: .3, HeapMB: 12, CPU: .1},
		},
	}
	r.Timeline[0].Heat[8] = 3
	for i, s := range Stages {
		r.Stages[s.Name], r.Raw[s.Name] = latency(time.Duration(i+1)*300*time.Microsecond), latency(time.Duration(i+1)*290*time.Microsecond)
	}
	r.Parts = []Part{{"sent → collect", latency(300 * time.Microsecond)}, {"collect → store", latency(200 * time.Microsecond)}}
	r.Judge(DefaultLimits())
	return r
}

func TestVerdict(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Result)
		want   Verdict
		reason string
	}{
		{"nothing wrong", func(*Result) {}, Valid, ""},
		{"lag at the limit", func(r *Result) { r.Generator.Lag.P99US = 1000 }, Valid, ""},
		{"lag above it", func(r *Result) { r.Generator.Lag.P99US = 1001 }, Invalid, "lag p99"},
		{"nothing sent", func(r *Result) { r.Generator.Lag = nil }, Invalid, "nothing was sent"},
		{"99.5 % in time", func(r *Result) { r.Load.AchievedShare = 0.995 }, Valid, ""},
		{"less in time", func(r *Result) { r.Load.AchievedShare = 0.9949 }, Invalid, "99.49 % of the plan"},
		{"generator's processor", func(r *Result) { r.Generator.CPUShare = 0.51 }, Invalid, "all cores"},
		{"generator's collection", func(r *Result) { r.Generator.GCShare = 0.11 }, Invalid, "garbage collection"},
		{"generator's pause", func(r *Result) { r.Generator.GCPauseMS = 11 }, Invalid, "stopped it"},
		{"unsent", func(r *Result) { r.Generator.Unsent = 1 }, Invalid, "could not be sent"},
		{"broken connections", func(r *Result) { r.Generator.Reconnects = 1 }, Invalid, "broke"},
		{"dropped", func(r *Result) { r.Gateway.Dropped = map[string]int64{"overload": 3} }, Overloaded, "3 overload"},
		{"busy", func(r *Result) { r.Load.Busy = 1 }, Overloaded, "busy"},
		{"unanswered", func(r *Result) { r.Load.Unanswered = 1 }, Overloaded, "unanswered"},
		{"behind", func(r *Result) { r.Load.BehindMS = 501 }, Overloaded, "behind"},
		{"slow to drain", func(r *Result) { r.Load.DrainMS = 2001 }, Overloaded, "work off"},
		// However badly the gateway did: with a generator at its limit it may not have been its fault.
		{"both", func(r *Result) { r.Load.DrainMS, r.Generator.Lag.P99US = 9000, 5000 }, Invalid, "lag p99"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := sample(t, 1)
			tt.change(r)
			r.Judge(DefaultLimits())
			if r.Verdict != tt.want || !strings.Contains(strings.Join(r.Reasons, "\n"), tt.reason) {
				t.Errorf("%s %q, want %s and %q", r.Verdict, r.Reasons, tt.want, tt.reason)
			}
			var text bytes.Buffer
			if err := r.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			if warned := strings.Contains(text.String(), "No latency of this run is a figure to quote"); warned == (tt.want == Valid) {
				t.Errorf("the text of a %s run:\n%s", tt.want, text.String())
			}
		})
	}
}

func TestCorrect(t *testing.T) {
	for name, change := range map[string]func(*Correctness){
		"lost":           func(c *Correctness) { c.Enters.Lost, c.Enters.Got = 1, 4 },
		"extra":          func(c *Correctness) { c.Exits.Extra = 1 },
		"duplicate":      func(c *Correctness) { c.Pushes.Duplicate = 1 },
		"another reason": func(c *Correctness) { c.Held = map[string]int{"stale": -1, "opted_out": 1} },
		"acked and lost": func(c *Correctness) { c.AckedLost = 1 },
		"not judged":     func(c *Correctness) { c.Judged = false },
	} {
		r := sample(t, 1)
		if !r.Correct {
			t.Fatal("the sample is not correct")
		}
		change(&r.Correctness)
		if r.Judge(DefaultLimits()); r.Correct {
			t.Errorf("%s: counts as correct", name)
		}
	}
}

func TestThresholds(t *testing.T) {
	r := sample(t, 1) // claim about 1.2 ms
	r.Correctness.Exits.Lost = 2
	for text, missed := range map[string]bool{
		"claim.p99<10ms": false, "claim.p99 < 1ms": true, "claim.p50>=1ms": false, "lag.p99<=1ms": false, "accept.max<100us": true,
		"lost==0": true, "lost<=2": false, "extra==0": false, "duplicate==0": false, "rate>=100": false, "rate>100": true, "dropped==0": false, "busy<1": false,
	} {
		th, err := ParseThreshold(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := th.Check(r); (got != "") != missed {
			t.Errorf("%s: %q, want missed %v", text, got, missed)
		}
	}
	delete(r.Stages, "ack")
	th, _ := ParseThreshold("ack.p50<1h")
	if th.Check(r) == "" {
		t.Error("a latency that was not measured meets a threshold")
	}
	for _, text := range []string{"", "claim", "claim.p99", "claim.p99<10", "claim.p98<1ms", "clam.p99<1ms", "lost==none", "lots==0", "claim.p99=1ms", "claim.p99<1ms x"} {
		if _, err := ParseThreshold(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func TestCompare(t *testing.T) {
	a, same, slow, fast := sample(t, 1), sample(t, 1), sample(t, 1.2), sample(t, 0.8)
	for _, tt := range []struct {
		name  string
		b     *Result
		worse bool
	}{{"same", same, false}, {"a fifth slower", slow, true}, {"a fifth faster", fast, false}} {
		c, err := Compare(a, tt.b)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Worse(0.05); (len(got) > 0) != tt.worse {
			t.Errorf("%s: worse %q", tt.name, got)
		}
		for _, ch := range c.Changes {
			if !(ch.Lo <= ch.Change && ch.Change <= ch.Hi) {
				t.Errorf("%s: %+v: the change is not within its interval", tt.name, ch)
			}
		}
	}
	if c, _ := Compare(a, slow); len(c.Worse(0.5)) != 0 {
		t.Error("a fifth is more than a half")
	}
	slow.Verdict = Invalid
	c, err := Compare(a, slow)
	if err != nil || len(c.Notes) == 0 || !strings.Contains(c.Notes[0], "INVALID") {
		t.Errorf("an INVALID run is compared without a word: %v %v", c.Notes, err)
	}
	var text bytes.Buffer
	if err := c.WriteText(&text); err != nil || !strings.Contains(text.String(), "claim") {
		t.Errorf("%v\n%s", err, text.String())
	}
	if _, err := Compare(a, &Result{}); err == nil {
		t.Error("two results without a common stage were compared")
	}
}

func TestHistogram(t *testing.T) {
	h := NewHistogram()
	if l, err := h.Summary(); l != nil || err != nil {
		t.Errorf("of nothing: %v %v", l, err)
	}
	for i := 1; i <= 10_000; i++ {
		h.Record(time.Duration(i) * time.Microsecond)
	}
	h.Record(-time.Millisecond)
	h.Record(time.Hour)
	l, err := h.Summary()
	if err != nil {
		t.Fatal(err)
	}
	if l.Count != 10_002 || l.Below != 1 || l.P50US < 4990 || l.P50US > 5010 || l.P99US < 9890 || l.P99US > 9911 || l.MaxUS < 599e6 {
		t.Errorf("%+v", l)
	}
	back, err := l.Histogram()
	if err != nil {
		t.Fatal(err)
	}
	if back.Count() != h.Count() || back.Quantile(0.99) != h.Quantile(0.99) || back.Below != 1 {
		t.Error("a histogram is not what it was before it was written")
	}
	if lo, hi := h.Between(0.5); lo > h.Quantile(0.5) || hi < h.Quantile(0.5) || hi-lo > 300*time.Microsecond {
		t.Errorf("median between %s and %s", lo, hi)
	}
	var text bytes.Buffer
	if err := h.WriteHGRM(&text); err != nil || !strings.Contains(text.String(), "Percentile") || !strings.Contains(text.String(), "#[Max") {
		t.Errorf("%v\n%.300s", err, text.String())
	}
}

// The result file is read by other programs: a change of it is a decision.
func TestResultSchema(t *testing.T) {
	data, err := json.Marshal(sample(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var lines []string
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				walk(path+"."+k, e)
			}
		case []any:
			for _, e := range v {
				walk(path+"[]", e)
			}
		default:
			lines = append(lines, fmt.Sprintf("%s %T", strings.TrimPrefix(path, "."), v))
		}
	}
	walk("", doc)
	slices.Sort(lines)
	got := strings.Join(slices.Compact(lines), "\n") + "\n"
	golden := filepath.Join("testdata", "schema.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the fields of result.json have changed: run with -update, and give the schema a new number when an old reader would misread it\n%s", got)
	}
}

func TestFilesAndBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	r := sample(t, 1)
	if err := r.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"result.json", "report.html", "lag.hgrm", "claim.hgrm", "claim-raw.hgrm", "accept.hgrm"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	back, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(r)
	b, _ := json.Marshal(back)
	if !bytes.Equal(a, b) {
		t.Error("a result is not what it was before it was written")
	}
	other := filepath.Join(t.TempDir(), "x.json")
	for text, want := range map[string]string{`{"schema":"footfall.bench/0"}`: "footfall.bench/0", `{`: "unexpected end"} {
		if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(other); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A browser runs the page's code without an error and draws every chart of it.
func TestPageDraws(t *testing.T) {
	for name, tt := range map[string]struct {
		rs   []*Result
		svgs int
		text []string
	}{
		"one": {[]*Result{sample(t, 1)}, 9, []string{"ping → durable claim", "Where the time goes", "Claim latency over time", "Lag of the generator", "every entry and push as expected"}},
		"two": {[]*Result{sample(t, 1), sample(t, 1.3)}, 1, []string{"A claim", "B claim"}},
	} {
		path := filepath.Join(t.TempDir(), "page.html")
		if err := write(path, func(w io.Writer) error { return WriteHTML(w, tt.rs...) }); err != nil {
			t.Fatal(err)
		}
		drawn := pagetest.Draw(t, path)
		if n := strings.Count(drawn, "<svg"); n < tt.svgs {
			t.Errorf("%s: %d charts, want at least %d", name, n, tt.svgs)
		}
		for _, want := range append(tt.text, "Configuration") { // which comes last: an error before it would stop the code
			if !strings.Contains(drawn, want) {
				t.Errorf("%s: the page does not show %q", name, want)
			}
		}
	}
}

// The page holds everything it shows: it opens from a disk without a network, for years.
func TestPageLoadsNothing(t *testing.T) {
	r := sample(t, 1)
	r.Target, r.Notes = "", []string{"</script><script>alert(1)</script>", "a & b"}
	for _, rs := range [][]*Result{{r}, {r, sample(t, 1.1)}} {
		for _, x := range rs {
			x.Target = ""
		}
		var b bytes.Buffer
		if err := WriteHTML(&b, rs...); err != nil {
			t.Fatal(err)
		}
		pagetest.LoadsNothing(t, b.String())
	}
	if err := WriteHTML(&bytes.Buffer{}); err == nil {
		t.Error("a page of no result was written")
	}
}
