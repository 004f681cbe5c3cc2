package bench

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"footfall/bench/measure"
	"footfall/bench/world"
	"footfall/fences"
	"footfall/geo"
)

// BenchmarkRebuild is what an edit of the fences costs: the index alone, and the whole
// set with its ids and content hash, as the gateway builds it before it swaps a pointer.
func BenchmarkRebuild(b *testing.B) {
	for _, c := range []struct {
		fences int
		goalMS float64
	}{{10_000, 50}, {100_000, 400}, {1_000_000, 4000}} {
		b.Run(fmt.Sprintf("fences=%d", c.fences), func(b *testing.B) {
			shapes := world.Stores(c.fences)
			fs := fenceList(shapes)
			var index, set, work []float64
			runtime.LockOSThread() // so that its processor time can be told
			defer runtime.UnlockOSThread()
			var x *geo.Index
			for b.Loop() {
				start := time.Now()
				x = geo.NewIndex(shapes)
				index = append(index, time.Since(start).Seconds()*1e3)
				start = time.Now()
				began := measure.ThreadTime()
				if _, err := fences.NewSet(fs, nil); err != nil {
					b.Fatal(err)
				}
				work = append(work, (measure.ThreadTime()-began).Seconds()*1e3)
				set = append(set, time.Since(start).Seconds()*1e3)
			}
			held := heapOf(func() any { s, _ := fences.NewSet(fs, nil); return s })
			b.ReportMetric(float64(held)/float64(c.fences), "B/fence-set")
			if c.fences == 1_000_000 {
				measure.AtMost(b, "memory of the index at 1,000,000 fences", float64(x.Stats().Bytes)/float64(c.fences), 160, "B a fence")
				measure.Tell(b, "memory that a set of 1,000,000 fences adds to the fences it is given, index included", float64(held)/float64(c.fences), "B a fence")
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(measure.Median(index), "ms/index")
			b.ReportMetric(measure.Median(set), "ms/set")
			b.ReportMetric(measure.Median(work), "ms-processor/set")
			b.ReportMetric(float64(x.Stats().Bytes)/float64(c.fences), "B/fence")
			measure.AtMost(b, fmt.Sprintf("rebuild of a set of %d fences", c.fences), measure.Median(set), c.goalMS, "ms")
			measure.Tell(b, fmt.Sprintf("the same, processor time of the builder, %d fences", c.fences), measure.Median(work), "ms")
		})
	}
}

// heapOf is the memory that what build returns holds on to.
func heapOf(build func() any) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := build()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return after.HeapAlloc - min(after.HeapAlloc, before.HeapAlloc)
}

// BenchmarkDecideWhileRebuilding is the decision of batches of 512 while another goroutine
// builds sets of 100,000 fences and swaps them in, one after the other: the time a batch takes
// at the 99th percentile, and the processor time for a ping, beside those without.
func BenchmarkDecideWhileRebuilding(b *testing.B) {
	const n, devices, rounds = 100_000, 20_000, 3
	shapes := world.Stores(n)
	fs := fenceList(shapes)
	first, err := fences.NewSet(fs, nil)
	if err != nil {
		b.Fatal(err)
	}
	d := newCompact(first, newFleet(deviceIDs(devices), world.Walkers(shapes, devices, 6)))
	var set atomic.Pointer[fences.Set]
	set.Store(first)
	play := func() (ns, p99US float64) {
		var took []float64
		began := measure.ThreadTime()
		for range rounds * devices / logPings {
			start := time.Now()
			d.set = set.Load()
			d.run(logPings)
			took = append(took, float64(time.Since(start))/1e3)
		}
		ns = float64(measure.ThreadTime()-began) / float64(len(took)*logPings)
		slices.Sort(took)
		return ns, took[len(took)*99/100]
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	play()
	var quiet, busy, quietP99, busyP99 []float64
	swaps := 0
	for b.Loop() {
		ns, p99 := play()
		quiet, quietP99 = append(quiet, ns), append(quietP99, p99)
		stop := make(chan struct{})
		var building sync.WaitGroup
		building.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				next, err := fences.NewSet(fs, nil)
				if err != nil {
					b.Error(err)
					return
				}
				set.Store(next)
				swaps++
			}
		})
		for range 5 { // long enough for several sets
			ns, p99 = play()
			busy, busyP99 = append(busy, ns), append(busyP99, p99)
		}
		close(stop)
		building.Wait()
	}
	if swaps == 0 {
		b.Fatal("no set was built meanwhile")
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(measure.Median(quiet), "ns/ping")
	b.ReportMetric(measure.Median(busy), "ns/ping-rebuilding")
	b.ReportMetric(measure.Median(quietP99), "p99-us/batch")
	b.ReportMetric(measure.Median(busyP99), "p99-us/batch-rebuilding")
	measure.Tell(b, "decision while sets of 100,000 fences are built / without", measure.Median(busy)/measure.Median(quiet), "")
}
