package stream

import (
	"footfall/fences"
	"footfall/geo"
	"footfall/stream/wire"
	"footfall/track"
)

// effects is what a stretch of one partition's log wants the ledger to hold, in log order. It is built by the
// partition worker and settled by the ledger writer in one transaction, which may run it more than once.
type effects struct {
	partition int
	through   position // last record of the stretch
	mark      progress // what the progress row becomes
	inputs    []input
	rows      map[track.DeviceID][]byte // presence after the last effect of each device
	bytes     int                       // rough size, to end the group before a transaction gets too large
	tally     tally                     // of the settling run that was committed
}

// input is one record that the ledger has to know about: a ping that made transitions or notes, or a device,
// event or receipt payload.
type input struct {
	kind       wire.Kind
	device     track.DeviceID
	pos        position
	receivedAt int64
	payload    []byte // own copy; not for pings

	set         *fences.Set
	fix         track.Fix
	verdict     track.Verdict
	transitions []track.Transition
	notes       []track.Note
	near        []Candidate
	// begun are fences the device stood in when a campaign began, as enters for those campaigns alone: nobody
	// came in, so they are no entries. prevFixedAt is the time of the fix before.
	begun       []track.Transition
	prevFixedAt int64
}

// Candidate is a fence that the index named for a fix, with the distances of the exact test.
type Candidate struct {
	Fence   fences.ID `json:"fence"`
	CenterM float64   `json:"center_m"`
	EdgeM   float64   `json:"edge_m"` // negative: inside by so much
	Inside  bool      `json:"inside"`
}

// maxCandidates bounds what a decision lists; a point in more than this many fences is a test, not a shop.
const maxCandidates = 16

// candidatesAt measures the fences whose cover includes the fix.
func candidatesAt(set *fences.Set, f *track.Fix) []Candidate {
	if !f.HasPosition {
		return nil
	}
	p := geo.Point{Lat: f.Lat, Lng: f.Lng}
	idx := set.Candidates(nil, p)
	out := make([]Candidate, 0, min(len(idx), maxCandidates))
	for _, i := range idx[:min(len(idx), maxCandidates)] {
		fence := set.At(i)
		edge := fence.Shape.EdgeDistanceM(p)
		out = append(out, Candidate{Fence: fence.ID, CenterM: fence.Shape.CenterDistanceM(p), EdgeM: edge, Inside: fence.Shape.Contains(p)})
	}
	return out
}

const (
	// A group of effects ends at these sizes so that one transaction stays far below Badger's limit even when
	// the groups of all partitions are committed together.
	groupInputs = 512
	groupBytes  = 512 << 10
)

func (e *effects) heavy() bool { return len(e.inputs) >= groupInputs || e.bytes >= groupBytes }
