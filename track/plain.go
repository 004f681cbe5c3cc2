package track

// plain is the whole of Rules.Plain.
func (s *step) plain() Verdict {
	r, f := s.r, s.f
	if !f.HasPosition {
		return Accepted // only positions count
	}
	s.p.Lat, s.p.Lng = f.Lat, f.Lng
	if x := s.t.table.extraOf(r, false); x != nil {
		kept := x.visits[:0]
		for _, v := range x.visits {
			switch fence := s.t.names.fence[v.fence]; {
			case fence == nil:
				s.emit(Exit, nil, &v, FenceDeleted, f.FixedAt)
			case !fence.Shape.Contains(s.p):
				s.emit(Exit, fence, &v, 0, f.FixedAt)
			default:
				kept = append(kept, v)
			}
		}
		x.visits = kept
	}
	for _, i := range s.t.matches(s.p) {
		if fence := s.t.set.At(i); s.find(fence) < 0 {
			s.arrive(fence)
		}
	}
	r.lastAt, r.posLag, r.place, r.gen = f.FixedAt, 0, placeOf(f), s.t.set.Gen()
	r.flags |= recSeen
	return Accepted
}
