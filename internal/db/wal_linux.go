package db

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ownSync: the writer syncs a commit itself instead of asking Badger to (SyncWrites). Badger flushes the disk twice for
// each commit, once for the value log, which stays empty (maxValue), and once for the write-ahead file of the commit.
const ownSync = true

// wal is the write-ahead file that Badger writes to at present. They are numbered, 00001.mem and so on; when
// one is full the next commit goes to the next, as a whole. Badger writes through a memory map, and on Linux fdatasync
// of a file's descriptor takes what was written that way along: msync is the same call of the file system.
// TestSyncsWhatWasCommitted holds Badger to this.
type wal struct {
	dir  string
	id   int
	file *os.File
	next string // path of the one after
	sync func(*os.File) error
}

const walExt = ".mem"

// openWAL finds the newest write-ahead file of an open database and syncs all that are there: a killed
// process may have left some unsynced.
func openWAL(dir string) (*wal, error) {
	w := &wal{dir: dir, sync: fdatasync}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var ids []int
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), walExt); ok {
			if id, err := strconv.Atoi(name); err == nil {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		// Badger deletes an old one once a table on disk has its rows.
		if err := w.turn(id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, w.close())
		}
	}
	if w.file == nil {
		return nil, fmt.Errorf("no write-ahead file in %s", dir)
	}
	return w, nil
}

func fdatasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// turn makes file id the present one and syncs it, and the directory that has its name.
func (w *wal) turn(id int) error {
	f, err := os.Open(w.path(id))
	if err != nil {
		return err
	}
	if err := w.close(); err != nil {
		return errors.Join(err, f.Close())
	}
	w.id, w.file, w.next = id, f, w.path(id+1)
	if err := w.sync(f); err != nil {
		return err
	}
	d, err := os.Open(w.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (w *wal) path(id int) string { return filepath.Join(w.dir, fmt.Sprintf("%05d%s", id, walExt)) }

// flush returns when the last commit is on disk. It is called after each one.
func (w *wal) flush() error {
	var st unix.Stat_t
	switch err := unix.Stat(w.next, &st); {
	case errors.Is(err, unix.ENOENT):
		return w.sync(w.file)
	case err != nil:
		return &fs.PathError{Op: "stat", Path: w.next, Err: err}
	}
	return w.turn(w.id + 1)
}

func (w *wal) close() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	return f.Close()
}
