package fences

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"footfall/geo"
)

// feature interprets a feature that has been read, adds its fence unless it has
// an error, and hands its findings over.
func (p *parser) feature(f *rawFeature, at span) {
	index := p.count
	p.count++
	p.l.seen++
	m := meta{doc: p.doc, pointer: p.base, feature: at, coords: f.geometry.coords}
	switch {
	case f.typ.empty():
		p.note(span{at.start, at.start + 1}, p.base, newFinding(codeNotGeoJSON, `the object has no "type"; expected "Feature"`))
	case !p.is(f.typ, "Feature"):
		p.note(f.typ, p.base+"/type", newFinding(codeNotGeoJSON, `type is %s; expected "Feature"`, p.show(f.typ)))
	}
	var fence Fence
	fence.File = p.docFile()
	fence.Line, fence.Col = p.loc.to(at.start)
	p.apply(f, &fence)
	id := p.identify(f, index, &m, fence.Name)
	fence.ID = ID(id)
	shaped := p.shape(f, &fence, &m)
	bad := p.failed()
	p.flushLocal(id, p.l.o.SkipInvalid)
	if bad || !shaped {
		p.l.skipped++
		return
	}
	p.l.fences = append(p.l.fences, fence)
	p.l.metas = append(p.l.metas, m)
}

func (p *parser) docFile() string { return p.l.docs[p.doc].file }

// identify finds the feature's id: its own, else a property, else its position.
func (p *parser) identify(f *rawFeature, index int, m *meta, name string) string {
	m.id = span{m.feature.start, m.feature.start + 1}
	given := !f.id.empty() && p.data[f.id.start] != 'n'
	if given {
		m.id, m.own = f.id, true
		return p.idText(f.id, p.base+"/id", m, name)
	}
	switch key := p.l.o.IDKey; {
	case key == IDKeyIndex:
		return strconv.Itoa(index)
	case key != "":
		if v := f.foreign[foreignID]; !v.empty() && p.data[v.start] != 'n' {
			m.id = v
			return p.idText(v, p.base+"/properties/"+escapePointer(key), m, name)
		}
		p.noID(f.id, m, name, "the fence has no id and no property "+strconv.Quote(clip(key)))
	default:
		p.noID(f.id, m, name, "the fence has no id")
	}
	return ""
}

// idText reads an id: text, or a number.
func (p *parser) idText(v span, pointer string, m *meta, name string) string {
	bad := func(why string) string {
		d := p.idFinding(v, pointer, why, m)
		if d != nil {
			d.newID = slug(name)
		}
		return ""
	}
	switch c := p.data[v.start]; {
	case c == '"':
		id := p.text(v)
		switch {
		case id == "":
			return bad("the id is empty")
		case len(id) > MaxIDLen:
			return bad("the id has " + strconv.Itoa(len(id)) + " bytes; the limit is " + strconv.Itoa(MaxIDLen))
		case strings.ContainsFunc(id, unicode.IsControl):
			return bad("the id contains a control character")
		}
		return id
	case c == '-' || c >= '0' && c <= '9':
		text := string(p.data[v.start:v.end])
		if x, err := strconv.ParseFloat(text, 64); err == nil && x == math.Trunc(x) && math.Abs(x) < 1<<53 {
			return strconv.FormatInt(int64(x), 10)
		}
		if len(text) > MaxIDLen {
			return bad("the id is too long")
		}
		return text
	default:
		return bad("the id must be text or a number, not " + kind(c))
	}
}

// idFinding notes a problem of the id whose fix, a new id, is made at the end,
// when all ids are known.
func (p *parser) idFinding(at span, pointer, why string, m *meta) *draft {
	if p.more(codeID) != nil {
		return nil
	}
	p.note(at, pointer, newFinding(codeID, "%s; give it one of its own, presence and claims are kept under it", why))
	d := &p.local[len(p.local)-1]
	if m.own {
		d.idValue = m.id
	}
	d.insert = m.feature.start + 1
	return d
}

func (p *parser) noID(null span, m *meta, name, why string) {
	if d := p.idFinding(span{m.feature.start, m.feature.start + 1}, p.base, why, m); d != nil {
		d.newID = slug(name)
		d.idValue = null // "id": null is replaced
	}
}

// slug makes a readable id from a name: ASCII letters and digits joined by
// hyphens, "fence" when nothing is left.
func slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 40 {
			break
		}
	}
	if s := strings.Trim(b.String(), "-"); len(s) > 1 {
		return s
	}
	return "fence"
}

