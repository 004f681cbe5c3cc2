package geo

import (
	"math"
	"math/bits"
)

// CellAt is the H3 cell of resolution res that holds p; the zero Cell when p is not
// finite or res is not in 0..15. It equals the H3 library's latLngToCell (see the
// tests for how that was tried) in pure Go and without allocation, in a twelfth of
// its instructions. As in H3, latitudes and longitudes outside the usual ranges wrap
// round.
//
// H3 reads p as a position on a sphere; WGS84 coordinates go in unchanged.
func CellAt(p Point, res int) Cell {
	if uint(res-spotResolution) > MaxResolution-spotResolution || !plain(p) {
		return cellAtAny(p, res)
	}
	row, dLat := direction(p.Lat * degree)
	col, dLng := direction(p.Lng * degree)
	spot := tiles[(row<<tileBits|col)%(1<<(2*tileBits))]
	sinLat, cosLat := sincosAt(row, dLat)
	sinLng, cosLng := sincosAt(col, dLng)
	v := vec{cosLng * cosLat, sinLng * cosLat, sinLat}
	if spot >= maxSpots {
		return cellAtMixed(v, int(spot-maxSpots), res)
	}
	f := &spotFrames[res&15][spot]
	k := 1 / v.dot(f.C)
	x, y := v.dot(f.P)*k, v.dot(f.R)*k // p - 1/2 and r - 1/2 of roundLattice: makes its floors roundings
	q := nearestInt(x+y+0.5) + f.round
	ua, ub := uint32(nearestInt(x)+q)/3, uint32(nearestInt(y)+q)/3
	steps, digits, shift := &quadSteps[res&1], uint64(0), uint(0)
	for n := res >> 2; n > 0; n-- {
		var d uint16
		ua, ub, d = quadUp(steps, ua, ub)
		digits |= uint64(d) << (shift & 63)
		shift += 12
	}
	top := topSteps[res&3][(ua*topSize+ub)&(topSize*topSize-1)]
	digits |= uint64(top&topDigits) << (shift & 63)
	return f.cell | Cell(digits)<<(f.unused&63)
}

// cellAtMixed is CellAt where a tile has more than one base cell: on one of several faces.
func cellAtMixed(v vec, list, res int) Cell {
	f := nearestOf(v, faceLists[list])
	a, b := latticeAt(f, v, res)
	return cellOnFace(f, a, b, res)
}

// cellAtAny is CellAt for what is rare.
func cellAtAny(p Point, res int) Cell {
	v := sphereVec(p)
	if uint(res) > MaxResolution || v.x-v.x != 0 || v.z-v.z != 0 { // NaN, which is what Sincos makes of infinities too
		return 0
	}
	f := nearestFace(v)
	a, b := latticeAt(f, v, res)
	return cellOnFace(f, a, b, res)
}

// nearCentre is the cosine beyond which centreFactor is told from 1.
const nearCentre = 1 - 5e-7

// latticeAt is the lattice point of face f nearest to v at resolution res.
func latticeAt(f int, v vec, res int) (a, b int32) {
	fr := &faceFrames[f]
	cos := v.dot(fr.C)
	k := latticeScale[res] / cos
	if cos > nearCentre {
		k *= centreFactor(v, fr, k, res)
	}
	return roundLattice(v.dot(fr.P[res&1])*k, v.dot(fr.R[res&1])*k)
}

// centreFactor makes up for a loss of precision in the H3 library, so that we agree
// with it: it takes the angle r between v and the face's centre as acos(1 - d²/2),
// and within metres of the centre that is off by centimetres, which moves points
// between cells of the finest resolutions. The factor is the library's tan(r)
// divided by the true one. k brings v into the plane.
func centreFactor(v vec, fr *faceFrame, k float64, res int) float64 {
	d := v.sub(fr.C)
	cos := 1 - d.dot(d)*0.5
	tan := math.Sqrt((1-cos)*(1+cos)) / cos
	x, y := v.dot(fr.A[res&1])*k, v.dot(fr.B[res&1])*k
	have := math.Sqrt(x*x - x*y + y*y)
	if have == 0 || tan < 1e-16 {
		return 0
	}
	return tan * latticeScale[res] / have
}

// roundMagic + x has the integer nearest to x in its low bits, for |x| < 2^31.
const roundMagic = 3 << 51

func nearestInt(x float64) int32 { return int32(uint32(math.Float64bits(x + roundMagic))) }
func floorInt(x float64) int32   { return nearestInt(x - 0.5) }

