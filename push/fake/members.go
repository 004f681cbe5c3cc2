package fake

import (
	"encoding/json"
	"unicode/utf8"
)

// members calls fn for each member of an object, in order, and decodes no value. raw must be valid JSON; false: it is no
// object. val is a part of raw. With encoding/json, which goes over the same bytes for each level and each member, reading
// a payload was two fifths of what a push took of the fake.
func members(raw []byte, fn func(name string, val []byte)) bool {
	i := space(raw, 0)
	if i == len(raw) || raw[i] != '{' {
		return false
	}
	for i = space(raw, i+1); raw[i] != '}'; {
		end := value(raw, i)
		name := text(raw[i:end])
		i = space(raw, space(raw, end)+1) // past the colon
		end = value(raw, i)
		fn(name, raw[i:end])
		if i = space(raw, end); raw[i] == ',' {
			i = space(raw, i+1)
		}
	}
	return true
}

// space returns where what follows white space begins.
func space(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

// value returns where the value that begins at i ends.
func value(raw []byte, i int) int {
	depth := 0
	for ; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			for i++; raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i
			}
			if depth == 0 {
				return i + 1
			}
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// text returns a JSON string, "" for anything else.
func text(raw json.RawMessage) (s string) {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	plain := raw[1 : len(raw)-1]
	for _, c := range plain {
		if c == '\\' {
			plain = nil
			break
		}
	}
	if plain != nil && utf8.Valid(plain) {
		return string(plain)
	}
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
