package measure

import (
	"time"

	"golang.org/x/sys/unix"
)

// ThreadTime is what the calling thread has used of the processors. (Not getrusage: it
// counts in ticks of milliseconds where the kernel was built so.)
func ThreadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}
