package geo

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func mustCircle(t testing.TB, c Point, r float64) *Shape {
	t.Helper()
	s, err := NewCircle(c, r)
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

func mustPolygons(t testing.TB, polys ...Polygon) *Shape {
	t.Helper()
	s, err := NewPolygons(polys)
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

// box2 is a closed counter-clockwise ring.
func rect(lat0, lng0, lat1, lng1 float64) []Point {
	return []Point{{lat0, lng0}, {lat0, lng1}, {lat1, lng1}, {lat1, lng0}, {lat0, lng0}}
}

func reversed(r []Point) []Point {
	out := slices.Clone(r)
	slices.Reverse(out)
	return out
}

var (
	moscow     = Point{55.7558, 37.6173}
	tashkent   = Point{41.2995, 69.2401}
	equator    = Point{0, 6}
	sydney     = Point{-33.8688, 151.2093}
	svalbard   = Point{78.2232, 15.6267}
	taveuni    = Point{-16.8, 179.9995}
	chukotka   = Point{65.6, -179.9992}
	nearPole   = Point{89.9995, 0}
	northPole  = Point{90, 0}
	southPole  = Point{-90, 45}
	storeRadii = 200.0
)

// indexed is the shape's own answer, after checking that an index over it alone
// agrees.
func indexed(t *testing.T, s *Shape, p Point) bool {
	t.Helper()
	in := s.Contains(p)
	if got := len(NewIndex([]*Shape{s}).Match(nil, p)) == 1; got != in {
		t.Errorf("the index says %v, the shape %v for %v", got, in, p)
	}
	return in
}

func TestCircleTable(t *testing.T) {
	tests := []struct {
		name   string
		center Point
		at     Point
		want   bool
	}{
		{"Moscow 150 m", moscow, Point{55.7558, 37.6196891}, true},
		{"Moscow 260 m", moscow, Point{55.7557999, 37.6214411}, false},
		{"Moscow 200.5 m, inside on a sphere", moscow, Point{55.7558, 37.6204934}, false},
		{"Tashkent 150 m", tashkent, Point{41.2995, 69.2418910}, true},
		{"Tashkent 260 m", tashkent, Point{41.2995, 69.2432044}, false},
		{"Tashkent 200.5 m, inside on a sphere", tashkent, Point{41.2995, 69.2424939}, false},
		{"equator 199.5 m, outside on a sphere", equator, Point{0.0018042, 6}, true},
		{"Sydney 260 m", sydney, Point{-33.8688, 151.21211}, false},
		{"Sydney 199.5 m", sydney, Point{-33.8670014, 151.2093}, true},
		{"Svalbard 150 m", svalbard, Point{78.2231999, 15.6332808}, true},
		{"Svalbard 260 m", svalbard, Point{78.2231998, 15.6381068}, false},
		{"Svalbard 200.5 m, inside on a sphere", svalbard, Point{78.2231999, 15.6354964}, false},
		{"Taveuni 150 m, across 180", taveuni, Point{-16.8, -179.9990928}, true},
		{"Taveuni 260 m, across 180", taveuni, Point{-16.8, -179.9980609}, false},
		{"Taveuni 199.5 m, outside on a sphere", taveuni, Point{-16.7981973, 179.9995}, true},
		{"Chukotka 150 m", chukotka, Point{65.6, -179.9959472}, true},
		{"Chukotka 159.6 m, across 180", chukotka, Point{65.59981, 179.99737}, true},
		{"Chukotka 260 m", chukotka, Point{65.5999999, -179.9935619}, false},
		{"near the pole: the pole", nearPole, Point{90, 0}, true},
		{"near the pole: beyond it", nearPole, Point{89.9995, 180}, true},
		{"near the pole: too far beyond", nearPole, Point{89.9986, 180}, false},
		{"near the pole: aside", nearPole, Point{89.9985, -90}, true},
		{"pole", northPole, Point{89.999, 0}, true},
		{"pole, any longitude", northPole, Point{89.999, -133}, true},
		{"pole, antimeridian", northPole, Point{89.999, 180}, true},
		{"south pole", southPole, Point{-89.999, -100}, true},
		{"south pole, too far", southPole, Point{-89.998, -100}, false},
		// Inside, but in a cell whose centre is outside: a cover by cell centres
		// loses these.
		{"cell trap Moscow", moscow, Point{55.75457, 37.61562}, true},
		{"cell trap Tashkent 86 m", tashkent, Point{41.29917, 69.23917}, true},
		{"cell trap Tashkent", tashkent, Point{41.29951, 69.23909}, true},
		{"cell trap equator", equator, Point{0.00062, 5.9999}, true},
		{"cell trap Sydney", sydney, Point{-33.86858, 151.20821}, true},
		{"cell trap Svalbard", svalbard, Point{78.2241, 15.62953}, true},
		{"cell trap Taveuni east", taveuni, Point{-16.80074, -179.9994}, true},
		{"cell trap Taveuni west", taveuni, Point{-16.79929, 179.99894}, true},
		{"cell trap Chukotka", chukotka, Point{65.60108, -179.99764}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustCircle(t, tt.center, storeRadii)
			if got := indexed(t, s, tt.at); got != tt.want {
				t.Errorf("got %v, want %v at %.3f m", got, tt.want, s.CenterDistanceM(tt.at))
			}
			if d := s.EdgeDistanceM(tt.at); (d <= 0) != tt.want {
				t.Errorf("edge distance %v, want inside = %v", d, tt.want)
			}
		})
	}
}

// The direct cell of these points at resolution 7 is not the parent of their cell at
// resolution 9: an index that mixes the two loses them.
func TestCircleParentTraps(t *testing.T) {
	for _, tt := range []struct{ center, at Point }{
		{moscow, Point{55.74946, 37.63402}}, {moscow, Point{55.76522, 37.61453}},
		{tashkent, Point{41.3268, 69.22772}}, {tashkent, Point{41.27627, 69.20747}},
	} {
		if CellAt(tt.at, 9).Parent(7) == CellAt(tt.at, 7) {
			t.Errorf("%v is no trap", tt.at)
		}
		if !indexed(t, mustCircle(t, tt.center, 5000), tt.at) {
			t.Errorf("%v is not inside", tt.at)
		}
	}
}

func TestCircleEdgeVectors(t *testing.T) {
	rows := dataRows(t, "geodesic/circle_edge_200m.csv.gz")
	var shape *Shape
	last := ""
	tested := 0
	for i, r := range rows {
		if r[0] != last {
			shape, last = mustCircle(t, Point{num(t, r[1]), num(t, r[2])}, 200), r[0]
		}
		dist := num(t, r[6])
		if dist > 200 && dist < 200.0015 {
			continue // within the tolerance
		}
		tested++
		p := Point{num(t, r[4]), num(t, r[5])}
		if got := shape.Contains(p); got != (r[8] == "1") {
			t.Errorf("row %d: Contains = %v at %.6f m", i+2, got, dist)
		}
	}
	if tested < 11_000 {
		t.Errorf("tested %d rows", tested)
	}
}

// TestCircleEqualsGeodesic puts points next to the edge by the geodesic distance and
// asks for the promised error bound, at every latitude.
func TestCircleEqualsGeodesic(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 1))
	for _, tt := range []struct{ radius, bound float64 }{
		{10, 1e-4}, {200, 1e-4}, {1000, 1e-4}, {5000, 2e-4}, {20_000, 1e-3}, {50_000, 5e-3}, {100_000, 2e-2},
	} {
		worst := 0.0
		for range 3000 {
			c := randomPlace(rng)
			s := mustCircle(t, c, tt.radius)
			// The distance at which Contains changes, along one direction.
			axis := randomUnit(rng)
			v := sphereVec(c)
			axis = axis.sub(v.mul(axis.dot(v))).unit()
			at := func(d float64) Point {
				return v.mul(math.Cos(d)).add(axis.mul(math.Sin(d))).point()
			}
			lo, hi := 0.9*tt.radius/meanRadiusM, 1.1*tt.radius/meanRadiusM
			for range 60 {
				if mid := (lo + hi) / 2; s.Contains(at(mid)) {
					lo = mid
				} else {
					hi = mid
				}
			}
			var d float64
			if v, ok := vincenty(c, at(lo)); ok {
				d = v
			}
			worst = max(worst, math.Abs(d-tt.radius-boundaryM))
		}
		t.Logf("radius %v m: edge off by at most %.2g m", tt.radius, worst)
		if worst > tt.bound {
			t.Errorf("radius %v m: edge off by %v m, promised %v", tt.radius, worst, tt.bound)
		}
	}
}

