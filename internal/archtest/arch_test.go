package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestArrowsPointDown(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	sources, err := parseTree(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) < 50 {
		t.Fatalf("found only %d Go files under %s", len(sources), root)
	}
	for _, f := range check(sources) {
		t.Error(f)
	}
}

// A rule about something that is gone reads as a promise that nobody keeps.
func TestRulesNameWhatExists(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	for pkg, r := range rules {
		if _, err := os.Stat(filepath.Join(root, pkg)); err != nil {
			t.Errorf("rules has %s, which does not exist", pkg)
		}
		for _, to := range r.imports {
			if _, ok := rules[to]; !ok {
				t.Errorf("rules lets %s import %s, which is not declared", pkg, to)
			}
		}
	}
	for pkg := range closed {
		if _, ok := rules[pkg]; !ok {
			t.Errorf("closed has %s, which is not declared", pkg)
		}
	}
}

// A dependency needs a reason that can be read, and a reason needs its dependency.
func TestDependenciesHaveReasons(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	const page = "docs/decisions/0008-dependencies.md"
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 2 && strings.HasPrefix(cells[1], " `") {
			reasons = append(reasons, strings.Trim(cells[1], " `"))
		}
	}
	all, direct := requirements(string(gomod))
	if len(direct) < 10 || len(reasons) < 10 {
		t.Fatalf("read %d modules and %d reasons", len(direct), len(reasons))
	}
	for _, mod := range direct {
		if !slices.Contains(reasons, mod) {
			t.Errorf("go.mod requires %s; say in the table of %s why", mod, page)
		}
	}
	for _, mod := range reasons {
		if !slices.Contains(all, mod) {
			t.Errorf("%s gives a reason for %s, which go.mod does not require", page, mod)
		}
	}
	for mod := range doors {
		if !slices.ContainsFunc(all, func(m string) bool { return within(m, mod) }) {
			t.Errorf("doors has %s, which go.mod does not require", mod)
		}
	}
}

