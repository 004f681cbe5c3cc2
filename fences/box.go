package fences

import (
	"cmp"
	"math"
	"slices"

	"footfall/geo"
)

// box is a range of longitudes and latitudes in degrees. west lies in
// [-180, 180) and east may exceed 180 when the box crosses the antimeridian.
type box struct{ west, south, east, north float64 }

// metresPerDegree of latitude on WGS84 at the equator, where it is least: a
// margin in degrees computed with it is never too small.
const metresPerDegree = 110574

func circleBox(c geo.Point, r float64) box {
	dLat := r / metresPerDegree
	b := box{south: c.Lat - dLat, north: c.Lat + dLat}
	if b.south < -89.9 || b.north > 89.9 {
		b.west, b.east = -180, 180
		return b
	}
	dLng := dLat / math.Cos(max(math.Abs(b.south), math.Abs(b.north))*math.Pi/180)
	return normal(c.Lng-dLng, b.south, c.Lng+dLng, b.north)
}

func normal(west, south, east, north float64) box {
	if east-west >= 360 {
		return box{-180, south, 180, north}
	}
	shift := math.Floor((west+180)/360) * 360
	return box{west - shift, south, east - shift, north}
}

func polygonsBox(polys []geo.Polygon) box {
	all := newPlane(polys[0])
	for _, poly := range polys[1:] {
		pl := newPlane(poly)
		shift := all.shift((pl.west + pl.east) / 2)
		all.west, all.east = min(all.west, pl.west+shift), max(all.east, pl.east+shift)
		all.south, all.north = min(all.south, pl.south), max(all.north, pl.north)
	}
	return all.box()
}

func (b box) overlaps(o box) bool {
	return b.south <= o.north && o.south <= b.north &&
		(b.west <= o.east && o.west <= b.east ||
			b.west+360 <= o.east && o.west <= b.east+360 ||
			b.west-360 <= o.east && o.west <= b.east-360)
}

func (b box) join(o box) box {
	return box{min(b.west, o.west), min(b.south, o.south), max(b.east, o.east), max(b.north, o.north)}
}

// tree is a packed R-tree over boxes: sorted into vertical strips, then by
// latitude, then grouped by fanout (sort-tile-recursive).
type tree struct {
	items  []int32 // the boxes in packed order
	boxes  []box   // by item
	levels [][]box // levels[0] groups items, the last has one box
}

const fanout = 16

func newTree(boxes []box) *tree {
	t := &tree{items: make([]int32, len(boxes)), boxes: boxes}
	for i := range t.items {
		t.items[i] = int32(i)
	}
	if len(boxes) == 0 {
		return t
	}
	slices.SortFunc(t.items, func(a, b int32) int { return cmp.Compare(boxes[a].west, boxes[b].west) })
	strip := int(math.Ceil(math.Sqrt(float64(len(boxes))/fanout))) * fanout
	for part := range slices.Chunk(t.items, strip) {
		slices.SortFunc(part, func(a, b int32) int { return cmp.Compare(boxes[a].south, boxes[b].south) })
	}
	level := make([]box, 0, len(boxes)/fanout+1)
	for group := range slices.Chunk(t.items, fanout) {
		b := boxes[group[0]]
		for _, i := range group[1:] {
			b = b.join(boxes[i])
		}
		level = append(level, b)
	}
	t.levels = append(t.levels, level)
	for len(level) > 1 {
		next := make([]box, 0, len(level)/fanout+1)
		for group := range slices.Chunk(level, fanout) {
			b := group[0]
			for _, o := range group[1:] {
				b = b.join(o)
			}
			next = append(next, b)
		}
		level = next
		t.levels = append(t.levels, level)
	}
	return t
}

// search calls fn with every item whose box overlaps b until fn returns false.
func (t *tree) search(b box, fn func(i int32) bool) {
	if len(t.items) > 0 {
		t.visit(len(t.levels)-1, 0, b, fn)
	}
}

func (t *tree) visit(level, group int, b box, fn func(i int32) bool) bool {
	if !t.levels[level][group].overlaps(b) {
		return true
	}
	first := group * fanout
	if level == 0 {
		for _, i := range t.items[first:min(first+fanout, len(t.items))] {
			if t.boxes[i].overlaps(b) && !fn(i) {
				return false
			}
		}
		return true
	}
	for g := first; g < min(first+fanout, len(t.levels[level-1])); g++ {
		if !t.visit(level-1, g, b, fn) {
			return false
		}
	}
	return true
}