func TestNewCircleRefuses(t *testing.T) {
	for _, r := range []float64{0, -5, math.NaN(), math.Inf(1), 1e9, 100_001, math.Inf(-1)} {
		if _, err := NewCircle(moscow, r); !errors.Is(err, ErrRadius) {
			t.Errorf("radius %v: %v", r, err)
		}
	}
	for _, p := range []Point{{95, 0}, {0, 181}, {0, -540}, {math.NaN(), 0}, {0, math.Inf(1)}} {
		if _, err := NewCircle(p, 200); !errors.Is(err, ErrPosition) {
			t.Errorf("centre %v: %v", p, err)
		}
	}
	if mustCircle(t, Point{10, 180}, 200).Contains(Point{10, -180}) != true {
		t.Error("180 and -180 differ")
	}
}

func TestPolygonTable(t *testing.T) {
	outer := rect(55.74, 37.60, 55.76, 37.64)
	hole := rect(55.747, 37.615, 55.753, 37.625)
	withHole := map[string]*Shape{
		"ccw":        mustPolygons(t, Polygon{outer, reversed(hole)}),
		"cw":         mustPolygons(t, Polygon{reversed(outer), hole}),
		"both ccw":   mustPolygons(t, Polygon{outer, hole}),
		"shifted":    mustPolygons(t, Polygon{append(slices.Clone(outer[2:]), outer[1], outer[2]), hole}),
		"with a dup": mustPolygons(t, Polygon{append([]Point{outer[0]}, outer...), hole}),
	}
	split := mustPolygons(t, Polygon{rect(-17, 179.9, -16.9, 180)}, Polygon{rect(-17, -180, -16.9, -179.9)})
	whole := mustPolygons(t, Polygon{rect(-17, 179.9, -16.9, -179.9)})
	wholeCW := mustPolygons(t, Polygon{reversed(rect(-17, 179.9, -16.9, -179.9))})
	fromEast := mustPolygons(t, Polygon{{{-17, -179.9}, {-16.9, -179.9}, {-16.9, 179.9}, {-17, 179.9}, {-17, -179.9}}})
	atSeam := mustPolygons(t, Polygon{rect(0, 170, 10, 180)})
	atSeamWest := mustPolygons(t, Polygon{rect(0, -180, 10, -170)})
	both := map[string]*Shape{"split": split, "whole": whole, "clockwise": wholeCW, "from the east": fromEast}

	tests := []struct {
		name   string
		shapes map[string]*Shape
		at     Point
		want   bool
	}{
		{"inside", withHole, Point{55.75, 37.61}, true},
		{"in the hole", withHole, Point{55.75, 37.62}, false},
		{"edge", withHole, Point{55.75, 37.60}, true},
		{"east edge", withHole, Point{55.75, 37.64}, true},
		{"vertex", withHole, Point{55.74, 37.60}, true},
		{"far vertex", withHole, Point{55.76, 37.64}, true},
		{"hole edge", withHole, Point{55.75, 37.615}, true},
		{"hole vertex", withHole, Point{55.747, 37.615}, true},
		{"a hair inside the hole", withHole, Point{55.7470000001, 37.62}, false},
		{"a hair outside", withHole, Point{55.75, 37.599999999}, false},
		{"not a number", withHole, Point{math.NaN(), 37.62}, false},
		{"infinite", withHole, Point{55.75, math.Inf(1)}, false},
		{"west of 180", both, Point{-16.95, 179.95}, true},
		{"east of 180", both, Point{-16.95, -179.95}, true},
		{"on 180", both, Point{-16.95, 180}, true},
		{"on -180", both, Point{-16.95, -180}, true},
		{"other side of the Earth", both, Point{-16.95, 0}, false},
		{"just west", both, Point{-16.95, 179.8}, false},
		{"just east", both, Point{-16.95, -179.8}, false},
		{"north", both, Point{-16.85, 180}, false},
		{"edge on 180", map[string]*Shape{"": atSeam}, Point{5, 180}, true},
		{"edge on 180 as -180", map[string]*Shape{"": atSeam}, Point{5, -180}, true},
		{"beyond 180", map[string]*Shape{"": atSeam}, Point{5, -179.9}, false},
		{"edge on -180 as 180", map[string]*Shape{"": atSeamWest}, Point{5, 180}, true},
		{"edge on -180", map[string]*Shape{"": atSeamWest}, Point{5, -180}, true},
	}
	for _, tt := range tests {
		for name, s := range tt.shapes {
			if got := indexed(t, s, tt.at); got != tt.want {
				t.Errorf("%s (%s): got %v, want %v", tt.name, name, got, tt.want)
			}
		}
	}
	// Both encodings are one area.
	if a, b := split.AreaM2(), whole.AreaM2(); math.Abs(a-b) > 1e-6*a {
		t.Errorf("areas %v and %v", a, b)
	}
	for _, p := range []Point{{-16.95, 179.999}, {-16.95, 180}, {-16.95, -179.97}, {-16.8, 180}, {-16.95, 179.8}} {
		a, b := split.EdgeDistanceM(p), whole.EdgeDistanceM(p)
		if math.Abs(a-b) > 1e-3 {
			t.Errorf("edge distance at %v: %v split, %v whole", p, a, b)
		}
	}
	if c := split.Center(); math.Abs(c.Lat+16.95) > 1e-9 || math.Abs(math.Abs(c.Lng)-180) > 1e-9 {
		t.Errorf("centre of the split area is %v", c)
	}
}

