package journey

import (
	"fmt"
	"slices"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/track"
)

// Limits of a journey.
const (
	MaxSteps    = 200
	MaxDepth    = 8                   // of steps within branches
	MaxBranches = 3                   // of one wait_for, besides not_triggered
	MaxWaitFor  = 90 * 24 * time.Hour // of one wait_for
	maxWait     = 366 * 24 * time.Hour
	maxCallTTL  = 7 * 24 * time.Hour // how long a webhook is tried
	maxArms     = 8
	maxGoals    = 8 // besides the journey's own
	maxAny      = 8 // of one branch, goal or entry
	maxReentry  = 30
)

// A Journey is one loaded, valid journey. It is not changed afterwards and is safe for concurrent use.
type Journey struct {
	ID       string
	Name     string
	Revision string // of everything that is written, the segments that it uses included
	File     string
	Line     int

	// Entries: any of them lets a person in.
	Entries  []Entry
	Schedule *campaign.Schedule // everybody in the audience enters when it has come; nil: none
	API      bool               // others may put people in
	Audience *audience.Rule     // who may enter; nil: everybody
	Window   campaign.Window    // when it takes people in
	Reentry  Reentry
	Goal     *Goal
	Goals    []Goal // others, in order of their names
	zone     *time.Location

	text   string // the documents that it is read from, for Store
	steps  []step
	byID   map[string]int
	needs  campaign.Needs
	pushes []*campaign.Campaign
}

// A Match is a kind of thing that happens to a person: a customer event, an opened push, the joining or leaving of a segment,
// or a transition at a fence.
type Match struct {
	Opened string         // id of the push step whose push is opened; "": one of the others
	Watch  *Watch         // the segment that is joined or left; nil: one of the others
	Leaves bool           // it is left
	Stands standing       // a place that the person is in or out of; 0: one of the others
	Event  string         // name; "": a transition
	Where  map[string]any // conditions on its properties, see [audience.PropsFit]
	Same   []string       // properties that must be those of the entry's event
	Kind   track.Kind     // of the transition
	Sel    campaign.Selector
	Any    []Match // any of these, and nothing else is set
}

// standing is whether a branch waits for a person to be within the fences of Sel, or in none of them.
type standing uint8

const (
	inside standing = iota + 1
	outside
)

// openVisit is how long a visit is taken to go on whose end was not seen.
const openVisit = 12 * time.Hour

// leaves yields what m is made of: itself, or each of Any.
func (m *Match) leaves(yield func(*Match) bool) bool {
	if len(m.Any) == 0 {
		return yield(m)
	}
	for i := range m.Any {
		if !yield(&m.Any[i]) {
			return false
		}
	}
	return true
}

// already reports whether m has come about by what is known: one of the pushes has been opened, or the person is where it
// wants them.
func (m *Match) already(opened []string, f *Facts, now int64) bool {
	return !m.leaves(func(m *Match) bool {
		return !(m.Opened != "" && slices.Contains(opened, m.Opened) || m.Stands != 0 && m.holds(f, now))
	})
}

// holds reports whether the person is where a branch wants them.
func (m *Match) holds(f *Facts, now int64) bool {
	within := slices.ContainsFunc(f.Visits, func(v audience.Visit) bool {
		return v.Until == 0 && v.At > now-openVisit.Milliseconds() && m.Sel.Has(fences.ID(v.Fence), v.Tags)
	})
	return within == (m.Stands == inside)
}

// An Entry lets in who does what it matches.
type Entry struct{ Match }

// A Goal is what a journey is for. Whoever reaches it while underway is counted; Stay leaves them in it.
type Goal struct {
	Match
	Name string // "" of the journey's goal, by which experiments are judged
	Stay bool
}

// Reentry says when somebody who has been through may enter again. All that is set must allow it.
type Reentry struct {
	Never bool
	After time.Duration // from the last entry; 0: as soon as the run has ended
	Day   bool          // once a calendar day, by the clock of the fence at hand, else of the journey
	Max   int           // entries in any stretch of Per; 0: any number
	Per   time.Duration
}

// kind is what a step does.
type kind uint8

const (
	stepPush kind = iota
	stepWait
	stepWaitFor
	stepSplit
	stepExperiment
	stepReachable
	stepTag
	stepEmit
	stepExit
	stepWebhook
)

var kindNames = [...]string{"push", "wait", "wait_for", "split", "experiment", "reachable", "tag", "emit", "exit", "webhook"}

// end is the place behind the last step.
const end = -1

// step is one step of the program: branches are flattened, and each step says where it goes on.
type step struct {
	id   string // its place, such as 2.bought.1; the same while steps before it keep theirs
	kind kind
	next int // end, or an index

	push     *campaign.Campaign // stepPush
	wait     wait               // stepWait
	upTo     time.Duration      // stepWaitFor
	full     bool               // stepWaitFor: the whole time, even if it happens before
	branches []branch           // stepWaitFor, stepSplit, stepExperiment, stepReachable; stepWebhook that waits for its answer
	tags     []tagSet           // stepTag
	emit     string             // stepEmit
	reason   string             // stepExit
	call     *Call              // stepWebhook
	winner   *winnerRule        // stepExperiment; nil: the shares stay as they are
}

// branch is one way on from a step.
type branch struct {
	name  string
	match Match          // stepWaitFor; of not_triggered it is zero
	rule  *audience.Rule // stepSplit; nil: everybody else
	share campaign.Share // stepExperiment
	to    int
}

// notTriggered is the branch of a wait_for whose time is over.
const notTriggered = "not_triggered"

// Branches of a webhook that waits for what becomes of its call.
const (
	delivered   = "delivered"
	undelivered = "failed"
)

