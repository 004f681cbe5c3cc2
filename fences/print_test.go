package fences

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func printed() ([]Fence, []Finding) {
	doc := collection(point("kyiv-1", `"radius":-200`, "[30.52,50.45]"), circleAt("kyiv-2", `[30.52,"50.45"]`), circleAt(`a\u001b[2J:b`, "[0,0]"))
	return Parse("stores,1.geojson", []byte(doc), Options{})
}

func TestWriteText(t *testing.T) {
	var b bytes.Buffer
	fs, findings := printed()
	// An id with a control character cannot come from Parse, from code it can.
	findings = append(findings, Finding{Code: "E03", Severity: SeverityError, File: "x", Line: 1, Col: 2, Feature: "a\x1b[2J", Message: "line\nbreak"})
	if err := WriteText(&b, findings); err != nil {
		t.Fatal(err)
	}
	want := `stores,1.geojson:2:56: error E08: radius is -200 m; it must be between 10 and 100000 m   (kyiv-1)
stores,1.geojson:3:109: error E05: a coordinate must be a number, not text; remove the quotes   (kyiv-2)
    fix: Remove the quotes
stores,1.geojson:4:24: error E03: the id contains a control character; give it one of its own, presence and claims are kept under it
    fix: Give it the id "fence"
stores,1.geojson:4:108: warning W08: the position is [0, 0], which stands for an unknown place; fixes there are refused, so the fence will never be entered
x:1:2: error E03: line\u000abreak   (a\u001b[2J)
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if s := Summarize(fs, findings).String(); s != "0 fences (0 circles, 0 areas): 4 errors, 1 warning, 0 notes; 2 can be fixed with --fix" {
		t.Error(s)
	}
}

func TestWriteGitHub(t *testing.T) {
	var b bytes.Buffer
	_, findings := printed()
	findings[0].Message += "\n::error::50% forged"
	if err := WriteGitHub(&b, findings); err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(b.String(), "\n")
	want := "::error file=stores%2C1.geojson,line=2,col=56,endColumn=60,title=E08 kyiv-1::radius is -200 m; it must be between 10 and 100000 m%0A::error::50%25 forged"
	if first != want {
		t.Errorf("got\n%s\nwant\n%s", first, want)
	}
	if n := strings.Count(b.String(), "\n"); n != len(findings) {
		t.Errorf("%d lines for %d findings", n, len(findings))
	}
}

func TestWriteJSON(t *testing.T) {
	var b bytes.Buffer
	fs, findings := printed()
	if err := WriteJSON(&b, findings, Summarize(fs, findings)); err != nil {
		t.Fatal(err)
	}
	var got struct {
		OK       bool
		Findings []map[string]any
		Summary  map[string]any
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.OK || len(got.Findings) != 4 || got.Summary["errors"] != 3.0 {
		t.Errorf("%s", b.String())
	}
	f := got.Findings[0]
	if fix, there := f["fix"]; f["code"] != "E08" || f["severity"] != "error" || f["line"] != 2.0 || f["col"] != 56.0 || f["end_col"] != 60.0 ||
		f["pointer"] != "/features/0/properties/radius" || f["feature"] != "kyiv-1" || fix != nil || !there {
		t.Errorf("%v", f)
	}
	fix, _ := got.Findings[1]["fix"].(map[string]any)
	if edits, _ := fix["edits"].([]any); len(edits) != 1 || fix["title"] == "" {
		t.Errorf("fix %v", fix)
	}
	b.Reset()
	if err := WriteJSON(&b, nil, Summary{}); err != nil || !strings.HasPrefix(b.String(), `{"ok":true,"findings":[],`) {
		t.Errorf("%s %v", b.String(), err)
	}
}
