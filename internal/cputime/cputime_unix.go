//go:build unix

package cputime

import (
	"syscall"
	"time"
)

// Used is what the process has used of the processors since it began. Safe for concurrent use; it panics when the kernel does
// not say.
func Used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
