package fences

import (
	"strings"
	"testing"
)

// The bad fences that engines accept or mangle in silence: each is refused with
// its own reason, and a circle keeps its id and properties through a round trip.
func TestBadFencesAreRefused(t *testing.T) {
	tests := []struct {
		name, doc, code, says string
	}{
		{"radius missing", point("a", ``, "[1,2]"), codeRadius, "no radius"},
		{"radius 0", point("a", `"radius":0`, "[1,2]"), codeRadius, "0 m"},
		{"radius -5", point("a", `"radius":-5`, "[1,2]"), codeRadius, "-5 m"},
		{"radius abc", point("a", `"radius":"abc"`, "[1,2]"), codeRadius, `"abc"`},
		{"radius 1e400", point("a", `"radius":1e400`, "[1,2]"), codeRadius, "1e400"},
		{"radius 1e9", point("a", `"radius":1e9`, "[1,2]"), codeTooLarge, "limit"},
		{"units unknown", point("a", `"radius":1,"radius_units":"leagues"`, "[1,2]"), codeRadius, `"mi"`},
		{"lat 95", circleAt("a", "[100,95]"), codeCoordinate, "latitude 95"},
		{"unclosed ring", polygonOf("a", "[[[0,0],[1,0],[1,1],[0,1]]]"), codeUnclosed, "first position"},
		{"3-point ring", polygonOf("a", "[[[0,0],[1,0],[0,0]]]"), codeDegenerate, "too few"},
		{"all-equal ring", polygonOf("a", "[[[1,1],[1,1],[1,1],[1,1]]]"), codeDegenerate, "too few"},
		{"collinear ring", polygonOf("a", "[[[0,0],[1,1],[2,2],[0,0]]]"), codeDegenerate, "no area"},
		{"bow-tie", polygonOf("a", "[[[0,0],[2,2],[2,0],[0,2],[0,0]]]"), codeCrossing, "[1, 1]"},
		{"hole outside", polygonOf("a", "["+square+",[[8,8],[8,9],[9,9],[9,8],[8,8]]]"), codeHole, "outside"},
		{"hole equal to the exterior", polygonOf("a", "["+square+",[[0,0],[0,4],[4,4],[4,0],[0,0]]]"), codeHole, "whole area"},
		{"hole crossing the exterior", polygonOf("a", "["+square+",[[3,1],[3,3],[6,3],[6,1],[3,1]]]"), codeHole, "crosses"},
		{"holes overlapping", polygonOf("a", "["+square+",[[1,1],[1,3],[3,3],[3,1],[1,1]],[[2,2],[2,3.5],[3.5,3.5],[3.5,2],[2,2]]]"), codeHole, "another hole"},
		{"empty coordinates", polygonOf("a", "[]"), codeGeometry, "empty"},
		{"empty ring", polygonOf("a", "[[]]"), codeGeometry, "empty"},
		{"empty MultiPolygon", multi("a", "[]"), codeGeometry, "empty"},
		{"empty FeatureCollection", `{"type":"FeatureCollection","features":[]}`, codeEmpty, "no fence"},
		{"null geometry", `{"type":"Feature","id":"a","properties":{},"geometry":null}`, codeGeometry, "null"},
		{"LineString", `{"type":"Feature","id":"a","properties":{},"geometry":{"type":"LineString","coordinates":[[0,0],[1,1]]}}`, codeGeometry, "LineString"},
		{"duplicate type keys", strings.Replace(good, `"id"`, `"type":"Feature","id"`, 1), codeTwice, "twice"},
		{"lat/lng swapped", circleAt("a", "[43.1,131.9]"), codeCoordinate, "looks like lat, lng"},
		{"pole", polygonOf("a", "[[[0,80],[120,80],[-120,80],[0,80]]]"), codePole, "pole"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fs, findings := Parse("x", []byte(tt.doc), Options{})
			for _, f := range findings {
				if f.Code == tt.code && f.Severity == SeverityError && strings.Contains(f.Message, tt.says) {
					if len(fs) > 0 {
						t.Errorf("refused, but %d fences", len(fs))
					}
					return
				}
			}
			t.Errorf("no %s that says %q in %v", tt.code, tt.says, findings)
		})
	}
}

