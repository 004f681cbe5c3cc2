package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const oneStore = `{"type":"Feature","id":"k1","properties":{"radius":200},"geometry":{"type":"Point","coordinates":[30.5234,50.4501]}}`

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "(absent)"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestReplayOut: the file is there whole or as it was.
func TestReplayOut(t *testing.T) {
	const header, entered = "device,fence,ts,kind\n", "d1,k1,1700000000,enter\n"
	walk := "device,ts,lat,lon\nd1,1700000000,50.4501,30.5234\n"
	for _, tt := range []struct {
		name, trace, before string
		args                []string
		code                int
		out, partial        string
	}{
		{name: "transitions", trace: walk, out: header + entered, partial: "(absent)"},
		{name: "over an earlier one", trace: walk, before: strings.Repeat("old\n", 100), out: header + entered, partial: "(absent)"},
		{name: "no transitions", trace: "device,ts,lat,lon\n", out: header, partial: "(absent)"},
		{name: "no transitions as JSON", trace: "device,ts,lat,lon\n", args: []string{"--json"}, out: "", partial: "(absent)"},
		{name: "the trace breaks off", trace: walk, before: "old", code: exitFailed, out: "old", partial: header + "d1,k1,1700000000000,enter\n"},
		{name: "the trace breaks off, plain rules", trace: walk, args: []string{"--rules", "plain"}, code: exitFailed, out: "(absent)", partial: header + "d1,k1,1700000000000,enter\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			out, stores, trace := filepath.Join(dir, "out.csv"), file(t, "s.geojson", oneStore), file(t, "t.csv", tt.trace)
			if tt.code != 0 { // a good row, then a line that no reader takes
				row := `{"device":"d1","t":1700000000000,"lat":50.4501,"lon":30.5234}` + "\n"
				trace = file(t, "t.ndjson", row+strings.Repeat("x", 2<<20))
			}
			if tt.before != "" {
				if err := os.WriteFile(out, []byte(tt.before), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, _, errs := runCLI(t, append([]string{"replay", trace, "--fences", stores, "--out", out}, tt.args...)...)
			if code != tt.code || content(t, out) != tt.out || content(t, out+".partial") != tt.partial {
				t.Errorf("exit code %d, want %d; the file holds %q, want %q; the unfinished one %q, want %q\n%s",
					code, tt.code, content(t, out), tt.out, content(t, out+".partial"), tt.partial, errs)
			}
			if tt.code != 0 && !strings.Contains(errs, out+".partial") {
				t.Errorf("the message does not say where the unfinished result is:\n%s", errs)
			}
			if info, err := os.Stat(out); tt.before != "" && (err != nil || info.Mode().Perm() != 0o600) {
				t.Errorf("mode %v, %v: an earlier file's mode stays", info.Mode(), err)
			}
			if tt.code == 0 {
				return
			}
			// Standard output gets what was decided, too.
			if _, stdout, _ := runCLI(t, append([]string{"replay", trace, "--fences", stores}, tt.args...)...); stdout != tt.partial {
				t.Errorf("standard output has %q, want %q", stdout, tt.partial)
			}
		})
	}
}

// TestReplayOutIsNoInput: writing over what is read would erase it.
func TestReplayOutIsNoInput(t *testing.T) {
	dir := t.TempDir()
	stores := filepath.Join(dir, "stores")
	files := map[string]string{
		filepath.Join(dir, "t.csv"):             "device,ts,lat,lon\n",
		filepath.Join(dir, "u.partial"):         "device,ts,lat,lon\n",
		filepath.Join(stores, "kyiv.geojson"):   oneStore,
		filepath.Join(stores, "readme.partial"): "notes",
	}
	if err := os.Mkdir(stores, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trace, kyiv, link, hard := filepath.Join(dir, "t.csv"), filepath.Join(stores, "kyiv.geojson"), filepath.Join(dir, "link"), filepath.Join(dir, "hard")
	if err := errors.Join(os.Symlink("t.csv", link), os.Link(kyiv, hard)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ trace, fences, out string }{
		{trace, kyiv, trace}, {trace, kyiv, kyiv}, {trace, stores, kyiv}, {trace, kyiv, link}, {link, kyiv, trace}, {trace, kyiv, hard}, {trace, stores, hard},
		{filepath.Join(dir, "u.partial"), kyiv, filepath.Join(dir, "u")},
	} {
		code, _, errs := runCLI(t, "replay", tt.trace, "--fences", tt.fences, "--out", tt.out)
		if code != exitFailed || !strings.Contains(errs, "choose another file") {
			t.Errorf("replay %s --fences %s --out %s: exit code %d:\n%s", tt.trace, tt.fences, tt.out, code, errs)
		}
	}
	for path, text := range files {
		if got := content(t, path); got != text {
			t.Errorf("%s holds %q, want %q", path, got, text)
		}
	}
	if code, _, errs := runCLI(t, "replay", trace, "--fences", kyiv, "--out", stores); code != exitFailed || !strings.Contains(errs, "is a folder") {
		t.Errorf("a folder: exit code %d: %s", code, errs)
	}
	if code, _, errs := runCLI(t, "replay", trace, "--fences", kyiv, "--out", os.DevNull); code != 0 {
		t.Errorf("%s: exit code %d: %s", os.DevNull, code, errs)
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Fatalf("%s is now %v, %v", os.DevNull, info, err)
	}
	// Through a link the file it leads to is written, and the link stays.
	to := filepath.Join(dir, "to.csv")
	if err := errors.Join(os.WriteFile(to, nil, 0o600), os.Remove(link), os.Symlink("to.csv", link)); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := runCLI(t, "replay", trace, "--fences", kyiv, "--out", link); code != 0 || content(t, to) != "device,fence,ts,kind\n" {
		t.Errorf("through a link: exit code %d, %q: %s", code, content(t, to), errs)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is now %v, %v", info.Mode(), err)
	}
}
