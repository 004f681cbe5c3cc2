package campaign

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"footfall/audience"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/track"
)

// Keys of the file format: those that this version reads, and those that the
// design foresees and this version refuses by name.
var (
	topKeys   = []string{"campaign", "name", "enabled", "paused", "zone", "trigger", "window", "audience", "once_per", "scope", "caps", "exempt", "quiet", "holdout", "max_age", "steps", "templates"}
	topLater  = []string{"goal", "variants", "priority", "channels"}
	kindKeys  = []string{"enter", "exit", "dwell", "schedule"}
	kindLater = []string{"event", "segment", "crossed"}

	triggerKeys  = []string{"fences", "initial", "edits", "crossed", "min_confidence", "visits"}
	triggerLater = []string{"where"}
	visitKeys    = []string{"min", "max", "every", "within"}
	selectorKeys = []string{"id", "ids", "tag", "tags", "all"}
	selLater     = []string{"store", "stores", "group", "groups"}
	windowKeys   = []string{"from", "to", "zone", "days", "hours", "closed", "hold_for"}
	quietKeys    = []string{"hours", "zone", "closed"}
	capKeys      = []string{"max", "per", "of"}
	scopeKeys    = []string{"group"}
	variantKeys  = []string{"share", "template"}
	closedWords  = []string{string(Drop), string(Hold), string(NotifyIfInside)}
	onceKeys     = []string{"day", "starts", "rolling"}
	pushKeys     = []string{"template", "ttl", "variants", "voucher", "devices", "in_app"}
	inAppWords   = []string{string(InAppAlso), string(InAppOnly)}
	voucherKeys  = []string{"pool", "empty"}
	pushLater    = []string{"collapse", "send_at", "best_time"}
	stepLater    = []string{"wait", "wait_for", "if", "split", "experiment", "reachable", "tag", "webhook", "emit", "goal", "exit"}
)

const stepsOfAJourney = "several steps are a journey: begin the document with journey: and entry:, see docs/journeys.md"

// elsewhere says of names that have another place, or belong to journeys, where
// that is.
var elsewhere = map[string]string{
	"goal":       "a journey has a goal; of a campaign, campaign report counts --goal NAME",
	"variants":   "put them into the push: push: {variants: {A: 50%, B: 50%}}",
	"event":      "an event begins a journey: entry: {event: NAME}, see docs/journeys.md",
	"segment":    "joining a segment begins a journey: entry: {joins: NAME}; who may get a campaign is audience: {segment: NAME}",
	"collapse":   "put it into the template",
	"send_at":    "a campaign has trigger: {schedule: …}, a journey a wait before the push",
	"best_time":  "a campaign has trigger: {schedule: {at: best_time, …}}, a journey wait: {at: best_time, …} before the push",
	"wait":       stepsOfAJourney,
	"wait_for":   stepsOfAJourney,
	"if":         stepsOfAJourney,
	"split":      stepsOfAJourney,
	"experiment": stepsOfAJourney,
	"reachable":  stepsOfAJourney,
	"tag":        stepsOfAJourney,
	"webhook":    stepsOfAJourney,
	"emit":       stepsOfAJourney,
	"exit":       stepsOfAJourney,
}

// Parse reads every campaign of a YAML file. file is only for messages. The
// error joins one [*Error] for everything that is wrong, in the order of the
// file ([Errors] takes it apart); with an error no campaign is returned, so
// that a half-valid file never runs. data is not retained.
func Parse(file string, data []byte) ([]*Campaign, error) {
	lib, err := ParseLibrary(file, data)
	if err != nil {
		return nil, err
	}
	return lib.Campaigns, nil
}

// Load reads the campaigns of a file or folder as [LoadLibrary] does.
func Load(path string) ([]*Campaign, error) {
	lib, err := LoadLibrary(path)
	if err != nil {
		return nil, err
	}
	return lib.Campaigns, nil
}