// defaultCallTTL is how long a webhook is tried that does not say.
const defaultCallTTL = 24 * time.Hour

// A Call is what a webhook step asks another system for.
type Call struct {
	To   string         // name of the system, which the gateway's configuration knows
	Body *campaign.Body // nil: what is known of the run
	TTL  time.Duration  // how long it is worth something
}

// wait says until when a run waits.
type wait struct {
	length   time.Duration
	schedule *campaign.Schedule // the next time that it is due
	// A day that is written in a tag or in a property of the entry's event, and days from it.
	tag, property string
	days          int
	clock         int // minutes from midnight
	yearly        bool
	at            *campaign.Schedule // whose clock; its times are not used
}

// tagSet is one tag that is set; a nil value without a property removes it.
type tagSet struct {
	name     string
	value    any
	property string // of the entry's event
}

// Needs says what of a person's history [Facts] must hold.
func (j *Journey) Needs() campaign.Needs { return j.needs }

// Zone is the journey's time zone; nil when none is given.
func (j *Journey) Zone() *time.Location { return j.zone }

// EnteredBy reports whether what happens is one of the journey's entries.
func (j *Journey) EnteredBy(in *Input) bool {
	for i := range j.Entries {
		if j.Entries[i].happens(in, nil) {
			return true
		}
	}
	return false
}

// Pushes are the push steps, for a check of what they send.
func (j *Journey) Pushes() []*campaign.Campaign { return j.pushes }

// Steps is the number of steps.
func (j *Journey) Steps() int { return len(j.steps) }

// PushAt is the push step with an id.
func (j *Journey) PushAt(id string) (*campaign.Campaign, bool) {
	i, ok := j.byID[id]
	if !ok || j.steps[i].kind != stepPush {
		return nil, false
	}
	return j.steps[i].push, true
}

// CallAt is the webhook step with an id.
func (j *Journey) CallAt(id string) (*Call, bool) {
	i, ok := j.byID[id]
	if !ok || j.steps[i].kind != stepWebhook {
		return nil, false
	}
	return j.steps[i].call, true
}

// Calls lists the systems that the journey calls, sorted.
func (j *Journey) Calls() []string {
	var names []string
	for i := range j.steps {
		if j.steps[i].kind == stepWebhook {
			names = append(names, j.steps[i].call.To)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Events lists the names of the events that anything in the journey looks at, sorted.
func (j *Journey) Events() []string {
	var names []string
	for m := range j.matches {
		if m.Event != "" {
			names = append(names, m.Event)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Transitions reports whether anything in the journey looks at transitions.
func (j *Journey) Transitions() bool {
	for m := range j.matches {
		if m.Event == "" && m.Opened == "" && m.Watch == nil {
			return true
		}
	}
	return false
}

// Unmatched warns of the ids and tags of fences in entries, branches and goals that no fence of the set has, at each place.
func (j *Journey) Unmatched(set *fences.Set) []*campaign.Error {
	var missing []*campaign.Error
	for m := range j.matches {
		missing = append(missing, m.Sel.Unmatched(set, j.File, "journey "+j.ID)...)
	}
	return missing
}

// matches yields what the journey listens to, the entries first.
func (j *Journey) matches(yield func(*Match) bool) {
	for i := range j.Entries {
		if !yield(&j.Entries[i].Match) { // has no Any
			return
		}
	}
	if j.Goal != nil && !j.Goal.leaves(yield) {
		return
	}
	for i := range j.Goals {
		if !j.Goals[i].leaves(yield) {
			return
		}
	}
	for i := range j.steps {
		if j.steps[i].kind != stepWaitFor {
			continue
		}
		for k := range j.steps[i].branches {
			if b := &j.steps[i].branches[k]; b.name != notTriggered && !b.match.leaves(yield) {
				return
			}
		}
	}
}

// Describe lists the steps, one a line, as a check and show print them.
func (j *Journey) Describe() []string {
	var out []string
	for i := range j.steps {
		s := &j.steps[i]
		text := fmt.Sprintf("%-24s %s", s.id, kindNames[s.kind])
		for _, b := range s.branches {
			text += fmt.Sprintf(" [%s → %s]", b.name, j.idOf(b.to))
		}
		if len(s.branches) == 0 && s.kind != stepExit {
			text += " → " + j.idOf(s.next)
		}
		out = append(out, text)
	}
	return out
}

func (j *Journey) idOf(i int) string {
	if i == end {
		return "end"
	}
	return j.steps[i].id
}

// happens reports whether what is put in is what m waits for. entry are the properties that the person entered by.
func (m *Match) happens(in *Input, entry map[string]any) bool {
	if len(m.Any) > 0 {
		return slices.ContainsFunc(m.Any, func(m Match) bool { return m.happens(in, entry) })
	}
	if m.Opened != "" {
		return in.Kind == Opened && in.Step == m.Opened
	}
	if m.Stands != 0 {
		return false // see holds
	}
	if m.Watch != nil {
		return in.Kind == Membered && in.Watch == m.Watch.ID && in.OK != m.Leaves
	}
	if m.Event == "" {
		return in.Kind == Transition && in.Transition == m.Kind && m.Sel.Has(fences.ID(in.Fence), in.Tags)
	}
	if in.Kind != Event || in.Name != m.Event {
		return false
	}
	if !audience.PropsFit(m.Where, in.Props) {
		return false
	}
	for _, name := range m.Same {
		if v, ok := in.Props[name]; !ok || !plain(v) || entry[name] != v {
			return false
		}
	}
	return true
}

// plain reports whether a property is a text, a number or a boolean: those are kept with a run and compared.
func plain(v any) bool {
	switch v.(type) {
	case string, float64, bool:
		return true
	}
	return false
}
