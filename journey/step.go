package journey

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/track"
)

// Kinds of input.
const (
	Enter      InputKind = iota + 1 // into a run that is new
	Timer                           // a wait is over
	Event                           // a customer event
	Transition                      // at a fence
	Opened                          // a push of the journey
	Answered                        // a call of the journey: it is delivered, or will not be
	Membered                        // a segment has been joined or left
)

// InputKind says what has happened.
type InputKind uint8

// Input is something that has happened to a person. Times are Unix ms.
type Input struct {
	Kind InputKind
	ID   string // of this one happening; the same when it is put in again
	At   int64  // when it happened; of a Timer, when it was due; of an Enter that is ahead, when the way begins

	Name  string         // of an Event
	Props map[string]any // likewise; not changed

	Transition track.Kind
	Fence      string
	Tags       []string // of the fence

	Step   string // of an Opened and an Answered: whose push or call it was
	SentAt int64  // likewise: when it was decided; one of an earlier run does not count
	OK     bool   // of an Answered: it is delivered; of a Membered: it is joined
	Watch  string // of a Membered: the Watch's id
}

// Facts are what steps may ask about the person.
type Facts struct {
	Profile *audience.Profile // never nil
	Events  []audience.Event  // when [Journey.Needs] says so
	Visits  []audience.Visit
	// Winner is the arm that an experiment's step has settled on; nil or "": none yet.
	Winner func(step string) string
	// BestTime is when the best hour of a schedule comes next for the person, and why it is the best; nil: where its window
	// begins.
	BestTime func(*campaign.Schedule) (at time.Time, why string)
	// Hold: the journey is paused. Nobody moves on; what happens meanwhile is remembered.
	Hold bool
	// Store is the time zone of the fence by which somebody may enter; nil: there is none.
	Store *time.Location
}

// Run is one person's way through a journey. The zero Run is of somebody who has not been in it. Times are Unix ms.
// Maps and slices are not shared between runs.
type Run struct {
	Device   string            `json:"d"`           // that pushes go to: the one by which the person entered
	Revision string            `json:"r"`           // of the journey
	N        int               `json:"n"`           // the person's first run, second, …
	By       string            `json:"i"`           // what let the person in: the same whenever that is settled, see enteredBy
	Entered  int64             `json:"e"`           // by the gateway's clock
	Earlier  []int64           `json:"y,omitempty"` // when earlier runs were entered, the oldest first, as far as [Reentry] counts them
	From     int64             `json:"b"`           // when what let the person in happened: what is older does not count
	At       string            `json:"s,omitempty"` // the step at which it waits; start before the first; "" when it has ended
	Since    int64             `json:"t,omitempty"` // when it came there
	Due      int64             `json:"u,omitempty"` // when the wait ends; 0: never, or ended
	Got      string            `json:"g,omitempty"` // the branch that has been triggered and is taken when Due has come
	Cause    string            `json:"c,omitempty"` // id of the last input that changed it
	Entry    map[string]any    `json:"p,omitempty"` // plain properties of the event that it began with
	Fence    string            `json:"f,omitempty"` // at which it began
	Arms     map[string]string `json:"a,omitempty"` // experiment's step -> arm
	Path     []Mark            `json:"h,omitempty"` // the steps that it has taken, the last maxPath
	Opened   []string          `json:"q,omitempty"` // the push steps whose pushes have been opened
	Goal     bool              `json:"o,omitempty"` // reached
	Goals    []string          `json:"l,omitempty"` // the others that have been reached, by name
	Ended    int64             `json:"x,omitempty"`
	Why      string            `json:"w,omitempty"` // it ended
}

// Mark is one step that a run has taken, and what came of it.
type Mark struct {
	Step string `json:"s"`
	At   int64  `json:"t"`
	Note string `json:"n,omitempty"`
}

// maxPath bounds what is kept of a run's way, and maxEntry its properties.
const (
	maxPath       = 32
	maxEntryProps = 24
)

// answerLate is how long after the end of a call's worth a run still waits to hear what became of it: the outbox says so
// before, and this is for one that it could not say.
const answerLate = 5 * time.Minute

// start is where a run waits whose schedule lets it in later.
const start = "start"

// Why a run ended.
const (
	WhyFinished = "finished" // no more steps
	WhyGoal     = "goal"
	WhyExit     = "exit"
	WhyStopped  = "stopped"
	WhyNoDate   = "no_date"   // a wait for a day that is not written
	WhyNoStep   = "step_gone" // it waits at a step that its version does not have
	WhySignedIn = "signed_in" // as somebody who is or has been in it by another device
	// WhyNoConsent: the device by which the person entered at a fence may not be followed any more.
	WhyNoConsent = "location_consent_withdrawn"
)