var namedTest = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)`")

// A promise that names its test must not outlive the test's name.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	tests, err := testNames(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob(filepath.Join(root, "docs", "decisions", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, page := range append(pages, decisions...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range namedTest.FindAllStringSubmatch(string(text), -1) {
			named++
			if !tests[m[1]] {
				t.Errorf("%s names %s, which no package has", filepath.Base(page), m[1])
			}
		}
	}
	if named < 20 {
		t.Errorf("found only %d names of tests in docs", named)
	}
}

// The map in the package comment of stream is how one finds a way in sixty files: it has all of them.
func TestStreamsMapHasEveryFile(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "stream", "doc.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, where, found := strings.Cut(string(text), "# Where to look")
	files, err := filepath.Glob(filepath.Join(root, "stream", "*.go"))
	if err != nil || !found || len(files) == 0 {
		t.Fatalf("%d files, map %t, err %v", len(files), found, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".go")
		if name == "doc" || strings.HasSuffix(name, "_test") {
			continue
		}
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(where) {
			t.Errorf("stream/%s.go is not in the map of stream/doc.go", name)
		}
	}
}

func TestRulesHaveNoCycle(t *testing.T) {
	if c := cycle(rules); c != nil {
		t.Errorf("the allowed arrows form a cycle: %s", strings.Join(c, " -> "))
	}
}

// cycle returns a round trip along the allowed arrows, or nil.
func cycle(rules map[string]rule) []string {
	const inProgress, done = 1, 2
	state := map[string]int{}
	var path []string
	var visit func(string) []string
	visit = func(pkg string) []string {
		switch state[pkg] {
		case done:
			return nil
		case inProgress:
			return append(path[slices.Index(path, pkg):], pkg)
		}
		state[pkg], path = inProgress, append(path, pkg)
		for _, to := range rules[pkg].imports {
			if c := visit(to); c != nil {
				return c
			}
		}
		state[pkg], path = done, path[:len(path)-1]
		return nil
	}
	for pkg := range rules {
		if c := visit(pkg); c != nil {
			return c
		}
	}
	return nil
}

func TestCycleIsFound(t *testing.T) {
	got := cycle(map[string]rule{"a": {imports: []string{"b"}}, "b": {imports: []string{"c"}}, "c": {imports: []string{"b"}}})
	if len(got) != 3 || got[0] != got[2] {
		t.Errorf("cycle of b and c: got %v", got)
	}
}

// The checker itself: what it must find, and what it must leave alone.
func TestCheck(t *testing.T) {
	tests := []struct {
		name, file, text string
		want             string // part of the one finding; empty: none
	}{
		{"upward arrow", "geo/x.go", `package geo; import _ "footfall/track"`, "geo must not import track"},
		{"sideways between providers", "push/apns/x.go", `package apns; import _ "footfall/push/fcm"`, "push/apns must not import push/fcm"},
		{"provider and transport", "stream/x.go", `package stream; import _ "footfall/push/apns"`, "stream must not import push/apns"},
		{"allowed arrow", "track/x.go", `package track; import _ "footfall/geo"`, ""},
		{"allowed below a declared package is not implied", "track/x.go", `package track; import _ "footfall/geo/internal/x"`, "track must not import geo/internal/x"},
		{"the command may import anything", "cmd/footfall/x.go", `package main; import _ "footfall/push/apns"`, ""},
		{"undeclared package", "kiosk/x.go", `package kiosk`, "package kiosk is not declared"},
		{"folder of tests with a comment", "suite/doc.go", `package suite`, ""},
		{"H3 binding outside geo", "fences/x.go", `package fences; import _ "github.com/uber/h3-go/v4"`, "enters through geo"},
		{"Badger outside internal/db", "outbox/x.go", `package outbox; import _ "github.com/dgraph-io/badger/v4/options"`, "enters through internal/db"},
		{"module with a similar name", "outbox/x.go", `package outbox; import _ "github.com/dgraph-io/badgerlike"`, ""},
		{"tests-only module in the product", "outbox/x.go", `package outbox; import _ "pgregory.net/rapid"`, "enters through nothing"},
		{"any module in a closed package", "track/x.go", `package track; import _ "golang.org/x/text/language"`, "it may import nothing"},
		{"the module of a closed package", "stream/wire/x.go", `package wire; import _ "google.golang.org/protobuf/encoding/protowire"`, ""},
		{"clock", "track/x.go", "package track\nimport \"time\"\nvar x = time.Now()", "x.go:3: package track has no clock"},
		{"clock handed on", "campaign/x.go", "package campaign\nimport \"time\"\nvar now = time.Now", "instead of time.Now"},
		{"renamed clock", "dedupe/x.go", "package dedupe\nimport t \"time\"\nfunc f() { t.Sleep(1) }", "instead of time.Sleep"},
		{"time without a clock", "track/x.go", "package track\nimport \"time\"\nvar d = 2 * time.Second", ""},
		{"clock in a package that lives", "outbox/x.go", "package outbox\nimport \"time\"\nvar x = time.Now()", ""},
		{"randomness", "campaign/x.go", `package campaign; import _ "math/rand/v2"`, "no math/rand/v2"},
		{"files", "geo/x.go", `package geo; import _ "os"`, "package geo does no I/O"},
		{"network below net", "stream/wire/x.go", `package wire; import _ "net/http"`, "package stream/wire does no I/O"},
		{"tests may", "geo/x_test.go", `package geo; import _ "footfall/cmd/footfall"`, ""},
		{"testdata may", "geo/testdata/x.go", `package x; import _ "footfall/track"`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sources, err := parseTree(fstest.MapFS{tt.file: {Data: []byte(tt.text)}})
			if err != nil {
				t.Fatal(err)
			}
			got := check(sources)
			switch {
			case tt.want == "" && len(got) != 0:
				t.Errorf("found %q, want nothing", got)
			case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
				t.Errorf("found %q, want one with %q", got, tt.want)
			}
		})
	}
}
