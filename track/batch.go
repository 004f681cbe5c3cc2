package track

import (
	"math"

	"footfall/fences"
	"footfall/geo"
)

// Counts is how many inputs got each Verdict.
type Counts [verdictEnd]int

// batch is the scratch of ApplyBatch.
type batch struct {
	hits     []geo.Hit
	families []*[256]uint8 // by app of the Batch
	warm     uint32        // keeps the compiler from leaving out loads that only fill caches
}

// noFamilies is for an app that no device has.
var noFamilies [256]uint8

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
	if b.next == b.n {
		return
	}
	defer func() { t.matched = false }() // also when each panics
	if set != t.set {
		t.use(set)
	}
	// The fences of all positions and the records of all devices are looked for together, so that memory is fetched for
	// many at once; that of the fences while the devices are looked for.
	index, points := set.Index(), b.points[:b.n]
	var ahead geo.Ahead
	index.LookAhead(&ahead, points)
	var recs [BatchSize]*record
	t.lookup(b, &recs)
	hits := index.MatchAhead(t.batch.hits[:0], points, &ahead)
	hits = append(hits, geo.Hit{Point: BatchSize})
	t.batch.hits = hits
	u := t.usual
	u.begin(t, b.in[b.next].Pos)
	h := 0
	for int(hits[h].Point) < b.next {
		h++
	}
	for b.next < b.n {
		// What is usual changes only a record. See usual.
		stop := min(int(hits[h].Point), b.n)
		if u.on {
			n := t.nearby.usual(&u, b.in[b.next:stop], recs[b.next:stop])
			counts[Accepted] += n
			if b.next += n; b.next == b.n {
				return
			}
		}
		i := b.next
		b.next = i + 1
		f := b.Fix(i)
		t.match = t.match[:0]
		for ; int(hits[h].Point) == i; h++ {
			if f.HasPosition {
				t.match = append(t.match, hits[h].Shape)
			}
		}
		t.matched = f.HasPosition
		if rec := t.find(b, &b.in[i]); rec != noRecord {
			t.apply(set, rec, nil, &f, b.in[i].Pos, res)
		} else {
			// A new device, or a name that was not packed as Pack does it.
			t.Apply(set, b.Device(i), f, b.in[i].Pos, res)
		}
		if u.bases != t.table.bases {
			u.begin(t, b.in[i].Pos)
		}
		counts[res.Verdict]++
		if len(res.Transitions) > 0 || len(res.Notes) > 0 || res.Visiting {
			each(i, res)
		}
	}
}

// lookup finds the records of the devices whose names are of a Short form; it leaves nil for all others. It looks first where to
// look, for all, and then there, so that the loads of the first pass do not wait for one another.
func (t *Tracker) lookup(b *Batch, recs *[BatchSize]*record) {
	tab := &t.table
	families := t.batch.families[:0]
	for _, a := range b.apps {
		f := &noFamilies
		if n, ok := tab.byApp[a]; ok {
			f = &tab.apps[n].families
		}
		families = append(families, f)
	}
	t.batch.families = families
	var hashes [BatchSize]uint64
	var subs [BatchSize]*subtable
	var found [BatchSize]uint8 // family
	warm := t.batch.warm
	in := b.in[:b.n]
	for i := range in {
		family := families[in[i].App][in[i].Form]
		found[i&(BatchSize-1)] = family
		h := tab.hashShort(family, in[i].Word, in[i].Tail)
		hashes[i&(BatchSize-1)] = h
		subs[i&(BatchSize-1)] = tab.sub(h)
	}
	// A loop of its own, as short as can be: a processor looks some hundred instructions ahead of a load that it waits for, and
	// the more of them are loads, the more of them wait together. With 100,000 devices decisions take 9 % less (docs/performance.md).
	for i := range in {
		slots := subs[i&(BatchSize-1)].slots
		if p := home(hashes[i&(BatchSize-1)], len(slots)); p < len(slots) {
			warm += slots[p]
		}
	}
	t.batch.warm = warm
	chunks := tab.chunks // rec, family and tail would each look for the chunk: 6 instructions more for a ping
	for i := range in {
		family, h := found[i&(BatchSize-1)], hashes[i&(BatchSize-1)]
		if family <= familyLong {
			continue
		}
		word, tail := in[i].Word, in[i].Tail
		slots := subs[i&(BatchSize-1)].slots
		for p := home(h, len(slots)); p < len(slots); {
			slot := slots[p]
			if slot == 0 {
				break
			}
			if slot^uint32(h) <= recordMask {
				n := slot&recordMask - 1
				c := &chunks[n/chunkRecords]
				r := &c.recs[n%chunkRecords]
				if r.word == word && c.family == family && (c.tails == nil || c.tails[n%chunkRecords] == tail) {
					recs[i&(BatchSize-1)] = r
					break
				}
			}
			if p++; p == len(slots) {
				p = 0
			}
		}
	}
}

