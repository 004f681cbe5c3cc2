package geo

import (
	"bufio"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"footfall/internal/cputime"
)

// kinds are the distinct kinds of problems, winding left out unless asked for.
func kinds(ps []Problem, winding bool) []ProblemKind {
	var out []ProblemKind
	for _, p := range ps {
		if (winding || p.Kind != Winding) && !slices.Contains(out, p.Kind) {
			out = append(out, p.Kind)
		}
	}
	slices.Sort(out)
	return out
}

// ring makes a closed ring of lng, lat pairs.
func ring(v ...float64) []Point {
	var out []Point
	for i := 0; i < len(v); i += 2 {
		out = append(out, Point{v[i+1], v[i]})
	}
	return append(out, out[0])
}

func TestCheckPolygonTable(t *testing.T) {
	sq := ring(0, 0, 10, 0, 10, 10, 0, 10)
	hole := func(x, y, s float64) []Point { return ring(x, y, x, y+s, x+s, y+s, x+s, y) }
	tests := []struct {
		name string
		poly Polygon
		want []ProblemKind
	}{
		{"square", Polygon{sq}, nil},
		{"square with a hole", Polygon{sq, hole(4, 4, 2)}, nil},
		{"clockwise", Polygon{reversed(sq)}, []ProblemKind{Winding}},
		{"hole counter-clockwise", Polygon{sq, reversed(hole(4, 4, 2))}, []ProblemKind{Winding}},
		{"no rings", Polygon{}, []ProblemKind{TooFewPositions}},
		{"empty ring", Polygon{{}}, []ProblemKind{TooFewPositions}},
		{"unclosed", Polygon{sq[:4]}, []ProblemKind{Unclosed}},
		{"two positions", Polygon{ring(0, 0, 1, 1)}, []ProblemKind{TooFewPositions}},
		{"all equal", Polygon{ring(1, 1, 1, 1, 1, 1)}, []ProblemKind{ZeroArea, DuplicatePosition}},
		{"on one line", Polygon{ring(0, 0, 1, 1, 3, 3)}, []ProblemKind{ZeroArea}},
		{"there and back", Polygon{ring(0, 0, 1, 1, 2, 2, 1, 1)}, []ProblemKind{ZeroArea}},
		{"bow-tie", Polygon{ring(0, 0, 10, 10, 10, 0, 0, 10)}, []ProblemKind{SelfCrossing}},
		{"figure of eight through a corner", Polygon{ring(0, 0, 5, 5, 10, 0, 10, 10, 5, 5, 0, 10)}, []ProblemKind{SelfTouch}},
		{"figure of eight crossing in a corner", Polygon{ring(0, 0, 5, 5, 10, 10, 10, 0, 5, 5, 0, 10)}, []ProblemKind{SelfCrossing}},
		{"corner touches an edge from inside", Polygon{ring(0, 0, 10, 0, 10, 10, 5, 0, 0, 10)}, []ProblemKind{SelfTouch}},
		{"corner goes through an edge", Polygon{ring(0, 0, 10, 0, 10, 10, 5, -1, 0, 10)}, []ProblemKind{SelfCrossing}},
		{"spike", Polygon{ring(0, 0, 10, 0, 10, 5, 15, 5, 10, 5, 10, 10, 0, 10)}, []ProblemKind{SelfCrossing}},
		{"runs along itself", Polygon{ring(0, 0, 10, 0, 10, 5, 4, 5, 4, 8, 8, 8, 8, 5, 2, 5, 2, 10, 0, 10)}, []ProblemKind{SelfCrossing}},
		{"repeated position", Polygon{ring(0, 0, 10, 0, 10, 0, 10, 10, 0, 10)}, []ProblemKind{DuplicatePosition}},
		{"hole outside", Polygon{sq, hole(20, 20, 2)}, []ProblemKind{HoleOutside}},
		{"hole crosses", Polygon{sq, hole(8, 4, 5)}, []ProblemKind{HoleCrossing}},
		{"hole shares a part of an edge", Polygon{sq, hole(0, 4, 2)}, []ProblemKind{HoleCrossing}},
		{"hole equals the exterior", Polygon{sq, reversed(sq)}, []ProblemKind{HoleEqualsExterior}},
		{"hole touches in one point", Polygon{sq, ring(0, 5, 3, 6, 3, 4)}, nil},
		{"hole touches in two points", Polygon{sq, ring(0, 5, 5, 6, 10, 5, 5, 4)}, []ProblemKind{DisconnectedInterior}},
		{"hole surrounds the exterior", Polygon{hole(4, 4, 2), reversed(sq)}, []ProblemKind{HoleOutside, Winding}},
		{"holes apart", Polygon{sq, hole(1, 1, 2), hole(6, 6, 2)}, nil},
		{"holes cross", Polygon{sq, hole(2, 2, 4), hole(5, 5, 3)}, []ProblemKind{HolesOverlap}},
		{"hole in a hole", Polygon{sq, hole(1, 1, 8), hole(4, 4, 2)}, []ProblemKind{HolesOverlap}},
		{"equal holes", Polygon{sq, hole(4, 4, 2), hole(4, 4, 2)}, []ProblemKind{HolesOverlap}},
		{"holes touch in one point", Polygon{sq, hole(2, 2, 2), hole(4, 4, 2)}, nil},
		{"round the pole", Polygon{ring(0, 80, 90, 80, 180, 80, -90, 80)}, []ProblemKind{ContainsPole}},
		{"latitude 95", Polygon{ring(0, 0, 1, 0, 1, 95)}, []ProblemKind{BadPosition}},
		{"NaN", Polygon{ring(0, 0, 1, 0, math.NaN(), 1)}, []ProblemKind{BadPosition}},
		{"bad hole only", Polygon{sq, {{1, 1}}}, []ProblemKind{TooFewPositions, Unclosed}[:1]},
		{"across 180", Polygon{ring(179, 0, -179, 0, -179, 1, 179, 1)}, nil},
		{"across 180 with a hole written from the other side", Polygon{ring(179, 0, -179, 0, -179, 2, 179, 2), ring(-179.5, 0.5, -179.5, 1, -179.2, 1)}, nil},
		{"bow-tie across 180", Polygon{ring(179, 0, -179, 1, -179, 0, 179, 1)}, []ProblemKind{SelfCrossing}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := CheckPolygon(tt.poly, 10)
			if k := kinds(got, true); !slices.Equal(k, tt.want) {
				t.Errorf("got %v, want %v: %+v", k, tt.want, got)
			}
			for _, p := range got {
				if p.Detail == "" || strings.Contains(p.Kind.String(), "unknown") {
					t.Errorf("no words for %+v", p)
				}
			}
		})
	}
}

