package geo

import "math"

// leastMetresPerDegree is less than a degree of latitude measures anywhere.
const leastMetresPerDegree = minRadiusM * degree

// nearest is the search for the nearest boundary point of a position.
type nearest struct {
	from           Point
	sin, cos       float64 // of from's latitude
	perLat, perLng float64 // metres per degree where the search is now
	degLng         float64 // metres per degree of longitude, over cos
	bestSq         float64 // metres squared in that plane
	at             xy
}

func newNearest(p Point) nearest {
	n := nearest{from: p, bestSq: math.Inf(1)}
	n.sin, n.cos = math.Sincos(p.Lat * degree)
	w := 1 / math.Sqrt(1-eccSq*n.sin*n.sin)
	n.degLng = semiMajorM * w * degree
	n.perLat = n.degLng * (1 - eccSq) * w * w
	return n
}

// scaleTo makes the plane right for edges near latitude y: longitudes count as they
// do half way there. Cosines near from's latitude come from the series.
func (n *nearest) scaleTo(y float64) {
	d := (y - n.from.Lat) / 2 * degree
	cos := n.cos*(1-d*d/2) - n.sin*(d-d*d*d/6)
	if math.Abs(d) > 0.1 {
		cos = math.Cos(n.from.Lat*degree + d)
	}
	n.perLng = n.degLng * cos
}

// boundaryDistanceM is the distance from p to the nearest edge, in metres, 0 or more.
func (a *area) boundaryDistanceM(p Point) float64 {
	n := newNearest(p)
	for _, part := range a.parts {
		for _, shift := range [3]float64{0, -360, 360} {
			x := wrapLng(p.Lng) + shift
			if n.canReach(&part.box, x) {
				n.search(part, x, a.seams)
			}
		}
	}
	if math.IsInf(n.bestSq, 1) {
		return math.NaN() // p is not finite
	}
	return DistanceM(p, Point{n.at.y, wrapLng(n.at.x)})
}

// canReach reports whether a box, seen from longitude x, may hold something nearer
// than the best so far. Distance is at least that between the two meridians:
// sin(d/2) >= sqrt(cos·cos) sin(gap/2).
func (n *nearest) canReach(b *box, x float64) bool {
	if math.IsInf(n.bestSq, 1) {
		gap := max(b.minX-x, x-b.maxX, 0)
		return gap <= 180
	}
	best := math.Sqrt(n.bestSq)
	if gap := max(b.minY-n.from.Lat, n.from.Lat-b.maxY, 0); gap*leastMetresPerDegree > best {
		return false
	}
	gap := max(b.minX-x, x-b.maxX, 0)
	if gap > 180 {
		return false
	}
	cos := n.cos * math.Cos(max(-b.minY, b.maxY)*degree)
	return 2*minRadiusM*math.Asin(math.Sqrt(max(cos, 0))*math.Sin(gap/2*degree)) <= best
}

// search goes through the bands of a part from p's own outwards, north and south in
// turn, until the bands that remain are further away than the best edge so far.
func (n *nearest) search(p *part, x float64, seams []span) {
	home, last := p.band(n.from.Lat), len(p.bandStart)-2
	down, up := home, home+1
	for down >= 0 || up <= last {
		if down >= 0 && !n.band(p, down, x, seams) {
			down = 0
		}
		down--
		if up <= last && !n.band(p, up, x, seams) {
			up = last
		}
		up++
	}
}

// band looks at the edges of one band; false when it is too far away to matter.
func (n *nearest) band(p *part, i int, x float64, seams []span) bool {
	lo := p.box.minY + float64(i)/p.bandsPerDeg
	y := max(lo, min(n.from.Lat, lo+1/p.bandsPerDeg))
	if gap := math.Abs(y-n.from.Lat) * leastMetresPerDegree; gap*gap > n.bestSq*1.0001 {
		return false
	}
	n.scaleTo(y)
	for _, e := range p.edgesOfBand(i) {
		n.edge(p.pts[e], p.pts[e+1], x, seams)
	}
	return true
}

// edge looks at one edge, or at what of it is boundary.
func (n *nearest) edge(a, b xy, x float64, seams []span) {
	if math.Abs(a.y) == 90 && a.y == b.y {
		return // along a pole
	}
	if len(seams) > 0 && onSeam(a, b) {
		lo := min(a.y, b.y)
		for _, s := range seams {
			if s.lo > lo {
				n.segment(xy{a.x, lo}, xy{a.x, min(s.lo, max(a.y, b.y))}, x)
			}
			lo = max(lo, s.hi)
			if lo >= max(a.y, b.y) {
				return
			}
		}
		n.segment(xy{a.x, lo}, xy{a.x, max(a.y, b.y)}, x)
		return
	}
	n.segment(a, b, x)
}

func (n *nearest) segment(a, b xy, x float64) {
	ax, ay := (a.x-x)*n.perLng, (a.y-n.from.Lat)*n.perLat
	dx, dy := (b.x-a.x)*n.perLng, (b.y-a.y)*n.perLat
	t := 0.0
	if l := dx*dx + dy*dy; l > 0 {
		t = max(0, min(-(ax*dx+ay*dy)/l, 1))
	}
	ax, ay = ax+t*dx, ay+t*dy
	if d := ax*ax + ay*ay; d < n.bestSq {
		n.bestSq = d
		n.at = xy{a.x + t*(b.x-a.x), a.y + t*(b.y-a.y)}
	}
}
