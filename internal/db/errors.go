package db

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/dgraph-io/badger/v4"
)

// Conditions that a caller branches on. The error that is returned wraps one
// of these and adds the directory and what to do; nothing on disk has changed
// by the time any of them comes back.
var (
	// ErrNotFound: the key is absent, deleted or past its expiry.
	ErrNotFound = errors.New("db: not found")
	// ErrClosed: the database is closed or closing.
	ErrClosed = errors.New("db: closed")
	// ErrLocked: another process has the directory open.
	ErrLocked = errors.New("db: directory in use")
	// ErrNewerFormat: a newer Footfall wrote this directory.
	ErrNewerFormat = errors.New("db: newer format")
	// ErrOlderFormat: this directory was written by a Footfall that is too old.
	ErrOlderFormat = errors.New("db: older format")
	// ErrForeign: the directory holds a database that is not Footfall's, or one
	// whose key spaces mean something else.
	ErrForeign = errors.New("db: not a footfall database")
	// ErrReadOnly: the file system or the handle does not allow writing.
	ErrReadOnly = errors.New("db: read-only")
	// ErrDiskFull: there is too little room to write safely. Nothing of the
	// refused transaction was stored; writing works again, without a restart,
	// once there is room.
	ErrDiskFull = errors.New("db: disk full")
	// ErrUnclean: a killed process has left the directory, and it cannot be
	// read before it was opened for writing once.
	ErrUnclean = errors.New("db: not closed cleanly")
	// ErrTooBig: one fn wrote more than fits one transaction. Split it.
	ErrTooBig = errors.New("db: transaction too big")
	// ErrKey: a key that belongs to no registered space.
	ErrKey = errors.New("db: key outside every registered space")
)

// classify turns what Badger and the system say into the errors above.
func classify(err error, dir string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrDiskFull), errors.Is(err, ErrReadOnly), errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, syscall.EWOULDBLOCK), strings.Contains(err.Error(), "Another process is using this Badger database"):
		return fmt.Errorf("%w: another process has %s open; stop it, or give this one its own directory", ErrLocked, dir)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), strings.Contains(err.Error(), "no space left on device"):
		return fmt.Errorf("%w: no room left under %s; free some and try again: %v", ErrDiskFull, dir, err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, os.ErrPermission), strings.Contains(err.Error(), "read-only file system"):
		return fmt.Errorf("%w: cannot write to %s; make it writable for this user: %v", ErrReadOnly, dir, err)
	case errors.Is(err, badger.ErrTxnTooBig):
		return fmt.Errorf("%w: %v", ErrTooBig, err)
	case errors.Is(err, badger.ErrDBClosed), errors.Is(err, badger.ErrBlockedWrites):
		return ErrClosed
	}
	return err
}