func TestCheckPolygonSaysWhere(t *testing.T) {
	got := CheckPolygon(Polygon{ring(0, 0, 10, 10, 10, 0, 0, 10)}, 10)
	if len(got) != 2 && len(got) != 1 {
		t.Fatalf("got %+v", got)
	}
	p := got[0]
	if p.Kind != SelfCrossing || p.Ring != 0 || p.Vertex != 0 || p.At != (Point{5, 5}) {
		t.Errorf("got %+v", p)
	}
	// Over the antimeridian the place is given in the usual range.
	got = CheckPolygon(Polygon{ring(179, 0, -179, 1, -179, 0, 179, 1)}, 1)
	if len(got) != 1 || math.Abs(got[0].At.Lng) != 180 || got[0].At.Lat != 0.5 {
		t.Errorf("got %+v", got)
	}
}

func TestCheckPolygonLimit(t *testing.T) {
	// A star through its own middle crosses itself everywhere.
	n := 2001
	var star []Point
	for i := range n {
		sin, cos := math.Sincos(float64(i) * 2 * math.Pi * 1000 / float64(n))
		star = append(star, Point{sin, cos})
	}
	star = append(star, star[0])
	start := cputime.Used()
	got := CheckPolygon(Polygon{star}, 7)
	if len(got) != 7 || got[0].Kind != SelfCrossing {
		t.Errorf("got %d problems: %+v", len(got), got)
	}
	if d := cputime.Used() - start; d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

// bigRing is a wobbly ring of n corners.
func bigRing(n int) []Point {
	rng := rand.New(rand.NewPCG(5, 5))
	out := make([]Point, 0, n+1)
	for i := range n {
		sin, cos := math.Sincos(float64(i) * 2 * math.Pi / float64(n))
		r := 1 + 0.2*math.Sin(float64(i)*40*math.Pi/float64(n)) + 0.5/float64(n)*rng.Float64()
		out = append(out, Point{50 + r*sin, 10 + r*cos})
	}
	return append(out, out[0])
}

func TestCheckPolygonLargeIsFast(t *testing.T) {
	if testing.Short() {
		t.Skip("a matter of time")
	}
	r := bigRing(100_000)
	start := cputime.Used()
	got := CheckPolygon(Polygon{r}, 10)
	d := cputime.Used() - start
	if len(got) != 0 {
		t.Errorf("got %+v", got)
	}
	t.Logf("100,000 corners: %v", d)
	if d > 5*time.Second { // the goal is well under one; slow machines share it
		t.Errorf("took %v", d)
	}
	// One crossing among them is found.
	r[5000], r[60_000] = r[60_000], r[5000]
	if got := CheckPolygon(Polygon{r}, 10); !slices.Equal(kinds(got, false), []ProblemKind{SelfCrossing}) {
		t.Errorf("got %+v", got)
	}
	// One position far off must not slow the rest down.
	far := bigRing(100_000)
	far[7000] = Point{far[7000].Lat, 170}
	start = cputime.Used()
	CheckPolygon(Polygon{far}, 10)
	if d := cputime.Used() - start; d > 5*time.Second {
		t.Errorf("with a far corner: %v", d)
	} else {
		t.Logf("with a far corner: %v", d)
	}
	// Long parallel edges, aslant.
	slant := make([]Point, 0, 50_005)
	for i := range 50_000 {
		slant = append(slant, Point{float64(i%2) * 10, float64(i)/5000 + float64(i%2)*8})
	}
	slant = append(slant, Point{11, 25}, Point{11, -5}, Point{-1, -5}, Point{-0.5, 0}, slant[0])
	start = cputime.Used()
	if got := CheckPolygon(Polygon{slant}, 10); len(kinds(got, false)) != 0 {
		t.Errorf("slanted comb: %+v", got)
	}
	if d := cputime.Used() - start; d > 5*time.Second {
		t.Errorf("slanted comb: %v", d)
	} else {
		t.Logf("slanted comb: %v", d)
	}
	comb := make([]Point, 0, 20_003)
	for i := range 10_000 {
		comb = append(comb, Point{float64(i%2) * 10, float64(i) / 1000})
	}
	comb = append(comb, Point{11, 9.999}, Point{11, 0}, Point{0, 0})
	if got := CheckPolygon(Polygon{comb}, 10); len(kinds(got, false)) != 0 {
		t.Errorf("comb: %+v", got)
	}
}

// TestCheckPolygonRealAreas counts the invalid areas of these files by the OGC rules;
// the figures are GEOS's.
func TestCheckPolygonRealAreas(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine that computes")
	}
	tests := []struct {
		file    string
		invalid int
		touch   bool // the invalid ones only touch themselves
		heavy   bool
	}{
		{"sf_neighborhoods", 3, true, false},
		{"world_countries_50m", 0, false, true},
		{"world_countries_10m", 53, false, true},
		{"us_counties", 39, false, false},
		{"russia_regions", 9, false, false}, // GEOS counts 10: in one, two polygons that are valid by themselves overlap
		{"us_zcta_dc_de_ct_hi", 0, false, true},
		{"nyc_taxi_zones", 0, false, true},
		{"berlin_areas", 0, false, false},
		{"moscow_districts", 0, false, false},
		{"dublin_areas", 0, false, false},
		{"osm_moscow_buildings", 0, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			if tt.heavy && os.Getenv("FOOTFALL_LONG") != "1" {
				t.Skip("large file: set FOOTFALL_LONG=1")
			}
			invalid := 0
			for _, f := range dataAreas(t, "fences/"+tt.file+".geojson.gz") {
				bad := false
				for i, poly := range f.polys {
					for _, p := range CheckPolygon(poly, 5) {
						if !p.Kind.Valid() {
							bad = true
							if tt.invalid == 0 || tt.touch && p.Kind != SelfTouch {
								t.Errorf("feature %s polygon %d: %+v", f.id, i, p)
							}
						}
					}
				}
				if bad {
					invalid++
				}
			}
			if invalid != tt.invalid {
				t.Errorf("%d invalid areas, want %d", invalid, tt.invalid)
			}
		})
	}
}

