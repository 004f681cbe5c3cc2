package campaign

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"footfall/audience"
)

// A Document is one YAML document of a kind that another package reads: a
// journey. It is read with the same words, checks and messages as a campaign.
// Not safe for concurrent use.
type Document struct {
	s    *source
	node ast.Node
}

// A Field is one member of a mapping, or one item of a list.
type Field struct {
	s *source
	f field
}

// File and Place say where the document begins.
func (d *Document) File() string { return d.s.file }

// Place is the line and column of the document's first key.
func (d *Document) Place() (line, col int) {
	at := where(d.node)
	return at.line, at.col
}

// Segments are those of the document's library.
func (d *Document) Segments() *audience.Segments { return d.s.segments }

// Text is the document as it is written, from its first key on.
func (d *Document) Text() string {
	from := where(d.node).line
	to := from
	for to <= len(d.s.lines) && !strings.HasPrefix(d.s.line(to), "---") && !strings.HasPrefix(d.s.line(to), "...") {
		to++
	}
	var b strings.Builder
	for n := from; n < to; n++ {
		b.WriteString(strings.TrimRight(d.s.line(n), " \t"))
		b.WriteByte('\n')
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// Keys reads the document's members: handle is called for each known one, in
// the order of the file; names in later are refused as those of a later
// version, others as unknown.
func (d *Document) Keys(what string, known, later []string, handle func(Field)) bool {
	return d.s.keys(d.node, what, known, later, func(f field) { handle(Field{d.s, f}) })
}

// Fail records a fault at the beginning of the document.
func (d *Document) Fail(code Code, hint, format string, args ...any) {
	d.s.fail(where(d.node), code, hint, format, args...)
}

// Faults is how many faults have been recorded in the document's file.
func (d *Document) Faults() int { return len(d.s.errs) }

// Err joins the faults of the document's file; see [Parse].
func (d *Document) Err() error { return d.s.err() }

// Name is the member's key; of a list's item, that of the list.
func (f Field) Name() string { return f.f.name }

// Line is the line of the key.
func (f Field) Line() int { return f.f.key.line }

// Given reports whether the field was read from a file; the zero Field was not.
func (f Field) Given() bool { return f.f.val != nil }

// Fail records a fault at the value, FailKey at the key. An empty hint is that
// of the code.
func (f Field) Fail(code Code, hint, format string, args ...any) {
	f.s.fail(where(f.f.val), code, hint, format, args...)
}

// FailKey is Fail at the key.
func (f Field) FailKey(code Code, hint, format string, args ...any) {
	f.s.fail(f.f.key, code, hint, format, args...)
}

// IsMapping, IsList and IsText say what the value is.
func (f Field) IsMapping() bool {
	switch f.f.val.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

// IsList: see IsMapping.
func (f Field) IsList() bool {
	_, ok := f.f.val.(*ast.SequenceNode)
	return ok
}

// IsText: see IsMapping.
func (f Field) IsText() bool {
	_, ok := f.f.val.(*ast.StringNode)
	return ok
}

// Keys reads a mapping with known names; see [Document.Keys].
func (f Field) Keys(what string, known, later []string, handle func(Field)) bool {
	return f.s.keys(f.f.val, what, known, later, func(k field) { handle(Field{f.s, k}) })
}

// Members reads a mapping whose names are not known beforehand.
func (f Field) Members(what string) (list []Field, ok bool) {
	fields, ok := f.s.mapping(f.f.val, what)
	for _, k := range fields {
		list = append(list, Field{f.s, k})
	}
	return list, ok
}

// Items reads a list; something else is a fault.
func (f Field) Items(want string) (list []Field, ok bool) {
	seq, ok := f.f.val.(*ast.SequenceNode)
	if !ok {
		f.s.wrongType(f.f.val, f.f.name, want)
		return nil, false
	}
	for _, v := range seq.Values {
		list = append(list, Field{f.s, field{f.f.name, where(v), v}})
	}
	return list, true
}

// Text, Word, Bool, Integer, Duration, Rule, Share, ID and Names read a value
// as campaigns do; ok is false, and the fault recorded, when it is not one.
func (f Field) Text() (string, bool) { return f.s.text(f.f) }

// Word reads one of a set.
func (f Field) Word(allowed ...string) (string, bool) { return f.s.word(f.f, allowed, nil) }

// Bool reads true or false.
func (f Field) Bool() (value, ok bool) { return f.s.boolean(f.f) }

// Integer reads a whole number from low to high.
func (f Field) Integer(low, high int) (int, bool) { return f.s.integer(f.f, low, high) }

// Duration reads a length of time from low to high.
func (f Field) Duration(low, high time.Duration) (time.Duration, bool) {
	return f.s.duration(f.f, low, high)
}

// Rule reads an expression about people, or {segment: NAME}.
func (f Field) Rule() *audience.Rule { return f.s.rule(f.f) }

// Share reads a share such as 12.5%.
func (f Field) Share() (Share, bool) { return f.s.share(f.f) }

// ID reads a campaign's or journey's id.
func (f Field) ID() string { return f.s.id(f.f) }

// Names reads a name or a list of names, each once.
func (f Field) Names(limit int) []string { return f.s.names(f.f, limit) }

// Clock reads a time of day as minutes from midnight.
func (f Field) Clock() (minutes int, ok bool) {
	v, ok := f.s.text(f.f)
	if !ok {
		return 0, false
	}
	if minutes, ok = parseClock(v, false); !ok {
		f.Fail(CodeHours, `write "10:00"`, "%s: %q is not a time of day", f.f.name, v)
	}
	return minutes, ok
}

// Scalar reads a text, a number or a boolean; null gives nil.
func (f Field) Scalar() (v any, ok bool) {
	switch n := f.f.val.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.BoolNode:
		return n.Value, true
	case *ast.NullNode:
		return nil, true
	case *ast.IntegerNode:
		switch x := n.Value.(type) {
		case int64:
			return float64(x), true
		case uint64:
			return float64(x), true
		}
	case *ast.FloatNode:
		return n.Value, true
	}
	f.s.wrongType(f.f.val, f.f.name, "text, a number, true or false")
	return nil, false
}

// Selector reads a selection of fences.
func (f Field) Selector() (sel Selector) {
	f.s.selector(f.f, &sel)
	return sel
}

// Window, Quiet and Schedule read what campaigns have under these names.
func (f Field) Window() (w Window) {
	f.s.window(f.f, &w)
	return w
}

// Quiet reads quiet hours.
func (f Field) Quiet() (q Quiet) {
	f.s.quiet(f.f, &q)
	return q
}

// Caps reads caps.
func (f Field) Caps() []Cap { return f.s.caps(f.f, capKeys) }

// Schedule reads when something is due; the result is usable when no fault was
// recorded.
func (f Field) Schedule() *Schedule { return f.s.schedule(f.f) }

// ScheduleWithout is Schedule for a mapping with further keys, which are not
// looked at. With onlyClock the time is not read either, only whose clock
// counts; it is for [Schedule.On].
func (f Field) ScheduleWithout(keys []string, onlyClock bool) *Schedule {
	return f.s.scheduleWith(f.f, keys, onlyClock)
}

// Zone reads a time zone.
func (f Field) Zone() (string, *time.Location) { return f.s.zone(f.f) }

// Later refuses a name that a later version may have.
func (f Field) Later(what string) {
	f.FailKey(CodeUnsupported, "remove it", "%q in %s is not supported by this version", f.Name(), what)
}

// Templates reads named templates; the zero field has none.
func (f Field) Templates(c *Campaign) map[string]*Template {
	if !f.Given() {
		return nil
	}
	return f.s.templates(f.f, c)
}

// JourneyPush reads a push step as a campaign of its own: one that decides
// about single people without a transition of theirs. base gives id, name,
// caps, quiet hours and zone (nil: UTC); templates are those that it may name.
// reads says which roots its templates may read besides those that everybody
// has.
func (f Field) JourneyPush(base *Campaign, zone *time.Location, templates map[string]*Template, reads ...string) *Campaign {
	c := *base
	c.Trigger = Trigger{Journey: true}
	c.Window = Window{Closed: Drop, Endless: true}
	c.zone = zone
	at := f.f.key
	c.File, c.Line, c.Col = f.s.file, at.line, at.col
	before := len(f.s.errs)
	f.s.push(f.f, &c, templates)
	if len(f.s.errs) > before {
		return &c
	}
	f.s.refusePaths(&c.Push, at, "name an entry that has it", func(path string) string {
		root, _, _ := strings.Cut(path, ".")
		if slices.Contains([]string{"fence", "store", "entry"}, root) && !slices.Contains(reads, root) {
			return "nothing that the journey is entered by has it"
		}
		return ""
	})
	f.s.needVoucher(&c.Push, at)
	c.seal()
	return &c
}

// DidYouMean is a hint for an unknown name.
func DidYouMean(name string, known []string) string { return didYouMean(name, known) }

// TextOf writes documents that [ParseLibrary] reads: the segments, by name, and
// then text.
func TextOf(segments map[string]string, text string) string {
	if len(segments) == 0 {
		return text
	}
	var b strings.Builder
	b.WriteString("segments:\n")
	for _, name := range slices.Sorted(maps.Keys(segments)) {
		fmt.Fprintf(&b, "  %q: %q\n", name, segments[name])
	}
	b.WriteString("---\n")
	b.WriteString(text)
	return b.String()
}

// Next is the first time at or after t at which the schedule is due for
// somebody whose phone names the zone (or none); for one that is over, t.
func (s *Schedule) Next(t time.Time, zone string) time.Time {
	if !s.Once.IsZero() {
		wall := s.Once.Wall
		if s.Once.Zoned {
			wall = wall.In(s.loc)
		}
		at, _, _ := s.Planned(wall.Format(time.DateOnly), zone)
		if at.Before(t) {
			return t
		}
		return at
	}
	_, loc, _ := s.Planned("2000-01-01", zone)
	year, month, day := t.In(loc).Date()
	for d := range 10 {
		date := time.Date(year, month, day+d, 0, 0, 0, 0, time.UTC)
		if at, _, ok := s.Planned(date.Format(time.DateOnly), zone); ok && !at.Before(t) {
			return at
		}
	}
	return t // a day that the zone has left out, for a schedule of that one day a week
}

// On is when a time of day (minutes from midnight) comes on a date (its clock and
// zone are not looked at) for somebody whose phone names the zone, by the
// schedule's rule of whose clock counts.
func (s *Schedule) On(date time.Time, minutes int, zone string) time.Time {
	one := Schedule{Clock: minutes, Device: s.Device, loc: s.loc}
	at, _, _ := one.Planned(date.Format(time.DateOnly), zone)
	return at
}
