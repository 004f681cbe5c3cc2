package campaign

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"
)

// Content is a filled push, before it takes the form of a platform.
type Content struct {
	Title    string            `json:"title,omitempty"`
	Subtitle string            `json:"subtitle,omitempty"`
	Body     string            `json:"body,omitempty"`
	Image    string            `json:"image,omitempty"` // https address
	Link     string            `json:"link,omitempty"`  // deep link or web address
	Sound    string            `json:"sound,omitempty"` // "default", "none" or a name
	Thread   string            `json:"thread,omitempty"`
	Data     map[string]string `json:"data,omitempty"`
	Locale   string            `json:"locale"` // the template's, not the device's

	// Background: nothing is shown, and Title and Body may be empty.
	Background bool     `json:"background,omitempty"`
	Alt        string   `json:"alt,omitempty"` // of the image
	Actions    []Button `json:"actions,omitempty"`
	Badge      *int     `json:"badge,omitempty"` // nil leaves it
	Counted    bool     `json:"counted,omitempty"`
	Category   string   `json:"category,omitempty"`
	Importance string   `json:"importance,omitempty"` // "" is active
	Relevance  float64  `json:"relevance,omitempty"`
	Style      string   `json:"style,omitempty"`
	Channel    string   `json:"channel,omitempty"`
	Color      string   `json:"color,omitempty"`
	Icon       string   `json:"icon,omitempty"`
	Visibility string   `json:"visibility,omitempty"`
	Sticky     bool     `json:"sticky,omitempty"`

	Raw json.RawMessage `json:"raw,omitempty"` // merged into the platform's payload
}

// RenderContext is what a template can read. It survives a round trip through
// JSON, so that a delivery carries it and renders the same later. It holds no
// coordinates.
//
//	device    id, app, platform, locale, zone, os, sdk
//	person    id, tags
//	tags      short for person.tags
//	store     id, zone
//	fence     id, name, tags, props      props: the plain members of the feature's properties
//	campaign  id, name, variant
//	event     kind, at, distance_m, accuracy_m, stay_min, initial
//	message   id, code                   code: what a till can enter, see receipt.Keyring.Code
//	entry     in journeys: the properties of the event that the person entered by
//	voucher   the code that this push alone has, from the pool that the push names
//	now       when it is filled; now and event.at are in the store's zone
type RenderContext struct {
	Device   map[string]any `json:"device,omitempty"`
	Person   map[string]any `json:"person,omitempty"`
	Store    map[string]any `json:"store,omitempty"`
	Fence    map[string]any `json:"fence,omitempty"`
	Campaign map[string]any `json:"campaign,omitempty"`
	Event    map[string]any `json:"event,omitempty"`
	Message  map[string]any `json:"message,omitempty"` // for the caller of NewContext to set
	Entry    map[string]any `json:"entry,omitempty"`   // likewise, of a journey
	Voucher  string         `json:"voucher,omitempty"` // likewise
	Now      time.Time      `json:"now"`
}

// roots are the variables of a template; rootMembers closes those whose
// members are ours to name.
var (
	roots       = []string{"device", "person", "tags", "store", "fence", "campaign", "event", "message", "entry", "voucher", "now"}
	rootMembers = map[string][]string{
		"device":   {"id", "app", "platform", "locale", "zone", "os", "sdk"},
		"person":   {"id", "tags"},
		"store":    {"id", "zone"},
		"fence":    {"id", "name", "tags", "props"},
		"campaign": {"id", "name", "variant"},
		"message":  {"id", "code"},
		"event":    {"kind", "at", "distance_m", "accuracy_m", "stay_min", "initial"},
	}
)

// Limits of the properties that a delivery carries along.
const (
	maxProps     = 64
	maxPropBytes = 512
)

