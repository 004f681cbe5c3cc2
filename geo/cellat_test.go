package geo

import (
	"bufio"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/uber/h3-go/v4"
)

func h3Cell(p Point, res int) Cell {
	c, _ := h3.LatLngToCell(h3.LatLng{Lat: p.Lat, Lng: p.Lng}, res)
	return Cell(c)
}

func TestCellAtVectors(t *testing.T) {
	tests := []struct {
		file               string
		res, cell, lat, ln int
	}{
		{"h3/h3_latlng_cell.csv.gz", 1, 2, 3, 4},
		{"h3/h3_store_cells.csv.gz", 4, 5, 2, 3},
	}
	for _, tt := range tests {
		for i, row := range dataRows(t, tt.file) {
			res, _ := strconv.Atoi(row[tt.res])
			p := Point{num(t, row[tt.lat]), num(t, row[tt.ln])}
			if got := CellAt(p, res).String(); got != row[tt.cell] {
				t.Errorf("%s row %d: CellAt(%v, %d) = %s, want %s", tt.file, i+2, p, res, got, row[tt.cell])
			}
		}
	}
}

// hardPoint is a position of one of the kinds that go wrong first.
func hardPoint(rng *rand.Rand) Point {
	near := func(v vec) Point {
		return v.add(randomUnit(rng).mul(math.Exp(-22 * rng.Float64()))).unit().point()
	}
	corner := func(fr *faceFrame) vec {
		angle := float64(rng.IntN(3)) * 2 * math.Pi / 3
		d := 2 / unitsPerTangent
		return fr.C.add(fr.u.mul(d * math.Cos(angle))).add(fr.v.mul(d * math.Sin(angle))).unit()
	}
	fr := &faceFrames[rng.IntN(faceCount)]
	switch rng.IntN(10) {
	case 0:
		return near(fr.C) // face centre
	case 1:
		return near(corner(fr)) // pentagon
	case 2: // edge of a face, and a face's own line through a corner
		k := rng.Float64()
		return near(corner(fr).mul(k).add(corner(fr).mul(1 - k)))
	case 3:
		return near(vec{0, 0, float64(rng.IntN(2)*2 - 1)}) // pole
	case 4:
		return Point{float64(rng.IntN(181) - 90), float64(rng.IntN(361) - 180)} // whole degrees
	case 5: // antimeridian
		return Point{rng.Float64()*180 - 90, math.Copysign(180-math.Exp(-30*rng.Float64()), rng.Float64()-0.5)}
	case 6:
		return Point{rng.Float64()*180 - 90, float64(rng.IntN(2)*360 - 180)}
	case 7: // boundary of the two ways to find the face
		return Point{float64(rng.IntN(91)*2 - 90), rng.Float64()*360 - 180}
	case 8: // longitudes as some sources give them
		return Point{rng.Float64()*180 - 90, rng.Float64() * 360}
	}
	return tablePoint(rng)
}

// compareCells counts positions on which CellAt and the H3 library differ.
func compareCells(t *testing.T, seed uint64, n int, next func(*rand.Rand) Point, res func(*rand.Rand) int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	bad := 0
	for range n {
		p, r := next(rng), res(rng)
		if got, want := CellAt(p, r), h3Cell(p, r); got != want {
			if bad++; bad <= 5 {
				t.Errorf("seed %d: CellAt(%.17g, %.17g, %d) = %v, want %v", seed, p.Lat, p.Lng, r, got, want)
			}
		}
	}
	if bad > 0 {
		t.Errorf("seed %d: %d of %d differ", seed, bad, n)
	}
}

func TestCellAtEqualsH3(t *testing.T) {
	n, m := 150_000, 150_000
	if os.Getenv("FOOTFALL_LONG") == "1" {
		n, m = 25_000_000, 10_000_000
	}
	uniform := func(rng *rand.Rand) Point { return randomUnit(rng).point() }
	anyRes := func(rng *rand.Rand) int { return rng.IntN(MaxResolution + 1) }
	var wg sync.WaitGroup
	wg.Go(func() { compareCells(t, 11, n, uniform, anyRes) })
	wg.Go(func() { compareCells(t, 12, m, hardPoint, anyRes) })
	wg.Wait()
}

func TestCellAtOddInput(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, p := range []Point{{nan, 0}, {0, nan}, {inf, 0}, {0, inf}, {-inf, -inf}, {nan, inf}} {
		if got := CellAt(p, 9); got != 0 {
			t.Errorf("CellAt(%v) = %v, want no cell", p, got)
		}
	}
	for _, res := range []int{-1, 16, math.MaxInt, math.MinInt} {
		if got := CellAt(Point{1, 2}, res); got != 0 {
			t.Errorf("CellAt at resolution %d = %v, want no cell", res, got)
		}
	}
	for _, p := range []Point{{91, 10}, {-100, 10}, {10, 540}, {10, -181}, {1e6, 1e6}, {1e300, -1e300}, {math.MaxFloat64, 1}} {
		got := CellAt(p, 9)
		if math.Abs(p.Lat) < 1e9 && got != h3Cell(p, 9) {
			t.Errorf("CellAt(%v) = %v, want %v as the library", p, got, h3Cell(p, 9))
		}
		if got != 0 && !got.valid() {
			t.Errorf("CellAt(%v) = %v, which is not valid", p, got)
		}
	}
}

