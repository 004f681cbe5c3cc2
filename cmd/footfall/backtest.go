package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"footfall/campaign"
	"footfall/internal/db"
	"footfall/internal/say"
	"footfall/internal/trace"
	"footfall/stream"
	"footfall/stream/wire"
	"footfall/track"
)

type backtestCmd struct {
	Trace      string       `arg:"" optional:"" help:"Recorded positions: CSV (device,ts,lat,lon[,accuracy_m]), NDJSON pings or GPX, also gzip; - is standard input. They are taken in the order in which they were received. Left out: the input log of the gateway, the running one or that of --data."`
	Campaigns  string       `help:"Campaign file or folder; drafts are welcome, nothing is sent. Default: those of --config." placeholder:"PATH"`
	Fences     string       `help:"GeoJSON file or folder. Default: those of --config." placeholder:"PATH"`
	FenceFlags fenceFlags   `embed:""`
	Config     string       `short:"c" help:"The gateway's configuration file: its rules and caps, and where its fences and campaigns are." env:"FOOTFALL_CONFIG" placeholder:"FILE"`
	App        string       `help:"App of devices that a trace names without one." default:"trace"`
	Gateway    gatewayFlags `embed:""`
	JSON       bool         `name:"json" help:"Print the report as JSON."`
	CSV        bool         `name:"csv" help:"Print the report as CSV: a line for each campaign, fence and hour."`
	HTML       string       `name:"html" help:"Write one page with everything into this file." placeholder:"FILE"`
	Who        string       `help:"Write each answer of a campaign into this file, as CSV: when, which device and person, where, and what held it." placeholder:"FILE"`
}

// backtestInput is what a backtest goes over.
type backtestInput struct {
	records []wire.Record
	pasts   map[track.DeviceID]*stream.Past // nil: each device is a person who can be reached
	report  *backtestReport
}

func (c *backtestCmd) Run(e *env) error {
	if !wire.ValidToken(c.App) {
		return usage("--app: %q is not 1 to 64 of A-Z a-z 0-9 _ -", c.App)
	}
	if c.CSV && c.JSON {
		return usage("give --csv or --json, not both")
	}
	cfg, err := c.drafts(e)
	if err != nil {
		return err
	}
	began := time.Now()
	in := backtestInput{report: &backtestReport{Fences: cfg.Fences.Len()}}
	for _, cm := range cfg.Campaigns.All() {
		in.report.Campaigns = append(in.report.Campaigns, &campaignBacktest{Campaign: cm.ID, Held: map[campaign.Reason]int{}})
	}
	if err := c.read(e, &in, &cfg.Rules); err != nil {
		return err
	}
	if in.pasts != nil {
		cfg.Past = func(id track.DeviceID) *stream.Past { return in.pasts[id] }
	}
	r, err := stream.NewRehearsal(cfg)
	if err != nil {
		return err
	}
	defer r.Close()
	for i := range in.records {
		if i&0xfff == 0 && e.ctx.Err() != nil {
			return e.ctx.Err()
		}
		if err := r.Record(e.ctx, &in.records[i]); err != nil {
			return err
		}
	}
	if err := r.Flush(e.ctx); err != nil {
		return err
	}
	in.report.Devices, in.report.Verdicts = r.Devices(), r.Verdicts()
	answers, err := in.report.fill(r, in.pasts)
	if err != nil {
		return err
	}
	in.report.Took = time.Since(began).Milliseconds()
	return c.print(e, in.report, answers)
}

