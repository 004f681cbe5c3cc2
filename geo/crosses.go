package geo

import "math"

// Crosses reports whether the straight path from a to b, the short way round the
// Earth, touches s.
//
// Against a circle the path is the great ellipse, near enough: the test is made in
// the gnomonic projection on the plane that touches the Earth at the centre, which
// is true to scale there; error 0.1% of the radius. Against polygons it is a straight
// line in longitude and latitude, as their edges are. Does not allocate.
func (s *Shape) Crosses(a, b Point) bool {
	if s.area != nil {
		return s.area.crosses(a, b)
	}
	if !s.IsCircle() {
		return false
	}
	ea, eb := a.ECEF(), b.ECEF()
	if s.disc.contains(ea) || s.disc.contains(eb) {
		return true
	}
	return s.passes(ea.vec(), eb.vec())
}

func (e ECEF) vec() vec { return vec{e.X, e.Y, e.Z} }

// passes reports whether the way between two points outside a circle enters it.
func (s *Shape) passes(a, b vec) bool {
	sinLat, cosLat := math.Sincos(s.center.Lat * degree)
	sinLng, cosLng := math.Sincos(s.center.Lng * degree)
	east := vec{-sinLng, cosLng, 0}
	north := vec{-sinLat * cosLng, -sinLat * sinLng, cosLat}
	up := vec{cosLat * cosLng, cosLat * sinLng, sinLat}
	c := s.disc.at.vec()
	height := c.dot(up) // of the plane above the centre of the projection

	// The part of the path in front of the Earth's centre is what can come near; a
	// path that is all behind it cannot. Cut off what is more than 80 degrees away.
	const least = 0.17
	ua, ub := a.dot(up)/a.norm(), b.dot(up)/b.norm()
	if ua < least && ub < least {
		return behindPasses(a, b, up, least) && s.passes(cutAt(a, b, up, least), cutAt(b, a, up, least))
	}
	if ua < least {
		a = cutAt(b, a, up, least)
	} else if ub < least {
		b = cutAt(a, b, up, least)
	}
	project := func(p vec) xy {
		k := height / p.dot(up)
		return xy{p.dot(east) * k, p.dot(north)*k - c.dot(north)}
	}
	pa, pb := project(a), project(b)
	dx, dy := pb.x-pa.x, pb.y-pa.y
	t := 0.0
	if l := dx*dx + dy*dy; l > 0 {
		t = max(0, min(-(pa.x*dx+pa.y*dy)/l, 1))
	}
	r := height * math.Tan((s.radiusM+boundaryM)/height)
	return math.Hypot(pa.x+t*dx, pa.y+t*dy) <= r
}

// behindPasses reports whether the arc between two directions far from up comes
// within reach of it on its way.
func behindPasses(a, b, up vec, least float64) bool {
	mid := closestOnArc(a.unit(), b.unit(), up)
	return mid.dot(up) > least*1.01
}

// closestOnArc is the point of the shorter great-circle arc from a to b nearest to c.
func closestOnArc(a, b, c vec) vec {
	n := a.cross(b)
	if n.norm() < 1e-12 {
		return a // one point, or an antipode, between which there is no shorter way
	}
	n = n.unit()
	q := c.sub(n.mul(c.dot(n)))
	if q.norm() > 1e-12 && a.cross(q).dot(n) >= 0 && q.cross(b).dot(n) >= 0 {
		return q.unit()
	}
	if a.dot(c) > b.dot(c) {
		return a
	}
	return b
}

// cutAt shortens the arc that starts near up so that it ends 80 degrees from up, by
// bisection; from may itself be far away when the arc passes near up in between.
func cutAt(from, to, up vec, least float64) vec {
	a, b := from.unit(), to.unit()
	near := closestOnArc(a, b, up)
	if a.dot(up) > least {
		near = a
	}
	for range 40 {
		m := near.add(b).unit()
		if m.dot(up) > least {
			near = m
		} else {
			b = m
		}
	}
	return near.mul(meanRadiusM)
}

func (a *area) crosses(p, q Point) bool {
	if a.contains(p) || a.contains(q) {
		return true
	}
	x := wrapLng(p.Lng)
	dx := wrapLng(q.Lng - p.Lng)
	for _, part := range a.parts {
		for _, shift := range [3]float64{0, -360, 360} {
			u := xy{x + shift, p.Lat}
			if part.crossedBy(u, xy{u.x + dx, q.Lat}) {
				return true
			}
		}
	}
	return false
}

// crossedBy reports whether a segment with both ends outside meets an edge.
func (p *part) crossedBy(u, v xy) bool {
	b := emptyBox()
	b.add(u)
	b.add(v)
	if !b.meets(&p.box) {
		return false
	}
	for i := p.band(b.minY); i <= p.band(b.maxY); i++ {
		for _, e := range p.edgesOfBand(i) {
			if segmentsMeet(u, v, p.pts[e], p.pts[e+1]) {
				return true
			}
		}
	}
	return false
}

// segmentsMeet reports whether two segments have a point in common.
func segmentsMeet(a, b, c, d xy) bool {
	if max(a.x, b.x) < min(c.x, d.x) || max(c.x, d.x) < min(a.x, b.x) ||
		max(a.y, b.y) < min(c.y, d.y) || max(c.y, d.y) < min(a.y, b.y) {
		return false
	}
	return orient(a, b, c)*orient(a, b, d) <= 0 && orient(c, d, a)*orient(c, d, b) <= 0
}
