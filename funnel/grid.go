package funnel

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// A GridRow is one fence of the table of where and when: its entries by the hour of the store's day. The rows add up to
// the total, as those of ByFence do, and the columns to ByHour.
type GridRow struct {
	Fence string       `json:"fence"`
	Hours [24]GridCell `json:"hours"`
}

// A GridCell is what came of the entries at one fence in one hour of the day, over all days of the report.
type GridCell struct {
	Entered   int64 `json:"entered,omitzero"`
	Accepted  int64 `json:"accepted,omitzero"`
	Opened    int64 `json:"opened,omitzero"`
	Converted int64 `json:"converted,omitzero"`
}

func (c *GridCell) add(o *GridCell) {
	c.Entered += o.Entered
	c.Accepted += o.Accepted
	c.Opened += o.Opened
	c.Converted += o.Converted
}

// Entered is the sum of a row.
func (r *GridRow) Entered() (n int64) {
	for i := range r.Hours {
		n += r.Hours[i].Entered
	}
	return n
}

// grid gathers rows by fence.
type grid map[string]*GridRow

// add counts one entry, as Counts.add counted it in c: the group of this entry alone.
func (g grid) add(e *Entry, c *Counts) {
	r := g[e.Fence]
	if r == nil {
		r = &GridRow{Fence: e.Fence}
		g[e.Fence] = r
	}
	r.Hours[hourOf(e.At, e.OffsetMin)].add(&GridCell{c.Entered, c.Accepted, c.Opened, c.Converted})
}

// finish lists the rows, the fences with the most entries first, as ByFence does; those beyond maxFences are one.
func (g grid) finish() []GridRow {
	out := []GridRow{}
	for _, id := range slices.Sorted(maps.Keys(g)) {
		out = append(out, *g[id])
	}
	slices.SortStableFunc(out, func(a, b GridRow) int { return cmp.Compare(b.Entered(), a.Entered()) })
	if len(out) <= maxFences {
		return out
	}
	rest := GridRow{Fence: OtherFences}
	for i := range out[maxFences:] {
		for h := range rest.Hours {
			rest.Hours[h].add(&out[maxFences+i].Hours[h])
		}
	}
	return append(out[:maxFences:maxFences], rest)
}

// checkGrid says which row or column of the grid is not what its breakdown says.
func (c *Campaign) checkGrid() error {
	cell := func(g *Group) GridCell { return GridCell{g.Entered, g.Accepted, g.Opened, g.Converted} }
	fences, hours := map[string]GridCell{}, map[string]GridCell{}
	for i := range c.WhereWhen {
		r := &c.WhereWhen[i]
		for h := range r.Hours {
			if n := r.Hours[h]; n != (GridCell{}) {
				f, at := fences[r.Fence], hours[twoDigits(h)]
				f.add(&n)
				at.add(&n)
				fences[r.Fence], hours[twoDigits(h)] = f, at
			}
		}
	}
	for i := range c.ByFence {
		if g := &c.ByFence[i]; fences[g.Key] != cell(g) {
			return fmt.Errorf("funnel: campaign %s, fence %s: %+v by hour, %+v in all", c.ID, g.Key, fences[g.Key], cell(g))
		}
	}
	for i := range c.ByHour {
		if g := &c.ByHour[i]; hours[g.Key] != cell(g) {
			return fmt.Errorf("funnel: campaign %s, hour %s: %+v by fence, %+v in all", c.ID, g.Key, hours[g.Key], cell(g))
		}
	}
	return nil
}
