package load

import (
	"cmp"
	"math"
	"slices"
)

// Circle is a fence as the oracle sees it: inside is within RadiusM of the centre along the WGS84 geodesic, the
// boundary included.
type Circle struct {
	ID      string
	Lat     float64
	Lng     float64
	RadiusM float64
}

// Rules are the documented thresholds by which positions become transitions, as far as plans touch them.
type Rules struct {
	EnterAccuracyM  float64 // worst accuracy that may enter, at least EnterRatio times the radius
	EnterRatio      float64
	ExitMarginM     float64 // beyond the edge, at least ExitRatio times the radius, plus the accuracy up to a cap
	ExitRatio       float64
	ExitAccuracyCap float64
	MaxSpeedMPS     float64 // of a move that is believed at once; 0: every move
	MaxAgeMS        int64   // older on arrival: the visit counts, nothing is pushed
}

// DefaultRules are those of a gateway whose configuration says nothing about rules.
func DefaultRules() Rules {
	return Rules{EnterAccuracyM: 50, EnterRatio: 0.5, ExitMarginM: 20, ExitRatio: 0.1, ExitAccuracyCap: 150, MaxSpeedMPS: 90, MaxAgeMS: 600_000}
}

func (r *Rules) enters(c *Circle, d, acc float64) bool {
	return d <= c.RadiusM && acc <= max(r.EnterAccuracyM, r.EnterRatio*c.RadiusM)
}

func (r *Rules) exitAtM(c *Circle, acc float64) float64 {
	return c.RadiusM + max(r.ExitMarginM, r.ExitRatio*c.RadiusM) + min(acc, r.ExitAccuracyCap)
}

// oracle says what a position means by measuring it against the fences one after the other: sorted by latitude, so
// that those too far north or south are passed over, and otherwise with nothing in common with the gateway's index.
type oracle struct {
	circles []Circle // by latitude
	order   []int32  // of circles: index in the world
	reach   float64  // degrees of latitude beyond which no circle can matter
}

// farM is how far from its centre a circle still matters: beyond the exit margin of the poorest accuracy.
func (c *Circle) farM() float64 { return 1.1*c.RadiusM + 400 }

func newOracle(circles []Circle) *oracle {
	o := &oracle{circles: slices.Clone(circles), order: make([]int32, len(circles))}
	for i := range o.order {
		o.order[i] = int32(i)
	}
	slices.SortStableFunc(o.order, func(a, b int32) int { return cmp.Compare(circles[a].Lat, circles[b].Lat) })
	for i, at := range o.order {
		o.circles[i] = circles[at]
		o.reach = max(o.reach, circles[at].farM()/110_000) // a degree of latitude is 110,574 m or more
	}
	return o
}

// near is a circle and how far a position is from its centre.
type near struct {
	circle int32 // index in the world
	d      float64
}

// around appends the circles that a position may matter to.
func (o *oracle) around(dst []near, lat, lng float64) []near {
	from, _ := slices.BinarySearchFunc(o.circles, lat-o.reach, func(c Circle, at float64) int { return cmp.Compare(c.Lat, at) })
	// A degree of longitude is at least this long where it matters; near the poles every circle is measured.
	perDegree := 111_000 * math.Cos(min(89.9, math.Abs(lat)+o.reach)*radian)
	for i := from; i < len(o.circles) && o.circles[i].Lat <= lat+o.reach; i++ {
		c := &o.circles[i]
		if math.Abs(math.Remainder(lng-c.Lng, 360))*perDegree > c.farM() && math.Abs(lat) < 85 {
			continue
		}
		if d := geodesicM(lat, lng, c.Lat, c.Lng); d <= c.farM() {
			dst = append(dst, near{o.order[i], d})
		}
	}
	return dst
}

// ambiguous reports whether a position is within clearM of a distance at which a rule changes its answer, and by
// which circle.
func ambiguous(world []Circle, rules *Rules, around []near, acc, clearM float64) (near, bool) {
	for _, n := range around {
		c := &world[n.circle]
		if math.Abs(n.d-c.RadiusM) < clearM || math.Abs(n.d-rules.exitAtM(c, acc)) < clearM {
			return n, true
		}
	}
	return near{}, false
}

// Kind of a transition.
type Kind uint8

// The transitions that a plan expects.
const (
	Enter Kind = iota
	Exit
)

func (k Kind) String() string { return [...]string{"enter", "exit"}[k] }

// presence is where the oracle believes a device to be.
type presence struct {
	inside []int32 // circles
}

// step moves a device on by one position and appends the transitions: exits first.
func (p *presence) step(world []Circle, rules *Rules, around []near, acc float64, emit func(Kind, int32)) {
	distance := func(circle int32) float64 {
		for _, n := range around {
			if n.circle == circle {
				return n.d
			}
		}
		return math.Inf(1)
	}
	kept := p.inside[:0]
	for _, circle := range p.inside {
		if distance(circle) > rules.exitAtM(&world[circle], acc) {
			emit(Exit, circle)
			continue
		}
		kept = append(kept, circle)
	}
	p.inside = kept
	for _, n := range around {
		if rules.enters(&world[n.circle], n.d, acc) && !slices.Contains(p.inside, n.circle) {
			p.inside = append(p.inside, n.circle)
			emit(Enter, n.circle)
		}
	}
}
