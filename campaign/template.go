package campaign

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/osteele/liquid"
	"golang.org/x/text/language"
)

// A Template is the content of a push in each of its languages.
//
//	anniversary:
//	  default_locale: uk               # required with more than one locale
//	  required: [fence.name]           # a missing or empty one suppresses the push (ErrMissing)
//	  max: {tags.first_name: 40}       # characters; a longer value is cut and ends in …
//	  sound: default                   # default, none, or the name of a sound in the app
//	  thread: "{{ campaign.id }}"      # groups notices on the phone
//	  collapse: "{{ campaign.id }}"    # a later push with the same one replaces this on the phone; see Campaign.Collapse
//	  ttl: 15m                         # instead of the push's
//	  image: "https://…"               # image and link for locales without their own
//	  link: "shop://store/{{ store.id }}"
//	  data: {coupon: BDAY18}           # key and text, for the app
//	  kind: alert                      # or background: nothing is shown, the app is woken with data
//	  importance: active               # passive, time_sensitive, critical (needs push.apns.critical_alerts)
//	  badge: 1                         # number on the icon; none leaves it, inc counts what is unread
//	  category: offer                  # set of buttons that the app has registered
//	  relevance: 0.8                   # place in a summary, 0 to 1
//	  style: data                      # android: display or data; default: the provider's
//	  actions:                         # at most 3 buttons, drawn by the SDK or the browser
//	    - {id: route, label: Route, link: "geo:0,0?q={{ fence.name | url_encode }}"}
//	  ios:     {sound: chime.caf, category: offer}
//	  android: {channel: offers, color: "#ff0066", icon: ic_offer, visibility: public, sound: chime}
//	  hms:     as android
//	  web:     {sticky: true, raw: {icon: "https://…"}} # raw: in the platform's own words; see push.MergeRaw
//	  locales:
//	    uk: {title: …, subtitle: …, body: …, image: …, alt: …, link: …}
//	    en:
//	      actions: {route: Route}      # labels in this language
//	      ios: {title: …}              # title, subtitle, body for one platform
//
// Every text is Liquid with limits: the tags if, unless, case, assign and
// comment, no loops, 2 KB of source and 1 KB of result. The variables are
// those of [RenderContext]. Each text is parsed and filled with sample values
// when it is loaded, so a fault shows at the check and not on the day.
type Template struct {
	Name          string // "" for an inline one
	DefaultLocale string
	Required      []string
	Max           map[string]int `json:",omitzero"` // characters of values, by path
	Sound         string
	Thread        Text
	Collapse      Text          `json:",omitzero"` // empty: the message's own
	TTL           time.Duration `json:",omitzero"` // 0: the push's
	Data          []DataText
	Locales       []LocaleText // the default first, then in order of tag

	Background bool             `json:",omitzero"`
	Badge      *int             `json:",omitzero"` // nil leaves it
	BadgeInc   bool             `json:",omitzero"` // one more than what the device has unread
	Category   string           `json:",omitzero"`
	Importance string           `json:",omitzero"` // "" is active
	Relevance  float64          `json:",omitzero"`
	Style      string           `json:",omitzero"`
	Actions    []ActionText     `json:",omitzero"`
	Looks      map[string]*Look `json:",omitzero"` // by platform

	matcher language.Matcher
}

// LocaleText is a template's text in one language.
type LocaleText struct {
	Locale                             string // canonical BCP 47
	Title, Subtitle, Body, Image, Link Text

	Alt       Text                     `json:",omitzero"`
	Labels    map[string]Text          `json:",omitzero"` // by action
	Platforms map[string]*PlatformText `json:",omitzero"`

	at pos
}

// DataText is one entry of the data for the app.
type DataText struct {
	Key   string
	Value Text
}

// Text is one Liquid text. The zero Text is empty.
type Text struct {
	Source string
	tpl    *liquid.Template // nil: Source as it is
}

// MarshalText writes the source, which is what a revision depends on.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.Source), nil }