// roundLattice finds the lattice point nearest to a·1 + b·w, given p = 2a - b and
// r = 2b - a. The borders between the cells of six neighbours are where p, r or p + r is
// a whole number, so the floors of the three say which cell it is, without a branch to
// mispredict, which rounding and repairing has (its plain twin in the tests).
func roundLattice(p, r float64) (a, b int32) {
	const shift = 1 << 24 // makes the sums positive, so that the divisions are cheap
	q := floorInt(p+r) + (2 + 3*shift)
	return int32(uint32(floorInt(p)+q)/3) - shift, int32(uint32(floorInt(r)+q)/3) - shift
}

// Digits. With w a third of a turn, a lattice point is the number a + b·w. One
// resolution up divides by 3+w (even resolutions) or 2-w (odd ones), numbers of
// norm 7 whose seven remainders 0, ±1, ±w, ±(1+w) are the H3 digits. Two steps up
// divide by (3+w)(2-w) = 7 and four by 49, so the digits of four resolutions and
// the carries to the next lattice point follow from a and b modulo 49. What is left
// at resolutions 1 to 3 is so few points that a table has them all.

const (
	quad     = 49
	quadBits = 6 // quadUp has the remainders in codes of this many bits

	topReach  = 64
	topSize   = 2 * topReach
	topDigits = 1<<9 - 1
	baseOdd   = 0x8000
)

// quadStep is what four steps up come to: the four digits, 3 bits each, and what is left
// to add to the quotients of a and b by 49.
type quadStep struct {
	digits uint16
	a, b   int8
}

var (
	// quadSteps is by parity of the finest resolution of the four, then the codes of the
	// remainders of a and b. 16 kB, of which three quarters are asked: it fits beside the
	// others in the first-level cache.
	quadSteps [2][1 << (2 * quadBits)]quadStep
	// topSteps[n] goes from resolution n to 0: n digits, then the place in baseCells.
	// Indexed by a and b, both plus topReach, which is more than any at resolution 3.
	topSteps [4][topSize * topSize]uint16
	// baseTurns is baseCells by face·32 + place: the base cell, then the turn in bits
	// 8 to 10, or baseOdd for pentagons and what is not on the face.
	baseTurns [faceCount * 32]uint16

	// digitOf[parity][(a + m·b) mod 7] is the digit of one step, m from stepUp.
	digitOf = [2][7]uint8{{0, 4, 1, 5, 2, 6, 3}, {0, 4, 2, 6, 1, 5, 3}}
	// digitA and digitB are the lattice offset of each digit.
	digitA = [7]int32{0, -1, 0, -1, 1, 0, 1}
	digitB = [7]int32{0, -1, 1, 0, 0, -1, 1}
)

// stepUp is one resolution up from a lattice point of the given parity.
func stepUp(a, b int32, parity int) (pa, pb int32, digit uint8) {
	m := int32(4)
	if parity == 1 {
		m = 2
	}
	r := (a + m*b) % 7
	if r < 0 {
		r += 7
	}
	digit = digitOf[parity][r]
	a -= digitA[digit]
	b -= digitB[digit]
	if parity == 1 {
		return (3*a - b) / 7, (a + 2*b) / 7, digit
	}
	return (2*a + b) / 7, (3*b - a) / 7, digit
}

func init() {
	for parity := range 2 {
		for i := range int32(quad * quad) {
			a, b := i/quad, i%quad
			var digits uint32
			for k := range 4 {
				var d uint8
				a, b, d = stepUp(a, b, (parity+k)&1)
				digits |= uint32(d) << (3 * k)
			}
			_, at := by49(uint32(i / quad))
			_, bt := by49(uint32(i % quad))
			quadSteps[parity][at<<quadBits|bt] = quadStep{uint16(digits), int8(a), int8(b)}
		}
	}
	for res := range topSteps {
		fillTop(&topSteps[res], res)
	}
	for f := range baseCells {
		for at := range 32 {
			e := uint16(baseOdd)
			if at < len(baseCells[f]) {
				if c := baseCells[f][at]; c.base != noBase && c.turn != turnByLeading {
					e = uint16(c.base) | uint16(c.turn)<<8
				}
			}
			baseTurns[f*32+at] = e
		}
	}
	buildTiles()
}

func fillTop(t *[topSize * topSize]uint16, res int) {
	for i := range t {
		a, b := int32(i)/topSize-topReach, int32(i)%topSize-topReach
		var digits uint16
		for r := res; r > 0; r-- {
			var d uint8
			a, b, d = stepUp(a, b, r&1)
			digits |= uint16(d) << (3 * (res - r))
		}
		t[i] = digits | uint16(baseIndex(a, b))<<9
	}
}

// baseIndex is where a lattice point of resolution 0 is in baseCells; noBaseIndex
// when it is not on the face.
func baseIndex(a, b int32) uint32 {
	if uint32(a+2) > 4 || uint32(b+2) > 4 {
		return noBaseIndex
	}
	return uint32(a+2)*5 + uint32(b+2)
}

const noBaseIndex = 31

