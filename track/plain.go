package track

// plain is the whole of Rules.Plain.
func (s *step) plain() Verdict {
	d, f := s.d, s.f
	if !f.HasPosition {
		return Accepted // only positions count
	}
	s.p.Lat, s.p.Lng = f.Lat, f.Lng
	kept := d.visits[:0]
	for _, v := range d.visits {
		switch fence := s.t.names.fence[v.fence]; {
		case fence == nil:
			s.emit(Exit, nil, &v, FenceDeleted, f.FixedAt)
		case !fence.Shape.Contains(s.p):
			s.emit(Exit, fence, &v, 0, f.FixedAt)
		default:
			kept = append(kept, v)
		}
	}
	d.visits = kept
	for _, i := range s.t.matches(s.p) {
		if fence := s.t.set.At(i); s.find(fence) < 0 {
			s.arrive(fence)
		}
	}
	d.lastAt, d.posLag, d.place, d.gen, d.seen = f.FixedAt, 0, placeOf(f), s.t.set.Gen(), true
	return Accepted
}
