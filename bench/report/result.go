package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// Schema is the version of the result file. A change that an old reader would misread gets a new number.
const Schema = "footfall.bench/1"

// A stage is a point on a ping's way to which latencies are measured.
type Stage struct{ Name, Meaning string }

// Stages in their order. The first ones form a chain, so that their differences are the time each part takes.
var Stages = []Stage{
	{"collect", "the gateway's collector has taken the message"},
	{"store", "the input log has stored it"},
	{"decide", "the transition is decided"},
	{"claim", "the claim and the push owed are on disk"},
	{"accept", "the push provider has accepted the push"},
	{"event", "the event has come back to the load generator"},
	{"ack", "the answer \"ok\" to a request has come back"},
}

// Chain is how many of Stages follow on each other.
const Chain = 5

// Result is one run. It is what result.json holds.
type Result struct {
	Schema  string   `json:"schema"`
	Verdict Verdict  `json:"verdict"`
	Reasons []string `json:"reasons,omitempty"` // why it is not VALID
	Correct bool     `json:"correct"`
	Notes   []string `json:"notes,omitempty"`

	Started string          `json:"started"` // RFC 3339
	Commit  string          `json:"commit"`
	Config  json.RawMessage `json:"config"` // of the load
	Target  string          `json:"target"`
	Machine Machine         `json:"machine"`

	Load        Load                `json:"load"`
	Correctness Correctness         `json:"correctness"`
	Stages      map[string]*Latency `json:"stages"` // from the planned send time
	Raw         map[string]*Latency `json:"raw"`    // from the actual send time
	Parts       []Part              `json:"parts"`  // of a ping's way, each by itself
	Generator   Generator           `json:"generator"`
	Gateway     Gateway             `json:"gateway"`
	Timeline    []Second            `json:"timeline"`
}

// Machine says where the load ran.
type Machine struct {
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMB   int64  `json:"memory_mb"`
	Go         string `json:"go"`
	FileSystem string `json:"file_system,omitempty"` // of the gateway's data, when it is a local one
	// What its disk takes for one synced write of 4 KiB, just before the run: no claim can be faster. Microseconds.
	SyncP50US float64 `json:"sync_p50_us,omitempty"`
	SyncP99US float64 `json:"sync_p99_us,omitempty"`
}

// ThisMachine describes the machine that this process runs on.
func ThisMachine() Machine {
	cpu, mb := hardware()
	return Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: cpu, Cores: runtime.NumCPU(), MemoryMB: mb, Go: runtime.Version()}
}

// Load is what was sent. Rates are a second of the whole run.
type Load struct {
	Messages      int64   `json:"messages"`
	Pings         int64   `json:"pings"`
	OfferedRate   float64 `json:"offered_rate"`   // pings, as planned
	AchievedRate  float64 `json:"achieved_rate"`  // pings, as sent
	AchievedShare float64 `json:"achieved_share"` // of the plan, by the planned end
	CollectedRate float64 `json:"collected_rate"` // pings that the gateway took, by its own count
	BehindMS      float64 `json:"behind_ms"`      // what it had not decided at the last look, in milliseconds of the offered rate
	DrainMS       float64 `json:"drain_ms"`       // from the last send until the gateway had nothing left to do; 0: not known
	// Of requests.
	Acked      int64 `json:"acked,omitempty"`
	Unanswered int64 `json:"unanswered,omitempty"`
	Busy       int64 `json:"busy,omitempty"`
	Retried    int64 `json:"retried,omitempty"`
	Refused    int64 `json:"refused,omitempty"` // answered with an error
}

// Correctness compares what had to come with what came.
type Correctness struct {
	Judged bool           `json:"judged"` // false: input was dropped or repeated late, so nothing is known of what had to come
	Why    string         `json:"why,omitempty"`
	Enters Tally          `json:"enters"`
	Exits  Tally          `json:"exits"`
	Pushes Tally          `json:"pushes"`
	Held   map[string]int `json:"held,omitempty"` // reason -> came minus expected, where they differ
	HeldOf int            `json:"held_expected"`
	// AckedLost is how many pings were answered "ok" and are not among those that the gateway counts as stored.
	AckedLost int64 `json:"acked_lost"`
}

// Tally counts one kind of outcome.
type Tally struct {
	Expected  int `json:"expected"`
	Got       int `json:"got"` // of the expected ones
	Lost      int `json:"lost"`
	Extra     int `json:"extra"`
	Duplicate int `json:"duplicate"`
	// Examples of what is wrong, at most ten.
	Examples []string `json:"examples,omitempty"`
}

// Clean reports whether exactly the expected came.
func (t *Tally) Clean() bool {
	return t.Got == t.Expected && t.Lost == 0 && t.Extra == 0 && t.Duplicate == 0
}

