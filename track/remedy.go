package track

import (
	"fmt"
	"math"

	"footfall/fences"
)

// ToEnter says what a fix edgeM metres from f's edge (negative: inside), known to accuracyM (0: unknown), would need to
// enter it: "38 m closer", "an accuracy of at most 100 m", both, or "" for nothing. Distances are rounded so that they
// are enough: a fix that is so much closer, by the straight way to the edge, is inside.
func (r *Rules) ToEnter(f *fences.Fence, edgeM, accuracyM float64) string {
	var text string
	if edgeM > 0 && (r.Plain || !r.BufferEntries || edgeM > min(accuracyM, r.ExitAccuracyCapM)) {
		text = atLeast(edgeM) + " closer"
	}
	if limit := r.maxAccuracyM(f); !r.Plain && accuracyM > limit {
		if text != "" {
			text += " and "
		}
		text += fmt.Sprintf("an accuracy of at most %.0f m", math.Floor(limit))
	}
	return text
}

// Remedy says what would have made a transition of a fix that got this note.
func (r *Rules) Remedy(kind NoteKind, f *fences.Fence, edgeM, accuracyM float64) string {
	switch kind {
	case AccuracyTooPoor:
		return r.ToEnter(f, edgeM, accuracyM)
	case PendingMinStay:
		return fmt.Sprintf("a position inside %s later", formatMS(r.minStayMS(f)))
	case InsideMargin:
		return fmt.Sprintf("%s farther out, to count as gone", atLeast(r.exitMarginM(f)+min(accuracyM, r.ExitAccuracyCapM)-edgeM+0.1))
	case ExitAccuracyTooPoor:
		return fmt.Sprintf("an accuracy of at most %.0f m, to count as gone", math.Floor(max(r.ExitBlindM, edgeM)))
	case PendingMinAway:
		return fmt.Sprintf("a position as far outside %s later, with none inside between", formatMS(r.minAwayMS(f)))
	case InitialOff:
		return "an earlier position outside, or initial: true at the fence"
	case UnknownFence:
		return "a fence with this id"
	}
	return ""
}

// atLeast is a distance in metres, rounded up.
func atLeast(m float64) string {
	if m < 10 {
		return fmt.Sprintf("%.1f m", math.Ceil(m*10)/10)
	}
	return fmt.Sprintf("%.0f m", math.Ceil(m))
}

func formatMS(ms int64) string {
	if ms%60_000 == 0 {
		return fmt.Sprintf("%d min", ms/60_000)
	}
	return fmt.Sprintf("%d s", (ms+999)/1000)
}
