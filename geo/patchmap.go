package geo

import (
	"math"
	"math/bits"
	"slices"
)

// patchMap finds the small shapes near a position without any trigonometry. It is
// both the sieve that turns most positions away and the table of candidates behind it.
//
// The patches are those of nearMap: 1/256 of a degree, 434 m north to south. 8 by 8 of them are
// a block, 8 by 8 blocks a tile of a quarter degree. A tile and a block each hold the
// set of their parts that have anything, in 64 bits, and where the first of these
// parts is; the others follow it, so that counting bits finds one of them. There are
// no keys, no empty slots and no probing:
//
//	dir[tile] ─▶ tile{some, first} ─▶ block{some, first} ─▶ ref ─▶ flat
//	   4 B             16 B                 16 B            4 B    32 B
//
// A fence of 200 m in Europe takes 4.3 refs. With 100,000 of them an index takes 106
// bytes for each, is built in 33 ms and asked in 24 ns (one point in a hundred inside),
// where a hash table by H3 cell behind a bit map took 346 bytes, 330 ms and 57 to 125 ns,
// and needed the sines of the position. Its plain twin, a map from patch to shapes, is
// in the tests.
//
// Batches have a sieve before that, so that nothing has to be decided for the usual point
// until its one word is there, asked for in advance (LookAhead): a bit for each 2 by 2 patches, 128 bytes a tile. It takes 35
// instructions a point from a batch and a quarter of its time (0.025 to 0.026 of the h3-go twin
// instead of 0.034 to 0.037 at 100,000 fences). A bit for each patch, 512 bytes a tile,
// takes 4 instructions less and as much time, one for 4 by 4 8 more. Asked for one point alone the
// sieve is slower than the tiles, which are an eighth of its size: 92 ns, not 77.
type patchMap struct {
	row0, col0   int // the corner of dir, in tiles
	rows, cols   int // of dir, in tiles: no more than the shapes need
	south, west  float64
	antimeridian bool     // dir begins at it: a longitude just below -180 is not seen to be unusual
	dir          []uint32 // the number of the tile << sieveBits; 0 where there is nothing
	sieve        []uint64 // sieveWords for each tile; those of tile 0 are empty
	tiles        []patchSet
	blocks       []patchSet
	refs         []uint32
	lists        []uint32 // the number of shapes, then the shapes, ascending
}

// patchSet is a tile or a block.
type patchSet struct {
	some  uint64
	first uint32
	_     uint32
}

// after is where part i is, given that it is in the set.
func (s *patchSet) after(i uint) uint32 {
	return s.first + uint32(bits.OnesCount64(s.some&(1<<(i&63)-1)))
}

func (s *patchSet) has(i uint) bool { return s.some>>(i&63)&1 == 1 }

const (
	sievePerDeg = patchesPerDeg / 2
	sieveSide   = 32 // bits along a tile: a word is two rows
	sieveBits   = 10 // for a number within a tile
	sieveWords  = sieveSide * sieveSide / 64
)

// sieveSpot numbers the bits of a tile.
func sieveSpot(row, col uint) uint32 { return uint32(row%sieveSide*sieveSide | col%sieveSide) }

// spots sets dst to the bits of the sieve for some positions: to one of tile 0, which is not set, where there is no tile. It reports
// false when one is not plain. A position so little south or west of dir that it rounds to its edge is taken for one inside:
// the exact test tells them apart.
func (m *patchMap) spots(dst *[batchSize]uint32, ps []Point) bool {
	if m.antimeridian && slices.ContainsFunc(ps, func(p Point) bool { return !plain(p) }) {
		return false
	}
	south, west, rows, cols, dir := m.south, m.west, uint(m.rows), uint(m.cols), m.dir
	for i := range ps {
		p := &ps[i]
		r, c := uint(int((p.Lat-south)*sievePerDeg)), uint(int((p.Lng-west)*sievePerDeg))
		tr, tc := r/sieveSide, c/sieveSide
		spot := uint32(0)
		if tr < rows && tc < cols {
			spot = dir[tr*cols+tc] | sieveSpot(r, c)
		} else if !(p.Lat < 90 && p.Lat >= -90 && p.Lng < 180 && p.Lng >= -180) {
			return false
		}
		dst[i&(batchSize-1)] = spot
	}
	return true
}

