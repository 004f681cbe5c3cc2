package stream

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/reach"
	"footfall/track"
)

// keepReach notes who came in, to be added to the sketches once for the whole stretch. An edit of a fence is nobody's
// coming, and what arrives too late for a push of an ordinary campaign is not counted either.
func (s *settler) keepReach(in *input, tr *track.Transition, p *audience.Profile, t *tally) {
	if s.keepSketches == 0 || tr.Kind != track.Enter || tr.Reason&(track.FenceCreated|track.FenceChanged) != 0 ||
		in.receivedAt-in.fix.FixedAt > campaign.DefaultMaxAge.Milliseconds() {
		return
	}
	loc := clockOf(tr)
	if loc == nil {
		loc = time.UTC
	}
	at := time.UnixMilli(tr.At).In(loc)
	_, seconds := at.Zone()
	t.came = append(t.came, reach.Entry{Fence: string(tr.FenceID), Day: int32(funnel.DayOf(tr.At, seconds/60)), Hour: at.Hour(), Subject: p.Subject()})
}

// ForecastRequest asks what drafts would bring.
type ForecastRequest struct {
	Campaigns string `json:"campaigns"` // the text of a campaign file
	// From and To are the first and the last day on the stores' clocks. AsOf is the day before which everything is known;
	// from it on nothing is, except for what really came of days that are over.
	From funnel.Day `json:"from"`
	To   funnel.Day `json:"to"`
	AsOf funnel.Day `json:"as_of"`
	// Keep has the gateway remember the forecast, for reports to set beside what comes.
	Keep bool `json:"keep,omitempty"`
}

// MaxForecastDays bounds the days of one forecast.
const MaxForecastDays = 92

// Check says what is wrong with the request; the error wraps ErrQuery.
func (q *ForecastRequest) Check() error {
	switch {
	case q.To < q.From:
		return fmt.Errorf("%w: the last day, %s, is before the first, %s", ErrQuery, q.To, q.From)
	case q.To-q.From >= MaxForecastDays:
		return fmt.Errorf("%w: %s to %s are more than %d days", ErrQuery, q.From, q.To, MaxForecastDays)
	case q.AsOf > q.From:
		return fmt.Errorf("%w: a forecast as of %s begins on that day or later, not on %s", ErrQuery, q.AsOf, q.From)
	}
	return nil
}

// Forecast is what campaigns are expected to bring from From to To.
type Forecast struct {
	From      funnel.Day          `json:"from"`
	To        funnel.Day          `json:"to"`
	AsOf      funnel.Day          `json:"as_of"`
	Known     int                 `json:"known"` // days before AsOf of which it is known who came
	Campaigns []*CampaignForecast `json:"campaigns"`
	Kept      []string            `json:"kept,omitempty"` // campaigns whose forecast is remembered
}

// CampaignForecast is the forecast of one campaign. Figures of people are of different people as its once_per counts
// them.
type CampaignForecast struct {
	Campaign string `json:"campaign"`
	// Enough says that Total has an interval; Why says what is missing when not.
	Enough bool           `json:"enough"`
	Why    string         `json:"why,omitempty"`
	Fences int            `json:"fences"`
	Steps  []ForecastStep `json:"steps,omitempty"`
	// Total is the pushes in all, Days those of each day.
	Total  reach.Expected  `json:"total"`
	Days   []ForecastDay   `json:"days,omitempty"`
	Stores []ForecastGroup `json:"stores,omitempty"` // by fence; who goes to two is in both
	Hours  []ForecastGroup `json:"hours,omitempty"`
	Actual *ForecastActual `json:"actual,omitempty"` // when all days are over
	Notes  []string        `json:"notes,omitempty"`  // what is not taken off
}

// ForecastStep is how many are left after one of the campaign's rules, on average over past times.
type ForecastStep struct {
	Name string  `json:"name"`
	N    float64 `json:"n"`
	Says string  `json:"says"`
}

// ForecastDay is one day; Why says what is missing when there is no interval. Actual is nil while the day is not over.
type ForecastDay struct {
	Day      funnel.Day     `json:"day"`
	Open     bool           `json:"open"` // whether the window is open at all
	Expected reach.Expected `json:"expected"`
	Why      string         `json:"why,omitempty"`
	Actual   *int64         `json:"actual,omitempty"`
}

