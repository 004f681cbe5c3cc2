package fences

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dataDir finds the shared test data above the package, or skips the test.
func dataDir(t testing.TB, sub string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		d := filepath.Join(dir, "shared", "data", sub)
		if _, err := os.Stat(d); err == nil {
			return d
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Skipf("no folder shared/data/%s above this package: real data is not tested", sub)
		}
		dir = up
	}
}

// tally counts findings by code, with what each stands for.
func tally(findings []Finding) map[string]int {
	n := map[string]int{}
	for _, f := range findings {
		n[f.Code] += max(f.Count, 1)
	}
	return n
}

// ogcInvalid counts the features that the OGC rule would refuse.
func ogcInvalid(findings []Finding) int {
	bad := map[string]bool{}
	for _, f := range findings {
		switch f.Code {
		case codeCrossing, codeDegenerate, codeHole, codeTouch, codeParts, codePole:
			bad[f.Pointer[:len("/features/")+bytes.IndexByte([]byte(f.Pointer[len("/features/"):]+"/"), '/')]] = true
		}
	}
	return len(bad)
}

// The real files load with exactly the dirt that their README names.
func TestRealFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("files of many megabytes")
	}
	dir := dataDir(t, "fences")
	tests := []struct {
		file    string
		fences  int
		invalid int            // areas that break the OGC rule
		idKey   string         // IDKeyIndex when not given
		dirt    map[string]int // every code but W01, W03 and I06
	}{
		{file: "berlin_areas", fences: 97, dirt: map[string]int{"W07": 165_920, "W09": 1}},
		{file: "de_lidl", fences: 3223},
		{file: "dublin_areas", fences: 23, dirt: map[string]int{"W11": 34}},
		{file: "in_bangalore_malls", fences: 31},
		{file: "moscow_districts", fences: 125, dirt: map[string]int{"W11": 2}},
		// "zone" is a taxi zone here. One of them, Jamaica, is an IANA name too.
		{file: "nyc_taxi_zones", fences: 263, dirt: map[string]int{"W07": 196_361, "W15": 262}},
		{file: "osm_buildings_li_bayreuth", fences: 13_265},
		{file: "osm_moscow_buildings", fences: 628},
		// Nine areas cross themselves or have a bad hole; parts of the tenth overlap.
		{file: "russia_regions", fences: 74, invalid: 10, dirt: map[string]int{"E07": 23, "E11": 1, "W16": 1}},
		// 102 share a position: 70, and 32 of the 33 at [0, 0].
		{file: "sf_food_permits", fences: 488, dirt: map[string]int{"W07": 910, "W08": 33, "W12": 70}},
		{file: "sf_neighborhoods", fences: 37, invalid: 3, dirt: map[string]int{"W10": 3}},
		{file: "sg_supermarkets_raw", fences: 526, dirt: map[string]int{"I02": 526, "I05": 526, "W07": 1052, "W09": 1, "W12": 41}},
		{file: "ua_kyiv_osm_places", fences: 200},
		{file: "ua_phone_stores_200m", fences: 106, dirt: map[string]int{"W08": 1, "W12": 9}},
		{file: "us_counties", fences: 3192, invalid: 39, dirt: map[string]int{"E07": 78, "E10": 22, "W10": 1, "W11": 120}},
		{file: "us_target", fences: 1926},
		{file: "us_walmart", fences: 4622, dirt: map[string]int{"W12": 1}},
		{file: "us_zcta_dc_de_ct_hi", fences: 497},
		{file: "world_cities_points", fences: 171_075, dirt: map[string]int{"W12": 37}},
		{file: "world_countries_10m", idKey: "name", fences: 203, invalid: 53, dirt: map[string]int{"E07": 191, "E10": 14, "E13": 1, "W06": 2, "W10": 7, "W11": 11}},
		{file: "world_countries_50m", fences: 241, dirt: map[string]int{"W07": 192_363}},
		{file: "world_ikea", fences: 207, dirt: map[string]int{"W07": 220, "W12": 3}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			fs, findings, err := Load(filepath.Join(dir, tt.file+".geojson.gz"), Options{DefaultRadiusM: 200, IDKey: cmp.Or(tt.idKey, IDKeyIndex), MaxFindings: 1e6})
			if err != nil {
				t.Fatal(err)
			}
			got := tally(findings)
			for _, c := range []string{codeWinding, codeOverlap, codeMore} {
				delete(got, c)
			}
			if len(fs) != tt.fences || ogcInvalid(findings) != tt.invalid || !maps.Equal(got, tt.dirt) {
				t.Errorf("%d fences, %d invalid, %#v; want %d, %d, %#v", len(fs), ogcInvalid(findings), got, tt.fences, tt.invalid, tt.dirt)
			}
		})
	}
}

