package journey

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"footfall/audience"
	"footfall/besttime"
	"footfall/campaign"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/track"
)

// A Simulation leads one made-up person through a journey, by the very function that leads people ([Journey.Step]), and tells
// what happens. Nothing is stored or sent. Experiments draw the arm that the person would really get, and nothing has been won.
// Not safe for concurrent use.
type Simulation struct {
	Profile audience.Profile
	// Caps are those of the gateway ([campaign.Input.Caps]).
	Caps []campaign.Cap
	// Fences knows the fences by id; nil: they have no name, no zone and no tags but those that happen.
	Fences *fences.Set
	// Hours are those in which the person has opened pushes before, for best times.
	Hours besttime.Hours
	// Undelivered lets the calls of webhook steps fail; else they are delivered a second later.
	Undelivered bool

	j       *Journey
	run     Run
	now     int64
	zone    *time.Location
	events  []audience.Event
	visits  []audience.Visit
	sends   []dedupe.Send
	in      map[string]bool // watches that the person is in
	said    map[string]bool // watches of which that was said, whatever their rules make of the person
	answers []Input         // of calls, in order
	n       int             // of inputs
	told    []Told
}

// Told is one line of what a simulation tells. Times are Unix ms.
type Told struct {
	At   int64  `json:"at"`
	Step string `json:"step,omitempty"` // "" for what happens
	Text string `json:"text"`
}

// maxSimulated bounds the steps that one simulation takes, and simulatedFor its time.
const (
	maxSimulated = 1_000
	simulatedFor = 800 * 24 * time.Hour
)

// NewSimulation begins at a time. The profile's device is needed.
func NewSimulation(j *Journey, p audience.Profile, at time.Time) *Simulation {
	s := &Simulation{j: j, Profile: p, now: at.UnixMilli(), zone: j.zone, in: map[string]bool{}, said: map[string]bool{}}
	if s.zone == nil {
		s.zone = time.UTC
	}
	for _, w := range j.Watches(true) {
		s.in[w.ID], _ = w.Rule.Match(s.person(), s.now)
	}
	return s
}

func (s *Simulation) person() audience.Person {
	return audience.Person{Profile: &s.Profile, Events: s.events, Visits: s.visits}
}

// Zone is the one that times are told in.
func (s *Simulation) Zone() *time.Location { return s.zone }

// Run is where the person is.
func (s *Simulation) Run() Run { return s.run }

// Told lists what has been told so far.
func (s *Simulation) Told() []Told { return s.told }

func (s *Simulation) tell(step, format string, args ...any) {
	s.told = append(s.told, Told{s.now, step, fmt.Sprintf(format, args...)})
}

func (s *Simulation) stamp(ms int64) string {
	return time.UnixMilli(ms).In(s.zone).Format("Mon 2006-01-02 15:04:05")
}

// Entry is how the journey is entered first of all: by its first entry, or by the API or schedule.
func (j *Journey) Entry() Input {
	for i := range j.Entries {
		switch m := &j.Entries[i].Match; {
		case m.Watch != nil:
			return Input{Kind: Membered, Watch: m.Watch.ID, OK: !m.Leaves}
		case m.Event != "":
			props := map[string]any{}
			for name, want := range m.Where {
				props[name] = audience.PropExample(want)
			}
			return Input{Kind: Event, Name: m.Event, Props: props}
		default:
			return Input{Kind: Transition, Transition: m.Kind, Fence: "somewhere", Tags: m.Sel.Tags}
		}
	}
	return Input{Kind: Enter}
}

// Wait lets time pass until at, and waits end meanwhile.
func (s *Simulation) Wait(at time.Time) {
	for range maxSimulated {
		next := at.UnixMilli()
		timer := s.run.Active() && s.run.Due != 0 && s.run.Due <= next
		if timer {
			next = s.run.Due
		}
		if len(s.answers) > 0 && s.answers[0].At <= next {
			in := s.answers[0]
			s.answers = s.answers[1:]
			s.now = max(s.now, in.At)
			s.step(in)
			continue
		}
		if !timer {
			break
		}
		s.now = max(s.now, next)
		s.step(Input{Kind: Timer, At: next})
	}
	s.now = max(s.now, at.UnixMilli())
}

// Finish lets time pass until the run has ended, or for more than two years.
func (s *Simulation) Finish() {
	until := s.now + simulatedFor.Milliseconds()
	for s.run.Active() && s.run.Due != 0 && s.run.Due <= until {
		s.Wait(time.UnixMilli(s.run.Due))
	}
}

