package stream

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"footfall/audience"
	"footfall/internal/db"
	"footfall/journey"
)

// Who joins or leaves a segment that a journey waits for is found in three ways, all of which come to the same place:
//
//	a new watch ──▶ first look: who is in it already is noted, and has not joined
//	a fact about a person (tags, event, visit) ──▶ check, a row written with the fact ──┐
//	time passes, for rules about history ──▶ sweep over all profiles, every sweepEvery ─┤
//	                                                                                    ▼
//	                        settler.look: is in ≠ was in? the row and the journeys move in one transaction
//
// So a joining is told once, whatever finds it, and through a crash: a check is gone when what it led to is durable.

const (
	// sweepEvery is how long after the beginning of a sweep the next one begins.
	sweepEvery = 15 * time.Minute
	// sweepPage bounds the profiles that are read at a time, and sweepRest is how many times as long as a page took the next
	// one waits, so that a sweep takes at most a fifth of a core.
	sweepPage = 256
	sweepRest = 4
	// checkPage bounds the checks of one transaction: entries wait for the ledger's writer meanwhile.
	checkPage = 64
	// membersPoll is how often it is looked whether a sweep is due: the clock may be set on meanwhile.
	membersPoll  = 250 * time.Millisecond
	membersRetry = 5 * time.Second
)

// watching is a watch with the journeys that wait for it.
type watching struct {
	*journey.Watch
	ids []string // in order
}

// members knows how far the first looks have come.
type members struct {
	mu     sync.Mutex
	states map[string]journey.WatchState
	stamp  atomic.Uint64 // of checks
	wake   chan struct{} // capacity 1: a second wake-up adds nothing
}

func loadMembers(d *db.DB, now time.Time) (*members, error) {
	m := &members{wake: make(chan struct{}, 1)}
	m.stamp.Store(uint64(now.UnixNano())) // above those of an earlier life
	err := d.View(func(tx *db.Tx) (err error) {
		m.states, err = journey.WatchStates(tx)
		return err
	})
	return m, err
}

func (m *members) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *members) state(watch string) journey.WatchState {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.states[watch]
}

