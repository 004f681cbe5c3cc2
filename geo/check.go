package geo

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// CheckPolygon lists what is wrong with a polygon, the graver problems first, at most
// limit of them (100 when limit is below 1); nil when nothing is. It reads rings as
// NewPolygons does, across the antimeridian too, and judges by the OGC rules with
// exact arithmetic: a crossing is a crossing, a touch is a touch.
//
// Memory is linear in the number of positions. Outlines take about a microsecond a
// position, combs of long parallel edges too. Quadratic time is left to outlines with
// many long edges in several directions that pass each other closely without crossing.
func CheckPolygon(p Polygon, limit int) []Problem {
	if limit < 1 {
		limit = 100
	}
	c := checker{given: p, limit: limit}
	c.rings()
	if len(c.sound) > 0 {
		c.joinEdges()
		c.interior()
		c.holes()
	}
	slices.SortStableFunc(c.found, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(b2i(!a.Kind.Ambiguous()), b2i(!b.Kind.Ambiguous())),
			cmp.Compare(a.Ring, b.Ring), cmp.Compare(a.Vertex, b.Vertex))
	})
	return c.found[:min(len(c.found), limit)]
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// checker holds one CheckPolygon.
type checker struct {
	given   Polygon
	limit   int
	found   []Problem
	serious int // of found, those that are Ambiguous
	minor   [Winding + 1]int

	sound   []soundRing
	touches []ringTouch
	crossed map[[2]int]bool // pairs of rings known to cross or overlap
}

// soundRing is a ring in the plane that is fit to be compared: closed, with an area,
// repeated positions taken out. pts does not repeat its first position.
type soundRing struct {
	ring   int
	pts    []xy
	vertex []int32 // position in the given ring of each of pts
	part   *part
}

// ringTouch is a point that two different rings have in common.
type ringTouch struct {
	at   xy
	a, b int // positions in sound
}

func (c *checker) full() bool { return c.serious >= c.limit }

func (c *checker) report(k ProblemKind, ring, vertex int, at Point, format string, args ...any) {
	if k.Ambiguous() {
		if c.full() {
			return
		}
		c.serious++
	} else {
		if c.minor[k] >= c.limit {
			return
		}
		c.minor[k]++
	}
	c.found = append(c.found, Problem{k, ring, vertex, at, fmt.Sprintf(format, args...)})
}

// rings looks at each ring by itself and fills sound.
func (c *checker) rings() {
	if len(c.given) == 0 {
		c.report(TooFewPositions, 0, 0, Point{}, "no exterior ring")
		return
	}
	for i, ring := range c.given {
		r, ok := c.ring(i, ring)
		if !ok {
			if i == 0 {
				return // without an exterior the holes mean nothing
			}
			continue
		}
		c.sound = append(c.sound, r)
	}
}

func (c *checker) ring(i int, ring []Point) (soundRing, bool) {
	bad := false
	for v, p := range ring {
		if err := p.Validate(); err != nil {
			c.report(BadPosition, i, v, p, "%v", err)
			bad = true
		}
	}
	if bad {
		return soundRing{}, false
	}
	if len(ring) == 0 {
		c.report(TooFewPositions, i, 0, Point{}, "the ring is empty")
		return soundRing{}, false
	}
	closed := samePosition(ring[0], ring[len(ring)-1])
	if !closed {
		c.report(Unclosed, i, len(ring)-1, ring[len(ring)-1], "the ring ends at %v, %v but starts at %v, %v; repeat the first position at the end",
			ring[len(ring)-1].Lng, ring[len(ring)-1].Lat, ring[0].Lng, ring[0].Lat)
	}
	if len(ring) < 4 {
		c.report(TooFewPositions, i, 0, ring[0], "%d positions, a closed ring has at least 4", len(ring))
		return soundRing{}, false
	}
	if !closed {
		return soundRing{}, false
	}
	plane, pole := unwrapRing(ring)
	if pole {
		c.report(ContainsPole, i, 0, ring[0], "the ring goes round a pole or round the Earth; a pole is put in with its edge (latitude ±90 from -180 to 180)")
		return soundRing{}, false
	}
	r := soundRing{ring: i}
	for v, p := range plane[:len(plane)-1] {
		if v > 0 && p == plane[v-1] {
			c.report(DuplicatePosition, i, v, ring[v], "position %d repeats the one before it", v)
			continue
		}
		r.pts = append(r.pts, p)
		r.vertex = append(r.vertex, int32(v))
	}
	if n := len(r.pts); n > 1 && r.pts[n-1] == r.pts[0] {
		c.report(DuplicatePosition, i, len(ring)-1, ring[0], "position %d repeats the one before it", len(ring)-1)
		r.pts, r.vertex = r.pts[:n-1], r.vertex[:n-1]
	}
	if len(r.pts) < 3 || onOneLine(r.pts) {
		c.report(ZeroArea, i, 0, ring[0], "the ring has no area: %d different positions, on one line", len(r.pts))
		return soundRing{}, false
	}
	if area := ringArea(plane); (i == 0 && area < 0) || (i > 0 && area > 0) {
		want := "counter-clockwise"
		if i > 0 {
			want = "clockwise"
		}
		c.report(Winding, i, 0, ring[0], "the ring should run %s (RFC 7946, section 3.1.6)", want)
	}
	if len(c.sound) > 0 {
		alignHole(c.sound[0].pts, r.pts)
	}
	r.part = newPart([][]xy{append(slices.Clone(r.pts), r.pts[0])})
	return r, true
}