// Happen puts something in at the present time.
func (s *Simulation) Happen(in Input) {
	in.At = s.now
	props := ""
	if len(in.Props) > 0 {
		b, _ := json.Marshal(in.Props) // plain values
		props = " " + string(b)
	}
	switch in.Kind {
	case Event:
		s.tell("", "event %s%s", in.Name, props)
		s.events = append(s.events, audience.Event{Device: s.Profile.Device, Name: in.Name, At: s.now, Props: in.Props})
	case Transition:
		if f, ok := s.fence(in.Fence); ok {
			in.Tags = f.Tags
		}
		s.tell("", "%s %s", in.Transition, in.Fence)
		s.visit(in)
	case Opened:
		s.tell("", "opens the push of %s", in.Step)
		in.SentAt = s.now
		loc, _ := campaign.Zone(s.Profile.Zone) // nil: the phone names none
		s.Hours.Add(time.UnixMilli(s.now), loc)
	case Enter:
		s.tell("", "is put in%s", props)
	case Membered:
		s.tell("", "%s", s.membered(in))
		s.in[in.Watch], s.said[in.Watch] = in.OK, true
	}
	s.step(in)
	s.look()
}

// Sent says that another campaign has sent the person a push at the present time. exempt: [dedupe.Send.Exempt].
func (s *Simulation) Sent(campaignID string, exempt bool) {
	s.tell("", "is sent a push of %s", campaignID)
	s.sends = append(s.sends, dedupe.Send{At: time.UnixMilli(s.now), Campaign: campaignID, Exempt: exempt})
}

// fence is the one with the id; nil when it is not known.
func (s *Simulation) fence(id string) (*fences.Fence, bool) {
	if s.Fences == nil {
		return nil, false
	}
	return s.Fences.Lookup(fences.ID(id))
}

// Set changes the profile as an update from the app would.
func (s *Simulation) Set(patch json.RawMessage) error {
	if err := s.Profile.Merge(patch, s.now); err != nil {
		return err
	}
	s.tell("", "profile %s", patch)
	s.look()
	return nil
}

func (s *Simulation) visit(in Input) {
	switch in.Transition {
	case track.Enter:
		s.visits = append(s.visits, audience.Visit{Device: s.Profile.Device, Fence: in.Fence, Tags: in.Tags, At: s.now})
	case track.Exit:
		for i := range s.visits {
			if v := &s.visits[i]; v.Fence == in.Fence && v.Until == 0 {
				v.Until = s.now
			}
		}
	}
}

func (s *Simulation) membered(in Input) string {
	for _, w := range s.j.Watches(true) {
		if w.ID == in.Watch && in.OK {
			return "joins " + w.Segment
		} else if w.ID == in.Watch {
			return "leaves " + w.Segment
		}
	}
	return "joins nothing that is waited for"
}

// look tells the journey of segments that the person has joined or left by what happened.
func (s *Simulation) look() {
	for range maxSimulated { // what it leads to may change that again
		changed := false
		for _, w := range s.j.Watches(true) {
			is, _ := w.Rule.Match(s.person(), s.now)
			if is == s.in[w.ID] || s.said[w.ID] {
				continue
			}
			s.in[w.ID], changed = is, true
			in := Input{Kind: Membered, Watch: w.ID, OK: is, At: s.now}
			s.tell("", "%s", s.membered(in))
			s.step(in)
		}
		if !changed {
			return
		}
	}
}

// step puts an input to the run, or lets the person in by it.
func (s *Simulation) step(in Input) {
	if s.n++; s.n > maxSimulated {
		return
	}
	in.ID = fmt.Sprint(s.n)
	f := Facts{Profile: &s.Profile, Events: s.events, Visits: s.visits, BestTime: s.bestTime}
	if at, ok := s.fence(in.Fence); ok {
		f.Store = at.Location
	}
	if !s.run.Active() {
		if in.Kind != Enter && !s.j.EnteredBy(&in) {
			return
		}
		if why := s.j.Admit(&s.run, &f, time.UnixMilli(s.now)); why != "" {
			s.tell("", "not let in: %s", why)
			return
		}
		in.Kind = Enter
		s.tell("", "enters %s", s.j.ID)
	}
	was := s.run
	if in.Kind == Enter {
		was.Path = nil
	}
	next, effects, changed := s.j.Step(s.run, in, f, s.now)
	if !changed {
		return
	}
	s.run = next
	marks := next.Path
	if len(marks) < maxPath { // else the oldest are gone, and only what is certainly new is told
		marks = marks[min(len(was.Path), len(marks)):]
	} else {
		marks = marks[len(marks)-1:]
	}
	for i := range effects {
		if e := &effects[i]; e.Kind == SetTag { // before the pushes that may say it
			patch, err := json.Marshal(map[string]any{"tags": map[string]any{e.Name: e.Value}})
			if err == nil {
				err = s.Profile.Merge(patch, s.now)
			}
			if err != nil {
				s.tell(e.Step, "tag %s is refused: %v", e.Name, err)
			}
		}
	}
	for _, m := range marks {
		s.mark(m, effects)
	}
	switch {
	case next.Ended != 0:
		s.tell("", "ended: %s", next.Why)
	case next.Got != "" && next.Due > s.now:
		s.tell(next.At, "%s, and waits until %s all the same", next.Got, s.stamp(next.Due))
	case next.At != was.At || next.Due != was.Due:
		s.tell(next.At, "waits until %s", s.stamp(next.Due))
	}
}

