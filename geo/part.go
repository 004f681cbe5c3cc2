package geo

import "math"

// edgeSlack is how far from an edge, in degrees, a point still counts as on it. It
// is a few times the spacing of float64 values at 180, and far below any real size.
const edgeSlack = 1e-13

// box is a rectangle in the plane.
type box struct{ minX, minY, maxX, maxY float64 }

func emptyBox() box { return box{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)} }

func (b *box) add(p xy) {
	b.minX, b.maxX = min(b.minX, p.x), max(b.maxX, p.x)
	b.minY, b.maxY = min(b.minY, p.y), max(b.maxY, p.y)
}

func (b *box) grow(d float64) box { return box{b.minX - d, b.minY - d, b.maxX + d, b.maxY + d} }

func (b *box) meets(c *box) bool {
	return b.minX <= c.maxX && c.minX <= b.maxX && b.minY <= c.maxY && c.minY <= b.maxY
}

// part is one polygon in the plane. Its edges are sorted into bands of latitude, so
// that a question about a point looks at the few edges that reach its band. Memory
// is linear in the number of vertices whatever their shape.
type part struct {
	box   box
	pts   []xy    // the rings one after the other, each closed
	rings []int32 // where each ring starts in pts, and len(pts)

	bandsPerDeg float64
	bandStart   []uint32 // edges of band i are bandEdges[bandStart[i]:bandStart[i+1]]
	bandEdges   []uint32 // edge e runs from pts[e] to pts[e+1]
}

func newPart(rings [][]xy) *part {
	n := 0
	for _, r := range rings {
		n += len(r)
	}
	p := &part{box: emptyBox(), pts: make([]xy, 0, n)}
	for _, r := range rings {
		p.rings = append(p.rings, int32(len(p.pts)))
		p.pts = append(p.pts, r...)
		for _, v := range r {
			p.box.add(v)
		}
	}
	p.rings = append(p.rings, int32(len(p.pts)))
	p.box = p.box.grow(edgeSlack)
	p.fillBands()
	return p
}

// eachEdge calls f with every edge of every ring.
func (p *part) eachEdge(f func(e int, a, b xy)) {
	for r := 0; r+1 < len(p.rings); r++ {
		for e := int(p.rings[r]); e+1 < int(p.rings[r+1]); e++ {
			f(e, p.pts[e], p.pts[e+1])
		}
	}
}

// band is the band of a latitude, clamped. It must not decrease as y grows.
func (p *part) band(y float64) int {
	return max(0, min(int((y-p.box.minY)*p.bandsPerDeg), len(p.bandStart)-2))
}

// fillBands chooses the number of bands: about one for two edges, halved until no
// more than a handful of entries for each edge come of it, since edges may run
// through many bands.
func (p *part) fillBands() {
	edges := len(p.pts) - (len(p.rings) - 1)
	bands := 1
	if edges > 12 {
		bands = min(edges/2, 1<<16)
	}
	for {
		p.bandsPerDeg = float64(bands) / (p.box.maxY - p.box.minY)
		p.bandStart = make([]uint32, bands+1)
		total := 0
		p.eachEdge(func(_ int, a, b xy) {
			lo, hi := p.bandsOf(a, b)
			total += hi - lo + 1
		})
		if total <= 4*edges || bands == 1 {
			p.bandEdges = make([]uint32, total)
			break
		}
		bands /= 2
	}
	p.eachEdge(func(_ int, a, b xy) {
		lo, hi := p.bandsOf(a, b)
		for i := lo; i <= hi; i++ {
			p.bandStart[i+1]++
		}
	})
	for i := 1; i < len(p.bandStart); i++ {
		p.bandStart[i] += p.bandStart[i-1]
	}
	next := append([]uint32(nil), p.bandStart...)
	p.eachEdge(func(e int, a, b xy) {
		lo, hi := p.bandsOf(a, b)
		for i := lo; i <= hi; i++ {
			p.bandEdges[next[i]] = uint32(e)
			next[i]++
		}
	})
}

func (p *part) bandsOf(a, b xy) (lo, hi int) {
	return p.band(min(a.y, b.y) - edgeSlack), p.band(max(a.y, b.y) + edgeSlack)
}

func (p *part) edgesOfBand(i int) []uint32 {
	return p.bandEdges[p.bandStart[i]:p.bandStart[i+1]]
}

// contains is the even-odd rule in the plane; a point on an edge is inside.
func (p *part) contains(x, y float64) bool {
	if !(x >= p.box.minX && x <= p.box.maxX && y >= p.box.minY && y <= p.box.maxY) {
		return false
	}
	inside := false
	for _, e := range p.edgesOfBand(p.band(y)) {
		a, b := p.pts[e], p.pts[e+1]
		if a.x < x-edgeSlack && b.x < x-edgeSlack {
			continue // wholly to the left: the ray to the right does not meet it
		}
		dx, dy := b.x-a.x, b.y-a.y
		cross := dx*(y-a.y) - dy*(x-a.x)
		if math.Abs(cross) <= edgeSlack*(math.Abs(dx)+math.Abs(dy)) &&
			x >= min(a.x, b.x)-edgeSlack && x <= max(a.x, b.x)+edgeSlack &&
			y >= min(a.y, b.y)-edgeSlack && y <= max(a.y, b.y)+edgeSlack {
			return true
		}
		if (a.y > y) != (b.y > y) && (cross > 0) == (dy > 0) {
			inside = !inside
		}
	}
	return inside
}
