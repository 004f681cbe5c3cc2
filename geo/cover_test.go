package geo

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"footfall/internal/cputime"

	"github.com/tidwall/geojson/geometry"
)

func TestCoverSize(t *testing.T) {
	rng := rand.New(rand.NewPCG(51, 1))
	for _, tt := range []struct {
		radius  float64
		res     int
		atMost  int
		average float64
	}{
		{10, 9, 4, 2}, {50, 9, 7, 3}, {200, 9, 9, 6}, {500, 9, 30, 18}, {1000, 8, 30, 16},
		{5000, 6, 30, 16}, {20_000, 5, 40, 20}, {50_000, 4, 40, 20}, {100_000, 3, 40, 20},
	} {
		total, n := 0, 400
		for range n {
			s := mustCircle(t, randomPlace(rng).normal(), tt.radius)
			cells := Cover(s)
			total += len(cells)
			for i, c := range cells {
				if !c.Cell.valid() || c.Full || i > 0 && c.Cell <= cells[i-1].Cell {
					t.Fatalf("radius %v: bad cell %v", tt.radius, c)
				}
			}
			if got := cells[0].Cell.Resolution(); got != circleResolution(tt.radius) {
				t.Fatalf("radius %v: resolution %d", tt.radius, got)
			}
			if len(cells) > tt.atMost {
				t.Errorf("radius %v at %v: %d cells", tt.radius, s.Center(), len(cells))
			}
		}
		avg := float64(total) / float64(n)
		t.Logf("radius %6v m: resolution %d, %.1f cells", tt.radius, circleResolution(tt.radius), avg)
		if avg > tt.average {
			t.Errorf("radius %v: %.1f cells on average, want at most %v", tt.radius, avg, tt.average)
		}
	}
}

// TestCoverWays compares the two ways to find a cover: the lattice of one face, and
// the descent from resolution 0.
func TestCoverWays(t *testing.T) {
	rng := rand.New(rand.NewPCG(52, 1))
	onFace := 0
	for range 120 {
		s := mustCircle(t, randomPlace(rng).normal(), 10*math.Exp(rng.Float64()*8))
		res := circleResolution(s.radiusM)
		r := newCircleRegion(s)
		center, radius := r.bounds()
		f := nearestFace(center)
		if faceClearance(center, f) < 3*radius+4*cellReach(res) {
			continue
		}
		onFace++
		lattice := Cover(s)
		d := descent{region: r, res: res, budget: math.MaxInt}
		for base := range Cell(122) {
			d.visit(cellMode|base<<cellBaseShift|cellDigitsMask, false)
		}
		for _, c := range lattice {
			if !slices.Contains(d.out, c) {
				t.Fatalf("the descent lacks %v of %v, radius %v", c.Cell, s.Center(), s.radiusM)
			}
		}
	}
	if onFace < 60 {
		t.Errorf("only %d circles lay within a face", onFace)
	}
}

// A cell marked full must hold no point outside, and every point inside a polygon
// must be in a cell, whatever the size of the polygon.
func TestCoverPolygons(t *testing.T) {
	rng := rand.New(rand.NewPCG(53, 1))
	for range 60 {
		c := randomPlace(rng).normal()
		size := 20 * math.Exp(rng.Float64()*12)
		s, ok := randomStar(rng, c, size, 3+rng.IntN(30))
		if !ok {
			continue
		}
		cells := Cover(&s)
		if len(cells) == 0 || len(cells) > polygonBudget {
			t.Fatalf("%d cells for a star of %.0f m at %v", len(cells), size, c)
		}
		res := cells[0].Cell.Resolution()
		have := map[Cell]bool{}
		for _, cc := range cells {
			have[cc.Cell] = cc.Full
		}
		for range 300 {
			p := around(rng, c, size*1.2*rng.Float64())
			full, in := have[CellAt(p, BaseResolution).Parent(res)], s.Contains(p)
			if _, ok := have[CellAt(p, BaseResolution).Parent(res)]; in && !ok || full && !in {
				t.Fatalf("star of %.0f m at %v: %v is inside %v, covered %v, full %v", size, c, p, in, ok, full)
			}
		}
	}
}

func TestCoverWorldSizeIsBounded(t *testing.T) {
	scribble := func() []Point { // to and fro all over the Earth, crossing itself
		var out, in []Point
		for i := range 20_000 {
			f := float64(i) / 20_000
			out = append(out, Point{-80 + 160*f, -170 + 340*float64(i%2)*f})
			in = append(in, Point{-80.001 + 160*f, -170 + 340*float64(i%2)*f})
		}
		slices.Reverse(in)
		out = append(out, in...)
		return append(out, out[0])
	}
	zigzag := Polygon{ring(-179, -80, -60, -80, 60, -80, 179, -80, 179, 80, 60, 80, -60, 80, -179, 80)}
	for name, p := range map[string]Polygon{
		"world":     {rect(-90, -180, 90, 180)},
		"band":      {rect(-40, -180, 40, 180)},
		"nearly":    zigzag,
		"antarctic": {{{-90, -180}, {-90, 180}, {-60, 180}, {-65, 0}, {-60, -180}, {-90, -180}}},
		"scribble":  {scribble()},
	} {
		start := cputime.Used()
		s, err := NewPolygons([]Polygon{p})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		cells := Cover(&s)
		x := NewIndex([]*Shape{&s})
		d := cputime.Used() - start
		t.Logf("%s: %d cells, resolution %d, index %d KB, %v", name, len(cells), cells[0].Cell.Resolution(), x.Stats().Bytes>>10, d)
		if len(cells) > polygonBudget || d > 3*time.Second || x.Stats().Bytes > 64<<20 {
			t.Errorf("%s: %d cells, %d bytes, %v", name, len(cells), x.Stats().Bytes, d)
		}
		rng := rand.New(rand.NewPCG(54, 1))
		for range 2000 {
			p := randomPlace(rng).normal()
			if got, want := x.Match(nil, p), scan([]*Shape{&s}, p); !slices.Equal(got, want) {
				t.Fatalf("%s: Match(%v) = %v, want %v", name, p, got, want)
			}
		}
	}
}

