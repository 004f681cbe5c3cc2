package stream

import (
	"footfall/audience"
	"footfall/campaign"
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
	bytes     int   // rough size, to end the group before a transaction gets too large
	tries     int   // how often settling it has failed for a reason of its own
	tally     tally // of the settling run that was committed
}

// input is one record that the ledger has to know about: a ping that made transitions or notes, or a device,
// event or receipt payload.
type input struct {
	kind       wire.Kind
	device     track.DeviceID
	pos        position
	receivedAt int64
	at         Stages // but DurableUS
	payload    []byte // own copy; not for pings
	row        []byte // the device's presence after this record; nil when it is as before, or a later part of the same ping has it
	// consent is what a registration has changed about the use of the device's positions.
	consent audience.LocationConsent

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
	journey     *journeyCause // of a push that is a journey's step
	// claimed are the campaigns that earlier parts of this ping, already committed, have claimed.
	claimed map[string]fences.ID
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

// split cuts a group that is too big, or that holds an input which cannot be settled, in two. The first half ends
// with its last input: what lies between it and the second half had no effect. A group of one input is cut
// between the transitions of the ping, the first part of which advances nothing; ok is false when there is
// nothing left to cut.
func (e *effects) split() (a, b *effects, ok bool) {
	if n := len(e.inputs); n > 1 {
		a = &effects{partition: e.partition, inputs: e.inputs[:n/2], through: e.inputs[n/2-1].pos}
		b = &effects{partition: e.partition, inputs: e.inputs[n/2:], through: e.through}
		return a, b, true
	}
	if len(e.inputs) == 0 {
		return nil, nil, false
	}
	in := e.inputs[0]
	first, rest := in, in
	first.row, first.notes, first.begun = nil, nil, nil
	switch n := len(in.transitions); {
	case n > 1:
		// In the order in which campaigns see them, so that the right fence still gets the push.
		ordered := campaign.Pick(in.transitions)
		first.transitions, rest.transitions = ordered[:n/2], ordered[n/2:]
	case n == 1 && len(in.notes)+len(in.begun) > 0:
		rest.transitions = nil
	default:
		return nil, nil, false
	}
	// One map for all parts of a ping, however often it is cut: each fills it when it is committed, and the next reads it.
	if in.claimed == nil {
		first.claimed = map[string]fences.ID{}
		rest.claimed = first.claimed
	}
	a = &effects{partition: e.partition, inputs: []input{first}, through: in.pos - 1}
	b = &effects{partition: e.partition, inputs: []input{rest}, through: e.through}
	return a, b, true
}
