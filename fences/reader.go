package fences

import (
	"bytes"
	"fmt"
	"strings"
)

// prologue looks at what comes before and around the JSON: the encoding and the
// line endings. It returns false when the rest cannot be read.
func (p *parser) prologue() bool {
	d := p.data
	switch {
	case bytes.HasPrefix(d, []byte("\xFF\xFE")), bytes.HasPrefix(d, []byte("\xFE\xFF")):
		p.add(span{0, 2}, "", newFinding(codeSyntax, "the file is UTF-16; save it as UTF-8"))
		return false
	case bytes.HasPrefix(d, []byte(bom)):
		f := newFinding(codeBOM, "the file starts with a byte order mark, which RFC 8259 does not allow; it is ignored")
		f.Fix = &Fix{Title: "Remove the byte order mark", Edits: []Edit{{Offset: 0, Length: 3}}}
		p.add(span{0, 3}, "", f)
		p.pos = 3
	case bytes.HasPrefix(d, []byte("\x1F\x8B")):
		p.add(span{0, 2}, "", newFinding(codeSyntax, "the text is gzip data; give the file a name that ends in .gz"))
		return false
	}
	if i := bytes.Index(d, []byte("\r\n")); i >= 0 {
		f := newFinding(codeCRLF, "lines end in CR LF (Windows); that is read well")
		f.Count = bytes.Count(d, []byte("\r\n"))
		p.add(span{i, i + 2}, "", f)
	}
	return true
}

const recordSeparator = 0x1E

// values reads the values of the document one after the other. lines says that
// each stands on a line of its own, so that a broken one cannot hide the others;
// record separators do the same.
func (p *parser) values(lines bool) {
	whole := p.data
	defer func() { p.data = whole }()
	separated := false
	for n := 0; ; n++ {
		p.data = whole
		from := p.pos
		for p.peek() == recordSeparator {
			p.pos++
			separated = true
		}
		if p.pos >= len(p.data) {
			if n == 0 {
				p.add(span{}, "", newFinding(codeSyntax, "the document is empty; expected a FeatureCollection"))
			}
			return
		}
		if n > 0 && !lines && !separated && (p.data[p.pos] != '{' || bytes.IndexByte(p.data[from:p.pos], '\n') < 0) {
			p.add(p.here(), "", newFinding(codeSyntax, "expected the end of the document, but %s; remove what follows, or put each feature on a line of its own", p.found()))
			return
		}
		if p.hopeless() {
			return
		}
		end := -1
		if separated {
			end = bytes.IndexByte(p.data[p.pos:], recordSeparator)
		} else if lines {
			end = indexNewline(p.data[p.pos:])
		}
		if end >= 0 {
			p.data = whole[:p.pos+end]
		}
		limit := len(p.data)
		p.base, p.local = "", p.local[:0]
		p.path, p.names = p.path[:0], p.names[:0]
		if p.value() {
			if (lines || separated) && p.peek() != 0 {
				p.add(p.here(), "", newFinding(codeSyntax, "expected the end of the record, but %s", p.found()))
				p.pos = limit
			}
			continue
		}
		e := p.err
		p.err = nil
		p.flushLocal("", false)
		f := newFinding(codeSyntax, "%s", e.msg)
		f.Fix = e.fix
		p.add(e.at, e.path, f)
		if !lines && !separated {
			return
		}
		p.pos = limit
	}
}

// value reads one top-level value.
func (p *parser) value() bool {
	if c := p.peek(); c != '{' {
		at, ok := p.skip()
		if ok {
			p.add(span{at.start, min(at.end, at.start+1)}, "", newFinding(codeNotGeoJSON, "expected a FeatureCollection or a Feature, but this is %s", kind(c)))
		}
		return ok
	}
	start := p.pos
	var f rawFeature
	var features span
	ok := p.object(inStructure, func(key []byte, at span) bool {
		if string(key) == "features" && f.typ.empty() || string(key) == "features" && p.is(f.typ, "FeatureCollection") {
			c := p.peek()
			features = span{p.pos, p.pos + 1}
			if c == '[' {
				return p.features()
			}
			v, ok := p.skip()
			features = v
			if ok {
				p.add(v, "/features", newFinding(codeNotGeoJSON, `"features" must be an array, not %s`, kind(c)))
			}
			return ok
		}
		return p.member(&f, key, at)
	})
	if !ok {
		return false
	}
	whole := span{start, p.pos}
	switch {
	case p.is(f.typ, "FeatureCollection"):
		if features.empty() {
			p.add(span{start, start + 1}, "", newFinding(codeNotGeoJSON, `the FeatureCollection has no "features"`))
		}
		p.flushLocal("", false)
	case p.is(f.typ, "Feature"):
		p.feature(&f, whole)
	default:
		p.flushLocal("", false)
		p.notGeoJSON(&f, start)
	}
	return true
}

