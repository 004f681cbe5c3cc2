package track

import "footfall/fences"

// names numbers the fences that devices have been in, so that a visit needs 4
// bytes for its fence and a deleted fence still has its id. The numbers mean
// nothing outside one Tracker; rows carry the ids. It grows with the fences
// ever entered.
type names struct {
	ids   []fences.ID
	byID  map[fences.ID]uint32
	fence []*fences.Fence // in the current set; nil when not part of it
}

func (n *names) use(set *fences.Set) {
	for i, id := range n.ids {
		n.fence[i], _ = set.Lookup(id)
	}
}

// number returns the number of a fence; f is nil when only the id is known.
func (n *names) number(id fences.ID, f *fences.Fence) uint32 {
	if i, ok := n.byID[id]; ok {
		return i
	}
	if n.byID == nil {
		n.byID = make(map[fences.ID]uint32)
	}
	i := uint32(len(n.ids))
	n.ids = append(n.ids, id)
	n.fence = append(n.fence, f)
	n.byID[id] = i
	return i
}
