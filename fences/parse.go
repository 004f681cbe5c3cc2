package fences

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"footfall/geo"
)

const bom = "\uFEFF"

func indexNewline(b []byte) int { return bytes.IndexByte(b, '\n') }

// Parse reads one document of GeoJSON (RFC 7946) and returns the fences that
// can be used, in the order of the text, and everything there is to say about
// it. The document is a FeatureCollection, a Feature, or any number of them one
// after the other, each on its own line or introduced by U+001E (RFC 8142).
//
// file is the name used in findings; nothing is opened. The data is not
// retained. Parse always returns: a document that is not GeoJSON at all gives
// one error finding. Ask HasErrors before using the fences of a document whose
// author expects all of them.
//
// Rings may run either way round and may cross longitude ±180 in one piece or
// cut into parts. A ring must be closed and must not cross itself. Points may
// have a third value, which is ignored.
//
// The cost is linear in the text but for the sorting of fences: about 50 MB of
// coordinates per second and core. Memory is bounded by a small multiple of the
// text, and by the limits in Options.
func Parse(file string, data []byte, o Options) ([]Fence, []Finding) {
	l := newLoader(o)
	l.document(file, data)
	return l.finish(file)
}

// loader reads the documents of one load.
type loader struct {
	o       Options
	report  report
	docs    []document
	fences  []Fence
	metas   []meta // of fences, same order
	skipped int    // fences left out for an error
	seen    int    // features, good or bad
	gaveUp  bool   // see hopeless
	zone    *time.Location
	zones   map[string]*time.Location // nil value: not a zone
	similar map[string]string         // near misses of property names
}

// meta is where a fence stands in its document.
type meta struct {
	doc     int
	pointer string
	id      span // of the id's value, or of the feature when it has none there
	feature span
	own     bool // the id stands in the feature's own id member
	coords  span
	box     box
}

func newLoader(o Options) *loader {
	o = o.withDefaults()
	l := &loader{
		o:       o,
		report:  report{limit: o.MaxFindings},
		zones:   make(map[string]*time.Location),
		similar: make(map[string]string),
	}
	l.zone = l.location(o.DefaultZone)
	if l.zone == nil {
		l.zone = time.UTC
		f := newFinding(codeProperty, "the default time zone %q is not an IANA name such as Europe/Kyiv", clip(o.DefaultZone))
		l.report.add(draft{Finding: f, doc: -1})
		l.o.DefaultZone = "UTC"
	}
	return l
}

// document reads one text.
func (l *loader) document(file string, data []byte) {
	doc := len(l.docs)
	l.docs = append(l.docs, document{file, data})
	p := &parser{l: l, doc: doc, loc: newLocator(doc, data), scanner: scanner{data: data}, once: make(map[string]*draft)}
	p.duplicate = p.onDuplicate
	p.badUTF8 = p.onBadUTF8
	if int64(len(data)) > l.o.MaxBytes {
		p.add(span{}, "", newFinding(codeTooLarge, "the document has %d bytes; the limit is %d", len(data), l.o.MaxBytes))
		return
	}
	if !p.prologue() {
		return
	}
	p.values(isLineFile(file))
	p.flushOnce()
}

// isLineFile reports whether a file's name promises one value per line.
func isLineFile(file string) bool {
	f := strings.TrimSuffix(strings.ToLower(file), ".gz")
	for _, ext := range []string{".ndjson", ".jsonl", ".geojsonl", ".geojsons", ".geojsonseq"} {
		if strings.HasSuffix(f, ext) {
			return true
		}
	}
	return false
}

// parser reads one document.
type parser struct {
	scanner
	l     *loader
	doc   int
	loc   locator
	count int    // features so far, for @index
	base  string // pointer of the value whose members are being read

	local   []draft           // findings of the current feature
	spare   []draft           // room for those of the next one
	once    map[string]*draft // findings that are listed once per document, with a count
	onceKey []string          // in order of appearance
	foundAt int               // 1 + offset of the first byte that is not UTF-8

	points []geo.Point // of the ring being read
	places []span      // where the points of the feature's rings stand
}

// add reports a finding about the document.
func (p *parser) add(at span, pointer string, f Finding) {
	f.Pointer = pointer
	p.l.report.add(draft{Finding: f, doc: p.doc, at: at})
}

// tally reports a finding that is listed once per document at the place of its
// first occurrence, and counted. message makes the text from the final count.
func (p *parser) tally(key string, at span, pointer func() string, f Finding) *draft {
	d := p.once[key]
	if d == nil {
		f.Pointer = pointer()
		d = &draft{Finding: f, doc: p.doc, at: at}
		p.once[key] = d
		p.onceKey = append(p.onceKey, key)
	}
	d.Count++
	return d
}

