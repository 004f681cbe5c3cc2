package fake

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Latency is how long a fake takes to answer. The zero value answers at once.
type Latency struct {
	kind  latencyKind
	lo    time.Duration // fixed: the value; uniform: lower end; lognormal: median
	hi    time.Duration // uniform: upper end
	sigma float64       // lognormal
	seed  uint64
}

type latencyKind uint8

const (
	latencyNone latencyKind = iota
	latencyFixed
	latencyUniform
	latencyLogNormal
)

// maxLatency cuts every draw: a tail longer than a minute only looks like a
// hang, and FaultHang does that better.
const maxLatency = time.Minute

// FixedLatency answers after exactly d.
func FixedLatency(d time.Duration) Latency { return Latency{kind: latencyFixed, lo: d} }

// UniformLatency draws evenly from [lo, hi].
func UniformLatency(lo, hi time.Duration, seed uint64) Latency {
	return Latency{kind: latencyUniform, lo: min(lo, hi), hi: max(lo, hi), seed: seed}
}

// LogNormalLatency has the given median and a tail whose weight is sigma, the
// standard deviation of the logarithm (0.5 is a calm service, 1 a bad day).
// Draws are cut at one minute.
func LogNormalLatency(median time.Duration, sigma float64, seed uint64) Latency {
	return Latency{kind: latencyLogNormal, lo: median, sigma: sigma, seed: seed}
}

// ParseLatency reads a latency from a flag or file: "0", "30ms",
// "10ms-50ms" (uniform) or "30ms~0.5" (lognormal with that median and sigma).
// Values may be up to one minute, sigma up to 10.
func ParseLatency(s string, seed uint64) (Latency, error) {
	bad := func() (Latency, error) {
		return Latency{}, fmt.Errorf("fake: latency %q: want 30ms, 10ms-50ms or 30ms~0.5", s)
	}
	if lo, hi, ok := strings.Cut(s, "-"); ok {
		a, errA := parseDelay(lo)
		b, errB := parseDelay(hi)
		if errA != nil || errB != nil || b < a {
			return bad()
		}
		return UniformLatency(a, b, seed), nil
	}
	if med, sig, ok := strings.Cut(s, "~"); ok {
		d, err := parseDelay(med)
		sigma, errS := strconv.ParseFloat(sig, 64)
		if err != nil || errS != nil || !(sigma >= 0 && sigma <= 10) {
			return bad()
		}
		return LogNormalLatency(d, sigma, seed), nil
	}
	d, err := parseDelay(s)
	if err != nil {
		return bad()
	}
	if d == 0 {
		return Latency{}, nil
	}
	return FixedLatency(d), nil
}

func parseDelay(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err == nil && (d < 0 || d > maxLatency) {
		err = strconv.ErrRange
	}
	return d, err
}

// sampler draws from a Latency. Safe for concurrent use.
type sampler struct {
	mu  sync.Mutex
	lat Latency
	rng *rand.Rand
}

func (s *sampler) set(l Latency) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lat, s.rng = l, rand.New(rand.NewPCG(l.seed, 0x6c6174656e6379))
}

func (s *sampler) next() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var d time.Duration
	switch s.lat.kind {
	case latencyFixed:
		d = s.lat.lo
	case latencyUniform:
		d = s.lat.lo + time.Duration(s.rng.Int64N(int64(s.lat.hi-s.lat.lo)+1))
	case latencyLogNormal:
		// Compared as floats: the product may not fit a Duration.
		f := float64(s.lat.lo) * math.Exp(s.lat.sigma*s.rng.NormFloat64())
		d = time.Duration(min(f, float64(maxLatency)))
	}
	return min(max(d, 0), maxLatency)
}