func TestNewPolygonsRefuses(t *testing.T) {
	ok := rect(0, 0, 1, 1)
	nan := rect(0, 0, 1, 1)
	nan[2].Lat = math.NaN()
	tests := []struct {
		name  string
		polys []Polygon
		want  error
	}{
		{"nothing", nil, ErrPolygon},
		{"no rings", []Polygon{{}}, ErrPolygon},
		{"empty ring", []Polygon{{{}}}, ErrPolygon},
		{"unclosed", []Polygon{{ok[:4]}}, ErrPolygon},
		{"three positions", []Polygon{{{{0, 0}, {1, 1}, {0, 0}}}}, ErrPolygon},
		{"all equal", []Polygon{{{{1, 1}, {1, 1}, {1, 1}, {1, 1}}}}, ErrPolygon},
		{"on one line", []Polygon{{{{0, 0}, {0.1, 0.1}, {0.3, 0.3}, {0, 0}}}}, ErrPolygon},
		{"NaN", []Polygon{{nan}}, ErrPosition},
		{"latitude", []Polygon{{rect(89, 0, 95, 1)}}, ErrPosition},
		{"longitude", []Polygon{{rect(0, 170, 1, 190)}}, ErrPosition},
		{"round the pole", []Polygon{{{{80, 0}, {80, 90}, {80, 180}, {80, -90}, {80, 0}}}}, ErrPolygon},
		{"round the Earth and back", []Polygon{{spiral(), ok}}, ErrPolygon},
		{"bad hole", []Polygon{{ok, ok[:3]}}, ErrPolygon},
		{"second polygon", []Polygon{{ok}, {ok[:4]}}, ErrPolygon},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := NewPolygons(tt.polys); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			} else {
				t.Log(err)
			}
		})
	}
}

