package campaign

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"footfall/audience"
	"footfall/fences"
	"footfall/track"
)

// Set is the campaigns that run, found by what triggers them. It is immutable
// and safe for concurrent use; an edit builds a new one. It holds no fences, so
// an edit of the fences does not touch it.
type Set struct {
	all    []*Campaign // by id
	byKind [track.Crossed + 1]triggers
	starts []int64 // of all enter campaigns, ascending: Window.From, read as UTC
	begins startIndex

	scheduled []*Campaign // by id
}

// triggers are the campaigns of one kind of transition.
type triggers struct {
	any   []*Campaign
	byID  map[fences.ID][]*Campaign
	byTag map[string][]*Campaign
}

// startIndex finds the enter campaigns that begin, by the fence and then by
// when; thousands that begin elsewhere at the same hour cost nothing.
type startIndex struct {
	any   []start // each list by wall
	byID  map[fences.ID][]start
	byTag map[string][]start
}

// start is the beginning of an enter campaign.
type start struct {
	wallMS int64 // Window.From, read as UTC
	c      *Campaign
}

func (x *startIndex) add(c *Campaign) {
	s, sel := start{c.Window.From.Wall.UnixMilli(), c}, &c.Trigger.Fences
	if sel.All {
		x.any = append(x.any, s)
		return
	}
	if x.byID == nil {
		x.byID, x.byTag = make(map[fences.ID][]start), make(map[string][]start)
	}
	for _, id := range sel.IDs {
		x.byID[id] = append(x.byID[id], s)
	}
	for _, tag := range sel.Tags {
		x.byTag[tag] = append(x.byTag[tag], s)
	}
}

// sort ends the building.
func (x *startIndex) sort() {
	byWall := func(list []start) {
		slices.SortStableFunc(list, func(a, b start) int { return cmp.Compare(a.wallMS, b.wallMS) })
	}
	byWall(x.any)
	for _, list := range x.byID {
		byWall(list)
	}
	for _, list := range x.byTag {
		byWall(list)
	}
}

