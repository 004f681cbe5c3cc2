package funnel

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// Published values: Newcombe 1998, Statistics in Medicine 17, 857-872 table I (method 3) and 873-890 table II (method 10).
func TestIntervalsArePublishedOnes(t *testing.T) {
	near := func(got, want float64) bool { return math.Abs(got-want) <= 0.00005+1e-12 }
	for _, tt := range []struct{ x, n, low, high float64 }{
		{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718},
	} {
		if low, high := wilson(tt.x, tt.n); !near(low, tt.low) || !near(high, tt.high) {
			t.Errorf("%v of %v: %.4f to %.4f, want %.4f to %.4f", tt.x, tt.n, low, high, tt.low, tt.high)
		}
	}
	for _, tt := range []struct {
		x1, n1, x0, n0 int64
		low, high      float64
	}{
		{56, 70, 48, 80, 0.0524, 0.3339},
		{9, 10, 3, 10, 0.1705, 0.8090},
		{6, 7, 2, 7, 0.0582, 0.8062},
		{5, 56, 0, 29, -0.0381, 0.1926},
		{0, 10, 0, 20, -0.1611, 0.2775},
		{0, 10, 0, 10, -0.2775, 0.2775},
		{10, 10, 0, 20, 0.6791, 1},
		{10, 10, 0, 10, 0.6075, 1},
	} {
		l := Compare(Arm{People: tt.n1, Converted: tt.x1}, Arm{People: tt.n0, Converted: tt.x0})
		if !near(l.DiffLow, tt.low) || !near(l.DiffHigh, tt.high) {
			t.Errorf("%d/%d - %d/%d: %.4f to %.4f, want %.4f to %.4f", tt.x1, tt.n1, tt.x0, tt.n0, l.DiffLow, l.DiffHigh, tt.low, tt.high)
		}
	}
}

// The case study's figures: 16.7 % against 0.88 % is 19 times as many.
func TestLiftOfTheLunch(t *testing.T) {
	l := Compare(Arm{People: 10_000, Converted: 1_670}, Arm{People: 10_000, Converted: 88})
	if !l.Enough || math.Round(l.Ratio) != 19 || l.RatioLow > 18.98 || l.RatioLow < 15 || l.RatioHigh < 18.98 || l.RatioHigh > 24 {
		t.Errorf("%+v", l)
	}
}

func TestNotEnoughData(t *testing.T) {
	for _, tt := range []struct {
		x1, n1, x0, n0 int64
		enough         bool
	}{
		{0, 0, 0, 0, false}, {10, 100, 0, 0, false}, {0, 1000, 0, 100, false},
		{40, 1000, 4, 100, false}, // 4 expected in the smaller group
		{50, 1000, 5, 100, true},
		{0, 1000, 50, 100, false}, // 4.5
		{1000, 1000, 98, 100, false},
		{900, 1000, 80, 100, true},
	} {
		l := Compare(Arm{People: tt.n1, Converted: tt.x1}, Arm{People: tt.n0, Converted: tt.x0})
		if l.Enough != tt.enough || (l.Why == "") != tt.enough || !tt.enough && !strings.HasPrefix(l.Why, "not enough data") {
			t.Errorf("%+v: enough %v, %q", tt, l.Enough, l.Why)
		}
	}
}

// The interval of 95 % holds the truth about 95 times in a hundred, also for shares and groups as small as campaigns
// have them.
func TestCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	draw := func(n int, p float64) (x int64) {
		for range n {
			if rng.Float64() < p {
				x++
			}
		}
		return x
	}
	for _, tt := range []struct {
		n1, n0 int
		p1, p0 float64
	}{{900, 100, 0.12, 0.08}, {450, 50, 0.3, 0.3}, {900, 100, 0.06, 0.06}} {
		const rounds = 2000
		held := 0
		for range rounds {
			l := Compare(Arm{People: int64(tt.n1), Converted: draw(tt.n1, tt.p1)}, Arm{People: int64(tt.n0), Converted: draw(tt.n0, tt.p0)})
			if d := tt.p1 - tt.p0; l.DiffLow <= d && d <= l.DiffHigh {
				held++
			}
		}
		if share := float64(held) / rounds; share < 0.93 || share > 0.98 {
			t.Errorf("%+v: the interval held the truth in %.1f %% of the rounds", tt, 100*share)
		}
	}
}