// spiral goes twice round the Earth and back a little further north.
func spiral() []Point {
	var out, in []Point
	for i := range 25 {
		lng := wrapLng(float64(i) * 30)
		out = append(out, Point{float64(i), lng})
		in = append(in, Point{float64(i) + 0.5, lng})
	}
	out = append(out, reversed(in)...)
	return append(out, out[0])
}

// A seam of many short edges must not cost the square of their number.
func TestPolygonSeamOfManyEdges(t *testing.T) {
	const n = 20_000
	west, east := []Point{{0, 179}}, []Point{{0, -179}}
	for i := range n + 1 {
		west = append(west, Point{float64(i) / n, 180})
		east = append(east, Point{float64(i) / n, -180})
	}
	west = append(west, Point{1, 179}, west[0])
	east = append(east, Point{1, -179}, east[0])
	s := mustPolygons(t, Polygon{west}, Polygon{east})
	if len(s.area.seams) != 1 {
		t.Errorf("%d seams, want 1", len(s.area.seams))
	}
	p := Point{0.5, 179.999}
	if d := s.EdgeDistanceM(p); math.Abs(d+DistanceM(p, Point{0, 179.999})) > 1 {
		t.Errorf("edge distance %v", d)
	}
	if !s.Contains(Point{0.5, 180}) || !s.Contains(Point{0.25, -180}) {
		t.Error("a point on the seam is not inside")
	}
}

