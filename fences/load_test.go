package fences

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func gzipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLoadFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "b.geojson"), collection(circleAt("b", "[2,2]")))
	write(t, filepath.Join(dir, "a.GeoJSON.gz"), gzipped(t, collection(circleAt("a", "[1,1]"))))
	write(t, filepath.Join(dir, "c.ndjson"), circleAt("c", "[3,3]")+"\n"+circleAt("b", "[4,4]"))
	write(t, filepath.Join(dir, "empty.json"), collection())
	write(t, filepath.Join(dir, ".hidden.geojson"), "broken")
	write(t, filepath.Join(dir, "notes.txt"), "broken")
	if err := os.Mkdir(filepath.Join(dir, "sub.geojson"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling.geojson")); err != nil {
		t.Fatal(err)
	}
	fs, findings, err := Load(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []ID
	for _, f := range fs {
		ids = append(ids, f.ID)
	}
	if len(ids) != 3 || ids[0] != "a" || ids[1] != "b" || ids[2] != "c" {
		t.Errorf("fences %q", ids)
	}
	if len(findings) != 2 || findings[0].Code != codeID || filepath.Base(findings[0].File) != "c.ndjson" || findings[0].Line != 2 ||
		findings[1].Code != codeEmpty || findings[1].Severity != SeverityWarning {
		t.Errorf("%+v", findings)
	}
}

func TestLoadMissing(t *testing.T) {
	if _, _, err := Load(filepath.Join(t.TempDir(), "none.geojson"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	_, findings, err := Load(t.TempDir(), Options{})
	if err != nil || len(findings) != 1 || findings[0].Code != codeEmpty || findings[0].Severity != SeverityError || findings[0].File == "" {
		t.Errorf("an empty folder: %+v %v", findings, err)
	}
}

func TestLoadDamagedGzip(t *testing.T) {
	dir := t.TempDir()
	whole := gzipped(t, collection(good))
	for name, text := range map[string]string{"cut.geojson.gz": whole[:len(whole)-5], "not.geojson.gz": "{}", "empty.geojson.gz": ""} {
		file := filepath.Join(dir, name)
		write(t, file, text)
		fs, findings, err := Load(file, Options{})
		if err != nil || len(fs) != 0 || len(findings) != 1 || findings[0].Code != codeUnreadable || findings[0].File != file {
			t.Errorf("%s: %v %+v %v", name, fs, findings, err)
		}
	}
}