// maybe reports whether anything reaches a bit of the sieve.
func (m *patchMap) maybe(spot uint32) bool { return m.sieve[spot>>6]>>(spot&63)&1 != 0 }

// A ref is 0 for nothing, the position of the only shape plus 1, or refList and where
// the list starts.
const refList = 1 << 31

// Limits of what is a small shape: patches of its bounding box.
const (
	smallCircle  = 64
	smallPolygon = 16
)

// patchKey numbers patches so that those of a block, and blocks of a tile, are
// consecutive.
func patchKey(row, col int) uint32 {
	return uint32(row>>6*tileCols+col>>6)<<12 | uint32(row>>3&7)<<9 | uint32(col>>3&7)<<6 | uint32(row&7)<<3 | uint32(col&7)
}

// find is the ref of the patch of a position in the usual ranges.
func (m *patchMap) find(lat, lng float64) uint32 {
	row, col := patchRow(lat), patchCol(lng)
	r, c := uint(row>>6-m.row0), uint(col>>6-m.col0)
	if r >= uint(m.rows) || c >= uint(m.cols) {
		return 0
	}
	t := &m.tiles[m.dir[r*uint(m.cols)+c]>>sieveBits]
	i := uint(row>>3&7<<3 | col>>3&7)
	if !t.has(i) {
		return 0
	}
	b := &m.blocks[t.after(i)]
	if i = uint(row&7<<3 | col&7); !b.has(i) {
		return 0
	}
	return m.refs[b.after(i)]
}

// list is the shapes of a ref with refList.
func (m *patchMap) list(ref uint32) []uint32 {
	at := ref &^ refList
	return m.lists[at+1:][:m.lists[at]]
}

func (m *patchMap) bytes() int {
	return len(m.sieve)*8 + (len(m.tiles)+len(m.blocks))*16 + (len(m.dir)+len(m.refs)+len(m.lists))*4
}

// addPatches appends what puts shape i in the map, patchKey<<31 | i each, or reports
// that it is not small.
func addPatches(dst []uint64, i int, s *Shape, f *flatDisc) ([]uint64, bool) {
	if s.IsCircle() {
		r := patchRange(discBox(s.center, (s.radiusM+boundaryM)/minRadiusM))
		if r.count() > smallCircle {
			return dst, false
		}
		return r.add(dst, i, f), true
	}
	total := 0
	for _, p := range s.area.parts {
		if total += patchRange(p.box).count(); total > smallPolygon {
			return dst, false
		}
	}
	for _, p := range s.area.parts {
		dst = patchRange(p.box).add(dst, i, f)
	}
	return dst, true
}

// patchSpan is a box of patches. Columns from c0 to c1 run over the antimeridian when
// c0 > c1.
type patchSpan struct{ r0, r1, c0, c1 int }

const patchCols = 360 * patchesPerDeg

func patchRange(b box) patchSpan {
	b = b.grow(1e-7) // a centimetre, for rounding
	s := patchSpan{r0: patchRow(max(b.minY, -90)), r1: patchRow(min(b.maxY, 90)), c1: patchCols - 1}
	if b.maxX-b.minX < 359.9 {
		s.c0, s.c1 = patchCol(wrapLng(b.minX)), patchCol(wrapLng(b.maxX))
	}
	return s
}

func (s patchSpan) cols() int {
	if s.c1 < s.c0 {
		return s.c1 + patchCols - s.c0 + 1
	}
	return s.c1 - s.c0 + 1
}

func (s patchSpan) count() int { return (s.r1 - s.r0 + 1) * s.cols() }

// add appends the patches, without those that f can tell the shape does not reach.
func (s patchSpan) add(dst []uint64, i int, f *flatDisc) []uint64 {
	const side, rim = 1.0 / patchesPerDeg, 1e-7
	n := s.cols()
	for r := s.r0; r <= s.r1; r++ {
		south := float64(r)*side - 90
		lat := min(max(f.lat, south-rim), south+side+rim)
		for k := range n {
			c := s.c0 + k
			if c >= patchCols {
				c -= patchCols
			}
			west := float64(c)*side - 180
			lng := min(max(f.lng, west-rim), west+side+rim)
			if f.distSq(lat, lng) <= float64(f.outSq) { // always when f never decides
				dst = append(dst, uint64(patchKey(r, c))<<31|uint64(i))
			}
		}
	}
	return dst
}

