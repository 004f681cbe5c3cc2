package fences

import (
	"math"

	"footfall/geo"
)

// plane is a polygon in the plane of longitude and latitude in degrees, without
// jumps at ±180, for the questions of a check that need no more than a percent.
type plane struct {
	rings                    [][]flat // the first is the outer one
	west, south, east, north float64  // of the outer ring; east - west may be 360
}

type flat struct{ x, y float64 }

func newPlane(poly geo.Polygon) *plane {
	pl := &plane{west: math.Inf(1), south: math.Inf(1), east: math.Inf(-1), north: math.Inf(-1)}
	for i, ring := range poly {
		r := unwrap(ring)
		if i > 0 && len(r) > 0 {
			if shift := pl.shift(r[0].x); shift != 0 {
				for k := range r {
					r[k].x += shift
				}
			}
		}
		pl.rings = append(pl.rings, r)
		if i > 0 {
			continue
		}
		for _, q := range r {
			pl.west, pl.east = min(pl.west, q.x), max(pl.east, q.x)
			pl.south, pl.north = min(pl.south, q.y), max(pl.north, q.y)
		}
	}
	return pl
}

// unwrap follows a ring the short way across ±180. A ring that this does not
// close, because it runs from -180 to 180 in the plain sense (Antarctica with
// its edge along the pole), is taken as it is written.
func unwrap(ring []geo.Point) []flat {
	out := make([]flat, len(ring))
	turn := 0.0
	for i, p := range ring {
		if i > 0 && !(p.Lat == ring[i-1].Lat && math.Abs(p.Lat) == 90) {
			switch d := p.Lng - ring[i-1].Lng; {
			case d > 180:
				turn -= 360
			case d < -180:
				turn += 360
			}
		}
		out[i] = flat{p.Lng + turn, p.Lat}
	}
	if turn != 0 {
		for i, p := range ring {
			out[i].x = p.Lng
		}
	}
	return out
}

// shift is what brings a longitude within half a turn of the polygon's middle.
func (pl *plane) shift(lng float64) float64 {
	return math.Round(((pl.west+pl.east)/2-lng)/360) * 360
}

func (pl *plane) box() box { return normal(pl.west, pl.south, pl.east, pl.north) }

// contains reports whether p lies inside by the even-odd rule; on an edge it
// may say either.
func (pl *plane) contains(p geo.Point) bool {
	x, y := p.Lng+pl.shift(p.Lng), p.Lat
	if x < pl.west || x > pl.east || y < pl.south || y > pl.north {
		return false
	}
	in := false
	for _, r := range pl.rings {
		for i := 1; i < len(r); i++ {
			a, b := r[i-1], r[i]
			if (a.y > y) != (b.y > y) && x < a.x+(y-a.y)/(b.y-a.y)*(b.x-a.x) {
				in = !in
			}
		}
	}
	return in
}

// edgeM is the distance in metres from p to the nearest edge, measured on the
// plane that touches the globe at p.
func (pl *plane) edgeM(p geo.Point) float64 {
	x, y := p.Lng+pl.shift(p.Lng), p.Lat
	k := math.Cos(y * math.Pi / 180)
	best := math.Inf(1)
	for _, r := range pl.rings {
		for i := 1; i < len(r); i++ {
			ax, ay := (r[i-1].x-x)*k, r[i-1].y-y
			dx, dy := (r[i].x-x)*k-ax, r[i].y-y-ay
			t := 0.0
			if q := dx*dx + dy*dy; q > 0 {
				t = min(max(-(ax*dx+ay*dy)/q, 0), 1)
			}
			ex, ey := ax+t*dx, ay+t*dy
			best = min(best, ex*ex+ey*ey)
		}
	}
	return math.Sqrt(best) * metresPerDegree
}

func (pl *plane) edges() int {
	n := 0
	for _, r := range pl.rings {
		n += len(r)
	}
	return n
}
