// Command h3of44 prints the processor time of one h3-go 4.4.0 LatLngToCell, resolution 9, over the points that the
// benchmarks of the product take (bench/world.Europe): the lowest of some rounds, in nanoseconds. compare.sh runs it in turn with its
// twin for the version that the product pins, so that figures against one can be read against the other.
package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"syscall"

	"github.com/uber/h3-go/v4"
)

func main() {
	rng := rand.New(rand.NewPCG(1, 1))
	at := make([]h3.LatLng, 1<<16)
	for i := range at {
		at[i] = h3.LatLng{Lat: 36 + 24*rng.Float64(), Lng: -9 + 50*rng.Float64()}
	}
	runtime.LockOSThread()
	best := math.Inf(1)
	var sum h3.Cell
	for range 12 {
		start := threadTime()
		for _, p := range at {
			c, err := h3.LatLngToCell(p, 9)
			if err != nil {
				panic(err)
			}
			sum += c
		}
		best = min(best, float64(threadTime()-start)/float64(len(at)))
	}
	if sum == 0 {
		panic("no cells")
	}
	fmt.Printf("%.0f\n", best)
}

// threadTime is the processor time of this thread in nanoseconds.
func threadTime() int64 {
	const rusageThread = 1
	var u syscall.Rusage
	if err := syscall.Getrusage(rusageThread, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
