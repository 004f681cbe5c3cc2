package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/bench/load"
	"footfall/bench/report"
	"footfall/fences"
	"footfall/internal/say"
	"footfall/internal/trace"
)

type benchCmd struct {
	Run     benchRunCmd     `cmd:"" help:"Load a gateway, and check that what comes out is what has to."`
	Compare benchCompareCmd `cmd:"" help:"Compare two results."`
	Report  benchReportCmd  `cmd:"" help:"Write the page of a result again."`
	Fakes   benchFakesCmd   `cmd:"" hidden:""`
	Gateway benchGatewayCmd `cmd:"" hidden:""`
}

// errThresholds ends a run that missed what it was asked to meet; what it missed has been printed.
var errThresholds = errors.New("thresholds missed")

type benchRunCmd struct {
	Profile string `help:"citrus, city, jitter, catchup, worst or replay; see docs/bench.md." default:"city"`
	Trace   string `arg:"" optional:"" help:"For replay: the recorded positions (CSV, NDJSON or GPX, also .gz)."`

	URL   string `name:"url" help:"Gateway to load, such as nats://gateway:4222. Without it, one is started here with temporary data and fake providers." placeholder:"URL"`
	Creds string `help:"Credentials file for --url." placeholder:"FILE"`
	Data  string `help:"Folder for the data of the gateway started here; default a temporary one that is removed." placeholder:"DIR"`

	Rate        float64       `help:"Pings a second; 0: the profile's." placeholder:"N"`
	Devices     int           `help:"Devices; 0: the profile's." placeholder:"N"`
	Duration    time.Duration `help:"How long; 0: the profile's." placeholder:"TIME"`
	Warmup      time.Duration `help:"How much of it is checked but not measured; 0: a fifth, at most 3s." placeholder:"TIME"`
	Connections int           `help:"NATS connections that the devices share." default:"32"`
	Batch       int           `help:"Pings a message; 0: the profile's." placeholder:"N"`
	Encoding    string        `help:"json or protobuf." default:"json"`
	Arrival     string        `help:"When messages are planned: fixed intervals, or poisson." default:"poisson"`
	Shape       string        `help:"Load over time: steady, ramp, step or burst." default:"steady"`
	Entries     float64       `help:"About which share of the pings enters a fence (city, catchup, worst); 0: the profile's." placeholder:"SHARE"`
	Ack         bool          `help:"Send requests, which are answered when stored, instead of publishes."`
	Seed        uint64        `help:"The same seed makes the same plan." default:"1"`
	RunID       string        `help:"Begins the devices' names. Default: r, or with --url the time, because a device gets its push once." placeholder:"ID"`

	FindMax bool    `help:"Raise the rate until a run is not VALID, and report the highest that was."`
	MaxRate float64 `help:"Where --find-max ends." default:"2000000" placeholder:"N"`

	Fail  []string      `help:"Condition such as claim.p99<10ms or lost==0; missed: exit code 4. May be given several times." placeholder:"COND" sep:"none"`
	Out   string        `help:"Folder for result.json, report.html and the .hgrm files. Default footfall-bench/TIME-PROFILE." placeholder:"DIR"`
	JSON  bool          `help:"Print the result as JSON."`
	Drain time.Duration `help:"How long to wait for what is owed after the last send." default:"20s"`

	Export string `help:"Write the fences, campaign and settings that the profile needs into a folder, for a gateway that is loaded with --url, and end." placeholder:"DIR"`

	Raw  bool   `help:"Measure the bare transport instead, and print what nats bench prints."`
	Size int    `help:"With --raw: bytes of a message." default:"128"`
	Msgs int    `help:"With --raw: messages in all." default:"100000"`
	CSV  string `help:"With --raw: file for nats bench's CSV." placeholder:"FILE"`

	FenceFile  string     `name:"fences" help:"For replay: the fences, circles, as GeoJSON." placeholder:"PATH"`
	FenceFlags fenceFlags `embed:""`

	slow time.Duration // for tests: makes the generator late
}

