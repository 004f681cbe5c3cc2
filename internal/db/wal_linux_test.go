package db

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSyncsWhatWasCommitted: each commit is in the file that is synced after it, before its caller hears of it, also when
// Badger goes on to the next file, and after reopening. It fails when Badger keeps its write-ahead files otherwise than
// wal believes.
func TestSyncsWhatWasCommitted(t *testing.T) {
	dir := t.TempDir()
	noise := make([]byte, 300<<10)
	if _, err := rand.NewChaCha8([32]byte{}).Read(noise); err != nil {
		t.Fatal(err)
	}
	n, turns := uint64(0), 0
	for range 3 {
		d, err := Open(Config{Dir: dir, MinFree: 1})
		if err != nil {
			t.Fatal(err)
		}
		var synced []uint64 // the marks that the last sync has taken to disk
		mark := func(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte("mark of a commit"), i) }
		d.wal.sync = func(f *os.File) error {
			st, err := f.Stat()
			if err != nil {
				return err
			}
			data, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
			if err != nil {
				return err
			}
			if bytes.Contains(data, mark(n)) {
				synced = append(synced, n)
			}
			return errors.Join(unix.Munmap(data), fdatasync(f))
		}
		for range 100 { // 300 KiB each: a file takes some 50
			n++
			file := d.wal.id
			synced = synced[:0]
			err := d.Update(t.Context(), func(tx *Tx) error {
				return errors.Join(tx.Set(tkey(fmt.Sprint(n)), noise), tx.Set(tkey("mark"), mark(n)))
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(synced) != 1 || synced[0] != n {
				t.Fatalf("commit %d was acknowledged with %v on disk", n, synced)
			}
			if d.wal.id != file {
				turns++
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if turns < 3 {
		t.Errorf("Badger has gone on to a next file %d times", turns)
	}
}

// TestNobodySeesWhatIsNotOnDisk: a View that begins while a commit is being synced reads what was before, without
// waiting, and a commit whose sync failed is never acknowledged, never seen, and is the last.
func TestNobodySeesWhatIsNotOnDisk(t *testing.T) {
	d := mustOpen(t, Config{Dir: t.TempDir(), MinFree: 1})
	set(t, d, "k", "old")
	read := func() (got string) {
		if err := d.View(func(tx *Tx) error {
			v, err := tx.Get(tkey("k"))
			got = string(v)
			return err
		}); err != nil {
			t.Error(err)
		}
		return got
	}
	var during string
	d.wal.sync = func(f *os.File) error {
		during = read() // on the writer goroutine: it would wait for ever if it waited for the commit
		return fdatasync(f)
	}
	set(t, d, "k", "new")
	if during != "old" {
		t.Errorf("the View during the sync saw %q", during)
	}
	if got := read(); got != "new" {
		t.Errorf("the View after the sync saw %q", got)
	}

	d.wal.sync = func(*os.File) error { return syscall.EIO }
	for range 2 {
		err := d.Update(t.Context(), func(tx *Tx) error { return tx.Set(tkey("k"), []byte("lost")) })
		if !errors.Is(err, ErrBroken) || !errors.Is(err, syscall.EIO) {
			t.Errorf("error: %v", err)
		}
	}
	if got := read(); got != "new" {
		t.Errorf("after the failure a View saw %q", got)
	}
}

// TestValueLogStaysEmpty: a value that Badger would put there is refused.
func TestValueLogStaysEmpty(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, Config{Dir: dir, MinFree: 1})
	write := func(size int) error {
		return d.Update(t.Context(), func(tx *Tx) error {
			return tx.SetUntil(tkey("k"), make([]byte, size), tx.Now().Add(1<<40))
		})
	}
	if err := write(maxValue); err != nil {
		t.Errorf("%d bytes: %v", maxValue, err)
	}
	if err := write(maxValue + 1); !errors.Is(err, ErrTooBig) {
		t.Errorf("%d bytes: %v", maxValue+1, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	logs := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".vlog") {
			continue
		}
		logs++
		data, err := os.ReadFile(dir + "/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		const header = 20 // of a value log file
		if rest := bytes.TrimLeft(data[header:], "\x00"); len(rest) > 0 {
			t.Errorf("%s holds %d bytes", e.Name(), len(rest))
		}
	}
	if logs == 0 {
		t.Error("there is no value log")
	}
}
