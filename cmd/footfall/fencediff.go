package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"footfall/dedupe"
	"footfall/fences"
	"footfall/geo"
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

// fenceDiff is what has changed between two sets of fences, and what that does to who comes where.
type fenceDiff struct {
	Added   []fenceEdit `json:"added"`
	Removed []fenceEdit `json:"removed"`
	Changed []fenceEdit `json:"changed"`
	// Entrants is nil when no positions were given.
	Entrants *entrantDiff `json:"entrants,omitempty"`
}

type fenceEdit struct {
	Fence   fences.ID `json:"fence"`
	Name    string    `json:"name,omitempty"`
	Changes []string  `json:"changes,omitempty"` // "radius 200 m → 150 m"
}

// entrantDiff compares who comes. An entrant is a device on a day of the store's clock, and comes to the fence that it enters
// first on that day, of several at once to the one that would push.
type entrantDiff struct {
	Positions int           `json:"positions"`
	Devices   int           `json:"devices"`
	Before    int           `json:"before"`
	After     int           `json:"after"`
	New       int           `json:"new"`  // come nowhere before, and somewhere after
	Gone      int           `json:"gone"` // the other way round
	Moves     []entrantMove `json:"moves"`
	Fences    []fenceTurns  `json:"fences"` // of which something differs
}

type entrantMove struct {
	From fences.ID `json:"from"`
	To   fences.ID `json:"to"`
	N    int       `json:"n"`
}

type fenceTurns struct {
	Fence  fences.ID `json:"fence"`
	Before int       `json:"before"`
	After  int       `json:"after"`
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
	d := compareFences(sets[0], sets[1])
	if c.Trace != "" || c.Recorded {
		records, err := positionsOf(e, c.Trace, &c.Gateway)
		if err != nil {
			return err
		}
		if d.Entrants, err = compareEntrants(e, cfg.rules(), sets[0], sets[1], records); err != nil {
			return err
		}
	}
	if c.JSON {
		out := json.NewEncoder(e.out)
		out.SetIndent("", "  ")
		return out.Encode(d)
	}
	return d.print(e.out)
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

// eachPing hands on the positions among the records, each with its place, until ctx ends.
func eachPing(ctx context.Context, records []wire.Record, fn func(rec *wire.Record, pos uint64)) error {
	for i := range records {
		if i&0xfff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if rec := &records[i]; rec.Kind == wire.KindPing {
			fn(rec, uint64(i+1))
		}
	}
	return nil
}

// traceApp is the app of devices that a trace names without one.
const traceApp = "trace"

// compareFences compares two sets of one catalogue, of which before is the earlier.
func compareFences(before, after *fences.Set) *fenceDiff {
	d := &fenceDiff{Added: []fenceEdit{}, Removed: []fenceEdit{}, Changed: []fenceEdit{}}
	for i := range after.Len() {
		f := after.At(int32(i))
		was, ok := before.Lookup(f.ID)
		if !ok {
			d.Added = append(d.Added, fenceEdit{f.ID, f.Name, []string{shapeOf(f)}})
		} else if list := changesOf(was, f, before.Gen()); len(list) > 0 {
			d.Changed = append(d.Changed, fenceEdit{f.ID, f.Name, list})
		}
	}
	for i := range before.Len() {
		if f := before.At(int32(i)); !has(after, f.ID) {
			d.Removed = append(d.Removed, fenceEdit{f.ID, f.Name, []string{shapeOf(f)}})
		}
	}
	return d
}

func has(set *fences.Set, id fences.ID) bool {
	_, ok := set.Lookup(id)
	return ok
}

func shapeOf(f *fences.Fence) string {
	if f.Shape.IsCircle() {
		return "circle of " + say.Metres(f.Shape.RadiusM())
	}
	return fmt.Sprintf("area of %.0f m²", f.Shape.AreaM2())
}

// changesOf says in what f differs from what it was in the set of a generation.
func changesOf(was, f *fences.Fence, gen uint32) (list []string) {
	if f.ShapeGen > gen {
		a, b := &was.Shape, &f.Shape
		if moved := geo.DistanceM(a.Center(), b.Center()); moved >= 0.05 {
			list = append(list, "moved by "+say.Metres(moved))
		}
		switch circles := a.IsCircle() && b.IsCircle(); {
		case circles && a.RadiusM() != b.RadiusM():
			list = append(list, "radius "+say.Metres(a.RadiusM())+" → "+say.Metres(b.RadiusM()))
		case !circles:
			list = append(list, "redrawn: "+shapeOf(was)+" → "+shapeOf(f))
		}
	}
	differs := func(name string, a, b any) {
		if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
			list = append(list, name+" "+cmp.Or(x, "none")+" → "+cmp.Or(y, "none"))
		}
	}
	initial := func(f *fences.Fence) string {
		if f.Initial == nil {
			return ""
		}
		return fmt.Sprint(*f.Initial)
	}
	differs("name", was.Name, f.Name)
	differs("store", was.Store, f.Store)
	differs("zone", was.Zone, f.Zone)
	differs("tags", strings.Join(was.Tags, ", "), strings.Join(f.Tags, ", "))
	differs("priority", was.Priority, f.Priority)
	differs("min_stay", was.MinStay, f.MinStay)
	differs("min_away", was.MinAway, f.MinAway)
	differs("dwell", was.Dwell, f.Dwell)
	differs("crossed", was.Crossed, f.Crossed)
	differs("initial", initial(was), initial(f))
	differs("exit_margin", was.ExitMarginM, f.ExitMarginM)
	differs("max_accuracy", was.MaxAccuracyM, f.MaxAccuracyM)
	return list
}

