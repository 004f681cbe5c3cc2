package fences

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// good is a valid circle, as a feature.
const good = `{"type":"Feature","id":"ok","properties":{"radius":200},"geometry":{"type":"Point","coordinates":[30.5,50.4]}}`

func point(id, properties, coordinates string) string {
	return `{"type":"Feature","id":"` + id + `","properties":{` + properties + `},"geometry":{"type":"Point","coordinates":` + coordinates + `}}`
}

// tomtom is a circle as TomTom's Geofencing API writes it.
func tomtom(properties string) string {
	return `{"type":"Feature","id":"a","name":"Khreshchatyk","properties":{` + properties + `},"geometry":{"radius":200,"type":"Point","shapeType":"Circle","coordinates":[1,2]}}`
}

func circleAt(id, coordinates string) string { return point(id, `"radius":200`, coordinates) }

func polygonOf(id, rings string) string {
	return `{"type":"Feature","id":"` + id + `","properties":{},"geometry":{"type":"Polygon","coordinates":` + rings + `}}`
}

func multi(id, polygons string) string {
	return `{"type":"Feature","id":"` + id + `","properties":{},"geometry":{"type":"MultiPolygon","coordinates":` + polygons + `}}`
}

func collection(features ...string) string {
	return `{"type":"FeatureCollection","features":[` + "\n" + strings.Join(features, ",\n") + "\n]}"
}

const square = `[[0,0],[4,0],[4,4],[0,4],[0,0]]`

// brief prints a finding with its pointer and the text that it marks, found by
// line and columns as an editor would: "E08 /properties/radius «-5»".
func brief(f Finding, doc string) string {
	if f.Line == 0 {
		return f.Code + " " + f.Pointer
	}
	line := []rune(strings.TrimPrefix(strings.ToValidUTF8(strings.Split(doc, "\n")[f.Line-1], "?"), bom))
	text := string(line[f.Col-1 : min(f.EndCol-1, len(line))])
	if len(text) > 24 {
		text = text[:24] + "…"
	}
	return f.Code + " " + f.Pointer + " «" + text + "»"
}

func briefs(fs []Finding, doc string) []string {
	var out []string
	for _, f := range fs {
		out = append(out, brief(f, doc))
	}
	return out
}

// check is a document, how it is read, and everything that is to be found.
type check struct {
	name   string
	file   string // x.geojson unless given
	doc    string
	o      Options
	fences int
	want   []string // all findings, as brief prints them
	says   string   // part of the first finding's message
}

