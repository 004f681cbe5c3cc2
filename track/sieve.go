package track

import "math"

// sieve tells positions and paths that are near a fence of nearby from all others in some 20 instructions: a bit for each
// patch of 1/128 degree (868 m north to south) that such a fence may reach. 64 by 64 patches are a block. Thanks to it only pings
// about those fences pay for them: all others stay usual.
type sieve struct {
	rows [blockRows]*[blockCols]*block // nil where nothing is
	all  bool                          // nothing is clear: there is a fence over more than sieveMaxBlocks
}

type block [64]uint64

const (
	patchE7   = degE7 / 128 // 78,125: without a remainder, so that a patch is found by integers
	patchCols = 360 * 128
	patchRows = 180*128 + 1 // the last is the north pole alone
	blockCols = patchCols / 64
	blockRows = patchRows/64 + 1
	// A path over more patches is not asked about but near: 14 km from south to north, and from west to east what keeps its bow
	// far below gridSafetyDeg, 28 m at 50 degrees.
	sievePathRows = 16
	sievePathCols = 63
	// Of half a degree each: 32 by 32 degrees. Filling the Earth would take each tracker 0.2 s.
	sieveMaxBlocks = 4096
)

// filled is the block that fences cover entirely.
var filled = func() (b block) {
	for i := range b {
		b[i] = ^uint64(0)
	}
	return b
}()

// mark marks a box and what is within reachM metres of it, or gridSafetyDeg.
func (s *sieve) mark(b box, reachM float64) {
	b = b.grow(reachM)
	patch := func(deg float64) int { return int(math.Floor(deg * 128)) }
	r0 := max(patch(b.south-gridSafetyDeg+90), 0)
	r1 := min(patch(b.north+gridSafetyDeg+90), patchRows-1)
	c0, c1 := patch(b.west-gridSafetyDeg+180), patch(b.east+gridSafetyDeg+180)
	if b.around() || c1-c0 >= patchCols {
		s.markSpan(r0, r1, 0, patchCols-1)
		return
	}
	n := c1 - c0
	c0 = (c0%patchCols + patchCols) % patchCols
	if c1 = c0 + n; c1 < patchCols {
		s.markSpan(r0, r1, c0, c1)
		return
	}
	s.markSpan(r0, r1, c0, patchCols-1)
	s.markSpan(r0, r1, 0, c1-patchCols)
}

func (s *sieve) markSpan(r0, r1, c0, c1 int) {
	if s.all = s.all || (r1>>6-r0>>6+1)*(c1>>6-c0>>6+1) > sieveMaxBlocks; s.all {
		s.rows = [blockRows]*[blockCols]*block{}
		return
	}
	for row := r0 >> 6; row <= r1>>6; row++ {
		if s.rows[row] == nil {
			s.rows[row] = new([blockCols]*block)
		}
		from, to := max(r0-row<<6, 0), min(r1-row<<6, 63)
		for col := c0 >> 6; col <= c1>>6; col++ {
			mask := bitsFrom(max(c0-col<<6, 0), min(c1-col<<6, 63))
			b := &s.rows[row][col]
			switch {
			case *b == &filled:
				continue
			case from == 0 && to == 63 && mask == ^uint64(0):
				*b = &filled
				continue
			case *b == nil:
				*b = new(block)
			}
			for r := from; r <= to; r++ {
				(*b)[r] |= mask
			}
		}
	}
}

// bitsFrom is the bits from one to another, both among them.
func bitsFrom(from, to int) uint64 { return ^uint64(0) << uint(from) & (^uint64(0) >> (63 - uint(to))) }

// spot is the patch of a position in 1e-7 degrees. It need not be a position: then it is some patch, or none.
func spot(lat, lng int32) (row, col int) {
	row, col = int(uint32(lat+90*degE7)/patchE7), int(uint32(lng+180*degE7)/patchE7)
	if col == patchCols {
		col = 0 // 180 is -180
	}
	return row, col
}

// block is the block of a patch, or nil.
func (s *sieve) block(row, col int) *block {
	if r := row >> 6; r < blockRows && s.rows[r] != nil && col < patchCols {
		return s.rows[r][col>>6]
	}
	return nil
}

// clear reports whether no fence may be on the path between two positions; false proves nothing.
func (s *sieve) clear(lat0, lng0, lat1, lng1 int32) bool {
	r0, c0 := spot(lat0, lng0)
	r1, c1 := spot(lat1, lng1)
	if r0 == r1 && c0 == c1 { // most
		b := s.block(r0, c0)
		return !s.all && (b == nil || b[r0&63]>>(uint(c0)&63)&1 == 0)
	}
	r0, r1, c0, c1 = min(r0, r1), max(r0, r1), min(c0, c1), max(c0, c1)
	if s.all || r1-r0 > sievePathRows || c1-c0 > sievePathCols {
		return false
	}
	for row := r0 &^ 63; row <= r1; row += 64 {
		for col := c0 &^ 63; col <= c1; col += 64 {
			b := s.block(row, col)
			if b == nil {
				continue
			}
			mask := bitsFrom(max(c0-col, 0), min(c1-col, 63))
			for r := max(r0, row); r <= min(r1, row+63); r++ {
				if b[r&63]&mask != 0 {
					return false
				}
			}
		}
	}
	return true
}