// unname takes a device out of how far first looks have come: they go on a little before it.
func (m *members) unname(tx *db.Tx, device string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, st := range m.states {
		if st.After == device {
			st.After = device[:len(device)-1]
			m.states[id] = st
			if err := journey.PutWatch(tx, id, st); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *members) ready(watch string) bool { return m.state(watch).Ready != 0 }

// changing is called before something of a person changes, with their profile as it is: it asks for a check, and notes who
// was in a segment whose first look has not come to them.
func (s *settler) changing(tx *db.Tx, p *audience.Profile, kinds journey.Changed, event string) error {
	concerned := false
	for _, w := range s.journeys().watches {
		if !w.Concerns(kinds, event) {
			continue
		}
		concerned = true
		if s.members.ready(w.ID) {
			continue
		}
		m, err := journey.Member(tx, w.ID, p.Subject())
		if err != nil {
			return err
		}
		if m.Known {
			continue
		}
		now := tx.Now().UnixMilli()
		_, in, err := audience.Fits(tx, w.Rule, p, now)
		if err == nil {
			err = journey.PutMember(tx, w.ID, p.Subject(), in, now)
		}
		if err != nil {
			return err
		}
	}
	if !concerned {
		return nil
	}
	return s.check(tx, p.Device, kinds)
}

func (s *settler) check(tx *db.Tx, device string, kinds journey.Changed) error {
	tx.AfterCommit(s.members.poke)
	return journey.PutCheck(tx, device, kinds, s.members.stamp.Add(1))
}

// memberSignedIn carries what is known of a device to the person who signs in on it or, when somebody signs out, back: nobody
// joins by that. Whoever has no device left is in nothing.
func (s *settler) memberSignedIn(tx *db.Tx, before, after *audience.Profile) error {
	from, to := before.Subject(), after.Subject()
	watches := s.journeys().watches
	if from == to || len(watches) == 0 {
		return nil
	}
	left := "" // another device of who was signed in
	if before.Person != "" {
		devices, err := audience.DevicesOf(tx, before.Person)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(devices, func(id string) bool { return id != before.Device }); i >= 0 {
			left = devices[i]
		}
	}
	for _, w := range watches {
		was, err := journey.Member(tx, w.ID, from)
		if err != nil {
			return err
		}
		is, err := journey.Member(tx, w.ID, to)
		if err != nil {
			return err
		}
		if was.In && !is.In {
			err = journey.PutMember(tx, w.ID, to, true, was.Since)
		}
		if err == nil && was.Known && left == "" {
			err = journey.DropMember(tx, w.ID, from)
		}
		if err != nil {
			return err
		}
	}
	if left == "" {
		return nil
	}
	return s.check(tx, left, journey.ChangedProfile)
}

// look compares whether a profile's subject is in a segment with what is known, and tells the journeys when it is another.
func (s *settler) look(tx *db.Tx, w *watching, p *audience.Profile, t *tally) error {
	now := tx.Now().UnixMilli()
	fitting, in, err := audience.Fits(tx, w.Rule, p, now)
	if err != nil {
		return err
	}
	subject := p.Subject()
	m, err := journey.Member(tx, w.ID, subject)
	if err != nil {
		return err
	}
	ready := s.members.ready(w.ID)
	switch {
	case !m.Known && !ready: // the first look has not come there: what is, was
		return journey.PutMember(tx, w.ID, subject, in, now)
	case m.In == in && (in || !m.Known):
		return nil
	case in || !ready:
		err = journey.PutMember(tx, w.ID, subject, in, now)
	default: // out is the same as not known, once everybody has been looked at
		err = journey.DropMember(tx, w.ID, subject)
	}
	if err != nil || m.In == in {
		return err
	}
	what := journey.Input{Kind: journey.Membered, ID: fmt.Sprintf("left %s %d", w.ID, now), At: now, Watch: w.ID, OK: in}
	if in {
		what.ID = fmt.Sprintf("joined %s %d", w.ID, now)
		p = &fitting
	}
	return s.moveAll(tx, w.ids, p, &what, nil, t)
}

// sweeper finds out who joins and leaves. For a single goroutine.
type sweeper struct {
	g     *Gateway
	began time.Time // the sweep that is under way, or the last one, by Config.Now
	after string    // the last device of the sweep that is under way
	under bool      // one is
	rest  time.Time // when the next page may be read, by the real clock
}

// runMembers serves checks and sweeps until ctx ends.
func (g *Gateway) runMembers(ctx context.Context) {
	s := sweeper{g: g}
	for ctx.Err() == nil {
		busy, err := s.round(ctx)
		wait := membersPoll
		if err != nil && ctx.Err() == nil {
			g.cfg.Logger.Error("it could not be found out who joins segments; trying again", "err", err)
			busy, wait = false, membersRetry
		}
		if busy {
			continue
		}
		g.swept.Add(1)
		var again <-chan time.Time // never, when nobody waits for a segment
		if set := g.journeys.set.Load(); len(set.watches) > 0 || err != nil {
			if rest := time.Until(s.rest); s.under && rest > 0 {
				wait = min(wait, rest)
			}
			again = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-g.members.wake:
		case <-again:
		}
	}
}

// round does a page of whatever there is to do. busy says that there may be more to do at once.
func (s *sweeper) round(ctx context.Context) (busy bool, err error) {
	set := s.g.journeys.set.Load()
	if busy, err = s.checks(ctx, set); err != nil {
		return false, err
	}
	more, err := s.firstLooks(ctx, set)
	if err == nil && !more {
		more, err = s.sweep(ctx, set)
	}
	if err == nil && !more {
		more, err = s.unwatch(ctx, set)
	}
	return busy || more, err
}

// settle runs fn in a transaction that may move runs.
func (s *sweeper) settle(ctx context.Context, fn func(tx *db.Tx, t *tally) error) error {
	var t tally
	err := s.g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		t = tally{funnel: map[funnelKey]int64{}}
		return fn(tx, &t)
	})
	if err == nil && t.deliveries > 0 {
		s.g.outbox.Notify()
	}
	return err
}

// differs reports whether a look would change anything.
func (s *sweeper) differs(tx *db.Tx, w *watching, p *audience.Profile, now int64) (bool, error) {
	_, in, err := audience.Fits(tx, w.Rule, p, now)
	if err != nil {
		return false, err
	}
	m, err := journey.Member(tx, w.ID, p.Subject())
	return m.In != in || !m.Known && !s.g.members.ready(w.ID), err
}

