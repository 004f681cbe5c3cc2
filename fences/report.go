package fences

import (
	"cmp"
	"fmt"
	"slices"
	"unicode/utf8"
)

// document is one text being read.
type document struct {
	file string
	data []byte
}

// draft is a finding whose place is still a byte range.
type draft struct {
	Finding
	doc int // index of the document; -1: a finding about a file as a whole
	at  span

	newID   string // proposed id: the fix is made when all ids are known
	idValue span   // the id value to replace; empty: insert a member at idInsert
	insert  int
}

// report collects findings. It keeps at most limit of each severity, which is
// the most that can be listed, and counts the rest.
type report struct {
	limit   int
	kept    [3][]draft
	dropped [3]int
}

func (r *report) add(d draft) *draft {
	k := d.Severity.rank()
	if len(r.kept[k]) >= r.limit {
		r.dropped[k]++
		return nil
	}
	r.kept[k] = append(r.kept[k], d)
	return &r.kept[k][len(r.kept[k])-1]
}

// insist lists a finding even if the list is full.
func (r *report) insist(d draft) {
	k := d.Severity.rank()
	if n := len(r.kept[k]); n > 0 && n >= r.limit {
		r.kept[k] = r.kept[k][:n-1]
		r.dropped[k]++
	}
	r.add(d)
}

// newFinding returns a finding with its code's usual severity.
func newFinding(code, format string, args ...any) Finding {
	return Finding{Code: code, Severity: codeIndex[code].Severity, Message: fmt.Sprintf(format, args...)}
}

// findings returns what is listed, in the order of the documents and their
// text, with lines and columns. The worst are listed first when there are more
// than the limit, and a last finding counts those that are not.
func (r *report) findings(docs []document) []Finding {
	room := r.limit
	left := r.dropped
	var all []draft
	for k := range r.kept {
		n := min(room, len(r.kept[k]))
		left[k] += len(r.kept[k]) - n
		all = append(all, r.kept[k][:n]...)
		room -= n
	}
	slices.SortStableFunc(all, func(a, b draft) int {
		return cmp.Or(cmp.Compare(a.doc, b.doc), cmp.Compare(a.at.start, b.at.start), cmp.Compare(a.Severity.rank(), b.Severity.rank()), cmp.Compare(a.Code, b.Code))
	})
	var loc locator
	out := make([]Finding, 0, len(all)+1)
	for _, d := range all {
		if d.doc >= 0 {
			if loc.data == nil || loc.doc != d.doc {
				loc = newLocator(d.doc, docs[d.doc].data)
			}
			d.File = docs[d.doc].file
			d.Line, d.Col, d.EndCol = loc.place(d.at)
		}
		out = append(out, d.Finding)
	}
	if n := left[0] + left[1] + left[2]; n > 0 {
		f := newFinding(codeMore, "%d more findings are not listed (%s, %s, %s)", n,
			plural(left[0], "error"), plural(left[1], "warning"), plural(left[2], "note"))
		f.Count = n
		if left[0] > 0 {
			f.Severity = SeverityError // so that nobody takes the list for all there is
		}
		out = append(out, f)
	}
	return out
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// locator turns ascending byte offsets into lines and columns in one pass over
// the text, however long its lines are.
type locator struct {
	doc       int
	data      []byte
	pos       int
	line, col int
}

func newLocator(doc int, data []byte) locator {
	l := locator{doc: doc, data: data, line: 1, col: 1}
	if len(data) >= 3 && string(data[:3]) == bom {
		l.pos = 3 // editors do not show it
	}
	return l
}

// to moves to an offset and returns its line and column, both from 1, the
// column in code points. An offset before the current one starts over.
func (l *locator) to(offset int) (line, col int) {
	offset = min(offset, len(l.data))
	if offset < l.pos {
		*l = newLocator(l.doc, l.data)
	}
	for l.pos < offset {
		rest := l.data[l.pos:offset]
		i := indexNewline(rest)
		if i < 0 {
			l.col += utf8.RuneCount(rest)
			l.pos = offset
			break
		}
		l.pos += i + 1
		l.line++
		l.col = 1
	}
	return l.line, l.col
}

// place returns where a span starts and the column after it, cut at the end of
// its first line.
func (l *locator) place(at span) (line, col, end int) {
	line, col = l.to(at.start)
	at.end = min(at.end, len(l.data), at.start+4096)
	if at.end <= at.start {
		return line, col, col
	}
	text := l.data[at.start:at.end]
	if i := indexNewline(text); i >= 0 {
		text = text[:i]
	}
	return line, col, col + utf8.RuneCount(text)
}
