package campaign

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// ActionText is a button of a template. Its label is the template's unless the
// locale has one for the same id.
type ActionText struct {
	ID          string
	Label       Text
	Link        Text `json:",omitzero"`
	Foreground  bool `json:",omitzero"`
	Destructive bool `json:",omitzero"`
}

// Look is what one platform shows differently. Zero members are those of the
// template, or of the provider's configuration.
type Look struct {
	Sound, Category         string `json:",omitzero"`
	Channel                 string `json:",omitzero"` // notification channel: android, hms
	Color, Icon, Visibility string `json:",omitzero"` // android, hms
	Sticky                  bool   `json:",omitzero"` // web: stays until the person acts

	// Raw is a JSON object in the platform's own words, merged into the payload;
	// see push.MergeRaw.
	Raw json.RawMessage `json:",omitempty"`
}

// PlatformText are the words of one locale that one platform shows instead.
type PlatformText struct {
	Title, Subtitle, Body Text `json:",omitzero"`
}

// Button is a filled ActionText.
type Button struct {
	ID          string `json:"id"`
	Label       string `json:"label"`
	Link        string `json:"link,omitempty"`
	Foreground  bool   `json:"foreground,omitempty"`
	Destructive bool   `json:"destructive,omitempty"`
}

// platforms are those that a template can speak to in its own way.
var platforms = []string{"ios", "android", "web", "hms"}

var (
	lookKeys = map[string][]string{
		"ios":     {"sound", "category", "raw"},
		"android": {"sound", "category", "channel", "color", "icon", "visibility", "raw"},
		"web":     {"sticky", "raw"},
		"hms":     {"sound", "category", "channel", "color", "icon", "visibility", "raw"},
	}
	platformTextKeys = []string{"title", "subtitle", "body"}
	actionKeys       = []string{"id", "label", "link", "foreground", "destructive"}

	kindWords       = []string{"alert", "background"}
	importanceWords = []string{"passive", "active", "time_sensitive", "critical"}
	styleWords      = []string{"display", "data"}
	visibilityWords = []string{"private", "public", "secret"}
)

const (
	maxActions = 3     // what phones and browsers show
	maxBadge   = 9_999 // more than an icon has room for
)

var (
	namePattern  = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	colorPattern = regexp.MustCompile(`^#[0-9A-Fa-f]{6}$`)
)

// look reads the keys of a template that say how the push appears. It reports
// whether k was one of them.
func (s *source) look(k field, t *Template) bool {
	switch k.name {
	case "kind":
		v, _ := s.word(k, kindWords, []string{"liveactivity"})
		t.Background = v == "background"
	case "badge":
		if v, isText := k.val.(*ast.StringNode); isText && (v.Value == "none" || v.Value == "inc") {
			t.BadgeInc = v.Value == "inc"
			return true
		}
		if v, ok := s.integer(k, 0, maxBadge); ok {
			t.Badge = &v
		}
	case "category":
		t.Category = s.name(k)
	case "importance":
		t.Importance, _ = s.word(k, importanceWords, nil)
	case "relevance":
		t.Relevance = s.unit(k)
	case "style":
		t.Style, _ = s.word(k, styleWords, nil)
	case "actions":
		t.Actions = s.actions(k)
	case "ios", "android", "web", "hms":
		l := new(Look)
		s.keys(k.val, k.name, lookKeys[k.name], nil, func(p field) {
			if p.name == "raw" {
				l.Raw = s.raw(p, k.name)
				return
			}
			s.lookOf(p, l)
		})
		if t.Looks == nil {
			t.Looks = make(map[string]*Look)
		}
		t.Looks[k.name] = l
	default:
		return false
	}
	return true
}

func (s *source) lookOf(p field, l *Look) {
	switch p.name {
	case "sound":
		l.Sound = s.sound(p)
	case "category":
		l.Category = s.name(p)
	case "channel":
		l.Channel = s.name(p)
	case "icon":
		l.Icon = s.name(p)
	case "color":
		if v, ok := s.text(p); ok && !colorPattern.MatchString(v) {
			s.fail(where(p.val), CodeValue, `"#12ab9f", in quotes because # begins a comment`, "%q is not a color", v)
		} else if ok {
			l.Color = v
		}
	case "visibility":
		l.Visibility, _ = s.word(p, visibilityWords, nil)
	case "sticky":
		l.Sticky, _ = s.boolean(p)
	}
}

