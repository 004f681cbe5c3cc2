//go:build unix

package fences

import (
	"syscall"
	"time"
)

// cpuTime is what the process has used of the processors: limits of time are
// about the work done, whatever else the machine does.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
