package load

import (
	"math"
	"math/rand/v2"
)

// A mover is where a device is, in metres east and north of an anchor, as a function of time in seconds of the
// plan. Speeds stay below what a gateway believes.
type mover struct {
	anchor int // circle
	path   []knot
	// edge, when set, is used instead of path: positions jump about the anchor's edge.
	edge *edge
	// Accuracy of the positions, drawn between the two, in metres.
	accLo, accHi float64

	lateMS int64 // every position is so old when it is sent
	mock   bool
	optOut bool
	twice  bool // every message is sent two times
}

// knot is a place on a path; between knots the device moves straight and evenly, before the first and after the
// last it stands.
type knot struct{ at, x, y float64 }

// edge is a device that stands at an edge. Its distance from the centre is the radius plus or minus from..to, in
// turn; until opens it is only outside.
type edge struct {
	bearing  float64
	from, to float64
	opens    float64
	inside   bool
}

func (m *mover) at(t float64, rng *rand.Rand) (x, y, acc float64) {
	acc = math.Round((m.accLo+(m.accHi-m.accLo)*rng.Float64())*10) / 10
	if e := m.edge; e != nil {
		d := e.from + (e.to-e.from)*rng.Float64()
		if e.inside = t >= e.opens && !e.inside; e.inside {
			d = -d
		}
		sin, cos := math.Sincos(e.bearing)
		return (storeRadiusM + d) * sin, (storeRadiusM + d) * cos, acc
	}
	p := m.path
	i := 0
	for i < len(p) && p[i].at <= t {
		i++
	}
	switch {
	case i == 0:
		return p[0].x, p[0].y, acc
	case i == len(p):
		return p[i-1].x, p[i-1].y, acc
	}
	a, b := p[i-1], p[i]
	f := (t - a.at) / (b.at - a.at)
	return a.x + (b.x-a.x)*f, a.y + (b.y-a.y)*f, acc
}

// crowd draws the movers of a profile.
type crowd struct {
	cfg      *Config
	world    *World
	span     float64 // seconds that a mover's time covers
	interval float64 // seconds between two messages of a device
}

func (c *crowd) uniform(rng *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*rng.Float64() }

// anywhere is a circle, drawn evenly.
func (c *crowd) anywhere(rng *rand.Rand) int { return rng.IntN(len(c.world.Circles)) }

func polar(at, m, bearing float64) knot {
	sin, cos := math.Sincos(bearing)
	return knot{at, m * sin, m * cos}
}

// visits is a path with n visits of the anchor, as many as fit; the last comes early enough to be seen inside.
func (c *crowd) visits(rng *rand.Rand, n int) []knot {
	bearing := 2 * math.Pi * rng.Float64()
	far, in := c.uniform(rng, 280, 450), c.uniform(rng, 20, 120)
	travel := (far - in) / c.uniform(rng, 15, 35)
	stay := max(3, 2.2*c.interval)
	cycle := 2*travel + stay + max(2, 2.2*c.interval)
	n = max(1, min(n, int(c.span/cycle)))
	// The first crossing of the edge is anywhere in the time that leaves room for the others, and for a position
	// after the last.
	slack := max(0, c.span-1.3*c.interval-cycle*float64(n-1))
	arrives := slack*rng.Float64() + (storeRadiusM-in)*travel/(far-in)
	var path []knot
	for range n {
		path = append(path, polar(arrives-travel, far, bearing), polar(arrives, in, bearing),
			polar(arrives+stay, in, bearing), polar(arrives+stay+travel, far, bearing))
		arrives += cycle
	}
	return path
}

// pass is a straight path that comes no nearer to the anchor than m.
func (c *crowd) pass(rng *rand.Rand, m, speed float64) []knot {
	bearing := 2 * math.Pi * rng.Float64()
	long := max(200, speed*c.span)
	from := -long * rng.Float64()
	a, b := polar(0, m, bearing), polar(0, 1, bearing+math.Pi/2)
	return []knot{{0, a.x + b.x*from, a.y + b.y*from}, {long / speed, a.x + b.x*(from+long), a.y + b.y*(from+long)}}
}

// commuter is one device of the city and catchup profiles; lambda is the mean number of its visits.
func (c *crowd) commuter(rng *rand.Rand, lambda float64) mover {
	m := mover{anchor: c.anywhere(rng), accLo: 5, accHi: 15}
	n := int(lambda)
	if rng.Float64() < lambda-float64(n) {
		n++
	}
	switch {
	case n > 0:
		m.path = c.visits(rng, n)
	case rng.IntN(6) == 0:
		m.path = c.pass(rng, c.uniform(rng, 215, 400), c.uniform(rng, 5, 20))
	default:
		m.path = c.pass(rng, c.uniform(rng, 1000, 4000), c.uniform(rng, 1, 20))
	}
	return m
}

// stander is one device of the jitter and worst profiles. share of them come in, the others never do.
func (c *crowd) stander(rng *rand.Rand, from, to, share float64) mover {
	// Accuracies are such that a jump from one side to the other is no teleport, however short the interval.
	m := mover{anchor: c.anywhere(rng), accLo: 15, accHi: 25, edge: &edge{bearing: 2 * math.Pi * rng.Float64(), from: from, to: to, opens: math.Inf(1)}}
	if rng.Float64() < share {
		m.edge.opens = c.span * 0.8 * rng.Float64()
	}
	return m
}

