package campaign

import (
	"bytes"
	"encoding/json"
	"html"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/osteele/liquid/parser"
)

// An extent is what a text may become, as far as its size goes: which characters there are at most, whatever the values of
// variables and whichever way conditions go. It is one of
//
//	a text                known to the letter
//	up to chars characters and bytes bytes of anything
//	parts                 one after the other
//	oneOf                 any one of them
//
// Extents are shared and never changed.
type extent struct {
	text         string
	chars, bytes int
	parts, oneOf []*extent

	mostChars, mostBytes int
	leaves               int
}

func textOf(s string) *extent {
	return &extent{text: s, mostChars: utf8.RuneCountInString(s), mostBytes: len(s), leaves: 1}
}

// anyOf is any text within both limits.
func anyOf(chars, bytes int) *extent {
	chars = min(chars, bytes)
	return &extent{chars: chars, bytes: bytes, mostChars: chars, mostBytes: bytes, leaves: 1}
}

// anyValue is what a value on its way through filters can be at most.
var anyValue = anyOf(maxValueBytes, maxValueBytes)

func sequence(parts ...*extent) *extent {
	e := &extent{parts: parts}
	for _, p := range parts {
		e.mostChars, e.mostBytes, e.leaves = e.mostChars+p.mostChars, e.mostBytes+p.mostBytes, e.leaves+p.leaves
	}
	return e
}

func either(alternatives ...*extent) *extent {
	e := &extent{oneOf: alternatives}
	for _, a := range alternatives {
		e.mostChars, e.mostBytes, e.leaves = max(e.mostChars, a.mostChars), max(e.mostBytes, a.mostBytes), e.leaves+a.leaves
	}
	return e
}

// maxLeaves is how finely a value is known: values can be made of each other again and again.
const maxLeaves = 1000

// bound is e as a value that filters make: over maxValueBytes rendering fails.
func (e *extent) bound() *extent {
	switch {
	case e.mostBytes > maxValueBytes:
		return anyValue
	case e.leaves > maxLeaves:
		return anyOf(e.mostChars, e.mostBytes)
	}
	return e
}

// each applies a filter that treats every character by itself: fn to texts, free to pieces of anything.
func (e *extent) each(fn func(string) string, free func(*extent) *extent) *extent {
	switch {
	case e.parts != nil:
		return sequence(eachOf(e.parts, fn, free)...)
	case e.oneOf != nil:
		return either(eachOf(e.oneOf, fn, free)...)
	case e.bytes > 0:
		return free(e)
	}
	return textOf(fn(e.text))
}

func eachOf(list []*extent, fn func(string) string, free func(*extent) *extent) []*extent {
	out := make([]*extent, len(list))
	for i, e := range list {
		out[i] = e.each(fn, free)
	}
	return out
}

// known is the text that e is, when it is nothing else.
func (e *extent) known() (string, bool) {
	return e.text, e.parts == nil && e.oneOf == nil && e.bytes == 0
}

// A weight is what a text costs in one of the forms that payloads have: its bytes, or those of its JSON.
type weight func(s string) int

var weights = []weight{
	func(s string) int { return len(s) },
	func(s string) int { return len(jsonText(s, true)) },
	func(s string) int { return len(jsonText(s, false)) },
	func(s string) int { return len(jsonText(jsonText(s, false), false)) }, // JSON within JSON
}

func jsonText(s string, escapeHTML bool) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(escapeHTML)
	_ = enc.Encode(s) // of a text
	return strings.TrimSuffix(b.String(), "\n")
}

// dearest are characters of which one costs most in some form: by its bytes, its HTML escape, its JSON escape, and its
// JSON escape for its bytes.
var dearest = []string{"😀", "&", "\x01", "\u2028", `"`}

