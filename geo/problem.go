package geo

// ProblemKind says what is wrong with a polygon.
type ProblemKind uint8

const (
	// BadPosition: not finite or out of range. The ring is not looked at further.
	BadPosition ProblemKind = iota + 1
	// TooFewPositions: under four positions, the closing one counted.
	TooFewPositions
	// Unclosed: the last position is not the first. The ring is not looked at further.
	Unclosed
	// ZeroArea: all positions equal or on one line, or fewer than three differ.
	ZeroArea
	// ContainsPole: the ring goes round a pole.
	ContainsPole
	// SelfCrossing: a ring goes through itself, or runs along itself.
	SelfCrossing
	// HoleOutside: a hole lies outside the exterior.
	HoleOutside
	// HoleCrossing: a hole crosses the exterior or runs along it.
	HoleCrossing
	// HoleEqualsExterior: a hole takes away the whole exterior.
	HoleEqualsExterior
	// HolesOverlap: two holes cross, run along each other, or one holds the other.
	HolesOverlap
	// DisconnectedInterior: rings touch so that the interior falls apart.
	DisconnectedInterior
	// SelfTouch: a ring touches itself in a point without going through.
	SelfTouch
	// DuplicatePosition: a position follows itself.
	DuplicatePosition
	// Winding: an exterior that runs clockwise, or a hole that does not (RFC 7946,
	// section 3.1.6). Has no bearing on this package's answers.
	Winding
)

var problemNames = [...]string{
	BadPosition:          "bad position",
	TooFewPositions:      "too few positions",
	Unclosed:             "unclosed",
	ZeroArea:             "zero area",
	ContainsPole:         "contains a pole",
	SelfCrossing:         "self-crossing",
	HoleOutside:          "hole outside",
	HoleCrossing:         "hole crossing",
	HoleEqualsExterior:   "hole equals exterior",
	HolesOverlap:         "holes overlap",
	DisconnectedInterior: "disconnected interior",
	SelfTouch:            "self-touch",
	DuplicatePosition:    "duplicate position",
	Winding:              "winding",
}

func (k ProblemKind) String() string {
	if int(k) < len(problemNames) && k > 0 {
		return problemNames[k]
	}
	return "unknown problem"
}

// Valid reports whether a polygon with this problem is still valid by the OGC rules
// (Simple Feature Access 6.1.11): repeated positions and winding do no harm. A ring
// that touches itself is invalid by those rules, but its area is clear.
func (k ProblemKind) Valid() bool { return k == DuplicatePosition || k == Winding }

// Ambiguous reports whether the area of a polygon with this problem is unclear or
// missing. The other problems are worth a warning at most.
func (k ProblemKind) Ambiguous() bool { return k < SelfTouch }

// Problem is one fault of a polygon.
type Problem struct {
	Kind   ProblemKind
	Ring   int    // 0 is the exterior
	Vertex int    // position in the ring at or before the fault
	At     Point  // where, when Vertex says too little: the crossing itself
	Detail string // for people
}