var checks = []check{
	{name: "good", doc: collection(good), fences: 1},
	{name: "one feature alone", doc: good, fences: 1},
	{name: "lines", doc: good + "\n" + circleAt("b", "[30.6,50.4]") + "\n", fences: 2},
	{name: "text sequence", doc: "\x1e" + good + "\n\x1e" + circleAt("b", "[30.6,50.4]") + "\n", fences: 2},
	{name: "lines, one of them broken", file: "x.ndjson", doc: good + "\n{\"type\":\n" + circleAt("b", "[30.6,50.4]"), fences: 2,
		want: []string{`E01 /type «»`}, says: "the text ends"},
	{name: "records, one of them broken", doc: "\x1e" + good + "\n\x1e{\"type\":\n\x1e" + circleAt("b", "[30.6,50.4]"), fences: 2,
		want: []string{`E01 /type «»`}, says: "the text ends"},
	{name: "lines with more behind a value", file: "x.ndjson", doc: good + "]\n" + circleAt("b", "[30.6,50.4]"), fences: 2,
		want: []string{`E01  «]»`}},

	{name: "E01 empty", doc: " \n", want: []string{`E01  «»`}, says: "empty"},
	{name: "E01 missing comma", doc: `{"type":"FeatureCollection" "features":[]}`, want: []string{`E01 /type «"»`}, says: "expected ',' or '}'"},
	{name: "E01 trailing comma", doc: `{"type":"FeatureCollection","features":[` + good + `,]}`, fences: 1, want: []string{`E01 /features/1 «,»`}, says: "a comma with nothing after it"},
	{name: "E01 cut off", doc: `{"type":"FeatureCollection","features":[`, want: []string{`E01 /features/0 «»`}, says: "the text ends"},
	{name: "E01 bare word", doc: `{"type":Feature}`, want: []string{`E01 /type «Feature»`}, says: "needs double quotes"},
	{name: "E01 NaN", doc: point("a", `"radius":NaN`, "[1,2]"), want: []string{`E01 /properties/radius «NaN»`}},
	{name: "E01 leading zero", doc: point("a", `"radius":0200`, "[1,2]"), want: []string{`E01 /properties/radius «0200»`}, says: "not a JSON number"},
	{name: "E01 line break in text", doc: "{\"type\":\"Fea\nture\"}", want: []string{`E01 /type «"Fea»`}, says: "no closing quote on its line"},
	{name: "E01 bad escape", doc: `{"type":"\x"}`, want: []string{`E01 /type «\x»`}, says: "escape"},
	{name: "E01 control character", doc: "{\"type\":\"a\x01\"}", want: []string{"E01 /type «\x01»"}, says: "0x01"},
	{name: "E01 trailing bytes", doc: good + "}", fences: 1, want: []string{`E01  «}»`}, says: "expected the end"},
	{name: "E01 not UTF-8", doc: point("a", `"radius":200,"x":"caf`+"\xe9"+`"`, "[1,2]"), fences: 1, want: []string{`E01 /properties/x «?»`}, says: "0xE9"},
	{name: "E01 UTF-16", doc: "\xff\xfe{\x00", want: []string{`E01  «?{»`}, says: "UTF-16"},
	{name: "E01 gzip", doc: "\x1f\x8b\x08", want: []string{"E01  «\x1f?»"}, says: ".gz"},
	{name: "E01 too deep", doc: `{"type":"Feature","x":` + strings.Repeat("[", 101), want: []string{`E01 /x/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0 «[»`}, says: "nested deeper"},

	{name: "E02 array", doc: "[1]", want: []string{`E02  «[»`}, says: "an array"},
	{name: "E02 no type", doc: "{}", want: []string{`E02  «{»`}},
	{name: "E02 type not text", doc: `{"type":{}}`, want: []string{`E02 /type «{}»`}},
	{name: "E02 bare geometry", doc: `{"type":"Point","coordinates":[1,2]}`, want: []string{`E02 /type «"Point"»`}, says: "wrap it"},
	{name: "E02 TopoJSON", doc: `{"type":"Topology"}`, want: []string{`E02 /type «"Topology"»`}, says: "TopoJSON"},
	{name: "E02 case", doc: `{"type":"featurecollection","features":[]}`, want: []string{`E02 /type «"featurecollection"»`}, says: "the case matters"},
	{name: "E02 no features", doc: `{"type":"FeatureCollection"}`, want: []string{`E02  «{»`}},
	{name: "E02 features an object", doc: `{"type":"FeatureCollection","features":{}}`, want: []string{`E02 /features «{}»`}},
	{name: "E02 null feature", doc: collection(good, "null"), fences: 1, want: []string{`E02 /features/1 «null»`}},
	{name: "E02 mistyped feature", doc: collection(strings.Replace(good, "Feature", "Featre", 1)), want: []string{`E02 /features/0/type «"Featre"»`}},

	{name: "E03 no id", doc: collection(`{"type":"Feature","properties":{"radius":200},"geometry":{"type":"Point","coordinates":[1,2]}}`), want: []string{`E03 /features/0 «{»`}},
	{name: "E03 null id", doc: strings.Replace(good, `"ok"`, "null", 1), want: []string{`E03  «{»`}},
	{name: "E03 object id", doc: strings.Replace(good, `"ok"`, "{}", 1), want: []string{`E03 /id «{}»`}},
	{name: "E03 empty id", doc: circleAt("", "[1,2]"), want: []string{`E03 /id «""»`}},
	{name: "E03 long id", doc: circleAt(strings.Repeat("x", 257), "[1,2]"), want: []string{`E03 /id «"xxxxxxxxxxxxxxxxxxxxxxx…»`}, says: "257 bytes"},
	{name: "E03 control character", doc: circleAt(`a\u0007`, "[1,2]"), want: []string{`E03 /id «"a\u0007"»`}},
	{name: "E03 repeated", doc: collection(good, circleAt("ok", "[31,50]")), fences: 1, want: []string{`E03 /features/1/id «"ok"»`}, says: "line 2"},
	{name: "E03 property missing", doc: strings.Replace(good, `"id":"ok",`, "", 1), o: Options{IDKey: "ref"}, want: []string{`E03  «{»`}, says: `"ref"`},

	{name: "E04 none", doc: `{"type":"Feature","id":"a","properties":{}}`, want: []string{`E04  «{»`}},
	{name: "E04 null", doc: `{"type":"Feature","id":"a","properties":{},"geometry":null}`, want: []string{`E04 /geometry «null»`}},
	{name: "E04 text", doc: `{"type":"Feature","id":"a","properties":{},"geometry":"x"}`, want: []string{`E04 /geometry «"x"»`}},
	{name: "E04 line", doc: `{"type":"Feature","id":"a","properties":{},"geometry":{"type":"LineString","coordinates":[[1,2],[3,4]]}}`, want: []string{`E04 /geometry/type «"LineString"»`}, says: "LineString is no area"},
	{name: "E04 no coordinates", doc: `{"type":"Feature","id":"a","properties":{},"geometry":{"type":"Polygon"}}`, want: []string{`E04 /geometry «{»`}},
	{name: "E04 empty polygon", doc: polygonOf("a", "[]"), want: []string{`E04 /geometry/coordinates «[]»`}},
	{name: "E04 empty multipolygon", doc: multi("a", "[]"), want: []string{`E04 /geometry/coordinates «[]»`}},
	{name: "E04 empty point", doc: circleAt("a", "[]"), want: []string{`E04 /geometry/coordinates «[]»`}},

	{name: "E05 text", doc: circleAt("a", `["30.5",50.4]`), want: []string{`E05 /geometry/coordinates/0 «"30.5"»`}, says: "remove the quotes"},
	{name: "E05 null", doc: circleAt("a", `[null,50.4]`), want: []string{`E05 /geometry/coordinates/0 «null»`}},
	{name: "E05 one number", doc: circleAt("a", `[30.5]`), want: []string{`E05 /geometry/coordinates «[30.5]»`}},
	{name: "E05 1e400", doc: circleAt("a", `[1e400,5]`), want: []string{`E05 /geometry/coordinates/0 «1e400»`}, says: "too large"},
	{name: "E05 swapped", doc: circleAt("a", `[50.4,130.5]`), want: []string{`E05 /geometry/coordinates «[50.4,130.5]»`}, says: "looks like lat, lng"},
	{name: "E05 latitude", doc: circleAt("a", `[150,95]`), want: []string{`E05 /geometry/coordinates «[150,95]»`}, says: "latitude 95"},
	{name: "E05 longitude", doc: circleAt("a", `[190,5]`), want: []string{`E05 /geometry/coordinates «[190,5]»`}, says: "the same place is -170"},
	{name: "E05 projected", doc: circleAt("a", `[3395183.2,6525342.1]`), want: []string{`E05 /geometry/coordinates «[3395183.2,6525342.1]»`}, says: "map projection"},
	{name: "E05 nesting", doc: polygonOf("a", "[[0,0],[4,0],[4,4],[0,0]]"), want: []string{`E05 /geometry/coordinates/0 «[»`}, says: "not nested deeply enough"},

	{name: "E06", doc: polygonOf("a", "[[[0,0],[4,0],[4,4],[0,4]]]"), want: []string{`E06 /geometry/coordinates/0/3 «[0,4]»`}},
	{name: "E07", doc: polygonOf("a", "[[[0,0],[4,4],[4,0],[0,3],[0,0]]]"), want: []string{`E07 /geometry/coordinates/0/0 «[0,0]»`}, says: "crosses itself at"},

	{name: "E08 missing", doc: point("a", "", "[1,2]"), want: []string{`E08  «{»`}},
	{name: "E08 negative", doc: point("a", `"radius":-5`, "[1,2]"), want: []string{`E08 /properties/radius «-5»`}, says: "between 10 and 100000 m"},
	{name: "E08 text", doc: point("a", `"radius":"200"`, "[1,2]"), want: []string{`E08 /properties/radius «"200"»`}},
	{name: "E08 1e400", doc: point("a", `"radius":1e400`, "[1,2]"), want: []string{`E08 /properties/radius «1e400»`}},
	{name: "E08 units", doc: point("a", `"radius":2,"radius_units":"nm"`, "[1,2]"), want: []string{`E08 /properties/radius_units «"nm"»`}},
	{name: "E09 radius", doc: point("a", `"radius":1e9`, "[1,2]"), want: []string{`E09 /properties/radius «1e9»`}},
	{name: "E09 positions", doc: polygonOf("a", "["+square+"]"), o: Options{MaxVertices: 4}, want: []string{`E09 /geometry/coordinates/0/4 «[»`}},
	{name: "E09 features", doc: collection(good, circleAt("b", "[1,2]")), o: Options{MaxFeatures: 1}, fences: 1, want: []string{`E09 /features/1 «{»`}},
	{name: "E09 features, line by line", doc: good + "\n" + circleAt("b", "[1,2]"), o: Options{MaxFeatures: 1}, fences: 1, want: []string{`E09  «{»`}},
	{name: "E09 bytes", doc: collection(good), o: Options{MaxBytes: 10}, want: []string{`E09  «»`}},
	{name: "E09 area", doc: polygonOf("a", "[[[-80,-80],[80,-80],[80,80],[-80,80],[-80,-80]]]"), want: []string{`E09 /geometry «{"type":"Polygon","coord…»`}},
	{name: "E10 few", doc: polygonOf("a", "[[[0,0],[4,0],[0,0]]]"), want: []string{`E10 /geometry/coordinates/0 «[0,0]»`}},
	{name: "E10 one line", doc: polygonOf("a", "[[[0,0],[1,1],[2,2],[0,0]]]"), want: []string{`E10 /geometry/coordinates/0 «[0,0]»`}},
	{name: "E11 outside", doc: polygonOf("a", "["+square+",[[8,8],[8,9],[9,9],[9,8],[8,8]]]"), want: []string{`E11 /geometry/coordinates/1 «[8,8]»`}},
	{name: "E12 priority", doc: point("a", `"radius":200,"priority":"high"`, "[1,2]"), want: []string{`E12 /properties/priority «"high"»`}},
	{name: "E12 fraction", doc: point("a", `"radius":200,"priority":1.5`, "[1,2]"), want: []string{`E12 /properties/priority «1.5»`}},
	{name: "E12 dwell", doc: point("a", `"radius":200,"dwell":"soon"`, "[1,2]"), want: []string{`E12 /properties/dwell «"soon"»`}, says: "PT5M"},
	{name: "E12 no time away", doc: point("a", `"radius":200,"min_away":"soon"`, "[1,2]"), want: []string{`E12 /properties/min_away «"soon"»`}},
	{name: "E12 long stay", doc: point("a", `"radius":200,"min_stay":"P8D"`, "[1,2]"), want: []string{`E12 /properties/min_stay «"P8D"»`}},
	{name: "E12 crossed", doc: point("a", `"radius":200,"crossed":"true"`, "[1,2]"), want: []string{`E12 /properties/crossed «"true"»`}},
	{name: "E12 tags", doc: point("a", `"radius":200,"tags":[1]`, "[1,2]"), want: []string{`E12 /properties/tags «[1]»`}},
	{name: "E12 store", doc: point("a", `"radius":200,"store":[]`, "[1,2]"), want: []string{`E12 /properties/store «[]»`}},
	{name: "E12 zone", doc: point("a", `"radius":200,"zone":"Europe/Kiew"`, "[1,2]"), want: []string{`E12 /properties/zone «"Europe/Kiew"»`}, says: "Europe/Kyiv"},
	{name: "E12 margin", doc: point("a", `"radius":200,"exit_margin":-1`, "[1,2]"), want: []string{`E12 /properties/exit_margin «-1»`}},
	{name: "E12 properties", doc: strings.Replace(good, `{"radius":200}`, "[]", 1), o: Options{DefaultRadiusM: 200}, want: []string{`E12 /properties «[]»`}},
	{name: "E12 default zone", doc: good, o: Options{DefaultZone: "Mars"}, fences: 1, want: []string{`E12 `}},
	{name: "E13", doc: polygonOf("a", "[[[0,80],[120,80],[-120,80],[0,80]]]"), want: []string{`E13 /geometry/coordinates/0 «[0,80]»`, `W06 /geometry/coordinates/0/2 «[-120,80]»`}},
	{name: "E14", doc: `{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"EPSG:3857"}},"features":[` + good + `]}`, fences: 1, want: []string{`E14 /crs «{"type":"name","properti…»`}},
	{name: "E15", doc: strings.Replace(good, `"id"`, `"type":"Feature","id"`, 1), want: []string{`E15 /type «"type"»`}},
	{name: "E15 radius", doc: point("a", `"radius":200,"radius":300`, "[1,2]"), want: []string{`E15 /properties/radius «"radius"»`}, says: `first as "radius":200`},
	{name: "E15 escaped", doc: point("a", `"radius":200,"\u0072adius":300`, "[1,2]"), want: []string{`E15 /properties/radius «"\u0072adius"»`}},
	{name: "E17", doc: `{"type":"FeatureCollection","features":[]}`, want: []string{`E17  «»`}},

	{name: "W01", doc: polygonOf("a", "[[[0,0],[0,4],[4,4],[4,0],[0,0]]]"), fences: 1, want: []string{`W01 /geometry/coordinates/0 «[»`}},
	{name: "W02", doc: collection(circleAt("a", "[30.5,50.4]"), circleAt("b", "[30.6,50.4]"), circleAt("c", "[30.5,50.5]"), circleAt("d", "[30.6,50.5]"), circleAt("e", "[50.45,30.52]")), fences: 5,
		want: []string{`W02 /features/4/geometry/coordinates «[50.45,30.52]»`}, says: "the other 4 fences are near [30.6, 50.4]"},
	{name: "W03", doc: collection(point("big", `"radius":1000`, "[30.5,50.4]"), point("small", `"radius":200`, "[30.501,50.4]")), fences: 2,
		want: []string{`W03 /features/0 «{»`}, says: `"small" wins (smaller area)`},
	{name: "W03 priority", doc: collection(point("big", `"radius":1000,"priority":1`, "[30.5,50.4]"), point("small", `"radius":200`, "[30.501,50.4]")), fences: 2,
		want: []string{`W03 /features/1 «{»`}, says: `"big" wins (higher priority)`},
	{name: "W03 across the antimeridian", doc: collection(circleAt("a", "[179.9995,10]"), circleAt("b", "[-179.9995,10]")), fences: 2, want: []string{`W03 /features/1 «{»`}},
	{name: "W03 areas", doc: collection(polygonOf("a", "["+square+"]"), polygonOf("b", "[[[3,3],[7,3],[7,7],[3,7],[3,3]]]")), fences: 2, want: []string{`W03 /features/0 «{»`}},
	{name: "neighbours do not overlap", doc: collection(polygonOf("a", "["+square+"]"), polygonOf("b", "[[[4,0],[8,0],[8,4],[4,4],[4,0]]]")), fences: 2},
	{name: "W05", doc: point("a", `"radius":50`, "[1,2]"), fences: 1, want: []string{`W05 /properties/radius «50»`}},
	{name: "W06", doc: polygonOf("a", "[[[179.9,-17],[-179.9,-17],[-179.9,-16.9],[179.9,-16.9],[179.9,-17]]]"), fences: 1, want: []string{`W06 /geometry/coordinates/0/1 «[-179.9,-17]»`}},
	{name: "W07", doc: circleAt("a", "[30.123456789,50.4]"), fences: 1, want: []string{`W07 /geometry/coordinates «30.123456789»`}},
	{name: "W08", doc: circleAt("a", "[0,0]"), fences: 1, want: []string{`W08 /geometry/coordinates «[0,0]»`}},
	{name: "W09", doc: `{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:OGC:1.3:CRS84"}},"features":[` + good + `]}`, fences: 1, want: []string{`W09 /crs «{"type":"name","properti…»`}},
	{name: "W10", doc: polygonOf("a", "[[[0,0],[4,0],[2,2],[4,4],[0,4],[2,2],[0,0]]]"), fences: 1, want: []string{`W10 /geometry/coordinates/0/2 «[2,2]»`}},
	{name: "W10 under OGC", doc: polygonOf("a", "[[[0,0],[4,0],[2,2],[4,4],[0,4],[2,2],[0,0]]]"), o: Options{OGC: true}, want: []string{`W10 /geometry/coordinates/0/2 «[2,2]»`}},
	{name: "W11", doc: polygonOf("a", "[[[0,0],[4,0],[4,0],[4,4],[0,4],[0,0]]]"), fences: 1, want: []string{`W11 /geometry/coordinates/0/2 «[4,0]»`}},
	{name: "W12", doc: collection(circleAt("a", "[1,2]"), circleAt("b", "[1,2]")), fences: 2, want: []string{`W12 /features/1 «{»`}},
	{name: "W13", doc: point("a", `"radius":200,"hours":{"mo":1,"mo":2}`, "[1,2]"), fences: 1, want: []string{`W13 /properties/hours/mo «"mo"»`}},
	{name: "W14", doc: strings.Replace(good, `"id"`, `"bbox":[1,2,3],"id"`, 1), fences: 1, want: []string{`W14 /bbox «[1,2,3]»`}},
	{name: "W15", doc: point("a", `"radius":200,"zone":"Newark Airport"`, "[1,2]"), fences: 1, want: []string{`W15 /properties/zone «"Newark Airport"»`}},
	{name: "W15 name", doc: point("a", `"radius":200,"name":{}`, "[1,2]"), fences: 1, want: []string{`W15 /properties/name «{}»`}},
	{name: "W16", doc: multi("a", "[["+square+"],[[[3,3],[7,3],[7,7],[3,7],[3,3]]]]"), fences: 1, want: []string{`W16 /geometry/coordinates/0/0 «[»`}},
	{name: "an island in a lake is no overlap", doc: multi("a", "[["+square+",[[1,1],[1,3],[3,3],[3,1],[1,1]]],[[[1.5,1.5],[2.5,1.5],[2.5,2.5],[1.5,2.5],[1.5,1.5]]]]"), fences: 1},
	{name: "W16 nested", doc: multi("a", "[["+square+"],[[[1.5,1.5],[2.5,1.5],[2.5,2.5],[1.5,2.5],[1.5,1.5]]]]"), fences: 1, want: []string{`W16 /geometry/coordinates/0/0 «[»`}},

	{name: "I01 Azure", doc: point("a", `"subType":"Circle","radius":200`, "[1,2]"), fences: 1, want: []string{`I01 /properties/subType «"Circle"»`}},
	{name: "I01 TomTom", doc: tomtom(`"k":1`), fences: 1, want: []string{`I01 /geometry/radius «200»`}},
	{name: "I02", doc: point("a", `"radius":200,"radus":100`, "[1,2]"), fences: 1, want: []string{`I02 /properties/radus «"radus"»`}, says: `was "radius" meant`},
	{name: "I03", doc: bom + good, fences: 1, want: []string{`I03  «{»`}},
	{name: "I04", doc: "\r\n" + good, fences: 1, want: []string{"I04  «\r»"}},
	{name: "I05", doc: circleAt("a", "[1,2,170.5]"), fences: 1, want: []string{`I05 /geometry/coordinates «[1,2,170.5]»`}},
	{name: "I06", doc: collection(circleAt("a", "[0,0]"), circleAt("b", "[0,0]"), circleAt("c", "[0,0]")), o: Options{MaxFindings: 1}, fences: 3, want: []string{`W08 /features/0/geometry/coordinates «[0,0]»`, `I06 `}},
}

