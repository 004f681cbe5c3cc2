package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"footfall/fences"
	"footfall/internal/say"
)

// adviceReport is what recorded positions say of the radius and the min_stay of fences. Times are Unix ms, lengths of time ms.
type adviceReport struct {
	Positions int   `json:"positions"`
	Devices   int   `json:"devices"`
	From      int64 `json:"from"`
	To        int64 `json:"to"`
	Refused   int   `json:"refused,omitempty"` // positions that the gateway would refuse
	// GapMS is the median time between two positions of a device; 0 when no device has two.
	GapMS int64 `json:"median_gap_ms"`
	// AccuracyM and Accuracy90M are the median, and what nine of ten do not exceed, of those that say it; NoAccuracy do not.
	AccuracyM   int64 `json:"accuracy_m,omitempty"`
	Accuracy90M int64 `json:"accuracy_90_m,omitempty"`
	NoAccuracy  int   `json:"no_accuracy"`
	// Words counts what phones' own systems reported of fences.
	Words int `json:"os_reports,omitempty"`

	StayMS   int64   `json:"stay_ms"`
	Keep     float64 `json:"keep"`
	Enough   int     `json:"enough"`
	Event    string  `json:"event,omitempty"` // by which buyers are known; "": no purchases are
	WithinMS int64   `json:"within_ms,omitempty"`

	All    *fenceAdvice  `json:"all_circles,omitempty"`
	Fences []fenceAdvice `json:"fences"` // that somebody entered, the busiest first
	Quiet  int           `json:"not_entered"`
}

// fenceAdvice is the advice for a fence, or for all circles together. An entrant is a device on a day of the store's clock, in visits
// that began on it.
type fenceAdvice struct {
	Fence     fences.ID `json:"fence,omitempty"`
	Name      string    `json:"name,omitempty"`
	Circles   int       `json:"circles,omitempty"`     // all circles: how many
	RadiusM   float64   `json:"radius_m,omitempty"`    // now; 0: an area, or circles that differ
	MinStayMS *int64    `json:"min_stay_ms,omitempty"` // now; nil: fences that differ
	Entrants  int       `json:"entrants"`
	Visitors  int       `json:"visitors"`
	PassersBy int       `json:"passers_by"`
	Untold    int       `json:"untold"`
	Buyers    int       `json:"buyers"`
	// GapMS is the median time from an enter to the next position of the device; -1: in half of the cases there was none.
	GapMS int64        `json:"median_gap_ms"`
	Grid  []adviceCell `json:"grid"`

	Verdict adviceVerdict `json:"verdict"`
	// Advised is what is best of what keeps enough of the buyers or visitors; of 100 m and more AdvisedFromM100, when Advised is
	// smaller. With nothing_keeps_enough it is what keeps the most.
	Advised         *adviceCell `json:"advised,omitempty"`
	AdvisedFrom100M *adviceCell `json:"advised_from_100_m,omitempty"`
	By              string      `json:"by"`   // whom the advice goes by: buyers or visitors
	Says            string      `json:"says"` // the same in words
}

type adviceVerdict string

const (
	adviceGiven     adviceVerdict = "advised"
	adviceTooFew    adviceVerdict = "not_enough_data"
	adviceUntold    adviceVerdict = "cannot_be_told"
	adviceNoneKeeps adviceVerdict = "nothing_keeps_enough"
)

// adviceCell is what one radius and one stay of the grid make of the same positions.
type adviceCell struct {
	RadiusM        float64 `json:"radius_m,omitempty"` // 0: the fence's own, of an area or of circles that differ
	MinStayMS      int64   `json:"min_stay_ms"`        // -1: the fences' own, which differ
	Now            bool    `json:"now,omitempty"`      // so it is
	Entries        int     `json:"entries"`
	Devices        int     `json:"devices"`
	Stayed         int     `json:"stayed"` // entries that lasted --stay
	VisitorsKept   int     `json:"visitors_kept"`
	PassersDropped int     `json:"passers_by_dropped"`
	BuyersKept     int     `json:"buyers_kept"`
}

// phoneRadiusM is the smallest circle that phones' own systems notice well.
const phoneRadiusM = 100

// report sums up what was applied.
func (a *advisor) report(keep float64, enough int, event string) *adviceReport {
	a.count()
	r := &adviceReport{
		Positions: a.positions, Devices: len(a.devices), From: a.from, To: a.to, Refused: a.refused, NoAccuracy: a.vague, Words: a.words,
		StayMS: a.stay, Keep: keep, Enough: enough, Fences: []fenceAdvice{},
	}
	if a.gaps.n > 0 {
		r.GapMS = 1000 * a.gaps.quantile(0.5)
	}
	if a.accuracies.n > 0 {
		r.AccuracyM, r.Accuracy90M = a.accuracies.quantile(0.5), a.accuracies.quantile(0.9)
	}
	if a.purchases != nil {
		r.Event, r.WithinMS = event, a.within
	}
	for _, f := range a.fences {
		if !slices.ContainsFunc(f.cells, func(c adviceCounts) bool { return c.entries > 0 }) {
			r.Quiet++
			continue
		}
		r.Fences = append(r.Fences, a.advice(f, r))
	}
	slices.SortFunc(r.Fences, func(x, y fenceAdvice) int {
		return cmp.Or(cmp.Compare(y.Entrants, x.Entrants), cmp.Compare(x.Fence, y.Fence))
	})
	if f := a.all(); f != nil {
		r.All = new(a.advice(f, r))
		r.All.Circles = f.circles
	}
	return r
}

