package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"footfall/dedupe"
	"footfall/fences"
	"footfall/internal/say"
	"footfall/internal/trace"
	"footfall/track"
)

type replayCmd struct {
	Trace      string     `arg:"" help:"Recorded positions: CSV (device,ts,lat,lon[,accuracy_m]), NDJSON pings or GPX, also gzip; - is standard input."`
	Fences     string     `required:"" help:"GeoJSON file or folder."`
	FenceFlags fenceFlags `embed:""`
	Rules      string     `help:"plain: inside is inside, no accuracy, margin, speed or order rules; default: the gateway's." enum:"default,plain" default:"default"`
	OncePerDay string     `help:"Print only each device's first enter of a day in this time zone; \"store\" uses the fence's." placeholder:"ZONE"`
	Out        string     `help:"File for the transitions, FILE.partial until they are complete; default standard output." placeholder:"FILE"`
	JSON       bool       `help:"Print one JSON object a line, with reasons and distances." name:"json"`
}

func (c *replayCmd) Run(e *env) error {
	once, err := c.onceRule()
	if err != nil {
		return err
	}
	set, err := c.FenceFlags.loadFenceSet(e.err, c.Fences)
	if err != nil {
		return err
	}
	in, err := trace.Open(c.Trace)
	if err != nil {
		return err
	}
	defer in.Close()
	out, finish := e.out, func(err error) error { return err }
	if c.Out != "" {
		f, err := createOut(c.Out, c.Trace, c.Fences)
		if err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		out, finish = f, f.finish
	}
	w := bufio.NewWriterSize(out, 1<<16)
	r := replayer{set: set, plain: c.Rules == "plain", once: once, json: c.JSON, w: w, errs: e.err}
	r.tracker = track.New(r.rules())
	started := time.Now()
	err = r.run(e, in)
	// What was decided before an error is not lost.
	if e := w.Flush(); err == nil && e != nil {
		err = fmt.Errorf("write transitions: %w", e)
	}
	if err = finish(err); err != nil {
		return err
	}
	r.summary(time.Since(started))
	return nil
}

// onceRule parses --once-per-day; nil when it was not given.
func (c *replayCmd) onceRule() (*onceRule, error) {
	switch c.OncePerDay {
	case "":
		return nil, nil
	case "store":
		return &onceRule{seen: map[string]bool{}}, nil
	}
	loc, err := time.LoadLocation(c.OncePerDay)
	if err != nil {
		return nil, usage("--once-per-day: %q is not an IANA time zone such as Europe/Kyiv, nor \"store\"", c.OncePerDay)
	}
	return &onceRule{loc: loc, seen: map[string]bool{}}, nil
}

// onceRule keeps the first enter of each device's day.
type onceRule struct {
	loc  *time.Location // nil: the fence's
	seen map[string]bool
}

func (o *onceRule) first(device string, tr *track.Transition) bool {
	loc := o.loc
	if loc == nil && tr.Fence != nil {
		loc = tr.Fence.Location
	}
	day, _ := dedupe.Period{Kind: dedupe.PeriodDay}.At(time.UnixMilli(tr.At), loc)
	key := device + "\x00" + day
	if o.seen[key] {
		return false
	}
	o.seen[key] = true
	return true
}

type replayer struct {
	set     *fences.Set
	tracker *track.Tracker
	plain   bool
	once    *onceRule
	json    bool
	w       *bufio.Writer
	errs    io.Writer

	res         track.Result
	rows        int
	bad         int
	refused     map[string]int
	verdicts    map[string]int
	transitions int
	pos         uint64
}

func (r *replayer) rules() track.Rules {
	if r.plain {
		return track.PlainRules()
	}
	return track.DefaultRules()
}

// maxBadShown is how many unreadable rows are named one by one.
const maxBadShown = 5

