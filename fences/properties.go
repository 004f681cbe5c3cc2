package fences

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// property is one of a feature's properties that mean something here.
type property uint8

const (
	_ property = iota
	propName
	propStore
	propZone
	propTags
	propPriority
	propMinStay
	propMinAway
	propDwell
	propRadius
	propRadiusUnits
	propCrossed
	propInitial
	propExitMargin
	propMaxAccuracy
	propType
	numProperties
)

var properties = map[string]property{
	"name": propName, "store": propStore, "zone": propZone, "tags": propTags, "priority": propPriority,
	"min_stay": propMinStay, "min_away": propMinAway, "dwell": propDwell, "radius": propRadius, "radius_units": propRadiusUnits,
	"crossed": propCrossed, "initial": propInitial, "exit_margin": propExitMargin, "max_accuracy": propMaxAccuracy,
	"type": propType,
}

// Indexes of rawFeature.foreign.
const (
	foreignSubType = iota
	foreignCircle
	foreignID
)

// maxPropertyBytes is the largest "properties" object kept with a fence.
const maxPropertyBytes = 1 << 20

// maxSimilar is how many different unknown names of one load are compared with
// ours; a real set has a few dozen.
const maxSimilar = 2_000

// maxStay is the longest min_stay, min_away and dwell; presence is forgotten before that.
const maxStay = 7 * 24 * time.Hour

// properties reads a feature's "properties" member.
func (p *parser) properties(f *rawFeature) bool {
	c := p.peek()
	if c != '{' {
		v, ok := p.skip()
		if ok && c != 'n' {
			p.note(v, p.pointer(), newFinding(codeProperty, `"properties" must be an object or null, not %s`, kind(c)))
		}
		return ok
	}
	start := p.pos
	ok := p.object(inProperties, func(key []byte, at span) bool {
		v, ok := p.skip()
		if !ok {
			return false
		}
		if k := properties[string(key)]; k != 0 {
			f.values[k] = v
		} else {
			switch string(key) {
			case "subType":
				f.foreign[foreignSubType] = v
			case "@circle":
				f.foreign[foreignCircle] = v
			default:
				p.nearMiss(key, at)
			}
		}
		if p.isIDKey(key) {
			f.foreign[foreignID] = v
		}
		return true
	})
	f.properties = span{start, p.pos}
	if n := p.pos - start; ok && n > maxPropertyBytes {
		p.note(span{start, start + 1}, p.base+"/properties", newFinding(codeTooLarge, "the properties have %d bytes; the limit is %d", n, maxPropertyBytes))
	}
	return ok
}

// nearMiss hints at a property whose name was probably meant to be one of ours.
func (p *parser) nearMiss(key []byte, at span) {
	if len(key) > 20 {
		return
	}
	near, known := p.l.similar[string(key)]
	if !known {
		if len(p.l.similar) == maxSimilar {
			return
		}
		near = nearest(string(key))
		p.l.similar[string(key)] = near
	}
	if near == "" {
		return
	}
	d := p.once[codeNearMiss+string(key)]
	if d == nil {
		f := newFinding(codeNearMiss, "property %q is kept and not used; was %q meant?", clip(key), near)
		f.Fix = &Fix{Title: "Rename to " + near}
		d = p.tally(codeNearMiss+string(key), at, p.pointer, f)
	} else {
		d.Count++
	}
	addEdit(d, Edit{Offset: at.start, Length: at.end - at.start, Text: strconv.Quote(near)})
}

// nearest returns the property whose name resembles key, "" when none does: the
// same but for case and separators, or one slip away (two in long names).
func nearest(key string) string {
	k := fold.Replace(strings.ToLower(key))
	if k == "" {
		return ""
	}
	best, least := "", 3
	for _, name := range meantNames {
		n := fold.Replace(name)
		most := 1
		if len(n) >= 8 {
			most = 2
		}
		if d := distance(k, n); d <= most && d < least && (d == 0 || k[0] == n[0]) {
			best, least = name, d
		}
	}
	return best
}

