package campaign

import (
	"fmt"
	"slices"
	"time"

	"footfall/audience"
	"footfall/dedupe"
	"footfall/track"
)

// Changes lists what would have to be different for a held transition to lead to a proposal, one line for each rule that
// stands in the way: "after Sat 2026-11-28 10:00:00 +02:00", "tag city=Kyiv", "an accuracy of at most 120 m". Each is the
// nearest that passes, and all of them together do: Changes applies them to a copy of in and has Decide judge it. ok is
// false when something among them has no such remedy (a window that has ended for good has, an edit of the fence has not);
// the last line then says what. A transition that would be proposed needs nothing.
//
// It is for explain: it decides again for each rule, and allocates.
func (c *Campaign) Changes(in Input) (list []string, ok bool) {
	m := &remedy{c: *c, in: in, tr: *in.Tr, profile: *in.Profile}
	m.in.Tr, m.in.Profile = &m.tr, &m.profile
	tried := map[Reason]int{}
	for {
		d := m.c.Decide(m.in, false)
		if d.Outcome == Propose {
			return m.list(), true
		}
		// Window, quiet hours and caps may take turns; each turn is a step in the same direction.
		if tried[d.Reason]++; tried[d.Reason] > 8 {
			return append(m.list(), "no time at which window, quiet hours and caps agree is near"), false
		}
		text, ok := m.apply(d.Reason)
		if text != "" {
			m.add(text)
		}
		if !ok {
			return m.list(), false
		}
	}
}

// remedy is an input on its way to a proposal.
type remedy struct {
	c       Campaign
	in      Input
	tr      track.Transition
	profile audience.Profile
	texts   []string
	moved   time.Duration // of the event's time
	zone    *time.Location
}

func (m *remedy) add(text string) { m.texts = append(m.texts, text) }

// list is the texts, with the time to which all moves together have led.
func (m *remedy) list() []string {
	switch {
	case m.moved > 0:
		return append(m.texts, "after "+m.at().In(m.zone).Format(stampForm))
	case m.moved < 0:
		return append(m.texts, "until "+m.at().In(m.zone).Format(stampForm))
	}
	return m.texts
}

func (m *remedy) at() time.Time { return time.UnixMilli(m.tr.At) }

// move has everything happen at another time.
func (m *remedy) move(to time.Time, zone *time.Location) {
	by := to.Sub(m.at())
	m.moved, m.zone = m.moved+by, zone
	ms := by.Milliseconds()
	m.tr.At += ms
	m.tr.Fix.FixedAt += ms
	m.tr.Fix.ReceivedAt += ms
	for _, t := range []*int64{&m.tr.ConfirmedAt, &m.tr.EnteredAt} {
		if *t != 0 {
			*t += ms
		}
	}
	m.in.Now = m.in.Now.Add(by)
}