// ForecastGroup is a part of the total.
type ForecastGroup struct {
	Key string  `json:"key"`
	N   float64 `json:"n"`
}

// ForecastActual is what the report counted.
type ForecastActual struct {
	Claimed int64   `json:"claimed"`
	Error   float64 `json:"error"`  // of the forecast, as a part of Claimed; 0 when nobody was
	Inside  bool    `json:"inside"` // whether Claimed is in the interval
}

// forecast answers for the running gateway, with its fences, and one at a time with reports.
func (g *Gateway) forecast(ctx context.Context, q ForecastRequest) (any, error) {
	if !g.reporting.CompareAndSwap(false, true) {
		return nil, ErrBusy
	}
	defer g.reporting.Store(false)
	lib, err := campaign.ParseLibrary("request", []byte(q.Campaigns))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrQuery, err)
	}
	f, err := MakeForecast(ctx, g.cfg.DB, lib.Campaigns, g.fences.Load(), g.cfg.Caps, q, g.cfg.Now())
	if err == nil && q.Keep {
		err = g.keepForecast(ctx, f, q)
	}
	return f, err
}

// MakeForecast estimates the pushes of campaigns from who came on past days of the same weekday, as the sketches of the
// ledger know it, the window of the days asked for, and the share of the registered devices that fit the audience and can
// be reached now; what visits and caps over all campaigns, those of the gateway included, take off it learns from a sample
// of people. It reads the sketches of the campaigns' fences once for every past week that is kept, and all profiles once or
// twice for each campaign.
func MakeForecast(ctx context.Context, d *db.DB, campaigns []*campaign.Campaign, set *fences.Set, caps []campaign.Cap, q ForecastRequest, now time.Time) (*Forecast, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	f := &Forecast{From: q.From, To: q.To, AsOf: q.AsOf, Campaigns: []*CampaignForecast{}}
	err := d.View(func(tx *db.Tx) error {
		days, err := reach.Days(tx)
		if err != nil {
			return err
		}
		known := map[funnel.Day]bool{}
		for i, day := range days {
			if i > 0 && funnel.Day(day) < q.AsOf { // on the first day the gateway did not run from its beginning
				known[funnel.Day(day)] = true
			}
		}
		f.Known = len(known)
		for _, c := range campaigns {
			m := &forecaster{tx: tx, c: c, q: q, set: set, caps: caps, known: known, out: &CampaignForecast{Campaign: c.ID}}
			if err := m.make(ctx, now); err != nil {
				return err
			}
			f.Campaigns = append(f.Campaigns, m.out)
		}
		return nil
	})
	return f, err
}

// forecaster makes the forecast of one campaign.
type forecaster struct {
	tx    *db.Tx
	c     *campaign.Campaign
	q     ForecastRequest
	set   *fences.Set
	caps  []campaign.Cap // of the gateway
	known map[funnel.Day]bool
	out   *CampaignForecast

	fences []*fences.Fence // that the trigger selects, those of one claim scope together
	open   map[*time.Location][][24]hour
	weeks  []*pastWeek
	again  *rerunShares // nil: no rule needs it
}

// hour says whether an entry in it leads to a push.
type hour uint8

const (
	shut  hour = iota
	quiet      // the window is open, but a push would be dropped for the quiet hours
	open       // or what waits for it
)

// pastWeek is what came of the asked days so many weeks before.
type pastWeek struct {
	back    funnel.Day // days
	whole   bool       // every day is known
	entries float64
	inside  float64   // entries while the window is open
	quiet   float64   // of these, in quiet hours
	people  float64   // different ones for once_per, over all days
	capped  float64   // of these, within the campaign's own caps
	least   float64   // as few as capped may really be
	days    []float64 // people of each day
	stores  map[string]float64
	hours   [24]float64
}

func (m *forecaster) len() int { return int(m.q.To-m.q.From) + 1 }

