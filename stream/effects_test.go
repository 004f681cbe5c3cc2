package stream

import (
	"fmt"
	"testing"

	"footfall/fences"
	"footfall/track"
)

// TestPartsOfAPingKnowOfEachOther cuts the effects of one ping as far as they can be cut, and has each part claim when it is
// committed, in order: every later part knows of it, at whatever depth it was cut off.
func TestPartsOfAPingKnowOfEachOther(t *testing.T) {
	in := input{}
	for i := range 9 {
		in.transitions = append(in.transitions, track.Transition{Kind: track.Enter, FenceID: fences.ID(fmt.Sprint("f", i))})
	}
	ready := []*effects{{inputs: []input{in}}}
	settled := 0
	for len(ready) > 0 {
		e := ready[0]
		if a, b, ok := e.split(); ok {
			ready = append([]*effects{a, b}, ready[1:]...)
			continue
		}
		ready = ready[1:]
		if got := len(e.inputs[0].claimed); got != settled {
			t.Errorf("part %d knows of %d claims", settled, got)
		}
		settled++
		e.tally.claimed = map[string]fences.ID{fmt.Sprint("campaign", settled): e.inputs[0].transitions[0].FenceID}
		(&settler{count: &counters{}}).settled(e)
	}
	if settled != len(in.transitions) {
		t.Errorf("%d parts, want %d", settled, len(in.transitions))
	}
}
