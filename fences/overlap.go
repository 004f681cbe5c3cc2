package fences

import (
	"cmp"
	"fmt"

	"footfall/geo"
)

// minOverlapM is how deep fences must lie in each other to be worth a word.
// Neighbours drawn independently along one street overlap by a few metres.
const minOverlapM = 10

// maxPartners is how many overlapping fences are looked at for one fence.
const maxPartners = 50

// overlapWork bounds the whole search, counted in edges looked at: about 0.2 s.
const overlapWork = 30_000_000

// overlaps reports fences that overlap (W03): one finding per fence that
// another one wins over, naming the winner of the deepest overlap. Overlap of
// two polygons is looked for at their vertices and edge midpoints (64 of each
// at most), so a shallow or very thin one may go unnoticed.
func (l *loader) overlaps() {
	limit := l.o.MaxOverlaps
	if limit <= 0 || len(l.fences) < 2 {
		return
	}
	boxes := make([]box, len(l.metas))
	areas := make([]float64, len(l.metas))
	for i := range boxes {
		boxes[i] = l.metas[i].box
		areas[i] = l.fences[i].Shape.AreaM2()
	}
	// wins reports whether a device in both fences gets a's push. The distance
	// to the centre, which comes before the id, depends on the device.
	wins := func(i, k int) bool {
		a, b := &l.fences[i], &l.fences[k]
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(areas[i], areas[k]), cmp.Compare(a.ID, b.ID)) < 0
	}
	t := newTree(boxes)
	work := overlapWork
	listed, more := 0, 0
	cache := make(map[int]*flatFence)
	for i := range l.fences {
		a := &l.fences[i]
		partners, deepest, winner := 0, 0.0, -1
		t.search(boxes[i], func(k int32) bool {
			work--
			if int(k) == i || !wins(int(k), i) || l.samePosition(i, int(k)) {
				return work > 0
			}
			b := &l.fences[k]
			if d := depth(l.flat(cache, i), l.flat(cache, int(k)), &work); d >= minOverlapM || d > 0 && d >= min(a.Shape.SizeM(), b.Shape.SizeM()) {
				if partners++; d > deepest {
					deepest, winner = d, int(k)
				}
			}
			return partners < maxPartners && work > 0
		})
		if work <= 0 {
			break
		}
		if winner < 0 {
			continue
		}
		if listed >= limit {
			more++
			continue
		}
		listed++
		b := &l.fences[winner]
		others := ""
		if partners > 1 {
			others = fmt.Sprintf("  and %d more", partners-1)
		}
		l.crossFinding(i, newFinding(codeOverlap, "%s overlaps %s%s by %.0f m; a device in both gets one push per campaign: %s wins (%s)",
			label(a), label(b), others, deepest, label(b), reason(b, a)))
	}
	if more > 0 {
		f := newFinding(codeMore, "%s that overlap are not listed", plural(more, "more fence"))
		f.Count = more
		l.report.add(draft{Finding: f, doc: -1})
	}
}

func label(f *Fence) string {
	if f.Name != "" && f.Name != string(f.ID) {
		return fmt.Sprintf("%q (%s)", clip(f.Name), clip(string(f.ID)))
	}
	return fmt.Sprintf("%q", clip(string(f.ID)))
}

func reason(a, b *Fence) string {
	switch {
	case a.Priority != b.Priority:
		return "higher priority"
	case a.Shape.AreaM2() < b.Shape.AreaM2():
		return "smaller area"
	}
	return "where its centre is nearer, else by id"
}

// samePosition reports whether two circles have one centre, which W12 reports.
func (l *loader) samePosition(i, k int) bool {
	a, b := &l.fences[i].Shape, &l.fences[k].Shape
	return a.IsCircle() && b.IsCircle() && a.Center() == b.Center()
}

// flatFence is a fence with its polygons laid out in the plane when needed.
type flatFence struct {
	*Fence
	planes []*plane
}

func (l *loader) flat(cache map[int]*flatFence, i int) *flatFence {
	f := cache[i]
	if f == nil {
		f = &flatFence{Fence: &l.fences[i]}
		for _, poly := range f.Shape.Polygons() {
			f.planes = append(f.planes, newPlane(poly))
		}
		cache[i] = f
	}
	return f
}

// depth is how many metres the fences lie in each other, 0 or less when they
// do not, as far as the search can tell.
func depth(a, b *flatFence, work *int) float64 {
	switch ac, bc := a.Shape.IsCircle(), b.Shape.IsCircle(); {
	case ac && bc:
		*work -= 20
		ra, rb := a.Shape.RadiusM(), b.Shape.RadiusM()
		return min(ra+rb-geo.DistanceM(a.Shape.Center(), b.Shape.Center()), 2*min(ra, rb))
	case ac:
		deepest := 0.0
		for _, pl := range b.planes {
			*work -= pl.edges()
			d := pl.edgeM(a.Shape.Center())
			if !pl.contains(a.Shape.Center()) {
				d = -d
			}
			deepest = max(deepest, a.Shape.RadiusM()+d)
		}
		return min(deepest, 2*a.Shape.RadiusM())
	case bc:
		return depth(b, a, work)
	}
	return max(deepestVertex(a, b, work), deepestVertex(b, a, work))
}

// deepestVertex is how deep vertices and edge midpoints of a lie inside b.
func deepestVertex(a, b *flatFence, work *int) float64 {
	const most = 64
	deepest, n, stride := 0.0, 0, 1
	for _, pl := range a.planes {
		n += len(pl.rings[0])
	}
	stride = max(1, n/most)
	n = 0
	for _, pl := range a.planes {
		r := pl.rings[0]
		for i := 1; i < len(r); i++ {
			if n++; n%stride != 0 {
				continue
			}
			for _, q := range [2]flat{r[i-1], {(r[i-1].x + r[i].x) / 2, (r[i-1].y + r[i].y) / 2}} {
				p := geo.Point{Lat: q.y, Lng: q.x}
				for _, other := range b.planes {
					if *work <= 0 {
						return deepest
					}
					*work--
					if x := p.Lng + other.shift(p.Lng); x < other.west || x > other.east || p.Lat < other.south || p.Lat > other.north {
						continue
					}
					*work -= other.edges() / 2
					if other.contains(p) {
						*work -= other.edges()
						deepest = max(deepest, other.edgeM(p))
					}
				}
			}
		}
	}
	return deepest
}
