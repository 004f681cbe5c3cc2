package fences

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

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
