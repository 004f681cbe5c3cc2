package fences

import (
	"regexp"
	"strings"
)

// rawFeature is a feature whose values are still text.
type rawFeature struct {
	typ, id    span
	name       span // beside "properties", where TomTom puts it
	properties span // the whole object; empty when null or missing
	values     [numProperties]span
	foreign    [3]span // Azure subType; placemark @circle; IDKey
	geometry   geometry
}

// member passes over one member of a top-level object or a feature.
func (p *parser) member(f *rawFeature, key []byte, _ span) bool {
	var ok bool
	switch string(key) {
	case "type":
		f.typ, ok = p.skip()
	case "id":
		f.id, ok = p.skip()
	case "name":
		f.name, ok = p.skip()
	case "geometry":
		ok = p.geometry(&f.geometry)
	case "properties":
		ok = p.properties(f)
	case "crs":
		ok = p.crs()
	case "bbox":
		ok = p.bbox()
	default:
		_, ok = p.skip()
	}
	return ok
}

// crs reads a "crs" member: harmless when it names WGS84.
func (p *parser) crs() bool {
	at, ok := p.skip()
	if !ok {
		return false
	}
	text := string(p.data[at.start:min(at.end, at.start+1000)])
	switch {
	case text == "null":
	case wgs84.MatchString(text) || strings.HasSuffix(strings.TrimSpace(text), "{}"):
		if p.once[codeCRSMember] != nil {
			p.once[codeCRSMember].Count++
			break
		}
		f := newFinding(codeCRSMember, `"crs" was removed from GeoJSON; this one names WGS84, so it changes nothing`)
		f.Fix = p.removeMember(at)
		p.tally(codeCRSMember, at, p.pointer, f)
	default:
		p.add(at, p.pointer(), newFinding(codeCRS, "the coordinates are in another reference system: %s; convert them to WGS84 (EPSG:4326)", clip(strings.Join(strings.Fields(text), " "))))
	}
	return true
}

// wgs84 recognises the names of longitude-latitude WGS84 that exporters write.
var wgs84 = regexp.MustCompile(`(?i)"(urn:ogc:def:crs:OGC:[0-9.]*:CRS84h?|(urn:ogc:def:crs:)?EPSG:[0-9.]*:?4326|https?://www\.opengis\.net/def/crs/(OGC/1\.3/CRS84|EPSG/0/4326)|(OGC:)?CRS84|WGS ?84)"|"code"\s*:\s*"?4326"?`)

// removeMember returns the fix that deletes the member whose value stands at a
// span, with one of the commas around it; nil when the name is not before it.
func (p *parser) removeMember(value span) *Fix {
	s := scanner{data: p.data}
	i := value.start
	back := func(want byte) bool {
		for i > 0 && strings.IndexByte(" \t\r\n", p.data[i-1]) >= 0 {
			i--
		}
		if i > 0 && p.data[i-1] == want {
			i--
			return true
		}
		return false
	}
	if !back(':') || !back('"') {
		return nil
	}
	for i > 0 && p.data[i-1] != '"' { // the name is a known one, without escapes
		i--
	}
	i--
	start, end := i, value.end
	if back(',') {
		start = i
	} else {
		s.pos = end
		if s.peek() == ',' {
			end = s.pos + 1
		}
	}
	return &Fix{Title: "Remove the member", Edits: []Edit{{Offset: start, Length: end - start}}}
}

// bbox passes over a bounding box, which nothing uses, and says when it is none.
func (p *parser) bbox() bool {
	c := p.peek()
	n, good := 0, c == '['
	start, pointer := p.pos, ""
	var ok bool
	if good {
		ok = p.array(func(int) bool {
			n++
			if c := p.peek(); c != '-' && (c < '0' || c > '9') {
				good = false
			}
			_, ok := p.skip()
			return ok
		})
	} else {
		_, ok = p.skip()
	}
	if ok && (!good || n != 4 && n != 6) {
		pointer = p.pointer()
		p.note(span{start, p.pos}, pointer, newFinding(codeBBox, `"bbox" must be 4 or 6 numbers; it is not used`))
	}
	return ok
}