// campaign reads one document. It always returns a campaign; whether it is
// usable is for s.errs to say.
func (s *source) campaign(doc ast.Node) *Campaign {
	at := where(doc)
	c := &Campaign{
		File: s.file, Line: at.line, Col: at.col,
		Enabled: true, Scope: ScopeCampaign, MaxAge: DefaultMaxAge, Window: Window{Closed: Drop},
	}
	var steps, once, templates field
	var have struct{ id, trigger, steps bool }
	var ok bool
	ok = s.keys(doc, "a campaign", topKeys, topLater, func(f field) {
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
		case "audience":
			c.Audience = s.rule(f)
		case "once_per":
			once = f
		case "scope":
			s.scope(f, c)
		case "caps":
			c.Caps = s.caps(f, capKeys)
		case "exempt":
			c.Exempt, _ = s.boolean(f)
		case "quiet":
			s.quiet(f, &c.Quiet)
		case "holdout":
			at := where(f.val)
			if c.Holdout, ok = s.share(f); ok && c.Holdout == whole {
				s.fail(at, CodeRange, "pause the campaign to send nothing", "a holdout of everybody leaves nobody to send to")
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
	if len(s.errs) == 0 {
		s.refusePaths(&c.Push, pos{c.Line, c.Col}, "remove it from the template", func(path string) string {
			if root, _, _ := strings.Cut(path, "."); root == "entry" {
				return "only journeys have it"
			}
			return ""
		})
		s.needVoucher(&c.Push, pos{c.Line, c.Col})
	}
	if c.Trigger.Schedule != nil && len(s.errs) == 0 {
		s.announcement(c, pos{c.Line, c.Col})
	}
	return c
}

// announcement finds what an announcement cannot have: it happens nowhere.
func (s *source) announcement(c *Campaign, at pos) {
	switch {
	case c.Scope != ScopeCampaign:
		s.fail(at, CodeConflict, "remove scope", "an announcement happens at no fence, so its claims have no scope %q", c.Scope)
	case c.Window.Closed == NotifyIfInside || c.Quiet.Closed == NotifyIfInside:
		s.fail(at, CodeConflict, "write closed: hold", "an announcement happens at no fence, so nobody can be still inside")
	}
	if once := !c.Trigger.Schedule.Once.IsZero(); !once && c.Window.To.IsZero() && !c.Window.Endless {
		s.fail(at, CodeMissing, "window: {to: 2026-12-31T21:00}, or to: never when it is to go on until it is stopped", "an announcement that recurs needs an end")
	}
	s.refusePaths(&c.Push, at, "remove it from the template, or trigger the campaign by an enter", func(path string) string {
		switch root, member, _ := strings.Cut(path, "."); {
		case root == "fence", root == "store", root == "event" && member != "kind" && member != "at":
			return "there is no fence in an announcement"
		}
		return ""
	})
}

// refusePaths refuses templates that read what is never there: bad says why.
func (s *source) refusePaths(p *PushStep, at pos, hint string, bad func(path string) string) {
	templates := []*Template{p.Template}
	for _, v := range p.Variants {
		templates = append(templates, v.Template)
	}
	for _, t := range templates {
		if t == nil {
			continue
		}
		for _, path := range t.paths() {
			if why := bad(path); why != "" {
				s.fail(at, CodeVariable, hint, "its push reads %s, and %s", path, why)
				return
			}
		}
	}
}

// paths lists what the template reads, in any language and on any platform.
func (t *Template) paths() []string {
	paths := slices.Clone(t.Required)
	for i := range t.Locales {
		for _, text := range t.texts(&t.Locales[i]) {
			read, _ := lint(text.Source)
			paths = append(paths, read...)
		}
	}
	return paths
}

// reads reports whether the template reads something below root.
func (t *Template) reads(root string) bool {
	return slices.ContainsFunc(t.paths(), func(path string) bool { r, _, _ := strings.Cut(path, "."); return r == root })
}

// needVoucher refuses a template that reads a voucher of no pool, and a pool that no template reads a voucher of.
func (s *source) needVoucher(p *PushStep, at pos) {
	if p.Voucher == nil {
		s.refusePaths(p, at, "add voucher: {pool: NAME} to the push", func(path string) string {
			if root, _, _ := strings.Cut(path, "."); root == "voucher" {
				return "the push names no pool of vouchers"
			}
			return ""
		})
		return
	}
	used := p.Template != nil && p.Template.reads("voucher")
	for _, v := range p.Variants {
		used = used || v.Template != nil && v.Template.reads("voucher")
	}
	if !used {
		s.fail(at, CodeConflict, "write {{ voucher }} in the template, or remove voucher from the push", "no template of the push shows the code that it would take from pool %s", p.Voucher.Pool)
	}
}

// voucher reads the name of a pool, or {pool: NAME, empty: send_without}.
func (s *source) voucher(f field) *Voucher {
	v := new(Voucher)
	pool := func(k field) {
		name, ok := s.text(k)
		if ok && !validID(name) {
			s.fail(where(k.val), CodeID, fmt.Sprintf("1 to %d of A-Z a-z 0-9 _ -", MaxIDLen), "%q cannot be the name of a pool", name)
		}
		v.Pool = name
	}
	if _, short := f.val.(*ast.StringNode); short {
		pool(f)
		return v
	}
	before := len(s.errs)
	ok := s.keys(f.val, "voucher", voucherKeys, nil, func(k field) {
		switch k.name {
		case "pool":
			pool(k)
		case "empty":
			word, _ := s.word(k, []string{"hold_back", "send_without"}, nil)
			v.Optional = word == "send_without"
		}
	})
	if ok && v.Pool == "" && len(s.errs) == before {
		s.fail(where(f.val), CodeMissing, "voucher: {pool: bday18}", "the voucher names no pool")
	}
	return v
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

// duration reads a length of time; forms are what the key may be besides, for the hint.
func (s *source) duration(f field, low, high time.Duration, forms ...string) (time.Duration, bool) {
	v, ok := s.text(f)
	if !ok {
		return 0, false
	}
	d, hint, ok := parseDuration(v)
	if !ok {
		s.fail(where(f.val), CodeDuration, strings.Join(append([]string{hint}, forms...), ", or "), "%s: %q is not a duration", f.name, v)
		return 0, false
	}
	if d < low || d > high {
		s.fail(where(f.val), CodeRange, "", "%s is %s; allowed: %s to %s", f.name, v, formatDuration(low), formatDuration(high))
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
		if k.name == "schedule" {
			t.Schedule = s.schedule(k)
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
		case "visits":
			s.visits(f, &t.Visits)
		}
	})
	if ok && !haveFences && len(s.errs) == before {
		s.fail(k.key, CodeMissing, "fences: {tag: kyiv}, {id: store-1} or {all: true}", "%s names no fences", k.name)
	}
}

// visits reads a number (the third visit) or a mapping.
func (s *source) visits(f field, v *Visits) {
	if _, isNumber := f.val.(*ast.IntegerNode); isNumber {
		n, _ := s.integer(f, 1, maxVisitNumber)
		v.Min, v.Max = n, n
		return
	}
	var maxAt pos
	given, before := 0, len(s.errs)
	ok := s.keys(f.val, "visits", visitKeys, nil, func(k field) {
		switch k.name {
		case "min":
			v.Min, _ = s.integer(k, 1, maxVisitNumber)
		case "max":
			v.Max, _ = s.integer(k, 1, maxVisitNumber)
			maxAt = where(k.val)
		case "every":
			v.Every, _ = s.integer(k, 2, maxVisitNumber)
		case "within":
			v.Within, _ = s.duration(k, time.Hour, audience.KeepVisits)
			return
		}
		given++
	})
	switch {
	case !ok || len(s.errs) > before:
	case given == 0:
		s.fail(where(f.val), CodeMissing, "visits: 3, {min: 3}, {min: 3, max: 5} or {every: 10}", "visits says nothing about which visit it is")
	case v.Max > 0 && v.Max < v.Min:
		s.fail(maxAt, CodeRange, "max must be at least min", "no visit is number %d or later and number %d or earlier", v.Min, v.Max)
	}
}

// maxVisitNumber is beyond what anybody visits a shop in a year.
const maxVisitNumber = 1000

func (s *source) scope(f field, c *Campaign) {
	if _, isText := f.val.(*ast.StringNode); isText {
		if v, ok := s.word(f, []string{string(ScopeCampaign), string(ScopeFence), string(ScopeStore)}, nil, "{group: [north, south]}"); ok {
			c.Scope = Scope(v)
		}
		return
	}
	found, before := false, len(s.errs)
	ok := s.keys(f.val, "scope", scopeKeys, nil, func(k field) {
		found = true
		c.Scope, c.Groups = ScopeGroup, s.names(field{"groups", k.key, k.val}, 256)
	})
	if ok && !found && len(s.errs) == before {
		s.fail(where(f.val), CodeMissing, "campaign, fence, store or {group: [north, south]}", "scope names no group")
	}
}

// rule reads an expression, or {segment: gold}, which is short for one.
func (s *source) rule(f field) (r *audience.Rule) {
	switch f.val.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		found, before := false, len(s.errs)
		s.keys(f.val, f.name, []string{"segment"}, nil, func(k field) {
			found = true
			name, ok := s.text(k)
			if !ok {
				return
			}
			var err error
			if r, err = s.segments.Parse(fmt.Sprintf("segment(%q)", name)); err != nil {
				if re, bad := errors.AsType[*audience.RuleError](err); bad {
					hint := "segments: {" + name + ": ...}"
					if names := s.segments.Names(); len(names) > 0 {
						hint = didYouMean(name, names)
					}
					s.fail(where(k.val), CodeAudience, hint, "%s: %s", f.name, re.Reason)
				}
			}
		})
		if !found && len(s.errs) == before {
			s.fail(where(f.val), CodeMissing, "{segment: gold}, or an expression", "%s names no segment", f.name)
		}
		return r
	}
	text, ok := s.text(f)
	if !ok {
		return nil
	}
	r, err := s.segments.Parse(text)
	if re, bad := errors.AsType[*audience.RuleError](err); bad {
		s.fail(s.inside(f.val, text, re.Offset), CodeAudience, ruleHint(re), "%s: %s", f.name, re.Reason)
	}
	return r
}

func ruleHint(e *audience.RuleError) string {
	if n := nearest(e.Name, e.Known); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return `such as 'tags.loyalty == "gold"', see docs/campaigns.md`
}

func (s *source) share(f field) (Share, bool) {
	v, ok := s.text(f)
	if !ok {
		return 0, false
	}
	share, ok := parseShare(v)
	if !ok || share == 0 {
		s.fail(where(f.val), CodeRange, "write 10% or 12.5%; above 0%, at most 100%", "%s: %q is not a share", f.name, v)
	}
	return share, ok
}

// ParseCaps reads the caps of a gateway, over all its campaigns: the list that a
// campaign has under caps, without "of" and "per: campaign". "[]" is none.
func ParseCaps(text string) ([]Cap, error) {
	s := newSource("", text)
	docs := s.parseYAML()
	if len(docs) != 1 {
		if len(s.errs) == 0 {
			return nil, errors.New("not a list, such as [{max: 2, per: day}, {max: 5, per: 7d}]")
		}
		return nil, errors.New(s.errs[0].Msg)
	}
	if seq, isList := docs[0].(*ast.SequenceNode); isList && len(seq.Values) == 0 {
		return nil, nil
	}
	caps := s.caps(field{"caps", where(docs[0]), docs[0]}, []string{"max", "per"})
	for i := range caps {
		if caps[i].Ever {
			return nil, errors.New("per: campaign is for the caps of one campaign; give a length of time, such as per: 7d, or per: day")
		}
		caps[i].All = true
	}
	var errs []error
	for _, e := range s.errs {
		errs = append(errs, fmt.Errorf("%s (%s)", e.Msg, e.Hint))
	}
	return caps, errors.Join(errs...)
}

// caps reads a list of caps that have the keys.
func (s *source) caps(f field, keys []string) (caps []Cap) {
	if _, isList := f.val.(*ast.SequenceNode); !isList {
		s.wrongType(f.val, "caps", "a list, such as [{max: 2, per: 7d}]")
		return nil
	}
	items := s.list(f)
	if len(items) > maxCaps {
		s.fail(items[maxCaps].key, CodeTooLarge, "", "%d caps; at most %d", len(items), maxCaps)
		return nil
	}
	for _, item := range items {
		caps = append(caps, s.cap(item, keys))
	}
	return caps
}

const (
	maxCaps   = 8
	maxCapMax = 1000
)

func (s *source) cap(f field, keys []string) Cap {
	var l Cap
	var have struct{ max, per bool }
	ok := s.keys(f.val, "a cap", keys, nil, func(k field) {
		switch k.name {
		case "max":
			have.max = true
			l.Max, _ = s.integer(k, 1, maxCapMax)
		case "per":
			have.per = true
			if n, isText := k.val.(*ast.StringNode); isText && (n.Value == "day" || n.Value == "campaign") {
				l.Day, l.Ever = n.Value == "day", n.Value == "campaign"
				return
			}
			l.Per, _ = s.duration(k, time.Minute, maxCapPer, "day", "campaign")
		case "of":
			v, _ := s.word(k, []string{"campaign", "all"}, nil)
			l.All = v == "all"
		}
	})
	for _, m := range []struct {
		have bool
		name string
	}{{have.max, "max"}, {have.per, "per"}} {
		if ok && !m.have {
			s.fail(where(f.val), CodeMissing, "such as {max: 2, per: 7d}, {max: 1, per: day}", "the cap has no %s", m.name)
		}
	}
	if l.All && l.Ever {
		s.fail(where(f.val), CodeConflict, "give a length of time, such as per: 7d", "a cap for ever over all campaigns would end all of them")
	}
	return l
}

func (s *source) quiet(f field, q *Quiet) {
	q.Closed = Drop
	var hoursAt pos
	have, before := false, len(s.errs)
	ok := s.keys(f.val, "quiet", quietKeys, nil, func(k field) {
		switch k.name {
		case "hours":
			have = true
			hoursAt = where(k.val)
			q.Hours = s.spans(k)
		case "zone":
			v, _ := s.word(k, []string{"store", "device"}, nil)
			q.Device = v == "device"
		case "closed":
			if v, ok := s.word(k, closedWords, nil); ok {
				q.Closed = Closed(v)
			}
		}
	})
	if ok && !have && len(s.errs) == before {
		s.fail(where(f.val), CodeMissing, `such as hours: "22:00-09:00"`, "quiet has no hours")
	}
	var minutes [24 * 60]bool
	loud := len(minutes)
	for _, sp := range q.Hours {
		for m := range minutes {
			if !minutes[m] && sp.has(m) {
				minutes[m] = true
				loud--
			}
		}
	}
	if loud == 0 {
		s.fail(hoursAt, CodeEmptyWindow, "leave some hours in which a push may be shown", "it is quiet all day")
	}
}

func (s *source) selector(f field, sel *Selector) {
	allKey, before := pos{}, len(s.errs)
	sel.at = where(f.val)
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
	var holdFor field
	w.Closed = Drop
	s.keys(f.val, "window", windowKeys, nil, func(k field) {
		switch k.name {
		case "from":
			w.From = s.moment(k, false)
		case "to":
			if n, isText := k.val.(*ast.StringNode); isText && n.Value == "never" {
				w.Endless = true
				return
			}
			w.To, toAt = s.moment(k, true), where(k.val)
		case "zone":
			if v, isText := k.val.(*ast.StringNode); isText && v.Value == "store" {
				return
			}
			w.Zone, w.loc = s.zone(k)
		case "days":
			s.days(k, w)
		case "hours":
			w.Hours = s.spans(k)
		case "closed":
			if v, ok := s.word(k, closedWords, nil); ok {
				w.Closed = Closed(v)
			}
		case "hold_for":
			holdFor = k
			if d, ok := s.duration(k, time.Minute, maxHoldFor); ok {
				w.HoldFor = d
			}
		}
	})
	switch {
	case w.Closed == Drop && holdFor.val != nil:
		s.fail(holdFor.key, CodeConflict, "add closed: hold, or remove it", "hold_for belongs to closed: hold or notify_if_inside")
	case w.Closed != Drop && holdFor.val == nil:
		w.HoldFor = DefaultHoldFor
	}
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

func (s *source) spans(f field) (list []Span) {
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
		list = append(list, sp)
	}
	return list
}

func (s *source) oncePer(f field, c *Campaign) {
	if _, isText := f.val.(*ast.StringNode); isText {
		v, ok := s.word(f, []string{"campaign", "none"}, nil, "{day: store}", "{rolling: PT24H}")
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
				s.fail(k.key, CodeUnsupported, stepsOfAJourney, "a campaign has one push")
				return
			}
			s.push(k, c, named)
		})
	}
}