// drafts reads what is to be tested.
func (c *backtestCmd) drafts(e *env) (r stream.RehearsalConfig, err error) {
	cfg, err := loadConfig(c.Config, e.environ)
	if err != nil {
		return r, err
	}
	c.FenceFlags.apply(&cfg.Fences)
	cfg.Fences.check(func(flag, format string, v ...any) {
		err = cmp.Or(err, usage("--%s: %s", flag, fmt.Sprintf(format, v...)))
	})
	if err != nil {
		return r, err
	}
	cfg.Fences.Path, cfg.Campaigns.Path = cmp.Or(c.Fences, cfg.Fences.Path), cmp.Or(c.Campaigns, cfg.Campaigns.Path)
	if cfg.Fences.Path == "" || cfg.Campaigns.Path == "" {
		return r, usage("give --fences and --campaigns; what is no draft may come from --config FILE")
	}
	r.Rules, r.Caps = cfg.rules(), cfg.Campaigns.Caps.list
	if r.Fences, err = loadFenceSet(e.err, cfg.Fences.Path, cfg.Fences.options()); err != nil {
		return r, err
	}
	cs, err := campaign.Load(cfg.Campaigns.Path)
	if err != nil {
		return r, err
	}
	r.Campaigns, err = campaign.NewSet(cs)
	return r, err
}

// read gets the recording, and what is known of its devices.
func (c *backtestCmd) read(e *env, in *backtestInput, rules *track.Rules) error {
	ttl := rules.PresenceTTL.Milliseconds()
	switch {
	case c.Trace != "":
		if err := c.readTrace(e, in); err != nil || c.Gateway.Data == "" {
			return err
		}
		return c.Gateway.view(func(tx *db.Tx) error {
			q := stream.PastQuery{From: in.report.From, To: in.report.To, ByFix: true, TTL: ttl}
			return in.know(e.ctx, devicesOf(in.records, nil), q, pastsFrom(e.ctx, tx))
		})
	case c.Gateway.Data != "":
		return c.Gateway.view(func(tx *db.Tx) error { // its lock first: nobody else may write
			r, err := stream.RecordingOf(e.ctx, c.Gateway.Data)
			if errors.Is(err, stream.ErrNoLog) {
				return fmt.Errorf("%w; that of a gateway with an external NATS server can be read while it runs", err)
			}
			if err != nil {
				return err
			}
			return in.take(e, r, ttl, pastsFrom(e.ctx, tx))
		})
	}
	nc, err := c.Gateway.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	r, err := stream.ReadRecording(e.ctx, nc)
	if err != nil {
		return err
	}
	return in.take(e, r, ttl, func(q stream.PastQuery) (stream.Pasts, error) {
		var out stream.Pasts
		err := c.Gateway.askOver(nc, stream.PastsSubject, q, &out, 30*time.Second)
		return out, err
	})
}

func pastsFrom(ctx context.Context, tx *db.Tx) func(stream.PastQuery) (stream.Pasts, error) {
	return func(q stream.PastQuery) (stream.Pasts, error) { return stream.PastsOf(ctx, tx, &q) }
}

// take takes over a recording. What is known of devices is asked by partition, because each log begins at a time of its own.
func (in *backtestInput) take(e *env, r *stream.Recording, ttl int64, ask func(stream.PastQuery) (stream.Pasts, error)) error {
	in.records = r.Records
	rep := in.report
	rep.Log, rep.Unreadable, rep.Withdrawn = true, r.Unreadable, r.Withdrawn
	for i := range in.records {
		if rec := &in.records[i]; rec.Kind == wire.KindPing {
			rep.took(rec.Fix.FixedAt)
		}
	}
	if rep.Positions == 0 && r.Withdrawn > 0 {
		return fmt.Errorf("the input log holds %s, and consent to them has been withdrawn since", say.Count(r.Withdrawn, "position"))
	}
	if rep.Positions == 0 {
		return errors.New("the input log holds no positions; a gateway keeps them for retention.positions (15 minutes, unless it is told otherwise)")
	}
	rep.ReceivedFrom, rep.ReceivedTo = r.Records[0].ReceivedAt, r.To
	for p, from := range r.From {
		if from == 0 {
			continue
		}
		devices := devicesOf(in.records, func(id track.DeviceID) bool { return wire.Partition(id, stream.Partitions) == p })
		if err := in.know(e.ctx, devices, stream.PastQuery{From: from, To: r.To, TTL: ttl}, ask); err != nil {
			return err
		}
	}
	return nil
}

