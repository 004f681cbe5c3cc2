package fences

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPropertiesBecomeFields(t *testing.T) {
	properties := `"name":"Гулівер \u2116 1","store":42,"zone":"Europe/Kyiv","tags":["kyiv"," mall ","kyiv"],"priority":-3,` +
		`"min_stay":"60s","min_away":90,"dwell":"PT5M","crossed":true,"initial":false,"exit_margin":25.5,"max_accuracy":80,"radius":200,"own":{"a":[1, 2]}`
	fs, findings := Parse("dir/x.geojson", []byte("\n  "+point("kyiv-1", properties, "[30.5,50.4]")), Options{})
	if len(fs) != 1 || len(findings) != 0 {
		t.Fatalf("%d fences, %v", len(fs), findings)
	}
	f := &fs[0]
	if f.ID != "kyiv-1" || f.Name != "Гулівер № 1" || f.Store != "42" || f.Zone != "Europe/Kyiv" || f.Location.String() != "Europe/Kyiv" {
		t.Errorf("%+v", f)
	}
	if !slices.Equal(f.Tags, []string{"kyiv", "mall"}) || !f.HasTag("mall") || f.HasTag("Mall") {
		t.Errorf("tags %q", f.Tags)
	}
	if f.Priority != -3 || f.MinStay != time.Minute || f.MinAway != 90*time.Second || f.Dwell != 5*time.Minute || !f.Crossed || f.Initial == nil || *f.Initial || f.ExitMarginM != 25.5 || f.MaxAccuracyM != 80 {
		t.Errorf("%+v", f)
	}
	if string(f.Properties) != "{"+properties+"}" {
		t.Errorf("properties are %s", f.Properties)
	}
	if f.File != "dir/x.geojson" || f.Line != 2 || f.Col != 3 {
		t.Errorf("at %s:%d:%d, want dir/x.geojson:2:3", f.File, f.Line, f.Col)
	}
}

func TestIDs(t *testing.T) {
	doc := func(id, properties string) string {
		return `{"type":"Feature",` + id + `"properties":{"radius":200` + properties + `},"geometry":{"type":"Point","coordinates":[1,2]}}`
	}
	tests := []struct {
		doc  string
		key  string
		want ID
	}{
		{doc(`"id":"a/b c",`, ""), "", "a/b c"},
		{doc(`"id":7,`, ""), "", "7"},
		{doc(`"id":7.0,`, ""), "", "7"},
		{doc(`"id":-1e3,`, ""), "", "-1000"},
		{doc(`"id":1.5,`, ""), "", "1.5"},
		{doc(`"id":90071992547409931,`, ""), "", "90071992547409931"},
		{doc(`"id":"\u0441",`, ""), "", "с"},
		{doc("", `,"ref":"r1"`), "ref", "r1"},
		{doc("", `,"ref":12`), "ref", "12"},
		{doc(`"id":"own",`, `,"ref":"r1"`), "ref", "own"},
		{doc("", ""), IDKeyIndex, "0"},
		{doc(`"id":null,`, ""), IDKeyIndex, "0"},
		{doc("", `,"name":"n"`), "name", "n"},
	}
	for _, tt := range tests {
		fs, findings := Parse("x", []byte(tt.doc), Options{IDKey: tt.key})
		if len(fs) != 1 || fs[0].ID != tt.want {
			t.Errorf("%s with %q: %v %v, want %q", tt.doc, tt.key, fs, findings, tt.want)
		}
	}
	// The position counts every feature of the file, bad ones too.
	two := collection("null", doc("", ""), "{}", doc("", ""))
	fs, _ := Parse("x", []byte(two), Options{IDKey: IDKeyIndex})
	if len(fs) != 2 || fs[0].ID != "1" || fs[1].ID != "3" {
		t.Errorf("positions %v", fs)
	}
}

