package journey

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"footfall/campaign"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// lunch is the second case study: who looks and does not buy is reminded at lunch time.
const lunch = `journey: lunch
name: Looked and did not buy
zone: Europe/Kyiv
entry: {event: product_view}
window: {to: never}
reentry: {after: 7d}
goal: {event: add_to_basket}
steps:
  - wait_for:
      up_to: 24h
      branches:
        bought: {event: purchase, same: [category], then: [{exit: bought}]}
  - tag: {abandoned: {entry: category}}
  - wait: {at: "13:00", days: every, zone: device, fallback: Europe/Kyiv}
  - experiment:
      arms:
        control: {share: 50%}
        offer:
          share: 50%
          then:
            - push: {ttl: 2h, template: {locales: {en: {body: "10% off {{ entry.category }}"}}}}
`

func mustParse(t testing.TB, text string) *Journey {
	t.Helper()
	list, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 {
		t.Fatalf("%d journeys", len(list))
	}
	return list[0]
}

// TestProgram: where each step goes on, through branches within branches.
func TestProgram(t *testing.T) {
	for _, tt := range []struct{ name, steps, want string }{
		{"lunch", "", `
1 wait_for [bought → 1.bought.1] [not_triggered → 2]
1.bought.1 exit
2 tag → 3
3 wait → 4
4 experiment [control → end] [offer → 4.offer.1]
4.offer.1 push → end`},
		{"nested", `
  - split:
      - if: 'tags.a'
        then:
          - wait: 1h
          - reachable: {yes: [{tag: {x: 1}}], no: [{exit: true}]}
      - name: b
        if: 'tags.b'
        then: [{split: [{if: 'tags.c', then: [{id: deep, tag: {c: true}}]}, {else: []}]}]
      - else: [{emit: other}]
  - wait: 2h
  - emit: done
`, `
1 split [1 → 1.1.1] [b → 1.b.1] [else → 1.else.1]
1.1.1 wait → 1.1.2
1.1.2 reachable [yes → 1.1.2.yes.1] [no → 1.1.2.no.1]
1.1.2.yes.1 tag → 2
1.1.2.no.1 exit
1.b.1 split [1 → deep] [else → 2]
deep tag → 2
1.else.1 emit → 2
2 wait → 3
3 emit → end`},
	} {
		text := lunch
		if tt.steps != "" {
			text = "journey: j\nentry: {api: true}\nwindow: {to: never}\nsteps:" + tt.steps
		}
		var got strings.Builder
		for _, line := range mustParse(t, text).Describe() {
			got.WriteString("\n" + strings.Join(strings.Fields(line), " "))
		}
		if diff := cmp.Diff(tt.want, got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestRevision: a version is everything that is written and what it uses, and comes back from its text.
func TestRevision(t *testing.T) {
	text := "segments: {gold: 'segment(\"old\")', old: 'tags.age > 60', other: 'tags.x'}\n---\n" + strings.Replace(lunch, "reentry:", "audience: {segment: gold}\nreentry:", 1)
	j := mustParse(t, text)
	back := mustParse(t, j.text)
	if back.Revision != j.Revision || back.text != j.text {
		t.Errorf("another version comes back:\n%s\n%s", j.text, back.text)
	}
	if strings.Contains(j.text, "other") {
		t.Error("a segment that it does not use is a part of the version")
	}
	if mustParse(t, strings.Replace(text, "> 60", "> 65", 1)).Revision == j.Revision {
		t.Error("a change of a segment that is used in turn is no new version")
	}
	if mustParse(t, strings.Replace(text, "tags.x", "tags.y", 1)).Revision != j.Revision {
		t.Error("a change of a segment that is not used is a new version")
	}
}

// TestBadFiles: for each file under testdata/bad, which has one mistake, the check says what it is, where, and what
// to write instead. Run with -update after a change of the texts, and read the difference.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	var got strings.Builder
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(filepath.Base(name), data)
		list := campaign.Errors(err)
		if len(list) != 1 {
			t.Errorf("%s: %d errors, want one: %v", name, len(list), err)
		}
		for _, e := range list {
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
}