// shape makes the fence's area from the geometry and the radius.
func (p *parser) shape(f *rawFeature, fence *Fence, m *meta) bool {
	g := &f.geometry
	at := p.base + "/geometry"
	switch {
	case !g.given:
		p.note(span{m.feature.start, m.feature.start + 1}, p.base, newFinding(codeGeometry, `the feature has no "geometry"`))
		return false
	case g.null:
		p.note(g.at, at, newFinding(codeGeometry, "the geometry is null; a fence needs a place"))
		return false
	case g.broken:
		return false
	case g.typ == "":
		p.note(span{g.at.start, g.at.start + 1}, at, newFinding(codeGeometry, `the geometry has no "type"`))
		return false
	}
	switch g.typ {
	case "Point", "Polygon", "MultiPolygon":
	default:
		p.note(g.typAt, at+"/type", newFinding(codeGeometry, "a %s is no area; use a Point with a radius, a Polygon or a MultiPolygon", clip(g.typ)))
		return false
	}
	if g.coords.empty() {
		p.note(span{g.at.start, g.at.start + 1}, at, newFinding(codeGeometry, `the geometry has no "coordinates"`))
		return false
	}
	if g.typ == "Point" && g.pointAt.empty() || g.typ != "Point" && emptyArea(g) {
		p.note(g.coords, at+"/coordinates", newFinding(codeGeometry, "the coordinates are empty"))
		return false
	}
	if g.typ == "Point" {
		return p.circle(f, fence, m)
	}
	if v := f.foreign[foreignCircle]; g.typ == "Polygon" && !v.empty() && p.data[v.start] == '{' {
		if ok := p.placemark(f, fence, m); ok {
			return true
		}
	}
	return p.area(f, fence, m)
}

func emptyArea(g *geometry) bool {
	for _, poly := range g.polys {
		if len(poly) == 0 || len(poly[0]) == 0 {
			return true
		}
	}
	return len(g.polys) == 0
}

// Metres per unit of radius_units.
var units = map[string]float64{"m": 1, "km": 1000, "mi": 1609.344, "ft": 0.3048}

// circle makes a circle from a Point.
func (p *parser) circle(f *rawFeature, fence *Fence, m *meta) bool {
	g := &f.geometry
	if g.point == (geo.Point{}) {
		p.note(g.pointAt, p.base+"/geometry/coordinates", newFinding(codeNullIsland, "the position is [0, 0], which stands for an unknown place; fixes there are refused, so the fence will never be entered"))
	}
	if v := f.foreign[foreignSubType]; p.is(v, "Circle") {
		fd := newFinding(codeForeignForm, `"subType": "Circle" (Azure Maps) is read as a circle`)
		if f.values[propType].empty() {
			if key := bytesBefore(p.data, v.start, `"subType"`); key >= 0 {
				fd.Fix = &Fix{Title: `Write "type": "Circle"`, Edits: []Edit{{Offset: key, Length: len(`"subType"`), Text: `"type"`}}}
			}
		}
		p.note(v, p.base+"/properties/subType", fd)
	}
	r, ok := p.radius(f, m)
	if !ok {
		return false
	}
	shape, err := geo.NewCircle(g.point, r)
	if err != nil {
		p.note(g.pointAt, p.base+"/geometry", newFinding(codeRadius, "%s", trimGeo(err)))
		return false
	}
	fence.Shape = shape
	m.box = circleBox(g.point, r)
	return true
}

// bytesBefore returns the offset of want if it is the last thing but a colon
// and white space before offset, else -1.
func bytesBefore(data []byte, offset int, want string) int {
	s := strings.TrimRight(string(data[max(0, offset-64):offset]), " \t\r\n")
	s = strings.TrimRight(strings.TrimSuffix(s, ":"), " \t\r\n")
	if !strings.HasSuffix(s, want) {
		return -1
	}
	return max(0, offset-64) + len(s) - len(want)
}

// radius reads the radius in metres.
func (p *parser) radius(f *rawFeature, m *meta) (float64, bool) {
	at := p.base + "/properties/radius"
	unit, factor := "m", 1.0
	if v, c, ok := p.given(f, propRadiusUnits); ok {
		known := false
		if c == '"' {
			unit = strings.ToLower(strings.TrimSpace(p.text(v)))
			if unit == "" {
				unit = "m"
			}
			factor, known = units[unit]
		}
		if !known {
			p.note(v, at+"_units", newFinding(codeRadius, `radius_units is %s; it must be "m", "km", "mi" or "ft"`, p.show(v)))
			return 0, false
		}
	}
	v, c, ok := p.given(f, propRadius)
	if g := f.geometry.radius; !ok && !g.empty() && isNumber(string(p.data[g.start:g.end])) {
		v, c, ok, at = g, p.data[g.start], true, p.base+"/geometry/radius"
		p.noteRadiusInGeometry(f)
	}
	if !ok {
		if r := p.l.o.DefaultRadiusM; r != 0 {
			return p.checkRadius(r, r, "m", f.geometry.pointAt, p.base+"/geometry")
		}
		p.note(span{m.feature.start, m.feature.start + 1}, p.base, newFinding(codeRadius, `the Point has no radius; add "radius" in metres to its properties, or set a default radius`))
		return 0, false
	}
	if c != '-' && (c < '0' || c > '9') {
		fd := newFinding(codeRadius, "radius must be a number of metres, not %s", p.show(v))
		if c == '"' && isNumber(p.text(v)) {
			fd.Fix = unquote(v, p.text(v))
		}
		p.note(v, at, fd)
		return 0, false
	}
	x, err := strconv.ParseFloat(string(p.data[v.start:v.end]), 64)
	if err != nil {
		p.note(v, at, newFinding(codeRadius, "radius %s is too large for a number", p.show(v)))
		return 0, false
	}
	return p.checkRadius(x*factor, x, unit, v, at)
}