// Radius units, types and forms of circles that mean the same.
func TestCircleForms(t *testing.T) {
	tests := []struct {
		properties string
		want       float64
	}{
		{`"radius":200`, 200},
		{`"type":"Circle","radius":200,"radius_units":"m"`, 200},
		{`"type":"circle","radius":2e2,"radius_units":""`, 200},
		{`"radius":0.2,"radius_units":"km"`, 200},
		{`"radius":1,"radius_units":"mi"`, 1609.344},
		{`"radius":500,"radius_units":"ft"`, 152.4},
		{`"subType":"Circle","radius":200`, 200},
		{`"type":"Truck"`, 150}, // Options.DefaultRadiusM
		{`"radius":null`, 150},
	}
	for _, tt := range tests {
		fs, findings := Parse("x", []byte(point("a", tt.properties, "[30.5,50.4]")), Options{DefaultRadiusM: 150})
		if len(fs) != 1 || HasErrors(findings) {
			t.Errorf("%s: %v", tt.properties, findings)
			continue
		}
		if s := &fs[0].Shape; !s.IsCircle() || s.RadiusM() != tt.want || s.Center().Lat != 50.4 || s.Center().Lng != 30.5 {
			t.Errorf("%s: radius %v at %v, want %v", tt.properties, s.RadiusM(), s.Center(), tt.want)
		}
	}
}

// The radius beside the coordinates and the name beside the properties, as in TomTom's API; ours count first.
func TestCircleOfTomTom(t *testing.T) {
	for _, tt := range []struct {
		properties string
		radius     float64
		name       string
	}{{``, 200, "Khreshchatyk"}, {`"name":"Besarabka"`, 200, "Besarabka"}, {`"radius":150`, 150, "Khreshchatyk"}} {
		fs, findings := Parse("x", []byte(tomtom(tt.properties)), Options{DefaultRadiusM: 300})
		if len(fs) != 1 || HasErrors(findings) || fs[0].Shape.RadiusM() != tt.radius || fs[0].Name != tt.name {
			t.Errorf("%s: %+v %v", tt.properties, fs, findings)
		}
	}
	if fs, findings := Parse("x", []byte(strings.Replace(tomtom(""), ":200", `:"far"`, 1)), Options{}); len(fs) != 0 || tally(findings)[codeRadius] != 1 {
		t.Errorf("a radius that is no number gave %v %v", fs, findings)
	}
}

// A polygon that a drawing program made of a circle is the circle again.
func TestPlacemarkCircle(t *testing.T) {
	ring := "[[30.5028101,50.4],[30.5019870,50.4012709],[30.5,50.4017974],[30.4980130,50.4012709],[30.4971899,50.4],[30.4980130,50.3987290],[30.5,50.3982025],[30.5019870,50.3987290],[30.5028101,50.4]]"
	doc := `{"type":"Feature","id":"a","properties":{"@circle":{"type":"geodesic","center":[30.5,50.4]}},"geometry":{"type":"Polygon","coordinates":[` + ring + `]}}`
	fs, findings := Parse("x", []byte(doc), Options{})
	if len(fs) != 1 || !fs[0].Shape.IsCircle() || fs[0].Shape.RadiusM() < 199 || fs[0].Shape.RadiusM() > 201 || tally(findings)[codeForeignForm] != 1 {
		t.Fatalf("%v %v", fs, findings)
	}
	fixed := ApplyFixes([]byte(doc), findings)
	again, findings := Parse("x", fixed, Options{})
	if len(again) != 1 || len(findings) != 0 || again[0].Shape.Hash() != fs[0].Shape.Hash() {
		t.Errorf("after the fix %s: %v", fixed, findings)
	}
	// Dragged out of shape since: the ring counts.
	moved := strings.Replace(doc, "[30.5,50.4017974]", "[30.5,50.41]", 1)
	if fs, _ := Parse("x", []byte(moved), Options{}); len(fs) != 1 || fs[0].Shape.IsCircle() {
		t.Errorf("an edited ring is still read as a circle: %v", fs)
	}
}