// A band of latitudes and a cap with the pole's edge are read literally.
func TestPolygonsRoundTheEarth(t *testing.T) {
	band := mustPolygons(t, Polygon{rect(-10, -180, 10, 180)})
	cap := mustPolygons(t, Polygon{{{-90, -180}, {-90, 180}, {-60, 180}, {-65, 0}, {-60, -180}, {-90, -180}}})
	world := mustPolygons(t, Polygon{rect(-90, -180, 90, 180)})
	tests := []struct {
		name string
		s    *Shape
		at   Point
		want bool
	}{
		{"band", band, Point{0, 100}, true}, {"band at 180", band, Point{10, 180}, true},
		{"band at -180", band, Point{0, -180}, true}, {"off the band", band, Point{11, 0}, false},
		{"cap", cap, Point{-80, 10}, true}, {"south pole", cap, Point{-90, 77}, true},
		{"off the cap", cap, Point{-62, 0}, false}, {"world", world, Point{90, -180}, true},
		{"world", world, Point{12, 34}, true},
	}
	for _, tt := range tests {
		if got := indexed(t, tt.s, tt.at); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	const earth = 510065621.7e6 // area of WGS84, square metres
	if a := world.AreaM2(); math.Abs(a-earth) > 1e-5*earth {
		t.Errorf("area of the Earth: %v", a)
	}
}

func TestPolygonEdgeDistance(t *testing.T) {
	s := mustPolygons(t, Polygon{rect(55.74, 37.60, 55.76, 37.64), rect(55.747, 37.615, 55.753, 37.625)})
	_, perLng := metresPerDegree(55.75)
	tests := []struct {
		at   Point
		want float64
	}{
		{Point{55.75, 37.601}, -0.001 * perLng},
		{Point{55.75, 37.599}, 0.001 * perLng},
		{Point{55.75, 37.616}, 0.001 * perLng}, // in the hole
		{Point{55.75, 37.60}, 0},
		{Point{55.73, 37.59}, DistanceM(Point{55.73, 37.59}, Point{55.74, 37.60})},
	}
	for _, tt := range tests {
		if got := s.EdgeDistanceM(tt.at); math.Abs(got-tt.want) > 2e-3 {
			t.Errorf("at %v: got %.4f, want %.4f", tt.at, got, tt.want)
		}
	}
	if d := s.EdgeDistanceM(Point{math.NaN(), 0}); !math.IsNaN(d) {
		t.Errorf("NaN gives %v", d)
	}
}

// TestPolygonEdgeDistanceDense compares with the least geodesic distance to many
// points of the boundary.
func TestPolygonEdgeDistanceDense(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 1))
	for round := range 150 {
		c := Point{rng.Float64()*160 - 80, rng.Float64()*360 - 180}
		size := 50 * math.Exp(rng.Float64()*7)
		s, ok := randomStar(rng, c, size, 5+rng.IntN(60))
		if !ok {
			continue
		}
		for range 4 {
			p := around(rng, c, size*2.5*rng.Float64()).normal()
			least := math.Inf(1)
			for _, poly := range s.Polygons() {
				for _, ring := range poly {
					for i := 1; i < len(ring); i++ {
						dLng := wrapLng(ring[i].Lng - ring[i-1].Lng)
						for k := 0.0; k <= 400; k++ {
							q := Point{ring[i-1].Lat + k/400*(ring[i].Lat-ring[i-1].Lat), wrapLng(ring[i-1].Lng + k/400*dLng)}
							least = min(least, chordSq(p.ECEF(), q.ECEF()))
						}
					}
				}
			}
			least = math.Sqrt(least)
			got := math.Abs(s.EdgeDistanceM(p))
			if got > least*1.001+0.01 || got < least*0.999-size/400 {
				t.Fatalf("round %d: %v to a star of %.0f m at %v: got %.3f, want %.3f", round, p, size, c, got, least)
			}
			if s.Contains(p) != (s.EdgeDistanceM(p) <= 0) {
				t.Fatalf("round %d: the sign is wrong at %v", round, p)
			}
		}
	}
}