func TestFindings(t *testing.T) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			fs, findings := Parse(cmp.Or(c.file, "x.geojson"), []byte(c.doc), c.o)
			got := briefs(findings, c.doc)
			if !slices.Equal(got, c.want) {
				t.Errorf("found\n\t%q, want\n\t%q", got, c.want)
				for _, f := range findings {
					t.Log(f.Message)
				}
			}
			if len(fs) != c.fences {
				t.Errorf("%d fences, want %d", len(fs), c.fences)
			}
			if c.says != "" && (len(findings) == 0 || !strings.Contains(findings[0].Message, c.says)) {
				t.Errorf("the first finding does not say %q: %+v", c.says, findings)
			}
			for _, f := range findings {
				info := codeIndex[f.Code]
				if info == nil {
					t.Fatalf("code %s is not in Codes", f.Code)
				}
				if f.Fix != nil && !info.Fixable {
					t.Errorf("%s has a fix, Codes says it has none", f.Code)
				}
				if f.Line > 0 && f.EndCol < f.Col {
					t.Errorf("%s ends at column %d before it starts at %d", f.Code, f.EndCol, f.Col)
				}
			}
		})
	}
}

// Every code in the table has a document that provokes it, and the codes are
// unique, in order, and described.
func TestCodesAreAllTested(t *testing.T) {
	tested := map[string]bool{
		codeInUse:      true, // TestRemovedInUse
		codeUnreadable: true, // TestLoadDamagedGzip
	}
	for _, c := range checks {
		for _, w := range c.want {
			tested[w[:3]] = true
		}
	}
	rank := map[byte]Severity{'E': SeverityError, 'W': SeverityWarning, 'I': SeverityInfo}
	last := ""
	for _, c := range Codes {
		if !tested[c.Code] {
			t.Errorf("no document provokes %s (%s)", c.Code, c.Title)
		}
		if c.Title == "" || c.Advice == "" || c.Severity != rank[c.Code[0]] {
			t.Errorf("%s is badly described: %+v", c.Code, c)
		}
		if key := fmt.Sprint(strings.IndexByte("EWI", c.Code[0]), c.Code); key <= last {
			t.Errorf("%s is out of order", c.Code)
		} else {
			last = key
		}
	}
}

