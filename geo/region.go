package geo

import "math"

// circleRegion is a circle for covering.
type circleRegion struct {
	center vec
	radius float64
}

// newCircleRegion: H3 reads latitudes as spherical, so a path of s metres is an
// angle of at most s over the smallest radius of curvature.
func newCircleRegion(s *Shape) *circleRegion {
	return &circleRegion{sphereVec(s.center), (s.radiusM+boundaryM)/minRadiusM + padding/2}
}

func (c *circleRegion) bounds() (vec, float64) { return c.center, c.radius }

func (c *circleRegion) touches(center vec, radius float64) reach {
	d := center.sub(c.center)
	limit := c.radius + radius
	if limit < math.Pi { // compare chords: 2 sin(angle/2)
		limit = 2 * math.Sin(limit/2)
		if d.dot(d) > limit*limit {
			return reachNone
		}
	}
	return reachSome
}

// areaRegion is a set of polygons for covering.
type areaRegion struct {
	area   *area
	center vec
	radius float64
}

func newAreaRegion(a *area) *areaRegion {
	first := a.parts[0].box
	all := first
	mid := (first.minX + first.maxX) / 2
	for _, p := range a.parts[1:] {
		shift := 360 * math.Round((mid-(p.box.minX+p.box.maxX)/2)/360)
		all.add(xy{p.box.minX + shift, p.box.minY})
		all.add(xy{p.box.maxX + shift, p.box.maxY})
	}
	y := (all.minY + all.maxY) / 2
	w, h := (all.maxX-all.minX)/2*degree, (all.maxY-all.minY)/2*degree
	low := 0.0 // the latitude nearest to the equator, where the box is widest
	if all.minY > 0 {
		low = all.minY
	} else if all.maxY < 0 {
		low = all.maxY
	}
	// Any point is reached by going along the middle parallel, then the meridian;
	// in a small box, along the hypotenuse.
	w *= math.Cos(low * degree)
	radius := w + h
	if radius < 0.01 {
		radius = math.Hypot(w, h) * 1.02
	}
	center := sphereVec(Point{y, wrapLng((all.minX + all.maxX) / 2)})
	return &areaRegion{a, center, min(radius, math.Pi) + padding}
}

func (a *areaRegion) bounds() (vec, float64) { return a.center, a.radius }

// resolution is the finest one whose expected number of cells is within the budget.
func (a *areaRegion) resolution(areaM2 float64) int {
	for res := BaseResolution; res > 0; res-- {
		step := math.Sqrt(cellAreaM2(res)) / 2
		if expectedCells(areaM2, a.area.boundaryM(step), res) <= polygonBudget {
			return res
		}
	}
	return 0
}

// boundaryM is the rough length of the boundary, measured in steps of at least the
// given length: what is finer than a cell does not meet more cells.
func (a *area) boundaryM(step float64) float64 {
	total := 0.0
	for _, p := range a.parts {
		perLat, perLng := metresPerDegree((p.box.minY + p.box.maxY) / 2)
		for r := 0; r+1 < len(p.rings); r++ {
			ring := p.pts[p.rings[r]:p.rings[r+1]]
			at := ring[0]
			for _, v := range ring[1:] {
				if d := math.Hypot((v.x-at.x)*perLng, (v.y-at.y)*perLat); d >= step {
					total += d
					at = v
				}
			}
		}
	}
	return total
}

func (a *areaRegion) touches(center vec, radius float64) reach {
	p := center.point()
	b, x := discBox(p, radius), p.Lng
	got := reachNone
	for _, part := range a.area.parts {
		for _, shift := range [3]float64{0, -360, 360} {
			q := b
			q.minX += shift
			q.maxX += shift
			if !q.meets(&part.box) {
				continue
			}
			switch part.reach(&q, xy{x + shift, p.Lat}, radius) {
			case reachAll:
				return reachAll
			case reachSome:
				got = reachSome
			}
		}
	}
	return got
}

// discBox is the box in the plane around a disc of an angular radius. Around a pole
// it is a whole band.
func discBox(p Point, radius float64) box {
	h := radius / degree
	b := box{p.Lng - 180, p.Lat - h, p.Lng + 180, p.Lat + h}
	if b.minY > -90 && b.maxY < 90 {
		if sin := math.Sin(radius) / math.Cos(p.Lat*degree); sin < 1 {
			w := math.Asin(sin) / degree
			b.minX, b.maxX = p.Lng-w, p.Lng+w
		}
	}
	return b.grow(1e-9)
}

// reach says how a part lies to a disc with the given box. Small discs away from the
// poles are tested as such, others as their box.
func (p *part) reach(b *box, center xy, radius float64) reach {
	limit := math.Inf(1)
	cos := math.Cos(center.y * degree)
	if tan := math.Abs(math.Tan(center.y * degree)); radius*(1+tan) < 0.1 {
		// In the plane scaled at the centre the disc is a circle but for this much.
		limit = radius / degree * (1 + radius*(1+tan)) * 1.0001
	}
	for i := p.band(b.minY); i <= p.band(b.maxY); i++ {
		for _, e := range p.edgesOfBand(i) {
			u, v := p.pts[e], p.pts[e+1]
			if max(u.x, v.x) < b.minX || min(u.x, v.x) > b.maxX || max(u.y, v.y) < b.minY || min(u.y, v.y) > b.maxY {
				continue
			}
			if math.IsInf(limit, 1) {
				if b.cutBy(u, v) {
					return reachSome
				}
				continue
			}
			ux, uy := (u.x-center.x)*cos, u.y-center.y
			dx, dy := (v.x-u.x)*cos, v.y-u.y
			t := 0.0
			if l := dx*dx + dy*dy; l > 0 {
				t = max(0, min(-(ux*dx+uy*dy)/l, 1))
			}
			ux, uy = ux+t*dx, uy+t*dy
			if ux*ux+uy*uy <= limit*limit {
				return reachSome
			}
		}
	}
	if p.contains(center.x, center.y) {
		return reachAll
	}
	return reachNone
}

// cutBy reports whether a segment whose own box meets b comes into b: not when b's
// corners all lie on one side of it.
func (b *box) cutBy(u, v xy) bool {
	side := func(x, y float64) bool { return (v.x-u.x)*(y-u.y)-(v.y-u.y)*(x-u.x) > 0 }
	s := side(b.minX, b.minY)
	return s != side(b.minX, b.maxY) || s != side(b.maxX, b.minY) || s != side(b.maxX, b.maxY)
}
