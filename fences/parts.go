package fences

import (
	"math"

	"footfall/geo"
)

// partsWork bounds the search for overlapping parts of one feature, in edges
// looked at.
const partsWork = 20_000_000

// overlappingParts notes parts of a MultiPolygon whose outer rings cross or lie
// in each other. The fence is the union of its parts, so this works; the OGC
// rule forbids it. The holes of the enclosing part are respected: an island in
// a lake is no overlap.
func (p *parser) overlappingParts(g *geometry) {
	if len(g.polys) < 2 {
		return
	}
	boxes := make([]box, len(g.polys))
	for i := range g.polys {
		boxes[i] = polygonsBox(g.polys[i : i+1])
	}
	t := newTree(boxes)
	work := partsWork
	for i := range g.polys {
		found := -1
		t.search(boxes[i], func(k int32) bool {
			if int(k) != i && work > 0 {
				small, large := g.polys[i], g.polys[k]
				if len(small[0]) > len(large[0]) || len(small[0]) == len(large[0]) && i > int(k) {
					return true // seen from the other side
				}
				work -= len(large[0]) + len(small[0])
				if partsOverlap(small, large, boxes[i], boxes[k], &work) {
					found = int(k)
				}
			}
			return found < 0 && work > 0
		})
		if found < 0 {
			continue
		}
		for n := range g.rings {
			if r := &g.rings[n]; r.poly == i && r.index == 0 && p.more(codeParts) == nil {
				f := newFinding(codeParts, "part %d of the area overlaps part %d; that works here, other programs may refuse it", i, found)
				if p.l.o.OGC {
					f.Severity = SeverityError
				}
				p.note(span{r.at.start, r.at.start + 1}, p.ringPointer(g, r, -1), f)
			}
		}
	}
}

// partsOverlap reports whether the interiors of two parts meet: their outer
// rings cross properly, or a vertex of one lies inside the other.
func partsOverlap(a, b geo.Polygon, aBox, bBox box, work *int) bool {
	// Only edges of the larger part near the smaller one can cross it.
	near := func(p, q geo.Point) bool {
		e := normal(min(p.Lng, q.Lng), min(p.Lat, q.Lat), max(p.Lng, q.Lng), max(p.Lat, q.Lat))
		return e.overlaps(aBox)
	}
	for i := 0; i+1 < len(b[0]); i++ {
		if !near(b[0][i], b[0][i+1]) {
			continue
		}
		if *work -= len(a[0]); *work <= 0 {
			return false
		}
		for k := 0; k+1 < len(a[0]); k++ {
			if crosses(a[0][k], a[0][k+1], b[0][i], b[0][i+1]) {
				return true
			}
		}
	}
	return vertexInside(a, b) || vertexInside(b, a)
}

// vertexInside reports whether the first vertex of a that is not on an edge of
// b lies inside b.
func vertexInside(a, b geo.Polygon) bool {
	for i, p := range a[0] {
		d := insideM([]geo.Polygon{b}, p)
		if math.Abs(d) > 0.01 {
			return d > 0
		}
		if i == 8 { // shares its outline: the edges have been compared
			break
		}
	}
	return false
}

// crosses reports whether two segments cross at a point inside both.
func crosses(a, b, c, d geo.Point) bool {
	side := func(p, q, r geo.Point) float64 {
		return math.Remainder(q.Lng-p.Lng, 360)*(r.Lat-p.Lat) - math.Remainder(r.Lng-p.Lng, 360)*(q.Lat-p.Lat)
	}
	return side(a, b, c)*side(a, b, d) < 0 && side(c, d, a)*side(c, d, b) < 0
}
