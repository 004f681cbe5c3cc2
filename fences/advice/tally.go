package advice

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"

	"footfall/dedupe"
	"footfall/fences"
	"footfall/track"
)

// site is a fence, or all circles together.
type site struct {
	fence fences.Fence // as it is drawn
	stay  time.Duration
	// at says which cell has the counts of a radius and a stay of the grid, so that a radius which is the fence's own
	// is not tried twice; -1: none.
	at    []int
	cells []counts
	gaps  []int64 // ms from each enter to the next position of the device; notHeard stands for none

	circles                                     int // of which it is made
	mixedRadii, mixedStays                      bool
	entrants, visitors, passers, untold, buyers int
}

const notHeard = math.MaxInt64

type counts struct{ entries, devices, stayed, visitors, passers, buyers int }

func (c *counts) add(o *counts) {
	c.entries += o.entries
	c.stayed += o.stayed
	c.visitors += o.visitors
	c.passers += o.passers
	c.buyers += o.buyers
}

type comerKey struct {
	fence  int32
	device track.DeviceID
}

// comer is a device at a fence.
type comer struct {
	in   uint64 // the cells that have it inside
	open int    // the day of the visit to the fence as it is drawn that is going on; -1: none
	days []comerDay
}

// comerDay is what a device did at a fence in visits that began on a day of the store's clock.
type comerDay struct {
	day             string
	entered, bought uint64 // cells that made an enter; a purchase followed on it
	stayed          bool
	untold          int // visits of which it is not known whether they were shorter than the stay
}

func (c *comer) on(day string) int {
	for i := len(c.days) - 1; i >= 0; i-- {
		if c.days[i].day == day {
			return i
		}
	}
	c.days = append(c.days, comerDay{day: day})
	return len(c.days) - 1
}

// heard counts a position that was believed.
func (a *Advisor) heard(device track.DeviceID, f *track.Fix) {
	if !f.HasPosition {
		return
	}
	a.positions++
	a.devices[device] = struct{}{}
	if a.from == 0 || f.FixedAt < a.from {
		a.from = f.FixedAt
	}
	a.to = max(a.to, f.FixedAt)
	if f.AccuracyM > 0 {
		a.accuracies.add(int64(math.Ceil(float64(f.AccuracyM))))
	} else {
		a.vague++
	}
	if a.res.Verdict != track.Accepted || a.res.PrevFixedAt == 0 {
		return
	}
	gap := f.FixedAt - a.res.PrevFixedAt
	a.gaps.add((gap + 500) / 1000)
	if list, ok := a.waiting[device]; ok {
		for _, i := range list {
			a.sites[i].gaps = append(a.sites[i].gaps, gap)
		}
		delete(a.waiting, device)
	}
}

// happened takes a transition that the tracker of cell k made.
func (a *Advisor) happened(k int, device track.DeviceID, tr *track.Transition) {
	i := a.index[tr.FenceID]
	s, cell, drawn := a.sites[i], a.trials[k].cell, k == 0
	key, bit := comerKey{i, device}, uint64(1)<<cell
	c := a.comers[key]
	if c == nil {
		c = &comer{open: -1}
		a.comers[key] = c
	}
	switch {
	case tr.Kind == track.Enter:
		// A visit to the smaller or larger circle is of the day of that to the fence as it is drawn, if there is one: midnight parts
		// none of them.
		day := c.open
		if drawn || day < 0 {
			id, _ := dedupe.Period{Kind: dedupe.PeriodDay}.At(time.UnixMilli(tr.At), s.fence.Location)
			day = c.on(id)
		}
		c.in |= bit
		s.cells[cell].entries++
		cells, d := bit, &c.days[day]
		if drawn {
			c.open, cells = day, c.in
			d.untold++
			a.waiting[device] = append(a.waiting[device], i)
		}
		d.entered |= cells
		if a.buys(device, &s.fence, tr.At) {
			d.bought |= cells
		}
	case c.in&bit == 0: // first seen inside, and the fence asks for no enter then
	case tr.Kind == track.Dwell:
		if tr.At-tr.EnteredAt < a.stay {
			return // the phone's own, after a time of its own
		}
		s.cells[cell].stayed++
		if drawn {
			c.days[c.open].stayed = true
			c.days[c.open].untold--
		}
	case tr.Kind == track.Exit:
		c.in &^= bit
		if !drawn {
			return
		}
		if !tr.Reason.Has(track.Inferred) && tr.At-tr.EnteredAt < a.stay {
			c.days[c.open].untold--
		}
		c.open = -1
	}
}

