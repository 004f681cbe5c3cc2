package fences

import (
	"cmp"
	"fmt"
	"math"

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
	for i := range l.fences {
		a := &l.fences[i]
		partners, deepest, winner := 0, 0.0, -1
		t.search(boxes[i], func(k int32) bool {
			work--
			if int(k) == i || !wins(int(k), i) || l.samePosition(i, int(k)) {
				return work > 0
			}
			b := &l.fences[k]
			if d := depth(a, b, &work); d >= minOverlapM || d > 0 && d >= min(a.Shape.SizeM(), b.Shape.SizeM()) {
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

// depth is how many metres the fences lie in each other, 0 or less when they
// do not, as far as the search can tell.
func depth(a, b *Fence, work *int) float64 {
	switch ac, bc := a.Shape.IsCircle(), b.Shape.IsCircle(); {
	case ac && bc:
		*work -= 20
		ra, rb := a.Shape.RadiusM(), b.Shape.RadiusM()
		return min(ra+rb-geo.DistanceM(a.Shape.Center(), b.Shape.Center()), 2*min(ra, rb))
	case ac:
		*work -= vertices(&b.Shape)
		return min(a.Shape.RadiusM()+insideM(b.Shape.Polygons(), a.Shape.Center()), 2*a.Shape.RadiusM())
	case bc:
		return depth(b, a, work)
	}
	return max(deepestVertex(a, b, work), deepestVertex(b, a, work))
}

func vertices(s *geo.Shape) int {
	n := 0
	for _, poly := range s.Polygons() {
		for _, ring := range poly {
			n += len(ring)
		}
	}
	return n
}

// deepestVertex is how deep vertices and edge midpoints of a lie inside b.
func deepestVertex(a, b *Fence, work *int) float64 {
	const most = 64
	cost := vertices(&b.Shape)
	bounds := polygonsBox(b.Shape.Polygons())
	deepest := 0.0
	total := vertices(&a.Shape)
	stride := max(1, total/most)
	n := 0
	for _, poly := range a.Shape.Polygons() {
		ring := poly[0]
		for i := 0; i+1 < len(ring); i++ {
			if n++; n%stride != 0 {
				continue
			}
			for _, p := range [2]geo.Point{ring[i], middle(ring[i], ring[i+1])} {
				if !bounds.overlaps(box{p.Lng, p.Lat, p.Lng, p.Lat}) {
					continue
				}
				if *work -= cost; *work <= 0 {
					return deepest
				}
				deepest = max(deepest, insideM(b.Shape.Polygons(), p))
			}
		}
	}
	return deepest
}

func middle(a, b geo.Point) geo.Point {
	return geo.Point{Lat: (a.Lat + b.Lat) / 2, Lng: a.Lng + math.Remainder(b.Lng-a.Lng, 360)/2}
}

// insideM is how far p lies inside the polygons, in metres to the nearest edge,
// negative outside. It measures on the plane around p: good to a percent over
// tens of kilometres, which is all that a message needs.
func insideM(polys []geo.Polygon, p geo.Point) float64 {
	kx := math.Cos(p.Lat * math.Pi / 180)
	best := math.Inf(1)
	inside := false
	for _, poly := range polys {
		in := false
		for _, ring := range poly {
			for i := 0; i+1 < len(ring); i++ {
				ax, ay := math.Remainder(ring[i].Lng-p.Lng, 360), ring[i].Lat-p.Lat
				bx, by := ax+math.Remainder(ring[i+1].Lng-ring[i].Lng, 360), ring[i+1].Lat-p.Lat
				if (ay > 0) != (by > 0) && ax+(bx-ax)*(-ay)/(by-ay) > 0 {
					in = !in
				}
				dx, dy := (bx-ax)*kx, by-ay
				t := 0.0
				if q := dx*dx + dy*dy; q > 0 {
					t = min(max(-(ax*kx*dx+ay*dy)/q, 0), 1)
				}
				ex, ey := ax*kx+t*dx, ay+t*dy
				best = min(best, ex*ex+ey*ey)
			}
		}
		inside = inside || in
	}
	d := math.Sqrt(best) * metresPerDegree
	if inside {
		return d
	}
	return -d
}
