package fences

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"footfall/geo"
)

// maxProblems is how many problems of one polygon are asked for; maxSame of
// each kind are listed.
const maxProblems = 64

// area makes a polygon's shape and notes what is wrong with its rings.
func (p *parser) area(f *rawFeature, fence *Fence, m *meta) bool {
	g := &f.geometry
	p.closeRings(g)
	for n, poly := range g.polys {
		for _, pr := range geo.CheckPolygon(poly, maxProblems) {
			p.problem(g, n, pr)
		}
	}
	p.dateLine(g)
	if p.failed() {
		// The direction of a ring that is wrong in itself means nothing.
		p.local = slices.DeleteFunc(p.local, func(d draft) bool { return d.Code == codeWinding })
		return false
	}
	shape, err := geo.NewPolygons(g.polys)
	if err != nil {
		p.note(g.at, p.base+"/geometry", newFinding(codeDegenerate, "%s", trimGeo(err)))
		return false
	}
	if km2 := shape.AreaM2() / 1e6; km2 > p.l.o.MaxAreaKM2 {
		p.note(g.at, p.base+"/geometry", newFinding(codeTooLarge, "the area is %.3g km²; the limit is %.3g km²", km2, p.l.o.MaxAreaKM2))
		return false
	}
	p.overlappingParts(g)
	fence.Shape = shape
	m.box = polygonsBox(g.polys)
	return true
}

// ringPointer is the pointer of a ring, or of one of its positions.
func (p *parser) ringPointer(g *geometry, r *ring, vertex int) string {
	s := p.base + "/geometry/coordinates"
	if g.typ == "MultiPolygon" {
		s += fmt.Sprintf("/%d", r.poly)
	}
	s += fmt.Sprintf("/%d", r.index)
	if vertex >= 0 {
		s += fmt.Sprintf("/%d", vertex)
	}
	return s
}

// closeRings notes the rings that are not closed and closes them in memory, so
// that what else is wrong with them can be said as well.
func (p *parser) closeRings(g *geometry) {
	for i := range g.rings {
		r := &g.rings[i]
		pts := g.polys[r.poly][r.index]
		n := len(pts)
		if n < 2 || samePlace(pts[0], pts[n-1]) {
			continue
		}
		first, last := p.places[r.from], p.places[r.to-1]
		f := newFinding(codeUnclosed, "the ring ends at [%s, %s] and not where it began; repeat its first position [%s, %s] at the end",
			degrees(pts[n-1].Lng), degrees(pts[n-1].Lat), degrees(pts[0].Lng), degrees(pts[0].Lat))
		comma := string(p.data[first.end:p.places[r.from+1].start]) // as the author writes them
		if strings.Count(comma, ",") != 1 || len(comma) > 100 {
			comma = ", "
		}
		f.Fix = &Fix{Title: "Close the ring", Edits: []Edit{{Offset: last.end, Text: comma + string(p.data[first.start:first.end])}}}
		p.note(last, p.ringPointer(g, r, n-1), f)
		g.polys[r.poly][r.index] = append(pts, pts[0])
	}
}

// samePlace treats longitudes -180 and 180 as the same.
func samePlace(a, b geo.Point) bool {
	return a.Lat == b.Lat && (a.Lng == b.Lng || math.Abs(a.Lng) == 180 && math.Abs(b.Lng) == 180 && math.Abs(a.Lat) == 90)
}

