//go:build linux || darwin || freebsd

package db

import "syscall"

// freeSpace returns what an unprivileged process may still write under dir,
// and the size of its file system, in bytes.
func freeSpace(dir string) (free, total int64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}
