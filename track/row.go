package track

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"footfall/fences"
)

// ErrBadRow comes back, wrapped with the reason, for a presence row that this
// version did not write. The tracker is then unchanged.
var ErrBadRow = errors.New("track: stored presence row cannot be read")

// rowVersion is the first byte of a row. Layout of version 1; uv and sv are
// unsigned and signed varints, times are Unix ms:
//
//	1, flags, uv pos
//	rowSeen:        sv lastAt
//	rowPosition:    uv posLag, place, uv gen
//	rowQuarantine:  sv q.at, place
//	uv number of visits, then each, ascending by fence id:
//	   uv len(id), id, state, flags, uv reason, uv shapeGen, sv since
//	   stateUnknown, visitAway: sv seenAt
//	place: int32 lat, int32 lng in 1e-7 degrees, float32 accuracy, little endian
//
// A device far from every fence takes about 30 bytes, a visit about 15 more and
// the fence's id. Rows name fences by id, not by handle: a row outlives the
// set, its catalogue and the fence.
const rowVersion = 1

const (
	rowSeen = 1 << iota
	rowPosition
	rowQuarantine
	rowWithdrawn // and nothing else but pos
	rowFlagsEnd
)

// Encode appends the device's presence row: all that Apply needs to go on from
// here. Equal state gives equal bytes. It reports false, and appends nothing,
// for a device it does not know.
func (t *Tracker) Encode(dst []byte, id DeviceID) ([]byte, bool) {
	i, ok := t.table.findID(id)
	if !ok {
		return dst, false
	}
	d := &t.asked
	t.table.load(i, d)
	var flags byte
	if d.seen {
		flags |= rowSeen
	}
	if d.posLag != noPosition {
		flags |= rowPosition
	}
	if d.hasQ {
		flags |= rowQuarantine
	}
	if d.withdrawn {
		flags |= rowWithdrawn
	}
	dst = append(dst, rowVersion, flags)
	dst = binary.AppendUvarint(dst, d.pos)
	if flags&rowSeen != 0 {
		dst = binary.AppendVarint(dst, d.lastAt)
	}
	if flags&rowPosition != 0 {
		dst = binary.AppendUvarint(dst, uint64(d.posLag))
		dst = appendPlace(dst, d.place)
		dst = binary.AppendUvarint(dst, uint64(d.gen))
	}
	if flags&rowQuarantine != 0 {
		dst = binary.AppendVarint(dst, d.q.at)
		dst = appendPlace(dst, d.q.place)
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.visits)))
	for i := range d.visits {
		v := &d.visits[i]
		name := t.names.ids[v.fence]
		dst = binary.AppendUvarint(dst, uint64(len(name)))
		dst = append(dst, name...)
		dst = append(dst, byte(v.state), byte(v.flags))
		dst = binary.AppendUvarint(dst, uint64(v.reason))
		dst = binary.AppendUvarint(dst, uint64(v.shapeGen))
		dst = binary.AppendVarint(dst, v.since)
		if v.hasSeenAt() {
			dst = binary.AppendVarint(dst, v.seenAt)
		}
	}
	return dst, true
}

// Restore sets the state of a device to that of a row, replacing any it has.
// The device counts as clean. It returns ErrBadRow for bytes that Encode did
// not write, whatever they are, and for an unusable id. The row is not
// retained.
func (t *Tracker) Restore(id DeviceID, row []byte) error {
	if len(id) == 0 || len(id) > MaxDeviceIDLen {
		return fmt.Errorf("%w: device id of %d bytes", ErrBadRow, len(id))
	}
	d, err := decodeRow(row)
	if err != nil {
		return fmt.Errorf("%w: device %q: %w", ErrBadRow, id, err)
	}
	i, known := t.table.findID(id)
	if !known {
		i = t.table.insert(id)
	}
	for k := range d.visits {
		d.visits[k].fence = t.number(d.fences[k])
	}
	t.table.save(i, &d.state, false)
	return nil
}

// Assume makes a device that is not known one that was last seen at next's place just before next, inside those of the
// fences that set has, away from them or waiting for a min stay since times before next. It is for going on from a moment of
// which only the visits are known; next itself is not applied. Any log position is new to the device.
func (t *Tracker) Assume(set *fences.Set, id DeviceID, next *Fix, inside []InsideFence, pending []PendingFence) {
	if _, known := t.table.findID(id); known || len(id) == 0 || len(id) > MaxDeviceIDLen {
		return
	}
	if set != t.set {
		t.use(set)
	}
	d := state{lastAt: next.FixedAt - 1, seen: true, posLag: noPosition, gen: set.Gen()}
	if next.HasPosition {
		d.posLag, d.place = 0, placeOf(next)
	}
	for _, in := range inside {
		f, ok := set.Lookup(in.FenceID)
		if !ok {
			continue
		}
		v := visit{since: in.Since, fence: t.names.number(f.ID, f), shapeGen: f.ShapeGen, state: stateInside}
		if in.Dwelled {
			v.flags = visitDwelled
		}
		if in.AwaySince != 0 && in.AwaySince < next.FixedAt {
			v.flags |= visitAway | notedAway
			v.seenAt = in.AwaySince
		}
		d.visits = append(d.visits, v)
	}
	for _, w := range pending {
		f, ok := set.Lookup(w.FenceID)
		if !ok || w.Since >= next.FixedAt || slices.ContainsFunc(inside, func(in InsideFence) bool { return in.FenceID == w.FenceID }) {
			continue
		}
		d.visits = append(d.visits, visit{since: w.Since, fence: t.names.number(f.ID, f), shapeGen: f.ShapeGen, reason: w.Reason, state: statePending, flags: notedPending})
	}
	slices.SortFunc(d.visits, func(a, b visit) int { return cmp.Compare(t.names.ids[a.fence], t.names.ids[b.fence]) })
	t.table.save(t.table.insert(id), &d, true)
}

