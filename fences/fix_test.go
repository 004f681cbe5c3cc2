package fences

import (
	"slices"
	"strings"
	"testing"
)

// Every fix, applied, leaves a document in which its finding is gone, and the
// text around it as it was.
func TestFixes(t *testing.T) {
	tests := []struct {
		name, doc string
		o         Options
		code      string
		want      string // the document after the fix
	}{
		{"trailing comma", `{"type":"FeatureCollection","features":[` + good + ` , ]}`, Options{}, codeSyntax, `{"type":"FeatureCollection","features":[` + good + `  ]}`},
		{"type's case", `{"type":"featureCollection","features":[` + good + `]}`, Options{}, codeNotGeoJSON, `{"type":"FeatureCollection","features":[` + good + `]}`},
		{"no id, a line of its own", "{\n  \"type\": \"Feature\",\n  \"properties\": {\"name\":\"Gulliver Mall!\",\"radius\":200},\n  \"geometry\": {\"type\":\"Point\",\"coordinates\":[1,2]}\n}", Options{}, codeID,
			"{\n  \"id\": \"gulliver-mall\",\n  \"type\": \"Feature\",\n  \"properties\": {\"name\":\"Gulliver Mall!\",\"radius\":200},\n  \"geometry\": {\"type\":\"Point\",\"coordinates\":[1,2]}\n}"},
		{"null id", strings.Replace(good, `"ok"`, "null", 1), Options{}, codeID, strings.Replace(good, `"ok"`, `"fence"`, 1)},
		{"repeated id", collection(good, circleAt("ok", "[31,50]"), circleAt("ok-2", "[32,50]")), Options{}, codeID, collection(good, circleAt("ok-3", "[31,50]"), circleAt("ok-2", "[32,50]"))},
		{"quoted number", circleAt("a", `["30.5",50.4]`), Options{}, codeCoordinate, circleAt("a", `[30.5,50.4]`)},
		{"swapped, out of range", circleAt("a", `[ 43.1 , 131.9, 5 ]`), Options{}, codeCoordinate, circleAt("a", `[ 131.9 , 43.1, 5 ]`)},
		{"wrapped", circleAt("a", `[190.5,5]`), Options{}, codeCoordinate, circleAt("a", `[-169.5,5]`)},
		{"close ring", polygonOf("a", "[[[0,0], [4,0], [4,4], [0,4]]]"), Options{}, codeUnclosed, polygonOf("a", "[[[0,0], [4,0], [4,4], [0,4], [0,0]]]")},
		{"radius text", point("a", `"radius":"200"`, "[1,2]"), Options{}, codeRadius, point("a", `"radius":200`, "[1,2]")},
		{"crossed text", point("a", `"radius":200,"crossed":"True"`, "[1,2]"), Options{}, codeProperty, point("a", `"radius":200,"crossed":true`, "[1,2]")},
		{"winding", polygonOf("a", "[[[0,0], [0,4,1],\n[4,4],[4,0],[0,0]]]"), Options{}, codeWinding, polygonOf("a", "[[[0,0], [4,0],\n[4,4],[0,4,1],[0,0]]]")},
		{"swapped, by its neighbours", collection(circleAt("a", "[30.5,50.4]"), circleAt("b", "[30.6,50.4]"), circleAt("c", "[30.5,50.5]"), circleAt("e", "[50.45, 30.52]")), Options{}, codeSwapped,
			collection(circleAt("a", "[30.5,50.4]"), circleAt("b", "[30.6,50.4]"), circleAt("c", "[30.5,50.5]"), circleAt("e", "[30.52, 50.45]"))},
		{"decimals", circleAt("a", "[30.123456789,-0.00000000001]"), Options{}, codeDecimals, circleAt("a", "[30.1234568,0]")},
		{"crs first", `{"crs":{"type":"name","properties":{"name":"EPSG:4326"}},"type":"FeatureCollection","features":[` + good + `]}`, Options{}, codeCRSMember, `{"type":"FeatureCollection","features":[` + good + `]}`},
		{"crs last", `{"type":"FeatureCollection","features":[` + good + `] , "crs" : {"type":"name","properties":{"name":"EPSG:4326"}} }`, Options{}, codeCRSMember, `{"type":"FeatureCollection","features":[` + good + `]  }`},
		{"repeated position", polygonOf("a", "[[[0,0],[4,0],[4,0],[4,0],[4,4],[0,4],[0,0]]]"), Options{}, codeRepeated, polygonOf("a", "[[[0,0],[4,0],[4,4],[0,4],[0,0]]]")},
		{"Azure", point("a", `"subType": "Circle","radius":200`, "[1,2]"), Options{}, codeForeignForm, point("a", `"type": "Circle","radius":200`, "[1,2]")},
		{"TomTom", tomtom(`"k":1`), Options{}, codeForeignForm, tomtom(`"type":"Circle","radius":200,"k":1`)},
		{"TomTom, no properties of its own", tomtom(""), Options{}, codeForeignForm, tomtom(`"type":"Circle","radius":200`)},
		{"near miss", point("a", `"Radus":150`, "[1,2]"), Options{DefaultRadiusM: 200}, codeNearMiss, point("a", `"radius":150`, "[1,2]")},
		{"byte order mark", bom + good, Options{}, codeBOM, good},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, findings := Parse("x", []byte(tt.doc), tt.o)
			if tally(findings)[tt.code] == 0 {
				t.Fatalf("no %s in %v", tt.code, findings)
			}
			only := slices.DeleteFunc(findings, func(f Finding) bool { return f.Code != tt.code })
			got := string(ApplyFixes([]byte(tt.doc), only))
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if _, findings := Parse("x", []byte(got), tt.o); tally(findings)[tt.code] != 0 {
				t.Errorf("the finding is still there: %v", findings)
			}
		})
	}
}

