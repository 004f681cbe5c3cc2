package db

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// killed makes a directory that a writer has left by being killed, and the ids it had acknowledged.
func killed(t *testing.T) (dir string, acked []uint64) {
	t.Helper()
	dir = t.TempDir()
	cmd, out := child(t, "writer", dir)
	for len(acked) < 300 && out.Scan() {
		id, err := strconv.ParseUint(out.Text(), 10, 64)
		if err != nil {
			t.Fatalf("child: %s", out.Text())
		}
		acked = append(acked, id)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return dir, acked
}

// tempFolder gives the test a folder of its own for temporary files.
func tempFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

// TestReadAfterKill: reading what a killed process has left shows all it had acknowledged, leaves the directory as
// it is, and leaves nothing else behind.
func TestReadAfterKill(t *testing.T) {
	dir, acked := killed(t)
	tmp := tempFolder(t)
	before := files(t, dir)
	one, err := OpenReadOnly(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	two, err := OpenReadOnly(Config{Dir: dir})
	if err != nil {
		t.Fatalf("second reader: %v", err)
	}
	for _, d := range []*DB{one, two} {
		stored := map[string]bool{}
		err := d.View(func(tx *Tx) error {
			return tx.Scan(otherSpace.Prefix(), nil, func(_, val []byte) (bool, error) {
				stored[string(val)] = true
				return true, nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range acked {
			if !stored[string(keyOf(id))] {
				t.Fatalf("acknowledged update %d is not there", id)
			}
		}
		if err := d.Update(t.Context(), func(tx *Tx) error { return tx.Set(tkey("b"), nil) }); !errors.Is(err, ErrReadOnly) {
			t.Errorf("Update: %v", err)
		}
	}
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		t.Error(err)
	}
	if after := files(t, dir); !slices.Equal(before, after) {
		t.Errorf("reading changed the directory:\n%v\n%v", before, after)
	}
	if left := files(t, tmp); len(left) > 0 {
		t.Errorf("reading left copies: %v", left)
	}
	mustOpen(t, Config{Dir: dir, MinFree: 1}) // the gateway still starts on it
}

// TestReadAfterKillTooLarge: beyond the bound nothing is copied, and the message says what to do.
func TestReadAfterKillTooLarge(t *testing.T) {
	dir, _ := killed(t)
	tmp := tempFolder(t)
	defer func(was int64) { maxCopy = was }(maxCopy)
	maxCopy = 1 << 10
	_, err := OpenReadOnly(Config{Dir: dir})
	if !errors.Is(err, ErrUnclean) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "start the gateway on it once") {
		t.Errorf("got %v", err)
	}
	if left := files(t, tmp); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestReadAfterAKillWhileMakingALogFile is the other state that Badger does not open for reading.
func TestReadAfterAKillWhileMakingALogFile(t *testing.T) {
	for _, name := range []string{"00009.mem", "000009.vlog"} {
		dir := t.TempDir()
		d, err := Open(Config{Dir: dir, MinFree: 1})
		if err != nil {
			t.Fatal(err)
		}
		set(t, d, "a", "1")
		if err := errors.Join(d.Close(), os.WriteFile(filepath.Join(dir, name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if d, err = OpenReadOnly(Config{Dir: dir}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := get(t, d, "a"); got != "1" {
			t.Errorf("%s: row is %s", name, got)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestCopyWaitsForNoWriter: a directory that a gateway has open is not copied.
func TestCopyWaitsForNoWriter(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, Config{Dir: dir, MinFree: 1})
	if err := copyDir(t.TempDir(), dir); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
}

// TestCopySparse compares copies with their originals, around the size of the buffer.
func TestCopySparse(t *testing.T) {
	const block = 256 << 10
	for i, parts := range [][]string{
		{}, {"a"}, {strings.Repeat("\x00", 7)}, {strings.Repeat("\x00", 3*block)}, {strings.Repeat("x", block)},
		{"head", strings.Repeat("\x00", 2*block), "tail"}, {strings.Repeat("\x00", block), "tail", strings.Repeat("\x00", block+5)},
	} {
		text := strings.Join(parts, "")
		src, dst := filepath.Join(t.TempDir(), "src"), filepath.Join(t.TempDir(), "dst")
		if err := os.WriteFile(src, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := copySparse(dst, src, 1<<30)
		got, readErr := os.ReadFile(dst)
		if err := errors.Join(err, readErr); err != nil || string(got) != text {
			t.Errorf("%d: %d bytes became %d, %v", i, len(text), len(got), err)
		}
		if written := min(int64(len(text)), 2*block); n > written || strings.Trim(text, "\x00") == "" && n != 0 {
			t.Errorf("%d: wrote %d bytes", i, n)
		}
		if n > 0 {
			if _, err := copySparse(fmt.Sprint(dst, "2"), src, n-1); !errors.Is(err, errTooLarge) {
				t.Errorf("%d: beyond the limit: %v", i, err)
			}
		}
	}
}
