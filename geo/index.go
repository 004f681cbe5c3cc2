package geo

import (
	"math"
	"runtime"
	"slices"
)

// Index answers which of many shapes contain a point. It is immutable and safe for
// concurrent use. Its answer is that of asking every shape: Match(p) lists exactly
// the shapes whose Contains(p) is true.
//
// Small shapes, such as fences of some hundred metres, are found by the patch of
// longitude and latitude that the point is in: most points are in one that nothing reaches.
// Large ones are found by their covers, in a table of H3 cells, which a bit map keeps
// points away from that are near none of them. The exact test alone decides.
type Index struct {
	patches     patchMap
	flats       []flatDisc
	shapes      []*Shape
	wide        nearMap // where large shapes are
	table       cellTable
	resolutions []uint8 // of the covers in the table, ascending; none without large shapes
	stats       IndexStats
}

// IndexStats describes an Index.
type IndexStats struct {
	Shapes        int                    // shapes given
	Small         int                    // of these, found by patches
	Patches       int                    // patches that small shapes reach
	Cells         int                    // distinct cells in the table
	Postings      int                    // pairs of cell and shape
	FullPostings  int                    // of these, cells wholly inside the shape
	Bytes         int                    // memory of the index, without the shapes themselves
	PerResolution [MaxResolution + 1]int // postings by resolution
}

// NewIndex builds an index over shapes; results are positions in this slice, which is
// copied, while the shapes are shared. An empty Shape or a nil is never matched.
// Takes about 0.5 us for a circle of 200 m and 100 bytes.
func NewIndex(shapes []*Shape) *Index {
	x := &Index{
		flats:  make([]flatDisc, len(shapes)),
		shapes: slices.Clone(shapes),
	}
	x.stats.Shapes = len(shapes)
	small := make([]uint64, 0, 5*len(shapes))
	var large []posting
	var cells []CoverCell
	for i, s := range shapes {
		letOthersRun(i)
		x.flats[i] = newFlat(s)
		if s == nil || !s.IsCircle() && s.area == nil {
			continue
		}
		var ok bool
		if small, ok = addPatches(small, i, s, &x.flats[i]); ok {
			x.stats.Small++
			continue
		}
		cells = appendCover(cells[:0], s)
		for _, c := range cells {
			e := uint32(i) << 1
			if c.Full {
				e |= 1
				x.stats.FullPostings++
			}
			large = append(large, posting{c.Cell, e})
			x.stats.PerResolution[c.Cell.Resolution()]++
		}
		x.wide.markShape(s, cells)
	}
	x.patches = newPatchMap(small)
	x.stats.Patches = len(x.patches.refs)
	x.stats.Postings = len(large)
	x.table, x.stats.Cells = newCellTable(large)
	for res, n := range x.stats.PerResolution {
		if n > 0 {
			x.resolutions = append(x.resolutions, uint8(res))
		}
	}
	x.stats.Bytes = x.patches.bytes() + x.wide.bytes() + x.table.bytes() + len(x.flats)*32 + len(x.shapes)*8
	return x
}

// letOthersRun is called for each step of the loops that build an index. Every thousand or so, 0.1 ms, it offers the processor to
// whatever waits for one, so that questions go on undisturbed meanwhile.
func letOthersRun(i int) {
	if i&1023 == 1023 {
		runtime.Gosched()
	}
}

// Stats describes the index.
func (x *Index) Stats() IndexStats { return x.stats }

// MayContain reports whether a shape may contain p: false means that none does. It is
// the first sieve of Match alone, a few nanoseconds.
func (x *Index) MayContain(p Point) bool {
	p, ok := p.usual()
	return ok && (x.patches.find(p.Lat, p.Lng) != 0 || x.wide.has(p))
}

// usual is p with its longitude in [-180, 180]; not ok where no shape can be.
func (p Point) usual() (Point, bool) {
	if plain(p) {
		return p, true
	}
	if !(math.Abs(p.Lat) <= 90) || p.Lng-p.Lng != 0 {
		return p, false
	}
	p.Lng = math.Remainder(p.Lng, 360)
	return p, true
}

// Match appends to dst the positions of the shapes that contain p, ascending, and
// returns the grown slice. Does not allocate when dst has room.
func (x *Index) Match(dst []int32, p Point) []int32 {
	if plain(p) {
		ref := x.patches.find(p.Lat, p.Lng)
		if ref == 0 && len(x.resolutions) == 0 {
			return dst // most points
		}
		return x.matchRef(dst, p, p, ref)
	}
	if q, ok := p.usual(); ok {
		return x.matchRef(dst, p, q, x.patches.find(q.Lat, q.Lng))
	}
	return dst
}

// matchRef is Match for a point whose patch is found already. q is p.usual().
func (x *Index) matchRef(dst []int32, p, q Point, ref uint32) []int32 {
	start := len(dst)
	switch {
	case ref == 0:
	case ref < refList:
		if i := ref - 1; x.contains(i, p, q) {
			dst = append(dst, int32(i))
		}
	default:
		for _, i := range x.patches.list(ref) {
			if x.contains(i, p, q) {
				dst = append(dst, int32(i))
			}
		}
	}
	if len(x.resolutions) == 0 || !x.wide.has(q) {
		return dst
	}
	return x.matchWide(dst, start, p)
}

// contains is the exact answer for shape i, from the flat where that suffices.
func (x *Index) contains(i uint32, p, q Point) bool {
	f := &x.flats[i]
	d := f.distSq(q.Lat, q.Lng)
	if d > float64(f.outSq) {
		return false
	}
	return d < float64(f.inSq) || x.shapes[i].Contains(p)
}

// matchWide adds the large shapes to a result that begins at start.
func (x *Index) matchWide(dst []int32, start int, p Point) []int32 {
	v := sphereVec(p)
	base := CellAt(p, BaseResolution)
	if base == 0 {
		return dst
	}
	at := ellipsoidECEF(v)
	have := len(dst)
	for _, res := range x.resolutions {
		for _, e := range x.table.entries(parentOf(base, int(res))) {
			s := x.shapes[e>>1]
			if e&1 == 1 || s.area == nil && s.disc.contains(at) || s.area != nil && s.area.contains(p) {
				dst = append(dst, int32(e>>1))
			}
		}
	}
	if len(dst) > have && len(dst)-start > 1 {
		sortTail(dst[start:])
	}
	return dst
}

// Candidates appends to dst the positions of the shapes that the exact test decides
// about for p, ascending and distinct: those whose patches or whose cover hold p. It
// is a superset of Match. Does not allocate when dst has room.
func (x *Index) Candidates(dst []int32, p Point) []int32 {
	q, ok := p.usual()
	if !ok {
		return dst
	}
	start := len(dst)
	switch ref := x.patches.find(q.Lat, q.Lng); {
	case ref == 0:
	case ref < refList:
		dst = append(dst, int32(ref-1))
	default:
		for _, i := range x.patches.list(ref) {
			dst = append(dst, int32(i))
		}
	}
	if base := CellAt(p, BaseResolution); base != 0 {
		for _, res := range x.resolutions {
			for _, e := range x.table.entries(parentOf(base, int(res))) {
				dst = append(dst, int32(e>>1))
			}
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
