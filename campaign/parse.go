package campaign

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"footfall/dedupe"
	"footfall/fences"
	"footfall/track"
)

// Keys of the file format: those that this version reads, and those that the
// design foresees and this version refuses by name.
var (
	topKeys   = []string{"campaign", "name", "enabled", "paused", "zone", "trigger", "window", "once_per", "scope", "max_age", "steps", "templates"}
	topLater  = []string{"audience", "caps", "quiet", "holdout", "goal", "variants", "priority", "channels"}
	kindKeys  = []string{"enter", "exit", "dwell"}
	kindLater = []string{"event", "schedule", "segment", "crossed"}

	triggerKeys  = []string{"fences", "initial", "edits", "crossed", "min_confidence"}
	triggerLater = []string{"where", "prior_enters"}
	selectorKeys = []string{"id", "ids", "tag", "tags", "all"}
	selLater     = []string{"store", "stores", "group", "groups"}
	windowKeys   = []string{"from", "to", "zone", "days", "hours", "closed"}
	onceKeys     = []string{"day", "starts", "rolling"}
	pushKeys     = []string{"template", "ttl"}
	pushLater    = []string{"variants", "collapse", "send_at", "best_time"}
	stepLater    = []string{"wait", "if", "split", "tag", "webhook", "goal", "exit"}
)

// Parse reads every campaign of a YAML file. file is only for messages. The
// error joins one [*Error] for everything that is wrong, in the order of the
// file ([Errors] takes it apart); with an error no campaign is returned, so
// that a half-valid file never runs. data is not retained.
func Parse(file string, data []byte) ([]*Campaign, error) {
	s := newSource(file, strings.TrimPrefix(string(data), "\ufeff"))
	var list []*Campaign
	for _, doc := range s.parseYAML() {
		list = append(list, s.campaign(doc))
	}
	if len(list) == 0 && len(s.errs) == 0 {
		s.fail(pos{1, 1}, CodeMissing, "a campaign begins with campaign: some-id", "the file holds no campaign")
	}
	seen := make(map[string]*Campaign, len(list))
	for _, c := range list {
		if first := seen[c.ID]; first != nil && c.ID != "" {
			s.fail(pos{c.Line, c.Col}, CodeDuplicate, "", "campaign %q a second time; the first is at %d:%d", c.ID, first.Line, first.Col)
			continue
		}
		seen[c.ID] = c
	}
	if err := s.err(); err != nil {
		return nil, err
	}
	for _, c := range list {
		c.seal()
	}
	return list, nil
}

// Load reads a file, or every *.yaml and *.yml of a folder (not of its
// subfolders; names that begin with a dot are left out) in order of name. Every
// file is read before it reports, so that the error holds the faults of all.
// A folder without a campaign file gives an empty list.
func Load(path string) ([]*Campaign, error) {
	names := []string{path}
	info, err := os.Stat(path)
	if err != nil {
		return nil, &Error{File: path, Code: CodeRead, Msg: readProblem(err)}
	}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, &Error{File: path, Code: CodeRead, Msg: readProblem(err)}
		}
		names = nil
		for _, e := range entries {
			ext := strings.ToLower(filepath.Ext(e.Name()))
			if (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") {
				names = append(names, filepath.Join(path, e.Name()))
			}
		}
	}
	var list []*Campaign
	var errs []error
	for _, name := range names {
		more, err := loadFile(name)
		list = append(list, more...)
		errs = append(errs, err)
	}
	// A half-loaded folder still shows ids that are there twice.
	seen := make(map[string]*Campaign, len(list))
	for _, c := range list {
		if first := seen[c.ID]; first != nil {
			errs = append(errs, &Error{File: c.File, Line: c.Line, Col: c.Col, Code: CodeDuplicate,
				Msg: fmt.Sprintf("campaign %q a second time; the first is in %s:%d", c.ID, first.File, first.Line)})
			continue
		}
		seen[c.ID] = c
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return list, nil
}

func loadFile(name string) ([]*Campaign, error) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxFileBytes { // before it is in memory
		return nil, &Error{File: name, Code: CodeTooLarge, Msg: fmt.Sprintf("the file has %d bytes; at most %d are read", info.Size(), maxFileBytes), Hint: "split it"}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, &Error{File: name, Code: CodeRead, Msg: readProblem(err)}
	}
	return Parse(name, data)
}

// readProblem is the cause without the path, which the message already begins with.
func readProblem(err error) string {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Op + ": " + pe.Err.Error()
	}
	return err.Error()
}

