package fences

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"footfall/internal/cputime"
)

func ringOf(n int) string {
	var b strings.Builder
	b.WriteByte('[')
	for i := range n {
		a := 2 * math.Pi * float64(i) / float64(n)
		fmt.Fprintf(&b, "[%.7f,%.7f],", 30+math.Cos(a), 50+math.Sin(a))
	}
	fmt.Fprintf(&b, "[%.7f,%.7f]]", 31.0, 50.0)
	return b.String()
}

// Input made to hurt is refused with a reason, fast, in memory bounded by a
// small multiple of its size.
func TestHostileInput(t *testing.T) {
	if testing.Short() {
		t.Skip("files of many megabytes")
	}
	const mb = 1 << 20
	many := strings.Repeat(`"type":"Feature",`, 600_000)
	tests := []struct {
		name, doc string
		code      string
	}{
		{"100,000 positions", polygonOf("a", "["+ringOf(100_000)+"]"), codeTooLarge},
		{"most positions allowed, in a star", polygonOf("a", "["+star(79_998)+"]"), codeCrossing},
		{"the whole world", polygonOf("a", "[[[-180,-90],[180,-90],[180,90],[-180,90],[-180,-90]]]"), codeTooLarge},
		{"1e400", circleAt("a", "[1e400,1]"), codeCoordinate},
		{"10 MB of [", strings.Repeat("[", 10*mb), codeSyntax},
		{"10 MB of [ as coordinates", `{"type":"Feature","id":"a","geometry":{"type":"MultiPolygon","coordinates":` + strings.Repeat("[", 10*mb), codeSyntax},
		{"10 MB of {", strings.Repeat(`{"a":`, 2*mb), codeSyntax},
		{"10 MB of spaces", strings.Repeat(" ", 10*mb), codeSyntax},
		{"10 MB of text in the properties", point("a", `"radius":200,"x":"`+strings.Repeat("x", 10*mb)+`"`, "[1,2]"), codeTooLarge},
		{"10 MB of text as the id", circleAt(strings.Repeat("x", 10*mb), "[1,2]"), codeID},
		{"10 MB of text as a type", `{"type":"` + strings.Repeat("x", 10*mb) + `"}`, codeNotGeoJSON},
		{"10 MB of text without end", `{"type":"` + strings.Repeat("x", 10*mb), codeSyntax},
		{"10 MB of digits", circleAt("a", "["+strings.Repeat("1", 10*mb)+",1]"), codeCoordinate},
		{"the same name 600,000 times", "{" + many + `"type":"Feature"}`, codeTwice},
		{"the same property 600,000 times", point("a", strings.Repeat(`"radius":200,`, 600_000)+`"radius":1`, "[1,2]"), codeTwice},
		{"400,000 different names", `{` + names(400_000) + `"type":"Feature"}`, codeGeometry},
		{"400,000 different properties", point("a", names(400_000)+`"radius":200`, "[1,2]"), codeTooLarge},
		{"a million bad coordinates", polygonOf("a", "["+strings.Repeat(`"x",`, mb)+"1]"), codeCoordinate},
		{"70,000 bad positions", polygonOf("a", "[["+strings.Repeat(`[1,200],`, 70_000)+"[1,2]]]"), codeCoordinate},
		{"70,000 rings", polygonOf("a", "["+strings.Repeat("[],", 70_000)+square+"]"), codeGeometry},
		{"600,000 features without anything", `{"type":"FeatureCollection","features":[` + strings.Repeat("{},", 600_000) + "{}]}", codeNotGeoJSON},
		{"200,000 equal ids", `{"type":"FeatureCollection","features":[` + strings.Repeat(strings.Replace(good, `"radius":200`, `"radius":9`, 1)+",", 60_000) + "{}]}", codeRadius},
		{"500,000 separators", strings.Repeat("\x1e\n", 500_000), codeSyntax},
		{"500,000 broken lines", strings.Repeat("\x1e{\n", 500_000), codeSyntax},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := []byte(tt.doc)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := cputime.Used()
			_, findings := Parse("x.geojson", data, Options{})
			took := cputime.Used() - start
			runtime.ReadMemStats(&after)
			found := false
			for _, f := range findings {
				found = found || f.Code == tt.code && f.Severity == SeverityError
				if len(f.Message) > 1000 || len(f.Pointer) > 1000 || len(f.Feature) > 1000 {
					t.Errorf("%s is too long to print", f.Code)
				}
			}
			if !found {
				t.Errorf("no %s in %.300v", tt.code, findings)
			}
			if len(findings) > DefaultMaxFindings+1 {
				t.Errorf("%d findings", len(findings))
			}
			limit := time.Second
			if raceEnabled {
				limit *= 10
			}
			if took > limit {
				t.Errorf("took %v", took)
			}
			// All that was allocated over time, which bounds what was held.
			if n, most := after.TotalAlloc-before.TotalAlloc, uint64(40*len(data)+64*mb); n > most {
				t.Errorf("allocated %d MB for %d MB of text", n/mb, len(data)/mb)
			}
			t.Logf("%d MB, %v, %d MB allocated", len(data)/mb, took.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)/mb)
		})
	}
}

