package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"footfall/fences"
	"footfall/fences/diff"
	"footfall/internal/db"
	"footfall/internal/say"
	"footfall/stream"
	"footfall/stream/wire"
	"footfall/track"
)

type fenceDiffCmd struct {
	Old        string       `arg:"" help:"GeoJSON file or folder as it was."`
	New        string       `arg:"" help:"The same as it is to be."`
	Trace      string       `arg:"" optional:"" help:"Recorded positions over which both are compared: CSV (device,ts,lat,lon[,accuracy_m]), NDJSON pings or GPX, also gzip."`
	Recorded   bool         `help:"Compare both over the input log of the gateway, the running one or that of --data."`
	FenceFlags fenceFlags   `embed:""`
	Config     string       `short:"c" help:"The gateway's configuration file: its rules." env:"FOOTFALL_CONFIG" placeholder:"FILE"`
	Gateway    gatewayFlags `embed:""`
	JSON       bool         `name:"json" help:"Print the comparison as JSON."`
}

func (c *fenceDiffCmd) Run(e *env) error {
	if c.Trace != "" && c.Recorded {
		return usage("give a trace or --recorded, not both")
	}
	cfg, err := loadConfig(c.Config, e.environ)
	if err != nil {
		return err
	}
	var cat fences.Catalogue // by which an edit of a shape is known
	var sets [2]*fences.Set
	for i, path := range []string{c.Old, c.New} {
		loaded, err := c.FenceFlags.loadFenceSet(e.err, path)
		if err != nil {
			return err
		}
		var list []fences.Fence
		for k := range loaded.Len() {
			list = append(list, *loaded.At(int32(k)))
		}
		if sets[i], err = fences.NewSet(list, &cat); err != nil {
			return err
		}
	}
	d := diff.Between(sets[0], sets[1])
	if c.Trace != "" || c.Recorded {
		records, err := positionsOf(e, c.Trace, &c.Gateway)
		if err != nil {
			return err
		}
		both := diff.NewComparison(cfg.rules(), sets[0], sets[1])
		if err := eachPing(e.ctx, records, both.Apply); err != nil {
			return err
		}
		d.Entrants = both.Entrants()
	}
	if c.JSON {
		out := json.NewEncoder(e.out)
		out.SetIndent("", "  ")
		return out.Encode(d)
	}
	return printDiff(e.out, d)
}

// positionsOf are the records of a trace, or of the gateway's input log when there is none, in the order in which they were received.
func positionsOf(e *env, trace string, gateway *gatewayFlags) ([]wire.Record, error) {
	in := backtestInput{report: &backtestReport{}}
	switch {
	case trace != "":
		err := (&backtestCmd{Trace: trace, App: traceApp}).readTrace(e, &in)
		return in.records, err
	case gateway.Data != "":
		var r *stream.Recording
		err := gateway.view(func(*db.Tx) (err error) { // its lock: nobody else may write
			r, err = stream.RecordingOf(e.ctx, gateway.Data)
			return err
		})
		if err != nil {
			return nil, err
		}
		return r.Records, nil
	}
	nc, err := gateway.connect()
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	r, err := stream.ReadRecording(e.ctx, nc)
	if err != nil {
		return nil, err
	}
	return r.Records, nil
}

// eachPing hands on the positions among the records, until ctx ends.
func eachPing(ctx context.Context, records []wire.Record, fn func(track.DeviceID, track.Fix)) error {
	for i := range records {
		if i&0xfff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if rec := &records[i]; rec.Kind == wire.KindPing {
			fn(rec.Device, rec.Fix)
		}
	}
	return nil
}

// traceApp is the app of devices that a trace names without one.
const traceApp = "trace"

func printDiff(out io.Writer, d *diff.Fences) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, kind := range []struct {
		what string
		list []diff.Edit
	}{{"new", d.Added}, {"gone", d.Removed}, {"changed", d.Changed}} {
		for _, f := range kind.list {
			fmt.Fprintf(w, "%s\t%s\t%s\n", kind.what, say.Named(string(f.Fence), f.Name), strings.Join(f.Changes, "; "))
		}
	}
	if len(d.Added)+len(d.Removed)+len(d.Changed) == 0 {
		fmt.Fprintln(w, "no fence differs")
	}
	if n := d.Entrants; n != nil {
		moved := 0
		for _, m := range n.Moves {
			moved += m.N
		}
		fmt.Fprintf(w, "\nover %s of %s\n", say.Count(n.Positions, "position"), say.Count(n.Devices, "device"))
		fmt.Fprintf(w, "entrants\t%d → %d\t+%d, -%d, %d come to another fence first\n", n.Before, n.After, n.New, n.Gone, moved)
		for _, m := range n.Moves {
			fmt.Fprintf(w, "moved\t%s → %s\t%d\n", m.From, m.To, m.N)
		}
		for _, f := range n.Fences {
			fmt.Fprintf(w, "fence\t%s\t%d → %d\n", f.Fence, f.Before, f.After)
		}
		fmt.Fprintln(w, "\nan entrant is a device on a day, and comes to the fence that it enters first")
	}
	return w.Flush()
}
