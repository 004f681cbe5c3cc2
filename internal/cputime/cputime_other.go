//go:build !unix

package cputime

import "time"

var started = time.Now()

// Used is how long the process has run: this system does not tell its share of the processors.
func Used() time.Duration { return time.Since(started) }