// name reads the name of something in the app: a channel, a resource, a
// category.
func (s *source) name(f field) string {
	v, ok := s.text(f)
	if ok && !namePattern.MatchString(v) {
		s.fail(where(f.val), CodeValue, "1 to 64 of A-Z a-z 0-9 _ . -", "%s: %q is not a name", f.name, v)
		return ""
	}
	return v
}

func (s *source) sound(f field) string {
	v, ok := s.text(f)
	if ok && (len(v) > 64 || strings.ContainsAny(v, "/\\\n")) {
		s.fail(where(f.val), CodeValue, "default, none, or a file name such as chime.caf", "%q cannot be a sound", v)
	}
	return v
}

// unit reads a number from 0 to 1.
func (s *source) unit(f field) float64 {
	v, ok := s.text(f)
	n, err := strconv.ParseFloat(v, 64)
	if ok && (err != nil || !(n >= 0 && n <= 1)) {
		s.fail(where(f.val), CodeRange, "", "%s is %s; allowed: 0 to 1", f.name, v)
		return 0
	}
	return n
}

func (s *source) actions(f field) []ActionText {
	var out []ActionText
	for _, item := range s.list(f) {
		if len(out) == maxActions {
			s.fail(where(item.val), CodeRange, "", "more than %d actions", maxActions)
			break
		}
		var a ActionText
		ok := s.keys(item.val, "an action", actionKeys, nil, func(k field) {
			switch k.name {
			case "id":
				a.ID = s.name(k)
			case "label":
				a.Label = s.liquid(k)
			case "link":
				a.Link = s.address(k, false)
			case "foreground":
				a.Foreground, _ = s.boolean(k)
			case "destructive":
				a.Destructive, _ = s.boolean(k)
			}
		})
		switch {
		case !ok:
			continue
		case a.ID == "":
			s.fail(where(item.val), CodeMissing, "{id: open, label: Open}", "an action has no id")
		case slices.ContainsFunc(out, func(x ActionText) bool { return x.ID == a.ID }):
			s.fail(where(item.val), CodeDuplicate, "", "action %q a second time", a.ID)
		}
		out = append(out, a)
	}
	return out
}

// labels reads a locale's words for the template's actions.
func (s *source) labels(f field) map[string]Text {
	fields, _ := s.mapping(f.val, "actions")
	out := make(map[string]Text, len(fields))
	for _, k := range fields {
		out[k.name] = s.liquid(k)
	}
	return out
}

// platformText reads a locale's own words for a platform.
func (s *source) platformText(f field) *PlatformText {
	p := new(PlatformText)
	s.keys(f.val, f.name, platformTextKeys, nil, func(k field) {
		switch k.name {
		case "title":
			p.Title = s.liquid(k)
		case "subtitle":
			p.Subtitle = s.liquid(k)
		case "body":
			p.Body = s.liquid(k)
		}
	})
	return p
}

// checkLook finds what only the whole template can show.
func (s *source) checkLook(t *Template, at pos) {
	for i := range t.Locales {
		l := &t.Locales[i]
		for id := range l.Labels {
			if !slices.ContainsFunc(t.Actions, func(a ActionText) bool { return a.ID == id }) {
				s.fail(l.at, CodeValue, "", "locale %s names an action %q that the template does not have", l.Locale, id)
			}
		}
		for _, a := range t.Actions {
			if a.Label.Source == "" && l.Labels[a.ID].Source == "" {
				s.fail(l.at, CodeMissing, fmt.Sprintf("actions: {%s: …}", a.ID), "action %q has no label in locale %s", a.ID, l.Locale)
			}
		}
	}
	s.checkRaw(t, at)
	if t.Background && (t.Badge == nil && !t.BadgeInc && len(t.Data) == 0) {
		s.fail(at, CodeMissing, "data: {refresh: fences}", "a background push shows nothing, so it needs data or a badge")
	}
}