var fold = strings.NewReplacer("_", "", "-", "", " ", "")

// meantNames are the names that a near miss may have meant, sorted.
var meantNames = slices.Sorted(func(yield func(string) bool) {
	for name := range properties {
		if name != "type" && !yield(name) {
			return
		}
	}
})

// distance is the number of letters to insert, delete, replace or exchange with
// the next one (optimal string alignment) that turns a into b.
func distance(a, b string) int {
	if d := len(a) - len(b); d > 2 || d < -2 {
		return 3
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			v := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				v = min(v, rows[i-2][j-2]+1)
			}
			rows[i][j] = v
		}
	}
	return rows[len(a)][len(b)]
}

// given returns the value of a property, unless it is missing or null.
func (p *parser) given(f *rawFeature, k property) (v span, c byte, ok bool) {
	v = f.values[k]
	if v.empty() || p.data[v.start] == 'n' {
		return v, 0, false
	}
	return v, p.data[v.start], true
}

func (p *parser) badProperty(v span, name string, fix *Fix, format string, args ...any) {
	f := newFinding(codeProperty, "%s %s", name, fmt.Sprintf(format, args...))
	f.Fix = fix
	p.note(v, p.base+"/properties/"+name, f)
}

// show is a value as it stands in the text, shortened.
func (p *parser) show(v span) string { return clip(p.data[v.start:v.end]) }

// apply fills the fence from the properties and notes what cannot be used.
func (p *parser) apply(f *rawFeature, fence *Fence) {
	if !f.properties.empty() && f.properties.end-f.properties.start <= maxPropertyBytes {
		fence.Properties = json.RawMessage(slices.Clone(p.data[f.properties.start:f.properties.end]))
	}
	if v := f.name; f.values[propName].empty() && !v.empty() && p.data[v.start] == '"' {
		fence.Name = p.text(v)
	}
	if v, c, ok := p.given(f, propName); ok {
		switch {
		case c == '"':
			fence.Name = p.text(v)
		case c == '-' || c >= '0' && c <= '9':
			fence.Name = string(p.data[v.start:v.end])
		default:
			p.notUsed("name", v, "name is %s, not text; the fence has no name", kind(c))
		}
	}
	if v, c, ok := p.given(f, propStore); ok {
		switch {
		case c == '"':
			fence.Store = StoreID(p.text(v))
		case c == '-' || c >= '0' && c <= '9':
			fence.Store = StoreID(p.data[v.start:v.end])
		default:
			p.badProperty(v, "store", nil, "must be text or a number, not %s", kind(c))
		}
	}
	p.applyZone(f, fence)
	p.applyTags(f, fence)
	if v, _, ok := p.given(f, propPriority); ok {
		if n, ok := p.number(f, propPriority, "priority", -math.MaxInt32, math.MaxInt32); ok {
			if n != math.Trunc(n) {
				p.badProperty(v, "priority", nil, "is %s; it must be a whole number", p.show(v))
			}
			fence.Priority = int(n)
		}
	}
	fence.MinStay = p.duration(f, propMinStay, "min_stay")
	fence.MinAway = p.duration(f, propMinAway, "min_away")
	fence.Dwell = p.duration(f, propDwell, "dwell")
	if b := p.boolean(f, propCrossed, "crossed"); b != nil {
		fence.Crossed = *b
	}
	fence.Initial = p.boolean(f, propInitial, "initial")
	fence.ExitMarginM, _ = p.number(f, propExitMargin, "exit_margin", 0, DefaultMaxRadiusM)
	fence.MaxAccuracyM, _ = p.number(f, propMaxAccuracy, "max_accuracy", 0, DefaultMaxRadiusM)
}

