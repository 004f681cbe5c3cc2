package geo

import (
	"cmp"
	"math"
	"slices"
)

// checkEdge is an edge of a sound ring: from pts[i] to the next.
type checkEdge struct {
	ring, i int32 // position in sound, position in pts
}

func (c *checker) ends(e checkEdge) (a, b xy) {
	pts := c.sound[e.ring].pts
	j := int(e.i) + 1
	if j == len(pts) {
		j = 0
	}
	return pts[e.i], pts[j]
}

func (c *checker) minX(e checkEdge) float64 {
	a, b := c.ends(e)
	return min(a.x, b.x)
}

// joinEdges compares every pair of edges that come near each other. The edges are put
// in the cells of a grid with about as many cells as edges; a pair is compared when
// it shares a cell.
func (c *checker) joinEdges() {
	var edges []checkEdge
	for r := range c.sound {
		for i := range c.sound[r].pts {
			edges = append(edges, checkEdge{int32(r), int32(i)})
		}
	}
	g := newEdgeGrid(c, edges)
	j := joiner{c: c, seen: map[[2]pass]bool{}}
	c.crossed = map[[2]int]bool{}
	for cell := 0; cell+1 < len(g.start); cell++ {
		list := g.list[g.start[cell]:g.start[cell+1]]
		sorted := len(list) > 32
		if sorted {
			// A position far off makes the grid coarse: then sweep the cell by x.
			slices.SortFunc(list, func(e, f uint32) int {
				return cmp.Compare(c.minX(edges[e]), c.minX(edges[f]))
			})
		}
		for i, e := range list {
			a, b := c.ends(edges[e])
			minX, maxX := min(a.x, b.x), max(a.x, b.x)
			minY, maxY := min(a.y, b.y), max(a.y, b.y)
			for _, f := range list[i+1:] {
				u, v := c.ends(edges[f])
				if sorted && min(u.x, v.x) > maxX {
					break
				}
				if max(u.x, v.x) < minX || min(u.x, v.x) > maxX || max(u.y, v.y) < minY || min(u.y, v.y) > maxY {
					continue
				}
				j.compare(edges[e], edges[f], a, b, u, v)
			}
			if c.full() {
				return
			}
		}
	}
}

// pass is one time that a ring goes through a point: at a corner, or along an edge.
type pass struct {
	checkEdge
	corner bool // the point is pts[i]; otherwise it lies inside edge i
}

// joiner compares edges and reports each meeting once, though the pair may share
// several cells and a corner belongs to two edges.
type joiner struct {
	c    *checker
	seen map[[2]pass]bool
}

func (j *joiner) first(a, b pass) bool {
	k := [2]pass{a, b}
	if b.ring < a.ring || b.ring == a.ring && b.i < a.i {
		k = [2]pass{b, a}
	}
	if j.seen[k] {
		return false
	}
	j.seen[k] = true
	return true
}

// compare finds how edges e = ab and f = uv meet.
func (j *joiner) compare(e, f checkEdge, a, b, u, v xy) {
	ou, ov := orient(a, b, u), orient(a, b, v)
	if ou*ov > 0 {
		return
	}
	oa, ob := orient(u, v, a), orient(u, v, b)
	if oa*ob > 0 {
		return
	}
	switch {
	case ou == 0 && ov == 0:
		j.collinear(e, f, a, b, u, v)
	case ou*ov < 0 && oa*ob < 0:
		if j.first(pass{e, false}, pass{f, false}) {
			j.crossing(e, f, crossPoint(a, b, u, v), "crosses")
		}
	default: // an end of one lies on the other
		pe, pf := j.passAt(e, a, b, oa == 0, ob == 0, u, v), j.passAt(f, u, v, ou == 0, ov == 0, a, b)
		j.touch(pe, pf)
	}
}

// passAt is the pass of edge ab at the point it shares with edge uv: the corner that
// lies on uv, or else the inside of the edge.
func (j *joiner) passAt(e checkEdge, a, b xy, aOn, bOn bool, u, v xy) pass {
	on := func(p xy) bool {
		return p.x >= min(u.x, v.x) && p.x <= max(u.x, v.x) && p.y >= min(u.y, v.y) && p.y <= max(u.y, v.y)
	}
	if aOn && on(a) {
		return pass{e, true}
	}
	if bOn && on(b) {
		return pass{j.next(e), true}
	}
	return pass{e, false}
}

func (j *joiner) next(e checkEdge) checkEdge {
	if e.i++; int(e.i) == len(j.c.sound[e.ring].pts) {
		e.i = 0
	}
	return e
}

