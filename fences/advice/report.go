package advice

import (
	"cmp"
	"math"
	"slices"

	"footfall/fences"
	"footfall/internal/say"
)

// Report is what recorded positions say of the radius and the min_stay of fences. Times are Unix ms, lengths of time ms.
type Report struct {
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

	All    *Advice  `json:"all_circles,omitempty"`
	Fences []Advice `json:"fences"` // that somebody entered, the busiest first
	Quiet  int      `json:"not_entered"`
}

// Advice is the advice for a fence, or for all circles together. An entrant is a device on a day of the store's clock, in visits
// that began on it.
type Advice struct {
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
	GapMS int64  `json:"median_gap_ms"`
	Grid  []Cell `json:"grid"`

	Verdict Verdict `json:"verdict"`
	// Advised is what is best of what keeps enough of the buyers or visitors; of 100 m and more AdvisedFrom100M, when Advised is
	// smaller. With nothing_keeps_enough it is what keeps the most.
	Advised         *Cell  `json:"advised,omitempty"`
	AdvisedFrom100M *Cell  `json:"advised_from_100_m,omitempty"`
	By              string `json:"by"`   // whom the advice goes by: buyers or visitors
	Says            string `json:"says"` // the same in words
}

// Verdict says whether there is advice, and if not why.
type Verdict string

const (
	Advised      Verdict = "advised"
	TooFew       Verdict = "not_enough_data"
	Untellable   Verdict = "cannot_be_told"
	NothingKeeps Verdict = "nothing_keeps_enough"
)

// Cell is what one radius and one stay of the grid make of the same positions.
type Cell struct {
	RadiusM        float64 `json:"radius_m,omitempty"` // 0: the fence's own, of an area or of circles that differ
	MinStayMS      int64   `json:"min_stay_ms"`        // -1: the fences' own, which differ
	Now            bool    `json:"now,omitempty"`      // so it is
	Entries        int     `json:"entries"`
	Devices        int     `json:"devices"`
	Stayed         int     `json:"stayed"` // entries that lasted Config.Stay
	VisitorsKept   int     `json:"visitors_kept"`
	PassersDropped int     `json:"passers_by_dropped"`
	BuyersKept     int     `json:"buyers_kept"`
}

// StayText is the cell's min_stay in words.
func (c *Cell) StayText() string {
	if c.MinStayMS < 0 {
		return "their own"
	}
	return say.Span(c.MinStayMS)
}

// PhoneRadiusM is the smallest circle that phones' own systems notice well.
const PhoneRadiusM = 100

// Report sums up what was applied. It is called once, after the last position.
func (a *Advisor) Report() *Report {
	a.count()
	c := &a.config
	r := &Report{
		Positions: a.positions, Devices: len(a.devices), From: a.from, To: a.to, Refused: a.refused, NoAccuracy: a.vague, Words: a.words,
		StayMS: a.stay, Keep: c.Keep, Enough: c.Enough, Fences: []Advice{},
	}
	if a.gaps.n > 0 {
		r.GapMS = 1000 * a.gaps.quantile(0.5)
	}
	if a.accuracies.n > 0 {
		r.AccuracyM, r.Accuracy90M = a.accuracies.quantile(0.5), a.accuracies.quantile(0.9)
	}
	if c.Purchases != nil {
		r.Event, r.WithinMS = c.Event, a.within
	}
	for _, s := range a.sites {
		if !slices.ContainsFunc(s.cells, func(c counts) bool { return c.entries > 0 }) {
			r.Quiet++
			continue
		}
		r.Fences = append(r.Fences, a.advice(s, r))
	}
	slices.SortFunc(r.Fences, func(x, y Advice) int {
		return cmp.Or(cmp.Compare(y.Entrants, x.Entrants), cmp.Compare(x.Fence, y.Fence))
	})
	if s := a.all(); s != nil {
		r.All = new(a.advice(s, r))
		r.All.Circles = s.circles
	}
	return r
}

// advice is that for one fence.
func (a *Advisor) advice(s *site, r *Report) Advice {
	out := Advice{
		Fence: s.fence.ID, Name: s.fence.Name, Entrants: s.entrants, Visitors: s.visitors, PassersBy: s.passers, Untold: s.untold, Buyers: s.buyers,
		Grid: a.grid(s),
	}
	if !s.mixedRadii {
		out.RadiusM = s.fence.Shape.RadiusM()
	}
	if !s.mixedStays {
		out.MinStayMS = new(s.stay.Milliseconds())
	}
	if n := len(s.gaps); n > 0 {
		slices.Sort(s.gaps)
		if out.GapMS = s.gaps[(n-1)/2]; out.GapMS == notHeard {
			out.GapMS = -1
		}
	}
	out.judge(r)
	return out
}

// grid are the cells of a fence, the smaller radius first and then the shorter stay; circles' own radii, where they differ, come last.
func (a *Advisor) grid(s *site) []Cell {
	var out []Cell
	for cell, at := range s.at {
		if at != cell {
			continue
		}
		ro, so := cell/len(a.stays), cell%len(a.stays)
		c, n := Cell{MinStayMS: a.stayOf(s, so).Milliseconds(), Now: cell == a.now(s)}, &s.cells[cell]
		if ro > 0 || !s.mixedRadii {
			c.RadiusM = a.radiusOf(s, ro)
		}
		if so == 0 && s.mixedStays {
			c.MinStayMS = -1
		}
		c.Entries, c.Devices, c.Stayed = n.entries, n.devices, n.stayed
		c.VisitorsKept, c.PassersDropped, c.BuyersKept = n.visitors, s.passers-n.passers, n.buyers
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y Cell) int {
		return cmp.Or(cmp.Compare(cmp.Or(x.RadiusM, math.Inf(1)), cmp.Or(y.RadiusM, math.Inf(1))), cmp.Compare(x.MinStayMS, y.MinStayMS))
	})
	return out
}
