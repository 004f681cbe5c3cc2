package track

import (
	"math"

	"footfall/fences"
	"footfall/geo"
)

// Tracker holds the state of the devices of one partition. It is for a single
// goroutine and never reads a clock. Memory is about 37 bytes for each device whose name packs to 8 bytes (Form), 45 with
// a UUID, and 24 more for each fence that the device is at; TestMemoryPerDevice holds the figures.
type Tracker struct {
	rules Rules
	table table
	names names

	set    *fences.Set // of the last Apply
	nearby nearby      // fences of set that need a search by distance
	usual  usual
	ready  usual // begun for the current set and the epoch of the last ping that came alone

	// Scratch of one Apply: here so that none of it is allocated for each ping.
	match   []int32
	matched bool // match is right for this input already: see ApplyBatch
	in      Fix
	lastAt  int64
	state   state
	step    step
	asked   state // of Presence and Encode, which may be called while a batch is applied
	name    [MaxDeviceIDLen]byte
	batch   batch
}

// New returns a tracker without devices. The rules should have passed
// Validate.
func New(r Rules) *Tracker { return &Tracker{rules: r, table: newTable(), usual: newUsual(&r)} }

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
	if len(id) == 0 || len(id) > MaxDeviceIDLen {
		res.reset()
		res.Verdict, res.Refusal = Refused, RefusalMalformed
		return
	}
	var k key
	t.table.keyOf(&k, id, t.name[:])
	i, known := t.table.find(&k)
	if !known {
		i = noRecord
	} else if t.applyUsual(set, i, &f, pos) {
		res.reset()
		res.Verdict, res.PrevFixedAt = Accepted, t.lastAt
		return
	}
	t.apply(set, i, func() DeviceID { return id }, &f, pos, res)
}

// applyUsual is usual.run for one ping. It leaves the time of the fix before in t.lastAt.
func (t *Tracker) applyUsual(set *fences.Set, i uint32, f *Fix, pos uint64) bool {
	if !t.usual.on || !f.HasPosition || f.Source > SourceSignificant || f.Skewed || f.Mock || f.FixedAt < UsualTimeFrom || f.FixedAt >= UsualTimeTo {
		return false
	}
	if set != t.set {
		t.use(set)
	}
	var in [1]Input
	x := &in[0]
	if x.Lat, x.Lng = RoundE7(f.Lat, f.Lng); x.Lat == NoE7 {
		return false
	}
	x.Pos, x.FixedAt, x.ReceivedAt, x.AccuracyM, x.SpeedMPS, x.Flags = pos, f.FixedAt, f.ReceivedAt, f.AccuracyM, f.SpeedMPS, InputPosition|InputUsual
	t.match = set.Match(t.match[:0], geo.Point{Lat: f.Lat, Lng: f.Lng})
	if len(t.match) > 0 {
		return false
	}
	u := &t.ready
	if !u.on || pos&^posMask != u.from || u.bases != t.table.bases {
		*u = t.usual
		u.begin(t, pos)
	}
	r := t.table.rec(i)
	t.lastAt = u.bases.time + int64(r.since())
	return u.on && t.nearby.usual(u, in[:], []*record{r}) == 1
}

const noRecord = ^uint32(0)

// apply is Apply for the device with record i, or noRecord. id is asked only then.
func (t *Tracker) apply(set *fences.Set, i uint32, id func() DeviceID, f *Fix, pos uint64, res *Result) {
	res.reset()
	d := &t.state
	if i != noRecord {
		t.table.load(i, d)
		if pos <= d.pos {
			res.Verdict = Replayed
			return
		}
		if d.withdrawn { // whatever it says: nothing is looked at, and nothing kept
			res.Verdict = NoConsent
			return
		}
	} else {
		*d = state{posLag: noPosition, visits: d.visits[:0]}
	}
	d.pos = pos
	t.in = *f
	if res.Refusal = CheckFix(&t.in, &t.rules); res.Refusal != "" {
		res.Verdict = Refused
		if i != noRecord {
			t.table.save(i, d, true)
		}
		return
	}
	if set != t.set {
		t.use(set)
	}
	seen, before := d.seen, d.lastAt
	t.step = step{t: t, d: d, f: &t.in, res: res}
	s := &t.step
	if t.rules.Plain {
		res.Verdict = s.plain()
	} else {
		res.Verdict = s.gate()
	}
	if seen && res.Verdict == Accepted {
		res.PrevFixedAt = before
		res.Visiting = d.visitingSince(before)
	}
	sortTransitions(res.Transitions)
	// Only now: a panic above leaves the device as it was.
	if i == noRecord {
		i = t.table.insert(id())
	}
	t.table.save(i, d, true)
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
	t.ready = usual{}
	t.names.use(set)
	t.nearby.build(set, &t.rules)
}

// Dirty appends the ids of the devices whose rows have changed since they were
// marked clean, in no special order. It allocates each id, and looks at every device: 2 ns for one that is clean.
func (t *Tracker) Dirty(dst []DeviceID) []DeviceID { return t.table.appendDirty(dst) }

// MarkClean says that the device's row, as Encode gives it now, is stored.
func (t *Tracker) MarkClean(id DeviceID) {
	if i, ok := t.table.findID(id); ok {
		t.table.markClean(i)
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
	d   *state // of the device; becomes what it is after f
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
	d, f := s.d, s.f
	if d.seen && f.FixedAt < d.lastAt {
		return Late
	}
	if !f.HasPosition {
		return s.word()
	}
	here := placeOf(f)
	s.hasPrev = d.posLag != noPosition
	s.prev = quarantine{at: d.lastAt - int64(d.posLag), place: d.place}
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

	waiting := d.hasQ
	if waiting && d.q.at == f.FixedAt {
		// A repeat of the doubtful fix is not the next fix that agrees with it.
		switch {
		case here.samePoint(d.q.place):
			return Duplicate
		case !better(here.acc, d.q.acc):
			return SameTime
		}
	}
	switch {
	case !s.hasPrev || s.plausible(s.prev, here):
	case waiting && d.q.at < f.FixedAt && s.plausible(d.q, here):
		// Two fixes in a row tell of the same move: it happened. The first
		// counts as the device's last place, without transitions of its own.
		s.prev, s.via = d.q, d.q.at
	default:
		d.q, d.hasQ = quarantine{at: f.FixedAt, place: here}, true
		return Quarantined
	}
	d.q, d.hasQ = quarantine{}, false
	return s.believe(here)
}

// believe evaluates a fix and makes it the device's last.
func (s *step) believe(here place) Verdict {
	d, f := s.d, s.f
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
	d.lastAt, d.posLag, d.place, d.gen, d.seen = f.FixedAt, 0, here, s.t.set.Gen(), true
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
	return place{lat: roundE7(f.Lat), lng: roundE7(f.Lng), acc: f.AccuracyM}
}

func (p place) point() geo.Point {
	return geo.Point{Lat: float64(p.lat) / degE7, Lng: float64(p.lng) / degE7}
}

func (p place) samePoint(q place) bool { return p.lat == q.lat && p.lng == q.lng }

// better reports whether accuracy a is better than b; unknown is the worst.
func better(a, b float32) bool { return a != 0 && (b == 0 || a < b) }
