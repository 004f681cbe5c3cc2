package funnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"footfall/internal/db"
	"footfall/receipt"
)

// Query says what to report on.
type Query struct {
	Campaign string `json:"campaign,omitempty"` // "": all of them
	// From and To are the first and the last day, on the stores' clocks.
	From Day `json:"from"`
	To   Day `json:"to"`
	// Goal is the name of the customer event that counts as a conversion, and WithinMS for how long after a push, or
	// after the entry of one who was held out, it counts.
	Goal     string `json:"goal,omitempty"`
	WithinMS int64  `json:"within_ms,omitzero"`
	// LateMS is from when on a push counts as late, from the fix to what is known of it last.
	LateMS int64 `json:"late_ms,omitzero"`
}

// The defaults of a Query.
const (
	DefaultGoal     = "purchase"
	DefaultWithinMS = 2 * dayMS
	DefaultLateMS   = 60_000
)

// maxDays and maxWithin bound what one report reads.
const (
	maxDays   = 400
	maxWithin = 90 * dayMS
)

// ErrQuery: a question that makes no sense; the text says why.
var ErrQuery = errors.New("funnel: bad query")

// Check fills in the defaults and refuses what cannot be answered with an ErrQuery.
func (q *Query) Check() error {
	q.Goal = cmp.Or(q.Goal, DefaultGoal)
	q.WithinMS = cmp.Or(q.WithinMS, DefaultWithinMS)
	q.LateMS = cmp.Or(q.LateMS, DefaultLateMS)
	switch {
	case q.To < q.From:
		return fmt.Errorf("%w: the last day, %v, is before the first, %v", ErrQuery, q.To, q.From)
	case q.To-q.From >= maxDays:
		return fmt.Errorf("%w: %d days; at most %d at once", ErrQuery, q.To-q.From+1, maxDays)
	case q.WithinMS < 0 || q.WithinMS > maxWithin:
		return fmt.Errorf("%w: a conversion window of %d ms; up to 90 days", ErrQuery, q.WithinMS)
	case q.LateMS < 0:
		return fmt.Errorf("%w: late after %d ms", ErrQuery, q.LateMS)
	}
	return nil
}

// A Goal is one conversion of a person. At is Unix ms.
type Goal struct {
	ID       string
	At       int64
	Value    float64
	Currency string
}

// People knows what the ledger remembers of subjects, apart from pushes. A subject is as in Entry.Subject.
type People interface {
	// Goals lists what a subject did under a name from a time in Unix ms on.
	Goals(subject, name string, from int64) ([]Goal, error)
	// GoalIDs are the ids that Goals gives to an event which a device of the subject sent under its own id.
	GoalIDs(subject, name, own string) ([]string, error)
	// Visits lists when the visits of a subject began, from a time on.
	Visits(subject string, from int64) ([]int64, error)
	// Subscribers counts the devices that can be pushed to now.
	Subscribers(ctx context.Context) (int64, error)
}

// Report is what came of a stretch of days. Times are Unix ms.
type Report struct {
	Query
	MadeAt int64 `json:"made_at"`
	// Transitions is how many transitions the entries below are about, NoCampaign how many enters no campaign was asked
	// about; both over all campaigns, and only in a report about all.
	Transitions int64       `json:"transitions,omitzero"`
	NoCampaign  int64       `json:"no_campaign,omitzero"`
	Campaigns   []*Campaign `json:"campaigns"`
	Growth      *Growth     `json:"growth,omitempty"` // of a report about all
}

// Campaign is the report of one campaign.
type Campaign struct {
	ID    string `json:"campaign"`
	Total Group  `json:"total"`
	Rates []Rate `json:"rates"`
	// Breakdowns. The groups of each add up to the total; people may be in several.
	ByFence     []Group    `json:"by_fence"`
	ByVariant   []Group    `json:"by_variant"`
	ByHour      []Group    `json:"by_hour"`
	ByDay       []Group    `json:"by_day"`
	WhereWhen   []GridRow  `json:"where_when"` // fence by hour
	Attribution []Credit   `json:"attribution"`
	Lift        *Lift      `json:"lift,omitempty"` // nil when nobody was held out
	Cohort      []Rate     `json:"cohort"`         // churn and retention
	Lateness    []Lateness `json:"lateness,omitempty"`
	// The caller of Make adds these.
	Vouchers  []Vouchers `json:"vouchers,omitempty"`
	Forecasts []Forecast `json:"forecasts,omitempty"` // the newest first
}