func (m *forecaster) make(ctx context.Context, now time.Time) error {
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
	n, err := m.count(ctx, now)
	if err != nil {
		return err
	}
	fit, reachable := 0.0, 0.0
	if n.Fitting > 0 {
		fit, reachable = float64(n.Fitting)/float64(n.Devices), float64(n.Reachable)/float64(n.Fitting)
	}
	if m.again, err = m.rerun(ctx, now, n.Devices); err != nil {
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
	if err := m.notes(now); err != nil {
		return err
	}
	return m.actual(ctx, now)
}

// choose finds the fences of the trigger and when the window is open for their clocks.
func (m *forecaster) choose() {
	m.open = map[*time.Location][][24]hour{}
	for i := range m.set.Len() {
		f := m.set.At(int32(i))
		if !m.c.Trigger.Fences.Has(f.ID, f.Tags) {
			continue
		}
		m.fences = append(m.fences, f)
		if m.open[f.Location] == nil {
			m.open[f.Location] = m.openHours(f.Location)
		}
	}
	slices.SortStableFunc(m.fences, func(a, b *fences.Fence) int { return strings.Compare(m.c.ScopeOf(a), m.c.ScopeOf(b)) })
}

// openHours says in which hours of each day an entry leads to a push: those of which the window is open for half or more,
// or which it waits out. Quiet hours are those of the store's clock, whatever zone phones are in.
func (m *forecaster) openHours(loc *time.Location) [][24]hour {
	days := make([][24]hour, m.len())
	drops := len(m.c.Quiet.Hours) > 0 && m.c.Quiet.Closed == campaign.Drop
	for i := range days {
		date := time.UnixMilli(int64(m.q.From+funnel.Day(i)) * 86_400_000).UTC()
		for h := range 24 {
			let, hushed := 0, 0
			for minute := 0; minute < 60; minute += 10 {
				at := time.Date(date.Year(), date.Month(), date.Day(), h, minute, 0, 0, loc)
				switch why := m.c.Window.Check(at, loc); {
				case why == "" && drops && m.c.Quiet.Has(at, loc):
					hushed++
				case why == "", why == campaign.WindowClosed && m.c.Window.Closed == campaign.Hold:
					let++
				}
			}
			switch {
			case let >= 3:
				days[i][h] = open
			case let+hushed >= 3:
				days[i][h] = quiet
			}
		}
	}
	return days
}

// read fills weeks from the sketches.
func (m *forecaster) read(ctx context.Context) error {
	if len(m.known) == 0 {
		return nil
	}
	first := slices.Min(slices.Collect(maps.Keys(m.known)))
	for back := funnel.Day(7); m.q.To-back >= first; back += 7 {
		w := &pastWeek{back: back, whole: true, days: make([]float64, m.len()), stores: map[string]float64{}}
		some := false
		for i := range w.days {
			known := m.known[m.q.From+funnel.Day(i)-back]
			some, w.whole = some || known, w.whole && known
		}
		if !some {
			continue
		}
		if err := m.readWeek(ctx, w); err != nil {
			return err
		}
		m.weeks = append(m.weeks, w)
	}
	return nil
}

// blockDays is for how many days a person counts once.
func (m *forecaster) blockDays() int {
	switch m.c.Once.Kind {
	case dedupe.PeriodEver:
		return m.len()
	case dedupe.PeriodRolling:
		return max(1, int(m.c.Once.Rolling.Hours()+12)/24)
	}
	return 1
}

// readWeek adds up one past week. The fences of one claim scope stand together, so two sketches for each day are in memory,
// however many fences there are.
func (m *forecaster) readWeek(ctx context.Context, w *pastWeek) error {
	block, n := m.blockDays(), m.len()
	everyTime := m.c.Once.Kind == dedupe.PeriodNone
	days, blocks := make([]reach.Sketch, n), make([]reach.Sketch, (n+block-1)/block)
	flush := func() {
		for i := range days {
			w.days[i] += days[i].Count()
		}
		for i := range blocks {
			w.people += blocks[i].Count()
		}
		clear(days)
		clear(blocks)
	}
	var hours [24]float64
	inside := make([]float64, n)
	caps := m.ownCaps()
	for k, f := range m.fences {
		if err := ctx.Err(); err != nil {
			return err
		}
		if k > 0 && m.c.ScopeOf(f) != m.c.ScopeOf(m.fences[k-1]) {
			flush()
		}
		opens := m.open[f.Location]
		own := make([]reach.Sketch, n)
		err := reach.Each(m.tx, string(f.ID), int32(m.q.From-w.back), int32(m.q.To-w.back), func(day int32, hour int, entries uint64, s *reach.Sketch) {
			i := int(funnel.Day(day) + w.back - m.q.From)
			if !m.known[funnel.Day(day)] || hour > 23 {
				return
			}
			w.entries += float64(entries)
			if opens[i][hour] == shut {
				return
			}
			w.inside += float64(entries)
			if opens[i][hour] == quiet {
				w.quiet += float64(entries)
				return
			}
			for b := range caps {
				caps[b].add(i, s)
			}
			inside[i] += float64(entries)
			if everyTime {
				w.days[i] += float64(entries)
				w.people += float64(entries)
				w.stores[string(f.ID)] += float64(entries)
				hours[hour] += float64(entries)
				return
			}
			days[i].Merge(s)
			blocks[i/block].Merge(s)
			own[i].Merge(s)
			hours[hour] += s.Count()
		})
		if err != nil {
			return err
		}
		for i := range own {
			if n := own[i].Count(); n > 0 {
				w.stores[string(f.ID)] += n
			}
		}
	}
	if !everyTime {
		flush()
		for i := range w.days { // a sketch may be a little over; people are never more than entries
			w.days[i] = min(w.days[i], inside[i])
		}
		w.people = min(w.people, w.inside-w.quiet)
	}
	w.hours = hours
	w.applyCaps(caps)
	return nil
}

// capped is one of the campaign's own caps: how many different people came in each stretch that it counts in.
type capped struct {
	max    float64
	block  int // days
	people []reach.Sketch
}

func (c *capped) add(day int, s *reach.Sketch) { c.people[day/c.block].Merge(s) }

// ownCaps are those of the campaign that sketches can tell: those over its own pushes, in stretches longer than that for which
// once_per counts a person once anyway. Those over all campaigns are for rerun.
func (m *forecaster) ownCaps() (list []capped) {
	once := m.blockDays()
	if m.c.Once.Kind == dedupe.PeriodNone {
		once = 0
	}
	for _, k := range m.c.Caps {
		block := m.len()
		switch {
		case k.All:
			continue
		case k.Day:
			block = 1
		case !k.Ever:
			block = max(1, int(k.Per.Hours()+12)/24)
		}
		if block > once {
			list = append(list, capped{float64(k.Max), block, make([]reach.Sketch, (m.len()+block-1)/block)})
		}
	}
	return list
}

// applyCaps takes off what caps hold back. Of people of whom it is known how many there were and how often all of them came together,
// each takes min(times, max): exactly one each when max is 1, else something between one each and as many as all caps let through.
// The latter is the estimate.
func (w *pastWeek) applyCaps(caps []capped) {
	w.capped, w.least = w.people, w.people
	for _, c := range caps {
		all, least := 0.0, 0.0
		for b := range c.people {
			stretch := w.days[b*c.block : min((b+1)*c.block, len(w.days))]
			sum := 0.0
			for _, n := range stretch {
				sum += n
			}
			different := c.people[b].Count()
			let := min(sum, c.max*different)
			for i := range stretch {
				if sum > 0 {
					stretch[i] *= let / sum
				}
			}
			all, least = all+let, least+min(let, different)
		}
		w.capped, w.least = min(w.capped, all), min(w.least, least)
	}
}

// count says how many devices have registered, and of these fit the audience now and can be reached.
func (m *forecaster) count(ctx context.Context, now time.Time) (n audience.Count, err error) {
	rule := m.c.Audience
	if rule == nil {
		if rule, err = audience.ParseRule("true"); err != nil {
			return n, err
		}
	}
	if n, err = audience.CountRule(ctx, m.tx, rule, now, 0); err == nil && n.Devices == 0 {
		m.out.Notes = append(m.out.Notes, "no device has registered, so nobody can be reached")
	}
	return n, err
}

// expect is reach.Expect with what is not known exactly of the share.
func (m *forecaster) expect(past []float64, share float64) reach.Expected {
	e := reach.Expect(past, share)
	if m.again != nil {
		e.Vary(m.again.spread)
	}
	return e
}

func (m *forecaster) total(share float64) {
	var past []float64
	for _, w := range m.weeks {
		if w.whole {
			past = append(past, w.capped)
		}
	}
	m.out.Total = m.expect(past, share)
	if m.out.Enough = m.out.Total.Enough; !m.out.Enough {
		m.out.Why = fmt.Sprintf("not enough data: of %d earlier times with the same weekdays it is known who came, %d are needed", len(past), reach.LeastPast)
	}
}

// steps says what each rule takes off.
func (m *forecaster) steps(fit, reachable, sent float64) {
	var sum pastWeek
	n := 0.0
	for _, w := range m.weeks {
		if w.whole {
			n++
			sum.entries, sum.inside, sum.quiet = sum.entries+w.entries, sum.inside+w.inside, sum.quiet+w.quiet
			sum.people, sum.capped, sum.least = sum.people+w.people, sum.capped+w.capped, sum.least+w.least
		}
	}
	if n == 0 {
		return
	}
	add := func(name string, v float64, says string) {
		m.out.Steps = append(m.out.Steps, ForecastStep{Name: name, N: v, Says: says})
	}
	add("entries", sum.entries/n, "at the campaign's fences, on average of past times")
	add("window", sum.inside/n, "while it is open")
	if sum.quiet > 0 {
		add("quiet", (sum.inside-sum.quiet)/n, "outside quiet hours, by the stores' clocks")
	}
	once := "each counts, there is no once_per"
	if m.c.Once.Kind != dedupe.PeriodNone {
		once = "different people for once_per"
	}
	v := sum.people / n
	add("once_per", v, once)
	if sum.capped < sum.people {
		v = sum.capped / n
		says := "within the campaign's own caps"
		if sum.least < sum.capped {
			says += fmt.Sprintf(", at most; no fewer than %.0f", sum.least/n)
		}
		add("caps", v, says)
	}
	percent := func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }
	v *= fit
	add("audience", v, percent(fit)+" of the registered devices fit now")
	v *= reachable
	add("reachable", v, percent(reachable)+" of these can be reached now")
	if a := m.again; a != nil && a.enough() {
		if m.c.Trigger.Visits != (campaign.Visits{}) {
			v *= a.visits
			add("visits", v, fmt.Sprintf("%s of %d such entries of the last %d days were %s", percent(a.visits), a.entries, a.days, m.c.Trigger.Visits))
		}
		if caps := m.sharedCaps(); len(caps) > 0 {
			v *= a.caps
			says := " of these entries, as other campaigns were then, within "
			for i, l := range caps {
				if i > 0 {
					says += " and "
				}
				says += l.String()
			}
			add("caps of all", v, percent(a.caps)+says)
		}
	}
	add("holdout", v*sent, percent(1-sent)+" are held out")
}