var (
	templateKeys = []string{"default_locale", "required", "max", "sound", "thread", "collapse", "ttl", "image", "link", "data", "locales",
		"kind", "badge", "category", "importance", "relevance", "actions", "style", "ios", "android", "web", "hms"}
	localeKeys  = []string{"title", "subtitle", "body", "image", "link", "alt", "actions", "ios", "android", "web", "hms"}
	localeLater = []string{"ticker"}

	// reservedData are payload keys that APNs and FCM keep for themselves, and
	// the gateway's own.
	reservedData = []string{"aps", "g", "from", "message_type", "collapse_key", "gcm", "google", "notification"}
)

const (
	maxLocales  = 64
	maxData     = 32
	maxDataKey  = 64
	maxRequired = 32
)

func (s *source) templates(f field, c *Campaign) map[string]*Template {
	named := make(map[string]*Template)
	if f.val == nil {
		return named
	}
	fields, _ := s.mapping(f.val, "templates")
	for _, t := range fields {
		if !validID(t.name) {
			s.fail(t.key, CodeID, fmt.Sprintf("1 to %d of A-Z a-z 0-9 _ -", MaxIDLen), "%q cannot be the name of a template", t.name)
		}
		named[t.name] = s.template(t.name, t, c)
	}
	return named
}

func (s *source) template(name string, f field, c *Campaign) *Template {
	t := &Template{Name: name, Sound: "default"}
	var image, link Text
	var defaultAt pos
	locales := field{}
	before := len(s.errs)
	ok := s.keys(f.val, "a template", templateKeys, nil, func(k field) {
		switch k.name {
		case "default_locale":
			defaultAt = where(k.val)
			if v, ok := s.text(k); ok {
				t.DefaultLocale = s.locale(v, defaultAt)
			}
		case "required":
			t.Required = s.required(k)
		case "max":
			t.Max = s.maximums(k)
		case "sound":
			if v := s.sound(k); v != "" {
				t.Sound = v
			}
		case "thread":
			t.Thread = s.liquid(k)
		case "collapse":
			t.Collapse = s.collapse(k)
		case "ttl":
			t.TTL, _ = s.duration(k, minTTL, maxTTL)
		case "image":
			image = s.address(k, true)
		case "link":
			link = s.address(k, false)
		case "data":
			t.Data = s.data(k)
		case "locales":
			locales = k
		default:
			s.look(k, t)
		}
	})
	switch {
	case !ok:
		return t
	case t.Background && locales.val != nil:
		s.fail(locales.key, CodeConflict, "remove locales, or kind: background", "a background push shows nothing")
		return t
	case t.Background:
		t.DefaultLocale = "und"
		t.Locales = []LocaleText{{Locale: "und", at: f.key}}
		t.matcher = language.NewMatcher([]language.Tag{language.Und})
		if len(s.errs) == before {
			s.checkLook(t, f.key)
		}
		if len(s.errs) == before {
			s.tryTemplate(t, c)
		}
		return t
	case locales.val == nil:
		s.fail(f.key, CodeMissing, "locales: {en: {title: …, body: …}}", "the template has no locales")
		return t
	}
	s.locales(locales, t)
	if t.DefaultLocale == "" && defaultAt == (pos{}) {
		switch len(t.Locales) {
		case 0:
		case 1:
			t.DefaultLocale = t.Locales[0].Locale
		default:
			s.fail(f.key, CodeMissing, "default_locale: "+t.Locales[0].Locale, "a template in %d languages needs default_locale", len(t.Locales))
		}
	}
	i := slices.IndexFunc(t.Locales, func(l LocaleText) bool { return l.Locale == t.DefaultLocale })
	if i < 0 {
		if t.DefaultLocale != "" && len(t.Locales) > 0 {
			s.fail(defaultAt, CodeLocale, "", "default_locale is %s, but there is no such locale below", t.DefaultLocale)
		}
		return t
	}
	first := t.Locales[i]
	t.Locales = slices.Delete(t.Locales, i, i+1)
	slices.SortFunc(t.Locales, func(a, b LocaleText) int { return strings.Compare(a.Locale, b.Locale) })
	t.Locales = slices.Insert(t.Locales, 0, first)
	tags := make([]language.Tag, len(t.Locales))
	for i := range t.Locales {
		l := &t.Locales[i]
		if l.Image.Source == "" {
			l.Image = image
		}
		if l.Link.Source == "" {
			l.Link = link
		}
		tags[i] = language.Make(l.Locale)
	}
	t.matcher = language.NewMatcher(tags)
	if len(s.errs) == before {
		s.checkLook(t, f.key)
	}
	if len(s.errs) == before {
		s.tryTemplate(t, c)
	}
	return t
}

