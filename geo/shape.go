package geo

import (
	"errors"
	"fmt"
	"math"
)

// Polygon is a polygon as in RFC 7946: the first ring is the exterior, the others
// are holes; every ring repeats its first position at its end. Edges are straight
// lines in longitude and latitude, not geodesics. Rings may run either way round.
//
// A ring that crosses the antimeridian may be given in either encoding: cut into
// polygons at ±180, or whole, with an edge whose longitudes differ by more than 180
// degrees, which then means the short way round. The exception is an edge from
// exactly -180 to exactly 180 (or along a pole) in a ring that only makes sense
// read literally, such as the outline of a whole band of latitudes.
type Polygon [][]Point

// MaxRadiusM is the largest radius of a circle.
const MaxRadiusM = 100_000

var (
	// ErrRadius is wrapped by errors about a circle's radius.
	ErrRadius = errors.New("geo: bad radius")
	// ErrPolygon is wrapped by errors about a polygon's rings.
	ErrPolygon = errors.New("geo: bad polygon")
)

// Shape is a circle or one or more polygons. It is immutable; methods are safe for
// concurrent use. The zero Shape is empty: it contains nothing.
//
// The boundary belongs to the shape, of holes too.
type Shape struct {
	center  Point
	areaM2  float64
	radiusM float64 // 0 for polygons
	disc    disc    // for circles
	area    *area   // for polygons
}

// NewCircle is the set of points within radiusM metres of center along the WGS84
// ellipsoid. The radius must be above 0 and at most MaxRadiusM (error wraps
// ErrRadius), the centre valid (ErrPosition). Any centre is fine, the poles and the
// antimeridian too.
func NewCircle(center Point, radiusM float64) (Shape, error) {
	if err := center.Validate(); err != nil {
		return Shape{}, err
	}
	if !(radiusM > 0 && radiusM <= MaxRadiusM) {
		return Shape{}, fmt.Errorf("%w: %v m, must be above 0 and at most %d", ErrRadius, radiusM, MaxRadiusM)
	}
	ratio := radiusM / meanRadiusM
	return Shape{
		center:  center,
		radiusM: radiusM,
		areaM2:  math.Pi * radiusM * radiusM * (1 - ratio*ratio/12),
		disc:    newDisc(center, radiusM),
	}, nil
}

// NewPolygons is the union of polygons. Each ring must be closed, have at least
// four positions and an area, and not go round a pole: errors wrap ErrPolygon or
// ErrPosition and say which polygon and ring. Whether rings cross is not looked at
// here: see CheckPolygon. A ring that crosses itself is filled by the even-odd rule.
// The slices are copied.
func NewPolygons(polys []Polygon) (Shape, error) {
	if len(polys) == 0 {
		return Shape{}, fmt.Errorf("%w: no polygons", ErrPolygon)
	}
	a, err := newArea(polys)
	if err != nil {
		return Shape{}, err
	}
	return Shape{center: a.centroid(), areaM2: a.areaM2(), area: a}, nil
}

// IsCircle reports whether s was made by NewCircle.
func (s *Shape) IsCircle() bool { return s.radiusM > 0 }

// Center is the centre of a circle; of polygons the centroid in longitude and
// latitude, which may lie outside of them.
func (s *Shape) Center() Point { return s.center }

// RadiusM is the radius of a circle in metres; 0 for polygons.
func (s *Shape) RadiusM() float64 { return s.radiusM }

// AreaM2 is the area in square metres on the ellipsoid, holes taken off. Polygons
// that overlap count twice.
func (s *Shape) AreaM2() float64 { return s.areaM2 }

// SizeM is the radius of a circle, and of polygons that of a circle of equal area.
// Margins are scaled by it.
func (s *Shape) SizeM() float64 {
	if s.IsCircle() {
		return s.radiusM
	}
	return math.Sqrt(s.areaM2 / math.Pi)
}

// Contains reports whether p is in s or on its boundary.
//
// A circle's answer equals the WGS84 geodesic distance's to within 1 mm up to 20 km
// radius and 2 cm at 100 km; points up to 1 mm outside count as inside. A polygon's
// is planar in longitude and latitude; points within 1e-13 degrees (10 nm) of an
// edge are on it. A point that is not finite or has a
// latitude beyond ±90 is in no shape. Does not allocate.
func (s *Shape) Contains(p Point) bool {
	if !(p.Lat >= -90 && p.Lat <= 90) {
		return false
	}
	if s.area != nil {
		return s.area.contains(p)
	}
	return s.IsCircle() && s.disc.contains(p.ECEF())
}

// CenterDistanceM is the geodesic distance in metres from p to Center.
func (s *Shape) CenterDistanceM(p Point) float64 { return DistanceM(s.center, p) }

// EdgeDistanceM is the distance in metres from p to the boundary, negative inside:
// <= 0 exactly when Contains. For a circle it is the distance to the centre less the
// radius. For polygons it is the geodesic distance to the nearest point of an edge;
// the nearest point is found in a plane that is true to scale at p, so the result is
// good to 0.1% up to 100 km from the edge, and further off to a few percent. An
// edge on the antimeridian that two parts share is not a boundary.
func (s *Shape) EdgeDistanceM(p Point) float64 {
	var d float64
	inside := s.Contains(p)
	if s.area != nil {
		d = s.area.boundaryDistanceM(p)
		if inside {
			d = -d
		}
		return d
	}
	d = s.CenterDistanceM(p) - s.radiusM
	const least = 1e-9 // what the two methods differ by never changes the side
	if inside {
		return min(d, 0)
	}
	return max(d, least)
}

// Hash is a 64-bit hash (FNV-1a) of the geometry: equal shapes have equal hashes, in
// every process and on every machine. The order of positions counts, a pair of
// encodings of one polygon counts as two shapes.
func (s *Shape) Hash() uint64 {
	h := uint64(14695981039346656037)
	add := func(v uint64) {
		for range 8 {
			h = (h ^ v&0xff) * 1099511628211
			v >>= 8
		}
	}
	addPoint := func(p Point) {
		add(math.Float64bits(p.Lat + 0)) // + 0 makes -0 and 0 one
		add(math.Float64bits(p.Lng + 0))
	}
	if s.IsCircle() {
		add(1)
		addPoint(s.center)
		add(math.Float64bits(s.radiusM))
		return h
	}
	for _, poly := range s.Polygons() {
		add(2)
		for _, ring := range poly {
			add(uint64(len(ring)))
			for _, p := range ring {
				addPoint(p)
			}
		}
	}
	return h
}

// Polygons are the polygons s was made of, as given; nil for a circle. Read only.
func (s *Shape) Polygons() []Polygon {
	if s.area == nil {
		return nil
	}
	return s.area.given
}
