package geo

import (
	"fmt"
	"math"
)

// xy is a position in the plane of longitude and latitude, in degrees. x may run
// beyond ±180 where a ring crosses the antimeridian.
type xy struct{ x, y float64 }

// onPole reports whether an edge runs along a pole, where its longitudes mean nothing.
func onPole(a, b Point) bool {
	return a.Lat == b.Lat && (a.Lat == 90 || a.Lat == -90)
}

// unwrapRing puts a closed ring of valid positions in the plane, without the jump at
// the antimeridian. Polygon's comment says how its edges are read. The second result
// is true when the ring goes round a pole, so that no reading closes it.
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
	if turns == 0 && ringArea(out) != 0 {
		return out, false
	}
	if literal {
		return asGiven(ring), false
	}
	return out, turns != 0
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

// planeRing checks one ring and puts it in the plane.
func planeRing(ring []Point) ([]xy, error) {
	if len(ring) < 4 {
		return nil, fmt.Errorf("%w: %d positions, a closed ring has at least 4", ErrPolygon, len(ring))
	}
	for i, p := range ring {
		if err := p.Validate(); err != nil {
			return nil, fmt.Errorf("position %d: %w", i, err)
		}
	}
	if !samePosition(ring[0], ring[len(ring)-1]) {
		return nil, fmt.Errorf("%w: not closed: the last position differs from the first", ErrPolygon)
	}
	r, pole := unwrapRing(ring)
	if pole {
		return nil, fmt.Errorf("%w: goes round a pole, which longitude and latitude cannot express; add the pole's edge (lat ±90 from -180 to 180)", ErrPolygon)
	}
	if flat(r) {
		return nil, fmt.Errorf("%w: has no area", ErrPolygon)
	}
	return r, nil
}

// samePosition is equality with -180 and 180 as one meridian.
func samePosition(a, b Point) bool {
	return a.Lat == b.Lat && (a.Lng == b.Lng || math.Abs(a.Lng-b.Lng) == 360)
}
