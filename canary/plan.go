package canary

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"time"

	"footfall/fences"
	"footfall/geo"
	"footfall/stream"
	"footfall/stream/wire"
	"footfall/track"
)

// walk is how one canary walker crosses one fence: it is clearly outside, inside, and clearly outside again, for as long each
// time as the rules ask for. It is walked in event time, not in real time: the positions are sent with their age.
type walk struct {
	fence     *fences.Fence
	device    string // the same each time, so that a gateway keeps one device for a fence
	accuracyM float64
	legs      [3][]step     // to arrive outside, to enter, to exit; each goes in one message
	span      time.Duration // from the first position to the last
	enters    map[fences.ID]bool
	cannot    string // why the rules let nobody cross it so; "" when they do
}

// step is one position, and how long after the walk's first one it is.
type step struct {
	at    geo.Point
	after time.Duration
}

const (
	legArrive = iota
	legEnter
	legExit
)

const (
	// accuracyM is what a good phone claims under the open sky.
	accuracyM = 5
	// depthM is how far inside is enough; further only makes the way longer.
	depthM = 500
	// messagePause is the least time between the positions of two messages. A message that takes longer than this to the gateway,
	// whose clock dates the positions, could overtake the next one.
	messagePause = 5 * time.Second
	// placesTried is how many places outside a fence are tried, and stopsAtMost how many positions one stay may have.
	placesTried = 4
	stopsAtMost = 100
)

// planner plans walks and tries each on a tracker of its own with the rules that the gateway has.
type planner struct {
	set       *fences.Set
	rules     track.Rules
	positions stream.Positions
	tracker   *track.Tracker
	pos       uint64
	res       track.Result
}

func newPlanner(set *fences.Set, rules track.Rules, positions stream.Positions) *planner {
	return &planner{set: set, rules: rules, positions: positions, tracker: track.New(rules)}
}

// plan plans the walk across f, a fence of the planner's set.
func (p *planner) plan(f *fences.Fence) walk {
	r := &p.rules
	w := walk{fence: f, device: deviceOf(f.ID), accuracyM: accuracyM}
	w.accuracyM = min(w.accuracyM, cmp.Or(f.MaxAccuracyM, max(r.EnterAccuracyM, r.EnterAccuracyRatio*f.Shape.SizeM())))
	blur := 0.0
	if p.positions.Mode == stream.PositionsCoarse {
		blur = 3 * geo.CellRadiusM(p.positions.Resolution)
	}
	in, ok := insideOf(&f.Shape, depthM+blur)
	if !ok {
		w.cannot = "no place inside it was found"
		return w
	}
	margin := cmp.Or(f.ExitMarginM, max(r.ExitMarginM, r.ExitMarginRatio*f.Shape.SizeM()))
	places := p.outside(f, in, 1.05*margin+accuracyM+10+blur)
	if len(places) == 0 {
		w.cannot = "no place clearly outside it was found"
	}
	for _, out := range places[:min(len(places), placesTried)] {
		w.legs, w.span = p.legs(f, in, out)
		if w.cannot = p.try(&w); w.cannot == "" {
			break
		}
	}
	return w
}

// deviceOf is the device that crosses a fence: its id where that can be a device's name.
func deviceOf(id fences.ID) string {
	if wire.ValidToken(string(id)) {
		return string(id)
	}
	h := sha256.Sum256([]byte(id))
	return "f-" + hex.EncodeToString(h[:12])
}

// legs dates a walk from out to in and back. Whoever is still inside from a walk that was cut off has left after the first leg.
func (p *planner) legs(f *fences.Fence, in, out geo.Point) (legs [3][]step, span time.Duration) {
	now := time.Duration(0)
	stay := func(leg int, at geo.Point, least time.Duration) {
		end := now + least
		for n := 0; now < end; n++ {
			legs[leg] = append(legs[leg], step{at, now})
			// A silence of PresenceTTL would end the stay.
			if step := p.rules.PresenceTTL / 2; end-now <= step || n == stopsAtMost {
				now = end
			} else {
				now += max(step, time.Second)
			}
		}
		legs[leg] = append(legs[leg], step{at, now})
	}
	way := messagePause
	if p.rules.MaxSpeedMPS > 0 {
		way = max(way, time.Duration(geo.DistanceM(in, out)/(p.rules.MaxSpeedMPS/2)*1000)*time.Millisecond)
	}
	away := cmp.Or(f.MinAway, p.rules.MinAway)
	stay(legArrive, out, max(away, time.Second)) // two positions, so that even one that was moved far is believed
	now += way
	stay(legEnter, in, cmp.Or(f.MinStay, p.rules.MinStay))
	now += way
	stay(legExit, out, away)
	return legs, now
}

