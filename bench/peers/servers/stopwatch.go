package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// stopwatch takes the time of a play, and the processor time of a server meanwhile, which other work on the machine moves less.
type stopwatch struct {
	pid   int // 0: not known
	began time.Time
	used  time.Duration

	took      time.Duration
	processor time.Duration // 0 when not known
}

func (w *stopwatch) start() { w.used, w.began = processorTime(w.pid), time.Now() }

func (w *stopwatch) stop() {
	w.took, w.processor = time.Since(w.began), processorTime(w.pid)-w.used
}

// processorTime is what a process has used, to 10 ms; 0 where /proc does not tell.
func processorTime(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if pid == 0 || err != nil {
		return 0
	}
	// After the name, which may have blanks in it: the fields from the third on.
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(string(f[11]))
	system, _ := strconv.Atoi(string(f[12]))
	return time.Duration(user+system) * 10 * time.Millisecond
}
