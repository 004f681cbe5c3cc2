package geo

type ProblemKind uint8

const (
	Unclosed ProblemKind = iota + 1
	TooFewPositions
	ZeroArea
	SelfCrossing
	SelfTouch
	DuplicatePosition
	HoleOutside
	HoleCrossing
	HoleEqualsExterior
	HolesOverlap
	Winding
	ContainsPole
	BadPosition
	DisconnectedInterior
)

func (k ProblemKind) String() string { return "" }

type Problem struct {
	Kind         ProblemKind
	Ring, Vertex int
	At           Point
	Detail       string
}

func CheckPolygon(p Polygon, limit int) []Problem { return nil }
