package forecast

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"footfall/campaign"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/funnel"
	"footfall/reach"
)

// hour says whether an entry in it leads to a push.
type hour uint8

const (
	shut  hour = iota
	quiet      // the window is open, but a push would be dropped for the quiet hours
	open       // or what waits for it
)

// choose finds the fences of the trigger and when the window is open for their clocks.
func (m *forecaster) choose() {
	m.open = map[*time.Location][][24]hour{}
	for i := range m.Fences.Len() {
		f := m.Fences.At(int32(i))
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
		date := time.UnixMilli(int64(m.q.From+funnel.Day(i)) * dayMS).UTC()
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
		err := reach.Each(m.Tx, string(f.ID), int32(m.q.From-w.back), int32(m.q.To-w.back), func(day int32, hour int, entries uint64, s *reach.Sketch) {
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
