package track

import "footfall/fences"

// Counts is how many inputs got each Verdict.
type Counts [Replayed + 1]int

// ApplyBatch is Apply for every input of b in turn, with one set. It adds to counts how many got each verdict, and calls
// each for those that there is something to say about: a transition, a note, or a device that is still Visiting. The
// verdicts, the results and the state afterwards are those of a loop of Apply, whatever comes twice in a batch;
// TestApplyBatchEqualsApply holds it to that. Of the tracker's methods each may call Presence, Encode and MarkClean, which
// see the state right after its input; res is good until it returns.
//
// A panic comes through to the caller, who may call ApplyBatch with the same b again: it goes on behind the input that
// was at fault, which is b.Begun()-1.
//
// ApplyBatch does not allocate where Apply does not.
func (t *Tracker) ApplyBatch(set *fences.Set, b *Batch, counts *Counts, res *Result, each func(i int, res *Result)) {
	for b.next < b.n {
		i := b.next
		b.next++
		t.Apply(set, b.Device(i), b.Fix(i), b.in[i].Pos, res)
		counts[res.Verdict]++
		if len(res.Transitions) > 0 || len(res.Notes) > 0 || res.Visiting {
			each(i, res)
		}
	}
}
