package wire

import (
	"encoding/binary"
	"fmt"
	"math"

	"footfall/track"
)

// Fill is Next for many pings at once: it empties dst and fills it with the next pings of the batch, until it is full, and
// appends the records of other kinds that come before or between them to others. The log position of record n of the batch is first+n.
// more is false when nothing is left to read. An error is final, as with Next; what was read before it stands in dst and
// others and counts.
//
// dst and others use the batch, unchanged, until the next Reset.
func (r *BatchReader) Fill(dst *track.Batch, others []Record, first uint64) (_ []Record, more bool, err error) {
	dst.Reset()
	if r.err != nil {
		return others, false, r.err
	}
	app := dst.App(r.app)
	for r.pos < len(r.buf) {
		if r.fillUsual(dst, app, first) {
			continue
		}
		if dst.Len() == track.BatchSize {
			return others, true, nil
		}
		start := r.pos
		var raw rawRecord
		if err := r.next(&raw); err != nil {
			r.err = fmt.Errorf("%w (offset %d of %d)", err, start, len(r.buf))
			return others, false, r.err
		}
		if raw.kind != KindPing {
			others = append(others, Record{Kind: raw.kind, Device: r.device(&raw), ReceivedAt: raw.fix.ReceivedAt, Payload: raw.payload, Index: r.n})
			r.n++
			continue
		}
		f := &raw.fix
		in, at := dst.Next()
		in.Pos = first + uint64(r.n)
		in.FixedAt, in.ReceivedAt = f.FixedAt, f.ReceivedAt
		in.AccuracyM, in.SpeedMPS, in.Source = f.AccuracyM, f.SpeedMPS, f.Source
		in.Lat, in.Lng = track.RoundE7(f.Lat), track.RoundE7(f.Lng)
		at.Lat, at.Lng = f.Lat, f.Lng
		in.Flags = 0
		if f.HasPosition {
			in.Flags |= track.InputPosition
		}
		if f.Skewed {
			in.Flags |= track.InputSkewed
		}
		if f.Mock {
			in.Flags |= track.InputMock
		}
		in.App, in.Form, in.Word = dst.App(raw.app), raw.form, 0
		for i := range min(len(raw.name), 8) {
			in.Word |= uint64(raw.name[i]) << (8 * i)
		}
		in.Word &= raw.form.Mask()
		if n := raw.form.Bytes(); n == 0 || n > 8 || f.Fence != "" {
			dst.SetRest(in, raw.name, f.Fence)
		}
		r.n++
	}
	return others, false, nil
}

// usual describes how the two times of a ping are read from one load of 8 bytes, by its sizes.
type usual struct {
	delta, age uint64 // masks
	shift, n   uint8  // of age; of both together; 0 when 8 bytes are not enough
}

var usualTimes = func() (t [16]usual) {
	for s := range t {
		a, b := 1<<(s&3), 1<<(s>>2)
		if a+b <= 8 {
			t[s] = usual{1<<(8*a) - 1, 1<<(8*b) - 1, uint8(8 * a), uint8(a + b)}
		}
	}
	return t
}()

// shortForms is Form.Bytes and Form.Mask for names of at most 8 bytes; n is 0 for the others.
var shortForms = func() (t [256]struct {
	mask uint64
	n    uint8
}) {
	for i := range t {
		if n := track.Form(i).Bytes(); n <= 8 {
			t[i].mask, t[i].n = track.Form(i).Mask(), uint8(n)
		}
	}
	return t
}()

// usualLen is the most that a usual ping takes, and so what must be left for fillUsual not to look at the end.
const usualLen = 4 + 8 + 4 + 4 + 8 + 8

// fillUsual reads one ping as phones send it: seven decimals, an accuracy, a short name of the batch's app, no fence. It
// reports false, and reads nothing, for any other record, near the end of the batch and when dst is full. The plain
// twin is the rest of Fill; TestFillEqualsNext compares them.
func (r *BatchReader) fillUsual(dst *track.Batch, app uint16, first uint64) bool {
	const need, mustNot = flagPos | flagPos7 | flagAccuracy, flagRawPos | flagFence | flagSkewed | flagMock
	if len(r.buf)-r.pos < usualLen {
		return false
	}
	b := (*[usualLen]byte)(r.buf[r.pos:])
	tag, flags, form, sizes := b[0], b[1], b[2], b[3]
	name := &shortForms[form]
	if tag&^(7<<3) != byte(KindPing) || tag > byte(track.SourceOSDwell)<<3|7 || flags&(need|mustNot) != need || sizes > 15 || name.n == 0 {
		return false
	}
	times := &usualTimes[sizes]
	if times.n == 0 {
		return false
	}
	in, at := dst.Next()
	if in == nil {
		return false
	}
	lat, lng := int32(binary.LittleEndian.Uint32(b[4:])), int32(binary.LittleEndian.Uint32(b[8:]))
	in.Lat, in.Lng = lat, lng
	at.Lat, at.Lng = float64(lat)/1e7, float64(lng)/1e7
	in.AccuracyM = math.Float32frombits(binary.LittleEndian.Uint32(b[12:]))
	in.SpeedMPS = -1
	i := 16
	if flags&flagSpeed != 0 {
		in.SpeedMPS = math.Float32frombits(binary.LittleEndian.Uint32(b[16:]))
		i = 20
	}
	in.Word = binary.LittleEndian.Uint64(b[i&31:]) & name.mask
	i += int(name.n)
	t := binary.LittleEndian.Uint64(b[i&31:]) // at most 28
	in.ReceivedAt = r.base + unzigzag(t&times.delta)
	in.FixedAt = in.ReceivedAt - unzigzag(t>>(times.shift&63)&times.age)
	in.App, in.Form, in.Source, in.Flags = app, track.Form(form), track.Source(tag>>3), track.InputPosition
	in.Pos = first + uint64(r.n)
	r.n++
	r.pos += i + int(times.n)
	return true
}