// NewSet builds a set. Two campaigns with one id are an error that names both
// places; the set is then nil.
func NewSet(cs []*Campaign) (*Set, error) {
	s := &Set{all: slices.Clone(cs)}
	slices.SortStableFunc(s.all, func(a, b *Campaign) int { return strings.Compare(a.ID, b.ID) })
	var errs []error
	for i := 1; i < len(s.all); i++ {
		if a, b := s.all[i-1], s.all[i]; a.ID == b.ID {
			errs = append(errs, fmt.Errorf("campaign: %q is in %s:%d and in %s:%d", a.ID, a.File, a.Line, b.File, b.Line))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, c := range s.all {
		if c.Trigger.Schedule != nil {
			s.scheduled = append(s.scheduled, c)
			continue
		}
		if c.Trigger.Journey {
			continue
		}
		s.add(c, c.Trigger.Kind)
		if c.Trigger.Crossed {
			s.add(c, track.Crossed)
		}
		if c.Trigger.Kind == track.Enter && !c.Window.From.IsZero() {
			s.starts = append(s.starts, c.Window.From.Wall.UnixMilli())
			s.begins.add(c)
		}
	}
	slices.Sort(s.starts)
	s.begins.sort()
	return s, nil
}

func (s *Set) add(c *Campaign, kind track.Kind) {
	t, sel := &s.byKind[kind], &c.Trigger.Fences
	if sel.All {
		t.any = append(t.any, c)
		return
	}
	if t.byID == nil {
		t.byID, t.byTag = make(map[fences.ID][]*Campaign), make(map[string][]*Campaign)
	}
	for _, id := range sel.IDs {
		t.byID[id] = append(t.byID[id], c)
	}
	for _, tag := range sel.Tags {
		t.byTag[tag] = append(t.byTag[tag], c)
	}
}

// Len is the number of campaigns.
func (s *Set) Len() int { return len(s.all) }

// All returns the campaigns in order of id. The slice must not be changed.
func (s *Set) All() []*Campaign { return s.all }

// Scheduled returns the announcements in order of id. The slice must not be
// changed.
func (s *Set) Scheduled() []*Campaign { return s.scheduled }

// Find returns the campaign with the id; false when there is none.
func (s *Set) Find(id string) (*Campaign, bool) {
	i, ok := slices.BinarySearchFunc(s.all, id, func(c *Campaign, id string) int { return strings.Compare(c.ID, id) })
	if !ok {
		return nil, false
	}
	return s.all[i], true
}

// For appends to dst the campaigns whose trigger selects the transition, in
// order of id, each once. Disabled and paused ones are among them: that they
// hold is a decision with a reason. The cost is one map read for the fence and
// one for each of its tags, whatever the number of campaigns; it allocates only
// to grow dst.
func (s *Set) For(dst []*Campaign, tr *track.Transition) []*Campaign {
	if int(tr.Kind) >= len(s.byKind) {
		return dst
	}
	t := &s.byKind[tr.Kind]
	from, lists := len(dst), 0
	add := func(list []*Campaign) {
		if len(list) > 0 {
			dst = append(dst, list...)
			lists++
		}
	}
	add(t.any)
	add(t.byID[tr.FenceID])
	if tr.Fence != nil && len(t.byTag) > 0 {
		for _, tag := range tr.Fence.Tags {
			add(t.byTag[tag])
		}
	}
	if lists > 1 { // each list is in order by itself
		tail := dst[from:]
		slices.SortFunc(tail, func(a, b *Campaign) int { return strings.Compare(a.ID, b.ID) })
		dst = dst[:from+len(slices.Compact(tail))]
	}
	return dst
}

// Compare orders two transitions of one fix by which of them should get the
// push: higher fence priority, then the smaller area, then the nearer centre,
// then the id. A transition whose fence is gone comes last.
func Compare(a, b *track.Transition) int {
	if a.Fence == nil || b.Fence == nil {
		if (a.Fence == nil) != (b.Fence == nil) {
			if a.Fence == nil {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.FenceID, b.FenceID)
	}
	return cmp.Or(
		cmp.Compare(b.Fence.Priority, a.Fence.Priority),
		cmp.Compare(a.Fence.Shape.AreaM2(), b.Fence.Shape.AreaM2()),
		cmp.Compare(a.CenterDistanceM, b.CenterDistanceM),
		cmp.Compare(a.FenceID, b.FenceID),
	)
}

// Pick returns the transitions of one fix in the order of [Compare]. trs itself
// is left as it is; with fewer than two it is returned.
func Pick(trs []track.Transition) []track.Transition {
	if len(trs) < 2 {
		return trs
	}
	out := slices.Clone(trs)
	slices.SortStableFunc(out, func(a, b track.Transition) int { return Compare(&a, &b) })
	return out
}

// Decide appends what every campaign of the set says about the transitions of
// one fix of one device. A campaign proposes at most once for a fix: the best
// transition by [Compare] gets the push and the others that would have got it
// are held with [Overlap]. Each decision names its campaign and fence.
func (s *Set) Decide(dst []Decision, trs []track.Transition, p *audience.Profile, now time.Time, explain bool) []Decision {
	from := len(dst)
	var room [16]*Campaign
	ordered := Pick(trs)
	for i := range ordered {
		tr := &ordered[i]
		for _, c := range s.For(room[:0], tr) {
			d := c.Decide(Input{Tr: tr, Profile: p, Now: now}, explain)
			if d.Outcome == Propose {
				if j := slices.IndexFunc(dst[from:], func(o Decision) bool { return o.Outcome == Propose && o.Campaign == c.ID }); j >= 0 {
					d.Outcome, d.Reason = Held, Overlap
					if explain {
						d.Checks = append(d.Checks, Check{Rule: "overlap", Detail: fmt.Sprintf("%s at the same fix gets the push: priority, smaller area, nearer centre, id", dst[from+j].Fence)})
					}
				}
			}
			dst = append(dst, d)
		}
	}
	return dst
}

// StartsBetween reports whether Starting could find anything between the two
// fix times, whatever the fence: the question for every ping of a device that
// is inside somewhere. It costs one binary search.
func (s *Set) StartsBetween(prev, at time.Time) bool {
	low, high := startRange(prev, at)
	i, _ := slices.BinarySearch(s.starts, low)
	return i < len(s.starts) && s.starts[i] <= high
}

// startRange bounds the readings of a wall clock that may lie after prev and
// not after at: a clock reads W somewhere between W-14h and W+12h UTC.
func startRange(prev, at time.Time) (low, high int64) {
	return prev.Add(-12 * time.Hour).UnixMilli(), at.Add(14 * time.Hour).UnixMilli()
}

// Starting appends the enter campaigns that begin, at the fence, after prev and
// not after at, in order of id. For a device that is inside f, prev and at are
// the fix times of its last two fixes: a campaign that begins while people are
// inside owes each of them one entry. The caller hands it to Decide as an Enter
// with Reason track.Initial and At = the later fix. It costs one binary search
// for the fence and for each of its tags, and the campaigns of this fence that
// begin within a day; none beginning allocates nothing.
func (s *Set) Starting(dst []*Campaign, f *fences.Fence, prev, at time.Time) []*Campaign {
	low, high := startRange(prev, at)
	from := len(dst)
	add := func(list []start) {
		i, _ := slices.BinarySearchFunc(list, low, func(st start, ms int64) int { return cmp.Compare(st.wallMS, ms) })
		for ; i < len(list) && list[i].wallMS <= high; i++ {
			c := list[i].c
			if begin := c.Window.From.In(c.Window.location(f.Location)); begin.After(prev) && !begin.After(at) {
				dst = append(dst, c)
			}
		}
	}
	add(s.begins.any)
	add(s.begins.byID[f.ID])
	for _, tag := range f.Tags {
		add(s.begins.byTag[tag])
	}
	if tail := dst[from:]; len(tail) > 1 {
		slices.SortFunc(tail, func(a, b *Campaign) int { return strings.Compare(a.ID, b.ID) })
		dst = dst[:from+len(slices.Compact(tail))]
	}
	return dst
}