func TestCellArithmetic(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 20_000 {
		p := hardPoint(rng)
		res := rng.IntN(MaxResolution + 1)
		c := CellAt(p, res)
		ref := h3.Cell(c)
		if c.Resolution() != ref.Resolution() || c.BaseCell() != ref.BaseCellNumber() || c.isPentagon() != ref.IsPentagon() {
			t.Fatalf("%v: resolution, base cell or pentagon differ from the library", c)
		}
		up := rng.IntN(res + 1)
		want, err := ref.Parent(up)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Parent(up); got != Cell(want) {
			t.Fatalf("%v.Parent(%d) = %v, want %v", c, up, got, want)
		}
		if res < MaxResolution {
			d := rng.IntN(7)
			if k := c.child(d); k.valid() && k.Parent(res) != c || k.valid() != h3.Cell(k).IsValid() {
				t.Fatalf("%v.child(%d) = %v", c, d, k)
			}
		}
		back, err := ParseCell(c.String())
		if err != nil || back != c || c.String() != ref.String() {
			t.Fatalf("ParseCell(%q) = %v, %v", c.String(), back, err)
		}
		flipped := c ^ 1<<rng.IntN(64)
		if flipped.valid() != h3.Cell(flipped).IsValid() {
			t.Fatalf("%v: valid = %v, the library says otherwise", flipped, flipped.valid())
		}
	}
	if c := CellAt(Point{10, 10}, 5); c.Parent(9) != c || c.Parent(-3) != c.Parent(0) || Cell(0).Parent(3) != 0 {
		t.Error("Parent does not clamp")
	}
	for _, s := range []string{"", "xyz", "0", "8911aa7abdbfff", "ffffffffffffffff", "0x8911aa7abdbffff", "-1"} {
		if _, err := ParseCell(s); err == nil {
			t.Errorf("ParseCell(%q) accepted", s)
		}
	}
}

func TestBoundaryVectors(t *testing.T) {
	sc := bufio.NewScanner(dataFile(t, "h3/h3_boundaries.ndjson.gz"))
	n := 0
	for sc.Scan() {
		var v struct {
			Cell     string       `json:"cell"`
			Boundary [][2]float64 `json:"boundary_lat_lng"`
		}
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		c, err := ParseCell(v.Cell)
		if err != nil {
			t.Fatal(err)
		}
		got := c.Boundary()
		if len(got) != len(v.Boundary) {
			t.Fatalf("%s: %d points, want %d", v.Cell, len(got), len(v.Boundary))
		}
		for i, p := range got {
			dLng := math.Abs(math.Remainder(p.Lng-v.Boundary[i][1], 360))
			if math.Abs(p.Lat-v.Boundary[i][0]) > 2e-8 || dLng*math.Cos(p.Lat*math.Pi/180) > 2e-8 {
				t.Fatalf("%s: point %d is %v, want %v", v.Cell, i, p, v.Boundary[i])
			}
		}
		if got := CellAt(c.Center(), c.Resolution()); got != c {
			t.Fatalf("%s: its centre is in %v", v.Cell, got)
		}
		n++
	}
	if n < 11_000 {
		t.Fatalf("read %d outlines", n)
	}
	if Cell(0).Boundary() != nil || Cell(5).Center() != (Point{}) {
		t.Error("an invalid cell has an outline")
	}
}

func TestCellAtDoesNotAllocate(t *testing.T) {
	var sink Cell
	n := testing.AllocsPerRun(100, func() {
		for r := range 16 {
			sink ^= CellAt(Point{55.7558, 37.6173}, r)
			sink ^= CellAt(Point{90, 0}, r).Parent(0)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations, want 0 (%v)", n, sink)
	}
}

// europe is a set of positions larger than the first-level cache.
func europe() []Point {
	rng := rand.New(rand.NewPCG(5, 5))
	ps := make([]Point, 1<<14)
	for i := range ps {
		ps[i] = Point{36 + 24*rng.Float64(), -9 + 50*rng.Float64()}
	}
	return ps
}

func BenchmarkCellAt(b *testing.B) {
	ps := europe()
	for _, res := range []int{7, 8, 9, 10, 15} {
		b.Run("impl=own/res="+strconv.Itoa(res), func(b *testing.B) {
			b.ReportAllocs()
			var sink Cell
			i := 0
			for b.Loop() {
				sink ^= CellAt(ps[i&(len(ps)-1)], res)
				i++
			}
			if sink == 1 {
				b.Fatal()
			}
		})
		b.Run("impl=h3go/res="+strconv.Itoa(res), func(b *testing.B) {
			b.ReportAllocs()
			var sink Cell
			i := 0
			for b.Loop() {
				sink ^= h3Cell(ps[i&(len(ps)-1)], res)
				i++
			}
			if sink == 1 {
				b.Fatal()
			}
		})
	}
}