func onOneLine(pts []xy) bool {
	far := 1
	for i := range pts {
		if math.Abs(pts[i].x-pts[0].x)+math.Abs(pts[i].y-pts[0].y) > math.Abs(pts[far].x-pts[0].x)+math.Abs(pts[far].y-pts[0].y) {
			far = i
		}
	}
	for _, p := range pts {
		if orient(pts[0], pts[far], p) != 0 {
			return false
		}
	}
	return true
}

// back is a position of the plane as a Point.
func back(p xy) Point { return Point{p.y, wrapLng(p.x)} }

// interior finds rings that touch so that they cut the interior in pieces: in the
// graph of rings and the points where they touch, that is a cycle.
func (c *checker) interior() {
	points := map[xy]int{}
	parent := make([]int, len(c.sound))
	for i := range parent {
		parent[i] = i
	}
	find := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	seen := map[[2]int]bool{}
	for _, t := range c.touches {
		n, ok := points[t.at]
		if !ok {
			n = len(parent)
			parent = append(parent, n)
			points[t.at] = n
		}
		for _, r := range [2]int{t.a, t.b} {
			if seen[[2]int{r, n}] {
				continue
			}
			seen[[2]int{r, n}] = true
			if find(r) == find(n) {
				if !c.crossed[pair(t.a, t.b)] {
					c.report(DisconnectedInterior, c.sound[r].ring, 0, back(t.at), "rings %d and %d touch at %v, %v and so cut the area in two",
						c.sound[t.a].ring, c.sound[t.b].ring, back(t.at).Lng, back(t.at).Lat)
				}
				continue
			}
			parent[find(r)] = find(n)
		}
	}
}

func pair(a, b int) [2]int { return [2]int{min(a, b), max(a, b)} }

// holes looks at where the holes lie that cross nothing.
func (c *checker) holes() {
	for i := 1; i < len(c.sound); i++ {
		h := &c.sound[i]
		if c.crossed[[2]int{0, i}] {
			continue
		}
		if !h.inside(&c.sound[0]) {
			c.report(HoleOutside, h.ring, 0, back(h.pts[0]), "the hole lies outside the exterior ring")
		}
		for j := 1; j < len(c.sound); j++ {
			o := &c.sound[j]
			if i == j || c.crossed[pair(i, j)] || !within(&h.part.box, &o.part.box) {
				continue
			}
			if h.inside(o) {
				c.report(HolesOverlap, h.ring, 0, back(h.pts[0]), "the hole lies inside the hole of ring %d", o.ring)
			}
		}
	}
}

func within(a, b *box) bool {
	return a.minX >= b.minX && a.maxX <= b.maxX && a.minY >= b.minY && a.maxY <= b.maxY
}

// inside reports whether r, which does not cross o, lies within o. The first of its
// corners or middles of edges that is not on o's boundary decides.
func (r *soundRing) inside(o *soundRing) bool {
	for i, p := range r.pts {
		if side := o.part.side(p); side != 0 {
			return side > 0
		}
		q := r.pts[(i+1)%len(r.pts)]
		if side := o.part.side(xy{(p.x + q.x) / 2, (p.y + q.y) / 2}); side != 0 {
			return side > 0
		}
	}
	return true
}

// side is 1 inside, -1 outside, 0 exactly on an edge.
func (p *part) side(at xy) int {
	if at.x < p.box.minX || at.x > p.box.maxX || at.y < p.box.minY || at.y > p.box.maxY {
		return -1
	}
	side := -1
	for _, e := range p.edgesOfBand(p.band(at.y)) {
		a, b := p.pts[e], p.pts[e+1]
		if a.y > b.y {
			a, b = b, a
		}
		if at.y < a.y || at.y > b.y {
			continue
		}
		o := orient(a, b, at)
		if o == 0 && at.x >= min(a.x, b.x) && at.x <= max(a.x, b.x) {
			return 0
		}
		if at.y >= a.y && at.y < b.y && o > 0 {
			side = -side
		}
	}
	return side
}
