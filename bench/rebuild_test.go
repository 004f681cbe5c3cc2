package bench

import (
	"fmt"
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
			var index, set []float64
			var x *geo.Index
			for b.Loop() {
				start := time.Now()
				x = geo.NewIndex(shapes)
				index = append(index, time.Since(start).Seconds()*1e3)
				start = time.Now()
				if _, err := fences.NewSet(fs, nil); err != nil {
					b.Fatal(err)
				}
				set = append(set, time.Since(start).Seconds()*1e3)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(measure.Median(index), "ms/index")
			b.ReportMetric(measure.Median(set), "ms/set")
			b.ReportMetric(float64(x.Stats().Bytes)/float64(c.fences), "B/fence")
			measure.AtMost(b, fmt.Sprintf("rebuild of a set of %d fences", c.fences), measure.Median(set), c.goalMS, "ms")
		})
	}
}
