package load

import (
	"fmt"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
)

// Usage is what a process has used so far.
type Usage struct {
	CPU float64 // seconds
	MB  float64 // resident now
}

// ProcessUsage reads what a process has used from /proc, which only Linux has.
func ProcessUsage(pid int) (Usage, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, err
	}
	_, after, _ := strings.Cut(string(text), ") ") // the name may hold spaces
	fields := strings.Fields(after)
	if len(fields) < 22 {
		return Usage{}, fmt.Errorf("load: /proc/%d/stat has %d fields", pid, len(fields))
	}
	number := func(i int) float64 { v, _ := strconv.ParseFloat(fields[i], 64); return v }
	const ticks = 100 // a second; USER_HZ is 100 on every Linux that Go runs on
	return Usage{CPU: (number(11) + number(12)) / ticks, MB: number(21) * float64(os.Getpagesize()) / (1 << 20)}, nil
}

// gcWatch follows the garbage collector of this process.
type gcWatch struct {
	samples []metrics.Sample
	counts  []uint64 // of pauses, at the last look
}

func newGCWatch() *gcWatch {
	w := &gcWatch{samples: []metrics.Sample{
		{Name: "/sched/pauses/total/gc:seconds"}, {Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/memory/classes/heap/objects:bytes"},
	}}
	w.look()
	return w
}

// look returns the longest pause since the last look in milliseconds, the seconds of processor time that collection
// has used in all, and the size of the heap.
func (w *gcWatch) look() (pauseMS, cpu, heapMB float64) {
	metrics.Read(w.samples)
	h := w.samples[0].Value.Float64Histogram()
	for i, n := range h.Counts {
		if w.counts != nil && n > w.counts[i] {
			pauseMS = h.Buckets[i] * 1000 // the lower bound: the upper one of the last is infinite
		}
	}
	w.counts = append(w.counts[:0], h.Counts...)
	return max(pauseMS, 0), w.samples[1].Value.Float64(), float64(w.samples[2].Value.Uint64()) / (1 << 20)
}
