package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"footfall/campaign"
	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/internal/say"
	"footfall/push/inapp"
	"footfall/receipt"
	"footfall/stream"
	"footfall/stream/wire"
	"footfall/track"
)

type explainCmd struct {
	Device  string        `arg:"" optional:"" help:"Device, as app.device or just device with --app. With --what-if it may be left out: a phone that nobody has seen yet."`
	App     string        `help:"App of the device." placeholder:"APP"`
	At      string        `help:"Only around this time: RFC 3339, or 15:04 for today." placeholder:"TIME"`
	Within  time.Duration `help:"How far around --at." default:"10m"`
	Gateway gatewayFlags  `embed:""`
	Zone    string        `help:"Time zone for the times shown; default the fence's." placeholder:"ZONE"`
	JSON    bool          `name:"json" help:"Print the whole record as JSON."`

	WhatIf    string  `name:"what-if" help:"Say what one more position would do: latitude, longitude and a time (RFC 3339, 15:04, or left out for now). Nothing is stored and nothing is sent." placeholder:"LAT,LON[,TIME]"`
	Accuracy  float32 `help:"Accuracy of the --what-if position in metres; 0 is unknown." default:"10" placeholder:"M"`
	Campaign  string  `help:"With --what-if: this campaign alone, also when it would not be asked." placeholder:"ID"`
	Campaigns string  `help:"With --what-if: a draft, file or folder. Its campaigns are asked beside the active ones, and instead of those with the same id." placeholder:"PATH"`
	Fences    string  `help:"With --what-if: a draft, file or folder. Its fences count beside the active ones, and instead of those with the same id." placeholder:"PATH"`
	Config    string  `short:"c" help:"With --what-if and --data: the gateway's configuration file, for its rules, fences and campaigns." env:"FOOTFALL_CONFIG" placeholder:"FILE"`
	Fence     string  `help:"Only what happened at this fence; with --what-if, measure this one." placeholder:"ID"`
}

func (c *explainCmd) Run(e *env) error {
	if c.WhatIf != "" {
		return c.whatIf(e)
	}
	for flag, text := range map[string]string{"campaign": c.Campaign, "campaigns": c.Campaigns, "fences": c.Fences} {
		if text != "" {
			return usage("--%s goes with --what-if", flag)
		}
	}
	id, err := c.device()
	if err != nil {
		return err
	}
	var loc *time.Location
	if c.Zone != "" {
		if loc, err = time.LoadLocation(c.Zone); err != nil {
			return usage("--zone: %q is not an IANA time zone such as Europe/Kyiv", c.Zone)
		}
	}
	from, to, err := c.span(loc)
	if err != nil {
		return err
	}
	ex, err := c.ask(id, from, to)
	if err != nil {
		return err
	}
	if c.Fence != "" {
		ex.Decisions = slices.DeleteFunc(ex.Decisions, func(d stream.Decision) bool { return string(d.Fence) != c.Fence })
	}
	if c.JSON {
		enc := json.NewEncoder(e.out)
		enc.SetIndent("", "  ")
		return enc.Encode(ex)
	}
	writeExplanation(e.out, ex, loc)
	return nil
}

func (c *explainCmd) device() (track.DeviceID, error) {
	if c.Device == "" {
		return "", usage("which device? write it as APP.DEVICE")
	}
	app, device, dotted := strings.Cut(c.Device, ".")
	if !dotted {
		app, device = c.App, c.Device
	}
	if app == "" {
		return "", usage("which app? write %s as APP.%s or give --app", c.Device, c.Device)
	}
	id, err := wire.JoinDevice(app, device)
	if err != nil {
		return "", usage("%s.%s: %v", app, device, err)
	}
	return id, nil
}

func (c *explainCmd) span(loc *time.Location) (from, to int64, err error) {
	if c.At == "" {
		return 0, 0, nil
	}
	at, err := momentOf("--at", c.At, loc)
	return at.Add(-c.Within).UnixMilli(), at.Add(c.Within).UnixMilli(), err
}

// momentOf reads a time that a person wrote: RFC 3339, or 15:04 of today in loc (nil: here).
func momentOf(flag, text string, loc *time.Location) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err == nil {
		return at, nil
	}
	clock, err := time.Parse("15:04", text)
	if err != nil {
		return at, usage("%s: %q is neither RFC 3339, such as 2026-11-28T14:05:00+02:00, nor 15:04", flag, text)
	}
	now := time.Now().In(cmp.Or(loc, time.Local))
	return time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), 0, 0, now.Location()), nil
}

