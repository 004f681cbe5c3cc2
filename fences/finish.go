package fences

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"footfall/geo"
)

// finish looks at the fences of all documents together and returns them with
// everything that was found. path names the load in findings about no document.
func (l *loader) finish(path string) ([]Fence, []Finding) {
	l.duplicates()
	l.sharedPositions()
	l.swappedPositions()
	l.overlaps()
	if len(l.fences) == 0 && l.report.errors() == 0 {
		what := "there is no fence in it"
		if l.skipped > 0 {
			what = "every fence was left out"
		}
		f := newFinding(codeEmpty, "%s; an empty set would silence every campaign", what)
		d := draft{Finding: f, doc: -1}
		if len(l.docs) == 1 {
			d.doc = 0
		}
		d.File = path
		l.report.add(d)
	}
	l.proposeIDs()
	return l.fences, l.report.findings(l.docs)
}

func (r *report) errors() int { return len(r.kept[0]) + r.dropped[0] }

// crossFinding reports a finding that concerns fence i and others.
func (l *loader) crossFinding(i int, f Finding) *draft {
	m := &l.metas[i]
	f.Feature = string(l.fences[i].ID)
	f.Pointer = m.pointer
	return l.report.add(draft{Finding: f, doc: m.doc, at: span{m.feature.start, m.feature.start + 1}})
}

// place names where fence i stands, seen from another document.
func (l *loader) place(i, from int) string {
	f := &l.fences[i]
	if l.metas[i].doc == from {
		return fmt.Sprintf("line %d", f.Line)
	}
	return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
}

// duplicates leaves out every fence whose id an earlier one has.
func (l *loader) duplicates() {
	first := make(map[ID]int, len(l.fences))
	keep := 0
	for i := range l.fences {
		f, m := &l.fences[i], &l.metas[i]
		k, dup := first[f.ID]
		if !dup {
			first[f.ID] = keep
			l.fences[keep], l.metas[keep] = *f, *m
			keep++
			continue
		}
		fd := newFinding(codeID, "id %q is that of %s as well; give it one of its own, presence and claims are kept under it", clip(string(f.ID)), l.place(k, m.doc))
		if l.o.SkipInvalid {
			fd.Severity, fd.Skipped = SeverityWarning, true
			fd.Message += "; the fence is left out"
		}
		fd.Feature = string(f.ID)
		fd.Pointer = m.pointer
		d := draft{Finding: fd, doc: m.doc, at: m.id, newID: string(f.ID), insert: m.feature.start + 1}
		if m.own {
			d.Pointer += "/id"
			d.idValue = m.id
		}
		l.report.add(d)
		l.skipped++
	}
	l.fences, l.metas = l.fences[:keep], l.metas[:keep]
}

// proposeIDs makes the fixes of missing and repeated ids, now that all are known.
func (l *loader) proposeIDs() {
	var used map[string]bool
	for k := range l.report.kept {
		for i := range l.report.kept[k] {
			d := &l.report.kept[k][i]
			if d.newID == "" {
				continue
			}
			if used == nil {
				used = make(map[string]bool, len(l.fences))
				for i := range l.fences {
					used[string(l.fences[i].ID)] = true
				}
			}
			id := d.newID
			for n := 2; used[id]; n++ {
				id = d.newID + "-" + strconv.Itoa(n)
			}
			used[id] = true
			quoted := quoteJSON(id)
			e := Edit{Offset: d.idValue.start, Length: d.idValue.end - d.idValue.start, Text: quoted}
			if d.idValue.empty() {
				data := l.docs[d.doc].data
				s := scanner{data: data, pos: d.insert}
				s.space()
				// The layout after the brace is repeated, so the id gets a line of
				// its own where the members have one.
				e = Edit{Offset: d.insert, Text: string(data[d.insert:min(s.pos, d.insert+200)]) + `"id": ` + quoted}
				if s.peek() != '}' {
					e.Text += ","
				}
			}
			d.Fix = &Fix{Title: "Give it the id " + quoted, Edits: []Edit{e}}
		}
	}
}

