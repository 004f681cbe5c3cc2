package campaign

import (
	"errors"
	"fmt"
	"html"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/osteele/liquid"
	"github.com/osteele/tuesday"
)

// filterNames are the filters that a template may use, sorted. The engine's
// filters for numbers and single items are kept; those that make text are ours,
// because every one that can grow its input is bounded by maxValueBytes. Left
// out are json and inspect (they show whole objects and double their quotes
// each time), type, and all that map or merge lists.
var filterNames = func() []string {
	names := []string{
		"abs", "at_least", "at_most", "ceil", "default", "divided_by", "first", "floor", "last",
		"minus", "modulo", "plus", "round", "size", "times", // the engine's
	}
	for name := range textFilters {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}()

var errValueTooLong = fmt.Errorf("a value is longer than %d bytes", maxValueBytes)

// bounded refuses a text that has grown too long.
func bounded(s string) (string, error) {
	if len(s) > maxValueBytes {
		return "", errValueTooLong
	}
	return s, nil
}

var tagPattern = regexp.MustCompile(`<[^>]*>`)

// textFilters are our own, by name. The engine converts arguments to the types
// that are asked for.
var textFilters = map[string]any{
	"append":         func(s, more string) (string, error) { return bounded(s + more) },
	"prepend":        func(s, more string) (string, error) { return bounded(more + s) },
	"replace":        func(s, old, with string) (string, error) { return replaced(s, old, with, -1) },
	"replace_first":  func(s, old, with string) (string, error) { return replaced(s, old, with, 1) },
	"remove":         func(s, old string) (string, error) { return replaced(s, old, "", -1) },
	"remove_first":   func(s, old string) (string, error) { return replaced(s, old, "", 1) },
	"upcase":         func(s string) (string, error) { return bounded(strings.ToUpper(s)) },
	"downcase":       func(s string) (string, error) { return bounded(strings.ToLower(s)) },
	"capitalize":     capitalize,
	"strip":          func(s string) (string, error) { return bounded(strings.TrimSpace(s)) },
	"strip_html":     func(s string) (string, error) { return bounded(tagPattern.ReplaceAllString(s, "")) },
	"strip_newlines": func(s string) (string, error) { return replaced(s, "\n", "", -1) },
	"escape":         func(s string) (string, error) { return bounded(html.EscapeString(s)) },
	"url_encode":     func(s string) (string, error) { return bounded(url.QueryEscape(s)) },
	"truncate":       truncate,
	"truncatewords":  truncateWords,
	"slice":          sliceText,
	"split":          split,
	"join":           join,
	"pluralize":      pluralize,
	"date":           date,
}

func registerFilters(e *liquid.Engine) {
	for name, fn := range textFilters {
		e.RegisterFilter(name, fn)
	}
	// Belt and braces: lint refuses their names already.
	for _, name := range []string{"json", "inspect", "type", "compact", "concat", "map", "reverse", "sort", "sort_natural", "uniq", "where", "sum",
		"newline_to_br", "escape_once", "handle", "handleize", "replace_last", "remove_last", "url_decode", "lstrip", "rstrip"} {
		e.RegisterFilter(name, func(any) (any, error) { return nil, errors.New("this filter is not allowed") })
	}
}

func replaced(s, old, with string, n int) (string, error) {
	if old == "" {
		return s, nil // Go would put with between all characters
	}
	if n < 0 {
		n = strings.Count(s, old)
	}
	if len(s)+n*(len(with)-len(old)) > maxValueBytes { // before it is built
		return "", errValueTooLong
	}
	return strings.Replace(s, old, with, n), nil
}

func capitalize(s string) (string, error) {
	runes := []rune(strings.ToLower(s))
	if len(runes) == 0 {
		return "", nil
	}
	return bounded(strings.ToUpper(string(runes[:1])) + string(runes[1:]))
}

func truncate(s string, length func(int) int, ellipsis func(string) string) (string, error) {
	n, dots := length(50), ellipsis("…")
	runes := []rune(s)
	if len(runes) <= n {
		return bounded(s)
	}
	keep := min(max(n-len([]rune(dots)), 0), len(runes))
	return bounded(string(runes[:keep]) + dots)
}

func truncateWords(s string, count func(int) int, ellipsis func(string) string) (string, error) {
	words := strings.Fields(s)
	n := max(count(15), 1)
	if len(words) <= n {
		return bounded(s)
	}
	return bounded(strings.Join(words[:n], " ") + ellipsis("…"))
}

func sliceText(s string, start int, length func(int) int) (string, error) {
	runes := []rune(s)
	if start < 0 {
		start = max(0, len(runes)+start)
	}
	start = min(start, len(runes))
	n := min(max(length(1), 0), len(runes)-start)
	return bounded(string(runes[start : start+n]))
}

func split(s, sep string) (any, error) {
	if len(s) > maxValueBytes {
		return nil, errValueTooLong
	}
	parts := strings.Split(s, sep)
	list := make([]any, len(parts))
	for i, p := range parts {
		list[i] = p
	}
	return list, nil
}

// join takes a single value as a list of one: a tag that was a list for one
// person may be a text for another.
func join(v any, sep func(string) string) (string, error) {
	var list []any
	switch v := v.(type) {
	case []any:
		list = v
	case []string:
		for _, s := range v {
			list = append(list, s)
		}
	default:
		return bounded(plain(v))
	}
	glue := sep(" ")
	var b strings.Builder
	for i, v := range list {
		if i > 0 {
			b.WriteString(glue)
		}
		b.WriteString(plain(v))
		if b.Len() > maxValueBytes {
			return "", errValueTooLong
		}
	}
	return b.String(), nil
}

// plain is a value as {{ }} prints it.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// pluralize picks the form of a noun for a count: two forms as in English (one,
// other), or three as in Ukrainian (one, few, many).
func pluralize(count any, one, other string, many func(string) string) (string, error) {
	n, ok := number(count)
	if !ok {
		return "", fmt.Errorf("pluralize: %v is not a number", count)
	}
	third := many("")
	if third == "" {
		if n == 1 {
			return one, nil
		}
		return other, nil
	}
	// Unicode CLDR plural rules for Ukrainian and its neighbours. A fraction
	// takes the form of "few" there: 1,5 хвилини.
	i := int64(math.Abs(n))
	switch {
	case n != math.Trunc(n):
		return other, nil
	case i%10 == 1 && i%100 != 11:
		return one, nil
	case i%10 >= 2 && i%10 <= 4 && (i%100 < 12 || i%100 > 14):
		return other, nil
	default:
		return third, nil
	}
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case string:
		f, err := strconv.ParseFloat(v, 64)
		return f, err == nil
	}
	return 0, false
}

// dateWidth finds the padding width that strftime would build: %999999999d.
var dateWidth = regexp.MustCompile(`%[-_0^#:]*[0-9]`)

// date formats a time as strftime does. Times in the context are texts with
// their offset, so nothing here depends on the zone or the clock of the
// machine; the word "now" is refused for the same reason.
func date(v any, format func(string) string) (string, error) {
	var t time.Time
	switch v := v.(type) {
	case string:
		var err error
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
			if t, err = time.Parse(layout, v); err == nil {
				break
			}
		}
		if v == "now" {
			return "", errors.New(`date: use the variable now, without quotes`)
		}
		if err != nil {
			return "", fmt.Errorf("date: %q is not a time", v)
		}
	case time.Time:
		t = v
	case nil:
		return "", nil
	default:
		return "", fmt.Errorf("date: %v is not a time", v)
	}
	f := format("%Y-%m-%d %H:%M")
	if dateWidth.MatchString(f) {
		return "", errors.New("date: a width in the format is not allowed")
	}
	s, err := tuesday.Strftime(f, t)
	if err != nil {
		return "", err
	}
	return bounded(s)
}