func TestCrosses(t *testing.T) {
	shop := mustCircle(t, tashkent, 200)
	fiji := mustCircle(t, taveuni, 200)
	zero := mustCircle(t, Point{-16.8, 0}, 50_000)
	pole := mustCircle(t, northPole, 1000)
	square := mustPolygons(t, Polygon{rect(55.74, 37.60, 55.76, 37.64)})
	split := mustPolygons(t, Polygon{rect(-17, 179.9, -16.9, 180)}, Polygon{rect(-17, -180, -16.9, -179.9)})
	tests := []struct {
		name string
		s    *Shape
		a, b Point
		want bool
	}{
		{"through the centre", shop, Point{41.2994999, 69.2365180}, Point{41.2994999, 69.2436821}, true},
		{"195 m north", shop, Point{41.3012557, 69.2365180}, Point{41.3012557, 69.2436821}, true},
		{"205 m north", shop, Point{41.3013458, 69.2365180}, Point{41.3013458, 69.2436821}, false},
		{"stops before", shop, Point{41.2994999, 69.2365180}, Point{41.2994999, 69.2370}, false},
		{"starts inside", shop, tashkent, Point{41.4, 69.24}, true},
		{"standing still outside", shop, Point{41.3, 69.3}, Point{41.3, 69.3}, false},
		{"standing still inside", shop, tashkent, tashkent, true},
		{"short way over 180", fiji, Point{-16.8, 179.99}, Point{-16.8, -179.99}, true},
		{"not the long way", zero, Point{-16.8, 179.99}, Point{-16.8, -179.99}, false},
		{"over 180 but north of it", fiji, Point{-16.79, 179.99}, Point{-16.79, -179.99}, false},
		{"over the pole", pole, Point{89.9, 10}, Point{89.9, -170}, true},
		{"past the pole", pole, Point{89.9, 10}, Point{89.9, 100}, false},
		{"long flight over it", shop, Point{30, 69.2401}, Point{50, 69.2401}, true},
		{"half round the Earth over it", shop, Point{-40, 69.2401}, Point{70, -110.7599}, true},
		{"half round the Earth elsewhere", shop, Point{-40, 10}, Point{70, -110}, false},
		{"far behind", shop, Point{-41, -110}, Point{-42, -111}, false},
		{"polygon", square, Point{55.75, 37.5}, Point{55.75, 37.7}, true},
		{"polygon corner cut", square, Point{55.731, 37.61}, Point{55.751, 37.59}, true},
		{"polygon passed by", square, Point{55.77, 37.5}, Point{55.765, 37.7}, false},
		{"split polygon", split, Point{-16.95, 179.8}, Point{-16.95, -179.8}, true},
		{"split polygon, from the east", split, Point{-16.95, -179.8}, Point{-16.95, 179.8}, true},
		{"split polygon, along 180", split, Point{-16, 180}, Point{-18, -180}, true},
		{"split polygon, north of it", split, Point{-16.8, 179.8}, Point{-16.8, -179.8}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.s.Crosses(tt.a, tt.b); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if got := tt.s.Crosses(tt.b, tt.a); got != tt.want {
				t.Errorf("the other way: got %v, want %v", got, tt.want)
			}
		})
	}
}

