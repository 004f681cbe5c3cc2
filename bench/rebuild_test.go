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
			build := func() {
				if _, err := fences.NewSet(fs, nil); err != nil {
					b.Fatal(err)
				}
			}
			var x *geo.Index
			for b.Loop() {
				start := time.Now()
				x = geo.NewIndex(shapes)
				index = append(index, time.Since(start).Seconds()*1e3)
				start = time.Now()
				build()
				set = append(set, time.Since(start).Seconds()*1e3)
				// Its processor time can be told only on a thread of its own, where it takes twice as long by the clock: each time
				// that it offers the processor it is handed from thread to thread.
				runtime.LockOSThread()
				began := measure.ThreadTime()
				build()
				work = append(work, (measure.ThreadTime()-began).Seconds()*1e3)
				runtime.UnlockOSThread()
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
// at the 99th percentile, and the processor time for a ping, beside those without, and beside those while that goroutine only
// computes. A busy machine delays who asks for two of its processors more than who asks for one, whatever for; what
// the building itself does to decisions is the ratio to the last.
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
	var took []float64 // us, of the batches of a play
	play := func() (ns float64) {
		began := measure.ThreadTime()
		for range rounds * devices / logPings {
			start := time.Now()
			d.set = set.Load()
			d.run(logPings)
			took = append(took, float64(time.Since(start))/1e3)
		}
		return float64(measure.ThreadTime()-began) / float64(rounds*devices)
	}
	// beside plays while another goroutine does something again and again.
	beside := func(work func()) (ns, p99 float64) {
		took = took[:0]
		stop := make(chan struct{})
		var other sync.WaitGroup
		other.Go(func() {
			for work != nil {
				select {
				case <-stop:
					return
				default:
					work()
				}
			}
		})
		var each []float64
		for range 5 { // long enough for several sets
			each = append(each, play())
		}
		close(stop)
		other.Wait()
		slices.Sort(took)
		return measure.Median(each), took[len(took)*99/100]
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	play()
	swaps := 0
	sum := 0
	kinds := []struct {
		name string
		work func()
	}{
		{"alone", nil},
		{"computing", func() {
			for i := range 100_000 {
				sum += i * sum
			}
			runtime.Gosched()
		}},
		{"rebuilding", func() {
			next, err := fences.NewSet(fs, nil)
			if err != nil {
				b.Error(err)
				return
			}
			set.Store(next)
			swaps++
		}},
	}
	ns, p99 := make([][]float64, len(kinds)), make([][]float64, len(kinds))
	for b.Loop() {
		for k, kind := range kinds {
			pings, batch := beside(kind.work)
			ns[k], p99[k] = append(ns[k], pings), append(p99[k], batch)
		}
	}
	if swaps == 0 {
		b.Fatal("no set was built meanwhile")
	}
	b.ReportMetric(0, "ns/op")
	for k, kind := range kinds {
		b.ReportMetric(measure.Median(ns[k]), "ns/ping-"+kind.name)
		b.ReportMetric(measure.Median(p99[k]), "p99-us/batch-"+kind.name)
	}
	measure.Tell(b, "decision while sets of 100,000 fences are built / without, processor time", measure.Median(ns[2])/measure.Median(ns[0]), "")
	measure.Tell(b, "the same, 99th percentile of a batch / while another goroutine computes", measure.Median(p99[2])/measure.Median(p99[1]), "")
}
