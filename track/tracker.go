package track

import (
	"math"

	"footfall/fences"
	"footfall/geo"
)

// Tracker holds the state of the devices of one partition. It is for a single
// goroutine and never reads a clock. Memory is about 105 bytes for each device
// with an id of 21 bytes (48 of them the record), and about 150 more while the
// device is at a fence; TestMemoryPerDevice holds the figure.
type Tracker struct {
	rules Rules
	table table
	names names

	set    *fences.Set // of the last Apply
	nearby nearby      // fences of set that need a search by distance

	// Scratch of one Apply: here so that none of it is allocated for each ping.
	match   []int32
	matched bool // match is right for this input already: see ApplyBatch
	in      Fix
	step    step
}

// New returns a tracker without devices. The rules should have passed
// Validate.
func New(r Rules) *Tracker { return &Tracker{rules: r, table: newTable()} }

// Apply takes one input of a device: what became of it, the transitions it made
// and why it made none are left in res. The set may change from call to call;
// each call uses one set from start to end. set must not be nil and f is judged
// by CheckFix first.
//
// pos is the position of the input in the device's log and must rise; an input
// at or below the position the device has already applied is Replayed and
// changes nothing. So a log may be read again from an earlier point.
//
// Apply does not allocate for a fix that makes no transition and leaves the
// device's fences as they are, once res has room.
func (t *Tracker) Apply(set *fences.Set, id DeviceID, f Fix, pos uint64, res *Result) {
	t.apply(set, id, t.table.hash(id), &f, pos, res)
}

// apply is Apply for an id whose hash is known. It leaves f as it is.
func (t *Tracker) apply(set *fences.Set, id DeviceID, hash uint32, f *Fix, pos uint64, res *Result) {
	res.reset()
	i, known := t.table.lookup(id, hash)
	if known && pos <= t.table.recs[i].pos {
		res.Verdict = Replayed
		return
	}
	t.in = *f
	res.Refusal = CheckFix(&t.in, &t.rules)
	if len(id) == 0 || len(id) > MaxDeviceIDLen {
		res.Refusal = RefusalMalformed
	}
	if res.Refusal != "" {
		res.Verdict = Refused
		if known {
			t.table.recs[i].pos = pos
			t.table.markDirty(i)
		}
		return
	}
	if set != t.set {
		t.use(set)
	}
	if !known {
		i = t.table.insert(id)
	}
	t.table.markDirty(i)
	r := &t.table.recs[i]
	r.pos = pos
	seen, before := r.flags&recSeen != 0, r.lastAt
	t.step = step{t: t, r: r, f: &t.in, res: res}
	s := &t.step
	if t.rules.Plain {
		res.Verdict = s.plain()
	} else {
		res.Verdict = s.gate()
	}
	if seen && res.Verdict == Accepted {
		res.PrevFixedAt = before
		res.Visiting = t.table.visitingSince(r, before)
	}
	t.table.trim(r)
	sortTransitions(res.Transitions)
}

// matches are the fences of the current set that contain p, ascending; good until the
// next call.
func (t *Tracker) matches(p geo.Point) []int32 {
	if !t.matched {
		t.match = t.set.Match(t.match[:0], p)
	}
	return t.match
}

// use makes set the current one.
func (t *Tracker) use(set *fences.Set) {
	t.set = set
	t.names.use(set)
	t.nearby.build(set, &t.rules)
}

// Dirty appends the ids of the devices whose rows have changed since they were
// marked clean, in the order in which they first changed. It allocates each id.
func (t *Tracker) Dirty(dst []DeviceID) []DeviceID { return t.table.appendDirty(dst) }

// MarkClean says that the device's row, as Encode gives it now, is stored.
func (t *Tracker) MarkClean(id DeviceID) {
	if i, ok := t.table.find(id); ok {
		t.table.recs[i].flags &^= recDirty
	}
}

// Forget erases everything known about a device, its log position included.
// The caller erases the stored row.
func (t *Tracker) Forget(id DeviceID) { t.table.remove(id) }

// Len returns the number of devices.
func (t *Tracker) Len() int { return t.table.n }

// step is one Apply on its way: the input, the device, and what the device's
// state was before.
type step struct {
	t   *Tracker
	r   *record
	f   *Fix
	res *Result

	p   geo.Point // of f
	acc float64   // of f in metres; 0 = unknown

	prev    quarantine // the last believed position before f
	hasPrev bool
	first   bool  // no position was believed before f
	via     int64 // time of the quarantined fix that f made believable; 0 = none
	silent  bool  // PresenceTTL passed before f
	named   *fences.Fence
}