// advice is that for one fence.
func (a *advisor) advice(f *advisedFence, r *adviceReport) fenceAdvice {
	out := fenceAdvice{
		Fence: f.fence.ID, Name: f.fence.Name, Entrants: f.entrants, Visitors: f.visitors, PassersBy: f.passers, Untold: f.untold, Buyers: f.buyers,
		Grid: a.grid(f),
	}
	if !f.mixedRadii {
		out.RadiusM = f.fence.Shape.RadiusM()
	}
	if !f.mixedStays {
		out.MinStayMS = new(f.stay.Milliseconds())
	}
	if n := len(f.gaps); n > 0 {
		slices.Sort(f.gaps)
		if out.GapMS = f.gaps[(n-1)/2]; out.GapMS == notHeard {
			out.GapMS = -1
		}
	}
	out.judge(r)
	return out
}

// grid are the cells of a fence, the smaller radius first and then the shorter stay; circles' own radii, where they differ, come last.
func (a *advisor) grid(f *advisedFence) []adviceCell {
	var out []adviceCell
	for cell, at := range f.at {
		if at != cell {
			continue
		}
		ro, so := cell/len(a.stays), cell%len(a.stays)
		c, n := adviceCell{MinStayMS: a.stayOf(f, so).Milliseconds(), Now: cell == a.now(f)}, &f.cells[cell]
		if ro > 0 || !f.mixedRadii {
			c.RadiusM = a.radiusOf(f, ro)
		}
		if so == 0 && f.mixedStays {
			c.MinStayMS = -1
		}
		c.Entries, c.Devices, c.Stayed = n.entries, n.devices, n.stayed
		c.VisitorsKept, c.PassersDropped, c.BuyersKept = n.visitors, f.passers-n.passers, n.buyers
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y adviceCell) int {
		return cmp.Or(cmp.Compare(cmp.Or(x.RadiusM, math.Inf(1)), cmp.Or(y.RadiusM, math.Inf(1))), cmp.Compare(x.MinStayMS, y.MinStayMS))
	})
	return out
}

func (c *adviceCell) kept(by string) int {
	if by == adviceBuyers {
		return c.BuyersKept
	}
	return c.VisitorsKept
}

const (
	adviceBuyers   = "buyers"
	adviceVisitors = "visitors"
)

// judge gives the advice: of what keeps enough of the buyers, or of the visitors when too few buyers are known, what drops the most
// passers-by, and of equals the smallest radius, then the shortest stay.
func (f *fenceAdvice) judge(r *adviceReport) {
	of := f.Visitors
	if f.By = adviceVisitors; f.Buyers >= r.Enough {
		f.By, of = adviceBuyers, f.Buyers
	}
	switch {
	case of >= r.Enough && f.By == adviceBuyers:
	case f.Entrants >= r.Enough && (f.GapMS < 0 || f.GapMS > r.StayMS):
		heard := "the next position after an enter comes " + say.Span(f.GapMS) + " later (median)"
		if f.GapMS < 0 {
			heard = "half of those who enter are not heard of again"
		}
		f.Verdict, f.Says = adviceUntold, fmt.Sprintf("cannot be told: %s, so nobody can say who stayed %s", heard, say.Span(r.StayMS))
		return
	case of < r.Enough:
		f.Verdict, f.Says = adviceTooFew, fmt.Sprintf("not enough data: %s, at least %d are needed (--enough)", f.had(r), r.Enough)
		return
	}
	need := int(math.Ceil(r.Keep*float64(of) - 1e-9))
	if f.Advised = f.best(need, 0); f.Advised == nil {
		most := slices.MaxFunc(f.Grid, func(x, y adviceCell) int { return cmp.Compare(x.kept(f.By), y.kept(f.By)) })
		f.Verdict, f.Advised = adviceNoneKeeps, &most
		f.Says = fmt.Sprintf("nothing in the grid keeps %s of the %s; the most: %s", shareText(r.Keep), f.By, f.choice(&most, of))
		return
	}
	f.Verdict, f.Says = adviceGiven, f.choice(f.Advised, of)
	if f.Advised.Now {
		f.Says = "as it is: " + f.Says
	}
	if f.Advised.RadiusM > 0 && f.Advised.RadiusM < phoneRadiusM {
		if f.AdvisedFrom100M = f.best(need, phoneRadiusM); f.AdvisedFrom100M != nil {
			f.Says += fmt.Sprintf("\nfrom %d m on: %s", phoneRadiusM, f.choice(f.AdvisedFrom100M, of))
		}
	}
	if i := slices.IndexFunc(f.Grid, func(c adviceCell) bool { return c.Now }); i >= 0 && f.Grid[i] != *f.Advised {
		f.Says += "\nnow: " + f.choice(&f.Grid[i], of)
	}
}

