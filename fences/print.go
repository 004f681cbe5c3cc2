package fences

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Summary counts what a load gave.
type Summary struct {
	Features int     `json:"features"` // fences that can be used
	Circles  int     `json:"circles"`
	Polygons int     `json:"polygons"`
	AreaM2   float64 `json:"area_m2"` // the sum; overlaps count twice
	// Cells is the size of the index. Summarize leaves it 0: the caller who has
	// built a Set knows it from Index().Stats().
	Cells    int `json:"cells,omitempty"`
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
	Notes    int `json:"notes"`
	Skipped  int `json:"skipped,omitempty"` // findings because of which a fence was left out
	Fixable  int `json:"fixable,omitempty"` // findings with a fix
}

// Summarize counts fences and findings.
func Summarize(fs []Fence, findings []Finding) Summary {
	s := Summary{Features: len(fs)}
	for i := range fs {
		if fs[i].Shape.IsCircle() {
			s.Circles++
		} else {
			s.Polygons++
		}
		s.AreaM2 += fs[i].Shape.AreaM2()
	}
	for _, f := range findings {
		switch f.Severity {
		case SeverityError:
			s.Errors++
		case SeverityWarning:
			s.Warnings++
		default:
			s.Notes++
		}
		if f.Skipped {
			s.Skipped++
		}
		if f.Fix != nil {
			s.Fixable++
		}
	}
	return s
}

// String is the last line of a check: "10 fences (9 circles, 1 area): 1 error,
// 2 warnings, 0 notes".
func (s Summary) String() string {
	t := fmt.Sprintf("%s (%s, %s): %s, %s, %s", plural(s.Features, "fence"), plural(s.Circles, "circle"), plural(s.Polygons, "area"),
		plural(s.Errors, "error"), plural(s.Warnings, "warning"), plural(s.Notes, "note"))
	if s.Fixable > 0 {
		t += fmt.Sprintf("; %d can be fixed with --fix", s.Fixable)
	}
	return t
}

// WriteText prints findings for people and editors, one per line, and below it
// the repair where there is one:
//
//	stores.geojson:4:71: error E08: radius is -200 m; …   (kyiv-1)
//	    fix: Close the ring
func WriteText(w io.Writer, findings []Finding) error {
	b := bufio.NewWriter(w)
	for _, f := range findings {
		if f.File != "" {
			fmt.Fprintf(b, "%s:", printable(f.File))
		}
		if f.Line > 0 {
			fmt.Fprintf(b, "%d:%d:", f.Line, f.Col)
		}
		if f.File != "" || f.Line > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(b, "%s %s: %s", f.Severity, f.Code, printable(f.Message))
		if f.Feature != "" {
			fmt.Fprintf(b, "   (%s)", printable(f.Feature))
		}
		b.WriteByte('\n')
		if f.Fix != nil {
			fmt.Fprintf(b, "    fix: %s\n", printable(f.Fix.Title))
		}
	}
	return b.Flush()
}

// printable makes text from a document harmless for a terminal: control
// characters, among them the escapes that move the cursor, become visible.
func printable(s string) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hidden(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// WriteJSON prints findings and summary as one JSON object, ended by a newline:
// {"ok":…,"findings":[…],"summary":{…}}. ok is false when there is an error.
func WriteJSON(w io.Writer, findings []Finding, s Summary) error {
	if findings == nil {
		findings = []Finding{}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		OK       bool      `json:"ok"`
		Findings []Finding `json:"findings"`
		Summary  Summary   `json:"summary"`
	}{!HasErrors(findings), findings, s})
}

// WriteGitHub prints findings as workflow commands, which GitHub Actions shows
// at the lines of a pull request.
func WriteGitHub(w io.Writer, findings []Finding) error {
	b := bufio.NewWriter(w)
	for _, f := range findings {
		level := "notice"
		switch f.Severity {
		case SeverityError:
			level = "error"
		case SeverityWarning:
			level = "warning"
		}
		params := []string{}
		if f.File != "" {
			params = append(params, "file="+githubParam.Replace(f.File))
		}
		if f.Line > 0 {
			params = append(params, fmt.Sprintf("line=%d,col=%d", f.Line, f.Col))
			if f.EndCol > f.Col {
				params = append(params, fmt.Sprintf("endColumn=%d", f.EndCol))
			}
		}
		title := f.Code
		if f.Feature != "" {
			title += " " + f.Feature
		}
		params = append(params, "title="+githubParam.Replace(title))
		message := f.Message
		if f.Fix != nil {
			message += " [fix: " + f.Fix.Title + "]"
		}
		fmt.Fprintf(b, "::%s %s::%s\n", level, strings.Join(params, ","), githubText.Replace(message))
	}
	return b.Flush()
}

// The escapes of GitHub's workflow commands.
var (
	githubText  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubParam = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)
