package campaign

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"footfall/audience"
)

// Code names a kind of error in a campaign file. The set is closed and stable,
// so that a check can be told to ignore or to count one.
type Code string

// The codes.
const (
	CodeRead        Code = "read"         // the file cannot be read
	CodeTooLarge    Code = "too_large"    // over a limit of size, number or depth
	CodeSyntax      Code = "syntax"       // not YAML
	CodeAnchor      Code = "anchor"       // anchors, aliases and YAML tags are not used here
	CodeType        Code = "type"         // a list where a mapping belongs, and the like
	CodeUnknownKey  Code = "unknown_key"  // no such key
	CodeUnsupported Code = "unsupported"  // a key or value of a later version
	CodeDuplicate   Code = "duplicate"    // a key, id, tag, day or locale twice
	CodeMissing     Code = "missing"      // a required key or value is not there
	CodeConflict    Code = "conflict"     // two keys that exclude each other
	CodeID          Code = "id"           // not usable as an id
	CodeValue       Code = "value"        // not one of the allowed values
	CodeRange       Code = "range"        // a number or length outside its limits
	CodeDuration    Code = "duration"     // not a duration
	CodeDate        Code = "date"         // not a date and time
	CodeZone        Code = "zone"         // not a time zone
	CodeHours       Code = "hours"        // not a span of hours
	CodeDay         Code = "day"          // not a day of the week
	CodeLocale      Code = "locale"       // not a language tag
	CodeURL         Code = "url"          // not a usable address
	CodeTemplate    Code = "template"     // Liquid that does not parse or render
	CodeForbidden   Code = "forbidden"    // a Liquid tag or construct that is not allowed
	CodeFilter      Code = "filter"       // no such Liquid filter
	CodeVariable    Code = "variable"     // no such variable
	CodeNoTemplate  Code = "no_template"  // a step names a template that is not there
	CodeEmptyWindow Code = "empty_window" // from is not before to, or hours that leave nothing
	CodeAudience    Code = "rule"         // not a rule about people
	CodeSegment     Code = "segment"      // not a usable segment, or one that contains itself
	CodePayload     Code = "payload"      // warning: for somebody the push may be over the limit of a channel
	CodeNoEnd       Code = "no_end"       // warning: a campaign that says nothing about its end
	CodeNoFence     Code = "no_fence"     // warning: no fence has the id or tag
)

// Error is one fault in a campaign file.
type Error struct {
	File      string
	Line, Col int    // from 1; Col counts characters, not bytes. 0: the file as a whole
	Code      Code   //
	Msg       string // what is wrong
	Hint      string // what to write instead; may be ""
	Excerpt   string // the line of the file; may be ""
	Warning   bool   // a check reports it; a gateway runs the campaign
}

// Error prints one line in the form that editors jump to, then the line of the
// file with a mark under the place:
//
//	shops.yaml:4:3: error unknown_key: unknown key "widow" (did you mean "window"?)
//	   4 |   widow: {hours: "10:00-21:00"}
//	     |   ^
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Col)
	}
	severity := "error"
	if e.Warning {
		severity = "warning"
	}
	fmt.Fprintf(&b, ": %s %s: %s", severity, e.Code, e.Msg)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	if e.Excerpt != "" {
		// Tabs are kept in the padding, so that the mark stands right in a terminal.
		pad := strings.Map(func(r rune) rune {
			if r == '\t' {
				return r
			}
			return ' '
		}, firstRunes(e.Excerpt, e.Col-1))
		fmt.Fprintf(&b, "\n%4d | %s\n     | %s^", e.Line, e.Excerpt, pad)
	}
	return b.String()
}

