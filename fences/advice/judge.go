package advice

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"footfall/internal/say"
)

const (
	byBuyers   = "buyers"
	byVisitors = "visitors"
)

func (c *Cell) kept(by string) int {
	if by == byBuyers {
		return c.BuyersKept
	}
	return c.VisitorsKept
}

// judge gives the advice: of what keeps enough of the buyers, or of the visitors when too few buyers are known, what drops the most
// passers-by, and of equals the smallest radius, then the shortest stay.
func (f *Advice) judge(r *Report) {
	of := f.Visitors
	if f.By = byVisitors; f.Buyers >= r.Enough {
		f.By, of = byBuyers, f.Buyers
	}
	switch {
	case of >= r.Enough && f.By == byBuyers:
	case f.Entrants >= r.Enough && (f.GapMS < 0 || f.GapMS > r.StayMS):
		heard := "the next position after an enter comes " + say.Span(f.GapMS) + " later (median)"
		if f.GapMS < 0 {
			heard = "half of those who enter are not heard of again"
		}
		f.Verdict, f.Says = Untellable, fmt.Sprintf("cannot be told: %s, so nobody can say who stayed %s", heard, say.Span(r.StayMS))
		return
	case of < r.Enough:
		f.Verdict, f.Says = TooFew, fmt.Sprintf("not enough data: %s, at least %d are needed (--enough)", f.had(r), r.Enough)
		return
	}
	need := int(math.Ceil(r.Keep*float64(of) - 1e-9))
	if f.Advised = f.best(need, 0); f.Advised == nil {
		most := slices.MaxFunc(f.Grid, func(x, y Cell) int { return cmp.Compare(x.kept(f.By), y.kept(f.By)) })
		f.Verdict, f.Advised = NothingKeeps, &most
		f.Says = fmt.Sprintf("nothing in the grid keeps %s of the %s; the most: %s", say.Share(r.Keep), f.By, f.choice(&most, of))
		return
	}
	f.Verdict, f.Says = Advised, f.choice(f.Advised, of)
	if f.Advised.Now {
		f.Says = "as it is: " + f.Says
	}
	if f.Advised.RadiusM > 0 && f.Advised.RadiusM < PhoneRadiusM {
		if f.AdvisedFrom100M = f.best(need, PhoneRadiusM); f.AdvisedFrom100M != nil {
			f.Says += fmt.Sprintf("\nfrom %d m on: %s", PhoneRadiusM, f.choice(f.AdvisedFrom100M, of))
		}
	}
	if i := slices.IndexFunc(f.Grid, func(c Cell) bool { return c.Now }); i >= 0 && f.Grid[i] != *f.Advised {
		f.Says += "\nnow: " + f.choice(&f.Grid[i], of)
	}
}

// best is what drops the most passers-by of what keeps so many; nil when nothing does. Circles smaller than a radius are left out.
func (f *Advice) best(need int, fromM float64) (best *Cell) {
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

func (f *Advice) choice(c *Cell, of int) string {
	what := "min_stay " + c.StayText()
	if c.RadiusM > 0 {
		what = "radius " + say.Metres(c.RadiusM) + ", " + what
	} else if f.Fence == "" {
		what = "their own radii, " + what
	}
	return fmt.Sprintf("%s: keeps %d of %d %s (%s), drops %d of %d passers-by (%s)", what,
		c.kept(f.By), of, f.By, say.Percent(int64(c.kept(f.By)), int64(of), 1), c.PassersDropped, f.PassersBy, say.Percent(int64(c.PassersDropped), int64(f.PassersBy), 1))
}

// had says who came, as far as it is wanted for advice.
func (f *Advice) had(r *Report) string {
	text := fmt.Sprintf("%s of %s", say.Count(f.Visitors, "visitor"), say.Count(f.Entrants, "entrant"))
	if r.Event != "" {
		text = say.Count(f.Buyers, "buyer") + ", " + text
	}
	return text
}