// Active reports whether the run is under way.
func (r *Run) Active() bool { return r.Entered != 0 && r.Ended == 0 }

// EffectKind says what a step wants done.
type EffectKind uint8

// Kinds of effects.
const (
	Push    EffectKind = iota + 1 // the push of Step is owed
	SetTag                        // the device's tag Name becomes Value; nil removes it
	Emit                          // Name is to be published
	Webhook                       // the call of Step is owed
	Count                         // Name is counted
)

// Effect is something that a step wants done, in the transaction that keeps the run.
type Effect struct {
	Kind  EffectKind
	Step  string
	Name  string
	Value any
}

// MayEnter says why somebody with this run (the zero Run: none) may not enter at a time (Unix ms); "" when they may. store is
// the time zone of the fence at hand; nil: there is none.
func (j *Journey) MayEnter(r *Run, at int64, store *time.Location) string {
	switch {
	case r.Active():
		return "active"
	case r.Entered == 0:
		return ""
	case j.Reentry.Never:
		return "once"
	case at < r.Entered+j.Reentry.After.Milliseconds():
		return "too_soon"
	case j.Reentry.Day && sameDay(r.Entered, at, cmp.Or(store, j.zone, time.UTC)):
		return "today"
	case j.Reentry.Max > 0 && len(j.entries(r, at)) >= j.Reentry.Max:
		return "too_often"
	}
	return ""
}

// entries are the entries of a run and those before it that count at a time, the oldest first.
func (j *Journey) entries(r *Run, at int64) []int64 {
	if r.Entered == 0 || j.Reentry.Max == 0 {
		return nil
	}
	all := append(slices.Clone(r.Earlier), r.Entered)
	all = slices.DeleteFunc(all, func(t int64) bool { return t <= at-j.Reentry.Per.Milliseconds() })
	return all[max(0, len(all)-j.Reentry.Max):] // an edit may have lowered it
}

func sameDay(a, b int64, loc *time.Location) bool {
	y1, m1, d1 := time.UnixMilli(a).In(loc).Date()
	y2, m2, d2 := time.UnixMilli(b).In(loc).Date()
	return d1 == d2 && m1 == m2 && y1 == y2
}

// Step moves a run on: in is what happened, and now (Unix ms) the time of it all. It is pure: the same arguments give the
// same run and the same effects, and r is left as it is. An input that does not concern the run, and one that it has
// seen, changes nothing; changed is then false. A run that is not at a step of j ends.
func (j *Journey) Step(r Run, in Input, f Facts, now int64) (_ Run, effects []Effect, changed bool) {
	s := stepper{j: j, r: r, in: &in, f: &f, now: now}
	if !s.take() {
		return r, nil, false
	}
	s.r.Cause = cmp.Or(in.ID, s.r.Cause)
	return s.r, s.effects, true
}

// enteredBy names an entry by the id of its input, shortened. What a run owes is named by it, and not by a clock, so that the
// same input owes the same. Two entries of one person into one journey have the same name once in 2^64.
func enteredBy(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:8])
}

type stepper struct {
	j       *Journey
	r       Run
	in      *Input
	f       *Facts
	now     int64
	effects []Effect
	copied  bool // the run's slices and maps are its own
}

// take does with the run what the input says; false when that is nothing.
func (s *stepper) take() bool {
	r := &s.r
	if s.in.Kind == Enter {
		if s.j.MayEnter(r, s.now, s.f.Store) != "" {
			return false
		}
		*r = Run{
			Device: s.f.Profile.Device, Revision: s.j.Revision, N: r.N + 1, By: enteredBy(s.in.ID), Entered: s.now, From: min(s.in.At, s.now), Since: s.now,
			Fence: s.in.Fence, Entry: keptProps(s.in.Props), Earlier: s.j.entries(r, s.now),
		}
		s.count("entered")
		if s.in.At > s.now { // scheduled for later, by the person's own clock
			r.At, r.Due = start, s.in.At
			return true
		}
		s.run(0)
		return true
	}
	if !r.Active() || s.in.ID != "" && s.in.ID == r.Cause {
		return false
	}
	counted, ends := s.goals()
	if ends {
		s.mark(r.At, "goal")
		s.end(WhyGoal)
		return true
	}
	return s.move() || counted
}

