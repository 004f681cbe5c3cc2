package geo

import (
	"errors"
	"fmt"
	"strconv"
)

// Cell is an H3 cell index: mode 1, resolution 0 (about 1,100 km across the
// edge) to 15 (half a metre), base cell and one 3-bit digit per resolution. The
// zero Cell is no cell. Bit layout: H3 documentation, "H3 index".
type Cell uint64

// MaxResolution is the finest H3 resolution.
const MaxResolution = 15

// ErrCell is returned for text that is not a valid H3 cell.
var ErrCell = errors.New("geo: not an H3 cell")

const (
	cellMode       = Cell(1) << 59
	cellResShift   = 52
	cellResMask    = Cell(15) << cellResShift
	cellBaseShift  = 45
	cellDigitsMask = Cell(1)<<cellBaseShift - 1
)

// Resolution is the cell's resolution, 0 to 15.
func (c Cell) Resolution() int { return int(c >> cellResShift & 15) }

// BaseCell is the number, 0 to 121, of the resolution 0 cell that c descends from.
func (c Cell) BaseCell() int { return int(c >> cellBaseShift & 127) }

// Parent is c's ancestor at a coarser resolution, found by bit arithmetic alone.
// res is clamped to [0, c.Resolution()]; the zero Cell is its own parent.
//
// The parent of the cell of a point is not always the cell of that point at the
// coarser resolution: children stick out of their parents. An index that looks up
// through Parent must be built for Parent.
func (c Cell) Parent(res int) Cell {
	have := c.Resolution()
	if c == 0 || res >= have {
		return c
	}
	if res < 0 {
		res = 0
	}
	return parentOf(c, res)
}

// parentOf is Parent without the checks: c valid, 0 <= res <= c.Resolution().
func parentOf(c Cell, res int) Cell {
	unused := cellDigitsMask >> (3 * uint(res))
	return c&^cellResMask | Cell(res)<<cellResShift | unused
}

// child is the child of c with the given digit. c's resolution must be below 15.
func (c Cell) child(digit int) Cell {
	res := uint(c.Resolution() + 1)
	shift := 3 * (MaxResolution - res)
	return c + 1<<cellResShift - Cell(7-digit)<<shift
}

// isPentagon reports whether c is one of the 12 pentagons of its resolution.
func (c Cell) isPentagon() bool {
	used := uint(3 * c.Resolution())
	return isPentagonBase(c.BaseCell()) && c&cellDigitsMask>>(45-used) == 0
}

func isPentagonBase(base int) bool {
	return base < 128 && pentagonBases[base>>6]>>(uint(base)&63)&1 == 1
}

// pentagonBases is the bit set of the base cells that are pentagons.
var pentagonBases = [2]uint64{
	1<<4 | 1<<14 | 1<<24 | 1<<38 | 1<<49 | 1<<58 | 1<<63,
	1<<(72-64) | 1<<(83-64) | 1<<(97-64) | 1<<(107-64) | 1<<(117-64),
}

// String is the cell in H3's usual text form: lower-case hexadecimal.
func (c Cell) String() string { return strconv.FormatUint(uint64(c), 16) }

// ParseCell reads the hexadecimal text form of a cell, of any resolution and in
// either case, and checks that it is a valid cell. The error wraps ErrCell.
func ParseCell(s string) (Cell, error) {
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is not hexadecimal", ErrCell, s)
	}
	c := Cell(v)
	if !c.valid() {
		return 0, fmt.Errorf("%w: %q", ErrCell, s)
	}
	return c, nil
}

// valid checks mode, reserved bits, base cell and digits. A pentagon has no
// descendants along its missing direction, digit 1.
func (c Cell) valid() bool {
	if c&^(cellResMask|cellDigitsMask|127<<cellBaseShift) != cellMode || c.BaseCell() > 121 {
		return false
	}
	leading := 0
	for r := 1; r <= MaxResolution; r++ {
		d := int(c >> (3 * uint(MaxResolution-r)) & 7)
		if (d == 7) != (r > c.Resolution()) {
			return false
		}
		if leading == 0 && r <= c.Resolution() {
			leading = d
		}
	}
	return leading != 1 || !isPentagonBase(c.BaseCell())
}

// CellRadiusM is a distance in metres that no point of a cell of the resolution, 0 to 15, is farther from its centre: the
// angle of the largest cell's corner at the largest radius of curvature of WGS84, that of the poles.
func CellRadiusM(res int) float64 { return circumradius(res) * 6_399_593.7 }
