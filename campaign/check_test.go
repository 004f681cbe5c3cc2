package campaign

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestBadFiles: for each file under testdata/bad, which has one mistake, the check says what it is, where, and what
// to write instead. Run with -update after a change of the texts, and read the difference.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	var got strings.Builder
	codes := map[Code]bool{}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(filepath.Base(name), data)
		list := Errors(err)
		if len(list) != 1 {
			t.Errorf("%s: %d errors, want one: %v", name, len(list), err)
		}
		for _, e := range list {
			codes[e.Code] = true
			if e.Line == 0 || e.Col == 0 || e.Hint == "" {
				t.Errorf("%s: no place or no fix: %v", name, e)
			}
			got.WriteString(e.Error() + "\n\n")
		}
	}
	const golden = "testdata/bad.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(codes) < 18 {
		t.Errorf("only %d kinds of mistake", len(codes))
	}
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestDocumentedExamples: every YAML example of the documentation that is about campaigns loads, has an end, and
// survives Format. An example that leaves out campaign, trigger or steps is completed with the smallest ones.
func TestDocumentedExamples(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, page := range append(pages, "../README.md") {
		if filepath.Base(page) == "journeys.md" {
			continue // journey's TestDocumentedJourneys
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range yamlBlock.FindAllSubmatchIndex(text, -1) {
			example := string(text[m[2]:m[3]])
			at := filepath.Base(page) + ":" + lineOf(text, m[2])
			if !regexp.MustCompile(`(?m)^(campaign|trigger|window|once_per|scope|caps|quiet|holdout|steps|templates|max_age):`).MatchString(example) {
				continue // of another file format
			}
			if strings.HasPrefix(example, "journey:") {
				continue // package journey reads it, and a test of the cookbook plays it
			}
			count++
			whole := example
			for _, part := range []struct{ key, text string }{{"campaign", headPart}, {"trigger", triggerPart}, {"steps", stepsPart}, {"window", "window: {to: never}\n"}} {
				if !regexp.MustCompile("(?m)^" + part.key + ":").MatchString(example) {
					whole += part.text
				}
			}
			list, err := Parse(at, []byte(whole))
			if err != nil {
				t.Errorf("%v", err)
				continue
			}
			for _, c := range list {
				if w := c.Warnings(); len(w) > 0 && strings.Contains(example, "campaign:") {
					t.Errorf("%s: %v", at, w[0])
				}
			}
			out, err := Format(list...)
			if err != nil {
				t.Fatal(err)
			}
			if text, _, found := strings.Cut(example, "\n---\n"); found && strings.HasPrefix(text, "segments:") {
				out = append([]byte(text+"\n---\n"), out...) // which Format does not write
			}
			back, err := Parse(at, out)
			if err != nil || !slices.EqualFunc(list, back, func(a, b *Campaign) bool { return a.Revision() == b.Revision() }) {
				t.Errorf("%s does not come back from Format: %v", at, err)
			}
		}
	}
	if count < 13 {
		t.Errorf("found only %d examples", count)
	}
}

func lineOf(text []byte, off int) string {
	return strconv.Itoa(1 + strings.Count(string(text[:off]), "\n"))
}
