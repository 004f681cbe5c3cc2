package advice

import "math"

// histogram counts whole numbers up to a largest one, which stands for all beyond.
type histogram struct {
	n      int
	counts []int
}

func newHistogram(largest int) histogram { return histogram{counts: make([]int, largest+1)} }

func (h *histogram) add(x int64) {
	h.n++
	h.counts[min(max(x, 0), int64(len(h.counts)-1))]++
}

// quantile is the smallest number that a share of all do not exceed.
func (h *histogram) quantile(q float64) int64 {
	left := int(math.Ceil(q * float64(h.n)))
	for x, n := range h.counts {
		if left -= n; left <= 0 {
			return int64(x)
		}
	}
	return int64(len(h.counts) - 1)
}