// move is take for a run that stays under way.
func (s *stepper) move() bool {
	r := &s.r
	if r.At == start {
		if s.in.Kind != Timer || s.now < r.Due {
			return false
		}
		s.run(0)
		return true
	}
	i, ok := s.j.byID[r.At]
	if !ok {
		s.end(WhyNoStep)
		return true
	}
	if s.in.Kind == Opened {
		if s.in.SentAt < r.Entered || slices.Contains(r.Opened, s.in.Step) {
			return false
		}
		s.own()
		r.Opened = append(slices.Clip(r.Opened), s.in.Step)
		s.count("opened." + s.in.Step)
		s.await(&s.j.steps[i])
		return true
	}
	switch st := &s.j.steps[i]; {
	case s.in.Kind == Timer:
		if s.now < r.Due || r.Due == 0 {
			return false
		}
		next := st.next
		switch st.kind {
		case stepWaitFor:
			next = s.branch(st, cmp.Or(r.Got, notTriggered))
		case stepWebhook:
			next = s.branch(st, cmp.Or(r.Got, undelivered))
		}
		s.run(next)
		return true
	case s.in.Kind == Answered:
		if st.kind != stepWebhook || st.id != s.in.Step || s.in.SentAt < r.Entered || r.Got != "" {
			return false
		}
		name := undelivered
		if s.in.OK {
			name = delivered
		}
		s.triggered(st, name)
		return true
	case s.in.At >= r.From:
		return s.await(st)
	}
	return false
}

// await takes the branch of a wait_for that the input triggers; false when there is none, or one has been triggered.
func (s *stepper) await(st *step) bool {
	r := &s.r
	if st.kind != stepWaitFor || r.Got != "" {
		return false
	}
	for k := range st.branches {
		b := &st.branches[k]
		if b.name == notTriggered || !b.match.happens(s.in, r.Entry) && !(s.in.Kind == Transition && b.match.already(nil, s.f, s.now)) {
			continue
		}
		s.triggered(st, b.name)
		return true
	}
	return false
}

// triggered takes a branch of a step that waits, or notes that it is to be taken.
func (s *stepper) triggered(st *step, name string) {
	switch {
	case st.full:
		s.r.Got = name
	case s.f.Hold: // taken when the journey goes on
		s.r.Got, s.r.Due = name, s.now
	default:
		s.run(s.branch(st, name))
	}
}

// already is the branch of a wait_for that need not be waited for when the run comes there: its push has been opened, or the
// person is where it wants them; "" when there is none.
func (s *stepper) already(st *step) string {
	for i := range st.branches {
		if st.branches[i].match.already(s.r.Opened, s.f, s.now) {
			return st.branches[i].name
		}
	}
	return ""
}

// goals counts the goals that the input reaches, each once a run. ends: one of them is the end of the run.
func (s *stepper) goals() (counted, ends bool) {
	r := &s.r
	if s.in.Kind == Timer || s.in.At < r.From {
		return false, false
	}
	if g := s.j.Goal; g != nil && g.happens(s.in, r.Entry) {
		if ends = !g.Stay; !r.Goal {
			r.Goal, counted = true, true
			s.count("goal")
			for _, step := range sortedNames(r.Arms) {
				s.count(armCount("goal", step, r.Arms[step]))
			}
		}
	}
	for i := range s.j.Goals {
		g := &s.j.Goals[i]
		if !g.happens(s.in, r.Entry) {
			continue
		}
		if ends = ends || !g.Stay; !slices.Contains(r.Goals, g.Name) {
			r.Goals, counted = append(slices.Clip(r.Goals), g.Name), true
			s.count("reached." + g.Name)
		}
	}
	return counted, ends
}

// branch notes which way a run goes on from a step.
func (s *stepper) branch(st *step, name string) int {
	s.mark(st.id, name)
	s.count("step." + st.id + "." + name)
	for i := range st.branches {
		if st.branches[i].name == name {
			return st.branches[i].to
		}
	}
	return st.next
}