func (s *source) push(f field, c *Campaign, named map[string]*Template) {
	c.Push.TTL = DefaultTTL
	have, before := false, len(s.errs)
	var variants field
	ok := s.keys(f.val, "push", pushKeys, pushLater, func(k field) {
		switch k.name {
		case "ttl":
			if d, ok := s.duration(k, minTTL, maxTTL); ok {
				c.Push.TTL = d
			}
		case "template":
			have = true
			c.Push.Template = s.templateRef(k, c, named)
		case "variants":
			variants = k
			c.Push.Variants = s.variants(k, c, named)
		case "voucher":
			c.Push.Voucher = s.voucher(k)
		case "devices":
			word, _ := s.word(k, []string{"last_active", "all"}, nil)
			c.Push.AllDevices = word == "all"
		case "in_app":
			v, _ := s.word(k, inAppWords, nil)
			c.Push.InApp = InApp(v)
		}
	})
	if variants.val != nil && !have { // then each has its own
		have = true
		for i, v := range c.Push.Variants {
			if v.Template == nil && len(s.errs) == before {
				s.fail(where(variants.val), CodeMissing, "give the push a template, or each variant its own", "variant %s has no template", c.Push.Variants[i].Name)
			}
		}
	}
	if ok && !have && len(s.errs) == before {
		s.fail(f.key, CodeMissing, "template: welcome", "the push names no template")
	}
}

