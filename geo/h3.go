package geo

import "github.com/uber/h3-go/v4"

// This file is the only place of the module that uses the H3 binding. It serves
// what is off the hot path: outlines and centres of cells. Points become cells in
// cellat.go, without it.

// Boundary is the outline of the cell: 5 to 10 points, counter-clockwise, not
// closed; nil when c is not a valid cell. Calls the H3 library; allocates.
func (c Cell) Boundary() []Point {
	if !c.valid() {
		return nil
	}
	b, err := h3.Cell(c).Boundary()
	if err != nil {
		return nil
	}
	out := make([]Point, len(b))
	for i, v := range b {
		out[i] = Point{v.Lat, v.Lng}
	}
	return out
}

// Center is the centre of the cell; the zero Point when c is not a valid cell.
func (c Cell) Center() Point {
	if !c.valid() {
		return Point{}
	}
	v, err := h3.Cell(c).LatLng()
	if err != nil {
		return Point{}
	}
	return Point{v.Lat, v.Lng}
}
