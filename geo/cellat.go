package geo

import (
	"math"
	"math/bits"
)

// CellAt is the H3 cell of resolution res that holds p; the zero Cell when p is not
// finite or res is not in 0..15. It equals the H3 library's latLngToCell (see the
// tests for how that was tried) in pure Go, without allocation, at about a tenth of
// its cost. As in H3, latitudes and longitudes outside the usual ranges wrap round.
//
// H3 reads p as a position on a sphere; WGS84 coordinates go in unchanged.
func CellAt(p Point, res int) Cell {
	if uint(res) > MaxResolution {
		return 0
	}
	return cellAt(p, sphereVec(p), res)
}

// cellAt is CellAt for a caller that has sphereVec(p) already; 0 <= res <= 15.
func cellAt(p Point, v vec, res int) Cell {
	if v.x-v.x != 0 || v.z-v.z != 0 { // NaN, which is what Sincos makes of infinities too
		return 0
	}
	f := faceOf(p, v)
	a, b := latticeAt(f, v, res)
	return cellOnFace(f, a, b, res)
}

// faceOf is nearestFace(v), where v is sphereVec(p).
func faceOf(p Point, v vec) int {
	row := int((p.Lat + 90) * (1.0 / faceTileDeg))
	col := int((p.Lng + 180) * (1.0 / faceTileDeg))
	if uint(row) < faceTileRows && uint(col) < faceTileCols && p.Lat >= -90 && p.Lng >= -180 {
		if f := faceTiles[row*faceTileCols+col]; f != faceMixed {
			return int(f)
		}
	}
	return nearestFace(v) // a tile that faces share, or a coordinate out of range
}

// latticeAt is the lattice point of face f nearest to v at resolution res.
func latticeAt(f int, v vec, res int) (a, b int32) {
	fr := &faceFrames[f]
	cos := v.dot(fr.C)
	k := latticeScale[res] / cos
	x := v.dot(fr.A[res&1]) * k
	y := v.dot(fr.B[res&1]) * k
	if cos > 1-5e-7 {
		k = centreFactor(v, fr.C, x, y, latticeScale[res])
		x *= k
		y *= k
	}
	return roundLattice(x, y)
}

// centreFactor makes up for a loss of precision in the H3 library, so that we agree
// with it: it takes the angle r between v and the face's centre as acos(1 - d²/2),
// and within metres of the centre that is off by centimetres, which moves points
// between cells of the finest resolutions. The factor is the library's tan(r)
// divided by the true one.
func centreFactor(v, c vec, x, y, scale float64) float64 {
	d := v.sub(c)
	cos := 1 - d.dot(d)*0.5
	tan := math.Sqrt((1-cos)*(1+cos)) / cos
	have := math.Sqrt(x*x - x*y + y*y)
	if have == 0 || tan < 1e-16 {
		return 0
	}
	return tan * scale / have
}

// roundLattice finds the nearest point of the triangular lattice. x, -y and y-x
// are the coordinates along three axes that sum to zero; each is rounded and the
// one that moved furthest is put right by the other two.
func roundLattice(x, y float64) (a, b int32) {
	const big = 1 << 26 // more than any coordinate: makes truncation a floor
	a = int32(int64(x+(big+0.5)) - big)
	b = int32(int64(y+(big+0.5)) - big)
	z := x - y
	c := int32(int64(z+(big+0.5)) - big)
	if a == b+c {
		return a, b
	}
	da := math.Abs(float64(a) - x)
	db := math.Abs(float64(b) - y)
	dc := math.Abs(float64(c) - z)
	switch {
	case da >= db && da >= dc:
		a = b + c
	case db >= dc:
		b = a - c
	}
	return a, b
}

// Digits. With w a third of a turn, a lattice point is the number a + b·w. One
// resolution up divides by 3+w (even resolutions) or 2-w (odd ones), numbers of
// norm 7 whose seven remainders 0, ±1, ±w, ±(1+w) are the H3 digits. Two steps up
// divide by (3+w)(2-w) = 7 and four by 49, so the digits of four resolutions and
// the carries to the next lattice point follow from a and b modulo 49.

const (
	quad      = 49
	quadSize  = quad * quad
	quadShift = quad * (1 << 21) // makes coordinates positive, keeps them modulo 49
)

