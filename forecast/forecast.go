package forecast

import (
	"context"
	"errors"
	"fmt"
	"time"

	"footfall/campaign"
	"footfall/fences"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/reach"
	"footfall/track"
)

// Request asks what drafts would bring.
type Request struct {
	Campaigns string `json:"campaigns"` // the text of a campaign file
	// From and To are the first and the last day on the stores' clocks. AsOf is the day before which everything is known;
	// from it on nothing is, except for what really came of days that are over.
	From funnel.Day `json:"from"`
	To   funnel.Day `json:"to"`
	AsOf funnel.Day `json:"as_of"`
	// Keep has the gateway remember the forecast, for reports to set beside what comes.
	Keep bool `json:"keep,omitempty"`
}

// maxDays bounds the days of one forecast.
const maxDays = 92

const dayMS = 86_400_000

// ErrQuery: a question that makes no sense; the text says why.
var ErrQuery = errors.New("forecast: bad query")

// Check says what is wrong with the request; the error wraps ErrQuery.
func (q *Request) Check() error {
	switch {
	case q.To < q.From:
		return fmt.Errorf("%w: the last day, %s, is before the first, %s", ErrQuery, q.To, q.From)
	case q.To-q.From >= maxDays:
		return fmt.Errorf("%w: %s to %s are more than %d days", ErrQuery, q.From, q.To, maxDays)
	case q.AsOf > q.From:
		return fmt.Errorf("%w: a forecast as of %s begins on that day or later, not on %s", ErrQuery, q.AsOf, q.From)
	}
	return nil
}

// Forecast is what campaigns are expected to bring from From to To.
type Forecast struct {
	From      funnel.Day  `json:"from"`
	To        funnel.Day  `json:"to"`
	AsOf      funnel.Day  `json:"as_of"`
	Known     int         `json:"known"` // days before AsOf of which it is known who came
	Campaigns []*Campaign `json:"campaigns"`
	Kept      []string    `json:"kept,omitempty"` // campaigns whose forecast is remembered
}

// Campaign is the forecast of one campaign. Figures of people are of different people as its once_per counts
// them.
type Campaign struct {
	Campaign string `json:"campaign"`
	// Enough says that Total has an interval; Why says what is missing when not.
	Enough bool   `json:"enough"`
	Why    string `json:"why,omitempty"`
	Fences int    `json:"fences"`
	Steps  []Step `json:"steps,omitempty"`
	// Total is the pushes in all, Days those of each day.
	Total  reach.Expected `json:"total"`
	Days   []Day          `json:"days,omitempty"`
	Stores []Group        `json:"stores,omitempty"` // by fence; who goes to two is in both
	Hours  []Group        `json:"hours,omitempty"`
	Actual *Actual        `json:"actual,omitempty"` // when all days are over
	Notes  []string       `json:"notes,omitempty"`  // what is not taken off
}

// Step is how many are left after one of the campaign's rules, on average over past times.
type Step struct {
	Name string  `json:"name"`
	N    float64 `json:"n"`
	Says string  `json:"says"`
}

// Day is one day; Why says what is missing when there is no interval. Actual is nil while the day is not over.
type Day struct {
	Day      funnel.Day     `json:"day"`
	Open     bool           `json:"open"` // whether the window is open at all
	Expected reach.Expected `json:"expected"`
	Why      string         `json:"why,omitempty"`
	Actual   *int64         `json:"actual,omitempty"`
}

// Group is a part of the total.
type Group struct {
	Key string  `json:"key"`
	N   float64 `json:"n"`
}

// Actual is what the report counted.
type Actual struct {
	Claimed int64   `json:"claimed"`
	Error   float64 `json:"error"`  // of the forecast, as a part of Claimed; 0 when nobody was
	Inside  bool    `json:"inside"` // whether Claimed is in the interval
}

// Basis is what a forecast is made from, beside the drafts.
type Basis struct {
	Tx     *db.Tx
	People funnel.People // asked when days of the forecast are over
	Fences *fences.Set
	Caps   []campaign.Cap // over all campaigns: the gateway's
	Now    time.Time
}

// Make estimates the pushes of campaigns from who came on past days of the same weekday, as the sketches of the
// ledger know it, the window of the days asked for, and the share of the registered devices that fit the audience and can
// be reached now; what visits and caps over all campaigns, those of the gateway included, take off it learns from a sample
// of people. It reads the sketches of the campaigns' fences once for every past week that is kept, and all profiles once or
// twice for each campaign. Of q it takes the days. The error wraps ErrQuery when these make no sense.
func (b *Basis) Make(ctx context.Context, campaigns []*campaign.Campaign, q Request) (*Forecast, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	days, err := reach.Days(b.Tx)
	if err != nil {
		return nil, err
	}
	known := map[funnel.Day]bool{}
	for i, day := range days {
		if i > 0 && funnel.Day(day) < q.AsOf { // on the first day the gateway did not run from its beginning
			known[funnel.Day(day)] = true
		}
	}
	f := &Forecast{From: q.From, To: q.To, AsOf: q.AsOf, Known: len(known), Campaigns: []*Campaign{}}
	for _, c := range campaigns {
		m := &forecaster{Basis: b, c: c, q: q, known: known, out: &Campaign{Campaign: c.ID}}
		if err := m.make(ctx); err != nil {
			return nil, err
		}
		f.Campaigns = append(f.Campaigns, m.out)
	}
	return f, nil
}

// forecaster makes the forecast of one campaign.
type forecaster struct {
	*Basis
	c     *campaign.Campaign
	q     Request
	known map[funnel.Day]bool
	out   *Campaign

	fences []*fences.Fence // that the trigger selects, those of one claim scope together
	open   map[*time.Location][][24]hour
	weeks  []*pastWeek
	again  *rerunShares // nil: no rule needs it
}

func (m *forecaster) len() int { return int(m.q.To-m.q.From) + 1 }

func (m *forecaster) make(ctx context.Context) error {
	if t := &m.c.Trigger; t.Schedule != nil || t.Kind != track.Enter {
		what := t.Kind.String()
		if t.Schedule != nil {
			what = "schedule"
		}
		m.out.Why = fmt.Sprintf("no forecast: the trigger is %s, and only who came in is remembered", what)
		if t.Schedule != nil {
			m.out.Why += "; footfall audience count says who an announcement goes to"
		}
		return nil
	}
	m.choose()
	if m.out.Fences = len(m.fences); m.out.Fences == 0 {
		m.out.Why = "no fence has an id or tag that the trigger names"
		return nil
	}
	if err := m.read(ctx); err != nil {
		return err
	}
	n, err := m.count(ctx)
	if err != nil {
		return err
	}
	fit, reachable := 0.0, 0.0
	if n.Fitting > 0 {
		fit, reachable = float64(n.Fitting)/float64(n.Devices), float64(n.Reachable)/float64(n.Fitting)
	}
	if m.again, err = m.rerun(ctx, n.Devices); err != nil {
		return err
	}
	sent := 1 - float64(m.c.Holdout)/10_000
	share := fit * reachable * sent
	if m.again != nil {
		share *= m.again.visits * m.again.caps
	}
	m.total(share)
	m.steps(fit, reachable, sent)
	for i := range m.len() {
		m.day(i, share)
	}
	m.groups(share)
	if err := m.notes(); err != nil {
		return err
	}
	return m.actual(ctx)
}