// best is what drops the most passers-by of what keeps so many; nil when nothing does. Circles smaller than a radius are left out.
func (f *fenceAdvice) best(need int, fromM float64) (best *adviceCell) {
	for i := range f.Grid { // the smaller first
		c := &f.Grid[i]
		if c.kept(f.By) < need || c.RadiusM > 0 && c.RadiusM < fromM {
			continue
		}
		if best == nil || c.PassersDropped > best.PassersDropped {
			best = c
		}
	}
	return best
}

func (f *fenceAdvice) choice(c *adviceCell, of int) string {
	what := "min_stay " + stayText(c.MinStayMS)
	if c.RadiusM > 0 {
		what = "radius " + say.Metres(c.RadiusM) + ", " + what
	} else if f.Fence == "" {
		what = "their own radii, " + what
	}
	return fmt.Sprintf("%s: keeps %d of %d %s (%s), drops %d of %d passers-by (%s)", what,
		c.kept(f.By), of, f.By, say.Percent(int64(c.kept(f.By)), int64(of), 1), c.PassersDropped, f.PassersBy, say.Percent(int64(c.PassersDropped), int64(f.PassersBy), 1))
}

// had says who came, as far as it is wanted for advice.
func (f *fenceAdvice) had(r *adviceReport) string {
	text := fmt.Sprintf("%s of %s", say.Count(f.Visitors, "visitor"), say.Count(f.Entrants, "entrant"))
	if r.Event != "" {
		text = say.Count(f.Buyers, "buyer") + ", " + text
	}
	return text
}

func stayText(ms int64) string {
	if ms < 0 {
		return "their own"
	}
	return say.Span(ms)
}

func shareText(x float64) string { return fmt.Sprintf("%g %%", math.Round(1e4*x)/100) }

func (r *adviceReport) print(out io.Writer) error {
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
		if f.Verdict == adviceTooFew && len(r.Fences) > 1 {
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
	r   *adviceReport
	err error
}

func (p *advicePrinter) keep(err error) { p.err = cmp.Or(p.err, err) }

func (p *advicePrinter) line(format string, v ...any) {
	_, err := fmt.Fprintf(p.out, format+"\n", v...)
	p.keep(err)
}

func (p *advicePrinter) fence(f *fenceAdvice, name string) {
	p.line("\n%s: %s, %d stayed %s, %d passed by, %d cannot be told%s", name, say.Count(f.Entrants, "entrant"), f.Visitors, say.Span(p.r.StayMS), f.PassersBy, f.Untold, p.buyers(f))
	w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	head := "radius\tmin_stay\tentries\tdevices\tstayed\tvisitors kept\tpassers-by dropped"
	if p.r.Event != "" {
		head += "\tbuyers kept"
	}
	fmt.Fprintln(w, head)
	for i := range f.Grid {
		c := &f.Grid[i]
		radius, stay := "own", stayText(c.MinStayMS)
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
	if f.Verdict == adviceGiven {
		p.line("advice: %s", f.Says)
	} else {
		p.line("%s", f.Says)
	}
}

func (p *advicePrinter) buyers(f *fenceAdvice) string {
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
	p.line("Advised is what keeps %s of the buyers, or of the visitors when fewer than %d buyers are known, and drops the most passers-by.", shareText(r.Keep), r.Enough)
	p.line("A push comes later by the min_stay, and never to a phone that is silent for the rest of its visit.")
	if span := r.To - r.From; span < 4*r.StayMS {
		p.line("The positions are of %s in all: of visits that are cut off at either end it cannot be told.", say.Span(span))
	}
	if r.NoAccuracy == r.Positions {
		p.line("No position says how accurate it is, so each is believed to the metre.")
	} else {
		p.line("Accuracy: median %d m, nine of ten at most %d m; %s without.", r.AccuracyM, r.Accuracy90M, say.Count(r.NoAccuracy, "position"))
	}
	small := func(f fenceAdvice) bool {
		return f.Advised != nil && f.Advised.RadiusM > 0 && f.Advised.RadiusM < phoneRadiusM
	}
	if r.All != nil && small(*r.All) || slices.ContainsFunc(r.Fences, small) {
		p.line("Below %d m a circle is hardly larger than the error of a phone, and phones' own geofencing notices it late or never.", phoneRadiusM)
	}
	if r.Words > 0 {
		p.line("Reports of phones' own systems count for the circle that they were given, not for the other radii: %d of them.", r.Words)
	}
	if r.Refused > 0 {
		p.line("Positions that the gateway refuses, left out: %d.", r.Refused)
	}
}