// star is a ring in which every edge crosses half of the others: as many
// crossings as n positions can have.
func star(n int) string {
	var b strings.Builder
	b.WriteByte('[')
	n |= 1
	for i := range n {
		a := 2 * math.Pi * float64(i*(n/2)%n) / float64(n)
		fmt.Fprintf(&b, "[%.7f,%.7f],", 30+math.Cos(a), 50+math.Sin(a))
	}
	b.WriteString("[31.0000000,50.0000000]]")
	return b.String()
}

func names(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"n%d":1,`, i)
	}
	return b.String()
}

// Fences all in one place must not cost n² in the search for overlaps.
func TestStackedFences(t *testing.T) {
	if testing.Short() {
		t.Skip("a matter of time")
	}
	var features []string
	for i := range 20_000 {
		features = append(features, circleAt(fmt.Sprint("f", i), fmt.Sprintf("[30.%07d,50.4]", i)))
	}
	start := cputime.Used()
	fs, findings := Parse("x", []byte(collection(features...)), Options{})
	took := cputime.Used() - start
	if len(fs) != 20_000 || HasErrors(findings) {
		t.Fatalf("%d fences", len(fs))
	}
	if n := tally(findings)[codeOverlap]; n != DefaultMaxOverlaps {
		t.Errorf("%d overlaps listed, want %d", n, DefaultMaxOverlaps)
	}
	limit := 2 * time.Second
	if raceEnabled {
		limit *= 10
	}
	if took > limit {
		t.Errorf("took %v", took)
	}
}

// A small archive that unpacks to gigabytes is stopped at the limit.
func TestGzipBomb(t *testing.T) {
	if testing.Short() {
		t.Skip("a matter of memory")
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	for range 64 {
		z.Write(chunk)
	}
	z.Close()
	file := filepath.Join(t.TempDir(), "bomb.geojson.gz")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	_, findings, err := Load(file, Options{MaxBytes: 1 << 20})
	if err != nil || len(findings) != 1 || findings[0].Code != codeTooLarge {
		t.Errorf("%v, %v", findings, err)
	}
}

// The list of findings ends, errors come first, and the rest is counted.
func TestFindingsAreCapped(t *testing.T) {
	var features []string
	for i := range 30 {
		features = append(features, point(fmt.Sprint("w", i), `"radius":50`, fmt.Sprintf("[%d,10]", i)))
	}
	for i := range 15 {
		features = append(features, point(fmt.Sprint("e", i), `"radius":-1`, fmt.Sprintf("[%d,20]", i)))
	}
	_, findings := Parse("x", []byte(collection(features...)), Options{MaxFindings: 20})
	n := tally(findings)
	if n[codeRadius] != 15 || n[codeSmall] != 5 || n[codeMore] != 25 || len(findings) != 21 {
		t.Errorf("%v in %d findings", n, len(findings))
	}
	if last := findings[20]; last.Severity != SeverityInfo || !strings.Contains(last.Message, "25 warnings") {
		t.Errorf("last is %+v", last)
	}
	_, findings = Parse("x", []byte(collection(features...)), Options{MaxFindings: 10})
	if last := findings[10]; last.Severity != SeverityError || !strings.Contains(last.Message, "5 errors") {
		t.Errorf("last is %+v", last)
	}
}
