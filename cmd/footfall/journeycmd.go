package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"footfall/internal/say"
	"footfall/stream"
)

type journeyCmd struct {
	Check    journeyCheckCmd    `cmd:"" help:"Check campaign and journey files: every problem at once, with its place. Exit code 3 when something is wrong."`
	Simulate journeySimulateCmd `cmd:"" help:"Lead a made-up person through a journey of a file: what would happen when. Nothing is stored or sent, and no gateway is asked."`
	List     journeyListCmd     `cmd:"" help:"List the journeys of the running gateway."`
	Show     journeyShowCmd     `cmd:"" help:"Show the steps of a journey and who waits where; with --device, where a person is and why."`
	Enter    journeyEnterCmd    `cmd:"" help:"Put a person into a journey that takes people in by API."`
	Pause    journeyPause       `cmd:"" help:"Let nobody move on. Nobody is lost: what happens meanwhile is remembered."`
	Resume   journeyResume      `cmd:"" help:"Let a paused journey go on."`
	Stop     journeyStop        `cmd:"" help:"End everybody's way through a journey and cancel the pushes that are owed. Holds through restarts."`
	Start    journeyStart       `cmd:"" help:"Let people into a stopped journey again."`
	Migrate  journeyMigrate     `cmd:"" help:"Move people who are under way to the version that is in the files."`
}

type journeyCheckCmd struct {
	Steps bool `help:"Print the steps of each journey, and where each goes on."`
	checkFlags
}

func (c *journeyCheckCmd) Run(e *env) error { return c.check(e, c.Steps) }

type journeyListCmd struct {
	JSON bool `name:"json" help:"Print the answer as JSON."`
	serverFlags
}

func (c *journeyListCmd) Run(e *env) error {
	var views []stream.JourneyView
	if err := c.ask(stream.JourneyListSubject, struct{}{}, &views, 10*time.Second); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, views)
	}
	if len(views) == 0 {
		fmt.Fprintln(e.out, "no journeys")
	}
	for _, v := range views {
		fmt.Fprintf(e.out, "%-24s %-8s %10s entered  %10s under way  %10s reached the goal\n", v.ID, v.State, say.Thousands(v.Counts["entered"]), say.Thousands(v.Waiting), say.Thousands(v.Counts["goal"]))
	}
	return nil
}

type journeyShowCmd struct {
	Journey string `arg:"" help:"Id of the journey."`
	Device  string `help:"APP.DEVICE: where its person is, and why." placeholder:"APP.DEVICE"`
	JSON    bool   `name:"json" help:"Print the answer as JSON."`
	serverFlags
}

func (c *journeyShowCmd) Run(e *env) error {
	var v stream.JourneyView
	if err := c.ask(stream.JourneyShowSubject, stream.JourneyRequest{Journey: c.Journey, Device: c.Device}, &v, 40*time.Second); err != nil {
		return err
	}
	switch {
	case c.JSON:
		return printJSON(e.out, v)
	case c.Device != "":
		writeRun(e.out, &v, c.Device)
	default:
		writeJourney(e.out, &v)
	}
	return nil
}

// surety prints a probability of which nobody is to think that it is all, or nothing.
func surety(p float64) string {
	switch {
	case p > 0.999:
		return "more than 99.9 %"
	case p < 0.001:
		return "less than 0.1 %"
	}
	return fmt.Sprintf("%.1f %%", 100*p)
}

