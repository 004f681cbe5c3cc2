// Package advice says of recorded positions which radius and which min_stay a fence should have: it judges them by the fence at
// several of each, with a tracker of the gateway's for every pair, and counts whom each pair would have seen enter of those who stayed
// or bought, and whom of those who passed by.
//
//	a, err := advice.New(config, drawn)
//	for each recorded position, in the order in which it was received {
//		a.Apply(device, fix)
//	}
//	report := a.Report()
//
// An entrant is a device on a day of the store's clock, in visits that began on it. A visitor is an entrant who stayed for Config.Stay
// inside the fence as it is drawn, a passer-by one who was seen clearly outside sooner; of the rest it cannot be told. A buyer is an
// entrant, at any radius of the grid, of whom a purchase is known within Config.Within; no buyer is a passer-by.
package advice

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// Config says what is tried and what counts.
type Config struct {
	Rules track.Rules     // the gateway's
	Radii []float64       // of circles, in metres; a fence's own is always among them
	Stays []time.Duration // min_stay; 0 and a fence's own are always among them

	Stay   time.Duration // who was inside for so long is a visitor
	Keep   float64       // the share of buyers or visitors, above 0 and at most 1, that must not be lost
	Enough int           // fewer buyers or visitors give no advice

	Purchases Purchases     // nil: none are known
	Event     string        // by which a purchase is known, for the report
	Within    time.Duration // for how long after an enter a purchase is one of the visit
}

// MaxCells is how many cells a grid may have: a comer has a bit for each.
const MaxCells = 64

// grid are the radii and stays to try, of which the first stand for a fence's own; the second stay is 0.
func (c *Config) grid() (radii []float64, stays []time.Duration) {
	radii = append([]float64{0}, sortedSet(c.Radii)...)
	stays = append([]time.Duration{-1}, sortedSet(append([]time.Duration{0}, c.Stays...))...)
	return radii, stays
}

// Cells is how many pairs of a radius and a stay there are to try, at most MaxCells.
func (c *Config) Cells() int {
	radii, stays := c.grid()
	return len(radii) * len(stays)
}

