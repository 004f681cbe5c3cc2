package geo

import (
	"fmt"
	"math"
	"strings"
)

// xy is a position in the plane of longitude and latitude, in degrees. x may run
// beyond ±180 where a ring crosses the antimeridian.
type xy struct{ x, y float64 }

// onPole reports whether an edge runs along a pole, where its longitudes mean nothing.
func onPole(a, b Point) bool {
	return a.Lat == b.Lat && (a.Lat == 90 || a.Lat == -90)
}

// unwrapRing puts a closed ring of valid positions in the plane, without the jump at
// the antimeridian; its least x is in [-180, 180) or it is the ring as given.
// Polygon's comment says how its edges are read. The second result is true when the
// ring goes round a pole, so that no reading closes it, or round the Earth more than
// once on its way.
func unwrapRing(ring []Point) (out []xy, pole bool) {
	jumps, literal := false, true
	for i := 1; i < len(ring); i++ {
		d := math.Abs(ring[i].Lng - ring[i-1].Lng)
		if d > 180 && !onPole(ring[i], ring[i-1]) {
			jumps = true
			literal = literal && d == 360
		}
	}
	if !jumps {
		return asGiven(ring), false
	}
	out = make([]xy, len(ring))
	turns := 0.0
	for i, p := range ring {
		if i > 0 && !onPole(p, ring[i-1]) {
			switch d := p.Lng - ring[i-1].Lng; {
			case d > 180:
				turns--
			case d < -180:
				turns++
			}
		}
		out[i] = xy{p.Lng + 360*turns, p.Lat}
	}
	if turns != 0 || ringArea(out) == 0 {
		if literal {
			return asGiven(ring), false
		}
		return out, turns != 0
	}
	least, most := math.Inf(1), math.Inf(-1)
	for _, v := range out {
		least, most = min(least, v.x), max(most, v.x)
	}
	if shift := 360 * math.Floor((least+180)/360); shift != 0 {
		for i := range out {
			out[i].x -= shift
		}
	}
	return out, most-least > 360
}

func asGiven(ring []Point) []xy {
	out := make([]xy, len(ring))
	for i, p := range ring {
		out[i] = xy{p.Lng, p.Lat}
	}
	return out
}

// ringArea is the signed area of a closed ring in square degrees, positive when it
// runs counter-clockwise. Coordinates are taken relative to the first position, so
// that a small ring far from the origin keeps its precision.
func ringArea(r []xy) float64 {
	sum := 0.0
	for i := 1; i+1 < len(r); i++ {
		sum += (r[i].x-r[0].x)*(r[i+1].y-r[0].y) - (r[i+1].x-r[0].x)*(r[i].y-r[0].y)
	}
	return sum / 2
}

// flat reports whether a closed ring has no area, up to rounding of its coordinates.
func flat(r []xy) bool {
	length, size := 0.0, 0.0
	for i := 1; i < len(r); i++ {
		length += math.Abs(r[i].x-r[i-1].x) + math.Abs(r[i].y-r[i-1].y)
		size = max(size, math.Abs(r[i].x), math.Abs(r[i].y))
	}
	return math.Abs(ringArea(r)) <= length*size*0x1p-52
}

// ringError is why a ring was refused.
type ringError struct {
	polygon, ring int
	is            error // ErrPolygon or ErrPosition
	text          string
}

func (e *ringError) Error() string {
	return fmt.Sprintf("geo: polygon %d, ring %d: %s", e.polygon, e.ring, e.text)
}

func (e *ringError) Unwrap() error { return e.is }

// planeRing checks one ring and puts it in the plane. The error does not know yet
// which ring it is about.
func planeRing(ring []Point) ([]xy, *ringError) {
	refuse := func(format string, args ...any) ([]xy, *ringError) {
		return nil, &ringError{is: ErrPolygon, text: fmt.Sprintf(format, args...)}
	}
	if len(ring) < 4 {
		return refuse("%d positions, a closed ring has at least 4", len(ring))
	}
	for i, p := range ring {
		if err := p.Validate(); err != nil {
			text := strings.TrimPrefix(err.Error(), "geo: ")
			return nil, &ringError{is: ErrPosition, text: fmt.Sprintf("position %d: %s", i, text)}
		}
	}
	if !samePosition(ring[0], ring[len(ring)-1]) {
		return refuse("not closed: the last position differs from the first")
	}
	r, pole := unwrapRing(ring)
	if pole {
		return refuse("goes round a pole or round the Earth, which a ring of longitudes and latitudes cannot; put a pole in with its edge (latitude ±90 from -180 to 180)")
	}
	if flat(r) {
		return refuse("has no area")
	}
	return r, nil
}

// samePosition is equality with -180 and 180 as one meridian.
func samePosition(a, b Point) bool {
	return a.Lat == b.Lat && (a.Lng == b.Lng || math.Abs(a.Lng-b.Lng) == 360)
}