func (c *benchRunCmd) Run(e *env) error {
	var thresholds []report.Threshold
	for _, text := range c.Fail {
		t, err := report.ParseThreshold(text)
		if err != nil {
			return usage("--fail: %v", err)
		}
		thresholds = append(thresholds, t)
	}
	if c.Raw {
		return c.raw(e)
	}
	cfg, err := c.config()
	if err != nil {
		return err
	}
	plan, err := c.plan(e, cfg)
	if err != nil {
		return err
	}
	if c.Export != "" {
		if err := writeWorld(c.Export, plan.World, ""); err != nil {
			return err
		}
		_, err := fmt.Fprintf(e.out, "%s has the fences, the campaign and the settings for: footfall serve --config %s\n", c.Export, filepath.Join(c.Export, "footfall.yaml"))
		return err
	}
	if c.FindMax {
		return c.findMax(e, cfg, thresholds)
	}
	res, err := c.measure(e, plan, true)
	if err != nil {
		return err
	}
	return c.finish(e, res, thresholds)
}

// config is the load that the flags ask for.
func (c *benchRunCmd) config() (load.Config, error) {
	cfg := load.Config{
		Profile: c.Profile, Seed: c.Seed, Rate: c.Rate, Devices: c.Devices, Duration: c.Duration, Warmup: c.Warmup, Connections: c.Connections,
		Batch: c.Batch, Encoding: c.Encoding, Arrival: c.Arrival, Shape: c.Shape, Ack: c.Ack, Entries: c.Entries, RunID: c.RunID,
	}
	if cfg.RunID == "" && c.URL != "" {
		cfg.RunID = time.Now().UTC().Format("20060102T150405")
	}
	if (c.Trace != "") != (c.Profile == "replay") {
		return cfg, usage("--profile replay and a trace belong together: footfall bench run --profile replay trace.csv --fences stores.geojson")
	}
	if (c.FenceFile != "") != (c.Profile == "replay") {
		return cfg, usage("--profile replay needs --fences, and the other profiles bring their own")
	}
	cfg, err := cfg.WithDefaults()
	if err != nil {
		return cfg, usageError{err}
	}
	return cfg, nil
}

func (c *benchRunCmd) plan(e *env, cfg load.Config) (*load.Plan, error) {
	if cfg.Profile != "replay" {
		return load.NewPlan(cfg)
	}
	circles, err := c.circles(e)
	if err != nil {
		return nil, err
	}
	rows, err := readTrace(c.Trace, int(cfg.Rate*cfg.Duration.Seconds())+1)
	if err != nil {
		return nil, err
	}
	return load.NewReplay(cfg, load.ReplayWorld(circles), rows)
}

// circles reads the fences of a replay.
func (c *benchRunCmd) circles(e *env) ([]load.Circle, error) {
	opt, err := c.FenceFlags.options()
	if err != nil {
		return nil, err
	}
	fs, findings, err := fences.Load(c.FenceFile, opt)
	if err != nil {
		return nil, err
	}
	if fences.HasErrors(findings) {
		_ = fences.WriteText(e.err, findings)
		return nil, errFindings
	}
	var out []load.Circle
	for i := range fs {
		at := fs[i].Shape.Center()
		if !fs[i].Shape.IsCircle() {
			return nil, fmt.Errorf("%s: fence %s is not a circle; a replay is checked by distances alone", c.FenceFile, fs[i].ID)
		}
		out = append(out, load.Circle{ID: string(fs[i].ID), Lat: at.Lat, Lng: at.Lng, RadiusM: fs[i].Shape.SizeM()})
	}
	return out, nil
}

// readTrace reads up to most positions and brings them into the order of time.
func readTrace(path string, most int) ([]load.Position, error) {
	f, err := trace.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []load.Position
	for {
		row, err := f.Next()
		switch _, bad := errors.AsType[*trace.RowError](err); {
		case errors.Is(err, io.EOF):
			slices.SortStableFunc(rows, func(a, b load.Position) int { return cmp.Compare(a.T, b.T) })
			return rows[:min(most, len(rows))], nil
		case bad:
			continue
		case err != nil:
			return nil, err
		}
		if row.Fix.HasPosition && !(row.Fix.Lat == 0 && row.Fix.Lng == 0) {
			rows = append(rows, load.Position{Device: row.Device, T: row.Fix.FixedAt, Lat: row.Fix.Lat, Lng: row.Fix.Lng, Acc: row.Fix.AccuracyM})
		}
	}
}

