//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// The environment variable FAILPOINT chooses: "leased:3" is the third time that
// the point "leased" is passed.
var (
	chosen string
	left   atomic.Int64
)

func init() {
	point, times, _ := strings.Cut(os.Getenv("FAILPOINT"), ":")
	n, err := strconv.Atoi(times)
	if err != nil || n < 1 {
		n = 1
	}
	chosen = point
	left.Store(int64(n))
}

// Here ends the process when the point is the chosen one.
func Here(point string) {
	if point == chosen && left.Add(-1) == 0 {
		kill()
	}
}

// Soon ends it a moment later, while the caller waits for something.
func Soon(point string) {
	if point == chosen && left.Add(-1) == 0 {
		time.AfterFunc(5*time.Millisecond, kill)
	}
}

func kill() {
	fmt.Fprintln(os.Stderr, "failpoint", chosen)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // nothing more happens here
}