// newPatchMap sorts and takes what it needs of all. Takes 0.2 us for a fence.
func newPatchMap(all []uint64) (m patchMap) {
	m.tiles, m.sieve = make([]patchSet, 1), make([]uint64, sieveWords)
	if len(all) == 0 {
		return m
	}
	all = sortPatches(all)
	lo, hi := [2]int{math.MaxInt, math.MaxInt}, [2]int{}
	var tiles, blocks, refs, listed int
	for i, e := range all {
		letOthersRun(i)
		key := e >> 31
		if i == 0 || all[i-1]>>43 != e>>43 {
			tiles++
			row, col := int(key>>12)/tileCols, int(key>>12)%tileCols
			lo[0], lo[1] = min(lo[0], row), min(lo[1], col)
			hi[0], hi[1] = max(hi[0], row), max(hi[1], col)
		}
		if i == 0 || all[i-1]>>37 != e>>37 {
			blocks++
		}
		switch {
		case i == 0 || all[i-1]>>31 != key:
			refs++
		case i == 1 || all[i-2]>>31 != key:
			listed += 3
		default:
			listed++
		}
	}
	m.row0, m.col0 = lo[0], lo[1]
	m.rows, m.cols = hi[0]-lo[0]+1, hi[1]-lo[1]+1
	m.south, m.west = float64(m.row0)*tileDeg-90, float64(m.col0)*tileDeg-180
	m.antimeridian = m.col0 == 0
	m.dir = make([]uint32, m.rows*m.cols)
	m.sieve = make([]uint64, (1+tiles)*sieveWords)
	m.tiles = make([]patchSet, 1, 1+tiles)
	m.blocks = make([]patchSet, 0, blocks)
	m.refs = make([]uint32, 0, refs)
	m.lists = make([]uint32, 0, listed)
	for i, n := 0, 0; i < len(all); n++ {
		letOthersRun(n)
		key := all[i] >> 31
		if i == 0 || all[i-1]>>43 != key>>12 {
			row, col := int(key>>12)/tileCols-m.row0, int(key>>12)%tileCols-m.col0
			m.dir[row*m.cols+col] = uint32(len(m.tiles)) << sieveBits
			m.tiles = append(m.tiles, patchSet{first: uint32(len(m.blocks))})
		}
		if i == 0 || all[i-1]>>37 != key>>6 {
			m.tiles[len(m.tiles)-1].some |= 1 << (key >> 6 & 63)
			m.blocks = append(m.blocks, patchSet{first: uint32(len(m.refs))})
		}
		m.blocks[len(m.blocks)-1].some |= 1 << (key & 63)
		spot := uint32(len(m.tiles)-1)<<sieveBits | sieveSpot(uint(key>>9&7<<3|key>>3&7)/2, uint(key>>6&7<<3|key&7)/2)
		m.sieve[spot>>6] |= 1 << (spot & 63)
		end := i + 1
		for end < len(all) && all[end]>>31 == key {
			end++
		}
		m.refs = append(m.refs, m.addRef(all[i:end]))
		i = end
	}
	return m
}

// addRef is the ref of one patch. A polygon with several parts may be there twice.
func (m *patchMap) addRef(same []uint64) uint32 {
	const shape = 1<<31 - 1
	if same[0] == same[len(same)-1] {
		return uint32(same[0]&shape) + 1
	}
	at := len(m.lists)
	m.lists = append(m.lists, 0)
	for i, e := range same {
		if i == 0 || e != same[i-1] {
			m.lists = append(m.lists, uint32(e&shape))
		}
	}
	m.lists[at] = uint32(len(m.lists) - at - 1)
	return refList | uint32(at)
}

// sortPatches sorts by key; shapes of one key keep their order, which is ascending.
// Three passes of a radix sort over 11 bits each: 80 ms for four million, where
// slices.Sort takes 390.
func sortPatches(all []uint64) []uint64 {
	const digit, low = 11, 31
	other := make([]uint64, len(all))
	for shift := low; shift < low+3*digit; shift += digit {
		var starts [1 << digit]int
		for i, e := range all {
			letOthersRun(i)
			starts[e>>shift&(1<<digit-1)]++
		}
		at := 0
		for i, n := range starts {
			starts[i] = at
			at += n
		}
		for i, e := range all {
			letOthersRun(i)
			d := e >> shift & (1<<digit - 1)
			other[starts[d]] = e
			starts[d]++
		}
		all, other = other, all
	}
	return all
}
