package geo

import (
	"math"
	"slices"
)

// The sphere is cut into tiles of latitude and longitude, each round a pair of the
// directions of sinTable, so that what finds the sine finds the tile: 0.7 degrees.
//
// A tile that lies within one face and one base cell, as eight in ten do, names this pair,
// a spot. For it the lattice is laid round the base cell's own centre and turned as the
// base cell is: the digits come out as they have to be, and all of a cell that is not
// digits is known, which spares CellAt a quarter of its instructions. The other tiles name
// the faces that reach into them: two along an edge, five at a corner.
const (
	tileBits   = 9
	sinHalf    = sinCount / 2
	tileRad    = sinStep
	maxSpots   = 512    // more than there are
	spotMargin = 0.6077 // see spotOf

	// spotResolution is the coarsest for which a spot is right. Its tables are for lattice
	// points of that resolution.
	spotResolution = 3
)

// tiles holds a spot, or maxSpots and the number of a list in faceLists, by the low bits of
// the rows of latitude and of the columns of longitude.
var (
	tiles      [1 << (2 * tileBits)]uint16
	faceLists  [][]uint8
	spotFrames [MaxResolution + 1][maxSpots]spotFrame
)

// spot is a base cell on a face: its place in baseCells and the turn of its digits, which
// for pentagons differs between their sectors.
type spot struct{ face, place, turn uint8 }

// spotFrame is a faceFrame for one spot and resolution: P·v / C·v is p - 1/2 of
// roundLattice, from the centre of the base cell and turned as it is, R·v / C·v is
// r - 1/2.
type spotFrame struct {
	C, P, R vec
	cell    Cell  // the base cell's, with all digits that the resolution uses zero
	round   int32 // 2 and three times latticeShift: makes sums positive and divisions by 3 floors
	unused  uint8 // bits after the last digit
}

// buildTiles needs the tables of cellat.go.
func buildTiles() {
	b := tileBuilder{spots: map[spot]uint16{}}
	const block = 16
	for row := -sinHalf / 2; row <= sinHalf/2; row += block {
		for col := -sinHalf; col < sinHalf; col += block {
			b.fill(row, col, block)
		}
	}
}

type tileBuilder struct {
	spots map[spot]uint16
}

// fill sets the tiles of a square block: all at once if they are of one spot, else by its
// quarters.
func (b *tileBuilder) fill(row, col, size int) {
	if row > sinHalf/2 {
		return // beyond the pole
	}
	at := float64(size-1) / 2
	lat, lng := (float64(row)+at)*tileRad, (float64(col)+at)*tileRad
	sinLat, cosLat := math.Sincos(lat)
	// From the centre to beyond a corner: the tile is widest on the side of the equator.
	side := tileRad / 2 * float64(size)
	reach := side * math.Hypot(1, math.Cos(max(0, math.Abs(lat)-side))) * 1.01
	sinLng, cosLng := math.Sincos(lng)
	v := vec{cosLng * cosLat, sinLng * cosLat, sinLat}
	f := nearestFace(v)
	onFace := faceClearance(v, f) > reach
	value, found := uint16(0), false
	if onFace {
		var sp spot
		if sp, found = spotOf(f, v, reach); found {
			value = b.number(sp)
		}
	}
	if !found && size > 1 {
		half := size / 2
		b.fill(row, col, half)
		b.fill(row, col+half, half)
		b.fill(row+half, col, half)
		b.fill(row+half, col+half, half)
		return
	}
	if !found {
		value = maxSpots + listOf(v, f, onFace, reach)
	}
	for r := row; r < row+size; r++ {
		for c := col; c < col+size; c++ {
			tiles[uint(r)%sinCount<<tileBits|uint(c)%sinCount] = value
		}
	}
}

