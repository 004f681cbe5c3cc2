package stream

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"footfall/audience"
	"footfall/fences"
	"footfall/geo"
	"footfall/stream/wire"
	"footfall/track"
)

// Approach is how near a device has come to a fence, by the positions that the input log still holds. Times are Unix ms.
type Approach struct {
	Nearest   *NearbyOf `json:"nearest,omitempty"` // nil: there is no position, or no fence
	At        int64     `json:"at,omitzero"`       // fix time of the position that was nearest
	AccuracyM float32   `json:"accuracy_m,omitzero"`
	Positions int       `json:"positions"`  // of the device, as many as are kept and were asked for
	KeptSince int64     `json:"kept_since"` // when the oldest input of its partition was received; 0: none is kept
}

// approach finds the closest approach of a device to a fence, or with which to that one, in the input log. from and to bound
// fix times; 0 for no bound.
func (g *Gateway) approach(ctx context.Context, id track.DeviceID, from, to int64, which fences.ID) (*Approach, error) {
	l := g.logs[wire.Partition(id, Partitions)]
	state, err := l.state(ctx)
	if err != nil {
		return nil, err
	}
	out := &Approach{}
	search := newNearestSearch(g.fences.Load(), which)
	if state.last < state.first {
		return out, nil
	}
	reader := wire.NewBatchReader(wire.NewInterner(1 << 10))
	var best track.Fix
	err = l.read(ctx, state.first, func(m logMessage, caughtUp bool) (bool, error) {
		if m.data != nil && reader.Reset(m.data) == nil {
			for {
				var rec wire.Record
				if ok, err := reader.Next(&rec); err != nil || !ok {
					break
				}
				if out.KeptSince == 0 {
					out.KeptSince = rec.ReceivedAt
				}
				f := &rec.Fix
				if rec.Device == id && rec.Kind == wire.KindDevice && audience.LocationConsentIn(rec.Payload) == audience.ConsentWithdrawn {
					// What came before is not to be told any more.
					search, out.Positions = newNearestSearch(g.fences.Load(), which), 0
				}
				if rec.Kind != wire.KindPing || rec.Device != id || !f.HasPosition || f.FixedAt < from || to != 0 && f.FixedAt > to {
					continue
				}
				out.Positions++
				if search.look(geo.Point{Lat: f.Lat, Lng: f.Lng}) {
					best = *f
				}
			}
		}
		return !caughtUp && m.seq < state.last, nil
	})
	if err != nil {
		return nil, fmt.Errorf("stream: look for the closest approach of %s: %w", id, err)
	}
	if f := search.fence; f != nil {
		n := nearbyOf(f, geo.Point{Lat: best.Lat, Lng: best.Lng})
		n.Change = g.cfg.Rules.ToEnter(f, n.EdgeM, float64(best.AccuracyM))
		out.Nearest, out.At, out.AccuracyM = &n, best.FixedAt, best.AccuracyM
	}
	return out, nil
}

// nearestSearch finds which of many points comes nearest to the edge of a fence, deepest inside first, without measuring all fences
// at each: who has moved by m since a place of which all distances are known is no nearer to any fence than its
// distance there less m.
type nearestSearch struct {
	set   *fences.Set
	fence *fences.Fence // the nearest so far, nil for none
	edgeM float64       // to it

	ref      geo.Point
	from     []fenceFrom // by distance from ref
	which    []int32
	measured int // fences, for tests
}

type fenceFrom struct {
	edgeM float64
	fence int32
}

// newNearestSearch searches among the fences of set, or for one of them.
func newNearestSearch(set *fences.Set, which fences.ID) *nearestSearch {
	s := &nearestSearch{set: set}
	for i := range int32(set.Len()) {
		if which == "" || set.At(i).ID == which {
			s.which = append(s.which, i)
		}
	}
	return s
}

// lowerBound is the least that a distance can be after a move. Distances to the edge of a polygon are measured in its own
// plane: hence the slack.
func lowerBound(edgeM, movedM float64) float64 { return edgeM - 1.01*movedM - 1 }

// look takes the next point and reports whether it is the nearest so far.
func (s *nearestSearch) look(p geo.Point) (nearer bool) {
	if len(s.which) == 0 {
		return false
	}
	if s.from == nil {
		return s.refer(p)
	}
	moved := geo.DistanceM(s.ref, p)
	for n, f := range s.from {
		if s.fence != nil && lowerBound(f.edgeM, moved) >= s.edgeM {
			return nearer
		}
		if n > 64 && n > len(s.from)/8 { // too far from where they were measured to leave many out
			return s.refer(p) || nearer
		}
		nearer = s.take(f.fence, s.measure(f.fence, p)) || nearer
	}
	return nearer
}

// refer measures all fences from p.
func (s *nearestSearch) refer(p geo.Point) (nearer bool) {
	s.ref, s.from = p, s.from[:0]
	for _, i := range s.which {
		d := s.measure(i, p)
		s.from = append(s.from, fenceFrom{d, i})
		nearer = s.take(i, d) || nearer
	}
	slices.SortFunc(s.from, func(a, b fenceFrom) int { return cmp.Or(cmp.Compare(a.edgeM, b.edgeM), cmp.Compare(a.fence, b.fence)) })
	return nearer
}

func (s *nearestSearch) measure(i int32, p geo.Point) float64 {
	s.measured++
	return s.set.At(i).Shape.EdgeDistanceM(p)
}

func (s *nearestSearch) take(i int32, edgeM float64) bool {
	if s.fence != nil && edgeM >= s.edgeM {
		return false
	}
	s.fence, s.edgeM = s.set.At(i), edgeM
	return true
}
