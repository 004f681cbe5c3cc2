package campaign

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"footfall/dedupe"
	"footfall/track"
)

// Format writes campaigns as a file that [Parse] reads back to equal ones (the
// same revisions): one document each, keys in the order of the reference,
// defaults left out. Comments, templates that no step uses, and the spelling of
// durations and locales are not part of a campaign and do not come back.
func Format(list ...*Campaign) ([]byte, error) {
	var out []byte
	for i, c := range list {
		if i > 0 {
			out = append(out, "---\n"...)
		}
		doc, err := yaml.MarshalWithOptions(c.document(), yaml.UseSingleQuote(false), yaml.IndentSequence(true))
		if err != nil {
			return nil, fmt.Errorf("campaign: write %s: %w", c.ID, err)
		}
		out = append(out, doc...)
	}
	return out, nil
}

// members builds a mapping in order.
type members struct{ yaml.MapSlice }

func (m *members) add(key string, value any) {
	m.MapSlice = append(m.MapSlice, yaml.MapItem{Key: key, Value: value})
}

func (m *members) text(key, value, normal string) {
	if value != normal {
		m.add(key, value)
	}
}

func (m *members) flag(key string, value, normal bool) {
	if value != normal {
		m.add(key, value)
	}
}

func (m *members) number(key string, value int) {
	if value != 0 {
		m.add(key, value)
	}
}

func (m *members) duration(key string, d, normal time.Duration) {
	if d != normal {
		m.add(key, formatDuration(d))
	}
}

func (c *Campaign) document() yaml.MapSlice {
	var m members
	m.add("campaign", c.ID)
	m.text("name", c.Name, c.ID)
	m.flag("enabled", c.Enabled, true)
	m.flag("paused", c.Paused, false)
	m.text("zone", c.Zone, "")
	if s := c.Trigger.Schedule; s != nil {
		m.add("trigger", yaml.MapSlice{{Key: "schedule", Value: s.document()}})
	} else {
		m.add("trigger", yaml.MapSlice{{Key: c.Trigger.Kind.String(), Value: c.Trigger.document()}})
	}
	if w := c.Window.document(); len(w) > 0 {
		m.add("window", w)
	}
	if c.Audience != nil {
		m.add("audience", c.Audience.Source)
	}
	if c.Once != (dedupe.Period{}) {
		m.add("once_per", oncePerDocument(c.Once))
	}
	switch c.Scope {
	case ScopeCampaign:
	case ScopeGroup:
		m.add("scope", yaml.MapSlice{{Key: "group", Value: c.Groups}})
	default:
		m.add("scope", string(c.Scope))
	}
	if len(c.Caps) > 0 {
		caps := make([]yaml.MapSlice, len(c.Caps))
		for i := range c.Caps {
			caps[i] = c.Caps[i].document()
		}
		m.add("caps", caps)
	}
	m.flag("exempt", c.Exempt, false)
	if len(c.Quiet.Hours) > 0 {
		var q members
		q.add("hours", spansDocument(c.Quiet.Hours))
		if c.Quiet.Device {
			q.add("zone", "device")
		}
		q.text("closed", string(c.Quiet.Closed), string(Drop))
		m.add("quiet", q.MapSlice)
	}
	if c.Holdout > 0 {
		m.add("holdout", c.Holdout.String())
	}
	m.duration("max_age", c.MaxAge, DefaultMaxAge)
	push, named := c.Push.document()
	m.add("steps", []yaml.MapSlice{{{Key: "push", Value: push}}})
	if len(named) > 0 {
		m.add("templates", named)
	}
	return m.MapSlice
}

func (t *Trigger) document() yaml.MapSlice {
	var f, m members
	if t.Fences.All {
		f.add("all", true)
	}
	if len(t.Fences.IDs) > 0 {
		f.add("ids", t.Fences.IDs)
	}
	if len(t.Fences.Tags) > 0 {
		f.add("tags", t.Fences.Tags)
	}
	m.add("fences", f.MapSlice)
	m.flag("initial", t.Initial, true)
	m.flag("edits", t.Edits, false)
	m.flag("crossed", t.Crossed && t.Kind == track.Enter, false)
	m.number("min_confidence", int(t.MinConfidence))
	if v := t.Visits; !v.any() {
		var d members
		d.number("min", v.Min)
		d.number("max", v.Max)
		d.number("every", v.Every)
		d.duration("within", v.Within, 0)
		m.add("visits", d.MapSlice)
	}
	return m.MapSlice
}

