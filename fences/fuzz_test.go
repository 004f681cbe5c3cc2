package fences

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// FuzzParse feeds any bytes to the reader. Whatever they are: it returns; every
// finding lies in the text and is documented; fixes fit; what is accepted is
// JSON, goes into a set, and comes back the same from what Marshal writes.
func FuzzParse(f *testing.F) {
	for _, c := range checks {
		if len(c.doc) < 2000 {
			f.Add([]byte(c.doc))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		o := Options{DefaultRadiusM: 200, IDKey: IDKeyIndex}
		fs, findings := Parse("x.geojson", data, o)
		lines := bytes.Count(data, []byte("\n")) + 1
		syntax := false
		for _, fd := range findings {
			if codeIndex[fd.Code] == nil || fd.Message == "" || !utf8.ValidString(fd.Message) || fd.Severity.rank() > 2 {
				t.Fatalf("bad finding %+v", fd)
			}
			if fd.Line < 0 || fd.Line > lines || fd.EndCol < fd.Col {
				t.Fatalf("%s at %d:%d-%d of %d lines", fd.Code, fd.Line, fd.Col, fd.EndCol, lines)
			}
			if fd.Fix != nil && !codeIndex[fd.Code].Fixable {
				t.Fatalf("%s has a fix", fd.Code)
			}
			syntax = syntax || fd.Code == codeSyntax
		}
		if len(fs) == 0 && !HasErrors(findings) {
			t.Fatal("nothing, and no reason")
		}
		if json.Valid(data) && utf8.Valid(data) && syntax && !deep(data) {
			t.Fatalf("valid JSON is refused: %+v", findings)
		}
		if !syntax && !json.Valid(bytes.TrimPrefix(data, []byte(bom))) && !several(data) {
			t.Fatalf("this is not JSON: %q", data)
		}
		ApplyFixes(data, findings)
		if HasErrors(findings) {
			return
		}
		var cat Catalogue
		if _, err := NewSet(fs, &cat); err != nil {
			t.Fatal(err)
		}
		out := Marshal(fs)
		again, findings := Parse("x.geojson", out, Options{})
		if HasErrors(findings) {
			t.Fatalf("our own text is refused: %+v\n%s", findings, out)
		}
		same(t, fs, again)
	})
}

// deep reports whether brackets may nest deeper than maxDepth.
func deep(data []byte) bool {
	return bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > maxDepth
}

// several reports whether the data may be more than one value.
func several(data []byte) bool {
	return bytes.ContainsAny(data, "\n\x1e")
}

// FuzzCatalogue reads any bytes as a stored catalogue: it refuses them, or writes
// the same bytes again.
func FuzzCatalogue(f *testing.F) {
	var cat Catalogue
	mustSet(f, []Fence{circleFence(f, "a", 1, 1, 200), circleFence(f, "b", 2, 2, 200)}, &cat)
	seed, _ := cat.MarshalBinary()
	f.Add(seed)
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var c Catalogue
		if c.UnmarshalBinary(data) != nil {
			return
		}
		again, err := c.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var d Catalogue
		if err := d.UnmarshalBinary(again); err != nil {
			t.Fatalf("%x was read, and %x of it cannot be: %v", data, again, err)
		}
	})
}