// A path crosses a circle exactly when one of its points is inside; checked by
// walking it in small steps.
func TestCrossesEqualsWalk(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 1))
	for range 3000 {
		c := randomPlace(rng).normal()
		r := 50 * math.Exp(rng.Float64()*5)
		s := mustCircle(t, c, r)
		a, b := around(rng, c, 3*r*rng.Float64()), around(rng, c, 3*r*rng.Float64())
		least := math.Inf(1)
		u, v := a.ECEF().vec(), b.ECEF().vec()
		for k := 0.0; k <= 1; k += 1.0 / 512 {
			m := u.mul(1 - k).add(v.mul(k))
			m = m.mul((u.norm()*(1-k) + v.norm()*k) / m.norm()) // on the surface, near enough
			least = min(least, m.sub(s.disc.at.vec()).norm())
		}
		if math.Abs(least-r) < r*0.005 {
			continue
		}
		if got := s.Crosses(a, b); got != (least < r) {
			t.Fatalf("circle %v %.0f m, %v to %v: got %v, comes to %.1f m", c, r, a, b, got, least)
		}
	}
}

func TestShapeFacts(t *testing.T) {
	c := mustCircle(t, moscow, 200)
	if !c.IsCircle() || c.RadiusM() != 200 || c.SizeM() != 200 || c.Center() != moscow || c.Polygons() != nil {
		t.Error("circle facts")
	}
	if a := c.AreaM2(); math.Abs(a-math.Pi*200*200) > 1 {
		t.Errorf("circle area %v", a)
	}
	perLat, perLng := metresPerDegree(55.75)
	sq := mustPolygons(t, Polygon{rect(55.74, 37.60, 55.76, 37.64), rect(55.745, 37.61, 55.755, 37.63)})
	want := perLat*perLng*0.02*0.04 - perLat*perLng*0.01*0.02
	if a := sq.AreaM2(); math.Abs(a-want) > 1e-4*want {
		t.Errorf("polygon area %v, want %v", a, want)
	}
	if sq.IsCircle() || sq.RadiusM() != 0 || math.Abs(sq.SizeM()-math.Sqrt(want/math.Pi)) > 1 || len(sq.Polygons()) != 1 {
		t.Error("polygon facts")
	}
	if g := sq.Center(); math.Abs(g.Lat-55.75) > 1e-9 || math.Abs(g.Lng-37.62) > 1e-9 {
		t.Errorf("centroid %v", g)
	}
	if mustCircle(t, moscow, 200).Hash() != c.Hash() || mustCircle(t, moscow, 201).Hash() == c.Hash() ||
		mustCircle(t, Point{0, math.Copysign(0, -1)}, 5).Hash() != mustCircle(t, Point{0, 0}, 5).Hash() {
		t.Error("circle hash")
	}
	if got, want := c.Hash(), uint64(hashOfMoscow); got != want {
		t.Errorf("the hash has changed: %#x, want %#x; stored catalogues depend on it", got, want)
	}
	if mustPolygons(t, sq.Polygons()...).Hash() != sq.Hash() || mustPolygons(t, sq.Polygons()[0][:1]).Hash() == sq.Hash() {
		t.Error("polygon hash")
	}
	in := Polygon{rect(0, 0, 1, 1)}
	s := mustPolygons(t, in)
	in[0][0].Lat = 77
	if s.Polygons()[0][0][0].Lat != 0 {
		t.Error("the shape aliases its input")
	}
	empty := new(Shape)
	if empty.Contains(Point{}) || empty.Crosses(Point{}, Point{}) || Cover(empty) != nil {
		t.Error("the zero Shape is not empty")
	}
}

const hashOfMoscow = 0x1e095f90579b7f9a