// try walks twice, the second time as somebody who is known, and returns why the fence was not crossed. It notes in w which other
// fences are entered on the way.
func (p *planner) try(w *walk) (cannot string) {
	w.enters = map[fences.ID]bool{}
	begin := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	id := track.DeviceID(w.device)
	defer p.tracker.Forget(id)
	for range 2 {
		end := begin + w.span.Milliseconds()
		for leg, steps := range w.legs {
			crossed, last := leg == legArrive, ""
			for _, s := range steps {
				fix := track.Fix{FixedAt: begin + s.after.Milliseconds(), ReceivedAt: end, Lat: s.at.Lat, Lng: s.at.Lng, HasPosition: true, AccuracyM: float32(w.accuracyM), SpeedMPS: -1}
				if code := p.positions.Reduce(&fix); code != "" {
					return "the gateway takes no positions (privacy.positions is none)"
				}
				p.pos++
				p.tracker.Apply(p.set, id, fix, p.pos, &p.res)
				if p.res.Verdict != track.Accepted {
					last = cmp.Or(string(p.res.Refusal), p.res.Verdict.String())
				}
				for i := range p.res.Notes {
					if n := &p.res.Notes[i]; n.FenceID == w.fence.ID {
						last = n.Kind.String()
					}
				}
				for i := range p.res.Transitions {
					switch tr := &p.res.Transitions[i]; {
					case tr.FenceID == w.fence.ID:
						crossed = crossed || leg == legEnter && tr.Kind == track.Enter || leg == legExit && tr.Kind == track.Exit
					case tr.Kind == track.Enter:
						w.enters[tr.FenceID] = true
					}
				}
			}
			if !crossed {
				return fmt.Sprintf("by the rules nobody can %s it between two places (%s)", [...]string{legEnter: "enter", legExit: "leave"}[leg], cmp.Or(last, "no transition"))
			}
		}
		begin = end + time.Hour.Milliseconds()
	}
	return ""
}

// outside lists places that are need metres from the edge of f, the best first: in no other fence and near no other's edge, then
// the nearest.
func (p *planner) outside(f *fences.Fence, in geo.Point, need float64) []geo.Point {
	type place struct {
		at     geo.Point
		others int
		near   bool
		wayM   float64
	}
	var found []place
	const bearings = 16
	for i := range bearings {
		bearing := 360 * float64(i) / bearings
		at, ok := beyond(&f.Shape, in, bearing, need)
		if !ok {
			continue
		}
		here := p.set.Match(nil, at)
		c := place{at: at, others: len(here), wayM: geo.DistanceM(in, at)}
		for turn := range 8 {
			c.near = c.near || !slices.Equal(here, p.set.Match(nil, placeAt(at, 45*float64(turn), 2*accuracyM+20)))
		}
		found = append(found, c)
	}
	slices.SortStableFunc(found, func(a, b place) int {
		nearer := 0
		if a.near != b.near {
			if nearer = 1; b.near {
				nearer = -1
			}
		}
		return cmp.Or(cmp.Compare(a.others, b.others), nearer, cmp.Compare(a.wayM, b.wayM))
	})
	var out []geo.Point
	for _, c := range found {
		out = append(out, c.at)
	}
	return out
}

// beyond goes from a place in a direction until the edge of s is need metres behind.
func beyond(s *geo.Shape, from geo.Point, bearingDeg, need float64) (geo.Point, bool) {
	gone := 0.0
	for range 200 {
		at := placeAt(from, bearingDeg, gone)
		edge := s.EdgeDistanceM(at) // no nearer edge is behind a place than this
		if edge >= need {
			return at, at.Validate() == nil
		}
		gone += max(need-edge, 1)
	}
	return geo.Point{}, false
}

// insideOf is a place inside s: want metres from the edge, or as deep as s is.
func insideOf(s *geo.Shape, want float64) (geo.Point, bool) {
	if s.IsCircle() {
		return placeAt(s.Center(), 0, max(0, s.RadiusM()-want)), true
	}
	var best geo.Point
	deepest := 0.0
	look := func(p geo.Point) {
		if p.Validate() != nil || !s.Contains(p) {
			return
		}
		if d := -s.EdgeDistanceM(p); d > deepest {
			best, deepest = p, d
		}
	}
	look(placeAt(s.Center(), 0, 0))
	for _, side := range []int{12, 96} { // the fine grid is for slivers
		for _, poly := range s.Polygons() {
			if len(poly) == 0 || deepest >= want {
				continue
			}
			low, high := boundsOf(poly[0])
			stepLat, stepLng := (high.Lat-low.Lat)/float64(side), (high.Lng-low.Lng)/float64(side)
			before := deepest
			for i := range side {
				for j := range side {
					look(placeAt(geo.Point{Lat: low.Lat + (float64(i)+0.5)*stepLat, Lng: low.Lng + (float64(j)+0.5)*stepLng}, 0, 0))
				}
			}
			for ; deepest > before && stepLat > 1e-6; stepLat, stepLng = stepLat/2, stepLng/2 {
				for turn, at := 0, best; turn < 9; turn++ {
					look(placeAt(geo.Point{Lat: at.Lat + float64(turn/3-1)*stepLat, Lng: at.Lng + float64(turn%3-1)*stepLng}, 0, 0))
				}
			}
		}
		if deepest > accuracyM {
			break
		}
	}
	return best, deepest > 0
}

// boundsOf is the box of a ring; over the antimeridian its longitudes go beyond 180.
func boundsOf(ring []geo.Point) (low, high geo.Point) {
	low, high = ring[0], ring[0]
	for _, p := range ring {
		p.Lng = ring[0].Lng + math.Remainder(p.Lng-ring[0].Lng, 360)
		low.Lat, low.Lng = min(low.Lat, p.Lat), min(low.Lng, p.Lng)
		high.Lat, high.Lng = max(high.Lat, p.Lat), max(high.Lng, p.Lng)
	}
	return low, high
}

// placeAt is geo.Offset, rounded as positions are sent.
func placeAt(p geo.Point, bearingDeg, metres float64) geo.Point {
	at := geo.Offset(p, bearingDeg, metres)
	return geo.Point{Lat: round7(at.Lat), Lng: round7(at.Lng)}
}

func round7(x float64) float64 { return math.Round(x*1e7) / 1e7 }