// campaign reads one document. It always returns a campaign; whether it is
// usable is for s.errs to say.
func (s *source) campaign(doc ast.Node) *Campaign {
	at := where(doc)
	c := &Campaign{
		File: s.file, Line: at.line, Col: at.col,
		Enabled: true, Scope: ScopeCampaign, MaxAge: DefaultMaxAge,
	}
	var steps, once, templates field
	var have struct{ id, trigger, steps bool }
	ok := s.keys(doc, "a campaign", topKeys, topLater, func(f field) {
		switch f.name {
		case "campaign":
			have.id = true
			c.Line, c.Col = f.key.line, f.key.col
			c.ID = s.id(f)
		case "name":
			c.Name, _ = s.text(f)
			if len(c.Name) > maxName {
				s.fail(where(f.val), CodeRange, "", "name has %d bytes; at most %d", len(c.Name), maxName)
			}
		case "enabled":
			c.Enabled, _ = s.boolean(f)
		case "paused":
			c.Paused, _ = s.boolean(f)
		case "zone":
			c.Zone, c.zone = s.zone(f)
		case "trigger":
			have.trigger = true
			s.trigger(f, &c.Trigger)
		case "window":
			s.window(f, &c.Window)
		case "once_per":
			once = f
		case "scope":
			if v, ok := s.word(f, []string{string(ScopeCampaign), string(ScopeFence)}, []string{"group", "fence_group", "chain"}); ok {
				c.Scope = Scope(v)
			}
		case "max_age":
			if d, ok := s.duration(f, minAge, maxAge); ok {
				c.MaxAge = d
			}
		case "steps":
			have.steps = true
			steps = f
		case "templates":
			templates = f
		}
	})
	if !ok {
		return c
	}
	if c.Name == "" {
		c.Name = c.ID
	}
	for _, m := range []struct {
		have bool
		name string
		hint string
	}{
		{have.id, "campaign", "campaign: some-id"},
		{have.trigger, "trigger", "trigger: {enter: {fences: {tag: kyiv}}}"},
		{have.steps, "steps", "steps: [{push: {template: welcome}}]"},
	} {
		if !m.have {
			s.fail(at, CodeMissing, "such as "+m.hint, "%q is missing", m.name)
		}
	}
	// These look at what other keys said.
	if once.val != nil {
		s.oncePer(once, c)
	}
	named := s.templates(templates, c)
	if steps.val != nil {
		s.steps(steps, c, named)
	}
	return c
}

func validID(id string) bool {
	ok := id != "" && len(id) <= MaxIDLen
	for i := 0; i < len(id) && ok; i++ {
		b := id[i]
		ok = b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '_'
	}
	return ok
}

func (s *source) id(f field) string {
	v, ok := s.text(f)
	if ok && !validID(v) {
		// The id is a token of a subject and a part of claim keys.
		s.fail(where(f.val), CodeID, fmt.Sprintf("1 to %d of A-Z a-z 0-9 _ -; put the text for people under name", MaxIDLen), "%q cannot be the id of a %s", v, f.name)
	}
	return v
}

func (s *source) zone(f field) (string, *time.Location) {
	name, ok := s.text(f)
	if !ok {
		return "", nil
	}
	loc, ok := loadZone(name)
	if !ok {
		s.fail(where(f.val), CodeZone, zoneHint(name), "%q is not a time zone", name)
		return "", nil
	}
	return name, loc
}

func (s *source) duration(f field, low, high time.Duration) (time.Duration, bool) {
	v, ok := s.text(f)
	if !ok {
		return 0, false
	}
	d, hint, ok := parseDuration(v)
	if !ok {
		s.fail(where(f.val), CodeDuration, hint, "%s: %q is not a duration", f.name, v)
		return 0, false
	}
	if d < low || d > high {
		s.fail(where(f.val), CodeRange, "", "%s is %s; allowed: %v to %v", f.name, v, low, high)
		return 0, false
	}
	return d, true
}

func (s *source) trigger(f field, t *Trigger) {
	count, before := 0, len(s.errs)
	ok := s.keys(f.val, "trigger", kindKeys, kindLater, func(k field) {
		count++
		if count > 1 {
			s.fail(k.key, CodeConflict, "write a second campaign", "a trigger has one kind; this is another")
			return
		}
		t.Kind, _ = track.ParseKind(k.name)
		t.Initial = true
		s.triggerBody(k, t)
	})
	if ok && count == 0 && len(s.errs) == before { // else a misspelt kind has been named
		s.fail(where(f.val), CodeMissing, "such as enter: {fences: {tag: kyiv}}", "the trigger names no kind")
	}
}