func TestDurations(t *testing.T) {
	tests := []struct {
		json string
		want time.Duration // -1: refused
	}{
		{`"60s"`, time.Minute}, {`"1h30m"`, 90 * time.Minute}, {`"PT5M"`, 5 * time.Minute}, {`"P1DT2H"`, 26 * time.Hour},
		{`"P1W"`, 7 * 24 * time.Hour}, {`"PT1.5S"`, 1500 * time.Millisecond}, {`90`, 90 * time.Second}, {`0.5`, 500 * time.Millisecond},
		{`null`, 0}, {`0`, 0}, {`"0s"`, 0},
		{`"60"`, -1}, {`"5 min"`, -1}, {`"P1M"`, -1}, {`"P"`, -1}, {`"PT"`, -1}, {`""`, -1}, {`-1`, -1}, {`"-5m"`, -1}, {`"P8D"`, -1}, {`1e300`, -1}, {`1e400`, -1}, {`true`, -1},
		{`"P99999999999999999999D"`, -1},
	}
	for _, tt := range tests {
		fs, findings := Parse("x", []byte(point("a", `"radius":200,"dwell":`+tt.json, "[1,2]")), Options{})
		if tt.want < 0 {
			if len(fs) != 0 || tally(findings)[codeProperty] != 1 {
				t.Errorf("dwell %s is accepted: %v", tt.json, fs)
			}
		} else if len(fs) != 1 || fs[0].Dwell != tt.want {
			t.Errorf("dwell %s: %v %v, want %v", tt.json, fs, findings, tt.want)
		}
	}
}

// Every fence has a time zone that can be used.
func TestZones(t *testing.T) {
	for _, tt := range []struct{ json, def, want string }{
		{`"Asia/Tashkent"`, "", "Asia/Tashkent"},
		{`null`, "", "UTC"},
		{`null`, "Europe/Kyiv", "Europe/Kyiv"},
		{`"Borough 7"`, "Europe/Kyiv", "Europe/Kyiv"},
		{`"Local"`, "", "UTC"}, // the zone of this machine is nobody's store's
		{`7`, "", "UTC"},
	} {
		fs, _ := Parse("x", []byte(point("a", `"radius":200,"zone":`+tt.json, "[1,2]")), Options{DefaultZone: tt.def})
		if len(fs) != 1 || fs[0].Zone != tt.want || fs[0].Location.String() != tt.want {
			t.Errorf("zone %s: %+v, want %s", tt.json, fs, tt.want)
		}
	}
	for _, bad := range []string{`"Europe/Kiew"`, `"UTC+3"`, `"+03:00"`, `"America/../../etc/passwd"`} {
		if _, findings := Parse("x", []byte(point("a", `"radius":200,"zone":`+bad, "[1,2]")), Options{}); !HasErrors(findings) {
			t.Errorf("zone %s is accepted", bad)
		}
	}
}

func TestNearest(t *testing.T) {
	for key, want := range map[string]string{
		"radus": "radius", "Radius": "radius", "radius_m": "radius", "tag": "tags", "Tags": "tags", "minStay": "min_stay", "min-stay": "min_stay",
		"exitmargin": "exit_margin", "max_acuracy": "max_accuracy", "zones": "zone", "prioirty": "priority", "NAME": "name",
		"website": "", "opening_hours": "", "addr:street": "", "shop": "", "id": "", "status": "", "": "", "_": "", "fame": "", "name:en": "", "type_": "", "ref": "",
	} {
		if got := nearest(key); got != want {
			t.Errorf("nearest(%q) = %q, want %q", key, got, want)
		}
	}
}

// TestReference holds docs/fences.md to the properties that there are, and its example to a fence without findings.
func TestReference(t *testing.T) {
	doc, err := os.ReadFile("../docs/fences.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range properties {
		if !strings.Contains(string(doc), "\n| `"+name+"` |") {
			t.Errorf("docs/fences.md does not say what %s is", name)
		}
	}
	_, example, _ := strings.Cut(string(doc), "```json\n")
	example, _, _ = strings.Cut(example, "```")
	if fs, findings := Parse("fences.md", []byte(example), Options{}); len(fs) != 1 || len(findings) > 0 {
		t.Errorf("the example is %d fences with %v", len(fs), findings)
	}
}