// quadStep is what one division by 49 leaves to add to the quotients.
type quadStep struct{ a, b int8 }

var (
	quadSteps  [2][quadSize]quadStep  // by parity of the finest resolution of the four
	quadDigits [2][6][quadSize]uint16 // four digits, turned by n·60 degrees
	// digitTurned[n][d] is digit d turned n·60 degrees counter-clockwise.
	digitTurned = buildDigitTurned()
	// digitOf[parity][(a + m·b) mod 7] is the digit of one step, m from digitMul.
	digitOf = [2][7]uint8{{0, 4, 1, 5, 2, 6, 3}, {0, 4, 2, 6, 1, 5, 3}}
	// digitA and digitB are the lattice offset of each digit.
	digitA = [7]int32{0, -1, 0, -1, 1, 0, 1}
	digitB = [7]int32{0, -1, 1, 0, 0, -1, 1}
)

func buildDigitTurned() (t [6][8]uint8) {
	ring := [6]uint8{1, 5, 4, 6, 2, 3} // counter-clockwise
	for n := range t {
		t[n][7] = 7
		for i, d := range ring {
			t[n][d] = ring[(i+n)%6]
		}
	}
	return t
}

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
			var digits [4]uint8
			for k := range digits {
				a, b, digits[k] = stepUp(a, b, (parity+k)&1)
			}
			quadSteps[parity][i] = quadStep{int8(a), int8(b)}
			for turn := range 6 {
				var packed uint16
				for k, d := range digits {
					packed |= uint16(digitTurned[turn][d]) << (3 * k)
				}
				quadDigits[parity][turn][i] = packed
			}
		}
	}
}

// cellOnFace is the cell at lattice point (a, b) of face f. The point must lie on
// the face, or beyond its edge by less than a cell.
func cellOnFace(f int, a, b int32, res int) Cell {
	var rem [3]uint16 // remainders of the divisions by 49, finest first
	n := res >> 2
	parity := res & 1
	for i := 0; i < n; i++ {
		ua, ub := uint32(a+quadShift), uint32(b+quadShift)
		qa, qb := ua/quad, ub/quad
		r := uint16((ua-qa*quad)*quad + ub - qb*quad)
		rem[i] = r
		st := quadSteps[parity][r]
		a = int32(qa) - quadShift/quad + int32(st.a)
		b = int32(qb) - quadShift/quad + int32(st.b)
	}
	var top uint64 // digits of resolutions 1 to res&3, not yet turned
	for r := res & 3; r > 0; r-- {
		var d uint8
		a, b, d = stepUp(a, b, r&1)
		top |= uint64(d) << (3 * (res&3 - r))
	}
	if uint32(a+2) > 4 || uint32(b+2) > 4 {
		return 0
	}
	at := &baseCells[f][(a+2)*5+b+2]
	turn := at.turn
	if turn == turnByLeading {
		turn = pentagonTurn(f, a, b, top, &rem, res)
	}
	var digits uint64
	for i := n - 1; i >= 0; i-- {
		digits |= uint64(quadDigits[parity][turn][rem[i]]) << (12 * i)
	}
	for r := 0; r < res&3; r++ {
		digits |= uint64(digitTurned[turn][top>>(3*r)&7]) << (12*n + 3*r)
	}
	unused := 45 - 3*uint(res)
	return cellMode | Cell(res)<<cellResShift | Cell(at.base)<<cellBaseShift |
		Cell(digits)<<unused | (1<<unused - 1)
}

// turnByLeading marks the pentagons in baseCells. One of a pentagon's six sectors
// is missing, so how far the digits turn depends on the sector, which is the first
// digit that is not zero.
const turnByLeading = 0xff

func pentagonTurn(f int, a, b int32, top uint64, rem *[3]uint16, res int) uint8 {
	raw := top
	for i := res>>2 - 1; i >= 0; i-- {
		raw = raw<<12 | uint64(quadDigits[res&1][0][rem[i]])
	}
	if raw == 0 {
		return 0
	}
	leading := raw >> (uint(bits.Len64(raw)-1) / 3 * 3) & 7
	return pentagonTurns[f][cornerOf(a, b)][leading]
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