// measure makes one run, against the gateway of --url or one of its own.
func (c *benchRunCmd) measure(e *env, plan *load.Plan, talk bool) (_ *report.Result, err error) {
	out := newScreen(e.err)
	sum := plan.Sum()
	if talk {
		cfg := &plan.Config
		out.printf("%s: %d devices on %d connections, %.0f pings/s for %s, %d entries and %d pushes expected", cfg.Profile, len(plan.Devices), cfg.Connections, cfg.Rate, cfg.Duration, sum.Enters, sum.Pushes)
	}
	opt := load.Options{Drain: c.Drain, Slow: c.slow}
	last := time.Duration(0)
	opt.Progress = func(p load.Progress) {
		line := fmt.Sprintf("%3.0f of %.0f s │ %s pings, %.0f/s │ entries %d of %d │ lag %.2f ms", p.Elapsed.Seconds(), p.Total.Seconds(), say.Thousands(p.Sent), p.Rate, p.Entered, p.Expected, p.LagMS)
		switch {
		case out.tty:
			out.setStatus(line)
		case p.Elapsed-last >= 10*time.Second:
			last = p.Elapsed.Truncate(time.Second)
			out.printf("%s", line)
		}
	}
	target, disk, stop, err := c.target(e, plan.World)
	if err != nil {
		return nil, err
	}
	defer stop()
	if c.URL != "" {
		if err := checkWorld(target, plan.World); err != nil {
			return nil, redacted(err, c.URL)
		}
	}
	res, err := load.Run(e.ctx, plan, target, opt)
	out.setStatus("")
	if err != nil {
		return nil, err
	}
	m := &res.Machine
	m.FileSystem, m.SyncP50US, m.SyncP99US = disk.fileSystem, disk.p50US, disk.p99US
	if disk.fileSystem == "tmpfs" {
		res.Notes = append(res.Notes, "the gateway's data is in memory (tmpfs), where nothing is ever written to a disk; use --data for a folder on a real one")
	}
	return res, nil
}

// target is the gateway to load; stop ends what was started for it.
func (c *benchRunCmd) target(e *env, w *load.World) (t load.Target, d disk, stop func(), err error) {
	if c.URL != "" {
		t, err = c.remote()
		return t, d, func() {}, err
	}
	parent := c.Data
	if parent != "" {
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return t, d, nil, err
		}
	}
	dir, err := os.MkdirTemp(parent, "footfall-bench-")
	if err != nil {
		return t, d, nil, err
	}
	if d, err = probeDisk(dir); err != nil {
		_ = os.RemoveAll(dir)
		return t, d, nil, err
	}
	g, err := startBenchGateway(e.ctx, dir, w)
	if err != nil {
		_ = os.RemoveAll(dir)
		return t, d, nil, err
	}
	return g.target(), d, func() {
		g.stop()
		_ = os.RemoveAll(dir)
	}, nil
}

// remote is a gateway, or for --raw a NATS server, that is there.
func (c *benchRunCmd) remote() (load.Target, error) {
	urls, err := natsURLs(c.URL)
	if err != nil {
		return load.Target{}, usage("--url: %v", err)
	}
	t := load.Target{URL: c.URL, SameClock: true}
	for _, u := range urls {
		t.SameClock = t.SameClock && loopback(u.Hostname())
	}
	if c.Creds != "" {
		t.Options = append(t.Options, nats.UserCredentials(c.Creds))
	}
	return t, nil
}

// checkWorld reports what a gateway lacks of a profile's fences and campaign.
func checkWorld(t load.Target, w *load.World) error {
	has, err := load.Ask(t)
	if err != nil {
		return err
	}
	fs, _ := fences.Parse("fences.geojson", w.Fences, fences.Options{DefaultZone: "UTC"})
	set, err := fences.NewSet(fs, nil)
	if err != nil {
		return err
	}
	if has.FencesRev != set.Revision() {
		return fmt.Errorf("the gateway has %d fences, revision %s, and the profile needs its own %d, revision %s: write them with --export DIR and give them to the gateway",
			has.Fences, has.FencesRev, set.Len(), set.Revision())
	}
	if has.Campaigns == 0 {
		return errors.New("the gateway has no campaign: write the profile's with --export DIR and give it to the gateway")
	}
	return nil
}