// gate decides whether an input is believed, and evaluates it when it is.
func (s *step) gate() Verdict {
	r, f := s.r, s.f
	seen := r.flags&recSeen != 0
	if seen && f.FixedAt < r.lastAt {
		return Late
	}
	if !f.HasPosition {
		return s.word()
	}
	here := placeOf(f)
	s.hasPrev = r.posLag != noPosition
	s.prev = quarantine{at: r.lastAt - int64(r.posLag), place: r.place}
	s.first = !s.hasPrev

	if s.hasPrev && s.prev.at == f.FixedAt {
		switch {
		case !here.samePoint(s.prev.place) && better(here.acc, s.prev.acc):
			// The better of two fixes at one time replaces the first; no speed
			// can be derived from them.
			return s.believe(here)
		case f.Source.OS():
			return s.word() // the place is known already, the phone's word may not be
		case here.samePoint(s.prev.place):
			return Duplicate
		default:
			return SameTime
		}
	}

	x := s.t.table.extraOf(r, false)
	waiting := x != nil && x.hasQ
	if waiting && x.q.at == f.FixedAt {
		// A repeat of the doubtful fix is not the next fix that agrees with it.
		switch {
		case here.samePoint(x.q.place):
			return Duplicate
		case !better(here.acc, x.q.acc):
			return SameTime
		}
	}
	switch {
	case !s.hasPrev || s.plausible(s.prev, here):
	case waiting && x.q.at < f.FixedAt && s.plausible(x.q, here):
		// Two fixes in a row tell of the same move: it happened. The first
		// counts as the device's last place, without transitions of its own.
		s.prev, s.via = x.q, x.q.at
	default:
		x = s.t.table.extraOf(r, true)
		x.q, x.hasQ = quarantine{at: f.FixedAt, place: here}, true
		return Quarantined
	}
	if waiting {
		x.hasQ = false
	}
	return s.believe(here)
}

// believe evaluates a fix and makes it the device's last.
func (s *step) believe(here place) Verdict {
	r, f := s.r, s.f
	s.p = geo.Point{Lat: f.Lat, Lng: f.Lng}
	s.acc = float64(f.AccuracyM)
	if f.Source.OS() && f.Fence != "" {
		s.named = s.lookup()
	}
	s.settle()
	s.evaluate()
	if s.named != nil {
		s.obey()
	}
	r.lastAt, r.posLag, r.place, r.gen = f.FixedAt, 0, here, s.t.set.Gen()
	r.flags |= recSeen
	return Accepted
}

// gap reports whether a device was silent for PresenceTTL from one time to
// another.
func (s *step) gap(from, to int64) bool { return to-from > s.t.rules.PresenceTTL.Milliseconds() }

// plausible reports whether a device can have come from one place to another
// at no more than MaxSpeedMPS.
func (s *step) plausible(from quarantine, to place) bool {
	rules := &s.t.rules
	if rules.MaxSpeedMPS == 0 {
		return true
	}
	dt := math.Abs(float64(s.f.FixedAt-from.at)) / 1000
	reach := rules.MaxSpeedMPS*dt + min(float64(from.acc), rules.ExitAccuracyCapM) + min(float64(to.acc), rules.ExitAccuracyCapM)
	// Fast path: an upper bound of the distance. A degree of latitude is at most
	// 111,694 m on WGS84 and a degree of longitude at most 111,320 m.
	dLat := math.Abs(float64(to.lat)-float64(from.lat)) / degE7
	dLng := math.Abs(float64(to.lng)-float64(from.lng)) / degE7
	dLng = min(dLng, 360-dLng)
	if 111_695*dLat+111_320*dLng <= reach {
		return true
	}
	return geo.DistanceM(from.point(), to.point()) <= reach
}

const degE7 = 1e7

func placeOf(f *Fix) place {
	return place{lat: int32(math.Round(f.Lat * degE7)), lng: int32(math.Round(f.Lng * degE7)), acc: f.AccuracyM}
}

func (p place) point() geo.Point {
	return geo.Point{Lat: float64(p.lat) / degE7, Lng: float64(p.lng) / degE7}
}

func (p place) samePoint(q place) bool { return p.lat == q.lat && p.lng == q.lng }

// better reports whether accuracy a is better than b; unknown is the worst.
func better(a, b float32) bool { return a != 0 && (b == 0 || a < b) }
