package geo

import "math"

// edgeGrid lists the edges that come through each cell of a grid. The grid is turned
// so that its columns run along the edges' main direction, if they have one, and its
// cells are as long and wide as edges usually are: outlines of long parallel edges,
// such as combs, then cost no more than others. It has about as many cells as there
// are edges.
type edgeGrid struct {
	sin, cos   float64 // turns the plane
	box        box     // of the turned plane
	nx, ny     int
	perX, perY float64
	start      []uint32 // edges of cell i are list[start[i]:start[i+1]]
	list       []uint32
}

func newEdgeGrid(c *checker, edges []checkEdge) *edgeGrid {
	g := &edgeGrid{cos: 1, box: emptyBox()}
	g.turn(c, edges)
	var sumX, sumY float64
	for _, e := range edges {
		a, b := c.ends(e)
		a, b = g.turned(a), g.turned(b)
		g.box.add(a)
		g.box.add(b)
		sumX += math.Abs(b.x - a.x)
		sumY += math.Abs(b.y - a.y)
	}
	n := float64(len(edges))
	w, h := max(g.box.maxX-g.box.minX, 1e-300), max(g.box.maxY-g.box.minY, 1e-300)
	nx, ny := min(w*n/max(sumX, 1e-300), n)+1, min(h*n/max(sumY, 1e-300), n)+1
	if ny > nx { // no more than 2n cells in all, taken off the longer side first
		ny = max(min(ny, 2*n/nx), min(ny, math.Sqrt(2*n)))
		nx = min(nx, 2*n/ny)
	} else {
		nx = max(min(nx, 2*n/ny), min(nx, math.Sqrt(2*n)))
		ny = min(ny, 2*n/nx)
	}
	g.nx, g.ny = max(int(nx), 1), max(int(ny), 1)
	for {
		g.perX, g.perY = float64(g.nx)/w, float64(g.ny)/h
		total := 0
		for _, e := range edges {
			a, b := c.ends(e)
			g.cells(a, b, func(int) { total++ })
		}
		if total <= 10*len(edges) || g.nx*g.ny == 1 {
			g.list = make([]uint32, total)
			break
		}
		g.nx, g.ny = (g.nx+1)/2, (g.ny+1)/2
	}
	g.fill(c, edges)
	return g
}

// turn finds the main direction of the edges: the mean of their doubled angles,
// weighted by length, so that to and fro count as one direction.
func (g *edgeGrid) turn(c *checker, edges []checkEdge) {
	var x, y, total float64
	for _, e := range edges {
		a, b := c.ends(e)
		dx, dy := b.x-a.x, b.y-a.y
		if l := math.Hypot(dx, dy); l > 0 {
			x += (dx*dx - dy*dy) / l
			y += 2 * dx * dy / l
			total += l
		}
	}
	if math.Hypot(x, y) > total/4 {
		g.sin, g.cos = math.Sincos(math.Pi/2 - math.Atan2(y, x)/2) // onto the y axis
	}
}

func (g *edgeGrid) turned(p xy) xy {
	return xy{p.x*g.cos - p.y*g.sin, p.x*g.sin + p.y*g.cos}
}

func (g *edgeGrid) fill(c *checker, edges []checkEdge) {
	g.start = make([]uint32, g.nx*g.ny+1)
	for _, e := range edges {
		a, b := c.ends(e)
		g.cells(a, b, func(cell int) { g.start[cell+1]++ })
	}
	for i := 1; i < len(g.start); i++ {
		g.start[i] += g.start[i-1]
	}
	next := append([]uint32(nil), g.start...)
	for i, e := range edges {
		a, b := c.ends(e)
		g.cells(a, b, func(cell int) {
			g.list[next[cell]] = uint32(i)
			next[cell]++
		})
	}
}

func clampTo(v float64, n int) int { return max(0, min(int(v), n-1)) }

// cells calls f for every cell that an edge comes through, and perhaps its neighbours.
func (g *edgeGrid) cells(a, b xy, f func(cell int)) {
	a, b = g.turned(a), g.turned(b)
	if a.y > b.y {
		a, b = b, a
	}
	const slack = 1e-6 // of a cell, for rounding
	ax, ay := (a.x-g.box.minX)*g.perX, (a.y-g.box.minY)*g.perY
	bx, by := (b.x-g.box.minX)*g.perX, (b.y-g.box.minY)*g.perY
	r0, r1 := clampTo(ay-slack, g.ny), clampTo(by+slack, g.ny)
	for r := r0; r <= r1; r++ {
		lo, hi := min(ax, bx), max(ax, bx)
		if r0 != r1 && by > ay {
			// Where the edge enters and leaves this row.
			u := ax + (bx-ax)*max(0, min((float64(r)-slack-ay)/(by-ay), 1))
			v := ax + (bx-ax)*max(0, min((float64(r+1)+slack-ay)/(by-ay), 1))
			lo, hi = min(u, v), max(u, v)
		}
		for col, last := clampTo(lo-slack, g.nx), clampTo(hi+slack, g.nx); col <= last; col++ {
			f(r*g.nx + col)
		}
	}
}