// tryTemplate fills every language for every platform with sample values, as a
// delivery would.
func (s *source) tryTemplate(t *Template, c *Campaign) {
	for i := range t.Locales {
		l := &t.Locales[i]
		for _, platform := range platforms {
			if _, err := t.fill(l, sampleContext(c, t, platform)); err != nil {
				// The parts were tried one by one; what is left concerns the whole.
				if re, ok := errors.AsType[*RenderError](err); ok {
					s.fail(l.at, CodeTemplate, "", "filled with sample values, %s fails: %s", re.Field, re.Problem)
				} else {
					s.fail(l.at, CodeTemplate, "", "filled with sample values: %v", err)
				}
				break // the other platforms would most likely say the same
			}
		}
	}
}

func (s *source) locale(v string, at pos) string {
	tag, err := language.Parse(v)
	if err != nil || tag == language.Und {
		s.fail(at, CodeLocale, "write uk, en or pt-BR", "%q is not a language tag", v)
		return ""
	}
	return tag.String()
}

func (s *source) locales(f field, t *Template) {
	fields, ok := s.mapping(f.val, "locales")
	if !ok {
		return
	}
	if len(fields) == 0 || len(fields) > maxLocales {
		s.fail(where(f.val), CodeRange, "", "a template has 1 to %d locales, not %d", maxLocales, len(fields))
		return
	}
	for _, k := range fields {
		l := LocaleText{Locale: s.locale(k.name, k.key), at: k.key}
		said := false // something to show, even if it is faulty
		ok := s.keys(k.val, "locale "+k.name, localeKeys, localeLater, func(p field) {
			said = said || p.name == "title" || p.name == "body"
			switch p.name {
			case "title":
				l.Title = s.liquid(p)
			case "subtitle":
				l.Subtitle = s.liquid(p)
			case "body":
				l.Body = s.liquid(p)
			case "image":
				l.Image = s.address(p, true)
			case "link":
				l.Link = s.address(p, false)
			case "alt":
				l.Alt = s.liquid(p)
			case "actions":
				l.Labels = s.labels(p)
			default: // a platform
				if l.Platforms == nil {
					l.Platforms = make(map[string]*PlatformText)
				}
				l.Platforms[p.name] = s.platformText(p)
			}
		})
		if !ok || l.Locale == "" {
			continue
		}
		if slices.ContainsFunc(t.Locales, func(x LocaleText) bool { return x.Locale == l.Locale }) {
			s.fail(k.key, CodeDuplicate, "", "locale %s a second time", l.Locale)
			continue
		}
		if !said {
			s.fail(k.key, CodeMissing, "title: … or body: …", "locale %s has neither title nor body", l.Locale)
		}
		t.Locales = append(t.Locales, l)
	}
}

func (s *source) required(f field) []string {
	var paths []string
	for _, item := range s.list(f) {
		v, ok := s.text(item)
		switch {
		case !ok:
		case len(paths) == maxRequired:
			s.fail(where(item.val), CodeRange, "", "more than %d required values", maxRequired)
			return paths
		case slices.Contains(paths, v):
			s.fail(where(item.val), CodeDuplicate, "", "%q is required a second time", v)
		default:
			if f := knownPath(v, 0); f != nil {
				s.fail(where(item.val), f.code, f.hint, "required: %s", f.msg)
				continue
			}
			paths = append(paths, v)
		}
	}
	return paths
}

