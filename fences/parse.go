package fences

import (
	"bytes"
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
// The cost is linear in the text but for the sorting of fences: about 20 MB of
// coordinates, or 50 MB of point features, per second and core with all checks. Memory is bounded by a small multiple of the
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