// TestRealAreas asks the index, the shapes themselves and an independent library
// about points in and around real areas.
func TestRealAreas(t *testing.T) {
	if testing.Short() {
		t.Skip("areas with many thousand positions")
	}
	for _, file := range []string{"world_countries_50m", "nyc_taxi_zones", "berlin_areas", "osm_moscow_buildings", "russia_regions", "sf_neighborhoods"} {
		t.Run(file, func(t *testing.T) {
			var shapes []*Shape
			var oracle [][]*geometry.Poly
			for _, f := range dataAreas(t, "fences/"+file+".geojson.gz") {
				s, err := NewPolygons(f.polys)
				if err != nil {
					t.Errorf("feature %s: %v", f.id, err)
					continue
				}
				shapes = append(shapes, &s)
				var polys []*geometry.Poly
				for _, p := range f.polys {
					polys = append(polys, oraclePoly(p))
				}
				oracle = append(oracle, polys)
			}
			start := time.Now()
			x := NewIndex(shapes)
			t.Logf("%d areas, built in %v: %+v", len(shapes), time.Since(start), x.Stats())
			rng := rand.New(rand.NewPCG(55, 1))
			inside := 0
			for i, s := range shapes {
				for range 1 + 3000/len(shapes) {
					p := around(rng, s.Center(), 1.5*s.SizeM()*rng.Float64()).normal()
					if rng.IntN(4) == 0 {
						poly := s.Polygons()[rng.IntN(len(s.Polygons()))]
						p = poly[0][rng.IntN(len(poly[0]))]
					}
					want := scan(shapes, p)
					if got := x.Match(nil, p); !slices.Equal(got, want) {
						t.Fatalf("Match(%v) = %v, want %v", p, got, want)
					}
					inside += len(want)
					theirs := slices.ContainsFunc(oracle[i], func(o *geometry.Poly) bool {
						return o.ContainsPoint(geometry.Point{X: p.Lng, Y: p.Lat})
					})
					if ours := s.Contains(p); ours != theirs && math.Abs(p.Lng) != 180 {
						t.Fatalf("area %d at %v: we say %v, tidwall/geojson %v", i, p, ours, theirs)
					}
				}
			}
			if inside < 1000 {
				t.Errorf("only %d inside", inside)
			}
		})
	}
}

func oraclePoly(p Polygon) *geometry.Poly {
	ring := func(r []Point) []geometry.Point {
		out := make([]geometry.Point, len(r))
		for i, v := range r {
			out[i] = geometry.Point{X: v.Lng, Y: v.Lat}
		}
		return out
	}
	var holes [][]geometry.Point
	for _, h := range p[1:] {
		holes = append(holes, ring(h))
	}
	return geometry.NewPoly(ring(p[0]), holes, nil)
}

// TestPartBandsStayLinear: edges that run through every band must not fill memory.
func TestPartBandsStayLinear(t *testing.T) {
	var comb []Point
	for i := range 20_000 {
		comb = append(comb, Point{float64(i%2) * 10, float64(i) / 1000})
	}
	comb = append(comb, Point{11, 19.999}, Point{11, 0}, Point{0, 0})
	s := mustPolygons(t, Polygon{comb})
	if p := s.area.parts[0]; len(p.bandEdges) > 4*len(p.pts) {
		t.Errorf("%d band entries for %d positions", len(p.bandEdges), len(p.pts))
	}
}

func TestErrorsNameTheRing(t *testing.T) {
	_, err := NewPolygons([]Polygon{{rect(0, 0, 1, 1)}, {rect(0, 0, 9, 9), rect(1, 1, 2, 2)[:4]}})
	if err == nil || !strings.Contains(err.Error(), "polygon 1, ring 1") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkPolygonContains(b *testing.B) {
	for _, n := range []int{10, 1000, 50_000} {
		s := mustPolygons(b, Polygon{bigRing(n)})
		rng := rand.New(rand.NewPCG(56, 1))
		ps := make([]Point, 4096)
		for i := range ps {
			ps[i] = Point{50 + 3*(rng.Float64()-0.5), 10 + 3*(rng.Float64()-0.5)}
		}
		for _, bb := range []struct {
			name string
			f    func(Point) bool
		}{{"contains", s.Contains}, {"edge", func(p Point) bool { return s.EdgeDistanceM(p) <= 0 }}} {
			b.Run(bb.name+"/corners="+strconv.Itoa(n), func(b *testing.B) {
				i, in := 0, 0
				for b.Loop() {
					if bb.f(ps[i&4095]) {
						in++
					}
					i++
				}
				if i > 1000 && in == 0 {
					b.Fatal("nothing inside")
				}
			})
		}
	}
}