func (s *source) triggerBody(k field, t *Trigger) {
	haveFences, before := false, len(s.errs)
	ok := s.keys(k.val, k.name, triggerKeys, triggerLater, func(f field) {
		switch f.name {
		case "fences":
			haveFences = true
			s.selector(f, &t.Fences)
		case "initial":
			if v, ok := s.boolean(f); ok {
				t.Initial = v
			}
		case "edits":
			t.Edits, _ = s.boolean(f)
		case "crossed":
			t.Crossed, _ = s.boolean(f)
			if k.name != "enter" {
				s.fail(f.key, CodeConflict, "", "crossed belongs to enter, not to %s", k.name)
			}
		case "min_confidence":
			n, _ := s.integer(f, 0, 3)
			t.MinConfidence = uint8(n)
		}
	})
	if ok && !haveFences && len(s.errs) == before {
		s.fail(k.key, CodeMissing, "fences: {tag: kyiv}, {id: store-1} or {all: true}", "%s names no fences", k.name)
	}
}

func (s *source) selector(f field, sel *Selector) {
	allKey, before := pos{}, len(s.errs)
	ok := s.keys(f.val, "fences", selectorKeys, selLater, func(k field) {
		switch k.name {
		case "all":
			v, ok := s.boolean(k)
			if ok && !v {
				s.fail(where(k.val), CodeValue, "leave it out", "all can only be true")
			}
			sel.All, allKey = v, k.key
		case "id", "ids":
			for _, v := range s.names(k, fences.MaxIDLen) {
				sel.IDs = append(sel.IDs, fences.ID(v))
			}
		case "tag", "tags":
			sel.Tags = append(sel.Tags, s.names(k, 256)...)
		}
	})
	if !ok {
		return
	}
	switch named := len(sel.IDs)+len(sel.Tags) > 0; {
	case sel.All && named:
		s.fail(allKey, CodeConflict, "remove one of them", "all and a selection of fences exclude each other")
	case !sel.All && !named && len(s.errs) == before:
		s.fail(where(f.val), CodeMissing, "{tag: kyiv}, {id: store-1} or {all: true}", "fences selects nothing")
	}
	slices.Sort(sel.IDs)
	slices.Sort(sel.Tags)
}

// names reads a name or a list of names, each once. The singular takes one.
func (s *source) names(k field, limit int) []string {
	if _, isList := k.val.(*ast.SequenceNode); isList && (k.name == "id" || k.name == "tag") {
		s.fail(where(k.val), CodeType, fmt.Sprintf("write %ss for a list", k.name), "%s is a list", k.name)
		return nil
	}
	var out []string
	for _, item := range s.list(k) {
		v, ok := s.text(item)
		switch {
		case !ok:
		case len(v) > limit:
			s.fail(where(item.val), CodeRange, "", "%s: a name of %d bytes; at most %d", k.name, len(v), limit)
		case slices.Contains(out, v):
			s.fail(where(item.val), CodeDuplicate, "", "%s: %q a second time", k.name, v)
		default:
			out = append(out, v)
		}
	}
	return out
}

func (s *source) window(f field, w *Window) {
	var toAt pos
	s.keys(f.val, "window", windowKeys, nil, func(k field) {
		switch k.name {
		case "from":
			w.From = s.moment(k, false)
		case "to":
			w.To, toAt = s.moment(k, true), where(k.val)
		case "zone":
			if v, isText := k.val.(*ast.StringNode); isText && v.Value == "store" {
				return
			}
			w.Zone, w.loc = s.zone(k)
		case "days":
			s.days(k, w)
		case "hours":
			s.hours(k, w)
		case "closed":
			s.word(k, []string{"drop"}, []string{"hold", "notify_if_inside"})
		}
	})
	if w.From.IsZero() || w.To.IsZero() {
		return
	}
	// With one end an instant and the other a reading, which is first depends
	// on the zone; compared in the window's own it is a mistake in any.
	loc := w.location(nil)
	if from, to := w.From.In(loc), w.To.In(loc); !from.Before(to) {
		s.fail(toAt, CodeEmptyWindow, "to must be later than from", "the window is never open: it ends at %s and begins at %s", w.To, w.From)
	}
}

func (s *source) moment(f field, end bool) Moment {
	v, ok := s.text(f)
	if !ok {
		return Moment{}
	}
	m, hint, ok := parseMoment(v, end)
	if !ok {
		what := "is not a date and time"
		if strings.Contains(hint, "include that day") {
			what = "is a day, but an end is a time"
		}
		s.fail(where(f.val), CodeDate, hint, "%s: %q %s", f.name, v, what)
	}
	return m
}