// Forecast is what was expected of days of the report before they began, and what came of it.
type Forecast struct {
	MadeAt  int64   `json:"made_at"`
	From    Day     `json:"from"`
	To      Day     `json:"to"`
	Mean    float64 `json:"mean"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	Claimed *int64  `json:"claimed,omitempty"` // nil while the days are not over everywhere
	Error   float64 `json:"error"`             // of Mean, as a part of Claimed
	Inside  bool    `json:"inside"`            // whether Claimed is from Low to High
}

// Vouchers is how a pool stands that a campaign has given codes of: now, and since the pool was made, not on the days of the report.
// PutIn is the sum of Issued, Others, Ungiven, Left and Expired.
type Vouchers struct {
	Pool      string `json:"pool"`
	PutIn     int64  `json:"put_in"`
	Issued    int64  `json:"issued"`           // by pushes of the campaign, and not given back
	Redeemed  int64  `json:"redeemed"`         // of Issued
	Purchases int64  `json:"purchases"`        // of Redeemed: with a purchase
	Others    int64  `json:"others"`           // issued by other campaigns
	Ungiven   int64  `json:"ungiven"`          // redeemed, although nobody had been given them
	Left      int64  `json:"left"`             // can be given
	Expired   int64  `json:"expired"`          // were not given in time
	Expires   int64  `json:"expires,omitzero"` // Unix ms; 0: never
}

// Group is a part of the entries.
type Group struct {
	Key string `json:"key"`
	Counts
	People  int64 `json:"people"`  // who entered
	Reached int64 `json:"reached"` // people of whom a push was accepted

	people, reached map[string]struct{}
}

func (g *Group) add(e *Entry, m *message) {
	g.Counts.add(e, m)
	if g.people == nil {
		g.people, g.reached = map[string]struct{}{}, map[string]struct{}{}
	}
	g.people[e.Subject] = struct{}{}
	if m != nil && m.ended && m.outcome.State == Accepted {
		g.reached[e.Subject] = struct{}{}
	}
	g.People, g.Reached = int64(len(g.people)), int64(len(g.reached))
}

// sent is a push to a subject, for what is credited to pushes.
type sent struct {
	campaign  string
	device    string
	offset    int
	at        int64 // accepted; 0: it was not
	madeAt    int64
	opened    int64 // 0: not
	converted []receipt.Fact
}

// person is what the report gathers of one subject.
type person struct {
	pushes []sent
	// drawn says since when a subject takes part in a campaign of the report, and on which side.
	drawn map[string]draw
}

type draw struct {
	at      int64
	holdout bool
}

// builder gathers one campaign.
type builder struct {
	*Campaign
	fences, variants, hours, days map[string]*Group
	arms                          map[bool]*Arm // holdout -> people
	credit                        map[string]*Credit
	cohort                        map[string]cohort
	late                          lateness
	grid                          grid
}

// Make computes a report as of now. It reads every entry of the days and of a conversion window before them, some tens
// of microseconds each (BenchmarkMake), and keeps what it needs of each person in memory. ctx ends it early.
func Make(ctx context.Context, tx *db.Tx, who People, q Query, now int64) (*Report, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	r := &Report{Query: q, MadeAt: now, Campaigns: []*Campaign{}}
	ids, err := campaignsIn(tx)
	if err != nil {
		return nil, err
	}
	people := map[string]*person{}
	builders := map[string]*builder{}
	for _, id := range ids {
		var b *builder
		if id != "" && (q.Campaign == "" || q.Campaign == id) {
			b = newBuilder(id)
			builders[id] = b
		}
		if id == "" && q.Campaign != "" {
			continue
		}
		n := 0
		err := eachEntry(tx, id, q.From.begins()-q.WithinMS, q.To.ends(), func(e *Entry) error {
			if n++; n&0xfff == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			return r.take(tx, b, e, people)
		})
		if err != nil {
			return nil, err
		}
	}
	if err := r.follow(ctx, who, people, builders); err != nil {
		return nil, err
	}
	changes, err := r.changes(tx)
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(builders)) {
		c, err := builders[id].finish(who, changes, now)
		if err != nil {
			return nil, err
		}
		if c.Total.Entered > 0 || q.Campaign == id {
			r.Campaigns = append(r.Campaigns, c)
		}
	}
	if q.Campaign == "" {
		r.Growth, err = r.growth(ctx, who, changes)
	}
	return r, err
}

func newBuilder(id string) *builder {
	b := &builder{Campaign: &Campaign{ID: id}}
	b.Total.Key = "total"
	b.fences, b.variants, b.hours, b.days = map[string]*Group{}, map[string]*Group{}, map[string]*Group{}, map[string]*Group{}
	b.arms = map[bool]*Arm{false: {}, true: {}}
	b.credit = map[string]*Credit{}
	for _, m := range Models {
		b.credit[m.Name] = &Credit{Model: m.Name, Says: m.Says}
	}
	b.cohort, b.grid = map[string]cohort{}, grid{}
	return b
}

// take counts one entry; b is nil for one of a campaign that the report is not about, whose pushes matter all the same.
func (r *Report) take(tx *db.Tx, b *builder, e *Entry, people map[string]*person) error {
	day := DayOf(e.At, e.OffsetMin)
	in := r.From <= day && day <= r.To
	if in && r.Query.Campaign == "" {
		if e.Lead {
			r.Transitions++
		}
		if e.Campaign == "" {
			r.NoCampaign++
		}
	}
	if e.Campaign == "" {
		return nil
	}
	var m *message
	var facts []receipt.Fact
	if e.MID != "" {
		var err error
		m = &message{}
		if m.outcome, m.ended, err = OutcomeOf(tx, e.MID); err != nil {
			return err
		}
		if facts, err = m.read(tx, e); err != nil {
			return err
		}
	}
	p := people[e.Subject]
	if p == nil {
		p = &person{drawn: map[string]draw{}}
		people[e.Subject] = p
	}
	if m != nil {
		p.pushes = append(p.pushes, sentOf(e, m, facts))
	}
	if !in || b == nil {
		return nil
	}
	b.Total.add(e, m)
	group(b.fences, e.Fence).add(e, m)
	group(b.variants, e.Variant).add(e, m)
	group(b.hours, twoDigits(hourOf(e.At, e.OffsetMin))).add(e, m)
	group(b.days, day.String()).add(e, m)
	var one Counts
	one.add(e, m)
	b.grid.add(e, &one)
	if m != nil || e.Reason == HeldOut {
		if _, ok := p.drawn[b.ID]; !ok {
			p.drawn[b.ID] = draw{at: e.At, holdout: m == nil}
		}
	}
	if m != nil && m.ended && m.outcome.State == Accepted {
		b.late.add(e, &m.outcome, facts, r.LateMS)
		if _, ok := b.cohort[e.Subject]; !ok {
			b.cohort[e.Subject] = cohort{device: e.Device, at: m.outcome.At, day: day, offset: e.OffsetMin}
		}
	}
	return nil
}

func sentOf(e *Entry, m *message, facts []receipt.Fact) sent {
	s := sent{campaign: e.Campaign, device: e.Device, offset: e.OffsetMin, madeAt: e.DecidedAt}
	if m.ended && m.outcome.State == Accepted {
		s.at = m.outcome.At
	}
	for _, f := range facts {
		switch f.Ev {
		case receipt.Opened, receipt.Action:
			if s.opened == 0 || f.At < s.opened {
				s.opened = f.At
			}
		case receipt.Converted:
			s.converted = append(s.converted, f)
		}
	}
	return s
}

// read reads what became of an entry's push on each of the devices that it went to, and returns it as that of one person.
func (m *message) read(tx *db.Tx, e *Entry) ([]receipt.Fact, error) {
	var all []receipt.Fact
	for _, mid := range e.MIDs() {
		facts, err := receipt.Facts(tx, mid)
		if err != nil {
			return nil, err
		}
		m.devices(receipt.Reached(facts))
		all = receipt.Merge(all, facts)
	}
	m.reached = receipt.Reached(all)
	return all, nil
}

func (m *message) devices(reached []string) {
	for _, stage := range reached {
		switch stage {
		case receipt.Delivered:
			m.onDevices.Delivered++
		case receipt.Opened:
			m.onDevices.Opened++
		}
	}
}

func group(m map[string]*Group, key string) *Group {
	g := m[key]
	if g == nil {
		g = &Group{Key: key}
		m[key] = g
	}
	return g
}

func twoDigits(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// maxFences is how many fences a report names; the others are one group, so that it can be sent.
const maxFences = 300

// OtherFences is the key of the group of the fences that are not named.
const OtherFences = "(other fences)"

func (b *builder) finish(who People, changes map[string][]Change, now int64) (*Campaign, error) {
	b.Rates = b.Total.Rates()
	byKey := func(m map[string]*Group) []Group {
		out := []Group{}
		for _, key := range slices.Sorted(maps.Keys(m)) {
			out = append(out, *m[key])
		}
		return out
	}
	b.ByVariant, b.ByHour, b.ByDay, b.ByFence = byKey(b.variants), byKey(b.hours), byKey(b.days), byKey(b.fences)
	slices.SortStableFunc(b.ByFence, func(x, y Group) int { return cmp.Compare(y.Entered, x.Entered) })
	if len(b.ByFence) > maxFences {
		rest := Group{Key: OtherFences}
		for i := range b.ByFence[maxFences:] {
			rest.merge(&b.ByFence[maxFences+i])
		}
		b.ByFence = append(b.ByFence[:maxFences:maxFences], rest)
	}
	for _, groups := range [][]Group{{b.Total}, b.ByFence, b.ByVariant, b.ByHour, b.ByDay} {
		var sum int64
		for i := range groups {
			sum += groups[i].Entered
			if err := groups[i].check(); err != nil {
				return nil, fmt.Errorf("%w (campaign %s, %s)", err, b.ID, groups[i].Key)
			}
		}
		if sum != b.Total.Entered {
			return nil, fmt.Errorf("funnel: campaign %s: %d entered, but %d in the groups", b.ID, b.Total.Entered, sum)
		}
	}
	b.WhereWhen = b.grid.finish()
	if err := b.checkGrid(); err != nil {
		return nil, err
	}
	for _, m := range Models {
		b.Attribution = append(b.Attribution, *b.credit[m.Name])
	}
	if b.arms[true].People > 0 {
		l := Compare(*b.arms[false], *b.arms[true])
		b.Lift = &l
	}
	var err error
	if b.Cohort, err = returns(b.cohort, who, changes, now); err != nil {
		return nil, err
	}
	b.Lateness = b.late.finish()
	return b.Campaign, nil
}

// merge adds the counts of another group; people who are in both count once.
func (g *Group) merge(o *Group) {
	add := func(to *map[string]int64, from map[string]int64) {
		if *to == nil {
			*to = map[string]int64{}
		}
		for k, n := range from {
			(*to)[k] += n
		}
	}
	add(&g.Held, o.Held)
	add(&g.NotSent, o.NotSent)
	add(&g.Outcomes, o.Outcomes)
	for _, n := range []struct{ to, from *int64 }{
		{&g.Entered, &o.Entered}, {&g.Claimed, &o.Claimed}, {&g.Owed, &o.Owed}, {&g.Sent, &o.Sent}, {&g.Accepted, &o.Accepted},
		{&g.Delivered, &o.Delivered}, {&g.Displayed, &o.Displayed}, {&g.Opened, &o.Opened}, {&g.Converted, &o.Converted}, {&g.Dismissed, &o.Dismissed},
	} {
		*n.to += *n.from
	}
	g.Devices.add(&o.Devices)
	if g.people == nil {
		g.people, g.reached = map[string]struct{}{}, map[string]struct{}{}
	}
	maps.Copy(g.people, o.people)
	maps.Copy(g.reached, o.reached)
	g.People, g.Reached = int64(len(g.people)), int64(len(g.reached))
}
