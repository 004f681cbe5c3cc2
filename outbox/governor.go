package outbox

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// governor says how many requests a lane may make: a token bucket whose rate
// follows the provider (additive increase, multiplicative decrease), with a
// share set aside for announcements. It runs on the real clock. Safe for
// concurrent use.
type governor struct {
	base float64 // requests per second when all is well

	mu     sync.Mutex
	rate   float64
	at     time.Time // rate is of this moment
	cut    time.Time // when it was last halved
	burst  int
	bucket *rate.Limiter
	// bulk is what announcements get even while others wait.
	bulk *rate.Limiter
}

const (
	// recovery is the share of the base rate that comes back each second.
	recovery = 0.05
	// floorShare of the base rate is always left, so that a lane can recover.
	floorShare = 1.0 / 64
	// bulkShare of the rate is the least that announcements get.
	bulkShare = 0.1
)

func newGovernor(perSecond float64, burst int) *governor {
	return &governor{
		base: perSecond, rate: perSecond, burst: burst, at: time.Now(),
		bucket: rate.NewLimiter(rate.Limit(perSecond), burst),
		bulk:   rate.NewLimiter(rate.Limit(perSecond*bulkShare), max(1, int(float64(burst)*bulkShare))),
	}
}

// advance brings the rate up to now. mu is held.
func (g *governor) advance(now time.Time) {
	if g.rate < g.base {
		g.set(now, min(g.base, g.rate+g.base*recovery*now.Sub(g.at).Seconds()))
	}
	g.at = now
}

func (g *governor) set(now time.Time, perSecond float64) {
	g.rate = perSecond
	g.bucket.SetLimitAt(now, rate.Limit(perSecond))
	g.bulk.SetLimitAt(now, rate.Limit(perSecond*bulkShare))
}

// allowed returns how many requests may begin now; 0 comes with the time until
// one may. bulk is for announcements: they leave half a burst to the others,
// and when it is not there, because those take what comes, have their share.
// Others that wait while it is there wait for workers, not for the rate.
func (g *governor) allowed(bulk bool) (n int, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.advance(now)
	tokens, perSecond := g.bucket.TokensAt(now), g.rate
	if bulk {
		tokens -= float64(g.burst / 2)
		if share := g.bulk.TokensAt(now); share > tokens {
			tokens, perSecond = share, g.rate*bulkShare
		}
	}
	if tokens >= 1 {
		return int(tokens), 0
	}
	if perSecond <= 0 {
		return 0, pollEvery
	}
	return 0, time.Duration((1 - tokens) / perSecond * float64(time.Second))
}

// spend takes n of what was allowed. The share of announcements may drive the
// bucket into debt, which is how the others make room for them.
func (g *governor) spend(n int, bulk bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for left := n; left > 0; {
		part := min(left, g.burst)
		g.bucket.ReserveN(now, part)
		left -= part
	}
	if bulk {
		g.bulk.AllowN(now, min(n, int(g.bulk.TokensAt(now))))
	}
}

// slower halves the rate; answers to requests of the same second count once.
func (g *governor) slower() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.advance(now)
	if now.Sub(g.cut) < time.Second {
		return
	}
	g.cut = now
	g.set(now, max(g.rate/2, g.base*floorShare))
}

// empty takes what has gathered in the bucket during a pause, so that its end
// is no burst.
func (g *governor) empty() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for _, l := range []*rate.Limiter{g.bucket, g.bulk} {
		if n := int(l.TokensAt(now)); n > 0 {
			l.AllowN(now, n)
		}
	}
}

// now returns the current rate in requests per second.
func (g *governor) now() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.advance(time.Now())
	return g.rate
}
