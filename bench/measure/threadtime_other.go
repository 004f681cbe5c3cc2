//go:build !linux

package measure

import "time"

var started = time.Now()

// ThreadTime is the time that has passed: no more is known here.
func ThreadTime() time.Duration { return time.Since(started) }