func (m *forecaster) day(i int, share float64) {
	d := ForecastDay{Day: m.q.From + funnel.Day(i)}
	for _, hours := range m.open {
		d.Open = d.Open || slices.Contains(hours[i][:], open)
	}
	if d.Open {
		var past []float64
		for _, w := range m.weeks {
			if m.known[d.Day-w.back] {
				past = append(past, w.days[i])
			}
		}
		if d.Expected = m.expect(past, share); !d.Expected.Enough {
			d.Why = fmt.Sprintf("not enough data: %d of %d days", len(past), reach.LeastPast)
		}
	}
	m.out.Days = append(m.out.Days, d)
}

// groups shares the total out by fence and by hour.
func (m *forecaster) groups(share float64) {
	stores, n := map[string]float64{}, 0.0
	var hours [24]float64
	for _, w := range m.weeks {
		if !w.whole {
			continue
		}
		n++
		for id, v := range w.stores {
			stores[id] += v
		}
		for h, v := range w.hours {
			hours[h] += v
		}
	}
	for _, id := range slices.Sorted(maps.Keys(stores)) {
		m.out.Stores = append(m.out.Stores, ForecastGroup{Key: id, N: stores[id] / n * share})
	}
	for h, v := range hours {
		if v > 0 {
			m.out.Hours = append(m.out.Hours, ForecastGroup{Key: fmt.Sprintf("%02d", h), N: v / n * share})
		}
	}
}

