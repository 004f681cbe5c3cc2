package fences

import "footfall/geo"

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
	planes := make([]*plane, len(g.polys))
	boxes := make([]box, len(g.polys))
	for i := range g.polys {
		planes[i] = newPlane(g.polys[i])
		boxes[i] = planes[i].box()
	}
	t := newTree(boxes)
	work := partsWork
	for i := range g.polys {
		found := -1
		t.search(boxes[i], func(k int32) bool {
			if int(k) != i && work > 0 {
				small, large := planes[i], planes[k]
				n, m := len(small.rings[0]), len(large.rings[0])
				if n < m || n == m && i < int(k) { // else seen from the other side
					if work -= m; partsOverlap(small, large, &work) {
						found = int(k)
					}
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
func partsOverlap(small, large *plane, work *int) bool {
	a, b := small.rings[0], large.rings[0]
	shift := large.shift(a[0].x)
	west, east := small.west+shift, small.east+shift
	for i := 1; i < len(b); i++ {
		p, q := b[i-1], b[i]
		// Only edges near the small part can cross it.
		if p.x < west && q.x < west || p.x > east && q.x > east || p.y < small.south && q.y < small.south || p.y > small.north && q.y > small.north {
			continue
		}
		if *work -= len(a); *work <= 0 {
			return false
		}
		p.x -= shift
		q.x -= shift
		for k := 1; k < len(a); k++ {
			if cross(a[k-1], a[k], p, q) {
				return true
			}
		}
	}
	return vertexInside(small, large, work) || vertexInside(large, small, work)
}

// vertexInside reports whether the first vertex of a that is not on an edge of
// b lies inside b.
func vertexInside(a, b *plane, work *int) bool {
	for i, q := range a.rings[0] {
		p := geo.Point{Lat: q.y, Lng: q.x}
		*work -= 10
		if x := p.Lng + b.shift(p.Lng); x < b.west || x > b.east || p.Lat < b.south || p.Lat > b.north {
			return false
		}
		*work -= b.edges()
		if b.edgeM(p) > 0.01 {
			return b.contains(p)
		}
		if i == 8 || *work <= 0 { // shares its outline: the edges have been compared
			break
		}
	}
	return false
}

// cross reports whether two segments cross at a point inside both.
func cross(a, b, c, d flat) bool {
	side := func(p, q, r flat) float64 { return (q.x-p.x)*(r.y-p.y) - (r.x-p.x)*(q.y-p.y) }
	return side(a, b, c)*side(a, b, d) < 0 && side(c, d, a)*side(c, d, b) < 0
}