// parseWKT reads POINT, MULTIPOINT, POLYGON and MULTIPOLYGON in plane units, thousandths of a
// degree.
func parseWKT(s string) (kind string, polys []Polygon) {
	open := strings.IndexByte(s, '(')
	if open < 0 {
		return "", nil
	}
	kind = strings.ToUpper(strings.TrimSpace(s[:open]))
	if kind == "MULTIPOINT" { // with or without brackets around each point
		s = s[:open+1] + strings.NewReplacer("(", "", ")", "").Replace(s[open:]) + ")"
	}
	depth, base := 0, map[string]int{"POINT": 1, "MULTIPOINT": 1, "POLYGON": 2, "MULTIPOLYGON": 3}[kind]
	if base == 0 {
		return "", nil
	}
	start := 0
	for i, ch := range s {
		switch ch {
		case '(':
			depth++
			if depth == base-1 || base == 1 || base == 2 && depth == 1 {
				polys = append(polys, Polygon{})
			}
			start = i + 1
		case ')':
			if depth == base {
				var r []Point
				for _, pair := range strings.Split(s[start:i], ",") {
					f := strings.Fields(pair)
					if len(f) < 2 {
						return "", nil
					}
					x, err1 := strconv.ParseFloat(f[0], 64)
					y, err2 := strconv.ParseFloat(f[1], 64)
					if err1 != nil || err2 != nil {
						return "", nil
					}
					r = append(r, Point{y / 1000, x / 1000})
				}
				last := &polys[len(polys)-1]
				*last = append(*last, r)
			}
			depth--
		}
	}
	return kind, polys
}

