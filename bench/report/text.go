package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteText prints what a person wants to know first.
func (r *Result) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r.Verdict)
	switch {
	case !r.Correctness.Judged:
		fmt.Fprintf(&b, ", correctness not judged: %s", r.Correctness.Why)
	case r.Correct:
		b.WriteString(", every entry and push as expected")
	default:
		b.WriteString(", but the entries or pushes are NOT as expected")
	}
	b.WriteString("\n")
	for _, reason := range r.Reasons {
		fmt.Fprintf(&b, "  %s\n", reason)
	}
	fmt.Fprintf(&b, "\npings/s   offered %.0f   sent %.0f (%.2f %% in time)   taken %.0f\n", r.Load.OfferedRate, r.Load.AchievedRate, 100*r.Load.AchievedShare, r.Load.CollectedRate)
	if r.Load.Acked > 0 {
		fmt.Fprintf(&b, "requests  stored %d   busy %d   unanswered %d   repeated %d   refused %d\n", r.Load.Acked, r.Load.Busy, r.Load.Unanswered, r.Load.Retried, r.Load.Refused)
	}
	if r.Verdict != Valid {
		b.WriteString("\nNo latency of this run is a figure to quote.\n")
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nsince the planned send time\tp50\tp90\tp99\tp99.9\tmax\tcount\t")
	row := func(name string, l *Latency) {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t\n", name, us(l.P50US), us(l.P90US), us(l.P99US), us(l.P999US), us(l.MaxUS), l.Count)
	}
	for _, name := range r.stageNames() {
		row(name, r.Stages[name])
	}
	if r.Generator.Lag != nil {
		row("(generator's lag)", r.Generator.Lag)
	}
	t.Flush()
	t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\n\texpected\tgot\tlost\textra\tduplicate\t")
	c := &r.Correctness
	for _, n := range []struct {
		name string
		*Tally
	}{{"entries", &c.Enters}, {"exits", &c.Exits}, {"pushes", &c.Pushes}} {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t\n", n.name, n.Expected, n.Got, n.Lost, n.Extra, n.Duplicate)
	}
	t.Flush()
	for _, n := range []*Tally{&c.Enters, &c.Exits, &c.Pushes} {
		for _, e := range n.Examples {
			fmt.Fprintf(&b, "  %s\n", e)
		}
	}
	for reason, diff := range c.Held {
		fmt.Fprintf(&b, "  held for %s: %+d against the expected\n", reason, diff)
	}
	if c.AckedLost > 0 {
		fmt.Fprintf(&b, "  %d pings were answered ok and are not stored\n", c.AckedLost)
	}
	fmt.Fprintf(&b, "\ngenerator %.0f %% of all cores, collection %.1f %% of that, longest pause %.2f ms", 100*r.Generator.CPUShare, 100*r.Generator.GCShare, r.Generator.GCPauseMS)
	if r.Gateway.RSSMB > 0 {
		fmt.Fprintf(&b, "   gateway %.0f %% of all cores, %.0f MB", 100*r.Gateway.CPUShare, r.Gateway.RSSMB)
	}
	if m := r.Machine; m.SyncP50US > 0 {
		fmt.Fprintf(&b, "\ndisk      a synced write of 4 KiB took %s, p99 %s, before the run", us(m.SyncP50US), us(m.SyncP99US))
	}
	b.WriteString("\n")
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