// visitors says who comes where by one set.
type visitors struct {
	set     *fences.Set
	tracker *track.Tracker
	res     track.Result
	first   map[string]fences.ID // device and day -> the fence that it came to
}

func (v *visitors) apply(rec *wire.Record, pos uint64) {
	v.tracker.Apply(v.set, rec.Device, rec.Fix, pos, &v.res)
	var best *track.Transition
	for i := range v.res.Transitions { // the smaller first
		if tr := &v.res.Transitions[i]; tr.Kind == track.Enter && (best == nil || tr.Fence.Priority > best.Fence.Priority) {
			best = tr
		}
	}
	if best == nil {
		return
	}
	day, _ := dedupe.Period{Kind: dedupe.PeriodDay}.At(time.UnixMilli(best.At), cmp.Or(best.Fence.Location, time.UTC))
	key := string(rec.Device) + "\x00" + day
	if _, ok := v.first[key]; !ok {
		v.first[key] = best.FenceID
	}
}

func compareEntrants(e *env, rules track.Rules, before, after *fences.Set, records []wire.Record) (*entrantDiff, error) {
	sides := [2]visitors{}
	for i, set := range []*fences.Set{before, after} {
		sides[i] = visitors{set: set, tracker: track.New(rules), first: map[string]fences.ID{}}
	}
	d := &entrantDiff{Moves: []entrantMove{}, Fences: []fenceTurns{}}
	devices := map[track.DeviceID]bool{}
	for i := range records {
		if i&0xfff == 0 && e.ctx.Err() != nil {
			return nil, e.ctx.Err()
		}
		rec := &records[i]
		if rec.Kind != wire.KindPing {
			continue
		}
		d.Positions++
		devices[rec.Device] = true
		for k := range sides {
			sides[k].apply(rec, uint64(i+1))
		}
	}
	d.Devices, d.Before, d.After = len(devices), len(sides[0].first), len(sides[1].first)
	turns, moves := map[fences.ID]*fenceTurns{}, map[entrantMove]int{}
	turn := func(id fences.ID) *fenceTurns {
		if turns[id] == nil {
			turns[id] = &fenceTurns{Fence: id}
		}
		return turns[id]
	}
	for key, was := range sides[0].first {
		turn(was).Before++
		if is, ok := sides[1].first[key]; !ok {
			d.Gone++
		} else if is != was {
			moves[entrantMove{From: was, To: is}]++
		}
	}
	for key, is := range sides[1].first {
		turn(is).After++
		if _, ok := sides[0].first[key]; !ok {
			d.New++
		}
	}
	for m, n := range moves {
		d.Moves = append(d.Moves, entrantMove{m.From, m.To, n})
	}
	slices.SortFunc(d.Moves, func(a, b entrantMove) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	for _, id := range slices.Sorted(maps.Keys(turns)) {
		if t := turns[id]; t.Before != t.After {
			d.Fences = append(d.Fences, *t)
		}
	}
	return d, nil
}

func (d *fenceDiff) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, kind := range []struct {
		what string
		list []fenceEdit
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