// number is names.number for a fence of which only the id is known.
func (t *Tracker) number(id fences.ID) uint32 {
	var f *fences.Fence
	if t.set != nil {
		f, _ = t.set.Lookup(id)
	}
	return t.names.number(id, f)
}

func (v *visit) hasSeenAt() bool { return v.state == stateUnknown || v.flags&visitAway != 0 }

type decodedRow struct {
	state
	fences []fences.ID // of visits
}

func decodeRow(row []byte) (decodedRow, error) {
	var d decodedRow
	in := rowReader{b: row}
	if v := in.byte(); v != rowVersion {
		return d, fmt.Errorf("version %d, not %d", v, rowVersion)
	}
	flags := in.byte()
	in.check(flags < rowFlagsEnd)
	in.check(flags&rowPosition == 0 || flags&rowSeen != 0)
	d.withdrawn = flags&rowWithdrawn != 0
	in.check(!d.withdrawn || flags == rowWithdrawn)
	d.pos = in.uvarint()
	d.posLag = noPosition
	if flags&rowSeen != 0 {
		d.seen = true
		d.lastAt = in.varint()
	}
	if flags&rowPosition != 0 {
		d.posLag = in.uint32()
		in.check(d.posLag != noPosition)
		d.place = in.place()
		d.gen = in.uint32()
	}
	if flags&rowQuarantine != 0 {
		in.check(flags&rowPosition != 0)
		d.hasQ = true
		d.q = quarantine{at: in.varint(), place: in.place()}
	}
	n := in.uvarint()
	in.check(n == 0 || !d.withdrawn)
	// A visit takes at least 7 bytes: a false count must not size anything.
	in.check(n <= uint64(len(in.b))/7)
	for ; n > 0 && !in.bad; n-- {
		var v visit
		id := fences.ID(in.take(in.uvarint()))
		v.state, v.flags = visitState(in.byte()), visitFlags(in.byte())
		reason := in.uint32()
		in.check(reason < uint32(reasonEnd))
		v.reason = Reason(reason)
		v.shapeGen = in.uint32()
		v.since = in.varint()
		if v.hasSeenAt() {
			v.seenAt = in.varint()
		}
		in.check(id != "" && v.state >= stateNear && v.state < visitStateEnd)
		in.check(v.flags < visitFlagsEnd && (v.flags&visitAway == 0 || v.state == stateInside))
		if k := len(d.visits); k > 0 {
			in.check(d.fences[k-1] < id)
		}
		d.visits, d.fences = append(d.visits, v), append(d.fences, id)
	}
	if in.bad || len(in.b) != 0 {
		return d, errors.New("the bytes are damaged")
	}
	return d, nil
}

func appendPlace(dst []byte, p place) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(p.lat))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(p.lng))
	return binary.LittleEndian.AppendUint32(dst, math.Float32bits(p.acc))
}

// rowReader takes values off the front of b. Once something does not fit, bad
// is set and every further value is zero.
type rowReader struct {
	b   []byte
	bad bool
}

func (r *rowReader) check(ok bool) {
	if !ok {
		r.bad, r.b = true, nil
	}
}

func (r *rowReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.check(false)
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *rowReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// uvarint accepts only the shortest form, so that a state has one row.
func (r *rowReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	var short [binary.MaxVarintLen64]byte
	if n <= 0 || !bytes.Equal(binary.AppendUvarint(short[:0], v), r.b[:n]) {
		r.check(false)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *rowReader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *rowReader) uint32() uint32 {
	v := r.uvarint()
	r.check(v <= math.MaxUint32)
	return uint32(v)
}

func (r *rowReader) place() place {
	b := r.take(12)
	if b == nil {
		return place{}
	}
	p := place{
		lat: int32(binary.LittleEndian.Uint32(b)),
		lng: int32(binary.LittleEndian.Uint32(b[4:])),
		acc: math.Float32frombits(binary.LittleEndian.Uint32(b[8:])),
	}
	r.check(p.lat >= -90*degE7 && p.lat <= 90*degE7 && p.lng >= -180*degE7 && p.lng <= 180*degE7)
	// Plain mode keeps whatever finite accuracy it was given.
	r.check(finite(float64(p.acc)))
	return p
}