// apply removes one reason in the nearest way. text may be empty: the time is said by list.
func (m *remedy) apply(r Reason) (text string, ok bool) {
	c, tr := &m.c, &m.tr
	store := time.UTC
	if tr.Fence != nil && tr.Fence.Location != nil {
		store = tr.Fence.Location
	}
	switch r {
	case NotSelected:
		return "a transition that it waits for: " + c.Trigger.String(), false
	case Disabled:
		c.Enabled = true
		return "enabled: true", true
	case Paused:
		c.Paused = false
		return "paused: false", true
	case Untrusted:
		tr.Fix.Mock = false
		return "a position that the phone does not mark as simulated", true
	case FenceEdit:
		if tr.Fence == nil {
			return "a fence that is still there", false
		}
		c.Trigger.Edits = true
		return "a person who walks in, or edits: true", true
	case InitialOff:
		c.Trigger.Initial = true
		return "an earlier position outside, or initial: true", true
	case LowConfidence:
		tr.Confidence = 3
		if inside := -tr.EdgeDistanceM; inside > 0 && tr.Fix.AccuracyM > 0 {
			return fmt.Sprintf("an accuracy of at most %.0f m, or %.0f m farther in", inside, float64(tr.Fix.AccuracyM)-inside), true
		}
		return "a surer position", true
	case NotStarted, WindowClosed, Ended:
		nearest := c.Window.nearest
		if m.moved > 0 { // caps or quiet hours are behind; there is no way back
			nearest = c.Window.NextOpen
		}
		to, ok := nearest(m.at(), store)
		if !ok {
			return "a window that opens", false
		}
		m.move(to, c.Window.location(store))
		return "", true
	case Stale:
		tr.Reason &^= track.Stale
		m.in.Now = time.UnixMilli(tr.Fix.FixedAt).Add(c.MaxAge)
		return fmt.Sprintf("a position that arrives within %s", formatDuration(c.MaxAge)), true
	case Expired:
		settled := m.at()
		if tr.ConfirmedAt > tr.At {
			settled = time.UnixMilli(tr.ConfirmedAt)
		}
		if ends := settled.Add(c.ttl(m.in.Profile)); ends.Before(m.in.Now) || ends.Equal(m.in.Now) {
			m.in.Now = ends.Add(-time.Millisecond)
			return fmt.Sprintf("a position that arrives within its ttl of %s", formatDuration(c.ttl(m.in.Profile))), true
		}
		return "a gateway that comes to it in time", false
	case OtherVisit:
		const most = 10_000
		f := facts{Input: m.in}
		is := c.visitNumber(&f)
		for n := 1; n <= most; n++ { // nearest first
			for _, v := range []int{is + n, is - n} {
				if v > 0 && c.Trigger.Visits.has(v) {
					text = fmt.Sprintf("visit %d instead of %d", v, is)
					c.Trigger.Visits = Visits{}
					return text, true
				}
			}
		}
		return "a visit that it waits for", false
	case NotInAudience:
		f := facts{Input: m.in}
		at := m.at()
		if c.Trigger.remote() {
			at = m.in.Now
		}
		change, ok := c.Audience.Change(f.person(), at.UnixMilli())
		if !ok {
			return "somebody who fits " + c.Audience.Source, false
		}
		m.profile = change.Profile
		return change.Text, true
	case OptedOut:
		m.profile.ConsentPush, m.profile.ConsentLocation = nil, nil
		return "the person's consent", true
	case NoToken:
		if m.profile.Platform == "" {
			m.profile.Platform = "ios"
		}
		m.profile.Token, m.profile.TokenDead = "would be", false
		return "a push token that the provider takes", true
	case QuietHours:
		loc := store
		if c.Quiet.Device {
			f := facts{Input: m.in, store: store}
			loc = f.own()
		}
		end, quiet := c.Quiet.at(m.in.Now, loc)
		if !quiet {
			return "an hour that is not quiet", false
		}
		m.move(end, loc)
		return "", true
	case Capped, GatewayCap:
		to, ok := m.freed(store)
		if !ok {
			f := facts{Input: m.in, at: m.at(), store: store}
			limit, used := m.reached(&f)
			return fmt.Sprintf("a larger cap than %s; %d are used for good", limit, used), false
		}
		m.move(to, store)
		return "", true
	}
	return "nothing that is known of", false
}

// reached is the first cap of the campaign or of the gateway that is.
func (m *remedy) reached(f *facts) (*Cap, int) {
	if limit, used := m.c.reached(f); limit != nil {
		return limit, used
	}
	return m.c.gatewayReached(f)
}

// freed is the first time from now on at which no cap is reached.
func (m *remedy) freed(store *time.Location) (best time.Time, ok bool) {
	try := func(at time.Time) {
		if !at.After(m.at()) || ok && !at.Before(best) {
			return
		}
		f := facts{Input: m.in, at: at, store: store}
		if limit, _ := m.reached(&f); limit == nil {
			best, ok = at, true
		}
	}
	for _, limit := range slices.Concat(m.c.Caps, m.in.Caps) {
		if limit.Per > 0 {
			for _, s := range m.in.Sends {
				try(s.At.Add(limit.Per))
			}
		}
		if limit.Day {
			at := m.at()
			for range 2 {
				_, at = dedupe.Period{}.At(at, store)
				year, month, day := at.In(store).Add(-time.Minute).Date()
				try(dedupe.FirstAt(year, month, day+1, 0, store))
			}
		}
	}
	return best, ok
}

// nearest is the instant nearest to t at which the window is open: the next opening, or the last millisecond
// before it closed.
func (w *Window) nearest(t time.Time, store *time.Location) (time.Time, bool) {
	next, ok := w.NextOpen(t, store)
	last, ok2 := w.lastOpen(t, store)
	if !ok || ok2 && t.Sub(last) < next.Sub(t) {
		return last, ok2
	}
	return next, ok
}

// lastOpen is the last millisecond before t at which the window was open; false when it never was, or not within 9
// days of t or of the window's end.
func (w *Window) lastOpen(t time.Time, store *time.Location) (best time.Time, ok bool) {
	loc := w.location(store)
	if !w.To.IsZero() {
		if to := w.To.In(loc); !t.Before(to) {
			t = to
		}
	}
	try := func(closing time.Time) {
		at := closing.Add(-time.Millisecond)
		if closing.After(t) || ok && !at.After(best) || w.Check(at, store) != "" {
			return
		}
		best, ok = at, true
	}
	try(t)
	year, month, day := t.In(loc).Date()
	for d := range 10 {
		try(dedupe.FirstAt(year, month, day-d, 0, loc))
		for _, s := range w.Hours {
			try(dedupe.FirstAt(year, month, day-d, time.Duration(s.Close)*time.Minute, loc))
		}
	}
	return best, ok
}
