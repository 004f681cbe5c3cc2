package fences

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
	"sync"

	"footfall/geo"
)

// Near is a fence as a phone's own system can watch it: by a circle.
type Near struct {
	Fence   *Fence
	Center  geo.Point
	RadiusM float64
	// Around: the circle is drawn around a polygon, so that being in it is not yet being in the fence.
	Around bool
	// DistanceM is how far the circle's edge is, along the geodesic to its centre; negative inside.
	DistanceM float64
}

// Nearest returns the n fences whose circles are nearest to p, the nearest first and among equals in the order of the set,
// and how far the nearest of all others is: +Inf when there are none. Whoever goes less far than that comes into no fence
// that is not in the list.
//
// The first call after an edit sorts the set, which takes a second or two for a million fences; each takes some tenths of a
// millisecond at most. What is sorted takes about 70 bytes a fence, and nothing of it is made for a set that nobody asks.
func (s *Set) Nearest(p geo.Point, n int) (list []Near, othersM float64) {
	s.nearest.once.Do(func() { s.nearest.build(s) })
	return s.nearest.search(s, p, n)
}

// nearestTree is a packed hierarchy of boxes over the centres of the circles, in the order of a curve that fills the space
// through the Earth: neighbours stand side by side, and neither pole nor antimeridian is special.
type nearestTree struct {
	once    sync.Once
	circles []circle
	levels  [][]nearBox // levels[0] groups circles, each further one the one below, the last has one box
}

type circle struct {
	center  geo.Point
	at      geo.ECEF
	radiusM float64
	fence   int32
	curve   uint64
}

func (c *circle) at3() [3]float64 { return [3]float64{c.at.X, c.at.Y, c.at.Z} }

// nearBox bounds the centres of what it groups; reachM is the largest radius among them.
type nearBox struct {
	lo, hi [3]float64
	reachM float64
}

const nearFanout = 16

func (t *nearestTree) build(s *Set) {
	t.circles = make([]circle, 0, s.Len())
	for i := range s.fences {
		letOthersRun(i)
		shape := &s.fences[i].Shape
		c := circle{center: shape.Center(), radiusM: aroundM(shape), fence: int32(i)}
		c.at = c.center.ECEF()
		c.curve = curveOf(c.at)
		t.circles = append(t.circles, c)
	}
	compared := 0
	slices.SortFunc(t.circles, func(a, b circle) int {
		letOthersRun(compared)
		compared++
		return cmp.Or(cmp.Compare(a.curve, b.curve), cmp.Compare(a.fence, b.fence))
	})
	var level []nearBox
	for group := range slices.Chunk(t.circles, nearFanout) {
		b := nowhere()
		for i := range group {
			c := &group[i]
			b.add(c.at3(), c.at3(), c.radiusM)
		}
		level = append(level, b)
	}
	for len(level) > 0 {
		t.levels = append(t.levels, level)
		if len(level) == 1 {
			return
		}
		var above []nearBox
		for group := range slices.Chunk(level, nearFanout) {
			b := nowhere()
			for i := range group {
				b.add(group[i].lo, group[i].hi, group[i].reachM)
			}
			above = append(above, b)
		}
		level = above
	}
}

func nowhere() nearBox {
	inf := math.Inf(1)
	return nearBox{lo: [3]float64{inf, inf, inf}, hi: [3]float64{-inf, -inf, -inf}}
}

func (b *nearBox) add(lo, hi [3]float64, reachM float64) {
	for i := range lo {
		b.lo[i], b.hi[i] = min(b.lo[i], lo[i]), max(b.hi[i], hi[i])
	}
	b.reachM = max(b.reachM, reachM)
}

// leastM is the least that a circle of the box can be away: the straight way through the Earth is never the longer one.
func (b *nearBox) leastM(p geo.ECEF) float64 {
	sum := 0.0
	for i, v := range [3]float64{p.X, p.Y, p.Z} {
		d := max(b.lo[i]-v, v-b.hi[i], 0)
		sum += d * d
	}
	const rounding = 1e-3
	return math.Sqrt(sum) - b.reachM - rounding
}