// heaviest is a text that e may become and that no other outweighs. memo is for one weight.
func (e *extent) heaviest(w weight, memo map[*extent]string) string {
	if s, ok := memo[e]; ok {
		return s
	}
	var s string
	switch {
	case e.parts != nil:
		var b strings.Builder
		for _, p := range e.parts {
			b.WriteString(p.heaviest(w, memo))
		}
		s = b.String()
	case e.oneOf != nil:
		for _, a := range e.oneOf {
			if t := a.heaviest(w, memo); w(t) > w(s) {
				s = t
			}
		}
	case e.bytes > 0:
		for _, c := range dearest {
			n := min(e.chars, e.bytes/len(c))
			t := strings.Repeat(c, n) + strings.Repeat(`"`, min(e.chars-n, e.bytes-n*len(c)))
			if w(t) > w(s) {
				s = t
			}
		}
	default:
		s = e.text
	}
	memo[e] = s
	return s
}

// heaviestTexts are the texts that e may become of which one is the heaviest in whatever form. What is over the limit of a
// text fails when it is filled, so the heaviest that is not is as much of its dearest characters as fits.
func (e *extent) heaviestTexts() []string {
	var out []string
	for _, w := range weights {
		s := e.heaviest(w, map[*extent]string{})
		if len(s) > maxOutputBytes {
			list := []rune(s)
			cost := make(map[rune]int)
			for _, r := range list {
				if _, ok := cost[r]; !ok {
					cost[r] = w(strings.Repeat(string(r), 12)) / utf8.RuneLen(r)
				}
			}
			slices.SortStableFunc(list, func(a, b rune) int { return cost[b] - cost[a] })
			s = string(list)[:maxOutputBytes]
			for !utf8.ValidString(s) {
				s = s[:len(s)-1]
			}
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// valueExtent is what a variable may be; list: as a list too.
type valueExtent func(path string, list bool) *extent

// extentOf is what t may become.
func (t *Text) extentOf(value valueExtent) *extent {
	if t.tpl == nil {
		return textOf(strings.TrimSpace(t.Source))
	}
	x := extentReader{tokens: parser.Scan(t.Source, parser.SourceLoc{}, nil), value: value, assigned: map[string]*extent{}}
	e, _ := x.block()
	return e
}

// extentReader walks the tokens of a text that [lint] has let pass.
type extentReader struct {
	tokens   []parser.Token
	value    valueExtent
	assigned map[string]*extent
}

// block reads up to one of the tags that end it, which it returns.
func (x *extentReader) block(until ...string) (e *extent, end string) {
	var parts []*extent
	for len(x.tokens) > 0 {
		tok := x.tokens[0]
		x.tokens = x.tokens[1:]
		switch {
		case tok.Type == parser.TextTokenType:
			parts = append(parts, textOf(tok.Source))
		case tok.Type == parser.ObjTokenType:
			parts = append(parts, x.expression(tok.Args))
		case tok.Type != parser.TagTokenType:
		case slices.Contains(until, tok.Name):
			return sequence(parts...), tok.Name
		case tok.Name == "if", tok.Name == "unless":
			parts = append(parts, x.branches("elsif", "end"+tok.Name))
		case tok.Name == "case":
			x.block("when", "else", "endcase") // nothing before the first is printed
			parts = append(parts, x.branches("when", "endcase"))
		case tok.Name == "comment":
			for len(x.tokens) > 0 && x.tokens[0].Name != "endcomment" {
				x.tokens = x.tokens[1:]
			}
		case tok.Name == "assign":
			name, value, _ := strings.Cut(tok.Args, "=")
			x.assigned[strings.TrimSpace(name)] = x.expression(value)
		}
	}
	return sequence(parts...), ""
}

// branches reads what follows the first tag of an if, unless or case up to its end: any one of the branches, or, without
// an else as well as in every case, none. Assigned values are those of any one of them.
func (x *extentReader) branches(more, end string) *extent {
	before := x.assigned
	alternatives, after := []*extent{textOf("")}, []map[string]*extent{before}
	for {
		x.assigned = maps.Clone(before)
		e, ended := x.block(more, "else", end)
		alternatives, after = append(alternatives, e), append(after, x.assigned)
		if ended == end || ended == "" {
			break
		}
	}
	x.assigned = map[string]*extent{}
	for _, a := range after {
		for name := range a {
			if x.assigned[name] != nil {
				continue
			}
			var values []*extent
			for _, b := range after {
				v := b[name]
				if v == nil {
					v = textOf("")
				}
				if !slices.Contains(values, v) {
					values = append(values, v)
				}
			}
			x.assigned[name] = either(values...)
		}
	}
	return either(alternatives...)
}

// expression reads a value and its filters. What it does not understand may be anything.
func (x *extentReader) expression(src string) *extent {
	s := expressionScanner{src: src}
	e, ok := x.operand(&s)
	for ok && s.next() == '|' {
		s.i++
		name := s.word()
		var args []*extent
		for s.next() == ':' || s.next() == ',' {
			s.i++
			var arg *extent
			if arg, ok = x.operand(&s); !ok {
				break
			}
			if s.next() == ':' { // it was the name of one
				s.i++
				if arg, ok = x.operand(&s); !ok {
					break
				}
			}
			args = append(args, arg)
		}
		e = filterExtent(name, e, args).bound()
	}
	if !ok || s.next() != 0 {
		return anyValue
	}
	return e
}

func (x *extentReader) operand(s *expressionScanner) (*extent, bool) {
	switch c := s.next(); {
	case c == '"' || c == '\'':
		n := strings.IndexByte(s.src[s.i+1:], c)
		for c == '"' && n > 0 && s.src[s.i+n] == '\\' { // an escaped one
			m := strings.IndexByte(s.src[s.i+n+2:], c)
			if m < 0 {
				return nil, false
			}
			n += m + 1
		}
		if n < 0 {
			return nil, false
		}
		e := textOf(s.src[s.i+1 : s.i+1+n])
		s.i += n + 2
		return e, true
	case c >= '0' && c <= '9' || c == '-':
		from := s.i
		for s.i++; s.i < len(s.src) && strings.IndexByte("0123456789.", s.src[s.i]) >= 0; s.i++ {
		}
		return textOf(s.src[from:s.i]), true
	case identStart(c):
		path := s.path()
		switch root, _, _ := strings.Cut(path, "."); {
		case path == "true", path == "false":
			return textOf(path), true
		case path == "nil", path == "null", path == "empty", path == "blank":
			return textOf(""), true
		case x.assigned[root] != nil:
			return x.assigned[root], true // a member of a text is no more than it
		case strings.HasSuffix(path, ".size"):
			return numberExtent, true
		}
		return x.value(path, strings.Contains(s.src[s.i:], "join")), true
	}
	return nil, false
}

// expressionScanner reads one expression.
type expressionScanner struct {
	src string
	i   int
}

// next is the next byte that is not space; 0 at the end.
func (s *expressionScanner) next() byte {
	for s.i < len(s.src) && strings.IndexByte(" \t\r\n", s.src[s.i]) >= 0 {
		s.i++
	}
	if s.i == len(s.src) {
		return 0
	}
	return s.src[s.i]
}

func (s *expressionScanner) word() string {
	s.next()
	from := s.i
	for s.i < len(s.src) && identByte(s.src[s.i]) {
		s.i++
	}
	return s.src[from:s.i]
}

// path reads fence.props.phone; tags["first name"] is tags.first name.
func (s *expressionScanner) path() string {
	path := s.word()
	for s.i < len(s.src) {
		switch s.src[s.i] {
		case '.':
			s.i++
			path += "." + s.word()
		case '[':
			n := strings.IndexByte(s.src[s.i:], ']')
			if n < 0 {
				return path
			}
			path += "." + strings.Trim(s.src[s.i+1:s.i+n], ` "'`)
			s.i += n + 1
		default:
			return path
		}
	}
	return path
}

// numberExtent is a number as it is printed: a sign, 17 digits, a point and an exponent.
var numberExtent = textOf("-1.2345678901234567e+300")

// dateWidths is how long what a directive of a date becomes may be.
var dateWidths = map[byte]int{'Y': 5, 'C': 3, 'y': 2, 'm': 2, 'd': 2, 'e': 2, 'j': 3, 'H': 2, 'I': 2, 'k': 2, 'l': 2, 'M': 2, 'S': 2, 'p': 2, 'P': 2,
	'a': 3, 'A': 9, 'b': 3, 'B': 9, 'h': 3, 'u': 1, 'w': 1, 'U': 2, 'V': 2, 'W': 2, 'G': 5, 'g': 2, 'Z': 6, 'z': 6, 'L': 3, 's': 12, 'F': 11, 'D': 8, 'T': 8, 'R': 5, '%': 1}

// filterExtent is what a filter makes of v at most; see filterNames.
func filterExtent(name string, v *extent, args []*extent) *extent {
	arg := func(i int, otherwise string) *extent {
		if i < len(args) {
			return args[i]
		}
		return textOf(otherwise)
	}
	switch name {
	case "append":
		return sequence(v, arg(0, ""))
	case "prepend":
		return sequence(arg(0, ""), v)
	case "default":
		return either(v, arg(0, ""))
	case "pluralize":
		return either(args...)
	case "strip", "strip_html", "strip_newlines", "remove", "remove_first", "first", "last", "split", "truncatewords", "slice":
		switch n, ok := countOf(arg(1, "1")); {
		case name == "truncatewords":
			return sequence(v, arg(1, "…"))
		case name == "slice" && ok:
			return v.within(n, 0)
		}
		return v
	case "truncate":
		dots := arg(1, "…")
		if n, ok := countOf(arg(0, "50")); ok {
			return v.within(max(n, dots.mostChars), dots.mostBytes)
		}
		return sequence(v, dots)
	case "upcase", "downcase", "capitalize":
		// Some letters have more bytes in the other case, none more than half as many again.
		return v.each(func(s string) string {
			all := []string{s, strings.ToUpper(s), strings.ToLower(s)}
			return slices.MaxFunc(all, func(a, b string) int { return len(a) - len(b) })
		}, func(e *extent) *extent { return anyOf(e.chars, min(4*e.chars, e.bytes+e.bytes/2)) })
	case "escape":
		return v.each(html.EscapeString, func(e *extent) *extent {
			n := min(e.chars, e.bytes)
			return either(e, textOf(strings.Repeat("&amp;", n)), textOf(strings.Repeat("&#34;", n)))
		})
	case "url_encode":
		return v.each(url.QueryEscape, func(e *extent) *extent { return textOf(strings.Repeat("%00", e.bytes)) })
	case "replace", "replace_first":
		old, ok := arg(0, "").known()
		with := arg(1, "")
		if s, both := v.known(); both && ok {
			if w, all := with.known(); all {
				if name == "replace" {
					return textOf(strings.ReplaceAll(s, old, w))
				}
				return textOf(strings.Replace(s, old, w, 1))
			}
		}
		times := 1
		if name == "replace" {
			times = v.mostBytes / max(len(old), 1)
		}
		return anyOf(v.mostChars+times*with.mostChars, v.mostBytes+times*with.mostBytes)
	case "join": // of up to as many items as there are characters
		glue := arg(0, " ")
		return anyOf(v.mostChars*(1+glue.mostChars), v.mostBytes+v.mostChars*glue.mostBytes)
	case "date":
		format, ok := arg(0, "%Y-%m-%d %H:%M").known()
		if !ok {
			return anyValue
		}
		var b strings.Builder
		for i := 0; i < len(format); i++ {
			if format[i] != '%' {
				b.WriteByte(format[i])
				continue
			}
			for i++; i < len(format) && strings.IndexByte("-_0^#:", format[i]) >= 0; i++ {
			}
			n := 32
			if i < len(format) && dateWidths[format[i]] > 0 {
				n = dateWidths[format[i]]
			}
			b.WriteString(strings.Repeat("x", n))
		}
		return textOf(b.String())
	case "abs", "at_least", "at_most", "ceil", "divided_by", "floor", "minus", "modulo", "plus", "round", "size", "times":
		return numberExtent
	}
	return anyValue
}

// within is e cut to n characters, with up to more bytes put in the place of the rest.
func (e *extent) within(n, more int) *extent {
	if n >= e.mostChars {
		return e
	}
	return anyOf(max(n, 0), min(4*max(n, 0), e.mostBytes+more))
}

// countOf is a number that is written out.
func countOf(e *extent) (int, bool) {
	s, ok := e.known()
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}