// writeJourney prints a journey as a whole: its steps with who waits there, and what it has led to.
func writeJourney(w io.Writer, v *stream.JourneyView) {
	fmt.Fprintf(w, "%s  %s", v.ID, v.State)
	if v.Revision != "" {
		fmt.Fprintf(w, ", version %s", v.Revision)
	}
	fmt.Fprintf(w, "\n  entered %s, under way %s, goal %s\n", say.Thousands(v.Counts["entered"]), say.Thousands(v.Waiting), say.Thousands(v.Counts["goal"]))
	for _, name := range slices.Sorted(maps.Keys(v.Counts)) {
		for _, prefix := range []string{"reached.", "opened.", "call.", "ended.", "held."} {
			if reason, ok := strings.CutPrefix(name, prefix); ok {
				fmt.Fprintf(w, "  %s %-20s %10s\n", strings.TrimSuffix(prefix, "."), reason, say.Thousands(v.Counts[name]))
			}
		}
	}
	for _, version := range slices.Sorted(maps.Keys(v.Versions)) {
		if version != v.Revision {
			fmt.Fprintf(w, "  of these %s in version %s: footfall journey migrate %s moves them\n", say.Thousands(v.Versions[version]), version, v.ID)
		}
	}
	fmt.Fprintln(w, "steps")
	if n := v.Where["start"]; n > 0 {
		fmt.Fprintf(w, "  %-50s %10s wait\n", "start", say.Thousands(n))
	}
	for _, line := range v.Steps {
		id, _, _ := strings.Cut(line, " ")
		if n := v.Where[id]; n > 0 {
			line = fmt.Sprintf("%-50s %10s wait", line, say.Thousands(n))
		}
		fmt.Fprintln(w, " ", line)
	}
	for _, step := range slices.Sorted(maps.Keys(v.Experiments)) {
		fmt.Fprintf(w, "experiment %s\n", step)
		for i, a := range v.Experiments[step] {
			fmt.Fprintf(w, "  %-20s %10s people  %8s goals  %6.2f %%", a.Name, say.Thousands(a.People), say.Thousands(a.Goals), 100*a.Rate())
			switch control := v.Experiments[step][0]; {
			case i == 0 || a.People == 0:
			case control.Goals+a.Goals == 0:
				fmt.Fprint(w, "  not enough data")
			default:
				fmt.Fprintf(w, "  better than %s: %s sure", control.Name, surety(a.Better))
			}
			if v.Winners[step] == a.Name {
				fmt.Fprint(w, "  winner")
			}
			fmt.Fprintln(w)
		}
	}
	if len(v.Versions) > 1 {
		fmt.Fprintln(w, "versions")
		for _, r := range slices.Sorted(maps.Keys(v.Versions)) {
			fmt.Fprintf(w, "  %s %10s under way\n", r, say.Thousands(v.Versions[r]))
		}
	}
}

// writeRun prints one person's way.
func writeRun(w io.Writer, v *stream.JourneyView, device string) {
	if v.Run == nil {
		fmt.Fprintf(w, "%s (%s) has not been in %s, or that is forgotten\n", device, v.Subject, v.ID)
		return
	}
	r := v.Run
	stamp := func(ms int64) string { return stamp3(ms, nil) }
	fmt.Fprintf(w, "%s (%s) in %s, run %d, version %s\n", device, v.Subject, v.ID, r.N, r.Revision)
	fmt.Fprintf(w, "  %s  entered", stamp(r.Entered))
	if r.Fence != "" {
		fmt.Fprintf(w, " at %s", r.Fence)
	}
	if len(r.Entry) > 0 {
		b, _ := json.Marshal(r.Entry) // plain values always marshal
		fmt.Fprintf(w, " %s", b)
	}
	fmt.Fprintln(w)
	for _, m := range r.Path {
		fmt.Fprintf(w, "  %s  %s", stamp(m.At), m.Step)
		if m.Note != "" {
			fmt.Fprintf(w, " → %s", m.Note)
		}
		fmt.Fprintln(w)
	}
	switch {
	case r.Ended != 0:
		fmt.Fprintf(w, "  %s  ended: %s\n", stamp(r.Ended), r.Why)
	case r.Got != "":
		fmt.Fprintf(w, "  waits at %s until %s, and then takes %s\n", r.At, stamp(r.Due), r.Got)
	default:
		fmt.Fprintf(w, "  waits at %s since %s, until %s\n", r.At, stamp(r.Since), stamp(r.Due))
	}
	if v.State == "paused" {
		fmt.Fprintln(w, "  the journey is paused: nobody moves on")
	}
}

type journeyEnterCmd struct {
	Journey string   `arg:"" help:"Id of the journey."`
	Device  string   `arg:"" help:"APP.DEVICE."`
	ID      string   `required:"" help:"Name of this request: given again it has no effect, for 8 days." placeholder:"ID"`
	Props   []string `arg:"" optional:"" help:"NAME=VALUE: what templates and conditions read as entry.NAME; texts."`
	serverFlags
}