// run feeds the trace. With the default rules rows count in file order, as a server sees them. The plain rules
// order each device's rows by time, so the trace is held in memory and the devices follow one another in order of
// their first row.
func (r *replayer) run(e *env, in trace.Reader) error {
	r.refused, r.verdicts = map[string]int{}, map[string]int{}
	byDevice := map[string][]trace.Row{}
	var order []string
	if !r.json {
		if _, err := r.w.WriteString("device,fence,ts,kind\n"); err != nil {
			return err
		}
	}
	var broken error // what ended the trace early; the rows before it count
	for {
		row, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if re, ok := errors.AsType[*trace.RowError](err); ok {
			if r.bad++; r.bad <= maxBadShown {
				fmt.Fprintln(r.errs, re)
			}
			continue
		}
		if err != nil {
			broken = err
			break
		}
		if r.rows++; r.rows&0xfff == 0 && e.ctx.Err() != nil {
			return e.ctx.Err()
		}
		if !r.plain {
			if err := r.apply(&row); err != nil {
				return err
			}
			continue
		}
		if _, ok := byDevice[row.Device]; !ok {
			order = append(order, row.Device)
		}
		byDevice[row.Device] = append(byDevice[row.Device], row)
	}
	for _, device := range order {
		rows := byDevice[device]
		slices.SortStableFunc(rows, func(a, b trace.Row) int { return cmp.Compare(a.Fix.FixedAt, b.Fix.FixedAt) })
		for i := range rows {
			if err := r.apply(&rows[i]); err != nil {
				return err
			}
		}
		delete(byDevice, device)
	}
	return broken
}

func (r *replayer) apply(row *trace.Row) error {
	r.pos++
	r.tracker.Apply(r.set, track.DeviceID(row.Device), row.Fix, r.pos, &r.res)
	r.verdicts[r.res.Verdict.String()]++
	if r.res.Refusal != "" {
		r.refused[string(r.res.Refusal)]++
	}
	if r.plain {
		idOrder(r.res.Transitions)
	}
	for i := range r.res.Transitions {
		tr := &r.res.Transitions[i]
		if r.once != nil && (tr.Kind != track.Enter || !r.once.first(row.Device, tr)) {
			continue
		}
		r.transitions++
		if err := r.print(row, tr); err != nil {
			return err
		}
	}
	return nil
}

// idOrder puts what one row caused in the order that needs no knowledge of shapes: exits before enters, each by
// the fence's id. The gateway's own order, inner before outer, stays for the default rules.
func idOrder(trs []track.Transition) {
	slices.SortStableFunc(trs, func(a, b track.Transition) int {
		return cmp.Or(cmp.Compare(b.Kind, a.Kind), cmp.Compare(a.FenceID, b.FenceID))
	})
}

func (r *replayer) print(row *trace.Row, tr *track.Transition) error {
	ts := row.Stamp
	if tr.At != row.Fix.FixedAt { // an enter held for its min stay: the first fix inside has another time
		ts = strconv.FormatFloat(float64(tr.At)/1000, 'f', -1, 64)
	}
	var err error
	if r.json {
		_, err = fmt.Fprintf(r.w, `{"device":%s,"fence":%s,"ts":%s,"kind":%q,"at":%d,"confirmed_at":%d,"reason":%q,"confidence":%d,"edge_m":%.3f,"center_m":%.3f}`+"\n",
			jsonString(row.Device), jsonString(string(tr.FenceID)), jsonString(ts), tr.Kind, tr.At, tr.ConfirmedAt, tr.Reason, tr.Confidence, tr.EdgeDistanceM, tr.CenterDistanceM)
		return err
	}
	_, err = fmt.Fprintf(r.w, "%s,%s,%s,%s\n", csvField(row.Device), csvField(string(tr.FenceID)), csvField(ts), tr.Kind)
	return err
}

func (r *replayer) summary(took time.Duration) {
	if r.bad > maxBadShown {
		fmt.Fprintf(r.errs, "… and %d more rows that could not be read\n", r.bad-maxBadShown)
	}
	fmt.Fprintf(r.errs, "%d rows, %d devices, %d fences, %d transitions in %.2f s (%.0f rows/s)\n",
		r.rows, r.tracker.Len(), r.set.Len(), r.transitions, took.Seconds(), float64(r.rows)/took.Seconds())
	delete(r.verdicts, track.Accepted.String())
	delete(r.verdicts, track.Refused.String())
	for _, group := range []struct {
		name   string
		counts map[string]int
	}{{"not applied", r.verdicts}, {"refused", r.refused}} {
		if len(group.counts) > 0 {
			fmt.Fprintf(r.errs, "%s: %s\n", group.name, say.Counts(group.counts))
		}
	}
	if r.bad > 0 {
		fmt.Fprintf(r.errs, "unreadable rows: %d\n", r.bad)
	}
}

// csvField quotes a field that needs it.
func csvField(s string) string {
	if strings.ContainsAny(s, ",\"\r\n") {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}