// Fixes that meet in one place take turns.
func TestRepairInRounds(t *testing.T) {
	// Clockwise, unclosed, a repeated position, many decimals, no id, a comma too many.
	doc := `{"type":"Feature","properties":{},"geometry":{"type":"Polygon","coordinates":[[[0,0],[0,4],[0,4],[4.123456789,4],[4,0]]]},}`
	fixed, n := Repair("x", []byte(doc), Options{}, nil)
	fs, findings := Parse("x", fixed, Options{})
	if len(fs) != 1 || len(findings) != 0 || n < 6 {
		t.Errorf("%d fixes gave %s with %v", n, fixed, findings)
	}
	kept, n := Repair("x", []byte(doc), Options{}, func(f Finding) bool { return f.Code == codeSyntax })
	if n != 1 || string(kept) != strings.Replace(doc, "]},}", "]}}", 1) {
		t.Errorf("with one code kept, %d fixes gave %s", n, kept)
	}
}

// Edits that do not fit the text must not corrupt it.
func TestApplyFixesRefusesBadEdits(t *testing.T) {
	data := []byte("0123456789")
	fix := func(e ...Edit) Finding { return Finding{Fix: &Fix{Edits: e}} }
	got := ApplyFixes(data, []Finding{
		fix(Edit{Offset: 2, Length: 3, Text: "x"}),
		fix(Edit{Offset: 4, Length: 2, Text: "y"}), // overlaps
		fix(Edit{Offset: 9, Length: 5, Text: "z"}), // beyond the end
		fix(Edit{Offset: -1, Length: 1, Text: "z"}),
		fix(Edit{Offset: 7, Length: 1}, Edit{Offset: 3, Length: 1}), // half of it overlaps: left out whole
		fix(Edit{Offset: 8, Length: 2}, Edit{Offset: 7, Length: 2}), // against each other
		fix(Edit{Offset: 5, Text: "+"}),
		{},
	})
	if string(got) != "01x+56789" || string(data) != "0123456789" {
		t.Errorf("got %s from %s", got, data)
	}
}