// notes names what is not taken off, or by an assumption, and how much that may be, so that nobody takes the figure for more than
// it is.
func (m *forecaster) notes(now time.Time) error {
	note := func(format string, v ...any) { m.out.Notes = append(m.out.Notes, fmt.Sprintf(format, v...)) }
	if m.again != nil && !m.again.enough() { // too few entries to learn from
		for _, k := range m.sharedCaps() {
			n, err := m.atCap(k, now)
			if err != nil {
				return err
			}
			note("the cap of %d over all campaigns is not taken off: of only %d entries it is known what came before; people whom other campaigns have brought to it as of now: %d; so many fewer at most, each time that one of them comes", k.Max, m.again.entries, n)
		}
		if v := m.c.Trigger.Visits; v != (campaign.Visits{}) {
			note("the condition %s is not taken off: of only %d entries it is known what came before; the real figure is anywhere from 0 to this one", v, m.again.entries)
		}
	}
	if m.c.Trigger.MinConfidence > 0 {
		note("min_confidence is not taken off: the real figure is at most this one")
	}
	if len(m.c.Quiet.Hours) > 0 && m.c.Quiet.Closed == campaign.Drop && m.c.Quiet.Device {
		var hushed, inside float64
		for _, w := range m.weeks {
			hushed, inside = hushed+w.quiet, inside+w.inside
		}
		part := 0.0
		if inside > 0 {
			part = 100 * hushed / inside
		}
		note("quiet hours are taken by the stores' clocks, %.1f %% of the entries while the window is open; of phones whose zone is another, others", part)
	}
	if m.c.Window.Closed == campaign.NotifyIfInside {
		note("who is still inside when the window opens comes on top")
	}
	if m.c.Once.Kind == dedupe.PeriodDay && m.c.Once.DayStart != 0 {
		note("days are taken from midnight, not from the hour at which once_per begins one")
	}
	return nil
}

