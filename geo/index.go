package geo

import "slices"

// Index answers which of many shapes contain a point. It is immutable and safe for
// concurrent use. Its answer is that of asking every shape: Match(p) lists exactly
// the shapes whose Contains(p) is true.
//
// A question goes through three sieves: a bit map of where shapes are, the table of
// the cells of their covers, and the exact test. Only the last one decides.
type Index struct {
	near        nearMap
	table       cellTable
	resolutions []uint8 // of the covers in the table, ascending
	discs       []disc  // by shape; limitSq is below 0 for polygons
	shapes      []*Shape
	stats       IndexStats
}

// IndexStats describes an Index.
type IndexStats struct {
	Shapes        int                    // shapes given
	Cells         int                    // distinct cells in the table
	Postings      int                    // pairs of cell and shape
	FullPostings  int                    // of these, cells wholly inside the shape
	Bytes         int                    // memory of the index, without the shapes themselves
	PerResolution [MaxResolution + 1]int // postings by resolution
}

// NewIndex builds an index over shapes; results are positions in this slice, which is
// copied, while the shapes are shared. An empty Shape or a nil is never matched.
// Takes about 3 us for a circle of 200 m.
func NewIndex(shapes []*Shape) *Index {
	x := &Index{
		discs:  make([]disc, len(shapes)),
		shapes: slices.Clone(shapes),
	}
	x.stats.Shapes = len(shapes)
	all := make([]posting, 0, 6*len(shapes))
	var cells []CoverCell
	for i, s := range shapes {
		if s == nil {
			continue
		}
		x.discs[i] = s.disc
		if !s.IsCircle() {
			x.discs[i].limitSq = -1
		}
		cells = appendCover(cells[:0], s)
		for _, c := range cells {
			e := uint32(i) << 1
			if c.Full {
				e |= 1
				x.stats.FullPostings++
			}
			all = append(all, posting{c.Cell, e})
			x.stats.PerResolution[c.Cell.Resolution()]++
		}
		if len(cells) > 0 {
			x.near.markShape(s, cells)
		}
	}
	x.stats.Postings = len(all)
	x.table, x.stats.Cells = newCellTable(all)
	for res, n := range x.stats.PerResolution {
		if n > 0 {
			x.resolutions = append(x.resolutions, uint8(res))
		}
	}
	x.stats.Bytes = x.near.bytes() + x.table.bytes() + len(x.discs)*32 + len(x.shapes)*8
	return x
}

// Stats describes the index.
func (x *Index) Stats() IndexStats { return x.stats }

// MayContain reports whether a shape may contain p: false means that none does. It is
// the first sieve of Match alone, a few nanoseconds.
func (x *Index) MayContain(p Point) bool { return x.near.has(p) }

// Match appends to dst the positions of the shapes that contain p, ascending, and
// returns the grown slice. Does not allocate when dst has room.
func (x *Index) Match(dst []int32, p Point) []int32 {
	if !x.near.has(p) {
		return dst
	}
	v := sphereVec(p)
	base := CellAt(p, BaseResolution)
	if base == 0 {
		return dst
	}
	at := ellipsoidECEF(v)
	start := len(dst)
	for _, res := range x.resolutions {
		for _, e := range x.table.entries(parentOf(base, int(res))) {
			i := e >> 1
			d := &x.discs[i]
			if d.contains(at) || e&1 == 1 || d.limitSq < 0 && x.shapes[i].area.contains(p) {
				dst = append(dst, int32(i))
			}
		}
	}
	if len(x.resolutions) > 1 {
		sortTail(dst[start:])
	}
	return dst
}

// Candidates appends to dst the positions of the shapes whose cover holds the cell of
// p, ascending and distinct: those that Match would test. It does not use the first
// sieve. Does not allocate when dst has room.
func (x *Index) Candidates(dst []int32, p Point) []int32 {
	base := CellAt(p, BaseResolution)
	if base == 0 {
		return dst
	}
	start := len(dst)
	for _, res := range x.resolutions {
		for _, e := range x.table.entries(parentOf(base, int(res))) {
			dst = append(dst, int32(e>>1))
		}
	}
	sortTail(dst[start:])
	return dst
}

// sortTail sorts what was appended: a few ascending runs, one for each resolution.
func sortTail(s []int32) {
	if len(s) > 32 {
		slices.Sort(s)
		return
	}
	for i := 1; i < len(s); i++ {
		for j := i; j > 0 && s[j] < s[j-1]; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
}
