package db

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// mountTmpfs mounts a file system of the given size, or skips the test.
func mountTmpfs(t testing.TB, mib int) (dir string, remount func(flags uintptr)) {
	t.Helper()
	dir = t.TempDir()
	opts := fmt.Sprintf("size=%dm", mib)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, opts); err != nil {
		t.Skipf("cannot mount a tmpfs (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir, func(flags uintptr) {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, opts); err != nil {
			t.Skipf("cannot remount: %v", err)
		}
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	mount, remount := mountTmpfs(t, 256)
	dir := filepath.Join(mount, "db")
	d, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	set(t, d, "a", "1")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	remount(syscall.MS_RDONLY)
	before := files(t, dir)
	for _, dir := range []string{dir, filepath.Join(mount, "new")} {
		if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), dir) {
			t.Errorf("open %s: %v", dir, err)
		}
	}
	if after := files(t, dir); !slices.Equal(before, after) {
		t.Errorf("changed:\n%v\n%v", before, after)
	}
	remount(0)
	d = mustOpen(t, Config{Dir: dir})
	if got := get(t, d, "a"); got != "1" {
		t.Errorf("row is %s", got)
	}
}

// A disk that others fill: Update is refused before Badger is touched, reading
// goes on, and writing resumes by itself when there is room. Without the guard
// the same writes end the process with SIGBUS.
func TestDiskFilledByOthers(t *testing.T) {
	mount, _ := mountTmpfs(t, 512)
	d := mustOpen(t, Config{Dir: filepath.Join(mount, "db")}) // keeps 64 MiB free
	set(t, d, "a", "1")
	ballast := filepath.Join(mount, "ballast")
	if err := os.WriteFile(ballast, make([]byte, d.disk.left()-(40<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	err := d.Update(t.Context(), func(tx *Tx) error { return tx.Set(tkey("b"), []byte("2")) })
	if !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), d.cfg.Dir) {
		t.Fatalf("full disk: %v", err)
	}
	if a, b := get(t, d, "a"), get(t, d, "b"); a != "1" || b != "(absent)" {
		t.Errorf("while full: a %s, b %s", a, b)
	}
	if _, err := Open(Config{Dir: filepath.Join(mount, "second")}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("open on a full disk: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	set(t, d, "b", "2")
	if got := get(t, d, "b"); got != "2" {
		t.Errorf("after room was made: %s", got)
	}
}

// The database fills the disk itself, at full speed, with flushes and
// compactions under way: the reserve must cover what Badger still owes. What
// was acknowledged is there after a reopen, and deleting makes it usable again.
func TestDiskFilledByOurselves(t *testing.T) {
	if testing.Short() {
		t.Skip("fills 240 MB, which takes minutes under -race")
	}
	size := 240
	if os.Getenv("FOOTFALL_LONG") != "" {
		size = 2000
	}
	mount, _ := mountTmpfs(t, size)
	dir := filepath.Join(mount, "db")
	d, err := Open(Config{Dir: dir, NoSync: true, MinFree: int64(size) << 20 / 2})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	val := make([]byte, 2000)
	acked := map[uint64]bool{}
	full := 0
	lowest := d.disk.left()
	for n := 0; n < 10_000 && full < 5; n++ {
		var keys []uint64
		err := d.Update(context.Background(), func(tx *Tx) error {
			keys = keys[:0]
			for range 200 {
				k := rng.Uint64() // random keys make compactions rewrite everything
				keys = append(keys, k)
				if err := tx.Set(testSpace.Key(binary.BigEndian.AppendUint64(nil, k)), val); err != nil {
					return err
				}
			}
			return nil
		})
		switch {
		case err == nil:
			for _, k := range keys {
				acked[k] = true
			}
		case errors.Is(err, ErrDiskFull):
			full++
		default:
			t.Fatalf("write %d: %v", n, err)
		}
		lowest = min(lowest, d.disk.left())
	}
	if full == 0 {
		t.Fatalf("the disk never filled: %d MiB left", lowest>>20)
	}
	t.Logf("%d rows of 2 kB; lowest free %d MiB", len(acked), lowest>>20)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = mustOpen(t, Config{Dir: dir, NoSync: true, MinFree: 1 << 20})
	found := 0
	if err := d.View(func(tx *Tx) error {
		return tx.Scan(testSpace.Prefix(), nil, func(key, _ []byte) (bool, error) {
			parts, _ := testSpace.Split(key)
			if acked[binary.BigEndian.Uint64(parts[0])] {
				found++
			}
			return true, nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	if found != len(acked) {
		t.Errorf("%d of %d acknowledged rows are there", found, len(acked))
	}
}
