package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"footfall/fences/advice"
	"footfall/internal/say"
)

// printAdvice writes a report as tables, each with its advice, and what its figures mean.
func printAdvice(out io.Writer, r *advice.Report) error {
	p := &advicePrinter{out: out, r: r}
	gap := "no device sent two"
	if r.GapMS > 0 {
		gap = "a device's next position comes after " + say.Span(r.GapMS) + " (median)"
	}
	p.line("over %s of %s, %s to %s; %s", say.Count(r.Positions, "position"), say.Count(r.Devices, "device"),
		time.UnixMilli(r.From).UTC().Format(time.RFC3339), time.UnixMilli(r.To).UTC().Format(time.RFC3339), gap)
	var few []string
	if r.All != nil {
		p.fence(r.All, fmt.Sprintf("all %d circles", r.All.Circles))
	}
	for i := range r.Fences {
		f := &r.Fences[i]
		if f.Verdict == advice.TooFew && len(r.Fences) > 1 {
			few = append(few, say.Named(string(f.Fence), f.Name)+"\t"+f.Says)
			continue
		}
		p.fence(f, say.Named(string(f.Fence), f.Name))
	}
	if len(few) > 0 {
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w)
		for _, text := range few {
			fmt.Fprintln(w, text)
		}
		p.keep(w.Flush())
	}
	switch {
	case len(r.Fences) == 0:
		p.line("\nnobody entered any of the fences, %d in all", r.Quiet)
	case r.Quiet > 0:
		p.line("\nfences that nobody entered: %d", r.Quiet)
	}
	p.limits()
	return p.err
}

type advicePrinter struct {
	out io.Writer
	r   *advice.Report
	err error
}

func (p *advicePrinter) keep(err error) { p.err = cmp.Or(p.err, err) }

func (p *advicePrinter) line(format string, v ...any) {
	_, err := fmt.Fprintf(p.out, format+"\n", v...)
	p.keep(err)
}

func (p *advicePrinter) fence(f *advice.Advice, name string) {
	p.line("\n%s: %s, %d stayed %s, %d passed by, %d cannot be told%s", name, say.Count(f.Entrants, "entrant"), f.Visitors, say.Span(p.r.StayMS), f.PassersBy, f.Untold, p.buyers(f))
	w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	head := "radius\tmin_stay\tentries\tdevices\tstayed\tvisitors kept\tpassers-by dropped"
	if p.r.Event != "" {
		head += "\tbuyers kept"
	}
	fmt.Fprintln(w, head)
	for i := range f.Grid {
		c := &f.Grid[i]
		radius, stay := "own", c.StayText()
		if c.RadiusM > 0 {
			radius = say.Metres(c.RadiusM)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s", radius, stay, c.Entries, c.Devices, c.Stayed,
			partOf(c.VisitorsKept, f.Visitors), partOf(c.PassersDropped, f.PassersBy))
		if p.r.Event != "" {
			fmt.Fprintf(w, "\t%s", partOf(c.BuyersKept, f.Buyers))
		}
		if c.Now {
			fmt.Fprint(w, "\tnow")
		}
		fmt.Fprintln(w)
	}
	p.keep(w.Flush())
	if f.Verdict == advice.Advised {
		p.line("advice: %s", f.Says)
	} else {
		p.line("%s", f.Says)
	}
}

func (p *advicePrinter) buyers(f *advice.Advice) string {
	if p.r.Event == "" {
		return ""
	}
	return "; " + say.Count(f.Buyers, "buyer")
}

func partOf(n, of int) string {
	if of == 0 {
		return "–"
	}
	return fmt.Sprintf("%d, %s", n, say.Percent(int64(n), int64(of), 1))
}

// limits says what the figures mean and how far they can be trusted.
func (p *advicePrinter) limits() {
	r, stay := p.r, say.Span(p.r.StayMS)
	p.line("\nAn entrant is a device on a day of the store's clock. A visitor stayed %s inside the fence as it is drawn, a passer-by was seen", stay)
	p.line("clearly outside sooner; of the rest it cannot be told. Kept is whom the gateway would have seen enter on that visit.")
	if r.Event != "" {
		p.line("A buyer is a device with the event %s at most %s after entering at some radius; it counts at each fence so entered,", r.Event, say.Span(r.WithinMS))
		p.line("unless its property store names one, and no buyer is a passer-by.")
	}
	p.line("Advised is what keeps %s of the buyers, or of the visitors when fewer than %d buyers are known, and drops the most passers-by.", say.Share(r.Keep), r.Enough)
	p.line("A push comes later by the min_stay, and never to a phone that is silent for the rest of its visit.")
	if span := r.To - r.From; span < 4*r.StayMS {
		p.line("The positions are of %s in all: of visits that are cut off at either end it cannot be told.", say.Span(span))
	}
	if r.NoAccuracy == r.Positions {
		p.line("No position says how accurate it is, so each is believed to the metre.")
	} else {
		p.line("Accuracy: median %d m, nine of ten at most %d m; %s without.", r.AccuracyM, r.Accuracy90M, say.Count(r.NoAccuracy, "position"))
	}
	small := func(f advice.Advice) bool {
		return f.Advised != nil && f.Advised.RadiusM > 0 && f.Advised.RadiusM < advice.PhoneRadiusM
	}
	if r.All != nil && small(*r.All) || slices.ContainsFunc(r.Fences, small) {
		p.line("Below %d m a circle is hardly larger than the error of a phone, and phones' own geofencing notices it late or never.", advice.PhoneRadiusM)
	}
	if r.Words > 0 {
		p.line("Reports of phones' own systems count for the circle that they were given, not for the other radii: %d of them.", r.Words)
	}
	if r.Refused > 0 {
		p.line("Positions that the gateway refuses, left out: %d.", r.Refused)
	}
}
