package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// module is the prefix of our own import paths.
const module = "footfall"

// source is one non-test Go file.
type source struct {
	pkg     string // folder, relative to the module
	file    string
	imports map[string]token.Position // path -> where
	calls   []call                    // selectors on package time
}

type call struct {
	name string
	at   token.Position
}

// parseTree reads every non-test Go file under root, whatever its build
// constraints say: an arrow that exists on another system only is an arrow.
func parseTree(root fs.FS) ([]source, error) {
	var out []source
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipped(root, name)
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		s, err := parseSource(name, text)
		if err != nil {
			return err
		}
		out = append(out, s)
		return nil
	})
	return out, err
}

// skipped is SkipDir for folders that hold no packages of this module.
func skipped(root fs.FS, dir string) error {
	if dir != "." {
		if _, err := fs.Stat(root, path.Join(dir, "go.mod")); err == nil {
			return fs.SkipDir
		}
	}
	return private(dir)
}

// private is SkipDir for folders that hold no packages at all.
func private(dir string) error {
	base := path.Base(dir)
	if base == "testdata" || base == "node_modules" || dir != "." && (base[0] == '.' || base[0] == '_') {
		return fs.SkipDir
	}
	return nil
}

// testNames are the test functions of all packages under root, those of nested modules among them.
func testNames(root fs.FS) (map[string]bool, error) {
	names := map[string]bool{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return private(name)
		case !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "func Test"); ok {
				names["Test"+rest[:max(strings.IndexByte(rest, '('), 0)]] = true
			}
		}
		return nil
	})
	return names, err
}

func parseSource(name string, text []byte) (source, error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	s := source{pkg: path.Dir(name), file: path.Base(name), imports: map[string]token.Position{}}
	clock := "" // what this file calls package time
	for _, spec := range f.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return source{}, err
		}
		s.imports[target] = set.Position(spec.Pos())
		if target == "time" {
			clock = "time"
			if spec.Name != nil {
				clock = spec.Name.Name
			}
		}
	}
	if clock == "" {
		return s, nil
	}
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == clock {
			s.calls = append(s.calls, call{name: sel.Sel.Name, at: set.Position(sel.Pos())})
		}
		return true
	})
	return s, nil
}

// check returns everything in sources that breaks a rule, one line each.
func check(sources []source) []string {
	var found []string
	report := func(at token.Position, format string, v ...any) {
		found = append(found, fmt.Sprintf("%s:%d: ", at.Filename, at.Line)+fmt.Sprintf(format, v...))
	}
	unknown := map[string]bool{}
	for _, s := range sources {
		r, ok := rules[s.pkg]
		if !ok {
			if !unknown[s.pkg] && !documentsTestsOnly(s) {
				unknown[s.pkg] = true
				report(token.Position{Filename: path.Join(s.pkg, s.file), Line: 1},
					"package %s is not declared: add it to rules in internal/archtest/rules_test.go, with the arrows it needs", s.pkg)
			}
			continue
		}
		for target, at := range s.imports {
			checkImport(s, r, target, at, report)
		}
		if !r.pure {
			continue
		}
		for _, c := range s.calls {
			if slices.Contains(clocks, c.name) {
				report(c.at, "package %s has no clock: take the time as an argument instead of time.%s", s.pkg, c.name)
			}
		}
	}
	slices.Sort(found)
	return found
}

func checkImport(s source, r rule, target string, at token.Position, report func(token.Position, string, ...any)) {
	own, isOwn := strings.CutPrefix(target, module+"/")
	switch {
	case isOwn:
		if !r.anything && !slices.Contains(r.imports, own) {
			report(at, "%s must not import %s; it may import %s", s.pkg, own, list(r.imports))
		}
	case standard(target):
		if r.pure && slices.Contains(randomness, target) {
			report(at, "package %s must give the same answer in every replay: no %s", s.pkg, target)
		}
		if r.noIO && slices.ContainsFunc(outside, func(p string) bool { return within(target, p) }) {
			report(at, "package %s does no I/O: no %s", s.pkg, target)
		}
	default:
		for mod, pkgs := range doors {
			if within(target, mod) && !slices.Contains(pkgs, s.pkg) {
				report(at, "%s must not import %s, which enters through %s", s.pkg, target, list(pkgs))
			}
		}
		if mods, ok := closed[s.pkg]; ok && !slices.ContainsFunc(mods, func(m string) bool { return within(target, m) }) {
			report(at, "%s must not import %s; outside the standard library it may import %s", s.pkg, target, list(mods))
		}
	}
}

// documentsTestsOnly reports whether s is the package comment of a folder that
// holds tests only: it has nothing that an arrow could start from.
func documentsTestsOnly(s source) bool { return s.file == "doc.go" && len(s.imports) == 0 }

// within reports whether an import path is the given one or below it.
func within(target, prefix string) bool {
	return target == prefix || strings.HasPrefix(target, prefix+"/")
}

// standard reports whether an import path is of the standard library: its first
// element has no dot.
func standard(target string) bool {
	first, _, _ := strings.Cut(target, "/")
	return !strings.Contains(first, ".")
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// requirements are the modules that go.mod requires, and those of them that it requires for our own sake.
func requirements(gomod string) (all, direct []string) {
	in := false
	for line := range strings.Lines(gomod) {
		line = strings.TrimSpace(line)
		switch {
		case line == "require (":
			in = true
		case line == ")":
			in = false
		case in:
			mod, _, _ := strings.Cut(line, " ")
			all = append(all, mod)
			if !strings.HasSuffix(line, "// indirect") {
				direct = append(direct, mod)
			}
		}
	}
	return all, direct
}

// moduleRoot is the folder of go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod above the test's folder")
		}
		dir = parent
	}
}
