package fences

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"footfall/geo"
)

// geometry is what a feature's "geometry" member holds.
type geometry struct {
	at       span
	given    bool // the member is there
	null     bool
	typ      string
	typAt    span
	coords   span // of the "coordinates" value; empty when there is none
	radius   span // of a "radius" in the geometry, where TomTom puts it; empty when there is none
	decoded  bool
	broken   bool // an error has been noted; the coordinates are incomplete
	point    geo.Point
	pointAt  span
	polys    []geo.Polygon
	rings    []ring
	vertices int
}

// ring is where one ring of a geometry stands in the text.
type ring struct {
	poly, index int
	at          span
	from, to    int // its points' places in parser.places
}

// geometry reads the value of a feature's "geometry" member.
func (p *parser) geometry(g *geometry) bool {
	*g = geometry{given: true}
	p.places = p.places[:0]
	c := p.peek()
	if c != '{' {
		v, ok := p.skip()
		g.at, g.null = v, c == 'n'
		if ok && !g.null {
			g.broken = true
			p.note(v, p.pointer(), newFinding(codeGeometry, "the geometry must be an object, not %s", kind(c)))
		}
		return ok
	}
	start := p.pos
	ok := p.object(inStructure, func(key []byte, _ span) bool {
		switch string(key) {
		case "type":
			c := p.peek()
			v, ok := p.skip()
			if ok && c == '"' {
				g.typ, g.typAt = p.text(v), v
			} else if ok {
				g.broken = true
				p.note(v, p.pointer(), newFinding(codeGeometry, "the geometry's type must be text, not %s", kind(c)))
			}
			return ok
		case "coordinates":
			p.space()
			g.coords.start = p.pos
			var ok bool
			if g.typ != "" {
				g.decoded = true
				ok = p.coordinates(g)
			} else {
				_, ok = p.skip()
			}
			g.coords.end = p.pos
			return ok
		case "radius":
			v, ok := p.skip()
			g.radius = v
			return ok
		case "crs":
			return p.crs()
		case "bbox":
			return p.bbox()
		}
		_, ok := p.skip()
		return ok
	})
	g.at = span{start, p.pos}
	if !ok || g.decoded || g.coords.empty() {
		return ok
	}
	// The type stood after the coordinates: read them now.
	end := p.pos
	p.pos = g.coords.start
	p.path = append(p.path, step{name: []byte("coordinates")})
	g.decoded = true
	ok = p.coordinates(g)
	p.path = p.path[:len(p.path)-1]
	p.pos = end
	return ok
}

// coordinates reads the coordinates of a geometry whose type is known.
func (p *parser) coordinates(g *geometry) bool {
	switch g.typ {
	case "Point":
		if p.peek() == '[' && p.emptyArray() {
			return true
		}
		pt, at, good, ok := p.position(g)
		g.point, g.pointAt = pt, at
		g.broken = g.broken || !good
		return ok
	case "Polygon":
		return p.polygon(g)
	case "MultiPolygon":
		return p.list(g, "a polygon: [[[longitude, latitude], …]]", 3, func(int) bool { return p.polygon(g) })
	}
	_, ok := p.skip()
	return ok
}

// emptyArray passes over "[]" if that is what stands here.
func (p *parser) emptyArray() bool {
	at := p.pos
	p.pos++
	if p.peek() == ']' {
		p.pos++
		return true
	}
	p.pos = at
	return false
}

// depthHere returns how many brackets open at the current position before
// something else comes, 4 at most.
func (p *parser) depthHere() int {
	n := 0
	for i := p.pos; i < len(p.data) && n < 4; i++ {
		switch p.data[i] {
		case '[':
			n++
		case ' ', '\n', '\r', '\t':
		default:
			return n
		}
	}
	return n
}

// list reads an array whose elements are arrays nested depth deep, described by
// what. An element of another kind is an error and is passed over.
func (p *parser) list(g *geometry, what string, depth int, visit func(i int) bool) bool {
	if c := p.peek(); c != '[' {
		return p.wrongKind(g, "an array of "+what, c)
	}
	shallow := false
	return p.array(func(i int) bool {
		c := p.peek()
		if i == 0 && c == '[' && p.depthHere() < depth && !p.opensEmpty() {
			g.broken, shallow = true, true
			p.note(p.here(), p.pointer(), newFinding(codeCoordinate, "the coordinates are not nested deeply enough for a %s; expected %s here", clip(g.typ), what))
		}
		if shallow { // said once
			_, ok := p.skip()
			return ok
		}
		if c != '[' {
			return p.wrongKind(g, what, c)
		}
		return visit(i)
	})
}