// templateRef reads the name of a template, or one written in place.
func (s *source) templateRef(k field, c *Campaign, named map[string]*Template) *Template {
	if _, inline := k.val.(*ast.MappingNode); inline {
		return s.template("", k, c)
	}
	name, ok := s.text(k)
	if !ok {
		return nil
	}
	t, known := named[name]
	if !known {
		hint := "add it under templates"
		if len(named) > 0 {
			hint = didYouMean(name, slices.Sorted(maps.Keys(named)))
		}
		s.fail(where(k.val), CodeNoTemplate, hint, "there is no template %q in this document", name)
	}
	return t
}

const maxVariants = 16

// variants reads {A: 50%, B: 50%} or {A: {share: 50%, template: a}, …}, in the
// order of the file: the order decides who is in which.
func (s *source) variants(f field, c *Campaign, named map[string]*Template) (list []Variant) {
	before := len(s.errs)
	fields, ok := s.mapping(f.val, "variants")
	if !ok {
		return nil
	}
	if len(fields) < 2 || len(fields) > maxVariants {
		s.fail(where(f.val), CodeRange, "such as {A: 50%, B: 50%}", "%d variants; from 2 to %d", len(fields), maxVariants)
	}
	var sum Share
	for _, k := range fields {
		if !validID(k.name) {
			s.fail(k.key, CodeID, fmt.Sprintf("1 to %d of A-Z a-z 0-9 _ -", MaxIDLen), "%q cannot be the name of a variant", k.name)
		}
		v := Variant{Name: k.name}
		if _, short := k.val.(*ast.StringNode); short {
			v.Share, _ = s.share(k)
		} else {
			have := false
			if ok := s.keys(k.val, "a variant", variantKeys, nil, func(m field) {
				switch m.name {
				case "share":
					have = true
					v.Share, _ = s.share(m)
				case "template":
					v.Template = s.templateRef(m, c, named)
				}
			}); ok && !have {
				s.fail(k.key, CodeMissing, "share: 50%", "variant %s has no share", k.name)
			}
		}
		sum += v.Share
		list = append(list, v)
	}
	if len(s.errs) == before && sum != whole {
		s.fail(where(f.val), CodeRange, "the shares must add up to 100%; what nobody is to get belongs in holdout", "the shares of the variants add up to %s", sum)
	}
	return list
}