// devicesOf are the devices of records that ok takes (nil: all), each once.
func devicesOf(records []wire.Record, ok func(track.DeviceID) bool) []string {
	seen := map[track.DeviceID]bool{}
	var out []string
	for i := range records {
		if id := records[i].Device; !seen[id] {
			seen[id] = true
			if ok == nil || ok(id) {
				out = append(out, string(id))
			}
		}
	}
	return out
}

// askedAtOnce is how many devices one question names.
const askedAtOnce = 1000

// know learns what was known of devices, and of the others of their persons.
func (in *backtestInput) know(ctx context.Context, devices []string, q stream.PastQuery, ask func(stream.PastQuery) (stream.Pasts, error)) error {
	if in.pasts == nil {
		in.pasts = map[track.DeviceID]*stream.Past{}
	}
	for len(devices) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		q.Devices = devices[:min(len(devices), askedAtOnce)]
		got, err := ask(q)
		if err != nil {
			return err
		}
		if len(got.Pasts) == 0 {
			return fmt.Errorf("nothing was answered about %s", devices[0])
		}
		devices = devices[len(got.Pasts):]
		for i := range got.Pasts {
			p := &got.Pasts[i]
			in.pasts[track.DeviceID(p.Device)] = p
			for _, other := range p.Devices {
				if id := track.DeviceID(other); in.pasts[id] == nil && !slices.Contains(devices, other) && !slices.ContainsFunc(got.Pasts, func(p stream.Past) bool { return p.Device == other }) {
					devices = append(devices, other)
				}
			}
		}
	}
	return nil
}

// readTrace reads a whole trace, ordered by the time of receipt. Rows that cannot be read are named and counted.
func (c *backtestCmd) readTrace(e *env, in *backtestInput) error {
	f, err := trace.Open(c.Trace)
	if err != nil {
		return err
	}
	defer f.Close()
	report := in.report
	bad := func(err error) {
		if report.Unreadable++; report.Unreadable <= maxBadShown {
			fmt.Fprintln(e.err, err)
		}
	}
	for {
		row, err := f.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if re, ok := errors.AsType[*trace.RowError](err); ok {
			bad(re)
			continue
		}
		if err != nil {
			return err
		}
		id := track.DeviceID(row.Device)
		if _, _, ok := wire.SplitDevice(id); !ok {
			if id, err = wire.JoinDevice(c.App, row.Device); err != nil {
				bad(&trace.RowError{File: c.Trace, Line: row.Line, Reason: fmt.Sprintf("device %q: %v", row.Device, err)})
				continue
			}
		}
		report.took(row.Fix.FixedAt)
		in.records = append(in.records, wire.Record{Kind: wire.KindPing, Device: id, Fix: row.Fix, ReceivedAt: row.Fix.ReceivedAt})
	}
	if report.Unreadable > maxBadShown {
		fmt.Fprintf(e.err, "… and %d more rows that could not be read\n", report.Unreadable-maxBadShown)
	}
	if len(in.records) == 0 {
		return fmt.Errorf("%s holds no position that can be used", c.Trace)
	}
	slices.SortStableFunc(in.records, func(a, b wire.Record) int { return cmp.Compare(a.ReceivedAt, b.ReceivedAt) })
	return nil
}

// print shows the report in the ways that were asked for.
func (c *backtestCmd) print(e *env, r *backtestReport, answers []backtestAnswer) error {
	for _, f := range []struct {
		path  string
		write func(io.Writer) error
	}{
		{c.HTML, func(w io.Writer) error { return writeBacktestPage(w, r) }},
		{c.Who, func(w io.Writer) error { return writeAnswers(w, answers) }},
	} {
		if f.path == "" {
			continue
		}
		out, err := createOut(f.path, c.Trace, c.Fences, c.Campaigns, c.Config)
		if err != nil {
			return err
		}
		if err := out.finish(f.write(out)); err != nil {
			return err
		}
		fmt.Fprintf(e.err, "%s written\n", f.path)
	}
	switch {
	case c.JSON:
		return printJSON(e.out, r)
	case c.CSV:
		return r.writeCSV(e.out)
	}
	r.write(e.out)
	return nil
}