// NewContext collects what the template of c can read about a transition. now
// is when the push is about to be filled.
func NewContext(c *Campaign, in Input, now time.Time) RenderContext {
	tr, p := in.Tr, in.Profile
	app, _, _ := strings.Cut(p.Device, ".")
	loc := time.UTC
	rc := RenderContext{
		Device:   drop(map[string]any{"id": p.Device, "app": app, "platform": p.Platform, "locale": p.Locale, "zone": p.Zone, "os": p.OS, "sdk": p.SDK}),
		Person:   drop(map[string]any{"id": p.Person}),
		Fence:    map[string]any{"id": string(tr.FenceID)},
		Campaign: map[string]any{"id": c.ID, "name": c.Name},
	}
	if tags := p.AllTags(); len(tags) > 0 {
		rc.Person["tags"] = tags
	}
	if f := tr.Fence; f != nil {
		if f.Location != nil {
			loc = f.Location
		}
		rc.Store = drop(map[string]any{"id": string(f.Store), "zone": f.Zone})
		if f.Name != "" {
			rc.Fence["name"] = f.Name
		}
		if len(f.Tags) > 0 {
			rc.Fence["tags"] = f.Tags
		}
		if props := plainProps(f.Properties); len(props) > 0 {
			rc.Fence["props"] = props
		}
	}
	rc.Event = map[string]any{
		"kind":       tr.Kind.String(),
		"at":         time.UnixMilli(tr.At).In(loc).Format(time.RFC3339),
		"distance_m": math.Round(tr.CenterDistanceM),
		"accuracy_m": math.Round(float64(tr.Fix.AccuracyM)),
		"initial":    isInitial(tr),
	}
	if tr.EnteredAt > 0 && tr.At >= tr.EnteredAt {
		rc.Event["stay_min"] = float64((tr.At - tr.EnteredAt) / time.Minute.Milliseconds())
	}
	if s := c.Trigger.Schedule; s != nil {
		loc = s.loc
		if own, ok := loadZone(p.Zone); ok && s.Device {
			loc = own
		}
		rc.Fence, rc.Event = nil, map[string]any{"kind": "schedule", "at": time.UnixMilli(tr.At).In(loc).Format(time.RFC3339)}
	}
	if c.Trigger.Journey {
		if tr.Fence == nil {
			rc.Fence = nil
			if c.zone != nil {
				loc = c.zone
			}
		}
		rc.Event = map[string]any{"kind": "journey", "at": time.UnixMilli(tr.At).In(loc).Format(time.RFC3339)}
	}
	rc.Now = now.In(loc)
	return rc
}

// SetVariant says which arm of the experiment the push belongs to; "" is none.
func (rc *RenderContext) SetVariant(name string) {
	if name != "" {
		rc.Campaign["variant"] = name
	}
}

// drop removes empty texts, so that default: works on what is not known.
func drop(m map[string]any) map[string]any {
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == "" })
	return m
}

// plainProps keeps the texts, numbers and booleans of a feature's properties.
func plainProps(raw json.RawMessage) map[string]any {
	if len(raw) == 0 {
		return nil
	}
	var all map[string]any
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	props := make(map[string]any)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		switch v := all[k].(type) {
		case string:
			if len(v) > maxPropBytes {
				continue
			}
		case float64, bool:
		default:
			continue
		}
		if len(props) == maxProps {
			break
		}
		props[k] = all[k]
	}
	return props
}

// vars are the engine's variables for one text. They are copied because assign
// writes into them.
func (rc *RenderContext) vars() map[string]any {
	m := map[string]any{
		"device": rc.Device, "person": rc.Person, "store": rc.Store, "fence": rc.Fence,
		"campaign": rc.Campaign, "event": rc.Event, "message": rc.Message, "entry": rc.Entry,
		"now": rc.Now.Format(time.RFC3339),
	}
	if rc.Voucher != "" { // else default: works
		m["voucher"] = rc.Voucher
	}
	if tags, ok := rc.Person["tags"]; ok {
		m["tags"] = tags
	}
	return m
}