// One reading reports every problem, not the first.
func TestEverythingAtOnce(t *testing.T) {
	doc := collection(
		point("a", `"radius":-5,"zone":"Europe/Nowhere","priority":{}`, "[1,200]"),
		`{"type":"Feature","properties":{"tags":5},"geometry":{"type":"LineString","coordinates":[]}}`,
	)
	_, findings := Parse("x", []byte(doc), Options{})
	var codes []string
	for _, f := range findings {
		codes = append(codes, f.Code)
	}
	want := []string{"E12", "E12", "E05", "E03", "E12", "E04"}
	if !slices.Equal(codes, want) {
		t.Errorf("codes %v, want %v", codes, want)
	}
}

func TestSkipInvalid(t *testing.T) {
	doc := collection(good, point("bad", `"radius":-5`, "[1,2]"), circleAt("ok", "[31,50]"), "null")
	fs, findings := Parse("x", []byte(doc), Options{SkipInvalid: true})
	if len(fs) != 1 || HasErrors(findings) {
		t.Fatalf("%d fences, findings %v", len(fs), findings)
	}
	for _, f := range findings {
		if !f.Skipped || f.Severity != SeverityWarning || !strings.Contains(f.Message, "left out") {
			t.Errorf("%+v does not say that the fence is left out", f)
		}
	}
	if len(findings) != 3 {
		t.Errorf("%d findings, want 3", len(findings))
	}
	// A document that is broken as a whole stays an error.
	if _, findings := Parse("x", []byte(doc[:len(doc)-1]), Options{SkipInvalid: true}); !HasErrors(findings) {
		t.Error("a truncated document passes")
	}
	if _, findings := Parse("x", []byte(point("bad", "", "[1,2]")), Options{SkipInvalid: true}); !HasErrors(findings) {
		t.Error("a document of which nothing is left passes")
	}
}