// latticeShift is what is added to coordinates of resolution res to make them positive: so
// many times 49 that after the quads topReach is left of it.
func latticeShift(res int) int32 {
	s := int32(topReach)
	for range res >> 2 {
		s *= quad
	}
	return s
}

// cellOnFace is the cell at lattice point (a, b) of face f. The point must lie on
// the face, or beyond its edge by less than a cell.
func cellOnFace(f int, a, b int32, res int) Cell {
	s := latticeShift(res)
	ua, ub := uint32(a+s), uint32(b+s)
	steps, digits, shift := &quadSteps[res&1], uint64(0), uint(0)
	for n := res >> 2; n > 0; n-- {
		var d uint16
		ua, ub, d = quadUp(steps, ua, ub)
		digits |= uint64(d) << (shift & 63)
		shift += 12
	}
	if ua|ub >= topSize {
		return 0
	}
	top := topSteps[res&3][ua*topSize+ub]
	digits |= uint64(top&topDigits) << (shift & 63)
	base := baseTurns[f<<5|int(top>>9)]
	if base&baseOdd != 0 {
		return cellOnPentagon(f, int(top>>9), digits, res)
	}
	return newCell(res, Cell(base&0xff), turnDigits(digits, uint8(base>>8)))
}

// quadUp is four resolutions up from a lattice point, which has latticeShift added.
func quadUp(steps *[1 << (2 * quadBits)]quadStep, ua, ub uint32) (pa, pb uint32, digits uint16) {
	pa, at := by49(ua)
	pb, bt := by49(ub)
	s := &steps[at<<quadBits|bt]
	return pa + uint32(s.a), pb + uint32(s.b), s.digits
}

// by49 is x / 49 for x < 2^28, in one multiplication, and a code for the remainder r: the
// first bits of the quotient's fraction, 64·r/49 rounded down, which tell all 49 apart.
func by49(x uint32) (quotient, code uint32) {
	const shift = 41
	t := uint64(x) * (1<<shift/quad + 1)
	return uint32(t >> shift), uint32(t>>(shift-quadBits)) & (1<<quadBits - 1)
}

// newCell puts a cell together from digits that are turned.
func newCell(res int, base Cell, digits uint64) Cell {
	unused := uint(45-3*res) & 63
	return cellMode | Cell(res)<<cellResShift | base<<cellBaseShift | Cell(digits)<<unused | (1<<unused - 1)
}

// cellOnPentagon is the rest of cellOnLattice at a base cell that is a pentagon.
func cellOnPentagon(f, at int, digits uint64, res int) Cell {
	if at >= len(baseCells[f]) || baseCells[f][at].base == noBase {
		return 0
	}
	return newCell(res, Cell(baseCells[f][at].base), turnDigits(digits, pentagonTurn(f, uint32(at), digits)))
}

// turnDigits turns every digit n·60 degrees counter-clockwise, n in 0..5. The bits of
// a digit stand for three directions 120 degrees apart, so that 120 degrees are a
// rotation of its bits and 180 degrees their complement, but for the digit 0. All
// digits are turned at once, in a dozen instructions; tables of turned digits, six for
// each parity, would be 58 kB.
func turnDigits(d uint64, n uint8) uint64 {
	const (
		ones  = 0o111_111_111_111_111
		sevns = 0o777_777_777_777_777
	)
	some := (d | d>>1 | d>>2) & ones
	d ^= (some<<3 - some) & -uint64(n&1) // no branch: neighbouring base cells differ in n
	by := uint(turnBits[n&7]) & 3        // the masks spare the checks for shifts beyond 63
	low := uint64(ones)<<(by&63) - ones  // the lowest bits of each digit
	return d>>((3-by)&63)&low | d<<(by&63)&(sevns&^low)
}

// turnBits is by how much a turn rotates the bits of a digit to the left.
var turnBits = [8]uint8{0, 1, 2, 0, 1, 2}

// turnByLeading marks the pentagons in baseCells. One of a pentagon's six sectors
// is missing, so how far the digits turn depends on the sector, which is the first
// digit that is not zero.
const turnByLeading = 0xff

// pentagonTurn is the turn at a pentagon, which is at place at in baseCells, for
// digits that are not turned yet.
func pentagonTurn(f int, at uint32, digits uint64) uint8 {
	if digits == 0 {
		return 0
	}
	leading := digits >> (uint(bits.Len64(digits)-1) / 3 * 3) & 7
	return pentagonTurns[f][cornerOf(int32(at/5)-2, int32(at%5)-2)][leading]
}

// cornerOf numbers the corners of a face, where the pentagons sit: at two steps
// from the centre along the three axes.
func cornerOf(a, b int32) int {
	switch {
	case a == 2 && b == 0:
		return 0
	case a == 0:
		return 1
	}
	return 2
}