// sharedPositions reports every circle whose centre an earlier one has.
func (l *loader) sharedPositions() {
	first := make(map[geo.Point]int, len(l.fences))
	for i := range l.fences {
		s := &l.fences[i].Shape
		if !s.IsCircle() || s.Center() == (geo.Point{}) {
			continue
		}
		k, shared := first[s.Center()]
		if !shared {
			first[s.Center()] = i
			continue
		}
		l.crossFinding(i, newFinding(codeSamePlace, "%s stands at the same position as %s (%s); a device there is in both",
			label(&l.fences[i]), label(&l.fences[k]), l.place(k, l.metas[i].doc)))
	}
}

// swappedPositions reports fences far from all others that would lie among them
// if latitude and longitude were exchanged. "Among" is measured by the median
// and the spread of the others, so a set that spans the world has no outliers.
func (l *loader) swappedPositions() {
	var at []geo.Point
	var index []int
	for i := range l.fences {
		if c := l.fences[i].Shape.Center(); c != (geo.Point{}) {
			at, index = append(at, c), append(index, i)
		}
	}
	if len(at) < 4 {
		return
	}
	mid := geo.Point{
		Lat: quantile(at, 0.5, func(p geo.Point) float64 { return p.Lat }),
		Lng: quantile(at, 0.5, func(p geo.Point) float64 { return p.Lng }),
	}
	away := func(p geo.Point) float64 {
		return max(math.Abs(p.Lat-mid.Lat), math.Abs(math.Remainder(p.Lng-mid.Lng, 360)))
	}
	// Three quarters of the fences lie within the spread; a degree at least.
	spread := max(quantile(at, 0.75, away), 1)
	for n, p := range at {
		if math.Abs(p.Lng) > 90 || away(p) <= 5*spread {
			continue
		}
		exchanged := geo.Point{Lat: p.Lng, Lng: p.Lat}
		if away(exchanged) > 2*spread {
			continue
		}
		m := &l.metas[index[n]]
		f := newFinding(codeSwapped, "[%s, %s] looks like lat, lng; the other %d fences are near [%s, %s]",
			degrees(p.Lng), degrees(p.Lat), len(at)-1, strconv.FormatFloat(mid.Lng, 'f', 1, 64), strconv.FormatFloat(mid.Lat, 'f', 1, 64))
		f.Fix = swapAll(l.docs[m.doc].data, m.coords)
		if d := l.crossFinding(index[n], f); d != nil {
			d.at, d.Pointer = m.coords, m.pointer+"/geometry/coordinates"
		}
	}
}

func quantile(at []geo.Point, q float64, of func(geo.Point) float64) float64 {
	v := make([]float64, len(at))
	for i, p := range at {
		v[i] = of(p)
	}
	slices.SortFunc(v, cmp.Compare[float64])
	return v[int(q*float64(len(v)-1))]
}

// swapAll exchanges the first two numbers of every position in checked
// coordinates; nil when there are too many.
func swapAll(data []byte, coords span) *Fix {
	fix := &Fix{Title: "Swap latitude and longitude"}
	for i := coords.start; i < coords.end; {
		// The next innermost bracket pair is a position.
		open := bytes.IndexByte(data[i:coords.end], '[')
		if open < 0 {
			break
		}
		i += open
		next := bytes.IndexAny(data[i+1:coords.end], "[]")
		if next < 0 {
			break
		}
		if data[i+1+next] == '[' {
			i += 1 + next
			continue
		}
		at := span{i, i + next + 2}
		if len(fix.Edits) == maxEdits {
			return nil
		}
		fix.Edits = append(fix.Edits, Edit{Offset: at.start, Length: at.end - at.start, Text: swapped(data, at)})
		i = at.end
	}
	if len(fix.Edits) == 1 {
		fix.Title = "Swap to " + clip(fix.Edits[0].Text)
	}
	return fix
}