// Wrong notes an example.
func (t *Tally) Wrong(format string, v ...any) {
	if len(t.Examples) < 10 {
		t.Examples = append(t.Examples, fmt.Sprintf(format, v...))
	}
}

// Part is the time between two stages that follow on each other, of the same ping.
type Part struct {
	Name string   `json:"name"` // "sent → collect"
	Time *Latency `json:"time"`
}

// Generator is what the load generator needed.
type Generator struct {
	Lag        *Latency `json:"lag"`                 // from a message's planned time until the kernel had it
	RealTime   bool     `json:"real_time"`           // its sending thread went ahead of all ordinary ones
	CPUShare   float64  `json:"cpu_share"`           // of all cores of the machine
	GCShare    float64  `json:"gc_share"`            // of its CPU time that went to garbage collection
	GCPauseMS  float64  `json:"gc_pause_ms"`         // longest
	HeapMB     float64  `json:"heap_mb"`             // largest
	Limits     *Limits  `json:"limits"`              // by which the verdict was given
	Reconnects int64    `json:"reconnects"`          // of its connections
	Unsent     int64    `json:"unsent,omitempty"`    // messages that the client library refused
	SendError  string   `json:"send_err,omitempty"`  // one of the reasons
	StatErrors int64    `json:"stat_errs,omitempty"` // questions to the gateway that were not answered
}

// Gateway is what the gateway said about itself during the run: differences of its counters.
type Gateway struct {
	Pings     int64            `json:"pings"`
	Processed int64            `json:"processed"`
	Dropped   map[string]int64 `json:"dropped,omitempty"`
	Refused   map[string]int64 `json:"refused,omitempty"`
	CPUShare  float64          `json:"cpu_share,omitempty"` // of all cores; local gateways only
	RSSMB     float64          `json:"rss_mb,omitempty"`    // largest
}

// Second is one second of the run. Latencies are microseconds, 0 where there were none.
type Second struct {
	T         float64 `json:"t"` // its end, in seconds from the start
	Offered   float64 `json:"offered"`
	Sent      float64 `json:"sent"`
	Collected float64 `json:"collected"`
	Claims    int64   `json:"claims"`
	ClaimP50  float64 `json:"claim_p50"`
	ClaimP99  float64 `json:"claim_p99"`
	ClaimMax  float64 `json:"claim_max"`
	AcceptP50 float64 `json:"accept_p50"`
	AcceptP99 float64 `json:"accept_p99"`
	LagP50    float64 `json:"lag_p50"`
	LagP99    float64 `json:"lag_p99"`
	LagMax    float64 `json:"lag_max"`
	// Heat counts claims by latency: row i is 10 µs × 10^(i/4) and more.
	Heat       []int   `json:"heat,omitempty"`
	GatewayMB  float64 `json:"gateway_mb"`
	GatewayCPU float64 `json:"gateway_cpu"` // cores
	HeapMB     float64 `json:"heap_mb"`
	CPU        float64 `json:"cpu"`   // cores, of the generator
	GCMS       float64 `json:"gc_ms"` // longest pause of the generator
}

// Read reads a result file, or the one in a folder that a run has written.
func Read(path string) (*Result, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "result.json")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	var head struct{ Schema string }
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("report: %s: %w", path, err)
	}
	if head.Schema != Schema {
		return nil, fmt.Errorf("report: %s has the schema %q; this program reads %q", path, head.Schema, Schema)
	}
	r := new(Result)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("report: %s: %w", path, err)
	}
	return r, nil
}

// WriteFiles writes result.json, the page and one .hgrm file per stage into dir, which is made when it is missing.
func (r *Result) WriteFiles(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	var page bytes.Buffer
	if err := WriteHTML(&page, r); err != nil {
		return err
	}
	errs := []error{write(filepath.Join(dir, "result.json"), func(w io.Writer) error { _, err := w.Write(append(text, '\n')); return err }),
		write(filepath.Join(dir, "report.html"), func(w io.Writer) error { _, err := page.WriteTo(w); return err })}
	latencies := map[string]*Latency{"lag": r.Generator.Lag}
	for _, s := range Stages {
		latencies[s.Name], latencies[s.Name+"-raw"] = r.Stages[s.Name], r.Raw[s.Name]
	}
	for name, l := range latencies {
		if l == nil {
			continue
		}
		h, err := l.Histogram()
		if err != nil {
			return err
		}
		errs = append(errs, write(filepath.Join(dir, name+".hgrm"), h.WriteHGRM))
	}
	return errors.Join(errs...)
}

func write(path string, fill func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := errors.Join(fill(f), f.Close()); err != nil {
		return fmt.Errorf("report: %s: %w", path, err)
	}
	return nil
}

// stageNames are the stages that r has, in their order.
func (r *Result) stageNames() []string {
	var names []string
	for _, s := range Stages {
		if r.Stages[s.Name] != nil {
			names = append(names, s.Name)
		}
	}
	return slices.Clip(names)
}
