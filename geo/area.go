package geo

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// area is a set of polygons.
type area struct {
	given []Polygon
	parts []*part
	// seams are the spans of latitude where parts meet across the antimeridian,
	// ascending and apart.
	seams []span
}

func newArea(polys []Polygon) (*area, error) {
	a := &area{given: make([]Polygon, len(polys))}
	for i, poly := range polys {
		if len(poly) == 0 {
			return nil, fmt.Errorf("%w: polygon %d has no rings", ErrPolygon, i)
		}
		rings := make([][]xy, len(poly))
		a.given[i] = make(Polygon, len(poly))
		for j, ring := range poly {
			r, err := planeRing(ring)
			if err != nil {
				err.polygon, err.ring = i, j
				return nil, err
			}
			if j > 0 {
				alignHole(rings[0], r)
			}
			rings[j] = r
			a.given[i][j] = slices.Clone(ring)
		}
		a.parts = append(a.parts, newPart(rings))
	}
	a.findSeams()
	return a, nil
}

// alignHole moves a hole by whole turns of longitude to where its exterior is.
func alignHole(exterior, hole []xy) {
	e, h := emptyBox(), emptyBox()
	for _, v := range exterior {
		e.add(v)
	}
	for _, v := range hole {
		h.add(v)
	}
	best, shift := math.Inf(1), 0.0
	for _, s := range [3]float64{0, 360, -360} {
		out := max(0, e.minX-h.minX-s) + max(0, h.maxX+s-e.maxX)
		if out < best {
			best, shift = out, s
		}
	}
	for i := range hole {
		hole[i].x += shift
	}
}

func (a *area) contains(p Point) bool {
	for _, part := range a.parts {
		// A part may lie beyond ±180, and one that reaches all round holds ±180 twice.
		x := wrapLng(p.Lng)
		for x -= 360 * math.Floor((x-part.box.minX)/360); x <= part.box.maxX; x += 360 {
			if part.contains(x, p.Lat) {
				return true
			}
		}
	}
	return false
}

// span is an interval of latitude.
type span struct{ lo, hi float64 }

// onSeam reports whether an edge runs along the antimeridian.
func onSeam(a, b xy) bool { return a.x == b.x && math.Abs(math.Remainder(a.x, 360)) == 180 }

// findSeams finds where a part west of the antimeridian and one east of it (or the
// two ends of one) share an edge there: RFC 7946 cuts polygons so.
func (a *area) findSeams() {
	var west, east []span
	for _, p := range a.parts {
		p.eachEdge(func(_ int, u, v xy) {
			if !onSeam(u, v) || u.y == v.y {
				return
			}
			s := span{min(u.y, v.y), max(u.y, v.y)}
			const step = 1e-9
			if p.contains(u.x-step, (u.y+v.y)/2) {
				west = append(west, s)
			}
			if p.contains(u.x+step, (u.y+v.y)/2) {
				east = append(east, s)
			}
		})
	}
	west, east = union(west), union(east)
	for i, k := 0, 0; i < len(west) && k < len(east); {
		w, e := west[i], east[k]
		if lo, hi := max(w.lo, e.lo), min(w.hi, e.hi); lo < hi {
			a.seams = append(a.seams, span{lo, hi})
		}
		if w.hi < e.hi {
			i++
		} else {
			k++
		}
	}
}

// union sorts spans and joins those that meet.
func union(s []span) []span {
	slices.SortFunc(s, func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
	out := s[:0]
	for _, v := range s {
		if n := len(out); n > 0 && v.lo <= out[n-1].hi {
			out[n-1].hi = max(out[n-1].hi, v.hi)
			continue
		}
		out = append(out, v)
	}
	return out
}

// centroid is the centroid in the plane, of the parts brought together on one side
// of the antimeridian.
func (a *area) centroid() Point {
	var sum, sx, sy float64
	first := (a.parts[0].box.minX + a.parts[0].box.maxX) / 2
	for _, p := range a.parts {
		shift := 360 * math.Round((first-(p.box.minX+p.box.maxX)/2)/360)
		for r := 0; r+1 < len(p.rings); r++ {
			ring := p.pts[p.rings[r]:p.rings[r+1]]
			o := ring[0]
			var k, kx, ky float64
			for i := 1; i+1 < len(ring); i++ {
				ux, uy, vx, vy := ring[i].x-o.x, ring[i].y-o.y, ring[i+1].x-o.x, ring[i+1].y-o.y
				c := ux*vy - vx*uy
				k += c
				kx += c * (ux + vx) / 3
				ky += c * (uy + vy) / 3
			}
			if (k < 0) != (r > 0) { // exteriors count plus, holes minus, either way round
				k, kx, ky = -k, -kx, -ky
			}
			sum += k
			sx += kx + k*(o.x+shift)
			sy += ky + k*o.y
		}
	}
	return Point{Lat: max(-90, min(sy/sum, 90)), Lng: wrapLng(sx / sum)}
}

// areaM2 integrates the ellipsoid's area under each edge: a strip from the equator
// to latitude y has authalicArea(y) per radian of longitude.
func (a *area) areaM2() float64 {
	total := 0.0
	for _, p := range a.parts {
		for r := 0; r+1 < len(p.rings); r++ {
			ring := p.pts[p.rings[r]:p.rings[r+1]]
			base := authalicArea(ring[0].y) // keeps the precision of small rings
			sum := 0.0
			for i := 1; i < len(ring); i++ {
				u, v := ring[i-1], ring[i]
				n := 1 + math.Floor(math.Abs(v.y-u.y))
				strip := 0.0
				for k := 0.0; k < n; k++ { // Gauss-Legendre, two points a piece
					const off = 0.28867513459481287
					strip += authalicArea(u.y+(v.y-u.y)*(k+0.5-off)/n) - base
					strip += authalicArea(u.y+(v.y-u.y)*(k+0.5+off)/n) - base
				}
				sum += strip / (2 * n) * (v.x - u.x) * degree
			}
			if r == 0 {
				total += math.Abs(sum)
			} else {
				total -= math.Abs(sum)
			}
		}
	}
	return max(total, 0)
}

// authalicArea is the area between the equator and a latitude for one radian of
// longitude, in square metres (Snyder, "Map Projections", 1987, eq. 3-12).
func authalicArea(lat float64) float64 {
	sin := math.Sin(lat * degree)
	e := math.Sqrt(eccSq)
	return semiMinorM * semiMinorM / 2 * (sin/(1-eccSq*sin*sin) + math.Atanh(e*sin)/e)
}