// buys reports whether a device buys at a fence that it entered at a time.
func (a *Advisor) buys(device track.DeviceID, f *fences.Fence, at int64) bool {
	list := a.config.Purchases[device]
	i, _ := slices.BinarySearchFunc(list, at, func(p purchase, at int64) int { return cmp.Compare(p.at, at) })
	for ; i < len(list) && list[i].at <= at+a.within; i++ {
		if at := list[i].store; at == "" || at == string(f.ID) || at == string(f.Store) {
			return true
		}
	}
	return false
}

// count sums up what the comers did, once everything is applied.
func (a *Advisor) count() {
	for _, list := range a.waiting {
		for _, i := range list {
			a.sites[i].gaps = append(a.sites[i].gaps, notHeard)
		}
	}
	clear(a.waiting)
	drawn := uint64(1) << a.drawn()
	for key, c := range a.comers {
		s := a.sites[key.fence]
		var ever uint64
		for i := range c.days {
			d := &c.days[i]
			ever |= d.entered
			s.count(d, drawn)
		}
		each(ever, func(cell int) { s.cells[cell].devices++ })
	}
}

// count counts a day. drawn is the bit of the cell by which visitors are known.
func (s *site) count(d *comerDay, drawn uint64) {
	if d.bought != 0 {
		s.buyers++
		each(d.bought, func(cell int) { s.cells[cell].buyers++ })
	}
	if d.entered&drawn == 0 {
		return
	}
	s.entrants++
	switch {
	case d.stayed:
		s.visitors++
		each(d.entered, func(cell int) { s.cells[cell].visitors++ })
	case d.bought != 0:
	case d.untold > 0:
		s.untold++
	default:
		s.passers++
		each(d.entered, func(cell int) { s.cells[cell].passers++ })
	}
}

// each calls fn with the number of every bit that is set.
func each(mask uint64, fn func(int)) {
	for ; mask != 0; mask &= mask - 1 {
		fn(bits.TrailingZeros64(mask))
	}
}

// all are the circles together, as one fence; nil when fewer than two of them were entered.
func (a *Advisor) all() *site {
	t := &site{}
	entered := 0
	for _, s := range a.sites {
		if s.circles == 0 {
			continue
		}
		if t.circles == 0 {
			t.fence.Shape, t.stay = s.fence.Shape, s.stay
		}
		t.circles++
		t.mixedRadii = t.mixedRadii || s.fence.Shape.RadiusM() != t.fence.Shape.RadiusM()
		t.mixedStays = t.mixedStays || s.stay != t.stay
		if s.entrants > 0 {
			entered++
		}
	}
	if entered < 2 {
		return nil
	}
	a.lay(t)
	for _, s := range a.sites {
		if s.circles == 0 {
			continue
		}
		for cell, at := range t.at {
			if at == cell {
				t.cells[cell].add(&s.cells[s.at[cell]])
			}
		}
		t.gaps = append(t.gaps, s.gaps...)
		t.entrants += s.entrants
		t.visitors += s.visitors
		t.passers += s.passers
		t.untold += s.untold
		t.buyers += s.buyers
	}
	devices := map[track.DeviceID]uint64{}
	for key, c := range a.comers {
		s := a.sites[key.fence]
		if s.circles == 0 {
			continue
		}
		var ever uint64
		for i := range c.days {
			ever |= c.days[i].entered
		}
		for cell, at := range t.at {
			if at == cell && ever>>s.at[cell]&1 != 0 {
				devices[key.device] |= 1 << cell
			}
		}
	}
	for _, mask := range devices {
		each(mask, func(cell int) { t.cells[cell].devices++ })
	}
	return t
}
