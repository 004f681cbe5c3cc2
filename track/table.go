package track

import (
	"hash/maphash"

	"footfall/fences"
)

// This file is the memory of a Tracker and the only place that knows its
// layout: an open-addressing index, fixed records without pointers, the ids'
// bytes in chunks, and extras for the few devices at or in a fence.
//
// Two devices can never share a record: the index compares hashes only to skip,
// and the stored id decides.

// MaxDeviceIDLen is the longest DeviceID a Tracker takes, in bytes; a wire id
// has at most 129. Apply refuses a longer one as malformed.
const MaxDeviceIDLen = 255

// record is what is kept of every device: 48 bytes.
type record struct {
	lastAt int64  // fix time of the last accepted input, Unix ms
	pos    uint64 // log position of the last input of any verdict
	place  place  // the last accepted position; see posLag
	gen    uint32 // fences.Set.Gen with which place was evaluated
	posLag uint32 // ms from place to lastAt, at most maxPosLag, or noPosition
	key    uint32 // where the id is; see table.key
	extra  uint32 // index in extras + 1; 0 for a device that has none
	flags  uint32
}

const (
	noPosition = ^uint32(0)     // no position was accepted yet
	maxPosLag  = noPosition - 1 // 49 days; longer counts as that
)

const (
	recSeen   = 1 << iota // an input was accepted: lastAt means something
	recDirty              // changed since MarkClean
	recListed             // is in table.dirty
	recUsed               // belongs to a device
)

// place is a position to 1e-7 degrees (11 mm) with its accuracy in metres.
// Two fixes closer than that are one place to the duplicate rule.
type place struct {
	lat, lng int32
	acc      float32
}

// quarantine is a fix that implied an implausible move.
type quarantine struct {
	at int64
	place
}

// visit is what is kept of a device at one fence.
type visit struct {
	since    int64 // first fix inside, Unix ms
	seenAt   int64 // in stateUnknown: last sign of life before the silence; else 0
	fence    uint32
	shapeGen uint32 // Fence.ShapeGen in which the device was last seen inside
	reason   Reason // of the enter to come, while it waits
	state    visitState
	flags    visitFlags
}

type visitState uint8

const (
	// The numbers are stored in rows.
	stateNear    visitState = iota + 1 // inside with too poor an accuracy; remembered so that it is noted once
	statePending                       // inside, min stay running
	stateInside
	stateUnknown // was inside, then silent for PresenceTTL
	visitStateEnd
)

type visitFlags uint8

const (
	// The bits are stored in rows.
	visitDwelled visitFlags = 1 << iota
	notedAccuracy
	notedPending
	notedMargin
	notedBlind
	visitFlagsEnd
)

// extra is kept of a device that is at a fence or has a fix in quarantine.
// visits are ordered by fence id.
type extra struct {
	visits []visit
	q      quarantine
	hasQ   bool
}

func (x *extra) empty() bool { return !x.hasQ && len(x.visits) == 0 }

// visitingSince reports whether the device is inside a fence that it entered at t or before.
func (t *table) visitingSince(r *record, at int64) bool {
	x := t.extraOf(r, false)
	if x == nil {
		return false
	}
	for i := range x.visits {
		if v := &x.visits[i]; v.state == stateInside && v.since <= at {
			return true
		}
	}
	return false
}

// table maps device ids to records.
type table struct {
	seed  maphash.Seed
	slots []uint64 // hash<<32 | record index + 1; 0 is empty; length is a power of two
	n     int

	recs     []record
	freeRecs []uint32
	dirty    []uint32 // records with recListed

	extras     []extra
	freeExtras []uint32

	chunks   [][]byte // the ids: a length byte, then the bytes
	keyBytes int      // of live ids, length bytes included
	keyTotal int      // of live and dead ids
}

const (
	minSlots  = 16
	chunkBits = 20 // ids live in chunks of 1 MiB: 4 GiB in all
	chunkSize = 1 << chunkBits
)

func newTable() table {
	return table{seed: maphash.MakeSeed(), slots: make([]uint64, minSlots)}
}

func (t *table) hash(id DeviceID) uint32 { return uint32(maphash.String(t.seed, string(id))) }

// find returns the record of a device.
func (t *table) find(id DeviceID) (uint32, bool) { return t.lookup(id, t.hash(id)) }

// lookup is find for an id whose hash is known.
func (t *table) lookup(id DeviceID, h uint32) (uint32, bool) {
	mask := uint32(len(t.slots) - 1)
	for s := h & mask; ; s = (s + 1) & mask {
		slot := t.slots[s]
		if slot == 0 {
			return 0, false
		}
		if uint32(slot>>32) == h {
			if i := uint32(slot) - 1; string(t.key(t.recs[i].key)) == string(id) {
				return i, true
			}
		}
	}
}

