package campaign

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"footfall/audience"
	"footfall/fences"
)

// maxValueChars is the largest maximum that a template may declare for a value.
const maxValueChars = maxOutputBytes

// cut is rc with the values that have a maximum cut to it. rc itself, whose maps others read, is not changed.
func (t *Template) cut(rc RenderContext) RenderContext {
	for path, n := range t.Max { // in any order: each cuts a value of its own
		names := strings.Split(path, ".")
		if names[0] == "tags" {
			names = append([]string{"person"}, names...)
		}
		switch names[0] {
		case "voucher":
			rc.Voucher = cutText(rc.Voucher, n)
		case "device":
			rc.Device = cutAt(rc.Device, names[1:], n)
		case "person":
			rc.Person = cutAt(rc.Person, names[1:], n)
		case "store":
			rc.Store = cutAt(rc.Store, names[1:], n)
		case "fence":
			rc.Fence = cutAt(rc.Fence, names[1:], n)
		case "event":
			rc.Event = cutAt(rc.Event, names[1:], n)
		case "entry":
			rc.Entry = cutAt(rc.Entry, names[1:], n)
		}
	}
	return rc
}

// cutAt returns a map in which the value at a path has at most n characters; m itself when it has no more.
func cutAt(m map[string]any, path []string, n int) map[string]any {
	v, there := m[path[0]]
	if !there {
		return m
	}
	var other any
	switch v := v.(type) {
	case string:
		if other = cutText(v, n); other == v {
			return m
		}
	case []string:
		list := make([]any, len(v))
		for i, s := range v {
			list[i] = s
		}
		other = cutList(list, n)
	case []any:
		other = cutList(v, n)
	case map[string]any:
		if len(path) == 1 {
			return m
		}
		other = cutAt(v, path[1:], n)
	default:
		return m
	}
	m = maps.Clone(m)
	m[path[0]] = other
	return m
}