// sharedCaps are those over all campaigns: the campaign's, and the gateway's.
func (m *forecaster) sharedCaps() (list []campaign.Cap) {
	for _, l := range m.c.Caps {
		if l.All {
			list = append(list, l)
		}
	}
	if !m.c.Exempt {
		list = append(list, m.caps...)
	}
	return list
}

// atCap counts whom other campaigns have sent as many pushes as a cap over all of them allows, as of now.
func (m *forecaster) atCap(k campaign.Cap, now time.Time) (people int, err error) {
	from := time.Time{}
	switch {
	case k.Day:
		from = now.Add(-24 * time.Hour)
	case !k.Ever:
		from = now.Add(-k.Per)
	}
	last, had := "", 0
	err = dedupe.EachSend(m.tx, func(subject string, s dedupe.Send) {
		if subject != last {
			last, had = subject, 0
		}
		if s.Campaign != m.c.ID && s.At.After(from) {
			if had++; had == k.Max {
				people++
			}
		}
	})
	return people, err
}

// actual sets beside the forecast what the report counted, of days that are over everywhere.
func (m *forecaster) actual(ctx context.Context, now time.Time) error {
	total, days, over, err := claimedOn(ctx, m.tx, m.c.ID, m.q.From, m.q.To, now)
	if err != nil || !over {
		return err
	}
	m.out.Actual = compared(&m.out.Total, total)
	for i := range m.out.Days {
		m.out.Days[i].Actual = new(days[m.out.Days[i].Day.String()])
	}
	return nil
}

// claimedOn counts what a campaign has claimed from a day to another, in all and by day; over is false while the last is not over
// everywhere, and when the campaign has never been asked about anything.
func claimedOn(ctx context.Context, tx *db.Tx, id string, from, to funnel.Day, now time.Time) (total int64, days map[string]int64, over bool, err error) {
	if funnel.DayOf(now.UnixMilli(), -12*60) <= to {
		return 0, nil, false, nil
	}
	r, err := funnel.Make(ctx, tx, people{tx}, funnel.Query{Campaign: id, From: from, To: to}, now.UnixMilli())
	if err != nil {
		return 0, nil, false, err
	}
	known, err := funnel.Campaigns(tx)
	if err != nil || !slices.Contains(known, id) || len(r.Campaigns) == 0 {
		return 0, nil, false, err
	}
	days = map[string]int64{}
	for _, d := range r.Campaigns[0].ByDay {
		days[d.Key] = d.Claimed
	}
	return r.Campaigns[0].Total.Claimed, days, true, nil
}

// compared says how far a forecast was from what was claimed.
func compared(x *reach.Expected, claimed int64) *ForecastActual {
	a := &ForecastActual{Claimed: claimed}
	if claimed > 0 {
		a.Error = x.Mean/float64(claimed) - 1
	}
	a.Inside = x.Enough && math.Floor(x.Low) <= float64(claimed) && float64(claimed) <= math.Ceil(x.High)
	return a
}