// finish writes and prints a result.
func (c *benchRunCmd) finish(e *env, res *report.Result, thresholds []report.Threshold) error {
	dir := c.Out
	if dir == "" {
		dir = filepath.Join("footfall-bench", time.Now().Format("20060102-150405")+"-"+c.Profile)
	}
	if err := res.WriteFiles(dir); err != nil {
		return err
	}
	if c.JSON {
		if err := json.NewEncoder(e.out).Encode(res); err != nil {
			return err
		}
	} else {
		if err := res.WriteText(e.out); err != nil {
			return err
		}
		fmt.Fprintf(e.out, "report    %s\n", filepath.Join(dir, "report.html"))
	}
	return verdict(e, res, thresholds)
}

// verdict turns a result into an exit code: wrong entries or pushes are a failure, whatever was asked.
func verdict(e *env, res *report.Result, thresholds []report.Threshold) error {
	missed := false
	for _, t := range thresholds {
		if miss := t.Check(res); miss != "" {
			fmt.Fprintf(e.err, "missed  %s\n", miss)
			missed = true
		}
	}
	if len(thresholds) > 0 && res.Verdict != report.Valid {
		fmt.Fprintf(e.err, "missed  the run is %s: its figures say nothing\n", res.Verdict)
		missed = true
	}
	switch {
	case missed:
		return errThresholds
	case res.Correctness.Judged && !res.Correct:
		return errors.New("the gateway's entries or pushes are not what they have to be")
	}
	return nil
}

type benchReportCmd struct {
	Result string `arg:"" help:"A result.json."`
	Out    string `short:"o" help:"Page to write; default report.html beside the result." placeholder:"FILE"`
}

func (c *benchReportCmd) Run(e *env) error {
	r, err := report.Read(c.Result)
	if err != nil {
		return err
	}
	return writePage(e, cmp.Or(c.Out, filepath.Join(filepath.Dir(c.Result), "report.html")), r)
}

func writePage(e *env, path string, rs ...*report.Result) error {
	var page bytes.Buffer
	if err := report.WriteHTML(&page, rs...); err != nil {
		return err
	}
	if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.out, "report    %s\n", path)
	return err
}

type benchCompareCmd struct {
	A         string `arg:"" help:"Folder of a run, or its result.json, to compare with."`
	B         string `arg:"" help:"Folder of a run, or its result.json, to judge."`
	FailWorse string `help:"Exit code 4 when a latency of B is worse by more than this and that is no chance, such as 5%." placeholder:"SHARE"`
	HTML      string `help:"Write a page with both runs' curves." placeholder:"FILE"`
	JSON      bool   `help:"Print JSON."`
}

func (c *benchCompareCmd) Run(e *env) error {
	worse := math.Inf(1)
	if c.FailWorse != "" {
		v, err := strconv.ParseFloat(strings.TrimSuffix(c.FailWorse, "%"), 64)
		if err != nil || v < 0 || !strings.HasSuffix(c.FailWorse, "%") {
			return usage("--fail-worse: %q is not a share such as 5%%", c.FailWorse)
		}
		worse = v / 100
	}
	a, err := report.Read(c.A)
	if err != nil {
		return err
	}
	b, err := report.Read(c.B)
	if err != nil {
		return err
	}
	cmp, err := report.Compare(a, b)
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(e.out).Encode(cmp)
	} else {
		err = cmp.WriteText(e.out)
	}
	if err != nil {
		return err
	}
	if c.HTML != "" {
		if err := writePage(e, c.HTML, a, b); err != nil {
			return err
		}
	}
	if c.FailWorse == "" {
		return nil
	}
	failed := cmp.Worse(worse)
	for _, text := range failed {
		fmt.Fprintf(e.err, "worse   %s\n", text)
	}
	if len(failed) > 0 {
		return errThresholds
	}
	return nil
}
