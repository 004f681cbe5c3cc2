//go:build !linux

package load

import (
	"runtime"
	"time"
)

func steadyThread() (realTime bool) {
	runtime.LockOSThread()
	return false
}

func nap(d time.Duration) { time.Sleep(d) }