// TestPlanarCases runs the point-in-area and validity cases of the JTS suite.
func TestPlanarCases(t *testing.T) {
	sc := bufio.NewScanner(dataFile(t, "geojson/planar_cases.ndjson.gz"))
	sc.Buffer(nil, 1<<24)
	covers, valid := 0, 0
	for sc.Scan() {
		var c struct {
			ID, Desc, A, B string
			Expect         struct{ Covers, IsValid *bool }
		}
		if err := json.Unmarshal(sc.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		kindA, a := parseWKT(c.A)
		kindB, b := parseWKT(c.B)
		area := func(k string) bool { return k == "POLYGON" || k == "MULTIPOLYGON" }
		if c.Expect.Covers != nil || c.Expect.IsValid == nil {
			if strings.HasSuffix(kindA, "POINT") && area(kindB) {
				kindA, kindB, a, b = kindB, kindA, b, a
				c.Expect.Covers = nil // says whether the point covers the area
			}
			if !area(kindA) || !strings.HasSuffix(kindB, "POINT") {
				continue
			}
			want, ok := coversOf(sc.Bytes(), c.Expect.Covers)
			if !ok {
				continue
			}
			s, err := NewPolygons(a)
			if err != nil {
				continue
			}
			covers++
			got := true
			for _, p := range b[0][0] {
				got = got && s.Contains(p)
			}
			if got != want {
				t.Errorf("%s %s: Contains = %v, want %v\n%s\n%s", c.ID, c.Desc, got, want, c.A, c.B)
			}
			continue
		}
		if kindA != "POLYGON" {
			continue // how polygons lie to each other is not ours to judge
		}
		bad := false
		var found []Problem
		for _, poly := range a {
			for _, p := range CheckPolygon(poly, 10) {
				if !p.Kind.Valid() {
					bad = true
					found = append(found, p)
				}
			}
		}
		if len(found) > 0 && found[0].Kind == BadPosition || strings.Contains(c.A, "EMPTY") {
			continue // beyond the globe, or no polygon at all
		}
		valid++
		if bad == *c.Expect.IsValid {
			t.Errorf("%s %s: valid = %v, want %v: %+v\n%s", c.ID, c.Desc, !bad, *c.Expect.IsValid, found, c.A)
		}
	}
	t.Logf("%d containment and %d validity cases", covers, valid)
	if covers < 48 || valid < 260 {
		t.Errorf("only %d containment and %d validity cases", covers, valid)
	}
}

// coversOf is whether the area covers the point: stated, or read from coveredBy when
// the case has the point first.
func coversOf(line []byte, covers *bool) (want, ok bool) {
	if covers != nil {
		return *covers, true
	}
	var c struct {
		Expect struct{ CoveredBy *bool }
	}
	if json.Unmarshal(line, &c) != nil {
		return false, false
	}
	if c.Expect.CoveredBy != nil {
		return *c.Expect.CoveredBy, true
	}
	return false, false
}

func BenchmarkCheckPolygon(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		r := bigRing(n)
		b.Run("corners="+strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				if got := CheckPolygon(Polygon{r}, 10); len(got) != 0 {
					b.Fatal(got)
				}
			}
		})
	}
}
