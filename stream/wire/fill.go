package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"footfall/track"
)

// Fill is Next for many pings at once: it empties dst and fills it with the next pings of the batch, until it is full or a
// registration has been read, which may change what becomes of the pings behind it, and
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
	for r.fillUsual(dst, app, first); r.pos < len(r.buf); r.fillUsual(dst, app, first) {
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
			if raw.kind == KindDevice {
				return others, r.pos < len(r.buf), nil
			}
			continue
		}
		f := &raw.fix
		ins, points := dst.Free()
		dst.Grow(1)
		in := &ins[0]
		*in = track.Input{
			Pos: first + uint64(r.n), FixedAt: f.FixedAt, ReceivedAt: f.ReceivedAt, AccuracyM: f.AccuracyM, SpeedMPS: f.SpeedMPS,
			App: dst.App(raw.app), Form: raw.form, Source: f.Source,
		}
		in.Lat, in.Lng = track.RoundE7(f.Lat, f.Lng)
		points[0].Lat, points[0].Lng = f.Lat, f.Lng
		if f.HasPosition {
			in.Flags |= track.InputPosition
		}
		if f.Skewed {
			in.Flags |= track.InputSkewed
		}
		if f.Mock {
			in.Flags |= track.InputMock
		}
		in.SetUsual()
		in.SetName(raw.name)
		if !raw.form.Short() || f.Fence != "" {
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

// shortForms is Form.Bytes and Form.Masks for names of Short forms; n is 0 for the others.
var shortForms = func() (t [256]struct {
	word, tail uint64
	n          uint64
}) {
	for i := range t {
		if f := track.Form(i); f.Short() {
			m := f.Masks()
			t[i].word, t[i].tail, t[i].n = m[0], m[1], uint64(f.Bytes())
		}
	}
	return t
}()

// usualLen is more than a usual ping takes: what must be left for fillUsual not to look at the end.
const usualLen = 72

// What the first four bytes of a usual ping are: tag, flags, form, sizes.
const (
	usualMask = 0xff | (0xff&^flagSpeed)<<8 | 0xf0<<24
	usualHead = uint32(KindPing) | (flagPos|flagPos7|flagAccuracy)<<8
	sourceBit = 3
)

// usualReach is more than the times of a usual ping are from the base of its batch: each is at most 4 bytes.
const usualReach = 1 << 32

// fillUsual reads pings as phones send them, until one that is not: seven decimals, an accuracy, a short name of the
// batch's app, no word of the phone's system. It stops before any other record, near the end of the batch and when dst is
// full. The plain twin is the rest of Fill, which takes 750 instructions more for a ping; TestFillEqualsNext compares them.
func (r *BatchReader) fillUsual(dst *track.Batch, app uint16, first uint64) {
	if r.base < track.UsualTimeFrom+usualReach || r.base >= track.UsualTimeTo-usualReach {
		return
	}
	ins, points := dst.Free()
	points = points[:len(ins)]
	buf, base, pos := r.buf[r.pos:], r.base, first+uint64(r.n)
	n := 0
	for ; n < len(ins) && len(buf) >= usualLen; n++ {
		b := (*[usualLen]byte)(buf)
		head := binary.LittleEndian.Uint32(b[:])
		name, times := &shortForms[uint8(head>>16)], &usualTimes[head>>24&15]
		// Only the source may be more than that of usualHead, 0; one comparison for all.
		if bits.RotateLeft32(head&usualMask-usualHead, -sourceBit) > uint32(track.SourceSignificant) || name.n == 0 || times.n == 0 {
			break
		}
		in, at := &ins[n], &points[n]
		lat, lng := int32(binary.LittleEndian.Uint32(b[4:])), int32(binary.LittleEndian.Uint32(b[8:]))
		in.Lat, in.Lng = lat, lng
		at.Lat, at.Lng = float64(lat)/1e7, float64(lng)/1e7
		in.AccuracyM = math.Float32frombits(binary.LittleEndian.Uint32(b[12:]))
		speed, i := float32(-1), uint(16)
		if head&(flagSpeed<<8) != 0 {
			speed, i = math.Float32frombits(binary.LittleEndian.Uint32(b[16:])), 20
		}
		in.SpeedMPS = speed
		in.Word = binary.LittleEndian.Uint64(b[i&31:]) & name.word
		in.Tail = binary.LittleEndian.Uint64(b[i&31+8:]) & name.tail
		i += uint(name.n)
		t := binary.LittleEndian.Uint64(b[i&63:]) // at most 36
		received := base + unzigzag(t&times.delta)
		in.ReceivedAt = received
		in.FixedAt = received - unzigzag(t>>(times.shift&63)&times.age)
		in.Pos = pos
		in.App, in.Rest, in.Form, in.Source = app, 0, track.Form(head>>16), track.Source(head>>3&3)
		in.Flags = track.InputPosition | track.InputUsual
		pos++
		buf = buf[(i+uint(times.n))&63:]
	}
	dst.Grow(n)
	r.n += n
	r.pos = len(r.buf) - len(buf)
}
