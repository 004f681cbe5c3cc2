package fences

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"

	"footfall/geo"
)

// Marshal writes the fences as a GeoJSON FeatureCollection, one feature per
// line, in the order given.
//
// Ids are written as text, properties byte for byte as they were read, and
// coordinates with the digits it takes to read the same numbers back. A circle
// is a Point whose properties hold "radius" in metres and, unless they have a
// "type" of their own, "type": "Circle". A field of the fence that says something
// else than the properties wins: its member is replaced or added. So reading
// what Marshal wrote gives equal fences, and writing those the same bytes.
func Marshal(fs []Fence) []byte {
	b := []byte(`{"type":"FeatureCollection","features":[`)
	for i := range fs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '\n')
		b = appendFeature(b, &fs[i])
	}
	return append(b, "\n]}\n"...)
}

func appendFeature(b []byte, f *Fence) []byte {
	b = append(b, `{"type":"Feature","id":`...)
	b = append(b, quoteJSON(string(f.ID))...)
	b = append(b, `,"properties":`...)
	b = appendProperties(b, f)
	b = append(b, `,"geometry":`...)
	b = appendGeometry(b, &f.Shape)
	return append(b, '}')
}

func appendGeometry(b []byte, s *geo.Shape) []byte {
	if s.IsCircle() {
		b = append(b, `{"type":"Point","coordinates":`...)
		return append(appendPosition(b, s.Center()), '}')
	}
	polys := s.Polygons()
	if len(polys) == 1 {
		b = append(b, `{"type":"Polygon","coordinates":`...)
		return append(appendPolygon(b, polys[0]), '}')
	}
	b = append(b, `{"type":"MultiPolygon","coordinates":[`...)
	for i, p := range polys {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendPolygon(b, p)
	}
	return append(b, "]}"...)
}

func appendPolygon(b []byte, p geo.Polygon) []byte {
	b = append(b, '[')
	for i, ring := range p {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		for k, pt := range ring {
			if k > 0 {
				b = append(b, ',')
			}
			b = appendPosition(b, pt)
		}
		b = append(b, ']')
	}
	return append(b, ']')
}

func appendPosition(b []byte, p geo.Point) []byte {
	lng := p.Lng
	if math.Abs(lng) > 180 {
		lng = math.Remainder(lng, 360)
	}
	b = append(b, '[')
	b = strconv.AppendFloat(b, lng, 'f', -1, 64)
	b = append(b, ',')
	b = strconv.AppendFloat(b, p.Lat, 'f', -1, 64)
	return append(b, ']')
}

// appendProperties writes the properties with the members that the fence's
// fields contradict replaced, and those that they lack added.
func appendProperties(b []byte, f *Fence) []byte {
	text := f.Properties
	if len(bytes.TrimSpace(text)) == 0 {
		text = json.RawMessage("{}")
	}
	p, raw := readProperties(text)
	if raw.properties.empty() { // not an object: cannot come from Parse
		text = json.RawMessage("{}")
		p, raw = readProperties(text)
	}
	set := contradictions(p, raw, f)
	if len(set) == 0 && len(f.Properties) > 0 {
		return append(b, text...)
	}
	s := scanner{data: text}
	s.space()
	written := 0
	member := func(name, value []byte) {
		if written++; written > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	b = append(b, '{')
	s.object(inForeign, func(key []byte, at span) bool {
		v, ok := s.skip()
		name := text[at.start:at.end]
		if i := slices.IndexFunc(set, func(m edited) bool { return m.name == string(key) }); i < 0 {
			member(name, text[v.start:v.end])
		} else if set[i].value != "" {
			member(name, []byte(set[i].value))
			set[i].value = ""
		}
		return ok
	})
	for _, m := range set {
		if m.value != "" {
			member([]byte(quoteJSON(m.name)), []byte(m.value))
		}
	}
	return append(b, '}')
}

// edited is a property to write in place of what the text says; an empty value
// leaves it out.
type edited struct{ name, value string }

// readProperties reads a properties object by itself.
func readProperties(text []byte) (*parser, *rawFeature) {
	l := newLoader(Options{})
	l.docs = []document{{data: text}}
	p := &parser{l: l, scanner: scanner{data: text}, once: make(map[string]*draft)}
	raw := new(rawFeature)
	if p.peek() == '{' {
		p.properties(raw)
	}
	return p, raw
}

// contradictions compares the fence's fields with what its properties say.
func contradictions(p *parser, raw *rawFeature, f *Fence) []edited {
	var was Fence
	p.apply(raw, &was)
	var set []edited
	differs := func(differs bool, name, value string) {
		if differs {
			set = append(set, edited{name, value})
		}
	}
	text := func(s string) string {
		if s == "" {
			return ""
		}
		return quoteJSON(s)
	}
	number := func(x float64) string {
		if x == 0 {
			return ""
		}
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	stay := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return quoteJSON(d.String())
	}
	differs(f.Name != was.Name, "name", text(f.Name))
	differs(f.Store != was.Store, "store", text(string(f.Store)))
	differs(f.Zone != was.Zone && f.Zone != "", "zone", text(f.Zone))
	tags := ""
	if len(f.Tags) > 0 {
		t, _ := json.Marshal(f.Tags) // strings always encode
		tags = string(t)
	}
	differs(!slices.Equal(f.Tags, was.Tags), "tags", tags)
	differs(f.Priority != was.Priority, "priority", number(float64(f.Priority)))
	differs(f.MinStay != was.MinStay, "min_stay", stay(f.MinStay))
	differs(f.MinAway != was.MinAway, "min_away", stay(f.MinAway))
	differs(f.Dwell != was.Dwell, "dwell", stay(f.Dwell))
	differs(f.Crossed != was.Crossed, "crossed", strconv.FormatBool(f.Crossed))
	initial := ""
	if f.Initial != nil {
		initial = strconv.FormatBool(*f.Initial)
	}
	same := (f.Initial == nil) == (was.Initial == nil) && (f.Initial == nil || *f.Initial == *was.Initial)
	differs(!same, "initial", initial)
	differs(f.ExitMarginM != was.ExitMarginM, "exit_margin", number(f.ExitMarginM))
	differs(f.MaxAccuracyM != was.MaxAccuracyM, "max_accuracy", number(f.MaxAccuracyM))
	if !f.Shape.IsCircle() {
		return set
	}
	if r := f.Shape.RadiusM(); writtenRadius(p, raw) != r {
		set = append(set, edited{"radius", number(r)}, edited{"radius_units", ""})
	}
	if raw.values[propType].empty() {
		set = append(set, edited{"type", `"Circle"`})
	}
	return set
}

// writtenRadius is the radius in metres that the properties state, 0 for none.
func writtenRadius(p *parser, raw *rawFeature) float64 {
	v, _, ok := p.given(raw, propRadius)
	if !ok {
		return 0
	}
	x, err := strconv.ParseFloat(string(p.data[v.start:v.end]), 64)
	if err != nil {
		return 0
	}
	factor := 1.0
	if u, c, ok := p.given(raw, propRadiusUnits); ok && c == '"' {
		if text := p.text(u); text != "" {
			factor = units[text]
		}
	}
	return x * factor
}

// quoteJSON writes a JSON string, without the escapes that are only for HTML.
func quoteJSON(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}
