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

// plain marks the bytes that need no attention inside a string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\'
	}
	return t
}()

// str passes over the string at the current position. The span includes the
// quotes; escaped says whether it has escape sequences.
func (s *scanner) str() (at span, escaped, ok bool) {
	start := s.pos
	i := start + 1
	wide := false
	for {
		for i < len(s.data) && plain[s.data[i]] {
			i++
		}
		if i >= len(s.data) {
			s.pos = i
			return at, escaped, s.fail(span{start, start + 1}, "text that starts here has no closing quote")
		}
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			if wide && s.badUTF8 != nil {
				if n := validPrefix(s.data[start:i]); start+n < i {
					s.badUTF8(start + n)
				}
			}
			return span{start, i + 1}, escaped, true
		case c == '\\':
			escaped = true
			n := escapeLen(s.data[i:])
			if n == 0 {
				s.pos = i
				return at, escaped, s.fail(span{i, min(i+2, len(s.data))}, `%s is not an escape sequence; write a backslash as \\`, clip(s.data[i:min(i+2, len(s.data))]))
			}
			i += n
		case c < 0x20:
			s.pos = i
			if c == '\n' || c == '\r' {
				return at, escaped, s.fail(span{start, i}, `text that starts here has no closing quote on its line (write a line break as \n)`)
			}
			return at, escaped, s.fail(span{i, i + 1}, `control character 0x%02X inside text; write it as \u%04X`, c, c)
		default:
			wide = true
			i++
		}
	}
}

func validPrefix(b []byte) int {
	if utf8.Valid(b) {
		return len(b)
	}
	n := 0
	for n < len(b) {
		r, size := utf8.DecodeRune(b[n:])
		if r == utf8.RuneError && size <= 1 {
			return n
		}
		n += size
	}
	return n
}

// escapeLen returns the length of the escape sequence that b starts with, 0
// when it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		if _, err := strconv.ParseUint(string(b[2:6]), 16, 16); err != nil {
			return 0
		}
		return 6
	}
	return 0
}

// scalar passes over a number, true, false or null.
func (s *scanner) scalar() bool {
	if s.pos >= len(s.data) {
		return s.fail(s.here(), "expected a value, but the text ends")
	}
	rest := s.data[s.pos:]
	if c := rest[0]; c == '-' || c >= '0' && c <= '9' {
		n, _ := numberLen(rest)
		if n == 0 {
			return s.fail(span{s.pos, s.pos + wordLen(rest)}, "%s is not a JSON number", clip(rest[:wordLen(rest)]))
		}
		s.pos += n
		return true
	}
	for _, w := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(rest, []byte(w)) && wordLen(rest) == len(w) {
			s.pos += len(w)
			return true
		}
	}
	if n := wordLen(rest); n > 0 {
		return s.fail(span{s.pos, s.pos + n}, "%s is not a JSON value; text needs double quotes", clip(rest[:n]))
	}
	return s.fail(s.here(), "expected a value, but %s", s.found())
}

// numberLen returns the length of the JSON number that b starts with, and how
// many digits follow its decimal point; 0 when it is none.
func numberLen(b []byte) (n, decimals int) {
	i := 0
	digits := func() int {
		from := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i - from
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if digits() == 0 {
		return 0, 0
	}
	if i < len(b) && b[i] == '.' {
		i++
		if decimals = digits(); decimals == 0 {
			return 0, 0
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if digits() == 0 {
			return 0, 0
		}
	}
	if i < len(b) && wordLen(b[i:i+1]) > 0 { // 01, 1.5m, 0x10
		return 0, 0
	}
	return i, decimals
}

// wordLen returns how many bytes of b look like one bare word or number.
func wordLen(b []byte) int {
	n := 0
	for n < len(b) && n < 64 {
		c := b[n]
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c == '.' || c == '+' || c == '-' {
			n++
			continue
		}
		break
	}
	return n
}

// unescape decodes the inside of a checked JSON string. Lone surrogates become
// U+FFFD.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		if b[i] != '\\' {
			out = append(out, b[i])
			i++
			continue
		}
		switch c := b[i+1]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(b[i+2:])
			i += 4
			if r >= 0xD800 && r < 0xDC00 && i+8 <= len(b) && b[i+2] == '\\' && b[i+3] == 'u' {
				if low := hex4(b[i+4:]); low >= 0xDC00 && low < 0xE000 {
					r = 0x10000 + (r-0xD800)<<10 + (low - 0xDC00)
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
		i += 2
	}
	return out
}

func hex4(b []byte) rune {
	v, _ := strconv.ParseUint(string(b[:4]), 16, 16)
	return rune(v)
}

// text decodes the string at a span that str returned.
func (s *scanner) text(at span) string {
	b := s.data[at.start+1 : at.end-1]
	if bytes.IndexByte(b, '\\') >= 0 {
		b = unescape(b)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
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