// spotOf is the spot of all points within reach of v, which are on face f, at resolutions
// from spotResolution on; not ok when there may be several, and when one of the points may
// be as near to the face's centre as nearCentre.
//
// A cell's parent is the one whose centre is nearest to its own, at most 1/√7 of the
// parents' distance away. So what a cell of spotResolution holds is nearer to its centre
// than spotMargin distances: the sum of 7^(-k/2) from k = 1 on.
func spotOf(f int, v vec, reach float64) (s spot, ok bool) {
	fr := &faceFrames[f]
	off := math.Acos(min(1, v.dot(fr.C)))
	if off < reach+0.0011 || off+reach > 0.8 { // cos 0.0011 is less than nearCentre
		return s, false
	}
	cos := math.Cos(off + reach) // the projection stretches by at most 1/cos²
	far := reach/(cos*cos)*latticeScale[spotResolution] + spotMargin
	if far > 3 {
		return s, false
	}
	k := latticeScale[spotResolution] / v.dot(fr.C)
	x, y := v.dot(fr.A[spotResolution&1])*k, v.dot(fr.B[spotResolution&1])*k
	a0, b0 := roundLattice(2*x-y, 2*y-x)
	steps := int32(far*2/math.Sqrt(3)) + 1
	found := false
	for da := -steps; da <= steps; da++ {
		for db := -steps; db <= steps; db++ {
			dx, dy := float64(a0+da)-x, float64(b0+db)-y
			if dx*dx-dx*dy+dy*dy > far*far {
				continue
			}
			one, ok := spotAt(f, a0+da, b0+db)
			if !ok || found && one != s {
				return s, false
			}
			s, found = one, true
		}
	}
	return s, found
}

// spotAt is the spot of a lattice point of spotResolution, which what is below it has too.
func spotAt(f int, a, b int32) (s spot, ok bool) {
	ua, ub := uint32(a+topReach), uint32(b+topReach)
	if ua|ub >= topSize {
		return s, false
	}
	top := topSteps[spotResolution&3][ua*topSize+ub]
	s.face, s.place = uint8(f), uint8(top>>9)
	if int(s.place) >= len(baseCells[f]) {
		return s, false
	}
	c := baseCells[f][s.place]
	s.turn = c.turn
	if c.turn == turnByLeading {
		digits := uint64(top & topDigits)
		if digits == 0 {
			return s, false // the first digit that is not zero is still to come
		}
		s.turn = pentagonTurn(f, uint32(s.place), digits)
	}
	return s, c.base != noBase && s.turn != noBase
}

// number is a spot's number, its frames made if it is new.
func (b *tileBuilder) number(s spot) uint16 {
	n, ok := b.spots[s]
	if ok {
		return n
	}
	n = uint16(len(b.spots))
	if n >= maxSpots {
		panic("geo: more spots than there can be")
	}
	b.spots[s] = n
	for res := spotResolution; res <= MaxResolution; res++ {
		spotFrames[res][n] = newSpotFrame(s, res)
	}
	return n
}

func newSpotFrame(s spot, res int) spotFrame {
	fr := &faceFrames[s.face]
	k := latticeScale[res]
	p, r := fr.P[res&1].mul(k), fr.R[res&1].mul(k)
	// The base cell's centre in the plane, and where it is in the lattice of res.
	center := fr.latticePoint(int32(s.place/5)-2, int32(s.place%5)-2, 0)
	p0, r0 := math.Round(p.dot(center)/center.dot(fr.C)), math.Round(r.dot(center)/center.dot(fr.C))
	p, r = p.sub(fr.C.mul(p0)), r.sub(fr.C.mul(r0))
	for range s.turn { // 60 degrees: a + b·w times 1 + w
		p, r = r.mul(-1), p.add(r)
	}
	half := fr.C.mul(0.5)
	return spotFrame{
		C: fr.C, P: p.sub(half), R: r.sub(half),
		cell:   newCell(res, Cell(baseCells[s.face][s.place].base), 0),
		round:  2 + 3*latticeShift(res),
		unused: uint8(45 - 3*res),
	}
}

// listOf is the number of the list of faces that points within reach of v may be on: f
// alone when they are all on it.
func listOf(v vec, f int, onFace bool, reach float64) uint16 {
	var room [faceCount]uint8
	near := append(room[:0], uint8(f))
	if !onFace {
		// Within reach of v a face's centre comes nearer, and f's gets further, by at
		// most reach each.
		limit := math.Cos(math.Acos(min(1, v.dot(faceCenters[f]))) + 2*reach)
		near = near[:0]
		for g := range faceCenters {
			if v.dot(faceCenters[g]) >= limit {
				near = append(near, uint8(g))
			}
		}
	}
	n := slices.IndexFunc(faceLists, func(l []uint8) bool { return slices.Equal(l, near) })
	if n < 0 {
		n = len(faceLists)
		faceLists = append(faceLists, slices.Clone(near))
	}
	return uint16(n)
}
