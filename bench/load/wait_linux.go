package load

import (
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// steadyThread gives the calling goroutine a thread of its own for as long as it lives: with timers that are not put
// together with others', because the runtime's own round up to a millisecond when the process is idle, which would be
// the whole of the lag that a valid run may have; and, where the system allows it, ahead of every ordinary thread, so
// that the sender is not what a machine at its limit makes wait. It reports whether that was allowed.
func steadyThread() (realTime bool) {
	runtime.LockOSThread()
	const prSetTimerSlack, schedFIFO = 29, 1
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 1000, 0) // 1 µs; without it 50 µs
	priority := int32(10)                                                     // of 99; ahead of what a user may have given the gateway
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, 0, schedFIFO, uintptr(unsafe.Pointer(&priority)))
	return errno == 0
}

// nap sleeps on the thread itself. It may return early.
func nap(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil) // interrupted: the caller looks at the clock again
}
