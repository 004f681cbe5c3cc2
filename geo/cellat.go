package geo

import (
	"math"
	"math/bits"
)

// CellAt is the H3 cell of resolution res that holds p; the zero Cell when p is not
// finite or res is not in 0..15. It equals the H3 library's latLngToCell (see the
// tests for how that was tried) in pure Go and without allocation, in a tenth of
// its instructions. As in H3, latitudes and longitudes outside the usual ranges wrap
// round.
//
// H3 reads p as a position on a sphere; WGS84 coordinates go in unchanged.
func CellAt(p Point, res int) Cell {
	if uint(res) > MaxResolution {
		return 0
	}
	if !plain(p) {
		return cellAtAny(sphereVecAny(p), res)
	}
	return cellAt(p, sphereVecPlain(p), res)
}

// cellAt is CellAt for a caller that has v = sphereVec(p) already; p is plain and
// 0 <= res <= 15.
func cellAt(p Point, v vec, res int) Cell {
	f := int(faceTiles[faceTile(p)])
	if f >= faceCount {
		f = nearestOf(v, faceLists[f-faceCount])
	}
	fr := &cellFrames[res&15][f]
	cos := v.dot(fr.C)
	if cos > nearCentre {
		return cellAtAny(v, res)
	}
	k := 1 / cos
	q := nearestInt(v.dot(fr.Q)*k) + (2 + 3*quadShift) // see roundLattice
	ua := uint32(nearestInt(v.dot(fr.P)*k)+q) / 3
	ub := uint32(nearestInt(v.dot(fr.R)*k)+q) / 3
	return cellOnLattice(f, ua, ub, res)
}

// cellFrame is a faceFrame for one resolution: P·v / C·v is p - 1/2 of roundLattice,
// R·v / C·v is r - 1/2 and Q·v / C·v is p + r - 1/2. That a half is off already makes
// the rounding a floor.
type cellFrame struct{ C, P, R, Q vec }

var cellFrames = buildCellFrames()

func buildCellFrames() *[MaxResolution + 1][faceCount]cellFrame {
	t := new([MaxResolution + 1][faceCount]cellFrame)
	for res := range t {
		for f := range faceFrames {
			fr := &faceFrames[f]
			half, k := fr.C.mul(-0.5), latticeScale[res]
			p, r := fr.P[res&1].mul(k), fr.R[res&1].mul(k)
			t[res][f] = cellFrame{fr.C, p.add(half), r.add(half), p.add(r).add(half)}
		}
	}
	return t
}

// cellAtAny is cellAt for what is rare: odd coordinates and the centres of faces.
func cellAtAny(v vec, res int) Cell {
	if v.x-v.x != 0 || v.z-v.z != 0 { // NaN, which is what Sincos makes of infinities too
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
	ua, ub := roundLattice(v.dot(fr.P[res&1])*k, v.dot(fr.R[res&1])*k)
	return int32(ua - quadShift), int32(ub - quadShift)
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
// r = 2b - a, with w a third of a turn; both results have quadShift added. The borders
// between the cells of six neighbours are where p, r or p + r is a whole number, so
// the floors of the three say which cell it is, without a branch to mispredict, which
// rounding and repairing has (its plain twin in the tests). With the table of sines and
// the turning of all digits at once it halves CellAt's time: 0.19 of the H3 library's
// before, 0.09 now (BenchmarkCell in bench).
func roundLattice(p, r float64) (ua, ub uint32) {
	q := floorInt(p+r) + (2 + 3*quadShift) // positive, so that the divisions are cheap
	return uint32(floorInt(p)+q) / 3, uint32(floorInt(r)+q) / 3
}

// Digits. With w a third of a turn, a lattice point is the number a + b·w. One
// resolution up divides by 3+w (even resolutions) or 2-w (odd ones), numbers of
// norm 7 whose seven remainders 0, ±1, ±w, ±(1+w) are the H3 digits. Two steps up
// divide by (3+w)(2-w) = 7 and four by 49, so the digits of four resolutions and
// the carries to the next lattice point follow from a and b modulo 49. What is left
// at resolutions 1 to 3 is so few points that a table has them all.

const (
	quad      = 49
	quadSize  = quad * quad
	quadShift = quad * (1 << 21) // makes coordinates positive, keeps them modulo 49
	quadCarry = 8                // makes carries positive

	topReach = 64
	topSize  = 2 * topReach
	baseOdd  = 0x8000
)

// quadStep packs what four steps up come to: the four digits, 3 bits each, then in
// bytes what is left to add to the quotients of a and b by 49, plus quadCarry. A
// table of these is 10 kB: it fits beside the others in the first-level cache.
type quadStep uint32

var (
	quadSteps [2][quadSize]quadStep // by parity of the finest resolution of the four
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
		for i := range int32(quadSize) {
			a, b := i/quad, i%quad
			var digits uint32
			for k := range 4 {
				var d uint8
				a, b, d = stepUp(a, b, (parity+k)&1)
				digits |= uint32(d) << (3 * k)
			}
			quadSteps[parity][i] = quadStep(digits | uint32(a+quadCarry)<<12 | uint32(b+quadCarry)<<20)
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

// cellOnFace is the cell at lattice point (a, b) of face f. The point must lie on
// the face, or beyond its edge by less than a cell.
func cellOnFace(f int, a, b int32, res int) Cell {
	return cellOnLattice(f, uint32(a+quadShift), uint32(b+quadShift), res)
}

// cellOnLattice is cellOnFace for coordinates with quadShift added.
func cellOnLattice(f int, ua, ub uint32, res int) Cell {
	steps := &quadSteps[res&1]
	var digits uint64
	shift := uint(0)
	for n := res >> 2; n > 0; n-- {
		qa, qb := by49(ua), by49(ub)
		st := steps[ua*quad+ub-(qa*quad+qb)*quad]
		digits |= uint64(st&0xfff) << (shift & 63)
		shift += 12
		const back = quadShift - quadShift/quad - quadCarry
		ua = qa + uint32(st>>12&0xff) + back
		ub = qb + uint32(st>>20) + back
	}
	ua -= quadShift - topReach
	ub -= quadShift - topReach
	if ua|ub >= topSize {
		return 0
	}
	top := topSteps[res&3][ua*topSize+ub]
	digits |= uint64(top&0x1ff) << (shift & 63)
	base := baseTurns[f<<5|int(top>>9)]
	if base&baseOdd != 0 {
		return cellOnPentagon(f, int(top>>9), digits, res)
	}
	return newCell(res, Cell(base&0xff), turnDigits(digits, uint8(base>>8)))
}

// by49 is x / 49 for x < 2^28, in one multiplication; the compiler, which has to be
// right for all x, takes twice the instructions.
func by49(x uint32) uint32 { return uint32(uint64(x) * (1<<37/quad + 1) >> 37) }

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
