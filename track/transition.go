package track

import (
	"encoding/json"
	"fmt"
	"strings"

	"footfall/fences"
)

// Kind is the kind of a transition.
type Kind uint8

// The kinds of transition.
const (
	Enter   Kind = iota + 1 // the device came in
	Exit                    // the device has clearly left
	Dwell                   // still inside after the fence's dwell time; once per visit
	Crossed                 // passed through between two fixes; not a visit
)

var kindNames = [...]string{Enter: "enter", Exit: "exit", Dwell: "dwell", Crossed: "crossed"}

// String returns the wire name, such as "enter".
func (k Kind) String() string {
	if k >= Enter && k <= Crossed {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ParseKind reads a wire name.
func ParseKind(name string) (Kind, error) {
	for k := Enter; k <= Crossed; k++ {
		if kindNames[k] == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("track: unknown transition kind %q", name)
}

// Reason is a set of circumstances of a transition. The empty set is the plain
// case: the device moved, and we saw it in time.
type Reason uint16

// The members of a Reason.
const (
	Initial      Reason = 1 << iota // first position of this device, already inside
	Resumed                         // back after a silence of PresenceTTL, still or again inside
	FenceCreated                    // the fence was drawn around the device
	FenceChanged                    // the fence's edge moved over the device
	FenceDeleted                    // the fence is gone
	Device                          // the phone's operating system reported it
	Stale                           // the fix was older than MaxAge when it arrived
	Skewed                          // the fix time was in the future; the receive time stands in
	Inferred                        // nobody saw it happen; derived from a silence
	reasonEnd
)

var reasonNames = [...]string{"initial", "resumed", "fence_created", "fence_changed", "fence_deleted", "device", "stale", "skewed", "inferred"}

// Has reports whether every member of q is in r.
func (r Reason) Has(q Reason) bool { return r&q == q }

// Names returns the wire names of the members, in a fixed order.
func (r Reason) Names() []string {
	names := []string{}
	for i, n := range reasonNames {
		if r&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// String returns the wire names joined by commas, "" for the empty set.
func (r Reason) String() string { return strings.Join(r.Names(), ",") }

// ParseReason reads one wire name.
func ParseReason(name string) (Reason, error) {
	for i, n := range reasonNames {
		if n == name {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("track: unknown reason %q", name)
}

// MarshalJSON writes the members as a list of names.
func (r Reason) MarshalJSON() ([]byte, error) { return json.Marshal(r.Names()) }

// UnmarshalJSON reads a list of names.
func (r *Reason) UnmarshalJSON(data []byte) error {
	var names []string
	if err := json.Unmarshal(data, &names); err != nil {
		return err
	}
	var set Reason
	for _, n := range names {
		m, err := ParseReason(n)
		if err != nil {
			return err
		}
		set |= m
	}
	*r = set
	return nil
}

// Transition is one thing that happened between a device and a fence.
// Times are Unix milliseconds of event time.
type Transition struct {
	Kind Kind
	// Fence is of the set the fix was applied with and must not be changed. It
	// is nil only when the fence is gone (FenceDeleted).
	Fence   *fences.Fence
	FenceID fences.ID
	Reason  Reason
	// At is when it happened. For an enter that waited for its min stay this is
	// the first fix inside, for an exit that waited for its min away the first one
	// outside, for an Inferred exit the last time the device was
	// seen; otherwise the fix time.
	At int64
	// ConfirmedAt is the fix time of the fix that settled it; never before At.
	ConfirmedAt int64
	// Fix is the fix that settled it.
	Fix Fix
	// Confidence: 3 the whole accuracy circle is on this side of the edge, 2 the
	// position is (or the phone says so), 1 only the accuracy circle touches.
	Confidence uint8
	// EdgeDistanceM is the distance of the fix from the edge in metres, negative
	// inside; CenterDistanceM from the centre. Both are 0 when the fix has no
	// position or the fence is gone.
	EdgeDistanceM, CenterDistanceM float64
	// EnteredAt is when the visit began. For a Crossed it is At.
	EnteredAt int64
}

// Verdict says what became of a fix as a whole.
type Verdict uint8

// The verdicts. Only Accepted changes presence or makes transitions.
const (
	Accepted    Verdict = iota + 1
	Late                // older than the device's last accepted fix
	Duplicate           // seen before: same time and place
	SameTime            // same time as a fix that is at least as accurate, other place
	Quarantined         // implausibly far; believed when the next fix agrees
	Refused             // see Result.Refusal
	Replayed            // its log position was already applied
	NoConsent           // the device is withdrawn: see Tracker.Withdraw
	verdictEnd
)

var verdictNames = [...]string{
	Accepted: "accepted", Late: "late", Duplicate: "duplicate", SameTime: "same_time",
	Quarantined: "quarantined", Refused: "refused", Replayed: "replayed", NoConsent: "no_consent",
}

// String returns the name used in metrics and scenarios, such as "late".
func (v Verdict) String() string {
	if v >= Accepted && v < verdictEnd {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// ParseVerdict reads a verdict's name.
func ParseVerdict(name string) (Verdict, error) {
	for v := Accepted; v < verdictEnd; v++ {
		if verdictNames[v] == name {
			return v, nil
		}
	}
	return 0, fmt.Errorf("track: unknown verdict %q", name)
}

// NoteKind says why a fix near a fence made no transition.
type NoteKind uint8

// The kinds of note.
const (
	// AccuracyTooPoor: inside, but the accuracy does not allow an enter.
	AccuracyTooPoor NoteKind = iota + 1
	// PendingMinStay: inside, waiting for the fence's min stay.
	PendingMinStay
	// InsideMargin: past the edge, but not far enough to have clearly left.
	InsideMargin
	// ExitAccuracyTooPoor: far outside, but the fix is too vague to believe it.
	ExitAccuracyTooPoor
	// InitialOff: first seen inside; the fence asks for no enter then.
	InitialOff
	// PendingMinAway: clearly outside, waiting for the fence's min away.
	PendingMinAway
	// UnknownFence: the phone reported a transition for a fence we do not have.
	UnknownFence
)

var noteNames = [...]string{
	AccuracyTooPoor: "accuracy_too_poor", PendingMinStay: "pending_min_stay", InsideMargin: "inside_margin",
	ExitAccuracyTooPoor: "exit_accuracy_too_poor", InitialOff: "initial_off", PendingMinAway: "pending_min_away", UnknownFence: "unknown_fence",
}

// String returns the wire name, such as "accuracy_too_poor".
func (k NoteKind) String() string {
	if k >= AccuracyTooPoor && k <= UnknownFence {
		return noteNames[k]
	}
	return fmt.Sprintf("note(%d)", uint8(k))
}

// ParseNoteKind reads a wire name.
func ParseNoteKind(name string) (NoteKind, error) {
	for k := AccuracyTooPoor; k <= UnknownFence; k++ {
		if noteNames[k] == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("track: unknown note kind %q", name)
}

// Note explains why a fix at a fence made no transition. Each kind is noted at
// most once per visit, so a phone that lies still does not fill a log.
type Note struct {
	FenceID       fences.ID
	Kind          NoteKind
	EdgeDistanceM float64 // negative inside; 0 for UnknownFence
	AccuracyM     float64 // of the fix; 0 = unknown
}

// Result is what Apply answers. It is owned by the caller and meant to be
// reused: Apply truncates and refills it. The order of Transitions is part of
// the contract: exits, enters, dwells, crossings; among each the smaller area
// before the larger, then by fence id.
type Result struct {
	Verdict     Verdict
	Refusal     Refusal // set when Verdict is Refused
	Transitions []Transition
	Notes       []Note

	// Visiting says that the device was inside some fence before this fix and still is, and PrevFixedAt is the
	// time of the fix before: with both, a caller can tell what began while the device stood there. They are
	// set only for an Accepted fix.
	Visiting    bool
	PrevFixedAt int64
}

func (r *Result) reset() {
	clear(r.Transitions) // let go of fences and strings
	r.Verdict, r.Refusal = 0, ""
	r.Visiting, r.PrevFixedAt = false, 0
	r.Transitions, r.Notes = r.Transitions[:0], r.Notes[:0]
}