func (s *source) data(f field) []DataText {
	fields, ok := s.mapping(f.val, "data")
	if ok && len(fields) > maxData {
		s.fail(where(f.val), CodeRange, "", "data has %d entries; at most %d", len(fields), maxData)
		return nil
	}
	var out []DataText
	for _, k := range fields {
		lower := strings.ToLower(k.name)
		if k.name == "" || len(k.name) > maxDataKey || slices.Contains(reservedData, lower) ||
			strings.HasPrefix(lower, "google.") || strings.HasPrefix(lower, "gcm.") {
			s.fail(k.key, CodeID, "Apple, Google and the gateway keep some names for themselves", "%q cannot be a key of data", k.name)
			continue
		}
		out = append(out, DataText{k.name, s.liquid(k)})
	}
	slices.SortFunc(out, func(a, b DataText) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// liquid reads a text, compiles it and fills it with sample values.
func (s *source) liquid(f field) Text {
	if b, ok := f.val.(*ast.BoolNode); ok { // data: {vip: true}
		return Text{Source: b.GetToken().Value}
	}
	v, ok := s.text(f)
	if !ok {
		return Text{}
	}
	if !utf8.ValidString(v) {
		s.fail(where(f.val), CodeTemplate, "", "%s is not valid UTF-8", f.name)
		return Text{}
	}
	t := Text{Source: v}
	if !strings.Contains(v, "{{") && !strings.Contains(v, "{%") && !strings.Contains(v, "}}") && !strings.Contains(v, "%}") {
		if len(v) > maxOutputBytes {
			s.fail(where(f.val), CodeTooLarge, "", "%s has %d bytes; at most %d", f.name, len(v), maxOutputBytes)
		}
		return t
	}
	tpl, vars, fl := compile(v)
	if fl != nil {
		s.fail(s.inside(f.val, v, fl.off), fl.code, fl.hint, "%s: %s", f.name, fl.msg)
		return Text{}
	}
	t.tpl = tpl
	if _, err := renderLiquid(tpl, sampleVars(vars)); err != nil {
		s.fail(where(f.val), CodeTemplate, "", "%s: filled with sample values: %v", f.name, err)
	}
	return t
}

// collapse reads what a later push replaces this one by. It is filled when the
// push is decided, so it cannot name what is drawn only then.
func (s *source) collapse(f field) Text {
	t := s.liquid(f)
	if t.tpl == nil {
		return t
	}
	paths, _ := lint(t.Source)
	if slices.Contains(paths, "voucher") {
		s.fail(where(f.val), CodeVariable, "message.id differs by push as well", "collapse cannot name the voucher: it is filled before one is known")
	}
	return t
}

// address reads an image or a link. One without Liquid is checked here, one
// with it when it is filled.
func (s *source) address(f field, image bool) Text {
	t := s.liquid(f)
	if t.tpl != nil || t.Source == "" {
		return t
	}
	if problem := badAddress(t.Source, image); problem != "" {
		hint := "such as https://shop.example/sale or shop://sale"
		if image {
			hint = "such as https://cdn.example/sale.jpg"
		}
		s.fail(where(f.val), CodeURL, hint, "%s: %s", f.name, problem)
	}
	return t
}

// badAddress says what is wrong with an address, or "". An image must be
// https: neither platform loads another one for a notification.
func badAddress(v string, image bool) string {
	u, err := url.Parse(v)
	switch {
	case err != nil || strings.ContainsAny(v, " \n\t"):
		return fmt.Sprintf("%q is not an address", v)
	case u.Scheme == "":
		return fmt.Sprintf("%q has no scheme", v)
	case image && (u.Scheme != "https" || u.Host == ""):
		return fmt.Sprintf("%q is not an https address", v)
	case slices.Contains([]string{"javascript", "data", "file", "vbscript"}, strings.ToLower(u.Scheme)):
		return fmt.Sprintf("a link cannot be %s:", u.Scheme)
	}
	return ""
}