// search looks into boxes and at circles in the order of the least that they can be away, until n and one more are found.
func (t *nearestTree) search(s *Set, p geo.Point, n int) (list []Near, othersM float64) {
	if len(t.levels) == 0 {
		return nil, math.Inf(1)
	}
	at := p.ECEF()
	top := len(t.levels) - 1
	todo := nearQueue{{leastM: t.levels[top][0].leastM(at), level: top}}
	for len(todo) > 0 {
		next := heap.Pop(&todo).(nearItem)
		switch {
		case next.level == measured:
			if len(list) == n {
				return list, next.leastM
			}
			c := &t.circles[next.i]
			f := &s.fences[c.fence]
			list = append(list, Near{Fence: f, Center: c.center, RadiusM: c.radiusM, Around: !f.Shape.IsCircle(), DistanceM: next.leastM})
			continue
		case next.level == circleOf:
			c := &t.circles[next.i]
			heap.Push(&todo, nearItem{leastM: geo.DistanceM(p, c.center) - c.radiusM, level: measured, i: next.i, fence: c.fence})
			continue
		}
		from := int(next.i) * nearFanout
		if next.level > 0 {
			below := t.levels[next.level-1]
			for i := from; i < min(from+nearFanout, len(below)); i++ {
				heap.Push(&todo, nearItem{leastM: below[i].leastM(at), level: next.level - 1, i: int32(i)})
			}
			continue
		}
		for i := from; i < min(from+nearFanout, len(t.circles)); i++ {
			c := &t.circles[i]
			b := nearBox{lo: c.at3(), hi: c.at3(), reachM: c.radiusM}
			heap.Push(&todo, nearItem{leastM: b.leastM(at), level: circleOf, i: int32(i)})
		}
	}
	return list, math.Inf(1)
}

// nearItem is a box, or a circle.
type nearItem struct {
	leastM float64 // the least that it can be away; of a measured circle how far it is
	level  int     // of the box, or one of those below
	i      int32   // of the box in its level, or of the circle
	fence  int32   // of a measured circle
}

const (
	circleOf = -1 - iota // a circle by its box
	measured             // along the geodesic, which costs more than all else
)

type nearQueue []nearItem

func (q nearQueue) Len() int      { return len(q) }
func (q nearQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q nearQueue) Less(i, j int) bool {
	a, b := &q[i], &q[j]
	if a.leastM != b.leastM {
		return a.leastM < b.leastM
	}
	return a.fence < b.fence // both are measured: anything else is less than what it stands for, by what is allowed for rounding
}
func (q *nearQueue) Push(x any) { *q = append(*q, x.(nearItem)) }
func (q *nearQueue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// aroundM is the radius of a circle around the centre of a shape that holds all of it.
func aroundM(s *geo.Shape) float64 {
	if s.IsCircle() {
		return s.RadiusM()
	}
	// An edge is straight in longitude and latitude: it may bow away from the centre between its ends, a little.
	const margin = 1.001
	far, center := 0.0, s.Center()
	for _, poly := range s.Polygons() {
		for _, p := range poly[0] { // a hole is inside
			far = max(far, geo.DistanceM(center, p))
		}
	}
	return far*margin + 1
}

// curveOf is the place of a point on a Z-order curve through a cube around the Earth, in steps of 6.4 m.
func curveOf(e geo.ECEF) uint64 {
	const half, steps = 6_700_000.0, 1 << 21
	spread := func(v float64) uint64 {
		x := uint64((v + half) / (2 * half) * steps)
		x &= 0x1fffff
		x = (x | x<<32) & 0x1f00000000ffff
		x = (x | x<<16) & 0x1f0000ff0000ff
		x = (x | x<<8) & 0x100f00f00f00f00f
		x = (x | x<<4) & 0x10c30c30c30c30c3
		return (x | x<<2) & 0x1249249249249249
	}
	return spread(e.X) | spread(e.Y)<<1 | spread(e.Z)<<2
}
