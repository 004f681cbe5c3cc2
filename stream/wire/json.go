package wire

import (
	"encoding/json"
	"math"
	"strconv"
)

// scanner walks one JSON text. It accepts exactly what encoding/json accepts (RFC 8259 plus ill-formed UTF-8
// inside strings) down to MaxDepth, and never allocates but in unquote. After a method returned false, fail says
// why the text as a whole is refused.
type scanner struct {
	b     []byte
	i     int
	depth int
	fail  *PayloadError
}

func (s *scanner) bad() bool {
	s.fail = errJSON
	return false
}

// peek skips white space and returns the next byte, or 0 at the end; a NUL byte is no JSON either way.
func (s *scanner) peek() byte {
	if s.i < len(s.b) && s.b[s.i] > ' ' { // most messages have no white space; small enough to be inlined
		return s.b[s.i]
	}
	return s.peekSpace()
}

func (s *scanner) peekSpace() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// enter steps into an object or array, whose opening byte is next.
func (s *scanner) enter() bool {
	s.i++
	s.depth++
	if s.depth > MaxDepth {
		s.fail = errTooDeep
		return false
	}
	return true
}

// more is called before each member of an object or element of an array: first tells whether it is
// the first. It returns false at the closing byte, which it takes, or on an error.
func (s *scanner) more(first bool, closing byte) bool {
	switch c := s.peek(); {
	case c == closing:
		s.i++
		s.depth--
		return false
	case first:
		return true
	case c != ',':
		return s.bad()
	}
	s.i++
	if s.peek() == closing { // a trailing comma
		return s.bad()
	}
	return true
}

// key reads a member's name and the colon. The name is a view into the text unless it had escapes.
func (s *scanner) key() (name []byte, ok bool) {
	if s.peek() != '"' {
		return nil, s.bad()
	}
	// Fast path: a short plain name with the colon right behind it, as every encoder writes our names.
	short := s.b[s.i+1 : min(s.i+12, len(s.b))]
	for i, c := range short {
		if c == '"' {
			if i+1 < len(short) && short[i+1] == ':' {
				s.i += i + 3
				return short[:i], true
			}
			break
		}
		if c < 0x20 || c >= 0x80 || c == '\\' {
			break
		}
	}
	raw, plain, ok := s.str()
	if !ok {
		return nil, false
	}
	if s.peek() != ':' {
		return nil, s.bad()
	}
	s.i++
	if plain {
		return raw[1 : len(raw)-1], true
	}
	return unquote(raw), true
}

// str reads a string whose opening quote is next. raw includes the quotes; plain says that the text
// between them is ASCII without escapes and so stands for itself.
func (s *scanner) str() (raw []byte, plain, ok bool) {
	b, i := s.b, s.i+1
	plain = true
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			raw = b[s.i : i+1]
			s.i = i + 1
			return raw, plain, true
		case c < 0x20:
			return nil, false, s.bad()
		case c == '\\':
			plain = false
			i++
			if i == len(b) {
				return nil, false, s.bad()
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if len(b)-i < 5 || !isHex(b[i+1]) || !isHex(b[i+2]) || !isHex(b[i+3]) || !isHex(b[i+4]) {
					return nil, false, s.bad()
				}
				i += 4
			default:
				return nil, false, s.bad()
			}
		case c >= 0x80:
			plain = false
		}
		i++
	}
	return nil, false, s.bad()
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// unquote is the slow way for strings with escapes or beyond ASCII: encoding/json decides what they mean
// (surrogates, ill-formed UTF-8). raw was checked by str. It allocates.
func unquote(raw []byte) []byte {
	var v string
	if json.Unmarshal(raw, &v) != nil {
		return nil
	}
	return []byte(v)
}

// pow10 holds the powers of ten that a float64 holds exactly.
var pow10 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
	1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// num reads a number whose first byte, '-' or a digit, is next. The value is the nearest float64, as from
// strconv.ParseFloat; ±Inf when the number is too large for one.
//
// Fast path: a mantissa below 2^53 and a power of ten up to 22 are both exact in float64, so one multiplication
// or division rounds correctly (W. D. Clinger, "How to read floating point numbers accurately", 1990).
func (s *scanner) num() (v float64, ok bool) {
	b, i, start := s.b, s.i, s.i
	neg := false
	if b[i] == '-' {
		neg = true
		i++
	}
	var mant uint64
	digits, exp := i, 0
	switch {
	case i < len(b) && b[i] == '0':
		i++
	case i < len(b) && b[i] >= '1' && b[i] <= '9':
		for i < len(b) && b[i]-'0' <= 9 {
			mant = mant*10 + uint64(b[i]-'0')
			i++
		}
	default:
		return 0, s.bad()
	}
	n := i - digits
	if i < len(b) && b[i] == '.' {
		i++
		frac := i
		for i < len(b) && b[i]-'0' <= 9 {
			mant = mant*10 + uint64(b[i]-'0')
			i++
		}
		if i == frac {
			return 0, s.bad()
		}
		exp = frac - i
		n += i - frac
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		minus := false
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			minus = b[i] == '-'
			i++
		}
		from, e := i, 0
		for i < len(b) && b[i]-'0' <= 9 {
			if e < 10000 {
				e = e*10 + int(b[i]-'0')
			}
			i++
		}
		if i == from {
			return 0, s.bad()
		}
		if minus {
			e = -e
		}
		exp += e
	}
	s.i = i
	// Up to 19 digits mant cannot have wrapped.
	if n <= 19 && mant < 1<<53 && exp >= -22 && exp <= 22 {
		v = float64(mant)
		if exp < 0 {
			v /= pow10[-exp]
		} else {
			v *= pow10[exp]
		}
		if neg {
			v = -v
		}
		return v, true
	}
	v, err := strconv.ParseFloat(string(b[start:i]), 64)
	if err != nil && !math.IsInf(v, 0) {
		return 0, s.bad() // not reached: the grammar was checked above
	}
	return v, true
}

// skip checks and passes over one value of any type.
func (s *scanner) skip() bool {
	switch c := s.peek(); c {
	case '"':
		_, _, ok := s.str()
		return ok
	case '{':
		if !s.enter() {
			return false
		}
		for first := true; s.more(first, '}'); first = false {
			if s.peek() != '"' {
				return s.bad()
			}
			if _, _, ok := s.str(); !ok {
				return false
			}
			if s.peek() != ':' {
				return s.bad()
			}
			s.i++
			if !s.skip() {
				return false
			}
		}
		return s.fail == nil
	case '[':
		if !s.enter() {
			return false
		}
		for first := true; s.more(first, ']'); first = false {
			if !s.skip() {
				return false
			}
		}
		return s.fail == nil
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			_, ok := s.num()
			return ok
		}
		return s.bad()
	}
}

func (s *scanner) word(w string) bool {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return s.bad()
	}
	s.i += len(w)
	return true
}

// end reports whether nothing but white space is left.
func (s *scanner) end() bool {
	if s.peek() != 0 || s.i < len(s.b) {
		return s.bad()
	}
	return true
}