func (c *journeyEnterCmd) Run(e *env) error {
	app, device, ok := strings.Cut(c.Device, ".")
	if !ok {
		return usage("%q is no APP.DEVICE", c.Device)
	}
	q := stream.JourneyEnter{Journey: c.Journey, App: app, Device: device, ID: c.ID}
	for _, p := range c.Props {
		name, value, ok := strings.Cut(p, "=")
		if !ok {
			return usage("%q is no NAME=VALUE", p)
		}
		if q.Props == nil {
			q.Props = map[string]any{}
		}
		q.Props[name] = value
	}
	var a stream.JourneyEntered
	if err := c.ask(stream.JourneyEnterSubject, q, &a, 10*time.Second); err != nil {
		return err
	}
	if !a.Entered {
		return fmt.Errorf("not entered: %s", a.Reason)
	}
	_, err := fmt.Fprintf(e.out, "%s is in %s\n", c.Device, c.Journey)
	return err
}

// journeyOrder is an order about one journey.
type journeyOrder struct {
	Journey string `arg:"" help:"Id of the journey."`
	JSON    bool   `name:"json" help:"Print the answer as JSON."`
	serverFlags
}

func (c *journeyOrder) give(e *env, subject string, say func(a *stream.JourneyAnswer) string) error {
	var a stream.JourneyAnswer
	if err := c.ask(subject, stream.NameRequest{Name: c.Journey}, &a, 40*time.Second); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, a)
	}
	_, err := fmt.Fprintln(e.out, say(&a))
	return err
}

type (
	journeyPause   struct{ journeyOrder }
	journeyResume  struct{ journeyOrder }
	journeyStop    struct{ journeyOrder }
	journeyStart   struct{ journeyOrder }
	journeyMigrate struct{ journeyOrder }
)

func (c *journeyPause) Run(e *env) error {
	return c.give(e, stream.JourneyPauseSubject, func(a *stream.JourneyAnswer) string {
		if !a.Changed {
			return c.Journey + " was paused already"
		}
		return c.Journey + " is paused: nobody moves on, and nobody is lost; pushes that have been decided go out"
	})
}

func (c *journeyResume) Run(e *env) error {
	return c.give(e, stream.JourneyResumeSubject, func(a *stream.JourneyAnswer) string {
		if !a.Changed && a.Resumed == 0 {
			return c.Journey + " was not paused"
		}
		return fmt.Sprintf("%s goes on; %s over meanwhile", c.Journey, say.Count(a.Resumed, "wait"))
	})
}

func (c *journeyStop) Run(e *env) error {
	return c.give(e, stream.JourneyStopSubject, func(a *stream.JourneyAnswer) string {
		text := fmt.Sprintf("%s is stopped; %s ended, %d pushes and calls cancelled", c.Journey, say.Count(a.Ended, "run"), a.Cancelled)
		if len(a.Gone) > 0 {
			text += fmt.Sprintf("\nbeyond recall, the provider has taken them: %s\n  %s", say.Count(len(a.Gone), "push"), strings.Join(a.Gone, "\n  "))
		}
		if len(a.GoneCalls) > 0 {
			text += fmt.Sprintf("\nbeyond recall, the systems that were called have taken them: %s\n  %s", say.Count(len(a.GoneCalls), "call"), strings.Join(a.GoneCalls, "\n  "))
		}
		return text
	})
}

func (c *journeyStart) Run(e *env) error {
	return c.give(e, stream.JourneyStartSubject, func(a *stream.JourneyAnswer) string {
		if !a.Changed {
			return c.Journey + " was not stopped"
		}
		return c.Journey + " takes people in again; those who were in it do not come back"
	})
}

func (c *journeyMigrate) Run(e *env) error {
	return c.give(e, stream.JourneyMigrateSubject, func(a *stream.JourneyAnswer) string {
		return fmt.Sprintf("%s moved to the version in the files; %d stay as they are", say.Count(a.Migrated, "run"), a.Left)
	})
}
