package campaign

import (
	"slices"
	"time"

	"footfall/dedupe"
)

// A Rerun judges the entries of one person again, one after the other, by the rules that look at what has been before:
// which visit it is, caps, and once_per. The other rules are left out, and each push that comes of it counts for the next.
// A forecast learns from it how much these rules take off. For a single goroutine.
type Rerun struct {
	c *Campaign
	// What is applied beside once_per and the campaign's caps over its own pushes.
	visits, shared bool
	sends          []dedupe.Send
	taken          map[dedupe.Key]time.Time // when the claim was taken last
}

// Rerun begins with what other campaigns have sent to the person, oldest first; it keeps a copy. visits has the trigger's
// condition on visits count, and shared the caps over all campaigns, those of the gateway ([Input.Caps]) included.
func (c *Campaign) Rerun(others []dedupe.Send, visits, shared bool) *Rerun {
	return &Rerun{c: c, visits: visits, shared: shared, sends: slices.Clone(others), taken: map[dedupe.Key]time.Time{}}
}

// Enter reports whether the entry leads to a push. Entries come in the order of their time; in.Sends is not looked at.
func (r *Rerun) Enter(in Input) bool {
	c := r.c
	in.Sends = r.sends
	f := facts{Input: in, at: time.UnixMilli(in.Tr.At), store: time.UTC}
	if in.Tr.Fence != nil && in.Tr.Fence.Location != nil {
		f.store = in.Tr.Fence.Location
	}
	if r.visits && !c.Trigger.Visits.has(c.visitNumber(&f)) {
		return false
	}
	key, _ := c.claim(&f)
	last, taken := r.taken[key]
	switch {
	case c.Once.Kind == dedupe.PeriodNone || !taken:
	case c.Once.Kind != dedupe.PeriodRolling || f.at.Before(last.Add(c.Once.Rolling)):
		return false
	}
	caps := c.Caps
	if !r.shared {
		caps = slices.DeleteFunc(slices.Clone(caps), func(l Cap) bool { return l.All })
	}
	if limit, _ := c.firstReached(&f, caps, func(*dedupe.Send) bool { return true }); limit != nil {
		return false
	}
	if r.shared {
		if limit, _ := c.gatewayReached(&f); limit != nil {
			return false
		}
	}
	r.taken[key] = f.at
	i, _ := slices.BinarySearchFunc(r.sends, f.at, func(s dedupe.Send, at time.Time) int { return s.At.Compare(at) })
	r.sends = slices.Insert(r.sends, i, dedupe.Send{At: f.at, Campaign: c.ID, Exempt: c.Exempt})
	return true
}
