package fences

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/geo"
)

// same compares fences by all that Marshal must keep.
func same(t *testing.T, a, b []Fence) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%d fences became %d", len(a), len(b))
	}
	for i := range a {
		x, y := a[i], b[i]
		if x.Shape.Hash() != y.Shape.Hash() {
			t.Fatalf("the shape of %s has changed", x.ID)
		}
		x.Shape, y.Shape = geo.Shape{}, geo.Shape{}
		x.Location, y.Location = nil, nil
		x.File, x.Line, x.Col, y.File, y.Line, y.Col = "", 0, 0, "", 0, 0
		x.Properties, y.Properties = nil, nil
		if d := cmp.Diff(x, y, cmp.AllowUnexported(geo.Shape{}), cmp.Comparer(func(a, b geo.Shape) bool { return true })); d != "" {
			t.Fatalf("%s: %s", a[i].ID, d)
		}
	}
}

// members reads a properties object for comparison.
func members(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	m := map[string]any{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestMarshalRoundTrip(t *testing.T) {
	doc := collection(
		point("kyiv-1", `"type":"Circle", "radius" : 200,"radius_units":"m","name":"Ґ & <b>","hours":{"mo":[ 10, 20]},"zone":"Europe/Kyiv"`, "[30.5234567890123,50.4]"),
		point("no-type", `"radius":0.5,"radius_units":"mi"`, "[179.9999999,-89]"),
		`{"type":"Feature","id":"bare","properties":null,"geometry":{"type":"Point","coordinates":[1,2]}}`,
		polygonOf("hole", "["+square+",[[1,1],[1,2],[2,2],[2,1],[1,1]]]"),
		polygonOf("date-line", "[[[179.9,-17],[-179.9,-17],[-179.9,-16.9],[179.9,-16.9],[179.9,-17]]]"),
		multi("two", "[["+square+"],[[[10,10],[11,10],[11,11],[10,10]]]]"),
	)
	first, findings := Parse("x", []byte(doc), Options{DefaultRadiusM: 150})
	if len(first) != 6 || HasErrors(findings) {
		t.Fatal(findings)
	}
	out := Marshal(first)
	if !json.Valid(out) {
		t.Fatalf("not JSON: %s", out)
	}
	second, findings := Parse("x", out, Options{}) // without the default: it must be written
	if HasErrors(findings) {
		t.Fatal(findings)
	}
	same(t, first, second)
	if again := Marshal(second); !bytes.Equal(out, again) {
		t.Errorf("the second writing differs:\n%s\n%s", out, again)
	}
	if !bytes.Contains(out, []byte(`{"type":"Circle", "radius" : 200,"radius_units":"m","name":"Ґ & <b>","hours":{"mo":[ 10, 20]},"zone":"Europe/Kyiv"}`)) {
		t.Errorf("properties that say all are not kept byte for byte:\n%s", out)
	}
	for i := range first {
		was, is := members(t, first[i].Properties), members(t, second[i].Properties)
		for k, v := range was {
			if !cmp.Equal(is[k], v) {
				t.Errorf("%s: %s was %v, is %v", first[i].ID, k, v, is[k])
			}
		}
	}
	if is := members(t, second[2].Properties); is["type"] != "Circle" || is["radius"] != 150.0 {
		t.Errorf("a circle without properties became %v", is)
	}
}

// A field that was edited wins over the text it came from.
func TestMarshalWritesEdits(t *testing.T) {
	fs, _ := Parse("x", []byte(point("a", `"name":"old","radius":1,"radius_units":"km","tags":"x,y","own":7,"dwell":"PT5M","zone":"Europe/Kyiv"`, "[1,2]")), Options{})
	f := &fs[0]
	no := false
	f.Name, f.Tags, f.Store, f.Priority, f.MinStay, f.MinAway, f.Dwell, f.Initial, f.Crossed = "new", []string{"z"}, "s1", 5, time.Minute, 2*time.Minute, 0, &no, true
	f.ExitMarginM, f.MaxAccuracyM = 12.5, 60
	f.Shape, _ = geo.NewCircle(geo.Point{Lat: 3, Lng: 4}, 250)
	out := Marshal(fs)
	want := `{"type":"FeatureCollection","features":[
{"type":"Feature","id":"a","properties":{"name":"new","radius":250,"tags":["z"],"own":7,"zone":"Europe/Kyiv","store":"s1","priority":5,"min_stay":"1m0s","min_away":"2m0s","crossed":true,"initial":false,"exit_margin":12.5,"max_accuracy":60,"type":"Circle"},"geometry":{"type":"Point","coordinates":[4,3]}}
]}
`
	if string(out) != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	again, findings := Parse("x", out, Options{})
	if len(findings) != 0 {
		t.Fatal(findings)
	}
	same(t, fs, again)
}

func TestMarshalRealFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine that computes")
	}
	dir := dataDir(t, "fences")
	for _, name := range []string{"ua_phone_stores_200m", "world_countries_50m"} {
		fs, _, err := Load(filepath.Join(dir, name+".geojson.gz"), Options{DefaultRadiusM: 200, IDKey: IDKeyIndex})
		if err != nil {
			t.Fatal(err)
		}
		again, findings := Parse("x", Marshal(fs), Options{})
		if HasErrors(findings) {
			t.Fatal(findings)
		}
		same(t, fs, again)
	}
}
