package geo

import "math"

// nearMap is a bit for every patch of longitude and latitude that an indexed shape
// may reach, so that most positions, being near no shape at all, are turned away in
// a few nanoseconds. Patches are 1/256 of a degree (434 m north to south); 64 by 64
// of them are a tile. Tiles without shapes take no memory beyond their 4 bytes.
type nearMap struct {
	tiles []uint32 // 0 empty, 1 full, n+2 for bits[n]
	bits  [][64]uint64
}

const (
	patchesPerDeg = 256
	tileCols      = 360 * patchesPerDeg / 64
	tileRows      = 180 * patchesPerDeg / 64
	tileDeg       = 64.0 / patchesPerDeg
	tileFull      = 1
	// Boxes of more patches than this are marked by the tile.
	finePatches = 1 << 14
)

func patchRow(lat float64) int { return min(int((lat+90)*patchesPerDeg), 180*patchesPerDeg-1) }

// patchCol needs lng in [-180, 180].
func patchCol(lng float64) int {
	c := int((lng + 180) * patchesPerDeg)
	if c == 360*patchesPerDeg {
		return 0 // 180 is -180
	}
	return c
}

func (m *nearMap) has(p Point) bool {
	if !(p.Lat >= -90 && p.Lat <= 90) {
		return false
	}
	if !(p.Lng >= -180 && p.Lng <= 180) {
		if p.Lng-p.Lng != 0 {
			return false
		}
		p.Lng = math.Remainder(p.Lng, 360)
	}
	if len(m.tiles) == 0 {
		return false
	}
	row, col := patchRow(p.Lat), patchCol(p.Lng)
	t := m.tiles[row>>6*tileCols+col>>6]
	if t <= tileFull {
		return t == tileFull
	}
	return m.bits[t-2][row&63]>>(uint(col)&63)&1 == 1
}

// mark marks a box, which may run beyond ±180 and ±90.
func (m *nearMap) mark(b box) {
	if m.tiles == nil {
		m.tiles = make([]uint32, tileRows*tileCols)
	}
	b = b.grow(1e-7) // a centimetre, for rounding
	r0, r1 := patchRow(max(b.minY, -90)), patchRow(min(b.maxY, 90))
	if b.maxX-b.minX >= 359.9 {
		m.markRows(r0, r1, 0, 360*patchesPerDeg-1)
		return
	}
	lo, hi := patchCol(wrapLng(b.minX)), patchCol(wrapLng(b.maxX))
	if lo <= hi {
		m.markRows(r0, r1, lo, hi)
		return
	}
	m.markRows(r0, r1, lo, 360*patchesPerDeg-1)
	m.markRows(r0, r1, 0, hi)
}

func (m *nearMap) markRows(r0, r1, c0, c1 int) {
	whole := (r1-r0+1)*(c1-c0+1) > finePatches
	for tr := r0 >> 6; tr <= r1>>6; tr++ {
		for tc := c0 >> 6; tc <= c1>>6; tc++ {
			t := &m.tiles[tr*tileCols+tc]
			if whole {
				*t = tileFull
			}
			if *t == tileFull {
				continue
			}
			if *t == 0 {
				m.bits = append(m.bits, [64]uint64{})
				*t = uint32(len(m.bits)) + 1
			}
			rows := &m.bits[*t-2]
			from, to := max(c0-tc<<6, 0), min(c1-tc<<6, 63)
			mask := ^uint64(0) >> (63 - uint(to-from)) << uint(from)
			for r := max(r0, tr<<6); r <= min(r1, tr<<6+63); r++ {
				rows[r&63] |= mask
			}
		}
	}
}

func (m *nearMap) bytes() int { return len(m.tiles)*4 + len(m.bits)*512 }

// markShape marks what a shape can reach, given its cover.
func (m *nearMap) markShape(s *Shape, cells []CoverCell) {
	if s.IsCircle() {
		m.mark(discBox(s.center, (s.radiusM+boundaryM)/minRadiusM))
		return
	}
	for _, p := range s.area.parts {
		w, h := p.box.maxX-p.box.minX, p.box.maxY-p.box.minY
		if w*h*patchesPerDeg*patchesPerDeg > finePatches/2 {
			// Too large for its box to tell much: the boxes of its cells do.
			for _, c := range cells {
				m.mark(discBox(c.Cell.Center(), cellReach(c.Cell.Resolution())))
			}
			return
		}
	}
	for _, p := range s.area.parts {
		m.mark(p.box)
	}
}
