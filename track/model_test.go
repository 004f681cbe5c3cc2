package track_test

import (
	"cmp"
	"fmt"
	"slices"

	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// model is a second, slow opinion on what fixes mean. It is written the other
// way round than the Tracker: it keeps a state for every device and every fence
// there ever was, asks every fence about every fix, knows no index and no rows,
// and works with the fixes themselves. It expects fixes at whole 1e-7 degrees.
type model struct {
	rules   track.Rules
	devices map[track.DeviceID]*modelDevice
}

type modelDevice struct {
	pos     uint64
	alive   int64      // time of the last accepted input, 0 = none
	at      *track.Fix // last believed position
	suspect *track.Fix
	lastGen uint32
	fences  map[fences.ID]*modelFence
}

// modelFence is a device's relation to one fence.
type modelFence struct {
	name    fences.ID
	phase   string  // "", "vague", "waiting", "in", "lost"
	away    []int64 // fix times clearly outside since the last one inside
	since   int64
	seenAt  int64
	why     track.Reason
	shape   uint32
	dwelled bool
	told    map[track.NoteKind]bool
}

func newModel(r track.Rules) *model {
	return &model{rules: r, devices: map[track.DeviceID]*modelDevice{}}
}

// answer is a Result in comparable words.
type answer struct {
	verdict track.Verdict
	trs     []string
	notes   []string
}

func (m *model) apply(set *fences.Set, id track.DeviceID, f track.Fix, pos uint64) answer {
	d := m.devices[id]
	if d != nil && pos <= d.pos {
		return answer{verdict: track.Replayed}
	}
	if track.CheckFix(&f, &m.rules) != "" {
		if d != nil {
			d.pos = pos
		}
		return answer{verdict: track.Refused}
	}
	if d == nil {
		d = &modelDevice{fences: map[fences.ID]*modelFence{}}
		m.devices[id] = d
	}
	d.pos = pos
	if d.alive != 0 && f.FixedAt < d.alive {
		return answer{verdict: track.Late}
	}
	if !f.HasPosition {
		return m.heard(set, d, f)
	}
	if d.at != nil && d.at.FixedAt == f.FixedAt {
		same := d.at.Lat == f.Lat && d.at.Lng == f.Lng
		if !same && sharper(&f, d.at) {
			return m.believed(set, d, f, 0)
		}
		if f.Source.OS() {
			f.HasPosition = false
			return m.heard(set, d, f)
		}
		if same {
			return answer{verdict: track.Duplicate}
		}
		return answer{verdict: track.SameTime}
	}
	if q := d.suspect; q != nil && q.FixedAt == f.FixedAt {
		if q.Lat == f.Lat && q.Lng == f.Lng {
			return answer{verdict: track.Duplicate}
		}
		if !sharper(&f, q) {
			return answer{verdict: track.SameTime}
		}
	}
	if d.at == nil || m.possible(d.at, &f) {
		return m.believed(set, d, f, 0)
	}
	if q := d.suspect; q != nil && q.FixedAt < f.FixedAt && m.possible(q, &f) {
		d.at = q
		return m.believed(set, d, f, q.FixedAt)
	}
	d.suspect = &f
	return answer{verdict: track.Quarantined}
}

// sharper: unknown accuracy loses against any.
func sharper(a, b *track.Fix) bool {
	if a.AccuracyM == 0 {
		return false
	}
	return b.AccuracyM == 0 || a.AccuracyM < b.AccuracyM
}

func (m *model) possible(a, b *track.Fix) bool {
	seconds := float64(b.FixedAt-a.FixedAt) / 1000
	if seconds < 0 {
		seconds = -seconds
	}
	slack := min(150, float64(a.AccuracyM)) + min(150, float64(b.AccuracyM))
	return geo.DistanceM(geo.Point{Lat: a.Lat, Lng: a.Lng}, geo.Point{Lat: b.Lat, Lng: b.Lng})-slack <= 90*seconds
}

// moment is one evaluated input.
type moment struct {
	m       *model
	f       track.Fix
	p, prev geo.Point
	hadPrev bool
	prevFix track.Fix
	gen     uint32
	out     []track.Transition
	notes   []string
}

func (m *model) silent(d *modelDevice, via, now int64) bool {
	if d.alive == 0 {
		return false
	}
	times := []int64{d.alive, now}
	if via > d.alive {
		times = []int64{d.alive, via, now}
	}
	for i := 1; i < len(times); i++ {
		if times[i]-times[i-1] > m.rules.PresenceTTL.Milliseconds() {
			return true
		}
	}
	return false
}

// tidy forgets fences that are gone and what a silence made doubtful.
func (d *modelDevice) tidy(set *fences.Set, o *moment, silent bool) {
	for id, s := range d.fences {
		if _, exists := set.Lookup(id); !exists {
			if s.phase == "in" {
				o.say(track.Exit, nil, s, track.FenceDeleted, o.f.FixedAt, 3)
			}
			delete(d.fences, id)
		} else if silent {
			switch s.phase {
			case "in":
				s.phase, s.seenAt, s.away = "lost", d.alive, nil
			case "vague", "waiting":
				delete(d.fences, id)
			}
		}
	}
	for i := range int32(set.Len()) {
		if id := set.At(i).ID; d.fences[id] == nil {
			d.fences[id] = &modelFence{name: id, told: map[track.NoteKind]bool{}}
		}
	}
}

func (m *model) believed(set *fences.Set, d *modelDevice, f track.Fix, via int64) answer {
	o := &moment{m: m, f: f, p: geo.Point{Lat: f.Lat, Lng: f.Lng}, gen: d.lastGen}
	if d.at != nil {
		o.hadPrev, o.prevFix = true, *d.at
		o.prev = geo.Point{Lat: d.at.Lat, Lng: d.at.Lng}
	}
	d.tidy(set, o, m.silent(d, via, f.FixedAt))
	var named *fences.Fence
	if f.Source.OS() && f.Fence != "" {
		named = o.named(set)
	}
	for i := range int32(set.Len()) {
		if fence := set.At(i); fence != named {
			o.judge(fence, d.fences[fence.ID])
		}
	}
	if named != nil {
		o.told(named, d.fences[named.ID])
	}
	if d.suspect != nil && d.at != nil {
		// Believing a fix settles the suspect, except at the very same time.
		if d.at.FixedAt != f.FixedAt {
			d.suspect = nil
		}
	}
	d.alive, d.at, d.lastGen = f.FixedAt, &f, set.Gen()
	return o.answer(track.Accepted)
}

func (m *model) heard(set *fences.Set, d *modelDevice, f track.Fix) answer {
	if f.Fence == "" {
		return answer{verdict: track.Duplicate}
	}
	o := &moment{m: m, f: f}
	d.tidy(set, o, m.silent(d, 0, f.FixedAt))
	changed := false
	if fence := o.named(set); fence != nil {
		changed = o.told(fence, d.fences[fence.ID])
	}
	verdict := track.Accepted
	if d.alive == f.FixedAt && !changed && len(o.out) == 0 && len(o.notes) == 0 {
		verdict = track.Duplicate
	}
	d.alive = f.FixedAt
	return o.answer(verdict)
}

func (o *moment) named(set *fences.Set) *fences.Fence {
	f, ok := set.Lookup(fences.ID(o.f.Fence))
	if !ok {
		o.notes = append(o.notes, "unknown_fence "+o.f.Fence)
		return nil
	}
	return f
}

func (o *moment) accuracy() float64 { return float64(o.f.AccuracyM) }

func (o *moment) ceiling(f *fences.Fence) float64 {
	if f.MaxAccuracyM != 0 {
		return f.MaxAccuracyM
	}
	return max(50, f.Shape.SizeM()/2)
}

// judge compares the position with one fence.
func (o *moment) judge(f *fences.Fence, s *modelFence) {
	r := &o.m.rules
	edge := f.Shape.EdgeDistanceM(o.p)
	contained := f.Shape.Contains(o.p)
	margin := f.ExitMarginM
	if margin == 0 {
		margin = max(20, f.Shape.SizeM()/10)
	}
	far := !contained && edge > margin+min(150, o.accuracy()) && !(o.accuracy() > 500 && edge <= o.accuracy())
	usable := o.accuracy() <= o.ceiling(f)
	inside := contained || r.BufferEntries && o.accuracy() > 0 && edge <= min(150, o.accuracy())

	switch s.phase {
	case "":
		if contained || inside && usable {
			why := track.Reason(0)
			if !o.hadPrev {
				why = track.Initial
			} else if f.ShapeGen > o.gen && f.Shape.Contains(o.prev) {
				why = track.FenceChanged
				if f.CreatedGen > o.gen {
					why = track.FenceCreated
				}
			}
			if usable {
				o.start(f, s, why)
			} else {
				s.phase, s.why, s.since = "vague", why, o.f.FixedAt
				o.tell(s, track.AccuracyTooPoor)
			}
			return
		}
	case "vague":
		if inside && usable {
			o.start(f, s, s.why)
		} else if far || !inside && usable {
			s.reset()
		}
	case "waiting":
		if far {
			s.reset()
		} else if inside && !usable {
			o.tell(s, track.AccuracyTooPoor)
		} else if inside && o.f.FixedAt-s.since >= o.minStay(f) {
			o.enter(f, s)
			o.dwell(f, s)
		}
	case "in":
		if far {
			why := track.Reason(0)
			if s.shape != f.ShapeGen && o.hadPrev && !f.Shape.Contains(o.prev) {
				why = track.FenceChanged
			}
			o.leave(f, s, why)
		} else if contained {
			s.shape, s.away = f.ShapeGen, nil
			if usable {
				o.dwell(f, s)
			}
		} else if o.accuracy() > 500 && edge <= o.accuracy() {
			o.tell(s, track.ExitAccuracyTooPoor)
		} else {
			o.tell(s, track.InsideMargin)
		}
	case "lost":
		if far {
			if r.InferExit {
				o.exit(f, s, track.Resumed|track.Inferred, s.seenAt)
			}
			s.reset()
		} else if inside && usable {
			o.start(f, s, track.Resumed)
		} else if inside {
			o.tell(s, track.AccuracyTooPoor)
		}
	}
	if s.phase != "" || slices.ContainsFunc(o.out, func(t track.Transition) bool { return t.FenceID == f.ID }) {
		return
	}
	if o.hadPrev && (f.Crossed || r.Crossed) && !contained && !f.Shape.Contains(o.prev) && usable &&
		float64(o.prevFix.AccuracyM) <= o.ceiling(f) && o.f.FixedAt > o.prevFix.FixedAt &&
		o.f.FixedAt-o.prevFix.FixedAt <= 120_000 && f.Shape.Crosses(o.prev, o.p) {
		s.since = o.f.FixedAt
		o.say(track.Crossed, f, s, 0, o.f.FixedAt, 2)
	}
}

func (o *moment) minStay(f *fences.Fence) int64 {
	return cmp.Or(f.MinStay, o.m.rules.MinStay).Milliseconds()
}

func (o *moment) start(f *fences.Fence, s *modelFence, why track.Reason) {
	s.since, s.why, s.dwelled, s.shape = o.f.FixedAt, why, false, f.ShapeGen
	initial := o.m.rules.Initial
	if f.Initial != nil {
		initial = *f.Initial
	}
	if why&track.Initial != 0 && !initial {
		s.phase = "in"
		o.notes = append(o.notes, "initial_off "+string(f.ID))
		return
	}
	if o.minStay(f) > 0 {
		s.phase = "waiting"
		o.tell(s, track.PendingMinStay)
		return
	}
	o.enter(f, s)
}

func (o *moment) enter(f *fences.Fence, s *modelFence) {
	o.say(track.Enter, f, s, s.why, s.since, 0)
	s.phase, s.shape, s.why = "in", f.ShapeGen, 0
}

func (o *moment) leave(f *fences.Fence, s *modelFence, why track.Reason) {
	if len(s.away) == 0 {
		s.why = why
	}
	s.away = append(s.away, o.f.FixedAt)
	if first := s.away[0]; o.f.FixedAt < first+cmp.Or(f.MinAway, o.m.rules.MinAway).Milliseconds() {
		o.tell(s, track.PendingMinAway)
	} else {
		o.exit(f, s, s.why, first)
	}
}

func (o *moment) exit(f *fences.Fence, s *modelFence, why track.Reason, at int64) {
	o.say(track.Exit, f, s, why, at, 0)
	s.reset()
}

func (o *moment) dwell(f *fences.Fence, s *modelFence) {
	d := cmp.Or(f.Dwell, o.m.rules.Dwell).Milliseconds()
	if d > 0 && !s.dwelled && o.f.FixedAt >= s.since+d {
		s.dwelled = true
		o.say(track.Dwell, f, s, 0, o.f.FixedAt, 0)
	}
}

func (s *modelFence) reset() {
	*s = modelFence{name: s.name, told: map[track.NoteKind]bool{}}
}

// told applies the phone's own transition.
func (o *moment) told(f *fences.Fence, s *modelFence) (changed bool) {
	phase := s.phase
	switch o.f.Source {
	case track.SourceOSExit:
		if phase == "in" || phase == "lost" {
			at := o.f.FixedAt
			if len(s.away) > 0 {
				at = s.away[0]
			}
			o.say(track.Exit, f, s, track.Device, at, 2)
		}
		s.reset()
		return phase != ""
	default:
		dwelled, away := s.dwelled, s.away
		s.away = nil
		switch phase {
		case "", "vague":
			o.start(f, s, track.Device)
		case "lost":
			o.start(f, s, track.Device|track.Resumed)
		}
		if o.f.Source == track.SourceOSDwell {
			if s.phase == "waiting" {
				s.why |= track.Device
				o.enter(f, s)
			}
			if !s.dwelled {
				s.dwelled = true
				o.say(track.Dwell, f, s, track.Device, o.f.FixedAt, 2)
			}
		}
		return phase != s.phase || dwelled != s.dwelled || len(away) > 0
	}
}

func (o *moment) tell(s *modelFence, k track.NoteKind) {
	if !s.told[k] {
		s.told[k] = true
		o.notes = append(o.notes, k.String()+" "+string(s.name))
	}
}

// say records a transition; confidence 0 asks for the rule.
func (o *moment) say(k track.Kind, f *fences.Fence, s *modelFence, why track.Reason, at int64, confidence uint8) {
	if o.f.ReceivedAt-o.f.FixedAt > 600_000 {
		why |= track.Stale
	}
	if o.f.Skewed {
		why |= track.Skewed
	}
	if confidence == 0 {
		confidence = 2
		if o.f.HasPosition && string(f.ID) != o.f.Fence {
			edge, a := f.Shape.EdgeDistanceM(o.p), o.accuracy()
			switch {
			case k == track.Exit && a > 0 && edge > a, k != track.Exit && a > 0 && edge <= -a:
				confidence = 3
			case k != track.Exit && edge > 0:
				confidence = 1
			}
		}
	}
	o.out = append(o.out, track.Transition{Kind: k, Fence: f, FenceID: s.name, Reason: why, At: at,
		ConfirmedAt: o.f.FixedAt, Confidence: confidence, EnteredAt: s.since})
}

func (o *moment) answer(v track.Verdict) answer {
	order := func(t track.Transition) float64 {
		group := map[track.Kind]float64{track.Exit: 0, track.Enter: 1e15, track.Dwell: 2e15, track.Crossed: 3e15}[t.Kind]
		if t.Fence != nil {
			group += t.Fence.Shape.AreaM2()
		}
		return group
	}
	slices.SortFunc(o.out, func(a, b track.Transition) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.FenceID, b.FenceID))
	})
	a := answer{verdict: v, notes: o.notes}
	for i := range o.out {
		a.trs = append(a.trs, say(&o.out[i]))
	}
	slices.Sort(a.notes)
	return a
}

func say(t *track.Transition) string {
	return fmt.Sprintf("%v %s [%v] at=%d confirmed=%d since=%d confidence=%d", t.Kind, t.FenceID, t.Reason, t.At, t.ConfirmedAt, t.EnteredAt, t.Confidence)
}

func answerOf(r *track.Result) answer {
	a := answer{verdict: r.Verdict}
	for i := range r.Transitions {
		a.trs = append(a.trs, say(&r.Transitions[i]))
	}
	for _, n := range r.Notes {
		a.notes = append(a.notes, n.Kind.String()+" "+string(n.FenceID))
	}
	slices.Sort(a.notes)
	return a
}

func (a answer) equal(b answer) bool {
	return a.verdict == b.verdict && slices.Equal(a.trs, b.trs) && slices.Equal(a.notes, b.notes)
}