// run takes steps from i on until one waits or there are no more. It ends, because a step only leads to later ones.
func (s *stepper) run(i int) {
	r := &s.r
	r.At, r.Due, r.Got = "", 0, ""
	for i != end {
		st := &s.j.steps[i]
		next := st.next
		switch st.kind {
		case stepPush:
			s.mark(st.id, "")
			s.effects = append(s.effects, Effect{Kind: Push, Step: st.id})
		case stepTag:
			s.mark(st.id, "")
			for _, t := range st.tags {
				v := t.value
				if t.property != "" {
					v = r.Entry[t.property]
				}
				s.effects = append(s.effects, Effect{Kind: SetTag, Step: st.id, Name: t.name, Value: v})
				s.tag(t.name, v)
			}
		case stepEmit:
			s.mark(st.id, "")
			s.effects = append(s.effects, Effect{Kind: Emit, Step: st.id, Name: st.emit})
		case stepWebhook:
			s.mark(st.id, st.call.To)
			s.count("step." + st.id + ".called")
			s.effects = append(s.effects, Effect{Kind: Webhook, Step: st.id})
			if len(st.branches) > 0 {
				r.At, r.Since, r.Due = st.id, s.now, s.now+(st.call.TTL+answerLate).Milliseconds()
				return
			}
		case stepExit:
			s.mark(st.id, st.reason)
			s.end(WhyExit)
			return
		case stepWait:
			due, why, ok := st.wait.until(s.now, r, s.f)
			if !ok {
				s.mark(st.id, WhyNoDate)
				s.end(WhyNoDate)
				return
			}
			if due > s.now {
				r.At, r.Since, r.Due = st.id, s.now, due
				if why != "" {
					s.mark(st.id, why)
				}
				return
			}
			s.mark(st.id, "over already")
		case stepWaitFor:
			got := s.already(st)
			if got == "" || st.full {
				r.At, r.Since, r.Due, r.Got = st.id, s.now, s.now+st.upTo.Milliseconds(), got
				return
			}
			next = s.branch(st, got)
		case stepSplit:
			next = s.split(st)
		case stepExperiment:
			next = s.experiment(st)
		case stepReachable:
			name := "no"
			if s.f.Profile.Reachable() && s.f.Profile.MayPush() {
				name = "yes"
			}
			next = s.branch(st, name)
		}
		i = next
	}
	s.end(WhyFinished)
}

// tag lets the steps that follow see a tag that the ledger gets as an effect of this one. The profile stays as it is.
func (s *stepper) tag(name string, value any) {
	patch, err := json.Marshal(map[string]any{"tags": map[string]any{name: value}})
	p := *s.f.Profile
	p.Tags = maps.Clone(p.Tags)
	if err != nil || p.Merge(patch, s.now) != nil {
		return // it will be refused as well
	}
	f := *s.f
	f.Profile, s.f = &p, &f
}

func (s *stepper) split(st *step) int {
	who := person(s.f)
	for i := range st.branches {
		b := &st.branches[i]
		if b.rule == nil {
			return s.branch(st, b.name)
		}
		if fits, _ := b.rule.Match(who, s.now); fits {
			return s.branch(st, b.name)
		}
	}
	s.mark(st.id, "none")
	return st.next
}

func person(f *Facts) audience.Person {
	return audience.Person{Profile: f.Profile, Events: f.Events, Visits: f.Visits}
}

// experiment draws the arm from the ids alone, so that it is the same on every machine, until a winner stands.
func (s *stepper) experiment(st *step) int {
	arm := ""
	if st.winner != nil && s.f.Winner != nil {
		arm = s.f.Winner(st.id)
	}
	won := arm != ""
	if !won {
		arm = s.j.draw(st, s.f.Profile.Subject())
	}
	s.own()
	if !won { // who is sent to the winner is no part of the experiment
		s.r.Arms[st.id] = arm
		s.count(armCount("arm", st.id, arm))
	}
	return s.branch(st, arm)
}

// draw is a subject's arm in an experiment that nobody has won.
func (j *Journey) draw(st *step, subject string) string {
	sum := sha256.Sum256([]byte("journey\x00" + j.ID + "\x00" + st.id + "\x00" + subject))
	lot := campaign.Share(binary.BigEndian.Uint64(sum[:8]) % 10_000) // the bias is below 1e-15
	for i := range st.branches {
		if lot < st.branches[i].share {
			return st.branches[i].name
		}
		lot -= st.branches[i].share
	}
	return st.branches[len(st.branches)-1].name // the shares add up to all
}

// Arm says in which arm of an experiment a subject is, whether or not they have come to it, while nothing has won. false
// when the step is no experiment.
func (j *Journey) Arm(step, subject string) (string, bool) {
	i, ok := j.byID[step]
	if !ok || j.steps[i].kind != stepExperiment {
		return "", false
	}
	return j.draw(&j.steps[i], subject), true
}

// armCount is the name under which an experiment's arm is counted.
func armCount(what, step, arm string) string { return what + "." + step + "." + arm }

func (s *stepper) end(why string) {
	s.r.At, s.r.Due, s.r.Got, s.r.Ended, s.r.Why = "", 0, "", s.now, why
	s.count("ended." + why)
}

func (s *stepper) count(name string) {
	s.effects = append(s.effects, Effect{Kind: Count, Name: name})
}

// own gives the run its own copies before they are written to.
func (s *stepper) own() {
	if s.copied {
		return
	}
	s.copied = true
	s.r.Path = append(make([]Mark, 0, len(s.r.Path)+4), s.r.Path...)
	arms := make(map[string]string, len(s.r.Arms)+1)
	for k, v := range s.r.Arms {
		arms[k] = v
	}
	s.r.Arms = arms
}