func (p *parser) flushOnce() {
	for _, key := range p.onceKey {
		d := p.once[key]
		if d.Count > 1 {
			d.Message += fmt.Sprintf(" (%d times in this file; this is the first)", d.Count)
		}
		p.l.report.add(*d)
	}
	p.once, p.onceKey = nil, nil
}

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
		if p.l.seen >= p.l.o.MaxFeatures {
			if p.l.seen == p.l.o.MaxFeatures {
				p.l.seen++
				p.add(p.here(), p.pointer(), newFinding(codeTooLarge, "more than %d features; the rest is not read", p.l.o.MaxFeatures))
			}
			_, ok := p.skip()
			return ok
		}
		if p.hopeless() {
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

// hopeless reports whether the document has so many errors that reading the
// rest of it is pointless, and says so once.
func (p *parser) hopeless() bool {
	if p.l.report.errors() < maxErrors {
		return false
	}
	if !p.l.gaveUp {
		p.l.gaveUp = true
		f := newFinding(codeTooLarge, "more than %d errors; the rest is not read", maxErrors)
		p.l.report.kept[0][0] = draft{Finding: f, doc: p.doc, at: p.here()} // in place of one, the list is full
	}
	return true
}

// onDuplicate reports a member name that its object has already had.
func (p *parser) onDuplicate(c objectKind, key []byte, at, first span) {
	matters := c == inStructure || c == inProperties && (properties[string(key)] != 0 || p.isIDKey(key))
	switch {
	case matters && p.more(codeTwice) != nil:
	case matters:
		p.note(at, p.pointer(), newFinding(codeTwice, "%q stands twice in this object, first as %s; remove one", clip(key), p.excerpt(first)))
	case p.once[codeTwiceKept] != nil:
		p.once[codeTwiceKept].Count++
	default:
		p.tally(codeTwiceKept, at, p.pointer, newFinding(codeTwiceKept, "%q stands twice in this object, first as %s; both are kept as written", clip(key), p.excerpt(first)))
	}
}

// excerpt shows the member whose name stands at a place, shortened.
func (p *parser) excerpt(name span) string {
	s := scanner{data: p.data, pos: name.end}
	s.space()
	s.pos++ // :
	if v, ok := s.skip(); ok {
		return clip(p.data[name.start:v.end])
	}
	return clip(p.data[name.start:name.end])
}

// onBadUTF8 reports the first byte that is not UTF-8.
func (p *parser) onBadUTF8(at int) {
	if p.foundAt > 0 && at >= p.foundAt-1 {
		return
	}
	p.foundAt = at + 1
	p.add(span{at, at + 1}, p.pointer(), newFinding(codeSyntax, "byte 0x%02X is not UTF-8; save the file as UTF-8", p.data[at]))
}

// note reports a finding about the current feature.
func (p *parser) note(at span, pointer string, f Finding) {
	if p.more(f.Code) != nil {
		return
	}
	f.Pointer = pointer
	p.local = append(p.local, draft{Finding: f, doc: p.doc, at: at})
}

// more counts a finding of a code that has been listed often enough of the
// current feature, in the last one listed; nil when it is still to be listed.
func (p *parser) more(code string) *draft {
	same := 0
	for i := range p.local {
		if d := &p.local[i]; d.Code == code {
			if same++; same == maxSame {
				d.Count = max(d.Count, 1) + 1
				return d
			}
		}
	}
	return nil
}

// gather reports a finding that is listed once per feature, at its first place,
// with all its occurrences counted and their edits in one fix.
func (p *parser) gather(at span, pointer func() string, f Finding, edit Edit) {
	for i := range p.local {
		if d := &p.local[i]; d.Code == f.Code {
			d.Count = max(d.Count, 1) + 1
			addEdit(d, edit)
			return
		}
	}
	f.Pointer = pointer()
	p.local = append(p.local, draft{Finding: f, doc: p.doc, at: at})
	addEdit(&p.local[len(p.local)-1], edit)
}

// maxEdits of one fix; a repair that touches more is left to other tools.
const maxEdits = 100_000

func addEdit(d *draft, e Edit) {
	if d.Fix == nil {
		return
	}
	if len(d.Fix.Edits) >= maxEdits {
		d.Fix = nil
		return
	}
	d.Fix.Edits = append(d.Fix.Edits, e)
}

// maxSame is how many findings of one code are listed of one feature; the last
// of them counts the rest.
const maxSame = 5

// flushLocal hands the current feature's findings over, with its id. skip makes
// its errors warnings.
func (p *parser) flushLocal(id string, skip bool) {
	for i := range p.local {
		d := p.local[i]
		d.Feature = id
		if d.Count > 1 {
			d.Message += fmt.Sprintf(" (and %d more like this in the feature)", d.Count-1)
		}
		if skip && d.Severity == SeverityError {
			d.Severity, d.Skipped = SeverityWarning, true
			d.Message += "; the fence is left out"
		}
		p.l.report.add(d)
	}
	p.local = p.local[:0]
}

// failed reports whether the current feature has an error.
func (p *parser) failed() bool {
	for i := range p.local {
		if p.local[i].Severity == SeverityError {
			return true
		}
	}
	return false
}