func firstRunes(s string, n int) string {
	for i := range s {
		if n <= 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// Errors takes the error of Parse or Load apart, in order of file, line and
// column. An error that is something else gives nil.
func Errors(err error) []*Error {
	var list []*Error
	var walk func(error)
	walk = func(err error) {
		if e, ok := err.(*Error); ok {
			list = append(list, e)
			return
		}
		switch u := err.(type) {
		case interface{ Unwrap() []error }:
			for _, e := range u.Unwrap() {
				walk(e)
			}
		case interface{ Unwrap() error }:
			walk(u.Unwrap())
		}
	}
	if err != nil {
		walk(err)
	}
	return list
}

// maxErrors is how many faults of one file are reported; a file that is no
// campaign file at all must not flood a terminal.
const maxErrors = 50

// source is a file being read and the faults found in it.
type source struct {
	file  string
	src   string
	lines []int // byte offset of each line
	errs  []*Error

	segments *audience.Segments // that rules may name
}

func newSource(file, text string) *source {
	s := &source{file: file, src: text, lines: []int{0}}
	for i := 0; i < len(text); i++ {
		// A line ends with LF, CRLF or, in YAML, a lone CR.
		if text[i] == '\n' || text[i] == '\r' && !strings.HasPrefix(text[i+1:], "\n") {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// line returns the text of a line, from 1, without its end.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	text := s.src[s.lines[n-1]:]
	if end := strings.IndexAny(text, "\r\n"); end >= 0 {
		text = text[:end]
	}
	return text
}

// pos is a place in a file: line and column from 1, in characters.
type pos struct{ line, col int }

// offset is the byte offset of a place, at most the length of the text.
func (s *source) offset(p pos) int {
	if p.line < 1 || p.line > len(s.lines) {
		return len(s.src)
	}
	line := s.line(p.line)
	return s.lines[p.line-1] + len(firstRunes(line, p.col-1))
}

// at is the place of a byte offset.
func (s *source) at(offset int) pos {
	n, _ := slices.BinarySearch(s.lines, offset+1)
	start := s.lines[n-1]
	return pos{n, utf8.RuneCountInString(s.src[start:offset]) + 1}
}

// fixes are the hints of errors that have none of their own, because what is
// wrong already says it.
var fixes = map[Code]string{
	CodeSyntax:     "look at the quotes, brackets and the indentation around this place",
	CodeDuplicate:  "remove one of them",
	CodeRange:      "choose a value within the limits",
	CodeTooLarge:   "split it",
	CodeConflict:   "remove one of them",
	CodeMissing:    "add it",
	CodeType:       "see the reference in docs/campaigns.md",
	CodeTemplate:   "see the Liquid that templates may use in docs/campaigns.md",
	CodeForbidden:  "remove it",
	CodeUnknownKey: "remove it",
	CodeURL:        "write a whole address, such as https://example.com/a.jpg",
	CodeID:         "use A-Z a-z 0-9 _ -",
	CodeLocale:     "write a locale such as uk or uk-UA, one that is under locales",
	CodeValue:      "choose one of the allowed values",
}

func (s *source) fail(p pos, code Code, hint, format string, args ...any) {
	if hint == "" {
		hint = fixes[code]
	}
	excerpt := s.line(p.line)
	if utf8.RuneCountInString(excerpt) > 200 {
		excerpt = "" // one line that fills the screen explains nothing
	}
	s.errs = append(s.errs, &Error{
		File: s.file, Line: p.line, Col: p.col, Code: code,
		Msg: fmt.Sprintf(format, args...), Hint: hint, Excerpt: excerpt,
	})
}

// err joins what was found, in order of place, or returns nil.
func (s *source) err() error {
	if len(s.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(s.errs, func(a, b *Error) int {
		return cmp.Or(a.Line-b.Line, a.Col-b.Col)
	})
	list := make([]error, 0, min(len(s.errs), maxErrors+1))
	for i, e := range s.errs {
		if i == maxErrors {
			list = append(list, fmt.Errorf("%s: %d more errors", s.file, len(s.errs)-maxErrors))
			break
		}
		list = append(list, e)
	}
	return errors.Join(list...)
}

// nearest returns the known name that a typo most likely meant, or "".
func nearest(name string, known []string) string {
	best, bestDist := "", 3 // two slips at most
	for _, k := range known {
		d := editDistance(strings.ToLower(name), strings.ToLower(k), bestDist)
		// A short word is not a typo of every other short word.
		if d < bestDist && d <= max(1, utf8.RuneCountInString(k)/3) {
			best, bestDist = k, d
		}
	}
	return best
}

// editDistance is the number of single-character changes and swaps of
// neighbours between a and b (optimal string alignment), or limit when it is
// not below it.
func editDistance(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if diff := len(x) - len(y); diff >= limit || -diff >= limit || len(x) > 64 {
		return limit
	}
	before, prev, cur := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(x); i++ {
		cur[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return min(prev[len(y)], limit)
}

// didYouMean is a hint for an unknown name: the nearest one, else all of them.
func didYouMean(name string, known []string) string {
	if n := nearest(name, known); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return "allowed: " + strings.Join(known, ", ")
}