// problem translates what geo found in polygon n.
func (p *parser) problem(g *geometry, n int, pr geo.Problem) {
	var r *ring
	for i := range g.rings {
		if g.rings[i].poly == n && g.rings[i].index == pr.Ring {
			r = &g.rings[i]
		}
	}
	if r == nil {
		return
	}
	at, vertex := span{r.at.start, r.at.start + 1}, -1
	if v := r.from + pr.Vertex; pr.Vertex >= 0 && v < r.to {
		at, vertex = p.places[v], pr.Vertex
	}
	where := fmt.Sprintf("[%s, %s]", degrees(pr.At.Lng), degrees(pr.At.Lat))
	what := "the ring"
	if r.index > 0 {
		what = fmt.Sprintf("hole %d", r.index)
	}
	var f Finding
	switch pr.Kind {
	case geo.TooFewPositions:
		f = newFinding(codeDegenerate, "%s has too few different positions; it needs at least 4, the last equal to the first", what)
		vertex = -1
	case geo.ZeroArea:
		f = newFinding(codeDegenerate, "%s encloses no area: its positions are equal or lie on one line", what)
		vertex = -1
	case geo.SelfCrossing:
		f = newFinding(codeCrossing, "%s crosses itself at %s; move a vertex or exchange two", what, where)
	case geo.SelfTouch, geo.DisconnectedInterior:
		f = newFinding(codeTouch, "%s touches itself or another ring at %s; that works here, other programs may refuse it", what, where)
		if p.l.o.OGC {
			f.Severity = SeverityError
		}
	case geo.HoleOutside:
		f = newFinding(codeHole, "%s lies outside the area it is to be cut from", what)
		vertex = -1
	case geo.HoleCrossing:
		f = newFinding(codeHole, "%s crosses the edge of its area at %s", what, where)
	case geo.HoleEqualsExterior:
		f = newFinding(codeHole, "%s is the whole area; nothing is left", what)
		vertex = -1
	case geo.HolesOverlap:
		f = newFinding(codeHole, "%s overlaps another hole at %s; merge the two", what, where)
	case geo.ContainsPole:
		f = newFinding(codePole, "%s goes round a pole, which straight edges in longitude and latitude cannot say; use a circle, or cut it along a meridian", what)
		vertex = -1
	case geo.Winding:
		p.winding(g, r)
		return
	case geo.DuplicatePosition, geo.Unclosed:
		return // found while reading, with their fixes
	default:
		f = newFinding(codeCoordinate, "%s: %s at %s", what, pr.Detail, where)
	}
	if p.more(f.Code) == nil {
		p.note(at, p.ringPointer(g, r, vertex), f)
	}
}

// winding notes a ring that runs the wrong way, one finding per feature with
// the repair of all its rings.
func (p *parser) winding(g *geometry, r *ring) {
	want, is := "counterclockwise", "clockwise"
	if r.index > 0 {
		want, is = is, want
	}
	f := newFinding(codeWinding, "the ring runs %s; RFC 7946 wants outer rings counterclockwise and holes clockwise", is)
	f.Fix = &Fix{Title: "Turn the ring " + want}
	places := p.places[r.from:r.to]
	var b strings.Builder
	for i := range places {
		pl := places[len(places)-1-i]
		b.Write(p.data[pl.start:pl.end])
		if i+1 < len(places) {
			// The text between positions stays in order, so the layout does.
			b.Write(between(p.data, places[i], places[i+1]))
		}
	}
	start, end := places[0].start, places[len(places)-1].end
	p.gather(span{r.at.start, r.at.start + 1}, func() string { return p.ringPointer(g, r, -1) }, f,
		Edit{Offset: start, Length: end - start, Text: b.String()})
}

// between returns the comma and layout between two positions; where a repeated
// position was left out between them, only what follows the first.
func between(data []byte, a, b span) []byte {
	s := scanner{data: data, pos: a.end}
	if s.peek() == ',' {
		s.pos++
		s.space()
	}
	return data[a.end:min(s.pos, b.start)]
}

// dateLine notes rings that cross longitude ±180 in one piece.
func (p *parser) dateLine(g *geometry) {
	for i := range g.rings {
		r := &g.rings[i]
		pts := g.polys[r.poly][r.index]
		for k := 1; k < len(pts); k++ {
			if d := math.Abs(pts[k].Lng - pts[k-1].Lng); d > 180 && d < 360 {
				at := r.at
				if r.from+k < r.to {
					at = p.places[r.from+k]
				}
				p.note(at, p.ringPointer(g, r, k), newFinding(codeDateLine,
					"the edge from longitude %s to %s is read as the short way across ±180; cut the area into a MultiPolygon there so that other programs agree",
					degrees(pts[k-1].Lng), degrees(pts[k].Lng)))
				return
			}
		}
	}
}
