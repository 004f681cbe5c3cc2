package db

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// child starts this test binary in the given role on dir; it ends with the test.
func child(t testing.TB, role, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "FOOTFALL_DB_CHILD="+role, "FOOTFALL_DB_DIR="+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewScanner(out)
}

// lockHolder opens the directory and keeps it until it is killed.
func lockHolder() {
	d, err := Open(Config{Dir: os.Getenv("FOOTFALL_DB_DIR"), MinFree: 1})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("open")
	runtime.KeepAlive(d)
	select {} // until it is killed
}

// files lists a directory with sizes and modification times.
func files(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprint(e.Name(), " ", info.Size(), " ", info.ModTime()))
	}
	return list
}

func TestLockedDirectory(t *testing.T) {
	dir := t.TempDir()
	_, out := child(t, "holder", dir)
	if !out.Scan() || out.Text() != "open" {
		t.Fatalf("child says %q", out.Text())
	}
	before := files(t, dir)
	for name, open := range map[string]func(Config) (*DB, error){"Open": Open, "OpenReadOnly": OpenReadOnly} {
		_, err := open(Config{Dir: dir, MinFree: 1})
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := files(t, dir); !slices.Equal(before, after) {
		t.Errorf("the refused open changed the directory:\n%v\n%v", before, after)
	}
}

// rewrite changes a registry row behind the package's back.
func rewrite(t testing.TB, dir string, key, val []byte) {
	t.Helper()
	b, err := badger.Open(badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Update(func(txn *badger.Txn) error { return txn.Set(key, val) }); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNewerAndForeignFormats(t *testing.T) {
	for _, tc := range []struct {
		name     string
		key, val []byte
		want     error
		words    []string
	}{
		{"newer space", spaceKey(0xF2), []byte(`{"name":"other","version":7}`), ErrNewerFormat, []string{"other", "7", "3", "newer version"}},
		{"newer layout", formatKey, binary.AppendUvarint(nil, 9), ErrNewerFormat, []string{"layout", "9", "1"}},
		{"another owner", spaceKey(0xF2), []byte(`{"name":"bananas","version":1}`), ErrForeign, []string{"bananas", "other", "0xf2"}},
		{"older space", spaceKey(0xF2), []byte(`{"name":"other","version":2}`), nil, nil},
		{"older than readable", spaceKey(0xF2), []byte(`{"name":"other","version":1}`), ErrOlderFormat, []string{"other", "1", "2", "older Footfall"}},
		{"unknown space", spaceKey(0xEE), []byte(`{"name":"of a tool","version":1}`), nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			d, err := Open(Config{Dir: dir, MinFree: 1})
			if err != nil {
				t.Fatal(err)
			}
			set(t, d, "a", "1")
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			rewrite(t, dir, tc.key, tc.val)
			for name, open := range map[string]func(Config) (*DB, error){"Open": Open, "OpenReadOnly": OpenReadOnly} {
				d, err := open(Config{Dir: dir, MinFree: 1})
				if err == nil {
					if got := get(t, d, "a"); got != "1" {
						t.Errorf("%s: row is %s", name, got)
					}
					if err := d.Close(); err != nil {
						t.Error(err)
					}
				}
				if !errors.Is(err, tc.want) {
					t.Errorf("%s: %v, want %v", name, err, tc.want)
				}
				for _, w := range tc.words {
					if err != nil && !strings.Contains(err.Error(), w) {
						t.Errorf("%s: %q does not say %q", name, err, w)
					}
				}
			}
		})
	}
}

func TestForeignBadgerDirectory(t *testing.T) {
	dir := t.TempDir()
	rewrite(t, dir, []byte("hello"), []byte("world"))
	if _, err := Open(Config{Dir: dir, MinFree: 1}); !errors.Is(err, ErrForeign) {
		t.Errorf("got %v", err)
	}
}

func TestReadOnlyHandle(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(Config{Dir: dir, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	set(t, d, "a", "1")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	one, err := OpenReadOnly(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	two, err := OpenReadOnly(Config{Dir: dir})
	if err != nil {
		t.Fatalf("second reader: %v", err)
	}
	if a, b := get(t, one, "a"), get(t, two, "a"); a != "1" || b != "1" {
		t.Errorf("readers see %s and %s", a, b)
	}
	if err := one.Update(t.Context(), func(tx *Tx) error { return tx.Set(tkey("b"), nil) }); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Update: %v", err)
	}
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		t.Error(err)
	}
	empty := t.TempDir()
	if _, err := OpenReadOnly(Config{Dir: empty}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading an empty directory: %v", err)
	}
	if got := files(t, empty); len(got) != 0 {
		t.Errorf("reading made files: %v", got)
	}
	if _, err := Open(Config{}); err == nil {
		t.Error("opened without a directory")
	}
	file := filepath.Join(empty, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: file}); err == nil {
		t.Error("opened a file as a directory")
	}
}

// A kill between making a log file and giving it its size leaves an empty file,
// with which Badger alone refuses to open the directory.
func TestOpenAfterAKillWhileMakingALogFile(t *testing.T) {
	for _, name := range []string{"00009.mem", "000009.vlog"} {
		dir := t.TempDir()
		d, err := Open(Config{Dir: dir, MinFree: 1})
		if err != nil {
			t.Fatal(err)
		}
		set(t, d, "a", "1")
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err = Open(Config{Dir: dir, MinFree: 1})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := get(t, d, "a"); got != "1" {
			t.Errorf("%s: row is %s", name, got)
		}
		set(t, d, "b", "2")
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