// noteRadiusInGeometry says that a circle has its radius where TomTom's fences have it. The fix puts it into the properties.
func (p *parser) noteRadiusInGeometry(f *rawFeature) {
	v := f.geometry.radius
	fd := newFinding(codeForeignForm, `"radius" in the geometry (TomTom) is read as the circle's`)
	member := `"type":"Circle","radius":` + string(p.data[v.start:v.end])
	if props := f.properties; !props.empty() && f.values[propType].empty() && f.values[propRadius].empty() {
		if strings.Trim(string(p.data[props.start:props.end]), "{} \t\r\n") != "" {
			member += ","
		}
		fd.Fix = &Fix{Title: "Write it into the properties", Edits: []Edit{{Offset: props.start + 1, Text: member}}}
	}
	p.note(v, p.base+"/geometry/radius", fd)
}

func (p *parser) checkRadius(r, x float64, unit string, at span, pointer string) (float64, bool) {
	o := &p.l.o
	text := strconv.FormatFloat(x, 'g', -1, 64) + " " + unit
	switch {
	case !(r >= o.MinRadiusM):
		p.note(at, pointer, newFinding(codeRadius, "radius is %s; it must be between %g and %g m", text, o.MinRadiusM, o.MaxRadiusM))
		return 0, false
	case r > o.MaxRadiusM:
		p.note(at, pointer, newFinding(codeTooLarge, "radius is %s; the limit is %g m", text, o.MaxRadiusM))
		return 0, false
	case r < 100:
		p.note(at, pointer, newFinding(codeSmall, "radius is %s; the fixes of phones are often worse than that, prefer 100 m or more", text))
	}
	return r, true
}

// placemark makes a circle from a polygon that placemark or geojson.io drew as
// one: its "@circle" property holds the centre. The radius is the mean distance
// of the vertices. ok is false when the property is not of that form.
func (p *parser) placemark(f *rawFeature, fence *Fence, m *meta) bool {
	v := f.foreign[foreignCircle]
	var c struct {
		Type   string     `json:"type"`
		Center [2]float64 `json:"center"`
	}
	if err := json.Unmarshal(p.data[v.start:v.end], &c); err != nil || len(f.geometry.polys[0]) != 1 {
		return false
	}
	center := geo.Point{Lat: c.Center[1], Lng: c.Center[0]}
	ring := f.geometry.polys[0][0]
	if center.Validate() != nil || center == (geo.Point{}) || len(ring) < 8 {
		return false
	}
	var sum, least, most float64
	for i, pt := range ring {
		d := geo.DistanceM(center, pt)
		if sum += d; i == 0 {
			least = d
		}
		least, most = min(least, d), max(most, d)
	}
	r := math.Round(sum/float64(len(ring))*10) / 10
	if most-least > 0.1*r { // edited since: the ring is what the user sees
		return false
	}
	at := p.base + "/properties/@circle"
	fd := newFinding(codeForeignForm, `a polygon drawn as a circle ("@circle") is read as a circle of %g m`, r)
	g := f.geometry.at
	fd.Fix = &Fix{Title: "Write a Point with a radius", Edits: []Edit{
		{Offset: g.start, Length: g.end - g.start, Text: `{"type":"Point","coordinates":[` + degrees(center.Lng) + "," + degrees(center.Lat) + `]}`},
		{Offset: v.start, Length: v.end - v.start, Text: `null,"type":"Circle","radius":` + strconv.FormatFloat(r, 'f', -1, 64)},
	}}
	slices.SortFunc(fd.Fix.Edits, func(a, b Edit) int { return a.Offset - b.Offset })
	p.note(v, at, fd)
	if r, ok := p.checkRadius(r, r, "m", v, at); ok {
		shape, err := geo.NewCircle(center, r)
		if err == nil {
			fence.Shape = shape
			m.box = circleBox(center, r)
			return true
		}
	}
	return true
}

func trimGeo(err error) string { return strings.TrimPrefix(err.Error(), "geo: ") }