// checks looks at devices of which something has changed. Whether that makes a difference is found out beside the ledger's
// writer, which then looks again.
func (s *sweeper) checks(ctx context.Context, set *journeySet) (busy bool, err error) {
	var list []journey.Check
	var differ [][]*watching
	now := s.g.cfg.Now().UnixMilli()
	err = s.g.cfg.DB.View(func(tx *db.Tx) (err error) {
		if list, err = journey.Checks(tx, checkPage); err != nil {
			return err
		}
		differ = make([][]*watching, len(list))
		for i := range list {
			p, found, err := audience.Get(tx, list[i].Device)
			if err != nil {
				return err
			}
			if !found {
				continue // it has never registered, or is forgotten: segments are of profiles
			}
			for _, w := range set.watches {
				if !w.Concerns(list[i].Kinds, "") {
					continue
				}
				yes, err := s.differs(tx, w, &p, now)
				if err != nil {
					return err
				}
				if yes {
					differ[i] = append(differ[i], w)
				}
			}
		}
		return nil
	})
	if err != nil || len(list) == 0 {
		return false, err
	}
	return len(list) == checkPage, s.settle(ctx, func(tx *db.Tx, t *tally) error {
		for i := range list {
			p, found, err := audience.Get(tx, list[i].Device)
			if err != nil {
				return err
			}
			for _, w := range differ[i] {
				if !found {
					break
				}
				if err := s.g.settler.look(tx, w, &p, t); err != nil {
					return err
				}
			}
			if err := list[i].Done(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// firstLooks takes the first look at a watch a page further.
func (s *sweeper) firstLooks(ctx context.Context, set *journeySet) (busy bool, err error) {
	for _, w := range set.watches {
		st := s.g.members.state(w.ID)
		if st.Ready != 0 {
			continue
		}
		var in []string
		end := false
		now := s.g.cfg.Now().UnixMilli()
		err := s.g.cfg.DB.View(func(tx *db.Tx) error {
			st.After, end, err = audience.SweepProfiles(ctx, tx, st.After, sweepPage, func(p *audience.Profile) error {
				_, fits, err := audience.Fits(tx, w.Rule, p, now)
				if fits {
					in = append(in, p.Subject())
				}
				return err
			})
			return err
		})
		if err != nil {
			return false, err
		}
		if end {
			st = journey.WatchState{Ready: now}
		}
		err = s.settle(ctx, func(tx *db.Tx, _ *tally) error {
			for _, subject := range in {
				m, err := journey.Member(tx, w.ID, subject)
				if err == nil && !m.Known { // else something has changed meanwhile, which noted who it was before
					err = journey.PutMember(tx, w.ID, subject, true, now)
				}
				if err != nil {
					return err
				}
			}
			return journey.PutWatch(tx, w.ID, st)
		})
		if err != nil {
			return false, err
		}
		s.g.members.mu.Lock()
		s.g.members.states[w.ID] = st
		s.g.members.mu.Unlock()
		if end {
			s.g.cfg.Logger.Info("who joins a segment from now on is told to journeys", "segment", w.Segment, "journeys", w.ids)
		}
		return true, nil
	}
	return false, nil
}

// sweep takes the sweep over all profiles a page further, for the watches whose members change as time passes.
func (s *sweeper) sweep(ctx context.Context, set *journeySet) (busy bool, err error) {
	var timed []*watching
	for _, w := range set.watches {
		if w.Timed() && s.g.members.ready(w.ID) {
			timed = append(timed, w)
		}
	}
	now := s.g.cfg.Now()
	switch {
	case len(timed) == 0:
		s.under = false
		return false, nil
	case !s.under && now.Sub(s.began) < sweepEvery:
		return false, nil
	case !s.under:
		s.began, s.after, s.under = now, "", true
	case time.Now().Before(s.rest):
		return false, nil
	}
	type change struct {
		watch *watching
		p     audience.Profile
	}
	var changes []change
	end := false
	took := time.Now()
	last := s.after
	err = s.g.cfg.DB.View(func(tx *db.Tx) error {
		last, end, err = audience.SweepProfiles(ctx, tx, s.after, sweepPage, func(p *audience.Profile) error {
			for _, w := range timed {
				yes, err := s.differs(tx, w, p, now.UnixMilli())
				if err != nil {
					return err
				}
				if yes {
					changes = append(changes, change{w, *p})
				}
			}
			return nil
		})
		return err
	})
	if err == nil && len(changes) > 0 {
		err = s.settle(ctx, func(tx *db.Tx, t *tally) error {
			for i := range changes {
				p, found, err := audience.Get(tx, changes[i].p.Device)
				if err == nil && found { // else it has been forgotten
					err = s.g.settler.look(tx, changes[i].watch, &p, t)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return false, err
	}
	s.after, s.under = last, !end
	s.rest = time.Now().Add(sweepRest * time.Since(took))
	return false, nil
}

// unwatch removes a page of what is known of a segment that nobody waits for any more. Were it waited for again before all is
// gone, it would begin with a first look.
func (s *sweeper) unwatch(ctx context.Context, set *journeySet) (busy bool, err error) {
	s.g.members.mu.Lock()
	known := slices.Sorted(maps.Keys(s.g.members.states))
	s.g.members.mu.Unlock()
	for _, id := range known {
		if slices.ContainsFunc(set.watches, func(w *watching) bool { return w.ID == id }) {
			continue
		}
		s.g.members.mu.Lock()
		s.g.members.states[id] = journey.WatchState{}
		s.g.members.mu.Unlock()
		n := 0
		err := s.g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
			if n, err = journey.DropMembers(tx, id, sweepPage); err != nil {
				return err
			}
			if n < sweepPage {
				return journey.DropWatch(tx, id)
			}
			return journey.PutWatch(tx, id, journey.WatchState{})
		})
		if err != nil {
			return false, err
		}
		if n < sweepPage {
			s.g.members.mu.Lock()
			delete(s.g.members.states, id)
			s.g.members.mu.Unlock()
		}
		return true, nil
	}
	return false, nil
}