func sortedSet[T cmp.Ordered](list []T) []T {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// Advisor judges recorded positions by fences as they are drawn and by the same fences with other radii and stays. Its memory is that
// of the trackers, about 37 bytes a device in each cell of the grid, and some 200 bytes for each device at each fence that it came to.
// It is for one goroutine.
type Advisor struct {
	config       Config
	stay, within int64 // ms
	radii        []float64
	stays        []time.Duration
	sites        []*site
	index        map[fences.ID]int32
	// trials has the one by which visitors are known first: fences as they are drawn, without a min_stay.
	trials []trial
	pos    uint64

	comers  map[comerKey]*comer
	waiting map[track.DeviceID][]int32 // fences that the device has entered since its last position
	res     track.Result

	positions, refused, words int
	from, to                  int64
	devices                   map[track.DeviceID]struct{}
	gaps                      histogram // seconds from one position of a device to its next
	accuracies                histogram // metres
	vague                     int       // positions without an accuracy
}

// trial is a cell of the grid at work.
type trial struct {
	cell    int
	moved   bool // of other radii than those drawn
	set     *fences.Set
	tracker *track.Tracker
}

// New returns an advisor for fences as they are drawn. Of a Config that is refused it says what of it.
func New(c Config, drawn []fences.Fence) (*Advisor, error) {
	a := &Advisor{
		config: c, stay: c.Stay.Milliseconds(), within: c.Within.Milliseconds(), index: map[fences.ID]int32{},
		comers: map[comerKey]*comer{}, waiting: map[track.DeviceID][]int32{}, devices: map[track.DeviceID]struct{}{},
		gaps: newHistogram(86_400), accuracies: newHistogram(5_000),
	}
	a.radii, a.stays = c.grid()
	if n := c.Cells(); n > MaxCells {
		return nil, fmt.Errorf("advice: a grid of %d cells, and %d is the most", n, MaxCells)
	}
	for i := range drawn {
		f := &drawn[i]
		a.index[f.ID] = int32(i)
		s := &site{fence: *f, stay: c.Rules.MinStay, circles: 1}
		if f.MinStay > 0 {
			s.stay = f.MinStay
		}
		if !f.Shape.IsCircle() {
			s.circles = 0
		}
		a.lay(s)
		a.sites = append(a.sites, s)
	}
	// Every fence says its stay itself. A silence ends a visit with an exit, on which no decision depends.
	rules := &a.config.Rules
	rules.MinStay, rules.Dwell, rules.Crossed, rules.InferExit = 0, c.Stay, false, true
	for ro, radius := range a.radii {
		for so := range a.stays {
			cell := a.cell(ro, so)
			var list []fences.Fence
			for _, s := range a.sites {
				if s.at[cell] != cell {
					continue
				}
				f := s.fence
				f.MinStay, f.Dwell, f.Crossed = a.stayOf(s, so), c.Stay, false
				if ro > 0 {
					var err error
					if f.Shape, err = geo.NewCircle(f.Shape.Center(), radius); err != nil {
						return nil, err
					}
				}
				list = append(list, f)
			}
			if len(list) == 0 && cell != a.drawn() {
				continue
			}
			set, err := fences.NewSet(list, nil)
			if err != nil {
				return nil, err
			}
			a.trials = append(a.trials, trial{cell, ro > 0, set, track.New(*rules)})
		}
	}
	first := slices.IndexFunc(a.trials, func(t trial) bool { return t.cell == a.drawn() })
	a.trials[0], a.trials[first] = a.trials[first], a.trials[0]
	return a, nil
}

func (a *Advisor) cell(radius, stay int) int { return radius*len(a.stays) + stay }

// drawn is the cell of fences as they are drawn, without a min_stay.
func (a *Advisor) drawn() int { return a.cell(0, 1) }

// now is the cell of a fence as it is.
func (a *Advisor) now(s *site) int { return s.at[a.cell(0, 0)] }

func (a *Advisor) radiusOf(s *site, ro int) float64 {
	if ro == 0 {
		return s.fence.Shape.RadiusM()
	}
	return a.radii[ro]
}

func (a *Advisor) stayOf(s *site, so int) time.Duration {
	if so == 0 {
		return s.stay
	}
	return a.stays[so]
}

// lay says which cells of the grid a fence has.
func (a *Advisor) lay(s *site) {
	n := len(a.radii) * len(a.stays)
	s.at, s.cells = make([]int, n), make([]counts, n)
	for ro := range a.radii {
		for so := range a.stays {
			r, t := ro, so
			if ro > 0 && !s.mixedRadii && a.radii[ro] == s.fence.Shape.RadiusM() {
				r = 0
			}
			if so == 0 && !s.mixedStays {
				t = max(0, slices.Index(a.stays, s.stay))
			}
			s.at[a.cell(ro, so)] = a.cell(r, t)
			if ro > 0 && s.circles == 0 {
				s.at[a.cell(ro, so)] = -1
			}
		}
	}
}

// Apply judges a position by the whole grid. A device's positions come in the order in which they were received.
func (a *Advisor) Apply(device track.DeviceID, fix track.Fix) {
	a.pos++
	if track.CheckFix(&fix, &a.config.Rules) != "" {
		a.refused++
		return
	}
	if fix.Source.OS() {
		a.words++
	}
	for k := range a.trials {
		t, f := &a.trials[k], fix
		if t.moved && f.Source.OS() {
			// What a phone's own system says is of the circle that it was given.
			if !f.HasPosition {
				continue
			}
			f.Source, f.Fence = track.SourceSignificant, ""
		}
		t.tracker.Apply(t.set, device, f, a.pos, &a.res)
		if k == 0 {
			a.heard(device, &f)
		}
		for i := range a.res.Transitions {
			a.happened(k, device, &a.res.Transitions[i])
		}
	}
}
