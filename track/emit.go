package track

import (
	"slices"
	"strings"

	"footfall/fences"
)

// noteStaying says why a device past the edge has not left.
func (s *step) noteStaying(v *visit, f *fences.Fence, edge float64) {
	if s.t.rules.blind(edge, s.acc) {
		s.note(v, f, notedBlind, ExitAccuracyTooPoor, edge)
	} else {
		s.note(v, f, notedMargin, InsideMargin, edge)
	}
}

// note adds a note unless this visit has it already. flag 0 is for notes that
// cannot repeat.
func (s *step) note(v *visit, f *fences.Fence, flag visitFlags, kind NoteKind, edge float64) {
	if s.t.rules.Plain || v.flags&flag != 0 {
		return
	}
	v.flags |= flag
	s.res.Notes = append(s.res.Notes, Note{FenceID: f.ID, Kind: kind, EdgeDistanceM: edge, AccuracyM: s.acc})
}

// emit adds a transition. f is nil for a fence that is gone.
func (s *step) emit(kind Kind, f *fences.Fence, v *visit, reason Reason, at int64) {
	tr := Transition{
		Kind: kind, Fence: f, FenceID: s.t.names.ids[v.fence], Reason: reason,
		At: at, ConfirmedAt: s.f.FixedAt, Fix: *s.f, Confidence: 2, EnteredAt: v.since,
	}
	if f == nil {
		tr.Confidence = 3 // a fence that is gone has nobody inside
	} else if s.f.HasPosition {
		tr.EdgeDistanceM = f.Shape.EdgeDistanceM(s.p)
		tr.CenterDistanceM = f.Shape.CenterDistanceM(s.p)
		if f != s.named {
			tr.Confidence = confidence(kind, tr.EdgeDistanceM, s.acc)
		}
	}
	if !s.t.rules.Plain {
		if s.f.ReceivedAt-s.f.FixedAt > s.t.rules.MaxAge.Milliseconds() {
			tr.Reason |= Stale
		}
		if s.f.Skewed {
			tr.Reason |= Skewed
		}
	}
	s.res.Transitions = append(s.res.Transitions, tr)
}

// confidence grades a transition by where the accuracy circle lies.
func confidence(kind Kind, edge, acc float64) uint8 {
	switch {
	case kind == Crossed:
		return 2
	case kind == Exit:
		if acc > 0 && edge > acc {
			return 3
		}
		return 2
	case acc > 0 && edge+acc <= 0:
		return 3
	case edge <= 0:
		return 2
	default:
		return 1
	}
}

// sortTransitions puts the transitions of one fix in the order that Result
// promises. There are rarely more than two.
func sortTransitions(trs []Transition) {
	if len(trs) > 1 {
		slices.SortFunc(trs, func(a, b Transition) int {
			if d := rank(a.Kind) - rank(b.Kind); d != 0 {
				return d
			}
			if d := area(a.Fence) - area(b.Fence); d < 0 {
				return -1
			} else if d > 0 {
				return 1
			}
			return strings.Compare(string(a.FenceID), string(b.FenceID))
		})
	}
}

func rank(k Kind) int {
	switch k {
	case Exit:
		return 0
	case Enter:
		return 1
	case Dwell:
		return 2
	default:
		return 3
	}
}

// area of a fence that is gone is 0: it is left first.
func area(f *fences.Fence) float64 {
	if f == nil {
		return 0
	}
	return f.Shape.AreaM2()
}