// lookup follows a path such as fence.props.phone; nil when there is nothing.
func (rc *RenderContext) lookup(path string) any {
	var v any = rc.vars()
	for _, name := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// ErrMissing is matched by the error of Render when a value that the template
// requires is not there; the push is then suppressed as [MissingValue].
var ErrMissing = errors.New("campaign: missing value")

// RenderError says which part of a template could not be filled.
type RenderError struct {
	Campaign string
	Locale   string
	Field    string // "title", "image", "data.coupon", "required"
	Problem  string
	missing  bool
}

func (e *RenderError) Error() string {
	return fmt.Sprintf("campaign: %s (%s) %s: %s", e.Campaign, e.Locale, e.Field, e.Problem)
}

// Is makes errors.Is(err, ErrMissing) hold for a missing value.
func (e *RenderError) Is(target error) bool { return target == ErrMissing && e.missing }

// Reason is the label to suppress the delivery with: [MissingValue] or
// [TemplateError].
func (e *RenderError) Reason() Reason {
	if e.missing {
		return MissingValue
	}
	return TemplateError
}

// Render fills the campaign's template, or that of the subject's variant, in the language nearest to locale (BCP
// 47; "" gives the default). The nearest is the language itself with or
// without its region (uk-UA, uk), or one that its readers read as a matter of
// course (nb for no); otherwise the default: a reader of one language is not
// given another because a table calls them related.
//
// The error is a [*RenderError]. Rendering costs some ten microseconds a text
// and is bounded whatever the values are; it is for the outbox, not for the hot
// path. It reads no clock: rc.Now is the time.
func (c *Campaign) Render(locale string, rc RenderContext) (Content, error) {
	variant, _ := rc.Campaign["variant"].(string)
	t := c.TemplateOf(variant)
	content, err := t.fill(t.pick(locale), rc)
	if re, ok := errors.AsType[*RenderError](err); ok {
		re.Campaign = c.ID
	}
	return content, err
}

// Collapse fills what a later push on the same phone replaces this one by; ""
// is the message's own id, which only a re-send has. It is for the moment in
// which the push is decided: kept with the delivery, it is the same at every
// attempt, whatever becomes of the profile, the fence and the template, so a
// re-send after doubt replaces the first copy. One that cannot be filled is "",
// and fault says why; for a template without collapse both are.
func (c *Campaign) Collapse(rc RenderContext) (key string, fault CollapseFault) {
	variant, _ := rc.Campaign["variant"].(string)
	t := c.TemplateOf(variant)
	if t.Collapse.Source == "" {
		return "", ""
	}
	key, err := t.Collapse.fill(t.cut(rc))
	switch {
	case errors.Is(err, errResultTooLong), errors.Is(err, errValueTooLong):
		return "", CollapseTooLong
	case err != nil:
		return "", CollapseFailed
	case key == "":
		return "", CollapseEmpty
	}
	return key, ""
}

// CollapseFault says why a push goes out without the collapse of its template.
type CollapseFault string

// The faults of a collapse, for metrics.
const (
	CollapseEmpty   CollapseFault = "empty"    // nothing came of it: a value is missing
	CollapseTooLong CollapseFault = "too_long" // a value or the result is over its limit
	CollapseFailed  CollapseFault = "template" // a filter refused a value
)

func (t *Template) pick(locale string) *LocaleText {
	if locale == "" {
		return &t.Locales[0]
	}
	tag, err := language.Parse(locale)
	if err != nil && tag == language.Und {
		return &t.Locales[0]
	}
	if match, i, confidence := t.matcher.Match(tag); confidence >= language.High && sameLanguage(tag, match) {
		return &t.Locales[i]
	}
	return &t.Locales[0]
}

// sameLanguage: the matcher's tables have Russian for who reads Kazakh or Belarusian. That is not for us to decide.
func sameLanguage(a, b language.Tag) bool {
	base := func(t language.Tag) language.Base {
		if macro, err := language.Macro.Canonicalize(t); err == nil { // Bokmål is Norwegian
			t = macro
		}
		base, _ := t.Base()
		return base
	}
	return base(a) == base(b)
}

func (t *Template) fill(l *LocaleText, rc RenderContext) (Content, error) {
	fail := func(field string, missing bool, problem string) (Content, error) {
		return Content{}, &RenderError{Locale: l.Locale, Field: field, Problem: problem, missing: missing}
	}
	for _, path := range t.Required {
		switch v := rc.lookup(path); v {
		case nil, "":
			return fail("required", true, path+" is missing")
		}
	}
	rc = t.cut(rc)
	out := Content{Sound: t.Sound, Locale: l.Locale}
	platform, _ := rc.Device["platform"].(string)
	title, subtitle, body := l.words(platform)
	for _, p := range []struct {
		field string
		text  *Text
		dst   *string
	}{
		{"title", title, &out.Title}, {"subtitle", subtitle, &out.Subtitle}, {"body", body, &out.Body},
		{"image", &l.Image, &out.Image}, {"link", &l.Link, &out.Link}, {"thread", &t.Thread, &out.Thread},
		{"alt", &l.Alt, &out.Alt},
	} {
		v, err := p.text.fill(rc)
		if err != nil {
			return fail(p.field, false, err.Error())
		}
		*p.dst = v
	}
	if out.Title == "" && out.Body == "" && !t.Background {
		return fail("body", true, "title and body are both empty")
	}
	if out.Image != "" {
		if problem := badAddress(out.Image, true); problem != "" {
			return fail("image", false, problem)
		}
	}
	if out.Link != "" {
		if problem := badAddress(out.Link, false); problem != "" {
			return fail("link", false, problem)
		}
	}
	if len(t.Data) > 0 {
		out.Data = make(map[string]string, len(t.Data))
	}
	for i := range t.Data {
		v, err := t.Data[i].Value.fill(rc)
		if err != nil {
			return fail("data."+t.Data[i].Key, false, err.Error())
		}
		out.Data[t.Data[i].Key] = v
	}
	if field, err := t.dress(&out, l, platform, rc); err != nil {
		return fail(field, false, err.Error())
	}
	return out, nil
}

// words are the title, subtitle and body that a platform shows.
func (l *LocaleText) words(platform string) (title, subtitle, body *Text) {
	title, subtitle, body = &l.Title, &l.Subtitle, &l.Body
	if own := l.Platforms[platform]; own != nil {
		for _, o := range []struct {
			dst  **Text
			text *Text
		}{{&title, &own.Title}, {&subtitle, &own.Subtitle}, {&body, &own.Body}} {
			if o.text.Source != "" {
				*o.dst = o.text
			}
		}
	}
	return title, subtitle, body
}

// fill renders one text. Space at the ends comes from how templates are
// written (a block scalar, an if on its own line) and is never wanted.
func (t *Text) fill(rc RenderContext) (string, error) {
	if t.tpl == nil {
		return strings.TrimSpace(t.Source), nil
	}
	v, err := renderLiquid(t.tpl, rc.vars())
	return strings.TrimSpace(v), err
}

// sampleContext is a plausible delivery for a check, with a value for each
// path that the template requires.
func sampleContext(c *Campaign, t *Template, platform string) RenderContext {
	rc := RenderContext{
		Device:  map[string]any{"id": "shop.4f2a", "app": "shop", "platform": platform, "locale": t.DefaultLocale, "zone": "Europe/Kyiv", "os": "26.1", "sdk": "1.0"},
		Person:  map[string]any{"id": "1001", "tags": map[string]any{}},
		Store:   map[string]any{"id": "k01", "zone": "Europe/Kyiv"},
		Fence:   map[string]any{"id": "k01", "name": "Khreshchatyk", "tags": []string{"kyiv"}, "props": map[string]any{}},
		Event:   map[string]any{"kind": "enter", "at": sampleTime.Format(time.RFC3339), "distance_m": 112.0, "accuracy_m": 12.0, "stay_min": 0.0, "initial": false},
		Message: map[string]any{"id": "7f0c2f0e-56a6-5d7e-9a3e-0f6d9f1f2b11", "code": "K7QF3XN2PA"},
		Entry:   map[string]any{},
		Voucher: "KYIV-7Q4F3XN2PA",
		Now:     sampleTime,
	}
	rc.Campaign = map[string]any{"id": c.ID, "name": c.Name}
	vars := rc.vars()
	for _, path := range t.Required {
		fillSample(vars, path)
	}
	// Optional values are there as well: a link such as shop://{{ fence.props.slug }}
	// is to be tried with one.
	for i := range t.Locales {
		for _, text := range t.texts(&t.Locales[i]) {
			if text.tpl != nil {
				paths, _ := lint(text.Source)
				for _, p := range paths {
					fillSample(vars, p)
				}
			}
		}
	}
	return rc
}

// Samples fills every template of the campaign in every language with sample
// values, as a platform ("ios", "android", "web", "hms") shows it, for a look or
// a check before anything is sent. The order is that of variants and locales.
func (c *Campaign) Samples(platform string) []Content {
	templates := []*Template{c.Push.Template}
	for _, v := range c.Push.Variants {
		templates = append(templates, v.Template)
	}
	var out []Content
	for i, t := range templates {
		if t == nil || slices.Contains(templates[:i], t) {
			continue
		}
		for j := range t.Locales {
			if content, err := t.fill(&t.Locales[j], sampleContext(c, t, platform)); err == nil { // tried when it was loaded
				out = append(out, content)
			}
		}
	}
	return out
}

var sampleTime = time.Date(2026, 11, 28, 10, 15, 0, 0, time.FixedZone("", 2*3600))

// sampleVars are variables in which each of the paths has a value.
func sampleVars(paths []string) map[string]any {
	rc := sampleContext(&Campaign{ID: "sample", Name: "sample"}, &Template{DefaultLocale: "en"}, "ios")
	vars := rc.vars()
	for _, p := range paths {
		fillSample(vars, p)
	}
	return vars
}

// fillSample puts a sample at path unless something is there. The sample "1"
// reads as a text and as a number.
func fillSample(vars map[string]any, path string) {
	m := vars
	names := strings.Split(path, ".")
	for i, name := range names {
		if i == len(names)-1 {
			if _, there := m[name]; !there && name != "size" {
				m[name] = "1"
			}
			return
		}
		next, ok := m[name].(map[string]any)
		if !ok {
			if _, there := m[name]; there {
				return
			}
			next = make(map[string]any)
			m[name] = next
		}
		m = next
	}
}
