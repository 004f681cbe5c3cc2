// Package say puts counts, shares and spans of time into the words of reports.
//
// It prints for people, in English, with a comma between thousands and a dot before decimals. What a program reads has the
// numbers themselves.
package say

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// None stands for a share or a rate of nothing.
const None = "–"

// Thousands is 12,345.
func Thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Count is "1 attempt" or "1000 attempts".
func Count(n int, what string) string {
	if n != 1 {
		what = plural(what)
	}
	return fmt.Sprintf("%d %s", n, what)
}

// Many is Count for numbers that may be large: "12,345 attempts".
func Many(n int, what string) string {
	if n != 1 {
		what = plural(what)
	}
	return Thousands(int64(n)) + " " + what
}

func plural(what string) string {
	switch {
	case strings.HasSuffix(what, "sh"):
		return what + "es"
	case strings.HasSuffix(what, "y") && !strings.HasSuffix(what, "ey"):
		return strings.TrimSuffix(what, "y") + "ies"
	}
	return what + "s"
}

// People is "1 person" or "12,345 people".
func People(n int) string {
	if n == 1 {
		return "1 person"
	}
	return Thousands(int64(n)) + " people"
}

// Percent is a part of a whole: "37.5 %"; None when the whole is nothing.
func Percent(part, whole int64, decimals int) string {
	if whole == 0 {
		return None
	}
	return strconv.FormatFloat(100*float64(part)/float64(whole), 'f', decimals, 64) + " %"
}

// Share is a share in as few decimals as it takes, two at most: "95 %".
func Share(share float64) string { return fmt.Sprintf("%g %%", math.Round(1e4*share)/100) }

// Rate is a rate in two decimals: "0.88 %"; None when it is of nobody.
func Rate(rate float64, people int64) string {
	if people == 0 {
		return None
	}
	return strconv.FormatFloat(100*rate, 'f', 2, 64) + " %"
}

// Times is a ratio: "19×" from ten on, "1.40×" below.
func Times(ratio float64) string {
	if ratio >= 10 {
		return strconv.FormatFloat(math.Round(ratio), 'f', 0, 64) + "×"
	}
	return strconv.FormatFloat(ratio, 'f', 2, 64) + "×"
}

// Metres is a length to the decimetre: "12.3 m".
func Metres(m float64) string { return fmt.Sprintf("%g m", math.Round(m*10)/10) }

// Span is a span of milliseconds in the two units that matter at most: "1h30m", "9.5s", "120ms".
func Span(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < time.Second:
		return d.String()
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Minute)
	}
	text := d.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// Named is how something is called, and its id when that is another word.
func Named(id, name string) string {
	if name == "" || name == id {
		return id
	}
	return fmt.Sprintf("%s (%s)", name, id)
}

// Counts lists counts by their names, the largest first: "too late 3, capped 1".
func Counts[N int | int64](counts map[string]N) string {
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", strings.ReplaceAll(name, "_", " "), counts[name])
	}
	return strings.Join(names, ", ")
}

// Bar is n in blocks, most being width of them; something is never nothing.
func Bar(n, most, width int) string {
	if n == 0 {
		return ""
	}
	return strings.Repeat("█", max(1, n*width/most))
}