// ask gets the explanation from the running gateway, or from the ledger of one that is not running.
func (c *explainCmd) ask(id track.DeviceID, from, to int64) (ex stream.Explanation, err error) {
	if c.Gateway.Data != "" {
		err := c.Gateway.view(func(tx *db.Tx) (err error) {
			ex, err = stream.ExplainStored(tx, id, from, to)
			return err
		})
		return ex, err
	}
	app, device, _ := wire.SplitDevice(id)
	err = c.Gateway.ask(stream.ExplainSubject, stream.ExplainRequest{App: app, Device: device, From: from, To: to, Fence: c.Fence, Closest: true}, &ex, 10*time.Second)
	return ex, err
}

// writeExplanation prints the ladder of each decision, the newest last.
func writeExplanation(w io.Writer, ex stream.Explanation, loc *time.Location) {
	who := ex.Device
	if ex.Person != "" {
		who += " (person " + ex.Person + ")"
	}
	fmt.Fprintln(w, who)
	switch {
	case !ex.Registered:
		fmt.Fprintln(w, "  not registered: nothing was ever sent on its device subject, so there is no push token")
	case !ex.Reachable:
		fmt.Fprintf(w, "  registered (%s), but without a usable push token\n", ex.Platform)
	case !ex.MayPush && ex.WithdrawnAt == 0:
		fmt.Fprintf(w, "  registered (%s); the person has opted out\n", ex.Platform)
	case !ex.MayPush:
		fmt.Fprintf(w, "  registered (%s)\n", ex.Platform)
	default:
		fmt.Fprintf(w, "  registered (%s), reachable\n", ex.Platform)
	}
	if ex.Refusal != nil {
		fmt.Fprintf(w, "  last refused input: %s at %s (%d in a row)\n", ex.Refusal.Reason, stamp3(ex.Refusal.At, loc), ex.Refusal.Count)
	}
	if ex.WithdrawnAt != 0 {
		fmt.Fprintf(w, "  the consent to its positions was withdrawn at %s: none is used since, and what earlier ones had told is erased;\n  to be decided about it would take a registration with consent.location true\n", stamp3(ex.WithdrawnAt, loc))
		ex.Closest = nil
	} else if len(ex.Decisions) == 0 {
		fmt.Fprintln(w, "  no decisions in this time: no accepted position changed its presence at any fence")
	}
	for i := range ex.Decisions {
		writeDecision(w, &ex.Decisions[i], ex.Deliveries, loc, false)
	}
	if ex.Closest != nil {
		writeApproach(w, ex.Closest, loc)
	}
	if ex.Live == nil {
		return
	}
	if n := len(ex.Decisions); n > 0 {
		loc = zoneOf(&ex.Decisions[n-1], loc)
	}
	fmt.Fprintf(w, "\nnow: last position %s ago\n", time.Duration(ex.Now-ex.Live.LastFixAt)*time.Millisecond)
	if q := ex.Live.Doubted; q != nil {
		fmt.Fprintf(w, "  a position of %s is doubted: %.0f m from the last one after %s, over %g m/s; nothing is decided about it until the next position agrees\n",
			stamp3(q.At, loc), q.DistM, time.Duration(q.AfterMS)*time.Millisecond, q.MaxSpeed)
	}
	for _, in := range ex.Live.Inside {
		fmt.Fprintf(w, "  inside %s since %s\n", in.Fence, stamp3(in.Since, loc))
	}
	for _, n := range ex.Live.Nearest {
		writeNearest(w, &n)
	}
}

// writeApproach says how near a device came to a fence, by the positions that are still kept.
func writeApproach(w io.Writer, a *stream.Approach, loc *time.Location) {
	if a.Nearest == nil {
		fmt.Fprintln(w, "  how near it came to a fence cannot be said: no position of this time is kept")
		return
	}
	fmt.Fprintf(w, "\nclosest approach of %s kept since %s\n", say.Count(a.Positions, "position"), stamp3(a.KeptSince, loc))
	fmt.Fprintf(w, "  at %s,", stamp3(a.At, loc))
	if a.AccuracyM > 0 {
		fmt.Fprintf(w, " ±%.0f m,", a.AccuracyM)
	}
	fmt.Fprintln(w, " from")
	writeNearest(w, a.Nearest)
}