// The areas file of data/events leaves out the three areas that the OGC rule
// calls invalid: OGC with SkipInvalid gives just that set, ids as in the events.
func TestSkipInvalidReproducesTheOracleSet(t *testing.T) {
	fs, findings, err := Load(filepath.Join(dataDir(t, "fences"), "sf_neighborhoods.geojson.gz"), Options{IDKey: IDKeyIndex, SkipInvalid: true, OGC: true})
	if err != nil || HasErrors(findings) || len(fs) != 34 {
		t.Fatalf("%d fences, errors %v, %v; want 34", len(fs), HasErrors(findings), err)
	}
	have := map[ID]bool{}
	for _, f := range fs {
		have[f.ID] = true
	}
	in, err := read(filepath.Join(dataDir(t, "events"), "sf_cabs_2008-06-06_first25__sf_neighborhoods.csv.gz"), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(in), []byte("\n"))[1:]
	for _, line := range lines {
		if id := ID(bytes.Split(line, []byte(","))[1]); !have[id] {
			t.Fatalf("the events name fence %s, which was left out", id)
		}
	}
	if len(lines) != 8177 {
		t.Errorf("%d events, want 8177", len(lines))
	}
}

// A member of the ids' property must not hide the feature's own id.
func TestOwnIDComesFirst(t *testing.T) {
	fs, _, err := Load(filepath.Join(dataDir(t, "fences"), "ua_phone_stores_200m.geojson.gz"), Options{IDKey: "id"})
	if err != nil || len(fs) == 0 || fs[0].ID != "ua-000" {
		t.Fatalf("first id %v, %v", fs, err)
	}
}

// Documents of five projects' suites: none crashes, the valid ones are accepted
// as far as they are points or areas, and a refusal has a reason. A bare geometry
// is refused and read again as a feature's, so that its coordinates are judged.
func TestConformanceCases(t *testing.T) {
	in, err := read(filepath.Join(dataDir(t, "geojson"), "geojson_cases.ndjson.gz"), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	// Valid documents that we refuse with another reason than that they hold a
	// geometry which is no area, by their number.
	refused := map[string]int{
		"E04 null geometry": 3, "E05 latitude -107": 1, "E17 no features": 1,
	}
	// What others call invalid and we accept, and what we say about it.
	accepted := map[string]string{
		"feature_changed_semantics.geojson":             "",          // foreign members
		"featurecollection_changed_semantics.geojson":   "",          // as above
		"geometry_changed_semantics.geojson":            "",          // as above
		"bad-polygon-interiorring-rhr.geojson":          codeWinding, // never blocks
		"polygon_winding_order.geojson":                 codeWinding,
		"invalid_exterior_not_ccw.geojson":              codeWinding,
		"invalid_interior_not_cw.geojson":               codeWinding,
		"bbox-4or6elements.geojson":                     codeBBox, // not used
		"bbox-contains-string.geojson":                  codeBBox,
		"bbox-string.geojson":                           codeBBox,
		"invalid_geometry_bbox_not4or6.geojson":         codeBBox,
		"invalid_geometry_bbox_not_list.geojson":        codeBBox,
		"invalid_geometry_bbox_not_numbers.geojson":     codeBBox,
		"invalid_geometry_coordinates_4d.geojson":       codeAltitude,
		"different-first-size.geojson":                  codeAltitude, // closed but for the altitude
		"point-toomany.geojson":                         codeAltitude,
		"multipoly-with-2-vertices-touching.geojson":    codeTouch,
		"polygon-with-hole-2-vertices-touching.geojson": codeTouch,
		"multipolygons-overlap.geojson":                 codeParts,
	}
	sc := bufio.NewScanner(bytes.NewReader(in))
	sc.Buffer(nil, 1<<24)
	n, fine := 0, 0
	for sc.Scan() {
		var c struct{ ID, Claim, Text string }
		if err := json.Unmarshal(sc.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		n++
		o := Options{DefaultRadiusM: 200, IDKey: IDKeyIndex}
		fs, findings := Parse("case.geojson", []byte(c.Text), o)
		if len(findings) > 0 && strings.Contains(findings[0].Message, "bare") {
			fs, findings = Parse("case.geojson", []byte(`{"type":"Feature","properties":{},"geometry":`+c.Text+`}`), o)
		}
		codes := map[string]bool{}
		noArea := false
		for _, f := range findings {
			if f.Message == "" || codeIndex[f.Code] == nil {
				t.Errorf("%s: finding without a reason: %+v", c.ID, f)
			}
			codes[f.Code] = true
			noArea = noArea || strings.Contains(f.Message, "is no area")
		}
		if !HasErrors(findings) {
			fine++
			if len(fs) == 0 {
				t.Errorf("%s: no fence and no reason", c.ID)
			}
			want, known := accepted[filepath.Base(c.ID)]
			if c.Claim == "invalid" && (!known || want != "" && !codes[want]) {
				t.Errorf("%s: accepted, saying %v", c.ID, codes)
			}
			continue
		}
		if c.Claim != "valid" || noArea {
			continue
		}
		switch {
		case codes[codeGeometry]:
			refused["E04 null geometry"]--
		case codes[codeCoordinate]:
			refused["E05 latitude -107"]--
		case codes[codeEmpty]:
			refused["E17 no features"]--
		default:
			t.Errorf("%s: valid, but %v", c.ID, findings)
		}
	}
	for what, left := range refused {
		if left != 0 {
			t.Errorf("%d valid cases too many or too few are refused for %s", -left, what)
		}
	}
	if n != 237 || fine != 89 {
		t.Errorf("%d of %d cases accepted, want 89 of 237", fine, n)
	}
}