func cutText(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// cutList keeps as many items as have n characters together.
func cutList(list []any, n int) []any {
	for i, v := range list {
		if n -= utf8.RuneCountInString(plain(v)); n < 0 {
			return list[:i:i]
		}
	}
	return list
}

// maximums reads the largest numbers of characters of values.
func (s *source) maximums(f field) map[string]int {
	fields, ok := s.mapping(f.val, "max")
	if !ok {
		return nil
	}
	m := make(map[string]int, len(fields))
	for _, k := range fields {
		root, rest, _ := strings.Cut(k.name, ".")
		switch fl := knownPath(k.name, 0); {
		case fl != nil:
			s.fail(k.key, fl.code, fl.hint, "max: %s", fl.msg)
		case rest == "" && root != "voucher", root == "campaign", root == "message", strings.HasSuffix(k.name, ".size"):
			s.fail(k.key, CodeVariable, "such as tags.first_name: 40", "max: %s has a known length or is not a single value", k.name)
		default:
			if n, ok := s.integer(k, 1, maxValueChars); ok {
				m[shortPath(k.name)] = n
			}
		}
	}
	return m
}

// shortPath is the shorter of the two names that tags have.
func shortPath(path string) string {
	if strings.HasPrefix(path, "person.tags.") {
		return strings.TrimPrefix(path, "person.")
	}
	return path
}

// A Longest is the most that a push may come to in one language on one platform, whoever gets it wherever.
type Longest struct {
	Template, Locale string // Template "" is an inline one
	Content          Content
	Collapses        bool // it has a collapse
	Size             int  // of Content, as the caller measures
	// Values are the variables in it, with what each adds to Size, largest first.
	Values []LongestValue
	// Over are the texts that may have more than 1 KB. Such a push is suppressed, as [TemplateError].
	Over []string
}

// LongestValue is one variable of a Longest.
type LongestValue struct {
	Path string
	// Most says how long it may be and why.
	Most string
	// Chars is how long it may be, in characters.
	Chars int
	Adds  int
	// Unbounded: nobody has said how long it may be.
	Unbounded bool
}

// Places are the fences and stores whose names and properties templates print. For one goroutine.
type Places struct {
	set     *fences.Set
	longest map[placeKey]valueLimit
}

type placeKey struct {
	campaign *Campaign
	path     string
}

// NewPlaces knows those of set; nil stands for fences like that of a sample.
func NewPlaces(set *fences.Set) *Places { return &Places{set, map[placeKey]valueLimit{}} }

// Longest finds, for each language of each template, the largest push that can be on a platform: the way that conditions
// go and the values that make it so. Values are as long as their kind allows, as the template's max says, or, of fences
// and stores, as those that the campaign is about are.
//
// measure tells the size of a filled push, in which every character adds its own. It is called a few times for each text
// with variables, and over is asked then whether Values are wanted of this size.
//
// The sizes hold for every push that can be filled; tags and properties are taken for single texts where they are not
// joined.
func (c *Campaign) Longest(platform string, places *Places, measure func(*Content) int, over func(size int) bool) []Longest {
	var out []Longest
	for _, t := range c.templates() {
		values := c.valueLimits(t, platform, places)
		for i := range t.Locales {
			l := &t.Locales[i]
			texts := t.longTexts(l, platform)
			one := Longest{Template: t.Name, Locale: l.Locale, Collapses: t.Collapse.Source != ""}
			one.Content, one.Size, one.Over = t.longest(l, platform, texts, values.extent, measure)
			if over(one.Size) || len(one.Over) > 0 {
				for _, path := range pathsOf(texts) {
					without := func(p string, list bool) *extent {
						if p == path {
							return textOf("")
						}
						return values.extent(p, list)
					}
					_, size, _ := t.longest(l, platform, texts, without, measure)
					limit := values.limit(path)
					one.Values = append(one.Values, LongestValue{path, limit.why, limit.e.mostChars, one.Size - size, limit.unbounded})
				}
				slices.SortStableFunc(one.Values, func(a, b LongestValue) int { return b.Adds - a.Adds })
			}
			out = append(out, one)
		}
	}
	return out
}

// templates are those of the push and its variants, each once.
func (c *Campaign) templates() []*Template {
	var out []*Template
	add := func(t *Template) {
		if t != nil && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	add(c.Push.Template)
	for _, v := range c.Push.Variants {
		add(v.Template)
	}
	return out
}

// longText is one text of a template, and where it goes.
type longText struct {
	name string
	text *Text
	set  func(*Content, string)
}

func (t *Template) longTexts(l *LocaleText, platform string) []longText {
	title, subtitle, body := l.words(platform)
	list := []longText{
		{"title", title, func(c *Content, s string) { c.Title = s }}, {"subtitle", subtitle, func(c *Content, s string) { c.Subtitle = s }},
		{"body", body, func(c *Content, s string) { c.Body = s }}, {"image", &l.Image, func(c *Content, s string) { c.Image = s }},
		{"link", &l.Link, func(c *Content, s string) { c.Link = s }}, {"thread", &t.Thread, func(c *Content, s string) { c.Thread = s }},
		{"alt", &l.Alt, func(c *Content, s string) { c.Alt = s }},
	}
	for i := range t.Data {
		key := t.Data[i].Key
		list = append(list, longText{"data." + key, &t.Data[i].Value, func(c *Content, s string) { c.Data[key] = s }})
	}
	for i := range t.Actions {
		a := &t.Actions[i]
		list = append(list, longText{"actions." + a.ID, l.label(a), func(c *Content, s string) { c.Actions[i].Label = s }},
			longText{"actions." + a.ID, &a.Link, func(c *Content, s string) { c.Actions[i].Link = s }})
	}
	return list
}

// pathsOf are the variables of texts, each once.
func pathsOf(texts []longText) []string {
	var out []string
	for _, x := range texts {
		x.text.extentOf(func(path string, _ bool) *extent {
			if !slices.Contains(out, path) {
				out = append(out, path)
			}
			return textOf("")
		})
	}
	return out
}

// longest puts into each text the heaviest that it may become, as measure weighs it.
func (t *Template) longest(l *LocaleText, platform string, texts []longText, value valueExtent, measure func(*Content) int) (c Content, size int, over []string) {
	c = Content{Sound: t.Sound, Locale: l.Locale}
	t.appear(&c, platform)
	if len(t.Data) > 0 {
		c.Data = make(map[string]string, len(t.Data))
	}
	for _, a := range t.Actions {
		c.Actions = append(c.Actions, Button{ID: a.ID, Foreground: a.Foreground, Destructive: a.Destructive})
	}
	candidates := make([][]string, len(texts))
	for i, x := range texts {
		e := x.text.extentOf(value)
		if e.mostBytes > maxOutputBytes && !slices.Contains(over, x.name) {
			over = append(over, x.name)
		}
		candidates[i] = e.heaviestTexts()
		x.set(&c, candidates[i][0])
	}
	size = measure(&c)
	for i, x := range texts {
		best := candidates[i][0]
		for _, s := range candidates[i][1:] {
			x.set(&c, s)
			if n := measure(&c); n > size {
				best, size = s, n
			}
		}
		x.set(&c, best)
	}
	return c, size, over
}

// valueLimit is how long a variable may be, and why.
type valueLimit struct {
	e         *extent
	why       string
	unbounded bool
}

type valueLimits struct {
	of   map[string]valueLimit
	find func(path string) valueLimit
}

func (v *valueLimits) limit(path string) valueLimit {
	l, ok := v.of[path]
	if !ok {
		l = v.find(path)
		v.of[path] = l
	}
	return l
}

func (v *valueLimits) extent(path string, list bool) *extent {
	if l := v.limit(path); !list || !l.unbounded {
		return l.e
	}
	return anyValue // of up to audience.MaxTagItems texts
}

// valueLimits are those of the variables of t where its campaign pushes.
func (c *Campaign) valueLimits(t *Template, platform string, places *Places) *valueLimits {
	sample := sampleContext(c, t, platform)
	bytes := func(n int, what string) valueLimit {
		return valueLimit{e: anyOf(n, n), why: fmt.Sprintf("%s may have %d bytes", what, n), unbounded: true}
	}
	one := func(words ...string) valueLimit {
		alternatives := make([]*extent, len(words))
		for i, w := range words {
			alternatives[i] = textOf(w)
		}
		return valueLimit{e: either(alternatives...), why: "one of its values"}
	}
	find := func(path string) valueLimit {
		root, rest, _ := strings.Cut(path, ".")
		switch {
		case root == "person" && strings.HasPrefix(rest, "tags."):
			return bytes(audience.MaxTagBytes, "a tag")
		case root == "tags":
			return bytes(audience.MaxTagBytes, "a tag")
		case root == "entry":
			return bytes(MaxEntryBytes, "what a journey was entered by")
		case (root == "fence" || root == "store") && places.set != nil:
			return places.limit(c, path)
		case root == "voucher":
			return valueLimit{e: textOf(strings.Repeat("X", maxVoucherBytes)), why: fmt.Sprintf("a code may have %d characters", maxVoucherBytes)}
		}
		switch path {
		case "person.id":
			return bytes(audience.MaxPersonBytes, "the name of a person")
		case "device.os", "device.sdk":
			return bytes(audience.MaxVersionBytes, "a version")
		case "device.id", "device.app":
			return valueLimit{e: textOf(strings.Repeat("x", 2*maxSubjectToken+1)), why: "two names of 64 characters"}
		case "device.locale", "device.zone":
			return bytes(64, "it")
		case "campaign.variant":
			names := []string{""}
			for _, v := range c.Push.Variants {
				names = append(names, v.Name)
			}
			return one(names...)
		case "event.kind":
			return one("enter", "exit", "dwell", "crossed", "schedule", "journey")
		case "event.distance_m", "event.accuracy_m", "event.stay_min":
			return one(numberExtent.text)
		case "event.initial":
			return one("false")
		case "event.at", "now":
			return one(sampleTime.Format(time.RFC3339))
		}
		v, _ := sample.lookup(path).(string) // of the campaign and the message itself, and of a fence like that of a sample
		return valueLimit{e: textOf(v), why: "as in a sample"}
	}
	return &valueLimits{of: map[string]valueLimit{}, find: func(path string) valueLimit {
		l := find(path)
		if n, ok := t.Max[shortPath(path)]; ok && n < l.e.mostChars {
			l = valueLimit{e: either(anyOf(n, min(4*n, l.e.mostBytes+len("…"))), numberExtent), why: fmt.Sprintf("max is %d", n)}
		}
		return l
	}}
}

// Limits of other packages' names, which are not theirs to tell.
const (
	maxVoucherBytes = 64
	maxSubjectToken = 64
)

// limit is the longest value of a path among the fences that a campaign is about.
func (p *Places) limit(c *Campaign, path string) valueLimit {
	key := placeKey{c, path}
	l, ok := p.longest[key]
	if !ok {
		l = p.find(c, path)
		p.longest[key] = l
	}
	return l
}

func (p *Places) find(c *Campaign, path string) valueLimit {
	var longest [4]string // by weight
	var at [4]fences.ID
	var heaviest [4]int
	for i := range p.set.Len() {
		f := p.set.At(int32(i))
		if !c.Trigger.Journey && !c.Trigger.Fences.has(f.ID, f.Tags) {
			continue
		}
		v := fenceValue(f, path)
		most := atMost(v)
		for j, w := range weights {
			if most <= heaviest[j] { // nearly all of many fences
				continue
			}
			if n := w(v); n > heaviest[j] {
				longest[j], at[j], heaviest[j] = v, f.ID, n
			}
		}
	}
	e := either(textOf(longest[0]), textOf(longest[1]), textOf(longest[2]), textOf(longest[3]))
	return valueLimit{e: e, why: fmt.Sprintf("%d bytes in fence %s", len(longest[0]), at[0])}
}

// atMost is no less than any weight of s.
func atMost(s string) int {
	n := len(s) + len(`"\"\""`)
	for i := range len(s) {
		if c := s[i]; c < ' ' || strings.IndexByte("\"\\&<>\x7f\xe2", c) >= 0 {
			n += 6
		}
	}
	return n
}

// fenceValue is what a template prints of a fence; a list's items are not divided.
func fenceValue(f *fences.Fence, path string) string {
	switch path {
	case "fence.id":
		return string(f.ID)
	case "fence.name":
		return f.Name
	case "fence.tags":
		return strings.Join(f.Tags, "")
	case "store.id":
		return string(f.Store)
	case "store.zone":
		return f.Zone
	}
	if name, ok := strings.CutPrefix(path, "fence.props."); ok {
		return plain(plainProps(f.Properties)[name])
	}
	return ""
}
