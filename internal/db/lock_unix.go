//go:build linux || darwin || freebsd

package db

import (
	"os"
	"syscall"
)

// lockShared takes the lock with which Badger opens a directory for reading:
// it lets other readers in and a writer not.
func lockShared(dir string) (release func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
