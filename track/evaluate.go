package track

import (
	"slices"

	"footfall/fences"
)

// settle brings the device's visits up to date with what happened to the
// fences and to the clock since its last input, before the input is looked at.
func (s *step) settle() {
	if s.d.seen {
		from := s.d.lastAt
		if s.via > from {
			// The quarantined fix in between was a sign of life too.
			s.silent = s.gap(from, s.via)
			from = s.via
		}
		s.silent = s.silent || s.gap(from, s.f.FixedAt)
	}
	kept := s.d.visits[:0]
	for _, v := range s.d.visits {
		f := s.t.names.fence[v.fence]
		switch {
		case f == nil:
			if v.state == stateInside {
				s.emit(Exit, nil, &v, FenceDeleted, s.f.FixedAt)
			}
			continue
		case s.silent && v.state == stateInside:
			v.stay()
			v.state, v.seenAt = stateUnknown, s.d.lastAt
		case s.silent && v.state != stateUnknown:
			continue
		}
		kept = append(kept, v)
	}
	s.d.visits = kept
}

// evaluate compares the fix with every fence the device is at, then with every
// fence around the fix. The fence that the phone names is left to obey.
func (s *step) evaluate() {
	kept := s.d.visits[:0]
	for _, v := range s.d.visits {
		f := s.t.names.fence[v.fence]
		if f == s.named || s.advance(&v, f) {
			kept = append(kept, v)
		}
	}
	s.d.visits = kept
	for _, i := range s.t.matches(s.p) {
		f := s.t.set.At(i)
		if f != s.named && s.find(f) < 0 {
			s.arrive(f)
		}
	}
	if s.t.nearby.empty() {
		return
	}
	if s.t.rules.BufferEntries && s.acc > 0 {
		s.arriveNearby()
	}
	s.cross()
}

// advance moves one visit on by the fix and reports whether it goes on.
func (s *step) advance(v *visit, f *fences.Fence) (stays bool) {
	rules := &s.t.rules
	inside := f.Shape.Contains(s.p)
	var edge float64
	if !inside {
		edge = f.Shape.EdgeDistanceM(s.p)
	}
	sharp := s.acc <= rules.maxAccuracyM(f)
	in := inside || s.touches(edge)
	out := !inside && rules.exits(f, edge, s.acc)
	switch v.state {
	case stateInside:
		switch {
		case out:
			return !s.leave(v, f, edge)
		case inside:
			v.stay()
			v.shapeGen = f.ShapeGen
			if sharp {
				s.dwell(v, f)
			}
		default:
			s.noteStaying(v, f, edge)
		}
	case stateUnknown:
		switch {
		case out:
			if rules.InferExit {
				s.emit(Exit, f, v, Resumed|Inferred, v.seenAt)
			}
			return false
		case in && sharp:
			s.begin(v, f, Resumed)
		case in:
			s.note(v, f, notedAccuracy, AccuracyTooPoor, edge)
		}
	case statePending:
		switch {
		case out:
			return false
		case in && sharp:
			s.confirm(v, f)
		case in:
			s.note(v, f, notedAccuracy, AccuracyTooPoor, edge)
		}
	case stateNear:
		switch {
		case in && sharp:
			s.begin(v, f, v.reason)
		case !in && (sharp || out):
			return false
		}
	}
	return true
}

// arrive takes a fence that contains the fix (or is touched by it) and that the
// device was not at.
func (s *step) arrive(f *fences.Fence) {
	v := s.add(f)
	var reason Reason
	switch {
	case s.t.rules.Plain:
	case s.first:
		reason = Initial
	case f.ShapeGen > s.d.gen && f.Shape.Contains(s.prev.point()):
		// The device was here before the fence was: the edit moved, not it.
		reason = FenceChanged
		if f.CreatedGen > s.d.gen {
			reason = FenceCreated
		}
	}
	if s.acc > s.t.rules.maxAccuracyM(f) && !s.t.rules.Plain {
		v.state, v.reason = stateNear, reason
		s.note(v, f, notedAccuracy, AccuracyTooPoor, f.Shape.EdgeDistanceM(s.p))
		return
	}
	s.begin(v, f, reason)
}

