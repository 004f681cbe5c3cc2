package forecast

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/dedupe"
	"footfall/funnel"
	"footfall/reach"
)

// count says how many devices have registered, and of these fit the audience now and can be reached.
func (m *forecaster) count(ctx context.Context) (n audience.Count, err error) {
	rule := m.c.Audience
	if rule == nil {
		if rule, err = audience.ParseRule("true"); err != nil {
			return n, err
		}
	}
	if n, err = audience.CountRule(ctx, m.Tx, rule, m.Now, 0); err == nil && n.Devices == 0 {
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
		m.out.Steps = append(m.out.Steps, Step{Name: name, N: v, Says: says})
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
	d := Day{Day: m.q.From + funnel.Day(i)}
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
		m.out.Stores = append(m.out.Stores, Group{Key: id, N: stores[id] / n * share})
	}
	for h, v := range hours {
		if v > 0 {
			m.out.Hours = append(m.out.Hours, Group{Key: fmt.Sprintf("%02d", h), N: v / n * share})
		}
	}
}

// notes names what is not taken off, or by an assumption, and how much that may be, so that nobody takes the figure for more than
// it is.
func (m *forecaster) notes() error {
	note := func(format string, v ...any) { m.out.Notes = append(m.out.Notes, fmt.Sprintf(format, v...)) }
	if m.again != nil && !m.again.enough() { // too few entries to learn from
		for _, k := range m.sharedCaps() {
			n, err := m.atCap(k)
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
		list = append(list, m.Caps...)
	}
	return list
}

// atCap counts whom other campaigns have sent as many pushes as a cap over all of them allows, as of now.
func (m *forecaster) atCap(k campaign.Cap) (people int, err error) {
	from := time.Time{}
	switch {
	case k.Day:
		from = m.Now.Add(-24 * time.Hour)
	case !k.Ever:
		from = m.Now.Add(-k.Per)
	}
	last, had := "", 0
	err = dedupe.EachSend(m.Tx, func(subject string, s dedupe.Send) {
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