// opensEmpty reports whether the brackets that open here close without content.
func (p *parser) opensEmpty() bool {
	for i := p.pos; i < len(p.data); i++ {
		switch p.data[i] {
		case '[', ' ', '\n', '\r', '\t':
		default:
			return p.data[i] == ']'
		}
	}
	return false
}

// wrongKind notes a value that is not what the coordinates need and passes over it.
func (p *parser) wrongKind(g *geometry, want string, c byte) bool {
	g.broken = true
	at, ok := p.skip()
	if ok && p.more(codeCoordinate) == nil {
		p.note(at, p.pointer(), newFinding(codeCoordinate, "expected %s, but this is %s", want, kind(c)))
	}
	return ok
}

func (p *parser) polygon(g *geometry) bool {
	n := len(g.polys)
	g.polys = append(g.polys, nil)
	return p.list(g, "a ring: [[longitude, latitude], …]", 2, func(int) bool { return p.ring(g, n) })
}

// ring reads one ring of polygon n. Positions that repeat the one before are
// reported and left out.
func (p *parser) ring(g *geometry, n int) bool {
	r := ring{poly: n, index: len(g.polys[n]), from: len(p.places)}
	p.space()
	r.at.start = p.pos
	p.points = p.points[:0]
	before := 0 // where the previous position ends, left out or not
	ok := p.list(g, "a position: [longitude, latitude]", 1, func(i int) bool {
		g.vertices++
		if g.vertices > p.l.o.MaxVertices {
			if g.vertices == p.l.o.MaxVertices+1 {
				g.broken = true
				p.note(p.here(), p.pointer(), newFinding(codeTooLarge, "more than %d positions in one fence; simplify its outline", p.l.o.MaxVertices))
			}
			_, ok := p.skip()
			return ok
		}
		pt, at, good, ok := p.position(g)
		if !ok || !good {
			g.broken = true
			return ok
		}
		after := before
		before = at.end
		if k := len(p.points); k > 0 && p.points[k-1] == pt {
			f := newFinding(codeRepeated, "the position [%s, %s] stands twice in a row", degrees(pt.Lng), degrees(pt.Lat))
			f.Fix = &Fix{Title: "Remove repeated positions"}
			p.gather(at, p.pointer, f, Edit{Offset: after, Length: at.end - after})
			return true
		}
		p.points = append(p.points, pt)
		p.places = append(p.places, at)
		return true
	})
	r.at.end, r.to = p.pos, len(p.places)
	g.polys[n] = append(g.polys[n], slices.Clone(p.points))
	g.rings = append(g.rings, r)
	return ok
}

// position reads one position. good is false when it has been reported as
// unusable, ok when the text is broken.
func (p *parser) position(g *geometry) (pt geo.Point, at span, good, ok bool) {
	if c := p.peek(); c != '[' {
		return pt, at, false, p.wrongKind(g, "a position: [longitude, latitude]", c)
	}
	at.start = p.pos
	p.pos++
	var v [2]float64
	var num [2]span
	n, bad := 0, false
	for p.peek() != ']' || n > 0 {
		c := p.peek()
		if c == ']' {
			return pt, at, false, p.trailingComma()
		}
		if c != '-' && (c < '0' || c > '9') {
			elem, ok := p.skip()
			if !ok {
				return pt, at, false, false
			}
			bad = true
			if p.more(codeCoordinate) == nil {
				f := newFinding(codeCoordinate, "a coordinate must be a number, not %s", kind(c))
				if c == '"' {
					if t := p.text(elem); isNumber(t) {
						f.Message += "; remove the quotes"
						f.Fix = &Fix{Title: "Remove the quotes", Edits: []Edit{{Offset: elem.start, Length: elem.end - elem.start, Text: t}}}
					}
				}
				p.note(elem, p.pointer()+"/"+strconv.Itoa(n), f)
			}
		} else {
			start := p.pos
			size, decimals := numberLen(p.data[start:])
			if size == 0 {
				return pt, at, false, p.scalar()
			}
			p.pos += size
			if n < 2 {
				x, err := strconv.ParseFloat(string(p.data[start:p.pos]), 64)
				if err != nil {
					bad = true
					p.note(span{start, p.pos}, p.pointer()+"/"+strconv.Itoa(n), newFinding(codeCoordinate, "%s is too large for a number", clip(p.data[start:p.pos])))
				} else if decimals > 7 {
					p.decimals(span{start, p.pos}, x)
				}
				v[n], num[n] = x, span{start, p.pos}
			}
		}
		n++
		switch p.peek() {
		case ',':
			p.pos++
			continue
		case ']':
		default:
			return pt, at, false, p.fail(p.here(), "expected ',' or ']' in a position, but %s", p.found())
		}
		break
	}
	p.pos++
	at.end = p.pos
	if n > 2 && !bad {
		p.altitude(at)
	}
	if bad {
		return pt, at, false, true
	}
	if n < 2 {
		p.note(at, p.pointer(), newFinding(codeCoordinate, "a position needs two numbers, [longitude, latitude]; this one has %d", n))
		return pt, at, false, true
	}
	pt = geo.Point{Lat: v[1], Lng: v[0]}
	if math.Abs(pt.Lat) > 90 || math.Abs(pt.Lng) > 180 {
		p.outOfRange(pt, at, num)
		return pt, at, false, true
	}
	return pt, at, true, true
}