// begin starts a visit at the time of the fix: it enters, or waits for the min
// stay.
func (s *step) begin(v *visit, f *fences.Fence, reason Reason) {
	v.since, v.reason, v.shapeGen = s.f.FixedAt, reason, f.ShapeGen
	v.seenAt = 0
	v.flags &^= visitDwelled
	switch {
	case reason.Has(Initial) && !s.t.rules.initial(f):
		v.state, v.reason = stateInside, 0
		s.note(v, f, 0, InitialOff, s.edge(f))
	case s.t.rules.minStayMS(f) > 0:
		v.state = statePending
		s.note(v, f, notedPending, PendingMinStay, s.edge(f))
	default:
		s.enter(v, f)
	}
}

// confirm enters when the min stay is over.
func (s *step) confirm(v *visit, f *fences.Fence) {
	if s.f.FixedAt-v.since >= s.t.rules.minStayMS(f) {
		s.enter(v, f)
		s.dwell(v, f)
	}
}

func (s *step) enter(v *visit, f *fences.Fence) {
	s.emit(Enter, f, v, v.reason, v.since)
	v.state, v.reason, v.shapeGen = stateInside, 0, f.ShapeGen
}

// dwell fires once per visit, at the first fix that shows the device inside
// after the dwell time.
func (s *step) dwell(v *visit, f *fences.Fence) {
	d := s.t.rules.dwellMS(f)
	if d == 0 || v.flags&visitDwelled != 0 || s.f.FixedAt-v.since < d {
		return
	}
	v.flags |= visitDwelled
	s.emit(Dwell, f, v, 0, s.f.FixedAt)
}

// leave takes a fix that is clearly outside and reports whether the device has
// left: at once, or when the min away is over, at the time of the first such fix.
func (s *step) leave(v *visit, f *fences.Fence, edge float64) bool {
	if v.flags&visitAway == 0 {
		v.reason, v.seenAt = s.editReason(v, f), s.f.FixedAt
	}
	if s.f.FixedAt-v.seenAt >= s.t.rules.minAwayMS(f) {
		s.emit(Exit, f, v, v.reason, v.seenAt)
		return true
	}
	v.flags |= visitAway
	s.note(v, f, notedAway, PendingMinAway, edge)
	return false
}

// stay takes back that the device was seen clearly outside.
func (v *visit) stay() {
	if v.flags&visitAway != 0 {
		v.flags &^= visitAway
		v.reason, v.seenAt = 0, 0
	}
}

// editReason tells an exit made by moving the fence from one made by moving the
// device: the device was not yet seen inside the new shape, and its last place
// is not inside it either.
func (s *step) editReason(v *visit, f *fences.Fence) Reason {
	if v.shapeGen != f.ShapeGen && s.hasPrev && !f.Shape.Contains(s.prev.point()) {
		return FenceChanged
	}
	return 0
}

// find returns the index of the device's visit to f, -1 when it has none.
func (s *step) find(f *fences.Fence) int {
	for i := range s.d.visits {
		if s.t.names.fence[s.d.visits[i].fence] == f {
			return i
		}
	}
	return -1
}

// add makes a visit to f, in order of fence id. The pointer is good until the
// device's visits change again.
func (s *step) add(f *fences.Fence) *visit {
	ids := &s.t.names
	n := ids.number(f.ID, f)
	d := s.d
	i := len(d.visits)
	for i > 0 && ids.ids[d.visits[i-1].fence] > f.ID {
		i--
	}
	d.visits = slices.Insert(d.visits, i, visit{fence: n, since: s.f.FixedAt, shapeGen: f.ShapeGen})
	return &d.visits[i]
}

// touches reports whether BufferEntries counts a fix edge metres outside as in.
// The cap is the one of exits, so that no fix can both touch and have left.
func (s *step) touches(edge float64) bool {
	return s.t.rules.BufferEntries && s.acc > 0 && edge <= s.reach()
}

func (s *step) reach() float64 { return min(s.acc, s.t.rules.ExitAccuracyCapM) }

func (s *step) edge(f *fences.Fence) float64 {
	if !s.f.HasPosition {
		return 0
	}
	return f.Shape.EdgeDistanceM(s.p)
}