func (w *Window) document() yaml.MapSlice {
	var m members
	if !w.From.IsZero() {
		m.add("from", w.From.String())
	}
	switch {
	case !w.To.IsZero():
		m.add("to", w.To.String())
	case w.Endless:
		m.add("to", "never")
	}
	m.text("zone", w.Zone, "")
	if w.Days != 0 {
		m.add("days", w.Days.names())
	}
	if len(w.Hours) > 0 {
		m.add("hours", spansDocument(w.Hours))
	}
	m.text("closed", string(w.Closed), string(Drop))
	if w.Closed != Drop {
		m.duration("hold_for", w.HoldFor, DefaultHoldFor)
	}
	return m.MapSlice
}

func spansDocument(list []Span) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = s.String()
	}
	return out
}

func oncePerDocument(p dedupe.Period) any {
	switch p.Kind {
	case dedupe.PeriodEver:
		return "campaign"
	case dedupe.PeriodNone:
		return "none"
	case dedupe.PeriodRolling:
		return yaml.MapSlice{{Key: "rolling", Value: formatDuration(p.Rolling)}}
	}
	m := yaml.MapSlice{{Key: "day", Value: p.Zone.String()}}
	if p.DayStart > 0 {
		m = append(m, yaml.MapItem{Key: "starts", Value: fmt.Sprintf("%02d:%02d", int(p.DayStart.Hours()), int(p.DayStart.Minutes())%60)})
	}
	return m
}

func (l *Cap) document() yaml.MapSlice {
	var m members
	m.add("max", l.Max)
	switch {
	case l.Day:
		m.add("per", "day")
	case l.Ever:
		m.add("per", "campaign")
	default:
		m.add("per", formatDuration(l.Per))
	}
	if l.All {
		m.add("of", "all")
	}
	return m.MapSlice
}

// document returns the push and the templates that it names.
func (p *PushStep) document() (push, named yaml.MapSlice) {
	var m members
	ref := func(t *Template) any {
		if t.Name == "" {
			return t.document()
		}
		for _, n := range named {
			if n.Key == t.Name {
				return t.Name
			}
		}
		named = append(named, yaml.MapItem{Key: t.Name, Value: t.document()})
		return t.Name
	}
	if p.Template != nil {
		m.add("template", ref(p.Template))
	}
	m.duration("ttl", p.TTL, DefaultTTL)
	m.text("in_app", string(p.InApp), "")
	if len(p.Variants) > 0 {
		var arms members
		for _, v := range p.Variants {
			if v.Template == nil {
				arms.add(v.Name, v.Share.String())
				continue
			}
			arms.add(v.Name, yaml.MapSlice{{Key: "share", Value: v.Share.String()}, {Key: "template", Value: ref(v.Template)}})
		}
		m.add("variants", arms.MapSlice)
	}
	if v := p.Voucher; v != nil {
		if v.Optional {
			m.add("voucher", yaml.MapSlice{{Key: "pool", Value: v.Pool}, {Key: "empty", Value: "send_without"}})
		} else {
			m.add("voucher", v.Pool)
		}
	}
	if p.AllDevices {
		m.add("devices", "all")
	}
	return m.MapSlice, named
}

func (t *Template) document() yaml.MapSlice {
	var m members
	if len(t.Locales) > 1 {
		m.add("default_locale", t.DefaultLocale)
	}
	if len(t.Required) > 0 {
		m.add("required", t.Required)
	}
	if len(t.Max) > 0 {
		var d members
		for _, path := range slices.Sorted(maps.Keys(t.Max)) {
			d.add(path, t.Max[path])
		}
		m.add("max", d.MapSlice)
	}
	m.text("sound", t.Sound, "default")
	m.text("thread", t.Thread.Source, "")
	m.text("collapse", t.Collapse.Source, "")
	m.duration("ttl", t.TTL, 0)
	if len(t.Data) > 0 {
		var d members
		for _, e := range t.Data {
			d.add(e.Key, e.Value.Source)
		}
		m.add("data", d.MapSlice)
	}
	t.documentLook(&m)
	if t.Background {
		return m.MapSlice
	}
	var locales members
	for i := range t.Locales {
		l := &t.Locales[i]
		var d members
		d.text("title", l.Title.Source, "")
		d.text("subtitle", l.Subtitle.Source, "")
		d.text("body", l.Body.Source, "")
		d.text("image", l.Image.Source, "")
		d.text("link", l.Link.Source, "")
		d.text("alt", l.Alt.Source, "")
		if len(l.Labels) > 0 {
			var labels members
			for _, id := range slices.Sorted(maps.Keys(l.Labels)) {
				labels.add(id, l.Labels[id].Source)
			}
			d.add("actions", labels.MapSlice)
		}
		for _, name := range platforms {
			if p := l.Platforms[name]; p != nil {
				var own members
				own.text("title", p.Title.Source, "")
				own.text("subtitle", p.Subtitle.Source, "")
				own.text("body", p.Body.Source, "")
				d.add(name, own.MapSlice)
			}
		}
		locales.add(l.Locale, d.MapSlice)
	}
	m.add("locales", locales.MapSlice)
	return m.MapSlice
}
