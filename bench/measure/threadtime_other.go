//go:build !linux

package measure

import "time"

var started = time.Now()

// threadTime is the time that has passed: no more is known here.
func threadTime() time.Duration { return time.Since(started) }
