package geo

import "errors"

type Polygon [][]Point

type Shape struct{ center Point }

func NewCircle(center Point, radiusM float64) (Shape, error) { return Shape{center: center}, nil }
func NewPolygons(polys []Polygon) (Shape, error) {
	if len(polys) == 0 {
		return Shape{}, errors.New("geo: no polygons")
	}
	return Shape{}, nil
}
func (s *Shape) IsCircle() bool                  { return true }
func (s *Shape) Center() Point                   { return s.center }
func (s *Shape) RadiusM() float64                { return 0 }
func (s *Shape) AreaM2() float64                 { return 0 }
func (s *Shape) SizeM() float64                  { return 0 }
func (s *Shape) Contains(p Point) bool           { return false }
func (s *Shape) EdgeDistanceM(p Point) float64   { return 0 }
func (s *Shape) CenterDistanceM(p Point) float64 { return 0 }
func (s *Shape) Crosses(a, b Point) bool         { return false }
func (s *Shape) Hash() uint64                    { return 0 }
func (s *Shape) Polygons() []Polygon             { return nil }

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

type Index struct{}

func NewIndex(shapes []*Shape) *Index                    { return &Index{} }
func (x *Index) Match(dst []int32, p Point) []int32      { return dst }
func (x *Index) Candidates(dst []int32, p Point) []int32 { return dst }
func (x *Index) MayContain(p Point) bool                 { return true }
func (x *Index) Stats() IndexStats                       { return IndexStats{} }

// IndexStats describes the size of an Index.
type IndexStats struct {
	Shapes        int
	Cells         int
	Postings      int
	Bytes         int
	PerResolution [16]int
}

type CoverCell struct {
	Cell Cell
	Full bool
}

func Cover(s *Shape) []CoverCell { return nil }
