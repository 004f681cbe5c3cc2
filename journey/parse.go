package journey

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/track"
)

// Keys of the file format: those that are read, and those that a later version may have.
var (
	topKeys   = []string{"journey", "name", "zone", "entry", "audience", "window", "reentry", "goal", "goals", "caps", "exempt", "quiet", "steps", "templates"}
	topLater  = []string{"enabled", "paused", "holdout", "priority", "variants"}
	entryKeys = []string{"event", "enter", "exit", "dwell", "joins", "leaves", "schedule", "api"}
	matchKeys = []string{"event", "enter", "exit", "dwell", "joins", "leaves", "any", "where", "same"}
	stepKeys  = []string{"push", "wait", "wait_for", "split", "experiment", "reachable", "tag", "emit", "webhook", "exit"}
	stepLater = []string{"goal", "if", "email", "sms", "best_time"}
)

// Read reads the journeys of a library. The error joins one *[campaign.Error] for everything that is wrong; with an
// error there are no journeys.
func Read(lib *campaign.Library) ([]*Journey, error) {
	var list []*Journey
	faults := map[string]*campaign.Document{} // by file: each document of a file knows the faults of all
	seen := map[string]string{}
	for _, c := range lib.Campaigns {
		seen[c.ID] = fmt.Sprintf("the campaign in %s:%d", c.File, c.Line)
	}
	for _, d := range lib.Journeys {
		r := reader{doc: d, j: &Journey{File: d.File(), byID: map[string]int{}}}
		r.read()
		faults[d.File()] = d
		if first, dup := seen[r.j.ID]; dup && r.j.ID != "" {
			d.Fail(campaign.CodeDuplicate, "choose another id: claims, counts and pushes are kept under it", "%q a second time; the first is %s", r.j.ID, first)
		}
		line, _ := d.Place()
		seen[r.j.ID] = fmt.Sprintf("in %s:%d", d.File(), line)
		list = append(list, r.j)
	}
	var errs []error
	for _, file := range slices.Sorted(maps.Keys(faults)) {
		errs = append(errs, faults[file].Err())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return list, nil
}

// Parse reads the journeys of one text, as [campaign.ParseLibrary] does campaigns.
func Parse(file string, data []byte) ([]*Journey, error) {
	lib, err := campaign.ParseLibrary(file, data)
	if err != nil {
		return nil, err
	}
	return Read(lib)
}

// reader reads one journey.
type reader struct {
	doc       *campaign.Document
	j         *Journey
	base      campaign.Campaign // what its pushes have in common
	templates map[string]*campaign.Template
	reads     []string // what templates may read
	rules     []*audience.Rule
	watched   []*audience.Rule // of segments that people join or leave
	opened    []campaign.Field // branches that wait for a push to be opened
	tooMany   bool
}

func (r *reader) read() {
	j := r.j
	j.Line, _ = r.doc.Place()
	var entry, goal, goals, steps, templates, quiet campaign.Field
	haveID := false
	before := r.doc.Faults()
	ok := r.doc.Keys("a journey", topKeys, topLater, func(f campaign.Field) {
		switch f.Name() {
		case "journey":
			haveID = true
			j.ID = f.ID()
		case "name":
			j.Name, _ = f.Text()
		case "zone":
			_, j.zone = f.Zone()
		case "entry":
			entry = f
		case "audience":
			j.Audience = r.rule(f)
		case "window":
			j.Window = f.Window()
			if j.Window.Closed != campaign.Drop {
				f.Fail(campaign.CodeConflict, "remove closed", "the window of a journey lets people in or does not; nobody waits for it")
			}
		case "reentry":
			r.reentry(f)
		case "goal":
			goal = f
		case "goals":
			goals = f
		case "caps":
			r.base.Caps = f.Caps()
		case "exempt":
			r.base.Exempt, _ = f.Bool()
		case "quiet":
			quiet = f
			r.base.Quiet = f.Quiet()
			if r.base.Quiet.Closed == campaign.NotifyIfInside {
				f.Fail(campaign.CodeConflict, "write closed: hold", "a journey's push happens at no fence")
			}
		case "steps":
			steps = f
		case "templates":
			templates = f
		}
	})
	if !ok {
		return
	}
	if j.Name == "" {
		j.Name = j.ID
	}
	for _, m := range []struct {
		have       bool
		name, hint string
	}{
		{haveID, "journey", "journey: some-id"},
		{entry.Given(), "entry", "entry: {event: product_view}"},
		{steps.Given(), "steps", "steps: [{wait: 2h}, {push: {template: hello}}]"},
	} {
		if !m.have {
			r.doc.Fail(campaign.CodeMissing, "such as "+m.hint, "%q is missing", m.name)
		}
	}
	if j.Window.To.IsZero() && !j.Window.Endless {
		r.doc.Fail(campaign.CodeMissing, "window: {to: 2026-12-31T21:00}, or to: never when it is to take people until it is stopped", "the journey has no end")
	}
	if j.Reentry.Day && j.zone == nil {
		r.doc.Fail(campaign.CodeMissing, "add zone: Europe/Kyiv to the journey", "reentry by the day needs the journey's zone, for those who enter at no fence")
	}
	if quiet.Given() && j.zone == nil {
		quiet.FailKey(campaign.CodeMissing, "add zone: Europe/Kyiv to the journey", "quiet hours need the journey's zone, for people whose own is not known")
	}
	if entry.Given() {
		r.entry(entry)
	}
	if goal.Given() {
		r.j.Goal = r.goal(goal, "goal")
	}
	if goals.Given() {
		members, _ := goals.Members("goals")
		if n := len(members); goals.IsMapping() && (n == 0 || n > maxGoals) {
			goals.Fail(campaign.CodeRange, "such as {basket: {event: add_to_basket, stay: true}}", "%d goals; from 1 to %d", n, maxGoals)
		}
		for _, k := range members {
			if !validToken(k.Name()) {
				k.FailKey(campaign.CodeID, "1 to 64 of A-Z a-z 0-9 _ -", "%q cannot be the name of a goal", k.Name())
			}
			g := r.goal(k, "a goal")
			g.Name = k.Name()
			r.j.Goals = append(r.j.Goals, *g)
		}
		slices.SortFunc(r.j.Goals, func(a, b Goal) int { return strings.Compare(a.Name, b.Name) })
	}
	r.base.ID, r.base.Name, r.base.Enabled, r.base.MaxAge = j.ID, j.Name, true, campaign.DefaultMaxAge
	r.templates = templates.Templates(&r.base)
	if steps.Given() {
		r.steps(steps, "", end, 1)
		if len(j.steps) == 0 && r.doc.Faults() == before {
			steps.Fail(campaign.CodeMissing, "steps: [{push: {template: hello}}]", "steps is an empty list")
		}
	}
	for _, f := range r.opened {
		if id := f.ID(); id != "" && r.doc.Faults() == before {
			if _, ok := j.PushAt(id); !ok {
				f.Fail(campaign.CodeValue, "give the push an id: {id: reminder, push: {…}}", "%q is no push step of this journey", id)
			}
		}
	}
	for _, rule := range r.rules {
		j.needs.Events = j.needs.Events || rule.NeedsEvents()
		j.needs.Visits = j.needs.Visits || rule.NeedsVisits()
	}
	used := map[string]string{}
	collect(r.rules, used)
	collect(r.watched, used)
	j.text = campaign.TextOf(used, r.doc.Text())
	sum := sha256.Sum256([]byte(j.text))
	j.Revision = hex.EncodeToString(sum[:8])
}

// collect gathers the segments that rules use, also by way of others.
func collect(rules []*audience.Rule, out map[string]string) {
	for _, r := range rules {
		for name, s := range r.Segments() {
			if _, seen := out[name]; !seen {
				out[name] = s.Source
				collect([]*audience.Rule{s}, out)
			}
		}
	}
}

// watch reads the name of a segment that people join or leave. The rule that it makes is part of the version, but not of what
// steps ask.
func (r *reader) watch(f campaign.Field) *Watch {
	name := f.ID()
	if name == "" {
		return nil
	}
	rule, err := r.doc.Segments().Parse(fmt.Sprintf("segment(%q)", name))
	if re, ok := errors.AsType[*audience.RuleError](err); ok {
		f.Fail(campaign.CodeSegment, "segments: {gold: 'tags.loyalty == \"gold\"'} in a document of its own", "%s", re.Reason)
	}
	if err != nil { // a broken one has been reported where it stands
		return nil
	}
	r.watched = append(r.watched, rule)
	return newWatch(name, rule)
}

func (r *reader) rule(f campaign.Field) *audience.Rule {
	rule := f.Rule()
	if rule != nil {
		r.rules = append(r.rules, rule)
	}
	return rule
}

// entry reads by what people come in: any of its kinds.
func (r *reader) entry(f campaign.Field) {
	j := r.j
	var where campaign.Field
	count, before := 0, r.doc.Faults()
	event := -1
	ok := f.Keys("entry", append(slices.Clone(entryKeys), "any", "where", "segment"), []string{"same"}, func(k campaign.Field) {
		switch k.Name() {
		case "where":
			where = k
			return
		case "segment":
			k.FailKey(campaign.CodeUnknownKey, "joins: NAME for those who come into a segment from now on; schedule and audience: {segment: NAME} for those who are in it", "a segment lets in who joins it, or everybody who is in it at a time")
			count++
			return
		case "schedule":
			j.Schedule = k.Schedule()
			if j.Schedule.Best != nil {
				k.Fail(campaign.CodeConflict, "let them in at a time of day, and begin with wait: {at: best_time, …}", "nobody is let in at a best time")
			}
		case "api":
			j.API, _ = k.Bool()
		case "any":
			for _, m := range r.any(k, "an entry", nil) {
				if len(m.Same) > 0 {
					k.Fail(campaign.CodeConflict, "write where: {NAME: VALUE}", "same compares with the event of the entry, and this is the entry")
				}
				j.Entries = append(j.Entries, Entry{m})
			}
		default:
			var m Match
			r.happening(k, &m)
			j.Entries = append(j.Entries, Entry{m})
			if m.Event != "" {
				event = len(j.Entries) - 1
			}
		}
		count++
	})
	r.where(where, campaign.Field{}, event >= 0, func(w map[string]any, _ []string) { j.Entries[event].Where = w })
	if ok && count == 0 && r.doc.Faults() == before {
		f.Fail(campaign.CodeMissing, "entry: {event: product_view}, {enter: {tag: kyiv}}, {joins: gold}, {schedule: …} or {api: true}", "nothing lets anybody in")
	}
	if j.Schedule != nil && j.Audience == nil {
		f.Fail(campaign.CodeMissing, "audience: {segment: gold}, or audience: 'true' for everybody", "an entry by schedule takes everybody who fits the audience, and there is none")
	}
	fence := true
	for i := range j.Entries {
		fence = fence && j.Entries[i].Watch == nil
		if j.Entries[i].Event != "" {
			fence = false
			r.reads = append(r.reads, "entry")
		}
	}
	if j.API {
		r.reads = append(r.reads, "entry")
	}
	if fence && len(j.Entries) > 0 && j.Schedule == nil && !j.API {
		r.reads = append(r.reads, "fence", "store")
	}
}

// happening reads event, enter, exit or dwell.
func (r *reader) happening(k campaign.Field, m *Match) {
	switch k.Name() {
	case "event":
		m.Event, _ = k.Text()
		if len(m.Event) > 64 {
			k.Fail(campaign.CodeRange, "", "the name of an event has %d bytes; at most 64", len(m.Event))
		}
	case "opened":
		m.Opened = k.ID()
		r.opened = append(r.opened, k)
	case "inside", "outside":
		m.Stands = inside
		if k.Name() == "outside" {
			m.Stands = outside
		}
		m.Sel = k.Selector()
		r.j.needs.Visits = true
	case "joins", "leaves":
		m.Leaves = k.Name() == "leaves"
		m.Watch = r.watch(k)
	default:
		m.Kind, _ = track.ParseKind(k.Name())
		m.Sel = k.Selector()
	}
}

// where reads the conditions on an event, and set gets them.
func (r *reader) where(where, same campaign.Field, event bool, set func(map[string]any, []string)) {
	for _, f := range []campaign.Field{where, same} {
		if f.Given() && !event {
			f.FailKey(campaign.CodeConflict, "remove it, or add event: NAME", "%s looks at the properties of an event, and there is none", f.Name())
			return
		}
	}
	if !event {
		return
	}
	var conditions map[string]any
	if where.Given() {
		conditions = map[string]any{}
		members, _ := where.Members("where")
		for _, k := range members {
			conditions[k.Name()] = r.property(k)
		}
	}
	var names []string
	if same.Given() {
		names = same.Names(64)
	}
	set(conditions, names)
}

// property reads the condition on one property: a value, or a mapping of comparisons.
func (r *reader) property(f campaign.Field) any {
	if !f.IsMapping() {
		if f.IsList() {
			f.Fail(campaign.CodeType, "{in: [a, b]} is one of several, {contains: a} asks for a member of a list", "%s is not equal to a list", f.Name())
			return nil
		}
		v := r.value(f, f.Name())
		if fault, fix := audience.EqualFault(v); fault != "" {
			f.Fail(campaign.CodeValue, fix, "%s: %s", f.Name(), fault)
		}
		return v
	}
	ops := map[string]any{}
	before := r.doc.Faults()
	members, _ := f.Members(f.Name())
	if len(members) == 0 && r.doc.Faults() == before {
		f.Fail(campaign.CodeMissing, "there are "+strings.Join(audience.PropOps, ", "), "%s is compared with nothing", f.Name())
	}
	for _, k := range members {
		var than any
		before := r.doc.Faults()
		if k.IsList() {
			list := []any{}
			items, _ := k.Items("a list")
			for _, item := range items {
				list = append(list, r.value(item, k.Name()))
			}
			than = list
		} else {
			than = r.value(k, k.Name())
		}
		if fault, fix := audience.PropFault(k.Name(), than); fault != "" && r.doc.Faults() == before {
			if !slices.Contains(audience.PropOps, k.Name()) {
				k.FailKey(campaign.CodeUnknownKey, fix, "%s: %s", f.Name(), fault)
			} else {
				k.Fail(campaign.CodeValue, fix, "%s: %s", f.Name(), fault)
			}
		}
		ops[k.Name()] = than
	}
	return ops
}

// value reads a text, a number or a truth.
func (r *reader) value(f campaign.Field, name string) any {
	v, ok := f.Scalar()
	if ok && v == nil {
		f.Fail(campaign.CodeType, "a text, a number, true or false", "%s has no value", name)
	}
	return v
}

// any reads a list of happenings of which one is enough.
func (r *reader) any(f campaign.Field, what string, more []string) (list []Match) {
	items, ok := f.Items("a list, such as [{event: purchase}, {event: order}]")
	if ok && (len(items) < 2 || len(items) > maxAny) {
		f.Fail(campaign.CodeRange, "any: [{event: purchase}, {event: order}]", "any lists %d; from 2 to %d", len(items), maxAny)
	}
	for _, item := range items {
		m, _ := r.match(item, what, more, func(k campaign.Field) {
			k.FailKey(campaign.CodeUnknownKey, "write it beside any", "%s has no place in a list of happenings", k.Name())
		})
		if len(m.Any) > 0 {
			item.Fail(campaign.CodeConflict, "write all of them in one list", "any within any")
		}
		list = append(list, m)
	}
	return list
}

// match reads {event: purchase, where: {…}, same: [category]} or {enter: {tag: kyiv}}, and hands other keys on.
func (r *reader) match(f campaign.Field, what string, more []string, other func(campaign.Field)) (m Match, ok bool) {
	var where, same campaign.Field
	count, before := 0, r.doc.Faults()
	ok = f.Keys(what, append(slices.Clone(matchKeys), more...), nil, func(k campaign.Field) {
		switch k.Name() {
		case "where":
			where = k
		case "same":
			same = k
		case "any", "event", "enter", "exit", "dwell", "joins", "leaves", "opened", "inside", "outside":
			if count++; count > 1 {
				k.FailKey(campaign.CodeConflict, "any: [{…}, {…}] waits for one of several", "%s has one kind; this is another", what)
				return
			}
			if k.Name() != "any" {
				r.happening(k, &m)
				return
			}
			m.Any = r.any(k, what, slices.DeleteFunc(slices.Clone(more), func(name string) bool { return name == "then" || name == "stay" }))
		default:
			other(k)
		}
	})
	if ok && count == 0 && r.doc.Faults() == before {
		f.Fail(campaign.CodeMissing, "{event: purchase} or {enter: {tag: kyiv}}", "%s waits for nothing", what)
	}
	r.where(where, same, m.Event != "", func(w map[string]any, s []string) { m.Where, m.Same = w, s })
	if len(m.Same) > 0 && !slices.Contains(r.reads, "entry") {
		same.FailKey(campaign.CodeConflict, "enter by an event or by the API", "same compares with the entry's event, and nobody enters by one")
	}
	return m, ok && r.doc.Faults() == before
}

func (r *reader) reentry(f campaign.Field) {
	if f.IsMapping() {
		again := &r.j.Reentry
		found, before := false, r.doc.Faults()
		f.Keys("reentry", []string{"after", "day", "max", "per"}, nil, func(k campaign.Field) {
			found = true
			switch k.Name() {
			case "after":
				again.After, _ = k.Duration(time.Minute, maxWait)
			case "day":
				_, again.Day = k.Word("store")
			case "max":
				again.Max, _ = k.Integer(1, maxReentry)
			case "per":
				again.Per, _ = k.Duration(time.Minute, maxWait)
			}
		})
		switch {
		case r.doc.Faults() > before:
		case !found:
			f.Fail(campaign.CodeMissing, "never, after_exit, {after: 24h}, {day: store} or {max: 3, per: 30d}", "reentry says nothing")
		case (again.Max == 0) != (again.Per == 0):
			f.Fail(campaign.CodeMissing, "such as {max: 3, per: 30d}", "max and per belong together")
		}
		return
	}
	v, _ := f.Word("never", "after_exit")
	r.j.Reentry.Never = v == "never"
}

func (r *reader) goal(f campaign.Field, what string) *Goal {
	g := &Goal{}
	g.Match, _ = r.match(f, what, []string{"stay"}, func(k campaign.Field) { g.Stay, _ = k.Bool() })
	return g
}

// steps reads a list of steps whose last goes on at after, and returns the first one's index; after when there are none.
func (r *reader) steps(f campaign.Field, prefix string, after, depth int) (first int) {
	items, ok := f.Items("a list of steps, such as - push: {template: hello}")
	if !ok {
		return after
	}
	if depth > MaxDepth {
		f.Fail(campaign.CodeTooLarge, "split the journey: one may emit what another enters by", "steps within steps more than %d deep", MaxDepth)
		return after
	}
	// Each step is placed before those of its branches.
	indices := make([]int, 0, len(items))
	for n, item := range items {
		if len(r.j.steps) >= MaxSteps {
			if !r.tooMany {
				item.Fail(campaign.CodeTooLarge, "split the journey", "more than %d steps", MaxSteps)
			}
			r.tooMany = true
			return after
		}
		i := len(r.j.steps)
		if len(indices) > 0 && r.j.steps[indices[len(indices)-1]].kind == stepExit {
			item.Fail(campaign.CodeConflict, "put it before the exit, or remove it", "the step is never reached: everybody has left")
		}
		r.j.steps = append(r.j.steps, step{id: prefix + strconv.Itoa(n+1), next: end})
		indices = append(indices, i)
		r.place(item, i, depth)
	}
	for n, i := range indices {
		to := after
		if n+1 < len(indices) {
			to = indices[n+1]
		}
		r.j.link(i, to)
	}
	if len(indices) == 0 {
		return after
	}
	return indices[0]
}

// place reads one item of a list of steps.
func (r *reader) place(item campaign.Field, i, depth int) {
	var what campaign.Field
	before := r.doc.Faults()
	ok := item.Keys("a step", append(slices.Clone(stepKeys), "id"), stepLater, func(k campaign.Field) {
		switch {
		case k.Name() == "id":
			if own := k.ID(); own != "" {
				r.j.steps[i].id = own
			}
		case what.Given():
			k.FailKey(campaign.CodeConflict, "begin another item with -", "a step does one thing; this is another")
		default:
			what = k
		}
	})
	if ok && !what.Given() && r.doc.Faults() == before {
		item.Fail(campaign.CodeMissing, "push, wait, wait_for, split, experiment, reachable, tag, emit, webhook or exit", "the step does nothing")
	}
	id := r.j.steps[i].id
	if other, dup := r.j.byID[id]; dup {
		item.Fail(campaign.CodeDuplicate, "choose another id", "step %q a second time; the first is number %d in the file", id, other+1)
	}
	r.j.byID[id] = i
	if what.Given() {
		r.step(what, i, id, depth)
	}
}

// link says where a step goes on, and with it every way out of its branches that had no place to go yet.
func (j *Journey) link(i, to int) {
	s := &j.steps[i]
	if s.kind == stepExit || to == end {
		return
	}
	s.next = to
	for k := range s.branches {
		b := &s.branches[k]
		if b.to == end {
			b.to = to
			continue
		}
		for at := b.to; at != end && j.steps[at].kind != stepExit; at = j.steps[at].next {
			if j.steps[at].next == end {
				j.link(at, to)
				break
			}
		}
	}
}

// then reads the steps of a branch; end when there are none, which is on behind the step that divides.
func (r *reader) then(f campaign.Field, prefix string, depth int) int {
	if !f.Given() {
		return end
	}
	return r.steps(f, prefix+".", end, depth+1)
}

// set changes a step in place: reading its branches may have moved the slice.
func (r *reader) set(i int, fn func(s *step)) { fn(&r.j.steps[i]) }

func (r *reader) step(f campaign.Field, i int, id string, depth int) {
	switch f.Name() {
	case "push":
		p := f.JourneyPush(&r.base, r.j.zone, r.templates, r.reads...)
		r.set(i, func(s *step) { s.kind, s.push = stepPush, p })
		r.j.pushes = append(r.j.pushes, p)
	case "wait":
		w := r.wait(f)
		r.set(i, func(s *step) { s.kind, s.wait = stepWait, w })
	case "wait_for":
		r.waitFor(f, i, id, depth)
	case "split":
		r.split(f, i, id, depth)
	case "experiment":
		r.experiment(f, i, id, depth)
	case "reachable":
		r.set(i, func(s *step) { s.kind = stepReachable })
		var yes, no campaign.Field
		f.Keys("reachable", []string{"yes", "no"}, nil, func(k campaign.Field) {
			if k.Name() == "yes" {
				yes = k
			} else {
				no = k
			}
		})
		bs := []branch{{name: "yes", to: r.then(yes, id+".yes", depth)}, {name: "no", to: r.then(no, id+".no", depth)}}
		r.set(i, func(s *step) { s.branches = bs })
	case "tag":
		r.tag(f, i)
	case "emit":
		name, ok := f.Text()
		if ok && !validToken(name) {
			f.Fail(campaign.CodeID, "1 to 64 of A-Z a-z 0-9 _ -; it becomes a part of a subject", "%q cannot be the name of what is emitted", name)
		}
		r.set(i, func(s *step) { s.kind, s.emit = stepEmit, name })
	case "webhook":
		r.webhook(f, i, id, depth)
	case "exit":
		reason := ""
		if f.IsText() {
			reason, _ = f.Text()
		} else if v, ok := f.Bool(); ok && !v {
			f.Fail(campaign.CodeValue, "leave the step out", "exit can only be true, or a reason")
		}
		r.set(i, func(s *step) { s.kind, s.reason = stepExit, reason })
	}
}

// webhook reads the name of a system, or {to: crm, body: {…}, ttl: 1h, delivered: […], failed: […]}.
func (r *reader) webhook(f campaign.Field, i int, id string, depth int) {
	call := &Call{TTL: defaultCallTTL}
	r.set(i, func(s *step) { s.kind, s.call = stepWebhook, call })
	if !f.IsMapping() {
		call.To = f.ID()
		return
	}
	var to, yes, no campaign.Field
	ok := f.Keys("webhook", []string{"to", "url", "body", "ttl", delivered, undelivered}, []string{"header", "method"}, func(k campaign.Field) {
		switch k.Name() {
		case "to":
			to = k
			call.To = k.ID()
		case "url":
			to = k
			k.FailKey(campaign.CodeConflict, "to: crm, and webhooks: {crm: {url: …, secret_file: …}} in the gateway's configuration", "addresses and their secrets are in the gateway's configuration; a journey names the system")
		case "body":
			call.Body = k.JourneyBody(&r.base, r.j.zone, r.reads...)
		case "ttl":
			call.TTL, _ = k.Duration(time.Minute, maxCallTTL)
		case delivered:
			yes = k
		case undelivered:
			no = k
		}
	})
	if ok && !to.Given() {
		f.Fail(campaign.CodeMissing, "to: crm, and webhooks: {crm: {url: …, secret_file: …}} in the gateway's configuration", "the webhook does not say which system it calls")
	}
	if !yes.Given() && !no.Given() {
		return
	}
	bs := []branch{{name: delivered, to: r.then(yes, id+"."+delivered, depth)}, {name: undelivered, to: r.then(no, id+"."+undelivered, depth)}}
	r.set(i, func(s *step) { s.branches = bs })
}

func validToken(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

var (
	waitKeys = []string{"for", "at", "on", "days", "between", "default", "zone", "fallback", "tag", "property", "offset", "yearly"}
	dateKeys = []string{"tag", "property", "offset", "yearly"}
)

// wait reads 2h, {for: 2h}, {at: "13:00", days: every, zone: …}, {at: 2026-12-01T13:00, zone: …} or {tag: birthday, at:
// "10:00", zone: …, offset: -3, yearly: true}.
func (r *reader) wait(f campaign.Field) (w wait) {
	if !f.IsMapping() {
		w.length, _ = f.Duration(time.Second, maxWait)
		return w
	}
	var length, at, date campaign.Field
	before := r.doc.Faults()
	f.Keys("wait", waitKeys, []string{"weekday"}, func(k campaign.Field) {
		switch k.Name() {
		case "for":
			length = k
			w.length, _ = k.Duration(time.Second, maxWait)
		case "at":
			at = k
		case "tag", "property":
			if date.Given() {
				k.FailKey(campaign.CodeConflict, "", "a wait is for the day in a tag or in a property, not in both")
			}
			date = k
			name, _ := k.Text()
			if k.Name() == "tag" {
				w.tag = name
			} else {
				w.property = name
				if !slices.Contains(r.reads, "entry") {
					k.FailKey(campaign.CodeConflict, "enter by an event or by the API", "nobody enters by an event that could have a property")
				}
			}
		case "offset":
			d, ok := k.Scalar()
			n, isNumber := d.(float64)
			if ok && (!isNumber || n != float64(int(n)) || n < -366 || n > 366) {
				k.Fail(campaign.CodeRange, "a number of days, such as -3", "offset: %v is not from -366 to 366 days", d)
			}
			w.days = int(n)
		case "yearly":
			w.yearly, _ = k.Bool()
		}
	})
	if r.doc.Faults() > before {
		return w
	}
	switch {
	case length.Given() && (at.Given() || date.Given()):
		length.FailKey(campaign.CodeConflict, "make two waits of it", "a wait is for a length of time or until a time, not both")
	case length.Given():
	case date.Given() && !at.Given():
		f.Fail(campaign.CodeMissing, `at: "10:00"`, "the wait for a day needs a time of day")
	case date.Given():
		w.clock, _ = at.Clock()
		w.at = r.schedule(f, true)
	case at.Given():
		w.schedule = r.schedule(f, false)
	default:
		f.Fail(campaign.CodeMissing, `2h, {at: "13:00", days: every, zone: Europe/Kyiv}`, "the wait says no time")
	}
	return w
}

// schedule reads the members of a wait that say whose clock counts, and when; of one for a day only the former.
func (r *reader) schedule(f campaign.Field, date bool) *campaign.Schedule {
	return f.ScheduleWithout(append(slices.Clone(dateKeys), "for"), date)
}

func (r *reader) waitFor(f campaign.Field, i int, id string, depth int) {
	r.set(i, func(s *step) { s.kind = stepWaitFor })
	var branches, not, upTo campaign.Field
	before := r.doc.Faults()
	var length time.Duration
	full := false
	ok := f.Keys("wait_for", []string{"up_to", "full", "branches", notTriggered}, nil, func(k campaign.Field) {
		switch k.Name() {
		case "up_to":
			upTo = k
			length, _ = k.Duration(time.Second, MaxWaitFor)
		case "full":
			full, _ = k.Bool()
		case "branches":
			branches = k
		case notTriggered:
			not = k
		}
	})
	if ok && !upTo.Given() && r.doc.Faults() == before {
		f.Fail(campaign.CodeMissing, "up_to: 24h", "wait_for does not say how long")
	}
	if ok && !branches.Given() && r.doc.Faults() == before {
		f.Fail(campaign.CodeMissing, "branches: {bought: {event: purchase}}", "wait_for waits for nothing")
	}
	var bs []branch
	if branches.Given() {
		members, _ := branches.Members("branches")
		if n := len(members); n == 0 || n > MaxBranches {
			branches.Fail(campaign.CodeRange, "several happenings share one by any: [{event: a}, {event: b}]", "%d branches; from 1 to %d", n, MaxBranches)
		}
		for _, k := range members {
			name := branchName(k)
			var then campaign.Field
			m, _ := r.match(k, "a branch", []string{"then", "opened", "inside", "outside"}, func(t campaign.Field) { then = t })
			bs = append(bs, branch{name: name, match: m, to: r.then(then, id+"."+name, depth)})
		}
	}
	bs = append(bs, branch{name: notTriggered, to: r.then(not, id+"."+notTriggered, depth)})
	r.set(i, func(s *step) { s.upTo, s.full, s.branches = length, full, bs })
}

func branchName(k campaign.Field) string {
	name := k.Name()
	if !validToken(name) {
		k.FailKey(campaign.CodeID, "1 to 64 of A-Z a-z 0-9 _ -", "%q cannot be the name of a branch", name)
	}
	if name == notTriggered {
		k.FailKey(campaign.CodeConflict, "write it beside branches", "not_triggered is what remains, not a branch")
	}
	return name
}

// split reads [{if: 'tags.vip', then: […]}, {else: […]}]: the first that fits.
func (r *reader) split(f campaign.Field, i int, id string, depth int) {
	r.set(i, func(s *step) { s.kind = stepSplit })
	items, ok := f.Items("a list, such as [{if: 'tags.vip', then: […]}, {else: […]}]")
	if !ok {
		return
	}
	if len(items) == 0 || len(items) > maxArms {
		f.Fail(campaign.CodeRange, "", "%d branches; from 1 to %d", len(items), maxArms)
		return
	}
	var bs []branch
	for n, item := range items {
		name := strconv.Itoa(n + 1)
		var then, other, cond campaign.Field
		before := r.doc.Faults()
		item.Keys("a branch", []string{"if", "name", "then", "else"}, nil, func(k campaign.Field) {
			switch k.Name() {
			case "if":
				cond = k
			case "name":
				name = k.ID()
			case "then":
				then = k
			case "else":
				other = k
			}
		})
		switch {
		case r.doc.Faults() > before:
		case other.Given() && (cond.Given() || then.Given()):
			other.FailKey(campaign.CodeConflict, "make it an item of its own", "else stands alone")
		case other.Given() && n < len(items)-1:
			other.FailKey(campaign.CodeConflict, "put it last", "what follows else is never reached")
		case !other.Given() && !cond.Given():
			item.Fail(campaign.CodeMissing, "if: 'tags.vip'", "the branch has no condition")
		}
		b := branch{name: name}
		if cond.Given() {
			b.rule = r.rule(cond)
			b.to = r.then(then, id+"."+name, depth)
		} else {
			b.name = "else"
			b.to = r.then(other, id+".else", depth)
		}
		for _, o := range bs {
			if o.name == b.name {
				item.Fail(campaign.CodeDuplicate, "choose another name", "branch %q a second time", b.name)
			}
		}
		bs = append(bs, b)
	}
	r.set(i, func(s *step) { s.branches = bs })
}

// experiment reads {arms: {control: {share: 10%}, A: {share: 90%, then: […]}}, winner: {…}}.
func (r *reader) experiment(f campaign.Field, i int, id string, depth int) {
	r.set(i, func(s *step) { s.kind = stepExperiment })
	var arms, winner campaign.Field
	before := r.doc.Faults()
	ok := f.Keys("experiment", []string{"arms", "winner"}, nil, func(k campaign.Field) {
		if k.Name() == "arms" {
			arms = k
		} else {
			winner = k
		}
	})
	if ok && !arms.Given() && r.doc.Faults() == before {
		f.Fail(campaign.CodeMissing, "arms: {control: {share: 50%}, A: {share: 50%, then: […]}}", "the experiment has no arms")
	}
	if !arms.Given() {
		return
	}
	members, _ := arms.Members("arms")
	if n := len(members); n < 2 || n > maxArms {
		arms.Fail(campaign.CodeRange, "such as {control: {share: 50%}, A: {share: 50%, then: […]}}", "%d arms; from 2 to %d", n, maxArms)
	}
	var bs []branch
	var sum campaign.Share
	for _, k := range members {
		b := branch{name: branchName(k)}
		var then campaign.Field
		have := false
		if k.IsText() { // 50%, and nothing else
			have = true
			b.share, _ = k.Share()
		} else if ok := k.Keys("an arm", []string{"share", "then"}, nil, func(m campaign.Field) {
			if m.Name() == "share" {
				have = true
				b.share, _ = m.Share()
			} else {
				then = m
			}
		}); ok && !have {
			k.FailKey(campaign.CodeMissing, "share: 50%", "arm %s has no share", b.name)
		}
		sum += b.share
		b.to = r.then(then, id+"."+b.name, depth)
		bs = append(bs, b)
	}
	if r.doc.Faults() == before && sum != 10_000 {
		arms.Fail(campaign.CodeRange, "the shares must add up to 100%", "the shares of the arms add up to %s", sum)
	}
	var rule *winnerRule
	if winner.Given() {
		rule = r.winner(winner)
	}
	r.set(i, func(s *step) { s.branches, s.winner = bs, rule })
}

// tag reads {abandoned: phones, seen: {entry: category}, old: null}.
func (r *reader) tag(f campaign.Field, i int) {
	members, _ := f.Members("tag")
	if f.IsMapping() && len(members) == 0 {
		f.Fail(campaign.CodeMissing, "tag: {abandoned: true}", "tag sets nothing")
	}
	var sets []tagSet
	for _, k := range members {
		t := tagSet{name: k.Name()}
		if len(t.name) > audience.MaxTagNameBytes {
			k.FailKey(campaign.CodeRange, "", "the name of a tag has %d bytes; at most %d", len(t.name), audience.MaxTagNameBytes)
		}
		if k.IsMapping() {
			k.Keys("a tag", []string{"entry"}, nil, func(p campaign.Field) {
				t.property, _ = p.Text()
				if !slices.Contains(r.reads, "entry") {
					p.FailKey(campaign.CodeConflict, "enter by an event or by the API", "nobody enters by an event that could have a property")
				}
			})
		} else {
			t.value, _ = k.Scalar()
			if text, ok := t.value.(string); ok && len(text) > audience.MaxTagBytes {
				k.Fail(campaign.CodeRange, "", "a tag of %d bytes; at most %d", len(text), audience.MaxTagBytes)
			}
		}
		sets = append(sets, t)
	}
	r.set(i, func(s *step) { s.kind, s.tags = stepTag, sets })
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
