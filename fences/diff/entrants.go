package diff

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"footfall/dedupe"
	"footfall/fences"
	"footfall/track"
)

// Entrants compares who comes. An entrant is a device on a day of the store's clock, and comes to the fence that it enters
// first on that day, of several at once to the one that would push.
type Entrants struct {
	Positions int     `json:"positions"`
	Devices   int     `json:"devices"`
	Before    int     `json:"before"`
	After     int     `json:"after"`
	New       int     `json:"new"`  // come nowhere before, and somewhere after
	Gone      int     `json:"gone"` // the other way round
	Moves     []Move  `json:"moves"`
	Fences    []Turns `json:"fences"` // of which something differs
}

// Move counts entrants of one fence who come to another.
type Move struct {
	From fences.ID `json:"from"`
	To   fences.ID `json:"to"`
	N    int       `json:"n"`
}

// Turns counts the entrants of a fence.
type Turns struct {
	Fence  fences.ID `json:"fence"`
	Before int       `json:"before"`
	After  int       `json:"after"`
}

// visitors says who comes where by one set.
type visitors struct {
	set     *fences.Set
	tracker *track.Tracker
	res     track.Result
	first   map[string]fences.ID // device and day -> the fence that it came to
}

func (v *visitors) apply(device track.DeviceID, fix track.Fix, pos uint64) {
	v.tracker.Apply(v.set, device, fix, pos, &v.res)
	var best *track.Transition
	for i := range v.res.Transitions { // the smaller first
		if tr := &v.res.Transitions[i]; tr.Kind == track.Enter && (best == nil || tr.Fence.Priority > best.Fence.Priority) {
			best = tr
		}
	}
	if best == nil {
		return
	}
	day, _ := dedupe.Period{Kind: dedupe.PeriodDay}.At(time.UnixMilli(best.At), cmp.Or(best.Fence.Location, time.UTC))
	key := string(device) + "\x00" + day
	if _, ok := v.first[key]; !ok {
		v.first[key] = best.FenceID
	}
}

// Comparison tells over recorded positions who comes where by each of two sets. It is for one goroutine.
type Comparison struct {
	sides     [2]visitors
	devices   map[track.DeviceID]bool
	positions int
}

// NewComparison compares by the gateway's rules.
func NewComparison(rules track.Rules, before, after *fences.Set) *Comparison {
	c := &Comparison{devices: map[track.DeviceID]bool{}}
	for i, set := range []*fences.Set{before, after} {
		c.sides[i] = visitors{set: set, tracker: track.New(rules), first: map[string]fences.ID{}}
	}
	return c
}

// Apply judges a position by both sets. A device's positions come in the order in which they were received.
func (c *Comparison) Apply(device track.DeviceID, fix track.Fix) {
	c.positions++
	c.devices[device] = true
	for k := range c.sides {
		c.sides[k].apply(device, fix, uint64(c.positions))
	}
}

// Entrants sums up what was applied.
func (c *Comparison) Entrants() *Entrants {
	before, after := c.sides[0].first, c.sides[1].first
	d := &Entrants{
		Positions: c.positions, Devices: len(c.devices), Before: len(before), After: len(after), Moves: []Move{}, Fences: []Turns{},
	}
	turns, moves := map[fences.ID]*Turns{}, map[Move]int{}
	turn := func(id fences.ID) *Turns {
		if turns[id] == nil {
			turns[id] = &Turns{Fence: id}
		}
		return turns[id]
	}
	for key, was := range before {
		turn(was).Before++
		if is, ok := after[key]; !ok {
			d.Gone++
		} else if is != was {
			moves[Move{From: was, To: is}]++
		}
	}
	for key, is := range after {
		turn(is).After++
		if _, ok := before[key]; !ok {
			d.New++
		}
	}
	for m, n := range moves {
		d.Moves = append(d.Moves, Move{m.From, m.To, n})
	}
	slices.SortFunc(d.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	for _, id := range slices.Sorted(maps.Keys(turns)) {
		if t := turns[id]; t.Before != t.After {
			d.Fences = append(d.Fences, *t)
		}
	}
	return d
}