func isNumber(t string) bool {
	n, _ := numberLen([]byte(t))
	return n > 0 && n == len(t)
}

// outOfRange notes a position off the globe, with the repair that explains it.
func (p *parser) outOfRange(pt geo.Point, at span, num [2]span) {
	if p.more(codeCoordinate) != nil {
		return
	}
	lat, lng := math.Abs(pt.Lat), math.Abs(pt.Lng)
	var f Finding
	switch {
	case lat > 90 && lat <= 180 && lng <= 90:
		f = newFinding(codeCoordinate, "latitude %s is out of range (-90 to 90); [%s, %s] looks like lat, lng, and positions are [longitude, latitude]", degrees(pt.Lat), degrees(pt.Lng), degrees(pt.Lat))
		text := swapped(p.data, at)
		f.Fix = &Fix{Title: "Swap to " + clip(text), Edits: []Edit{{Offset: at.start, Length: at.end - at.start, Text: text}}}
	case lat > 90:
		f = newFinding(codeCoordinate, "latitude %s is out of range (-90 to 90)%s", degrees(pt.Lat), projectedHint(pt))
	default:
		f = newFinding(codeCoordinate, "longitude %s is out of range (-180 to 180)%s", degrees(pt.Lng), projectedHint(pt))
		if lng <= 540 {
			wrapped := degrees(math.Remainder(pt.Lng, 360))
			f.Message += "; the same place is " + wrapped
			f.Fix = &Fix{Title: "Write " + wrapped, Edits: []Edit{{Offset: num[0].start, Length: num[0].end - num[0].start, Text: wrapped}}}
		}
	}
	p.note(at, p.pointer(), f)
}

// projectedHint recognises metres of a map projection.
func projectedHint(pt geo.Point) string {
	if math.Abs(pt.Lng) > 1000 || math.Abs(pt.Lat) > 1000 {
		return "; this looks like metres of a map projection: convert to degrees (EPSG:4326)"
	}
	return ""
}

// decimals counts a coordinate with more than 7 decimals.
func (p *parser) decimals(at span, v float64) {
	d := p.once[codeDecimals]
	if d == nil {
		f := newFinding(codeDecimals, "%s has more than 7 decimals; 7 are 1 cm", clip(p.data[at.start:at.end]))
		f.Fix = &Fix{Title: "Round to 7 decimals"}
		d = p.tally(codeDecimals, at, p.pointer, f)
	} else {
		d.Count++
	}
	addEdit(d, Edit{Offset: at.start, Length: at.end - at.start, Text: degrees(v)})
}

// altitude counts a position with more than two values.
func (p *parser) altitude(at span) {
	if d := p.once[codeAltitude]; d != nil {
		d.Count++
		return
	}
	p.tally(codeAltitude, at, p.pointer, newFinding(codeAltitude, "the position has a third value (altitude), which is not used"))
}

// degrees prints a coordinate with up to 7 decimals.
func degrees(v float64) string {
	v = math.Round(v*1e7) / 1e7
	return strconv.FormatFloat(v+0, 'f', -1, 64)
}

// swapped returns the text of a position with its first two numbers exchanged,
// everything between and around them kept.
func swapped(data []byte, at span) string {
	s := scanner{data: data, pos: at.start + 1}
	var num [2]span
	for i := range num {
		s.space()
		n, _ := numberLen(data[s.pos:at.end])
		num[i] = span{s.pos, s.pos + n}
		s.pos += n
		s.space()
		s.pos++ // comma
	}
	a, b := num[0], num[1]
	return fmt.Sprintf("%s%s%s%s%s", data[at.start:a.start], data[b.start:b.end], data[a.end:b.start], data[a.start:a.end], data[b.end:at.end])
}
