package fences

import (
	"fmt"
)

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