func (s *source) days(f field, w *Window) {
	for _, item := range s.list(f) {
		v, ok := s.text(item)
		if !ok {
			continue
		}
		set, ok := parseDays(v)
		switch {
		case !ok:
			s.fail(where(item.val), CodeDay, didYouMean(v, []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"})+"; a range is written mon-fri", "%q is not a day of the week", v)
		case w.Days&set != 0:
			s.fail(where(item.val), CodeDuplicate, "", "%s is in days a second time", w.Days&set)
		default:
			w.Days |= set
		}
	}
}

func (s *source) hours(f field, w *Window) {
	for _, item := range s.list(f) {
		v, ok := s.text(item)
		if !ok {
			continue
		}
		sp, off, problem, hint := parseSpan(v)
		if problem != "" {
			s.fail(s.inside(item.val, v, off), CodeHours, hint, "hours: %q %s", v, problem)
			continue
		}
		w.Hours = append(w.Hours, sp)
	}
}

func (s *source) oncePer(f field, c *Campaign) {
	if _, isText := f.val.(*ast.StringNode); isText {
		v, ok := s.word(f, []string{"campaign", "none"}, nil)
		switch {
		case !ok:
		case v == "campaign":
			c.Once = dedupe.Period{Kind: dedupe.PeriodEver}
		default:
			c.Once = dedupe.Period{Kind: dedupe.PeriodNone}
		}
		return
	}
	var day, starts, rolling field
	ok := s.keys(f.val, "once_per", onceKeys, nil, func(k field) {
		switch k.name {
		case "day":
			day = k
			zones := map[string]dedupe.DayZone{"store": dedupe.DayStore, "user": dedupe.DayUser, "campaign": dedupe.DayCampaign}
			if v, ok := s.word(k, []string{"store", "user", "campaign"}, nil); ok {
				c.Once.Zone = zones[v]
			}
		case "starts":
			starts = k
			v, ok := s.text(k)
			if !ok {
				return
			}
			minutes, ok := parseClock(v, false)
			if !ok {
				s.fail(where(k.val), CodeHours, `write starts: "04:00"`, "starts: %q is not a time of day", v)
			}
			c.Once.DayStart = time.Duration(minutes) * time.Minute
		case "rolling":
			rolling = k
			if d, ok := s.duration(k, time.Minute, 366*24*time.Hour); ok {
				c.Once = dedupe.Period{Kind: dedupe.PeriodRolling, Rolling: d}
			}
		}
	})
	switch {
	case !ok:
	case day.val != nil && rolling.val != nil:
		s.fail(rolling.key, CodeConflict, "remove one of them", "day and rolling exclude each other")
	case starts.val != nil && rolling.val != nil:
		s.fail(starts.key, CodeConflict, "remove it", "starts belongs to day, not to rolling")
	case day.val == nil && rolling.val == nil:
		s.fail(where(f.val), CodeMissing, "{day: store}, {rolling: PT24H}, campaign or none", "once_per names no period")
	case c.Once.Kind == dedupe.PeriodDay && c.Once.Zone == dedupe.DayCampaign && c.Zone == "":
		if c.Window.loc == nil {
			s.fail(where(day.val), CodeMissing, "add zone: Europe/Kyiv to the campaign", "day: campaign needs the campaign's zone")
			return
		}
		c.Zone, c.zone = c.Window.Zone, c.Window.loc
	}
}

func (s *source) steps(f field, c *Campaign, named map[string]*Template) {
	seq, ok := f.val.(*ast.SequenceNode)
	if !ok {
		s.wrongType(f.val, "steps", "a list, such as - push: {template: welcome}")
		return
	}
	if len(seq.Values) == 0 {
		s.fail(where(seq), CodeMissing, "- push: {template: welcome}", "steps is an empty list")
	}
	for i, step := range seq.Values {
		s.keys(step, "a step", []string{"push"}, stepLater, func(k field) {
			if i > 0 {
				s.fail(k.key, CodeUnsupported, "remove it", "more than one step is not supported yet by this version")
				return
			}
			s.push(k, c, named)
		})
	}
}

func (s *source) push(f field, c *Campaign, named map[string]*Template) {
	c.Push.TTL = DefaultTTL
	have, before := false, len(s.errs)
	ok := s.keys(f.val, "push", pushKeys, pushLater, func(k field) {
		switch k.name {
		case "ttl":
			if d, ok := s.duration(k, minTTL, maxTTL); ok {
				c.Push.TTL = d
			}
		case "template":
			have = true
			if _, inline := k.val.(*ast.MappingNode); inline {
				c.Push.Template = s.template("", k, c)
				return
			}
			name, ok := s.text(k)
			if !ok {
				return
			}
			t, known := named[name]
			if !known {
				names := make([]string, 0, len(named))
				for n := range named {
					names = append(names, n)
				}
				slices.Sort(names)
				hint := "add it under templates"
				if len(names) > 0 {
					hint = didYouMean(name, names)
				}
				s.fail(where(k.val), CodeNoTemplate, hint, "there is no template %q in this campaign", name)
			}
			c.Push.Template = t
		}
	})
	if ok && !have && len(s.errs) == before {
		s.fail(f.key, CodeMissing, "template: welcome", "the push names no template")
	}
}