// insert makes the record of a device that find did not find.
func (t *table) insert(id DeviceID) uint32 {
	if (t.n+1)*4 > len(t.slots)*3 {
		t.grow()
	}
	var i uint32
	if n := len(t.freeRecs); n > 0 {
		i = t.freeRecs[n-1]
		t.freeRecs = t.freeRecs[:n-1]
	} else {
		i = uint32(len(t.recs))
		t.recs = append(t.recs, record{})
	}
	listed := t.recs[i].flags & recListed
	t.recs[i] = record{posLag: noPosition, key: t.addKey(id), flags: recUsed | listed}
	t.place(uint64(t.hash(id))<<32 | uint64(i+1))
	t.n++
	return i
}

func (t *table) place(slot uint64) {
	mask := uint32(len(t.slots) - 1)
	s := uint32(slot>>32) & mask
	for t.slots[s] != 0 {
		s = (s + 1) & mask
	}
	t.slots[s] = slot
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]uint64, 2*len(old))
	for _, slot := range old {
		if slot != 0 {
			t.place(slot)
		}
	}
}

// remove erases a device. Its record and extra are reused later.
func (t *table) remove(id DeviceID) {
	i, ok := t.find(id)
	if !ok {
		return
	}
	mask := uint32(len(t.slots) - 1)
	s := t.hash(id) & mask
	for uint32(t.slots[s])-1 != i {
		s = (s + 1) & mask
	}
	// Close the gap: move back every later entry of the run that may not sit
	// after an empty slot.
	for next := (s + 1) & mask; t.slots[next] != 0; next = (next + 1) & mask {
		home := uint32(t.slots[next]>>32) & mask
		if (next-home)&mask >= (next-s)&mask {
			t.slots[s] = t.slots[next]
			s = next
		}
	}
	t.slots[s] = 0
	t.n--

	r := &t.recs[i]
	t.dropExtra(r)
	t.keyBytes -= len(id) + 1
	// A freed record keeps recListed: its number is still in dirty.
	*r = record{flags: r.flags & recListed}
	t.freeRecs = append(t.freeRecs, i)
	if dead := t.keyTotal - t.keyBytes; dead > chunkSize && dead > t.keyBytes {
		t.packKeys()
	}
}

func (t *table) addKey(id DeviceID) uint32 {
	n := len(t.chunks)
	if n == 0 || len(t.chunks[n-1])+len(id)+1 > chunkSize {
		// The first chunk grows as needed so that a small tracker stays small.
		c := []byte(nil)
		if n > 0 {
			c = make([]byte, 0, chunkSize)
		}
		t.chunks = append(t.chunks, c)
		n++
	}
	c := t.chunks[n-1]
	off := len(c)
	c = append(c, byte(len(id)))
	c = append(c, id...)
	t.chunks[n-1] = c
	t.keyBytes += len(id) + 1
	t.keyTotal += len(id) + 1
	return uint32((n-1)<<chunkBits | off)
}

func (t *table) key(k uint32) []byte {
	c := t.chunks[k>>chunkBits][k&(chunkSize-1):]
	return c[1 : 1+int(c[0])]
}

// packKeys rewrites the chunks without the ids of erased devices.
func (t *table) packKeys() {
	old := *t
	t.chunks, t.keyBytes, t.keyTotal = nil, 0, 0
	for i := range t.recs {
		if r := &t.recs[i]; r.flags&recUsed != 0 {
			r.key = t.addKey(DeviceID(old.key(r.key)))
		}
	}
}

func (t *table) id(i uint32) DeviceID { return DeviceID(t.key(t.recs[i].key)) }

func (t *table) markDirty(i uint32) {
	r := &t.recs[i]
	if r.flags&recListed == 0 {
		t.dirty = append(t.dirty, i)
	}
	r.flags |= recDirty | recListed
}

// appendDirty appends the ids of changed devices and forgets the list's
// entries that have been marked clean since.
func (t *table) appendDirty(dst []DeviceID) []DeviceID {
	kept := t.dirty[:0]
	for _, i := range t.dirty {
		r := &t.recs[i]
		if r.flags&recDirty == 0 {
			r.flags &^= recListed
			continue
		}
		kept = append(kept, i)
		dst = append(dst, t.id(i))
	}
	t.dirty = kept
	return dst
}

// extraOf returns the extra of a record, making one when make is set. The
// pointer is good until the next extraOf.
func (t *table) extraOf(r *record, create bool) *extra {
	if r.extra == 0 {
		if !create {
			return nil
		}
		if n := len(t.freeExtras); n > 0 {
			r.extra = t.freeExtras[n-1]
			t.freeExtras = t.freeExtras[:n-1]
		} else {
			t.extras = append(t.extras, extra{})
			r.extra = uint32(len(t.extras))
		}
	}
	return &t.extras[r.extra-1]
}

// dropExtra gives back the extra of a record; its slice is kept for the next.
func (t *table) dropExtra(r *record) {
	if r.extra == 0 {
		return
	}
	x := &t.extras[r.extra-1]
	*x = extra{visits: x.visits[:0]}
	t.freeExtras = append(t.freeExtras, r.extra)
	r.extra = 0
}

// trim gives back the extra of a record that no longer needs one.
func (t *table) trim(r *record) {
	if x := t.extraOf(r, false); x != nil && x.empty() {
		t.dropExtra(r)
	}
}

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
