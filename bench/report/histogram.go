package report

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Range and resolution of every histogram: 1 µs to 10 minutes, three significant digits. What is outside is counted
// at the end of the range, so that a total is never short.
const (
	lowest  = int64(time.Microsecond)
	highest = int64(10 * time.Minute)
)

// Histogram counts durations. It belongs to one goroutine.
type Histogram struct {
	h     *hdrhistogram.Histogram
	Below int64 // durations below 0: two clocks that do not agree
}

// NewHistogram returns an empty one, about 200 kB.
func NewHistogram() *Histogram { return &Histogram{h: hdrhistogram.New(lowest, highest, 3)} }

// Record counts one duration.
func (h *Histogram) Record(d time.Duration) {
	if d < 0 {
		h.Below++
	}
	_ = h.h.RecordValue(min(max(int64(d), 0), highest)) // clamped, so it cannot fail
}

// Merge adds other's counts.
func (h *Histogram) Merge(other *Histogram) {
	h.h.Merge(other.h)
	h.Below += other.Below
}

// Reset empties it.
func (h *Histogram) Reset() { h.h.Reset(); h.Below = 0 }

// Count is the number of durations.
func (h *Histogram) Count() int64 { return h.h.TotalCount() }

// Quantile is the duration that a share q (0 to 1) of all do not exceed; 0 when there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return time.Duration(h.h.ValueAtPercentile(q * 100))
}

// Latency is a histogram as it stands in a result. Times are microseconds.
type Latency struct {
	Count  int64   `json:"count"`
	MeanUS float64 `json:"mean_us"`
	P50US  float64 `json:"p50_us"`
	P90US  float64 `json:"p90_us"`
	P99US  float64 `json:"p99_us"`
	P999US float64 `json:"p999_us"`
	MaxUS  float64 `json:"max_us"`
	// Curve is [share not exceeded, µs], denser towards 1.
	Curve [][2]float64 `json:"curve,omitempty"`
	// HDR is the whole histogram, in nanoseconds, as HdrHistogram V2 compressed and in base64.
	HDR string `json:"hdr,omitempty"`
	// Below counts durations that came out negative: nonzero means that two clocks did not agree.
	Below int64 `json:"below,omitempty"`
}

func micros(ns int64) float64 { return float64(ns) / 1000 }

// Summary is the histogram for a result; nil when it is empty.
func (h *Histogram) Summary() (*Latency, error) {
	if h.Count() == 0 {
		return nil, nil
	}
	at := func(p float64) float64 { return micros(h.h.ValueAtPercentile(p)) }
	l := &Latency{
		Count: h.Count(), MeanUS: math.Round(h.h.Mean()) / 1000, P50US: at(50), P90US: at(90), P99US: at(99), P999US: at(99.9),
		MaxUS: micros(h.h.Max()), Below: h.Below,
	}
	for _, b := range h.h.CumulativeDistributionWithTicks(8) {
		l.Curve = append(l.Curve, [2]float64{b.Quantile / 100, micros(b.ValueAt)})
	}
	text, err := h.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, fmt.Errorf("report: encode a histogram: %w", err)
	}
	l.HDR = string(text)
	return l, nil
}

// Histogram is the whole histogram of a result.
func (l *Latency) Histogram() (*Histogram, error) {
	if l == nil || l.HDR == "" {
		return nil, fmt.Errorf("report: the result holds no histogram")
	}
	h, err := hdrhistogram.Decode([]byte(l.HDR))
	if err != nil {
		return nil, fmt.Errorf("report: decode a histogram: %w", err)
	}
	return &Histogram{h: h, Below: l.Below}, nil
}

// Between are bounds within which the quantile q of what was sampled lies with 95 % confidence, by the order
// statistics of independent samples (normal approximation of the binomial). Neighbouring samples of a run are not
// quite independent, and no two runs are, so it says how well this run knows its own figure and no more.
func (h *Histogram) Between(q float64) (lo, hi time.Duration) {
	n := float64(h.Count())
	if n == 0 {
		return 0, 0
	}
	half := 1.96 * math.Sqrt(n*q*(1-q))
	return h.Quantile(max(0, (n*q-half)/n)), h.Quantile(min(1, (n*q+half)/n))
}

// WriteHGRM writes the percentile distribution in milliseconds, in the text form that HdrHistogram's plotters read.
func (h *Histogram) WriteHGRM(w io.Writer) error {
	b := bufio.NewWriter(w)
	if _, err := h.h.PercentilesPrint(b, 5, 1e6); err != nil {
		return err
	}
	return b.Flush()
}
