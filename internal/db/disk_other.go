//go:build !(linux || darwin || freebsd)

package db

import "errors"

// freeSpace is not known here; the guard then refuses nothing.
func freeSpace(string) (free, total int64, err error) {
	return 0, 0, errors.ErrUnsupported
}