// find is the record of the device of an input, or noRecord.
func (t *Tracker) find(b *Batch, in *Input) uint32 {
	var few [16]byte
	k := key{family: t.batch.families[in.App][in.Form], word: in.Word, tail: in.Tail, form: in.Form}
	switch k.family {
	case 0:
		// A device that came first in this very batch may have made the family.
		n, ok := t.table.byApp[b.apps[in.App]]
		if !ok {
			return noRecord
		}
		t.batch.families[in.App] = &t.table.apps[n].families
		if k.family = t.batch.families[in.App][in.Form]; k.family == 0 {
			return noRecord
		}
		if k.family != familyLong {
			break
		}
		fallthrough
	case familyLong:
		k.app, k.name = t.table.byApp[b.apps[in.App]], b.name(in, &few)
	}
	t.table.setHash(&k)
	if i, ok := t.table.find(&k); ok {
		return i
	}
	return noRecord
}

// usual applies the usual ping: of a known device that is at no fence and near none that nearby knows (see its usual), newer than its last position and not
// implausibly far from it. Nine of ten pings are, and for them nothing changes but the record: some 75 instructions where
// the rules take 1,000 more. What it takes for itself it decides as the rules do, and it leaves everything else to them; with
// the rules alone (Tracker.usual.on is false) it is its own plain twin.
type usual struct {
	on       bool
	futureMS int64  // Rules.FutureTolerance
	perMS    uint64 // how far a device may have come, in 1e-7 degrees a millisecond << perBits; never more than the rules allow
	bases    bases  // of the table
	expect   uint64 // what the record of a usual device has in record.what, beside its position, time, generation and recDirty
	becomes  uint64 // what it has then, beside its position and time
	from     uint64 // log position with which its epoch begins
}

// perBits is such that the longest time between two that a record has, multiplied by perMS, is a number of 64 bits.
const perBits = 16

func newUsual(r *Rules) usual {
	u := usual{futureMS: r.FutureTolerance.Milliseconds(), perMS: 1<<(64-timeBits) - 1}
	// A usual fix time that is within futureMS of its arrival must not leave that in doubt, too.
	u.on = !r.Plain && u.futureMS <= UsualTimeFrom-ancientBefore
	if r.MaxSpeedMPS > 0 {
		// A degree of latitude is at most 111,694 m on WGS84 and a degree of longitude at most 111,320 m; see plausible.
		u.perMS = min(u.perMS, uint64(r.MaxSpeedMPS/1000/111_695*degE7*(1-1e-9)*(1<<perBits)))
	}
	return u
}

// begin readies u for inputs at about pos.
func (u *usual) begin(t *Tracker, pos uint64) {
	epoch := t.table.epoch(pos)
	gen := uint64(t.set.Gen() - t.table.bases.gen)
	u.on = t.usual.on && epoch != wideEpoch && gen <= genMask
	u.bases = t.table.bases
	u.expect = recLive | recPlaced | epoch<<posBits
	u.becomes = u.expect | recDirty | gen<<genBit
	u.from = pos &^ posMask
}

// run applies inputs whose positions are in no fence, each to its record, up to the first that is not usual: of that it changes
// nothing. It returns how many it has applied. A loop here instead of a call for each input takes 45 instructions less for
// one.
func (u *usual) run(ins []Input, recs []*record) int {
	const infinite = 0x7f800000 // bits of a float32 that are above those of all finite ones without a sign
	recs = recs[:len(ins)]
	for i, r := range recs {
		in := &ins[i]
		if r == nil {
			return i
		}
		what := r.what
		// The log position of the last input, if the flags are as expected; else more than any that fits.
		before, pos := what&(1<<genBit-1)&^recDirty-u.expect, in.Pos-u.from
		if pos > posMask || before >= pos || in.Flags != InputPosition|InputUsual {
			return i
		}
		fixed := in.FixedAt
		since := uint64(fixed - u.bases.time)
		elapsed := int64(since - r.since())
		if elapsed <= 0 || since > timeMask || fixed-in.ReceivedAt > u.futureMS {
			return i
		}
		acc, speed := math.Float32bits(in.AccuracyM), in.SpeedMPS
		if acc >= infinite || speed-speed != 0 {
			return i
		}
		lat, lng := in.Lat, in.Lng
		if uint32(lat+90*degE7) > 180*degE7 || uint32(lng+180*degE7) > 360*degE7 || lat|lng == 0 {
			return i
		}
		if uint64(distance(lat, r.lat)+distance(lng, r.lng)) > uint64(elapsed)*u.perMS>>perBits {
			return i
		}
		r.lat, r.lng, r.acc = lat, lng, acc
		r.at = uint32(since)
		r.what = u.becomes | pos | since>>32<<timeBit
	}
	return len(ins)
}

// distance is |a-b|, without a branch.
func distance(a, b int32) int64 {
	d := int64(a) - int64(b)
	sign := d >> 63
	return d ^ sign - sign
}