// is reports whether the value at a span is exactly the given text.
func (p *parser) is(v span, text string) bool {
	return v.end-v.start >= 2 && p.data[v.start] == '"' && p.text(v) == text
}

// notGeoJSON says what a top-level object is instead of a collection.
func (p *parser) notGeoJSON(f *rawFeature, start int) {
	if f.typ.empty() {
		p.add(span{start, start + 1}, "", newFinding(codeNotGeoJSON, `the object has no "type"; expected "FeatureCollection" or "Feature"`))
		return
	}
	if p.data[f.typ.start] != '"' {
		p.add(f.typ, "/type", newFinding(codeNotGeoJSON, `"type" must be text, not %s`, kind(p.data[f.typ.start])))
		return
	}
	t := p.text(f.typ)
	msg := fmt.Sprintf(`type %q is not "FeatureCollection" or "Feature"`, clip(t))
	var fix *Fix
	for _, want := range []string{"FeatureCollection", "Feature"} {
		if strings.EqualFold(t, want) {
			msg += fmt.Sprintf("; write %q, the case matters", want)
			fix = &Fix{Title: "Write " + want, Edits: []Edit{{Offset: f.typ.start, Length: f.typ.end - f.typ.start, Text: `"` + want + `"`}}}
		}
	}
	switch t {
	case "Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection":
		msg = fmt.Sprintf(`a bare %s has no id and no properties; wrap it as {"type":"Feature","id":"…","properties":{},"geometry":…}`, t)
	case "Topology":
		msg = "this is TopoJSON; convert it to GeoJSON first"
	}
	fd := newFinding(codeNotGeoJSON, "%s", msg)
	fd.Fix = fix
	p.add(f.typ, "/type", fd)
}

// features reads the array of a collection's features.
func (p *parser) features() bool {
	return p.array(func(i int) bool {
		if p.space(); p.hopeless() {
			_, ok := p.skip()
			return ok
		}
		c := p.peek()
		if c != '{' {
			p.count++
			p.l.seen++
			v, ok := p.skip()
			if ok {
				saved := p.local
				p.local = p.spare[:0]
				p.note(v, p.pointer(), newFinding(codeNotGeoJSON, "a feature must be an object, not %s", kind(c)))
				p.flushLocal("", p.l.o.SkipInvalid)
				p.local, p.spare = saved, p.local
			}
			return ok
		}
		base, saved := p.base, p.local
		p.base, p.local = p.pointer(), p.spare[:0]
		start := p.pos
		var f rawFeature
		if !p.object(inStructure, func(key []byte, at span) bool { return p.member(&f, key, at) }) {
			p.base, p.local = base, append(saved, p.local...)
			return false
		}
		p.feature(&f, span{start, p.pos})
		p.base, p.local, p.spare = base, saved, p.local
		return true
	})
}

// maxErrors is how many errors of one load are counted; a document with more of
// them is not a fence document.
const maxErrors = 100_000

// hopeless reports whether the load has so many features or errors that the
// rest is not read, and says so once.
func (p *parser) hopeless() bool {
	many := p.l.seen >= p.l.o.MaxFeatures
	if !many && p.l.report.errors() < maxErrors {
		return false
	}
	if p.l.gaveUp {
		return true
	}
	p.l.gaveUp = true
	f := newFinding(codeTooLarge, "more than %d errors; the rest is not read", maxErrors)
	if many {
		f.Message = fmt.Sprintf("more than %d features; the rest is not read", p.l.o.MaxFeatures)
	}
	f.Pointer = p.pointer()
	p.l.report.insist(draft{Finding: f, doc: p.doc, at: p.here()})
	return true
}