// writeNearest says how far a fence is, and what the position lacks to enter it.
func writeNearest(w io.Writer, n *stream.NearbyOf) {
	fmt.Fprintf(w, "  %s: %s", say.Named(string(n.Fence), n.Name), distance(n.CenterM, n.EdgeM, n.RadiusM))
	if n.Change != "" {
		fmt.Fprintf(w, "; to enter it would take %s", n.Change)
	}
	fmt.Fprintln(w)
}

// writeDecision prints one decision; whatIf says that it was never made.
func writeDecision(w io.Writer, d *stream.Decision, deliveries map[string]stream.PushStatus, loc *time.Location, whatIf bool) {
	loc = zoneOf(d, loc)
	if d.Kind == "announcement" || d.Kind == "journey" {
		fmt.Fprintf(w, "\n%s  %s\n", stamp3(d.At, loc), strings.ToUpper(d.Kind))
		writeCampaigns(w, d, deliveries, loc, whatIf)
		return
	}
	fmt.Fprintf(w, "\n%s  %s %s", stamp3(d.At, loc), strings.ToUpper(strings.ReplaceAll(d.Kind, "_", " ")), say.Named(string(d.Fence), d.FenceName))
	if names := d.Reason.Names(); len(names) > 0 {
		fmt.Fprintf(w, "  (%s)", strings.Join(names, ", "))
	}
	fmt.Fprintln(w)
	row := func(mark, rule, format string, v ...any) { writeRow(w, mark, rule, format, v...) }
	accuracy := "accuracy unknown"
	if d.Fix.AccuracyM > 0 {
		accuracy = fmt.Sprintf("±%.0f m", d.Fix.AccuracyM)
	}
	row("✓", "fix", "%s, %s, received %s later", d.Fix.Source, accuracy, time.Duration(d.ReceivedAt-cmp.Or(d.ConfirmedAt, d.At))*time.Millisecond)
	row("✓", "gate", "%s", d.Fix.Verdict)
	if d.Fix.Cell != "" {
		row("✓", "cell", "%s → %s", d.Fix.Cell, say.Count(len(d.Candidates), "candidate"))
	}
	for _, c := range d.Candidates {
		mark := "·"
		if c.Inside {
			mark = "✓"
		}
		radius := 0.0
		if c.Fence == d.Fence {
			radius = d.RadiusM
		}
		row(mark, "  candidate", "%s: %s", c.Fence, distance(c.CenterM, c.EdgeM, radius))
	}
	switch d.Kind {
	case "enter":
		before := "was outside"
		if d.Reason.Has(track.Initial) {
			before = "first position"
		}
		row("✓", "presence", "%s → enter, confidence %d of 3%s", before, d.Confidence, waited(d))
	case "exit":
		row("✓", "presence", "was inside since %s → exit%s", stamp3(d.EnteredAt, loc), waited(d))
	case "campaign_began":
		row("✓", "presence", "was inside since %s when the campaign began", stamp3(d.EnteredAt, loc))
	case "dwell", "crossed":
		row("✓", "presence", "%s", d.Kind)
	default:
		row("✗", "presence", "no transition: %s", strings.ReplaceAll(d.Kind, "_", " "))
	}
	if d.Change != "" {
		row("→", "would take", "%s", d.Change)
	}
	if len(d.Campaigns) == 0 && d.Kind == "enter" {
		row("✗", "campaigns", "none is triggered by this")
	}
	writeCampaigns(w, d, deliveries, loc, whatIf)
}

// waited says how long a transition was held back by min_stay or min_away.
func waited(d *stream.Decision) string {
	if d.ConfirmedAt <= d.At || d.Reason.Has(track.Inferred) {
		return ""
	}
	return fmt.Sprintf(", believed %s later", time.Duration(d.ConfirmedAt-d.At)*time.Millisecond)
}

func writeRow(w io.Writer, mark, rule, format string, v ...any) {
	fmt.Fprintf(w, "  %s %-15s %s\n", mark, rule, fmt.Sprintf(format, v...))
}

