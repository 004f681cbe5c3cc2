//go:build !unix

package fences

import "time"

var started = time.Now()

func cpuTime() time.Duration { return time.Since(started) }
