package geo

import (
	"math"
	"slices"
)

// BaseResolution is the finest resolution of covers, and the one at which a point is
// looked up: coarser cells of the point are the parents of its cell there.
const BaseResolution = 9

// Cell budgets of a cover. The resolution is the finest one that is expected to
// need no more.
const (
	circleBudget  = 16
	polygonBudget = 1000
)

// CoverCell is one cell of a cover.
type CoverCell struct {
	Cell Cell
	Full bool // the shape contains every point that is looked up in this cell
}

// Cover is the cells, all of one resolution, that a point of s can be looked up in:
// for every p in s, CellAt(p, BaseResolution).Parent(res) is among them. Ascending,
// distinct. Cells of a circle are never marked Full: its exact test costs no more
// than the mark is worth. Work and memory are bounded by the budget, not by the size
// of the shape: a world-size polygon takes milliseconds.
func Cover(s *Shape) []CoverCell {
	out := appendCover(nil, s)
	slices.SortFunc(out, func(a, b CoverCell) int {
		if a.Cell < b.Cell {
			return -1
		}
		return 1
	})
	return out
}

func appendCover(dst []CoverCell, s *Shape) []CoverCell {
	switch {
	case s.IsCircle():
		c := newCircleRegion(s)
		dst, _ = cover(dst, c, circleResolution(s.radiusM), math.MaxInt)
	case s.area != nil:
		a := newAreaRegion(s.area)
		for res := a.resolution(s.areaM2); ; res-- {
			got, ok := cover(dst, a, res, polygonBudget)
			if ok || res == 0 {
				return got
			}
		}
	}
	return dst
}

// cellAreaM2 is the mean area of a cell.
func cellAreaM2(res int) float64 {
	return 4 * math.Pi * meanRadiusM * meanRadiusM / (2 + 120*math.Pow(7, float64(res)))
}

// expectedCells is the mean number of cells that meet an area with a boundary of
// the given length (for a convex one, the mean over positions of the cell grid).
func expectedCells(areaM2, boundaryM float64, res int) float64 {
	a := cellAreaM2(res)
	edge := math.Sqrt(a * 2 / (3 * math.Sqrt(3)))
	return 1 + boundaryM*6*edge/(2*math.Pi*a) + areaM2/a
}

func circleResolution(radiusM float64) int {
	for res := BaseResolution; res > 0; res-- {
		if expectedCells(math.Pi*radiusM*radiusM, 2*math.Pi*radiusM, res) <= circleBudget {
			return res
		}
	}
	return 0
}

// reach is how a region lies to a small disc on the sphere.
type reach uint8

const (
	reachNone reach = iota // nothing of the disc is in the region
	reachSome
	reachAll // all of the disc is in the region
)

// region is an area on H3's sphere. Answers may err towards reachSome only.
type region interface {
	// bounds is a disc around the region: its centre and angular radius.
	bounds() (center vec, radius float64)
	// touches says how the region lies to the disc of the given angular radius.
	touches(center vec, radius float64) reach
}

// padding in radians (2 cm) makes up for the outlines of cells being straight in the
// gnomonic plane and the edges of polygons straight in longitude and latitude.
const padding = 0.02 / minRadiusM

// circumradius is the largest angle from a cell's centre to its corner.
func circumradius(res int) float64 { return 1 / (math.Sqrt(3) * latticeScale[res]) }

// childReach is how far a descendant of a cell reaches from the cell's centre, in
// circumradii. Children stick out: the sum over all generations is below 1.4, which
// is also what the H3 library uses.
const childReach = 1.4

// cellReach is how far from the centre of a cell a point can lie that is looked up in it.
func cellReach(res int) float64 {
	if res == BaseResolution {
		return circumradius(res)*1.001 + padding
	}
	return circumradius(res)*childReach + padding
}

// cover appends the cells of a region, or gives up when there are more than budget.
func cover(dst []CoverCell, r region, res, budget int) ([]CoverCell, bool) {
	center, radius := r.bounds()
	face := nearestFace(center)
	steps := latticeSteps(face, center, radius, res)
	if steps <= 40 && faceClearance(center, face) > radius+padding {
		return coverOnFace(dst, r, face, center, radius, res, steps, budget)
	}
	c := descent{region: r, res: res, budget: budget, out: dst, have: len(dst)}
	for base := range Cell(122) {
		c.visit(cellMode|base<<cellBaseShift|cellDigitsMask, false)
	}
	return c.out, len(c.out)-c.have <= budget
}

// latticeSteps bounds how many lattice steps a cell of the region can be away from
// the lattice point at its centre.
func latticeSteps(face int, center vec, radius float64, res int) int32 {
	far := radius + cellReach(res)
	off := math.Acos(min(1, center.dot(faceCenters[face]))) + far
	if off > 1.2 {
		return math.MaxInt32
	}
	cos := math.Cos(off) // the projection stretches by at most 1/cos²
	n := far / (cos * cos) * latticeScale[res] * 2 / math.Sqrt(3)
	if n > 1e6 {
		return math.MaxInt32
	}
	return int32(n) + 2
}

// coverOnFace is for a region that lies within one face, so that every point of it
// is looked up on that face's lattice: goes through the lattice points around it.
func coverOnFace(dst []CoverCell, r region, face int, center vec, radius float64, res int, steps int32, budget int) ([]CoverCell, bool) {
	a0, b0 := latticeAt(face, center, res)
	fr := &faceFrames[face]
	have := len(dst)
	reachM := cellReach(res)
	for da := -steps; da <= steps; da++ {
		for db := max(-steps, da-steps); db <= min(steps, da+steps); db++ {
			w := fr.latticePoint(a0+da, b0+db, res)
			// Tangentially the projection stretches by 1/cos, so a cell is that
			// much smaller than at the centre of its face.
			local := reachM * min(1, w.dot(fr.C)+2*reachM)
			if limit := radius + local; w.sub(center).dot(w.sub(center)) > limit*limit {
				continue
			}
			t := r.touches(w, local)
			if t == reachNone {
				continue
			}
			if c := cellOnFace(face, a0+da, b0+db, res); c != 0 {
				dst = append(dst, CoverCell{c, t == reachAll})
			}
			if len(dst)-have > budget {
				return dst[:have], false
			}
		}
	}
	return dst, true
}

// latticePoint is the unit vector at a lattice point.
func (fr *faceFrame) latticePoint(a, b int32, res int) vec {
	x := (float64(a) - float64(b)/2) / latticeScale[res]
	y := float64(b) * (math.Sqrt(3) / 2) / latticeScale[res]
	if res&1 == 1 {
		x, y = x*cosClassTurn-y*sinClassTurn, x*sinClassTurn+y*cosClassTurn
	}
	return fr.C.add(fr.u.mul(x)).add(fr.v.mul(y)).unit()
}

// descent finds the cells of any region, by going down from the 122 cells of
// resolution 0 and leaving out what does not touch it.
type descent struct {
	region region
	res    int
	budget int
	out    []CoverCell
	have   int
}

func (d *descent) visit(c Cell, full bool) {
	if len(d.out)-d.have > d.budget {
		return
	}
	res := c.Resolution()
	if !full {
		switch d.region.touches(sphereVec(c.Center()), cellReach(res)) {
		case reachNone:
			return
		case reachAll:
			full = true
		}
	}
	if res == d.res {
		d.out = append(d.out, CoverCell{c, full})
		return
	}
	pentagon := c.isPentagon()
	for digit := range 7 {
		if digit != 1 || !pentagon {
			d.visit(c.child(digit), full)
		}
	}
}
