package track

import (
	"slices"

	"footfall/fences"
)

// word takes a transition that the phone reports without a position, or with
// one that is known already.
func (s *step) word() Verdict {
	d, f := s.d, s.f
	f.HasPosition = false
	if f.Fence == "" {
		return Duplicate // only the position could have said something
	}
	s.named = s.lookup()
	s.settle()
	changed := s.named != nil && s.obey()
	if d.seen {
		if f.FixedAt == d.lastAt && !changed && len(s.res.Transitions) == 0 && len(s.res.Notes) == 0 {
			return Duplicate
		}
		if d.posLag != noPosition {
			d.posLag = uint32(min(int64(d.posLag)+f.FixedAt-d.lastAt, int64(maxPosLag)))
		}
	}
	d.lastAt = f.FixedAt
	d.seen = true
	return Accepted
}

// lookup finds the fence the phone names, or notes that there is none.
func (s *step) lookup() *fences.Fence {
	f, ok := s.t.set.Lookup(fences.ID(s.f.Fence))
	if !ok {
		s.res.Notes = append(s.res.Notes, Note{FenceID: fences.ID(s.f.Fence), Kind: UnknownFence, AccuracyM: float64(s.f.AccuracyM)})
		return nil
	}
	return f
}

// obey applies the phone's own transition to the fence it names and reports
// whether the device's state changed.
func (s *step) obey() bool {
	f := s.named
	i := s.find(f)
	if s.f.Source == SourceOSExit {
		if i < 0 {
			return false
		}
		v := &s.d.visits[i]
		if v.state == stateInside || v.state == stateUnknown {
			at := s.f.FixedAt
			if v.flags&visitAway != 0 {
				at = v.seenAt
			}
			s.emit(Exit, f, v, Device, at)
		}
		s.d.visits = slices.Delete(s.d.visits, i, i+1)
		return true
	}
	var v *visit
	if i < 0 {
		v = s.add(f)
	} else {
		v = &s.d.visits[i]
	}
	before := *v
	v.stay()
	switch v.state {
	case stateInside:
	case statePending:
		// A pending visit only ends its wait by the phone's dwell, below.
	case stateUnknown:
		s.begin(v, f, Resumed|Device)
	default:
		s.begin(v, f, Device)
	}
	if s.f.Source == SourceOSDwell {
		if v.state == statePending {
			v.reason |= Device
			s.enter(v, f)
		}
		if v.flags&visitDwelled == 0 {
			v.flags |= visitDwelled
			s.emit(Dwell, f, v, Device, s.f.FixedAt)
		}
	}
	return i < 0 || *v != before
}
