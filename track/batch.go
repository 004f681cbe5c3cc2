package track

import (
	"footfall/fences"
	"footfall/geo"
)

// Input is one input of ApplyBatch: the arguments of Apply.
type Input struct {
	ID  DeviceID
	Fix Fix
	Pos uint64
}

// batchSize is how many inputs are looked ahead at. Like geo's batches: enough loads
// in flight, and notes that stay in the first-level cache.
const batchSize = 128

// batch is the scratch of ApplyBatch.
type batch struct {
	hash   [batchSize]uint32
	rec    [batchSize]uint32 // the likely record + 1, 0 for none
	points []geo.Point
	hits   []geo.Hit
	warm   uint64 // keeps the compiler from leaving out loads that only fill caches
}

// ApplyBatch is Apply for every input in turn, with one set: each is called after each
// with the number of the input and its result, which is good until each returns. The
// results, and the state afterwards, are those of that loop, whatever comes twice in a
// batch; TestApplyBatchEqualsApply holds it to that. It does not allocate where Apply does not.
// each must not call the tracker's methods.
//
// Before a batch is applied, the fences of all its positions are found together and
// the records of its devices are touched, so that the memory they are in is fetched for
// many at once. With 100,000 devices that takes 0.6 of the time of the loop, 0.44 with
// 1,000,000 fences (BenchmarkDecision in bench).
func (t *Tracker) ApplyBatch(set *fences.Set, in []Input, res *Result, each func(i int, res *Result)) {
	defer func() { t.matched = false }() // also when each panics
	for first := 0; first < len(in); first += batchSize {
		some := in[first:min(first+batchSize, len(in))]
		t.prepare(set, some)
		hits := t.batch.hits
		n := 0 // points seen
		for k := range some {
			f := &some[k].Fix
			if t.matched = f.HasPosition; t.matched {
				t.match = t.match[:0]
				for len(hits) > 0 && hits[0].Point == int32(n) {
					t.match = append(t.match, hits[0].Shape)
					hits = hits[1:]
				}
				n++
			}
			t.apply(set, some[k].ID, t.batch.hash[k], f, some[k].Pos, res)
			each(first+k, res)
		}
	}
}

// prepare looks ahead at up to batchSize inputs. It changes nothing but scratch.
func (t *Tracker) prepare(set *fences.Set, in []Input) {
	b := &t.batch
	tab := &t.table
	b.points = b.points[:0]
	for k := range in {
		b.hash[k] = tab.hash(in[k].ID)
		if f := &in[k].Fix; f.HasPosition {
			b.points = append(b.points, geo.Point{Lat: f.Lat, Lng: f.Lng})
		}
	}
	mask := uint32(len(tab.slots) - 1)
	for k := range in {
		// The first slot with this hash: nearly always the device's own.
		h := b.hash[k]
		b.rec[k] = 0
		for s := h & mask; tab.slots[s] != 0; s = (s + 1) & mask {
			if uint32(tab.slots[s]>>32) == h {
				b.rec[k] = uint32(tab.slots[s])
				break
			}
		}
	}
	warm := b.warm
	for k := range in {
		if i := b.rec[k]; i != 0 {
			b.rec[k] = tab.recs[i-1].key + 1
		}
	}
	for k := range in {
		if key := b.rec[k]; key != 0 {
			warm += uint64(tab.key(key - 1)[0])
		}
	}
	b.warm = warm
	b.hits = set.Index().MatchBatch(b.hits[:0], b.points)
}
