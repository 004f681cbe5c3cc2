package bench

import (
	"fmt"
	"testing"
	"time"

	"footfall/fences"
	"footfall/geo"
)

// BenchmarkRebuild is what an edit of the fences costs: the index alone, and the whole
// set with its ids and content hash, as the gateway builds it before it swaps a pointer.
func BenchmarkRebuild(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("fences=%d", n), func(b *testing.B) {
			shapes := stores(n)
			fs := make([]fences.Fence, n)
			for i, s := range shapes {
				fs[i] = fences.Fence{ID: fences.ID(fmt.Sprintf("store-%07d", i)), Shape: *s}
			}
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
			b.ReportMetric(median(index), "ms/index")
			b.ReportMetric(median(set), "ms/set")
			b.ReportMetric(float64(x.Stats().Bytes)/float64(n), "B/fence")
		})
	}
}
