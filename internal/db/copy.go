package db

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxCopy bounds what is copied to read a ledger after a crash, in bytes that
// are not zero. A variable for the tests.
var maxCopy int64 = 1 << 30

// errTooLarge: the directory holds more than maxCopy.
var errTooLarge = errors.New("too large to copy")

// openCopy opens a private copy of a directory that a killed process has left.
// Mending the copy, which means replaying and cutting off its write-ahead
// files, changes nothing in the directory itself.
func openCopy(cfg Config) (*DB, error) {
	tmp, err := os.MkdirTemp("", "footfall-read-")
	if err != nil {
		return nil, fmt.Errorf("db: open a copy of %s: %w", cfg.Dir, err)
	}
	d, err := func() (*DB, error) {
		if err := copyDir(tmp, cfg.Dir); err != nil {
			return nil, err
		}
		return open(cfg, mode{readOnly: true, files: tmp})
	}()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(tmp))
	}
	return d, nil
}

// copyDir copies the files of src, while no other process can open it for
// writing.
func copyDir(dst, src string) error {
	release, err := lockShared(src)
	if err != nil {
		return fmt.Errorf("db: copy: %w", classify(err, src))
	}
	defer release()
	entries, err := os.ReadDir(src)
	if err != nil {
		return fmt.Errorf("db: copy: %w", err)
	}
	left := maxCopy
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		n, err := copySparse(filepath.Join(dst, e.Name()), filepath.Join(src, e.Name()), left)
		if errors.Is(err, errTooLarge) {
			return fmt.Errorf("%w: %s was not closed cleanly and holds more than %d MiB, which is not copied to read it; start the gateway on it once, which mends it",
				ErrUnclean, src, maxCopy>>20)
		}
		if err != nil {
			return fmt.Errorf("db: copy: %w", classify(err, dst))
		}
		left -= n
	}
	return nil
}

// copySparse copies a file and leaves out what is zero: Badger gives its
// write-ahead files their full size when it makes them, 160 MiB for an empty
// ledger. It returns how many bytes it wrote, limit at most.
func copySparse(dst, src string, limit int64) (written int64, err error) {
	in, err := os.Open(src)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	buf, zero := make([]byte, 256<<10), make([]byte, 256<<10)
	for pos := int64(0); ; {
		n, err := io.ReadFull(in, buf)
		if n > 0 && !bytes.Equal(buf[:n], zero[:n]) {
			if written += int64(n); written > limit {
				return written, errTooLarge
			}
			if _, err := out.WriteAt(buf[:n], pos); err != nil {
				return written, err
			}
		}
		pos += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return written, out.Truncate(pos)
		}
		if err != nil {
			return written, err
		}
	}
}