// collinear is for two edges on one line.
func (j *joiner) collinear(e, f checkEdge, a, b, u, v xy) {
	key := func(p xy) float64 { return p.x }
	if math.Abs(b.y-a.y) > math.Abs(b.x-a.x) {
		key = func(p xy) float64 { return p.y }
	}
	lo := max(min(key(a), key(b)), min(key(u), key(v)))
	hi := min(max(key(a), key(b)), max(key(u), key(v)))
	switch {
	case lo > hi:
	case lo < hi:
		at := a
		for _, p := range [4]xy{a, b, u, v} {
			if key(p) == lo {
				at = p
			}
		}
		if j.first(pass{e, false}, pass{f, false}) {
			j.crossing(e, f, at, "runs along")
		}
	default: // end to end
		pe, pf := pass{e, true}, pass{f, true}
		if key(b) == lo {
			pe = pass{j.next(e), true}
		}
		if key(v) == lo {
			pf = pass{j.next(f), true}
		}
		j.touch(pe, pf)
	}
}

// touch is for two passes that share exactly one point, a corner of one of them.
func (j *joiner) touch(p, q pass) {
	if p == q || !j.first(p, q) {
		return // p == q: the corner between neighbouring edges
	}
	at, p1, p2 := j.arms(p)
	if !p.corner {
		at, _, _ = j.arms(q)
	}
	_, q1, q2 := j.arms(q)
	if along(at, p1, q1) || along(at, p1, q2) || along(at, p2, q1) || along(at, p2, q2) {
		return // they run along each other from here, which is reported for the edges
	}
	if inSector(at, p1, p2, q1) != inSector(at, p1, p2, q2) {
		j.crossing(p.checkEdge, q.checkEdge, at, "crosses")
		return
	}
	if p.ring == q.ring {
		r := &j.c.sound[p.ring]
		w := back(at)
		j.c.report(SelfTouch, r.ring, int(r.vertex[p.i]), w, "the ring touches itself at %v, %v (positions %d and %d)",
			w.Lng, w.Lat, r.vertex[p.i], r.vertex[q.i])
		return
	}
	j.c.touches = append(j.c.touches, ringTouch{at, int(p.ring), int(q.ring)})
}

// arms are the corner of a pass and the ends of its two arms.
func (j *joiner) arms(p pass) (at, from, to xy) {
	pts := j.c.sound[p.ring].pts
	n := len(pts)
	at, to = pts[p.i], pts[(int(p.i)+1)%n]
	if p.corner {
		return at, pts[(int(p.i)+n-1)%n], to
	}
	return at, at, to
}

// along reports whether the rays from p to a and to b are the same.
func along(p, a, b xy) bool {
	return orient(p, a, b) == 0 && (a.x-p.x)*(b.x-p.x)+(a.y-p.y)*(b.y-p.y) > 0
}

// inSector reports whether the ray from p to q lies in the sector that turns
// counter-clockwise from a to b. None of the rays are the same.
func inSector(p, a, b, q xy) bool {
	switch orient(p, a, b) {
	case 1:
		return orient(p, a, q) > 0 && orient(p, q, b) > 0
	case -1:
		return !(orient(p, b, q) > 0 && orient(p, q, a) > 0)
	}
	return orient(p, a, q) > 0
}

// crossing reports that two edges cross or overlap.
func (j *joiner) crossing(e, f checkEdge, at xy, how string) {
	if e.ring > f.ring || e.ring == f.ring && e.i > f.i {
		e, f = f, e
	}
	c := j.c
	r, s := &c.sound[e.ring], &c.sound[f.ring]
	w := back(at)
	if e.ring == f.ring {
		c.report(SelfCrossing, r.ring, int(r.vertex[e.i]), w, "the ring %s itself at %v, %v (after positions %d and %d)",
			how, w.Lng, w.Lat, r.vertex[e.i], s.vertex[f.i])
		return
	}
	k := pair(int(e.ring), int(f.ring))
	if c.crossed[k] {
		return // once for each pair of rings
	}
	c.crossed[k] = true
	switch {
	case e.ring > 0:
		c.report(HolesOverlap, s.ring, int(s.vertex[f.i]), w, "the hole %s the hole of ring %d at %v, %v", how, r.ring, w.Lng, w.Lat)
	case sameRing(r.pts, s.pts):
		c.report(HoleEqualsExterior, s.ring, 0, w, "the hole is the same ring as the exterior")
	default:
		c.report(HoleCrossing, s.ring, int(s.vertex[f.i]), w, "the hole %s the exterior ring at %v, %v", how, w.Lng, w.Lat)
	}
}

// sameRing reports whether two rings have the same corners in the same order, from
// any start and in either direction.
func sameRing(a, b []xy) bool {
	n := len(a)
	if len(b) != n {
		return false
	}
	for start := range b {
		if b[start] != a[0] {
			continue
		}
		for _, dir := range [2]int{1, n - 1} {
			i, at := 0, start
			for i < n && a[i] == b[at] {
				i, at = i+1, (at+dir)%n
			}
			if i == n {
				return true
			}
		}
	}
	return false
}

// crossPoint is where two properly crossing segments meet.
func crossPoint(a, b, u, v xy) xy {
	dx, dy := b.x-a.x, b.y-a.y
	ex, ey := v.x-u.x, v.y-u.y
	t := ((u.x-a.x)*ey - (u.y-a.y)*ex) / (dx*ey - dy*ex)
	return xy{a.x + t*dx, a.y + t*dy}
}