func (s *stepper) mark(step, note string) {
	s.own()
	if len(s.r.Path) == maxPath {
		s.r.Path = append(s.r.Path[:0], s.r.Path[1:]...)
	}
	s.r.Path = append(s.r.Path, Mark{step, s.now, note})
}

// Note writes what became of what the step wanted done beside the last mark of it. The run must be one that Step has just
// made and changed.
func (r *Run) Note(step, note string) {
	for i := len(r.Path) - 1; i >= 0; i-- {
		if m := &r.Path[i]; m.Step == step {
			m.Note = note
			return
		}
	}
}

// Stop ends a run that is under way, for one of the reasons above.
func (j *Journey) Stop(r Run, why string, now int64) (Run, []Effect) {
	s := stepper{j: j, r: r, now: now}
	s.end(why)
	return s.r, s.effects
}

// Join gives a run that is under way to a person who has signed in, whose own run is was (the zero Run: none). When the
// person may not enter it now, because they are in it already or have been, the run ends and carried is false: it is
// still that of the device.
func (j *Journey) Join(r, was Run, now int64) (_ Run, effects []Effect, carried bool) {
	s := stepper{j: j, r: r, now: now}
	if j.MayEnter(&was, now, nil) != "" {
		s.end(WhySignedIn)
		return s.r, s.effects, false
	}
	s.r.N, s.r.Earlier = was.N+1, j.entries(&was, now)
	s.count("carried")
	return s.r, s.effects, true
}

// Migrate moves a run to j, a newer version of its journey. false when j has no step of the kind at which it waits; the
// run is then as it was. The wait keeps its end.
func (j *Journey) Migrate(r Run, from *Journey) (Run, bool) {
	if r.Revision == j.Revision || !r.Active() {
		return r, false
	}
	if r.At != start {
		old, ok := from.byID[r.At]
		i, here := j.byID[r.At]
		if !ok || !here || j.steps[i].kind != from.steps[old].kind {
			return r, false
		}
		if r.Got != "" && !j.steps[i].has(r.Got) {
			return r, false
		}
	}
	r.Revision = j.Revision
	return r, true
}

func (s *step) has(name string) bool {
	for i := range s.branches {
		if s.branches[i].name == name {
			return true
		}
	}
	return false
}

// keptProps are the properties that a run carries along.
func keptProps(props map[string]any) map[string]any {
	var out map[string]any
	for _, name := range sortedNames(props) {
		v := props[name]
		if text, ok := v.(string); !plain(v) || ok && len(text) > campaign.MaxEntryBytes || len(name) > campaign.MaxEntryBytes {
			continue
		}
		if len(out) == maxEntryProps {
			break
		}
		if out == nil {
			out = make(map[string]any, len(props))
		}
		out[name] = v
	}
	return out
}

// until is when a wait that begins now ends, and why then when that is not plain; false when the day it is for is not
// written.
func (w *wait) until(now int64, r *Run, f *Facts) (due int64, why string, ok bool) {
	t, p := time.UnixMilli(now), f.Profile
	switch {
	case w.length > 0:
		return now + w.length.Milliseconds(), "", true
	case w.schedule != nil && w.schedule.Best != nil && f.BestTime != nil:
		at, why := f.BestTime(w.schedule)
		return at.UnixMilli(), why, true
	case w.schedule != nil:
		return w.schedule.Next(t, p.Zone).UnixMilli(), "", true
	}
	due, ok = w.day(t, r, p)
	return due, "", ok
}

// day is when a wait for a written day ends.
func (w *wait) day(t time.Time, r *Run, p *audience.Profile) (int64, bool) {
	v, _ := r.Entry[w.property].(string)
	if w.tag != "" {
		v, _ = p.AllTags()[w.tag].(string)
	}
	if len(v) < len(time.DateOnly) {
		return 0, false
	}
	day, err := time.Parse(time.DateOnly, v[:len(time.DateOnly)])
	if err != nil {
		return 0, false
	}
	on := func(day time.Time) time.Time {
		return w.at.On(day.AddDate(0, 0, w.days), w.clock, p.Zone)
	}
	due := on(day)
	if w.yearly {
		year := t.UTC().Year()
		for y := year - 1; y <= year+9; y++ { // 29 February comes every eighth year at worst
			if due = on(time.Date(y, day.Month(), day.Day(), 0, 0, 0, 0, time.UTC)); !due.Before(t) {
				break
			}
		}
	}
	return due.UnixMilli(), true
}