// mark tells what a step did.
func (s *Simulation) mark(m Mark, effects []Effect) {
	kind := WhyGoal
	if i, ok := s.j.byID[m.Step]; ok && m.Note != WhyGoal {
		kind = kindNames[s.j.steps[i].kind]
	}
	said := false
	for i := range effects {
		e := &effects[i]
		if e.Step != m.Step {
			continue
		}
		switch e.Kind {
		case SetTag:
			b, _ := json.Marshal(e.Value)
			s.tell(m.Step, "tag %s = %s", e.Name, b)
			said = true
		case Emit:
			s.tell(m.Step, "emits %s", e.Name)
			said = true
		case Push:
			s.push(e.Step)
			said = true
		case Webhook:
			if !said {
				s.call(e.Step)
			}
			said = true
		}
	}
	switch {
	case m.Note != "" && kind == kindNames[stepWebhook] && !slices.Contains([]string{delivered, undelivered}, m.Note):
	case m.Note == kind:
		s.tell(m.Step, "%s", kind)
	case m.Note != "":
		s.tell(m.Step, "%s → %s", kind, m.Note)
	case !said:
		s.tell(m.Step, "%s", kind)
	}
}

func (s *Simulation) transition() *track.Transition {
	tr := &track.Transition{At: s.now, ConfirmedAt: s.now, FenceID: fences.ID(s.run.Fence)}
	tr.Fence, _ = s.fence(s.run.Fence)
	return tr
}

// bestTime is when the best hour comes next by what is known of the person alone.
func (s *Simulation) bestTime(sched *campaign.Schedule) (time.Time, string) {
	now := time.UnixMilli(s.now)
	from, to, otherwise, loc := sched.NextSpan(now, s.Profile.Zone)
	l := besttime.Learned{Person: s.Hours}
	c := l.Pick(from, to, otherwise, loc, s.Profile.Subject(), s.j.ID, now)
	return c.At, c.At.In(loc).Format("2006-01-02 15:04 MST") + ": " + c.Why
}

// push tells what a push step would send.
func (s *Simulation) push(step string) {
	c, _ := s.j.PushAt(step)
	in := campaign.Input{Tr: s.transition(), Profile: &s.Profile, Now: time.UnixMilli(s.now), Sends: s.sends, Visits: s.visits, Events: s.events, Caps: s.Caps}
	d := c.Decide(in, true)
	if d.Outcome != campaign.Propose {
		why := ""
		for _, k := range d.Checks {
			if !k.OK {
				why = ", " + k.Detail
				break
			}
		}
		s.tell(step, "push is held: %s%s", d.Reason, why)
		return
	}
	s.sends = append(s.sends, dedupe.Send{At: in.Now, Campaign: c.ID, Exempt: c.Exempt})
	rc := campaign.NewContext(c, in, in.Now)
	rc.SetVariant(d.Variant)
	rc.Message, rc.Entry = map[string]any{"id": "simulated", "code": "SIMULATED"}, s.run.Entry
	if c.TakesVoucher(d.Variant) {
		rc.Voucher = "SIMULATED"
	}
	content, err := c.Render(s.Profile.Locale, rc)
	if err != nil {
		s.tell(step, "push cannot be filled: %v", err)
		return
	}
	when := ""
	if !d.SendAt.IsZero() && d.SendAt.UnixMilli() > s.now {
		when = ", sent at " + s.stamp(d.SendAt.UnixMilli())
	}
	s.tell(step, "push %q %q%s", content.Title, content.Body, when)
}

// call tells what a webhook step would send, and answers it.
func (s *Simulation) call(step string) {
	c, _ := s.j.CallAt(step)
	body := "what is known of the run"
	if c.Body != nil {
		rc := campaign.NewContext(c.Body.Context(), campaign.Input{Tr: s.transition(), Profile: &s.Profile}, time.UnixMilli(s.now))
		rc.Message, rc.Entry = map[string]any{"id": "simulated"}, s.run.Entry
		data, err := c.Body.Fill(rc)
		if body = string(data); err != nil {
			body = err.Error()
		}
	}
	s.tell(step, "calls %s with %s", c.To, body)
	s.answers = append(s.answers, Input{Kind: Answered, At: s.now + 1000, Step: step, SentAt: s.now, OK: !s.Undelivered})
}