// notUsed counts a property that is kept but cannot be what its name says.
func (p *parser) notUsed(name string, v span, format string, args ...any) {
	key := codeNotUsed + name
	if d := p.once[key]; d != nil {
		d.Count++
		return
	}
	pointer := func() string { return p.base + "/properties/" + name }
	p.tally(key, v, pointer, newFinding(codeNotUsed, format, args...))
}

// number reads a property that must be a number between two bounds.
func (p *parser) number(f *rawFeature, k property, name string, least, most float64) (float64, bool) {
	v, c, ok := p.given(f, k)
	if !ok {
		return 0, false
	}
	if c != '-' && (c < '0' || c > '9') {
		var fix *Fix
		if c == '"' && isNumber(p.text(v)) {
			fix = unquote(v, p.text(v))
		}
		p.badProperty(v, name, fix, "must be a number, not %s", kind(c))
		return 0, false
	}
	x, err := strconv.ParseFloat(string(p.data[v.start:v.end]), 64)
	if err != nil || x < least || x > most {
		p.badProperty(v, name, nil, "is %s; it must be between %g and %g", p.show(v), least, most)
		return 0, false
	}
	return x, true
}

func unquote(v span, text string) *Fix {
	return &Fix{Title: "Remove the quotes", Edits: []Edit{{Offset: v.start, Length: v.end - v.start, Text: text}}}
}

func (p *parser) boolean(f *rawFeature, k property, name string) *bool {
	v, c, ok := p.given(f, k)
	if !ok {
		return nil
	}
	switch c {
	case 't', 'f':
		return new(c == 't')
	case '"':
		if t := strings.ToLower(p.text(v)); t == "true" || t == "false" {
			p.badProperty(v, name, unquote(v, t), "must be true or false without quotes")
			return nil
		}
	}
	p.badProperty(v, name, nil, "must be true or false, not %s", p.show(v))
	return nil
}

// duration reads a property that is a time span: "60s", "5m", "PT5M" or a
// number of seconds.
func (p *parser) duration(f *rawFeature, k property, name string) time.Duration {
	v, c, ok := p.given(f, k)
	if !ok {
		return 0
	}
	var d time.Duration
	var err error
	switch {
	case c == '"':
		d, err = parseDuration(p.text(v))
	case c == '-' || c >= '0' && c <= '9':
		var x float64
		x, err = strconv.ParseFloat(string(p.data[v.start:v.end]), 64)
		d = time.Duration(min(max(x, -1), 1e9) * float64(time.Second))
	default:
		err = errDuration
	}
	switch {
	case err != nil:
		p.badProperty(v, name, nil, `is %s; write a time span as "90s", "5m", "PT5M" or a number of seconds`, p.show(v))
		return 0
	case d < 0 || d > maxStay:
		p.badProperty(v, name, nil, "is %s; it must be between 0 and 7 days", p.show(v))
		return 0
	}
	return d
}

// applyTags reads an array of texts or one text with commas.
func (p *parser) applyTags(f *rawFeature, fence *Fence) {
	v, c, ok := p.given(f, propTags)
	if !ok {
		return
	}
	var tags []string
	switch c {
	case '"':
		tags = strings.Split(p.text(v), ",")
	case '[':
		if json.Unmarshal(p.data[v.start:v.end], &tags) != nil {
			p.badProperty(v, "tags", nil, "must be an array of texts; one of its elements is not")
			return
		}
	default:
		p.badProperty(v, "tags", nil, `must be an array of texts or one text with commas, not %s`, kind(c))
		return
	}
	for i := range tags {
		tags[i] = strings.TrimSpace(tags[i])
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	if len(tags) > 0 && tags[0] == "" {
		tags = tags[1:]
	}
	if len(tags) > 0 {
		fence.Tags = tags
	}
}

// isIDKey reports whether a property identifies features.
func (p *parser) isIDKey(key []byte) bool { return p.l.o.IDKey != "" && string(key) == p.l.o.IDKey }