// writeCampaigns prints what each campaign said, and what became of its push.
func writeCampaigns(w io.Writer, d *stream.Decision, deliveries map[string]stream.PushStatus, loc *time.Location, whatIf bool) {
	row := func(mark, rule, format string, v ...any) { writeRow(w, mark, rule, format, v...) }
	for _, c := range d.Campaigns {
		what := "campaign"
		if d.Kind == "journey" {
			what = "journey"
		}
		fmt.Fprintf(w, "  %s %s\n", what, c.Campaign)
		for _, check := range c.Checks {
			mark := "✓"
			if !check.OK {
				mark = "✗"
			}
			row(mark, "  "+check.Rule, "%s", check.Detail)
		}
		if c.Outcome == campaign.Held {
			row("✗", "  held", "%s", c.Reason)
			if len(c.Change) > 0 {
				row("→", "  would take", "%s", strings.Join(c.Change, "; "))
			}
			continue
		}
		if whatIf {
			when := "at once"
			if c.SendAt > d.ReceivedAt {
				when = "at " + stamp3(c.SendAt, loc)
			}
			row("✓", "  push", "would go out %s, until %s", when, stamp3(c.ExpiresAt, loc))
			continue
		}
		status, known := deliveries[c.MID]
		if !known {
			row("·", "  push", "%s, no longer kept", c.MID)
		}
		for n, status := range append([]stream.PushStatus{status}, status.Copies...) {
			if !known && n == 0 {
				continue
			}
			of := dedupe.CopyID(c.MID, n)
			if status.Device != "" {
				of += " to " + status.Device
			}
			switch {
			case c.Call != "" && status.State == "accepted":
				row("✓", "  call", "%s taken by %s at %s, %s", of, c.Call, stamp3(status.UpdatedAt, loc), say.Count(status.Attempts, "attempt"))
			case c.Call != "":
				row("·", "  call", "%s to %s %s %s, %s", of, c.Call, status.State, status.Reason, say.Count(status.Attempts, "attempt"))
			case status.State == "accepted" && strings.HasSuffix(status.Reason, inapp.ReasonInApp):
				row("✓", "  push", "%s shown by the app itself at %s, nothing was pushed", of, stamp3(status.UpdatedAt, loc))
			case status.State == "accepted":
				row("✓", "  push", "%s accepted by the provider at %s, %s", of, stamp3(status.UpdatedAt, loc), say.Count(status.Attempts, "attempt"))
			default:
				row("·", "  push", "%s %s %s, %s", of, status.State, status.Reason, say.Count(status.Attempts, "attempt"))
			}
			for _, f := range status.Receipts {
				row("✓", "  "+f.Ev, "%s%s", stamp3(f.At, loc), receiptDetail(&f))
			}
		}
	}
}

// receiptDetail says what a receipt adds to its kind and time.
func receiptDetail(f *receipt.Fact) string {
	var b strings.Builder
	if f.Ref != "" {
		fmt.Fprintf(&b, ", %s", f.Ref)
	}
	if f.Value != 0 {
		fmt.Fprintf(&b, ", %s", strings.TrimSpace(strconv.FormatFloat(f.Value, 'f', -1, 64)+" "+f.Currency))
	}
	if f.Via != "" {
		fmt.Fprintf(&b, " (by its %s)", f.Via)
	}
	return b.String()
}

// zoneOf is the zone that the person asked for, else the fence's.
func zoneOf(d *stream.Decision, asked *time.Location) *time.Location {
	if asked != nil || d.Zone == "" {
		return asked
	}
	loc, err := time.LoadLocation(d.Zone)
	if err != nil {
		return nil
	}
	return loc
}

// distance says how far a position is from a fence, in words that a store manager understands.
func distance(centerM, edgeM, radiusM float64) string {
	side := fmt.Sprintf("%.1f m outside the edge", edgeM)
	if edgeM <= 0 {
		side = fmt.Sprintf("inside by %.1f m", math.Abs(edgeM))
	}
	if radiusM > 0 {
		return fmt.Sprintf("%.1f m from the centre, radius %.0f m: %s", centerM, radiusM, side)
	}
	return fmt.Sprintf("%s, %.1f m from the centre", side, centerM)
}

func stamp3(ms int64, loc *time.Location) string {
	return time.UnixMilli(ms).In(cmp.Or(loc, time.Local)).Format("2006-01-02 15:04:05 MST")
}

func jsonString(s string) string {
	b, _ := json.Marshal(s) // a string always marshals
	return string(b)
}
