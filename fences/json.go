package fences

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deeply arrays and objects may be nested. A MultiPolygon in a
// collection needs 8; the rest is for properties. It bounds the recursion.
const maxDepth = 100

// span is a half-open range of byte offsets.
type span struct{ start, end int }

func (s span) empty() bool { return s.end <= s.start }

// step is one element of the path to the value being read: a member's name
// (decoded) or, when name is nil, an array index.
type step struct {
	name  []byte
	index int
}

// syntaxError stops the reading of a document.
type syntaxError struct {
	at   span
	msg  string
	path string
	fix  *Fix
}

// scanner walks JSON text (RFC 8259) in one pass without building values. It
// checks everything it passes, keeps the path to where it is, and reports names
// that occur twice in an object. Its memory is bounded by maxDepth and by the
// widest object, not by the text.
//
// The walking methods return false after the first syntax error, which is then
// in err; nothing more may be read.
type scanner struct {
	data []byte
	pos  int
	path []step
	err  *syntaxError

	names []name // of the objects being read, outermost first
	// duplicate is told of every name that its object has already had.
	duplicate func(c objectKind, key []byte, at, first span)
	// badUTF8 is told of the first byte of a string that is not UTF-8; reading
	// goes on.
	badUTF8 func(at int)
}

type name struct {
	text []byte
	at   span
}

// objectKind says what an object is, for the weight of its duplicate names.
type objectKind uint8

const (
	inStructure  objectKind = iota // collection, feature, geometry
	inProperties                   // a feature's properties
	inForeign                      // anything that is kept or passed over unread
)

func (s *scanner) fail(at span, format string, args ...any) bool {
	if s.err == nil {
		s.err = &syntaxError{at: at, msg: fmt.Sprintf(format, args...), path: s.pointer()}
	}
	return false
}

// pointer renders the current path as an RFC 6901 JSON pointer.
func (s *scanner) pointer() string {
	var b strings.Builder
	for _, p := range s.path {
		b.WriteByte('/')
		if p.name == nil {
			b.WriteString(strconv.Itoa(p.index))
		} else {
			b.WriteString(escapePointer(string(p.name)))
		}
	}
	return b.String()
}

func escapePointer(s string) string {
	if !strings.ContainsAny(s, "~/") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\n', '\r', '\t':
			s.pos++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// found describes what stands at the current position, for messages.
func (s *scanner) found() string {
	if s.pos >= len(s.data) {
		return "the text ends"
	}
	r, n := utf8.DecodeRune(s.data[s.pos:])
	if r == utf8.RuneError && n <= 1 {
		return fmt.Sprintf("found byte 0x%02X", s.data[s.pos])
	}
	return fmt.Sprintf("found %q", r)
}

// here is the span of the character at the current position.
func (s *scanner) here() span {
	_, n := utf8.DecodeRune(s.data[min(s.pos, len(s.data)):])
	return span{s.pos, s.pos + n}
}

// kind names the JSON type that a value starting with c has.
func kind(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "text"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}

// skip passes over one value, checking it.
func (s *scanner) skip() (span, bool) {
	c := s.peek()
	start := s.pos
	var ok bool
	switch c {
	case '{':
		ok = s.object(inForeign, func([]byte, span) bool { _, ok := s.skip(); return ok })
	case '[':
		ok = s.array(func(int) bool { _, ok := s.skip(); return ok })
	case '"':
		_, _, ok = s.str()
	default:
		ok = s.scalar()
	}
	return span{start, s.pos}, ok
}

// object walks the members of the object at the current position. visit is
// called with each name, decoded, and its place, and must pass over the value.
// The name aliases the text when it has no escapes.
func (s *scanner) object(c objectKind, visit func(key []byte, at span) bool) bool {
	if len(s.path) >= maxDepth {
		return s.fail(s.here(), "nested deeper than %d levels; this is not a fence document", maxDepth)
	}
	s.pos++ // {
	base := len(s.names)
	defer func() { s.names = s.names[:base] }()
	var seen map[string]span // takes over from s.names in wide objects
	s.path = append(s.path, step{})
	defer func() { s.path = s.path[:len(s.path)-1] }()
	if s.peek() == '}' {
		s.pos++
		return true
	}
	for {
		if s.peek() != '"' {
			if s.pos < len(s.data) && s.data[s.pos] == '}' {
				return s.trailingComma()
			}
			return s.fail(s.here(), `expected a member name in double quotes, but %s`, s.found())
		}
		at, escaped, ok := s.str()
		if !ok {
			return false
		}
		key := s.data[at.start+1 : at.end-1 : at.end-1]
		if escaped {
			key = unescape(key)
		}
		s.path[len(s.path)-1] = step{name: key}
		if first, dup := s.seen(base, &seen, key, at); dup && s.duplicate != nil {
			s.duplicate(c, key, at, first)
		}
		if s.peek() != ':' {
			return s.fail(s.here(), "expected ':' after the name %q, but %s", clip(key), s.found())
		}
		s.pos++
		if !visit(key, at) {
			return false
		}
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return true
		default:
			return s.fail(s.here(), "expected ',' or '}' after the value of %q, but %s", clip(key), s.found())
		}
	}
}

// seen records a name of the object whose names start at base and reports where
// the same name stood before.
func (s *scanner) seen(base int, wide *map[string]span, key []byte, at span) (first span, dup bool) {
	if *wide != nil {
		if first, dup = (*wide)[string(key)]; !dup {
			(*wide)[string(key)] = at
		}
		return first, dup
	}
	for _, n := range s.names[base:] {
		if bytes.Equal(n.text, key) {
			return n.at, true
		}
	}
	s.names = append(s.names, name{key, at})
	if len(s.names)-base > 32 {
		*wide = make(map[string]span, 64)
		for _, n := range s.names[base:] {
			(*wide)[string(n.text)] = n.at
		}
	}
	return span{}, false
}

// array walks the elements of the array at the current position; visit must
// pass over the element.
func (s *scanner) array(visit func(i int) bool) bool {
	if len(s.path) >= maxDepth {
		return s.fail(s.here(), "nested deeper than %d levels; this is not a fence document", maxDepth)
	}
	s.pos++ // [
	s.path = append(s.path, step{})
	defer func() { s.path = s.path[:len(s.path)-1] }()
	if s.peek() == ']' {
		s.pos++
		return true
	}
	for i := 0; ; i++ {
		s.path[len(s.path)-1] = step{index: i}
		if s.peek() == ']' {
			return s.trailingComma()
		}
		if !visit(i) {
			return false
		}
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return true
		default:
			return s.fail(s.here(), "expected ',' or ']' after element %d, but %s", i, s.found())
		}
	}
}

// trailingComma fails on the comma before the closing bracket at the current
// position.
func (s *scanner) trailingComma() bool {
	i := bytes.LastIndexByte(s.data[:s.pos], ',')
	s.fail(span{i, i + 1}, "a comma with nothing after it; remove it")
	s.err.fix = &Fix{Title: "Remove the comma", Edits: []Edit{{Offset: i, Length: 1}}}
	return false
}

// clip shortens text from a document so that a message stays readable.
func clip[T []byte | string](v T) string {
	const most = 60
	s := string(v[:min(len(v), most+4)])
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(v) > most {
		s = string(r[:min(len(r), most)]) + "…"
	}
	return s
}
