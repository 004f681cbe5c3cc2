// Package diff says how two states of the fences differ, and over recorded positions what that does to who comes where.
package diff

import (
	"cmp"
	"fmt"
	"strings"

	"footfall/fences"
	"footfall/geo"
	"footfall/internal/say"
)

// Fences is what has changed between two sets of fences.
type Fences struct {
	Added   []Edit `json:"added"`
	Removed []Edit `json:"removed"`
	Changed []Edit `json:"changed"`
	// Entrants is what that does to who comes where; nil when nobody asked.
	Entrants *Entrants `json:"entrants,omitempty"`
}

// Edit is a fence of one of the two or of both, and what differs.
type Edit struct {
	Fence   fences.ID `json:"fence"`
	Name    string    `json:"name,omitempty"`
	Changes []string  `json:"changes,omitempty"` // "radius 200 m → 150 m"
}

// Between compares two sets of one catalogue, of which before is the earlier.
func Between(before, after *fences.Set) *Fences {
	d := &Fences{Added: []Edit{}, Removed: []Edit{}, Changed: []Edit{}}
	for i := range after.Len() {
		f := after.At(int32(i))
		was, ok := before.Lookup(f.ID)
		if !ok {
			d.Added = append(d.Added, Edit{f.ID, f.Name, []string{shapeOf(f)}})
		} else if list := changesOf(was, f, before.Gen()); len(list) > 0 {
			d.Changed = append(d.Changed, Edit{f.ID, f.Name, list})
		}
	}
	for i := range before.Len() {
		if f := before.At(int32(i)); !has(after, f.ID) {
			d.Removed = append(d.Removed, Edit{f.ID, f.Name, []string{shapeOf(f)}})
		}
	}
	return d
}

func has(set *fences.Set, id fences.ID) bool {
	_, ok := set.Lookup(id)
	return ok
}

func shapeOf(f *fences.Fence) string {
	if f.Shape.IsCircle() {
		return "circle of " + say.Metres(f.Shape.RadiusM())
	}
	return fmt.Sprintf("area of %.0f m²", f.Shape.AreaM2())
}

// changesOf says in what f differs from what it was in the set of a generation.
func changesOf(was, f *fences.Fence, gen uint32) (list []string) {
	if f.ShapeGen > gen {
		a, b := &was.Shape, &f.Shape
		if moved := geo.DistanceM(a.Center(), b.Center()); moved >= 0.05 {
			list = append(list, "moved by "+say.Metres(moved))
		}
		switch circles := a.IsCircle() && b.IsCircle(); {
		case circles && a.RadiusM() != b.RadiusM():
			list = append(list, "radius "+say.Metres(a.RadiusM())+" → "+say.Metres(b.RadiusM()))
		case !circles:
			list = append(list, "redrawn: "+shapeOf(was)+" → "+shapeOf(f))
		}
	}
	differs := func(name string, a, b any) {
		if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
			list = append(list, name+" "+cmp.Or(x, "none")+" → "+cmp.Or(y, "none"))
		}
	}
	initial := func(f *fences.Fence) string {
		if f.Initial == nil {
			return ""
		}
		return fmt.Sprint(*f.Initial)
	}
	differs("name", was.Name, f.Name)
	differs("store", was.Store, f.Store)
	differs("zone", was.Zone, f.Zone)
	differs("tags", strings.Join(was.Tags, ", "), strings.Join(f.Tags, ", "))
	differs("priority", was.Priority, f.Priority)
	differs("min_stay", was.MinStay, f.MinStay)
	differs("min_away", was.MinAway, f.MinAway)
	differs("dwell", was.Dwell, f.Dwell)
	differs("crossed", was.Crossed, f.Crossed)
	differs("initial", initial(was), initial(f))
	differs("exit_margin", was.ExitMarginM, f.ExitMarginM)
	differs("max_accuracy", was.MaxAccuracyM, f.MaxAccuracyM)
	return list
}
