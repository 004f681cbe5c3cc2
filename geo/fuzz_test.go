package geo

import (
	"encoding/binary"
	"math"
	"testing"
)

// fuzzPolygons reads polygons from bytes: a count of positions for each ring, then
// positions of 4 bytes on a coarse grid, so that touches and repeats are common, with
// an escape to any float64 at all.
func fuzzPolygons(data []byte) []Polygon {
	take := func(n int) []byte {
		n = min(n, len(data))
		out := make([]byte, 8)
		copy(out, data[:n])
		data = data[n:]
		return out
	}
	var polys []Polygon
	for len(data) > 0 && len(polys) < 4 {
		var poly Polygon
		head := take(1)[0]
		for range head >> 6 {
			var ring []Point
			for range head & 31 {
				b := take(3)
				p := Point{Lat: float64(int8(b[0])), Lng: float64(int8(b[1]))*1.5 + float64(b[2]&7)}
				if b[2] == 255 {
					p.Lat = math.Float64frombits(binary.LittleEndian.Uint64(take(8)))
				}
				if b[2] == 254 {
					p.Lng = math.Float64frombits(binary.LittleEndian.Uint64(take(8)))
				}
				if p.Lat > 90 || p.Lat < -90 {
					p.Lat = math.Mod(p.Lat, 90)
				}
				ring = append(ring, p)
			}
			if head&32 == 0 && len(ring) > 0 {
				ring = append(ring, ring[0])
			}
			poly = append(poly, ring)
		}
		polys = append(polys, poly)
	}
	return polys
}

// FuzzPolygons: no input may panic, and what is accepted must keep its promises.
func FuzzPolygons(f *testing.F) {
	f.Add([]byte{0x44, 0, 0, 0, 10, 0, 0, 10, 10, 0, 0, 10, 0})
	f.Add([]byte{0x84, 0, 0, 0, 10, 0, 0, 10, 10, 0, 0, 10, 0, 2, 2, 0, 2, 4, 0, 4, 4, 0, 4, 2, 0})
	f.Add([]byte{0x44, 0, 120, 0, 0, 136, 0, 10, 136, 0, 10, 120, 0})
	f.Add([]byte{0x44, 80, 0, 0, 80, 60, 0, 80, 120, 0, 80, 196, 0})
	f.Add([]byte{0x43, 0, 0, 255, 0, 0, 0, 0, 0, 0, 248, 127, 1, 1, 0, 2, 2, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		polys := fuzzPolygons(data)
		ambiguous := false
		for _, p := range polys {
			found := CheckPolygon(p, 5)
			if len(found) > 5 {
				t.Fatalf("%d problems, limit 5", len(found))
			}
			for _, x := range found {
				ambiguous = ambiguous || x.Kind.Ambiguous()
			}
		}
		s, err := NewPolygons(polys)
		if err != nil {
			if !ambiguous && len(polys) > 0 {
				t.Fatalf("NewPolygons refuses what CheckPolygon finds clear: %v\n%v", err, polys)
			}
			return
		}
		if a := s.AreaM2(); math.IsNaN(a) || a < 0 {
			t.Fatalf("area %v", a)
		}
		x := NewIndex([]*Shape{&s})
		for _, poly := range polys {
			for _, ring := range poly {
				for i, p := range ring {
					if !s.Contains(p) {
						t.Fatalf("corner %v is not inside %v", p, polys)
					}
					if len(x.Match(nil, p)) != 1 {
						t.Fatalf("the index loses corner %v of %v", p, polys)
					}
					q := ring[(i+1)%len(ring)]
					mid := Point{(p.Lat + q.Lat) / 2, wrapLng(p.Lng + wrapLng(q.Lng-p.Lng)/2)}
					if got := len(x.Match(nil, mid)) == 1; got != s.Contains(mid) {
						t.Fatalf("index %v, shape %v at %v of %v", got, s.Contains(mid), mid, polys)
					}
					if d := s.EdgeDistanceM(mid); d > 0 == s.Contains(mid) && d != 0 {
						t.Fatalf("edge distance %v, inside %v", d, s.Contains(mid))
					}
					s.Crosses(p, mid)
				}
			}
		}
	})
}

func FuzzParseCell(f *testing.F) {
	f.Add("8911aa7abdbffff")
	f.Add("8009fffffffffff")
	f.Add("ffffffffffffffff")
	f.Add("")
	f.Add("-8911aa7abdbffff")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCell(s)
		if err != nil {
			return
		}
		if again, err := ParseCell(c.String()); err != nil || again != c {
			t.Fatalf("%q: %v does not survive a round trip", s, c)
		}
		if got := CellAt(c.Center(), c.Resolution()); got != c {
			t.Fatalf("the centre of %v lies in %v", c, got)
		}
		if len(c.Boundary()) < 5 || c.Parent(0).BaseCell() != c.BaseCell() {
			t.Fatalf("%v: outline or parent", c)
		}
	})
}

// FuzzCellAt compares with the H3 library. Rounding may set the two apart where a point is
// on the border of cells to within nanometres.
func FuzzCellAt(f *testing.F) {
	f.Add(55.7558, 37.6173, 9)
	f.Add(90.0, 0.0, 15)
	f.Add(math.NaN(), math.Inf(1), -1)
	f.Add(58.28252559, 5.25, 3)
	f.Add(-0.3515625, 179.6484375, 9) // the corner of tiles
	f.Add(0.0, 180.0, 7)
	f.Fuzz(func(t *testing.T, lat, lng float64, res int) {
		p := Point{lat, lng}
		c := CellAt(p, res)
		if c != 0 && (!c.valid() || c.Resolution() != res) {
			t.Fatalf("CellAt(%v, %d) = %v", p, res, c)
		}
		if p.Validate() == nil && res >= 0 && res <= 15 && c == 0 {
			t.Fatalf("no cell for %v at %d", p, res)
		}
		if p.Validate() == nil && res >= 0 && res <= 15 && c != h3Cell(p, res) && !onBorder(p, res) {
			t.Fatalf("CellAt(%.17g, %.17g, %d) = %v, want %v", lat, lng, res, c, h3Cell(p, res))
		}
		s, err := NewCircle(p, 500)
		if err == nil && len(NewIndex([]*Shape{&s}).Match(nil, p)) != 1 {
			t.Fatalf("the centre %v is not inside", p)
		}
	})
}

// onBorder reports whether the H3 library gives points some 10 nm from p other cells.
func onBorder(p Point, res int) bool {
	const d = 1e-13
	c := h3Cell(p, res)
	for _, q := range []Point{{p.Lat + d, p.Lng}, {p.Lat - d, p.Lng}, {p.Lat, p.Lng + d}, {p.Lat, p.Lng - d}} {
		if h3Cell(q, res) != c {
			return true
		}
	}
	return false
}