// groups are the people of the Citrus day who come near a store, of 76,000.
var groups = []struct {
	name   string
	people int
	make   func(c *crowd, rng *rand.Rand, i int) mover
}{
	{"G1 one entry", 1900, func(c *crowd, rng *rand.Rand, _ int) mover { return c.shopper(rng, 1) }},
	{"G2 three visits", 300, func(c *crowd, rng *rand.Rand, _ int) mover { return c.shopper(rng, 3) }},
	{"G3 two stores", 150, (*crowd).overlap},
	{"G4 jitter", 100, func(c *crowd, rng *rand.Rand, _ int) mover {
		m := c.stander(rng, 10, 15, 1)
		m.edge.opens = 0
		return m
	}},
	{"G5 there already", 80, func(c *crowd, rng *rand.Rand, _ int) mover {
		m := c.shopper(rng, 1)
		m.path = []knot{polar(0, c.uniform(rng, 10, 80), 2*math.Pi*rng.Float64())}
		return m
	}},
	{"G6 six minutes late", 50, func(c *crowd, rng *rand.Rand, _ int) mover { m := c.shopper(rng, 1); m.lateMS = 6 * 60_000; return m }},
	{"G7 everything twice", 20, func(c *crowd, rng *rand.Rand, _ int) mover { m := c.shopper(rng, 1); m.twice = true; return m }},
	{"N1 close by", 400, func(c *crowd, rng *rand.Rand, i int) mover {
		return mover{anchor: alone[i%len(alone)], path: c.pass(rng, c.uniform(rng, 205, 260), c.uniform(rng, 1, 3)), accLo: 10, accHi: 10}
	}},
	{"N3 three hours late", 150, func(c *crowd, rng *rand.Rand, _ int) mover {
		m := c.shopper(rng, 1)
		m.lateMS = 3 * 3_600_000
		return m
	}},
	{"N4 poor accuracy", 100, func(c *crowd, rng *rand.Rand, _ int) mover {
		m := c.shopper(rng, 1)
		m.path, m.accLo, m.accHi = []knot{polar(0, c.uniform(rng, 0, 80), 2*math.Pi*rng.Float64())}, 800, 3000
		return m
	}},
	{"N5 drive by", 100, func(c *crowd, rng *rand.Rand, i int) mover {
		return mover{anchor: alone[i%len(alone)], path: c.pass(rng, c.uniform(rng, 260, 400), 60/3.6), accLo: 5, accHi: 15}
	}},
	{"N6 opted out", 150, func(c *crowd, rng *rand.Rand, _ int) mover { m := c.shopper(rng, 1); m.optOut = true; return m }},
	{"N7 simulated", 100, func(c *crowd, rng *rand.Rand, _ int) mover { m := c.shopper(rng, 1); m.mock = true; return m }},
}

// citrusCrowd is the number of people that groups are shares of.
const citrusCrowd = 76_000

// lonely are the Kyiv stores whose fences overlap no other; alone those with no other within 2 km.
var (
	lonely = []int{0, 1, 3, 4, 5, 6, 7, 8}
	alone  = []int{5, 6, 7, 8}
)

func (c *crowd) shopper(rng *rand.Rand, visits int) mover {
	return mover{anchor: lonely[rng.IntN(len(lonely))], path: c.visits(rng, visits), accLo: 5, accHi: 15}
}

// overlap walks from the third store through the overlap into the tenth, or, every other one, stands in the overlap
// from the beginning and enters both at once.
func (c *crowd) overlap(rng *rand.Rand, i int) mover {
	a, b := c.world.Circles[2], c.world.Circles[9]
	north, east := degreesPerM(a.Lat)
	x, y := (b.Lng-a.Lng)/east, (b.Lat-a.Lat)/north
	m := mover{anchor: 2, accLo: 5, accHi: 10}
	if i%2 == 0 {
		m.path = []knot{{0, x / 2, y / 2}}
		return m
	}
	begin := 0.3 * c.span * rng.Float64()
	m.path = []knot{{begin, -x, -y}, {begin + 20, 0, 0}, {begin + 35, x * 1.05, y * 1.05}}
	return m
}

// movers draws the whole crowd; every device from a random source of its own.
func (c *crowd) movers(rngs []*rand.Rand) []mover {
	out := make([]mover, len(rngs))
	lambda := c.cfg.Entries * c.cfg.Rate * c.cfg.Duration.Seconds() / float64(len(rngs))
	next := 0
	if c.cfg.Profile == "citrus" {
		for _, g := range groups {
			for i := range (g.people*len(rngs) + citrusCrowd/2) / citrusCrowd {
				if next < len(rngs) {
					out[next] = g.make(c, rngs[next], i)
					next++
				}
			}
		}
	}
	for i := next; i < len(out); i++ {
		switch rng := rngs[i]; c.cfg.Profile {
		case "citrus":
			out[i] = mover{anchor: c.anywhere(rng), path: c.pass(rng, c.uniform(rng, 25_000, 40_000), c.uniform(rng, 1, 20)), accLo: 5, accHi: 50}
		case "jitter":
			out[i] = c.stander(rng, 5, 15, 1)
		case "worst":
			out[i] = c.stander(rng, 0.05, 15, min(1, lambda))
		default:
			out[i] = c.commuter(rng, lambda)
		}
	}
	return out
}