// texts are all Liquid texts of a locale and of its template.
func (t *Template) texts(l *LocaleText) []Text {
	out := []Text{l.Title, l.Subtitle, l.Body, l.Image, l.Link, l.Alt, t.Thread, t.Collapse}
	for _, d := range t.Data {
		out = append(out, d.Value)
	}
	for _, a := range t.Actions {
		out = append(out, a.Label, a.Link, l.Labels[a.ID])
	}
	for _, name := range platforms {
		if p := l.Platforms[name]; p != nil {
			out = append(out, p.Title, p.Subtitle, p.Body)
		}
	}
	return out
}

// dress adds to out what Look and actions say for a platform.
func (t *Template) dress(out *Content, l *LocaleText, platform string, rc RenderContext) (field string, err error) {
	t.appear(out, platform)
	for _, a := range t.Actions {
		b := Button{ID: a.ID, Foreground: a.Foreground, Destructive: a.Destructive}
		if b.Label, err = l.label(&a).fill(rc); err == nil {
			b.Link, err = a.Link.fill(rc)
		}
		if err != nil {
			return "actions." + a.ID, err
		}
		if b.Label == "" {
			continue // nothing to tap on: its value was not there
		}
		if b.Link != "" {
			if problem := badAddress(b.Link, false); problem != "" {
				return "actions." + a.ID, fmt.Errorf("%s", problem)
			}
		}
		out.Actions = append(out.Actions, b)
	}
	return "", nil
}

// label is that of an action in the locale.
func (l *LocaleText) label(a *ActionText) *Text {
	if own, ok := l.Labels[a.ID]; ok {
		return &own
	}
	return &a.Label
}

// appear adds to out what the template and its Look of a platform say without Liquid.
func (t *Template) appear(out *Content, platform string) {
	out.Background, out.Badge, out.Category, out.Importance = t.Background, t.Badge, t.Category, t.Importance
	out.Relevance, out.Style = t.Relevance, t.Style
	if t.BadgeInc {
		out.Badge, out.Counted = new(1), true // in a preview; a delivery counts
	}
	if k := t.Looks[platform]; k != nil {
		out.Channel, out.Color, out.Icon, out.Visibility, out.Sticky = k.Channel, k.Color, k.Icon, k.Visibility, k.Sticky
		out.Raw = k.Raw
		if k.Sound != "" {
			out.Sound = k.Sound
		}
		if k.Category != "" {
			out.Category = k.Category
		}
	}
}

// documentLook writes what look reads.
func (t *Template) documentLook(m *members) {
	if t.Background {
		m.add("kind", "background")
	}
	if t.Badge != nil {
		m.add("badge", *t.Badge)
	}
	if t.BadgeInc {
		m.add("badge", "inc")
	}
	m.text("category", t.Category, "")
	m.text("importance", t.Importance, "")
	if t.Relevance != 0 {
		m.add("relevance", t.Relevance)
	}
	m.text("style", t.Style, "")
	var actions []yaml.MapSlice
	for _, a := range t.Actions {
		var d members
		d.text("id", a.ID, "")
		d.text("label", a.Label.Source, "")
		d.text("link", a.Link.Source, "")
		d.flag("foreground", a.Foreground, false)
		d.flag("destructive", a.Destructive, false)
		actions = append(actions, d.MapSlice)
	}
	if len(actions) > 0 {
		m.add("actions", actions)
	}
	for _, name := range platforms {
		l := t.Looks[name]
		if l == nil {
			continue
		}
		var d members
		d.text("sound", l.Sound, "")
		d.text("category", l.Category, "")
		d.text("channel", l.Channel, "")
		d.text("color", l.Color, "")
		d.text("icon", l.Icon, "")
		d.text("visibility", l.Visibility, "")
		d.flag("sticky", l.Sticky, false)
		if len(l.Raw) > 0 {
			d.add("raw", rawDocument(l.Raw))
		}
		m.add(name, d.MapSlice)
	}
}
