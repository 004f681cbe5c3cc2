package track

import (
	"encoding/binary"
	"math"

	"footfall/geo"
)

// BatchSize is how many inputs a Batch holds: enough loads in flight to keep the memory busy, and few enough
// for all that is known of them to stay in the first-level cache.
const BatchSize = 128

// A Batch is up to BatchSize inputs on their way from the log to ApplyBatch, in the form in which the log has
// them: wire.BatchReader fills it without unpacking names. It has no pointers but to names and fences that do not fit, and is
// reused from batch to batch. The zero Batch is empty. Not safe for concurrent use.
type Batch struct {
	n      int
	in     [BatchSize]Input
	points [BatchSize]geo.Point
	rest   []rest
	apps   []string // of this batch: Input.App is a position in it

	next int // the first that ApplyBatch has not begun
}

// Input is one input of a Batch: a Fix and its place in the log. Fields that the usual fix does not have are in the
// Batch.
type Input struct {
	Word, Tail uint64 // packed name of a Short form, as Form.Masks has its bytes 0 to 7 and 8 to 15; 0 of others
	Pos        uint64
	FixedAt    int64
	ReceivedAt int64
	Lat, Lng   int32   // the position rounded to 1e-7 degrees, from RoundE7
	AccuracyM  float32 // as in Fix, like the rest
	SpeedMPS   float32
	App        uint16 // from Batch.App
	Form       Form
	Source     Source
	Flags      InputFlags
	Rest       uint16 // 0, or from SetRest
}

// InputFlags are the booleans of a Fix.
type InputFlags uint8

// The flags of an input.
const (
	InputPosition InputFlags = 1 << iota // Fix.HasPosition
	InputSkewed
	InputMock
	// InputUsual says that the fix has a position, that its source is none of the OS sources, that the other flags are
	// not set, and that its fix time is from UsualTimeFrom on and before UsualTimeTo. These decide how it is applied: SetUsual sets it.
	InputUsual
)

// The fix times of usual inputs, Unix ms: from 2001 to 2109.
const (
	UsualTimeFrom = 978_307_200_000
	UsualTimeTo   = 1 << sinceBits
)

// SetUsual sets InputUsual where it belongs.
func (in *Input) SetUsual() {
	if in.Flags == InputPosition && in.Source <= SourceSignificant && in.FixedAt >= UsualTimeFrom && in.FixedAt < UsualTimeTo {
		in.Flags |= InputUsual
	}
}

// rest is what an unusual input has beside.
type rest struct {
	name  []byte // the packed name when its form is not Short
	fence string
}

// Reset empties b.
func (b *Batch) Reset() {
	clear(b.rest)
	b.n, b.next, b.rest, b.apps = 0, 0, b.rest[:0], b.apps[:0]
}

// Len is how many inputs b has.
func (b *Batch) Len() int { return b.n }

// Begun is how many inputs ApplyBatch has begun.
func (b *Batch) Begun() int { return b.next }

// Free is the inputs that b has room for, with their positions. The caller sets every field of some of them, from the first
// on, and adds them with Grow. The exact position of an input without one does not matter.
func (b *Batch) Free() ([]Input, []geo.Point) { return b.in[b.n:], b.points[b.n:] }

// Grow adds the first n of Free to b.
func (b *Batch) Grow(n int) { b.n += min(n, BatchSize-b.n) }

// App is the number of an app in b. It allocates for an app that the last batches did not have in its place.
func (b *Batch) App(name []byte) uint16 {
	for i, a := range b.apps {
		if a == string(name) {
			return uint16(i)
		}
	}
	n := len(b.apps)
	if n < cap(b.apps) && b.apps[:n+1][n] == string(name) {
		b.apps = b.apps[:n+1] // from an earlier batch
	} else {
		b.apps = append(b.apps, string(name))
	}
	return uint16(n)
}

// SetRest gives an input of b the packed name, when its form is not Short, and the fence that it names. The name is not copied; it must stay as it is until Reset.
func (b *Batch) SetRest(in *Input, name []byte, fence string) {
	b.rest = append(b.rest, rest{name, fence})
	in.Rest = uint16(len(b.rest))
}

// Add adds a fix, and reports false when b is full. It is how tests and tools fill a batch; it allocates for names whose
// form is not Short.
func (b *Batch) Add(id DeviceID, f *Fix, pos uint64) bool {
	if b.n == BatchSize {
		return false
	}
	in, p := &b.in[b.n], &b.points[b.n]
	b.n++
	var buf [MaxDeviceIDLen]byte
	*in = Input{Pos: pos, FixedAt: f.FixedAt, ReceivedAt: f.ReceivedAt, AccuracyM: f.AccuracyM, SpeedMPS: f.SpeedMPS, Source: f.Source}
	*p = geo.Point{Lat: f.Lat, Lng: f.Lng}
	in.Lat, in.Lng = RoundE7(f.Lat, f.Lng)
	if f.HasPosition {
		in.Flags |= InputPosition
	}
	if f.Skewed {
		in.Flags |= InputSkewed
	}
	if f.Mock {
		in.Flags |= InputMock
	}
	in.SetUsual()
	name, form := Pack(buf[:0], id)
	in.App = b.App([]byte(id.App()))
	in.Form = form
	in.SetName(name)
	if !form.Short() || f.Fence != "" {
		b.SetRest(in, append([]byte(nil), name...), f.Fence)
	}
	return true
}

// SetName sets Word and Tail. Form is set before.
func (in *Input) SetName(packed []byte) { in.Word, in.Tail = in.Form.words(packed) }

// words is a packed name of a Short form in two numbers; 0 of others.
func (f Form) words(packed []byte) (first, tail uint64) {
	masks := f.Masks()
	if len(packed) > 8 {
		tail = word(packed[8:]) & masks[1]
	}
	return word(packed) & masks[0], tail
}

// word is the first 8 bytes of a packed name as a little-endian number.
func word(name []byte) (w uint64) {
	if len(name) >= 8 {
		return binary.LittleEndian.Uint64(name)
	}
	for i := range min(len(name), 8) {
		w |= uint64(name[i]) << (8 * i)
	}
	return w
}

// RoundE7 is a position in 1e-7 degrees, 11 mm; NoE7 twice for one that is not on Earth.
func RoundE7(latDeg, lngDeg float64) (lat, lng int32) {
	if !(math.Abs(latDeg) <= 90 && math.Abs(lngDeg) <= 180) {
		return NoE7, NoE7
	}
	return roundE7(latDeg), roundE7(lngDeg)
}

// roundE7 rounds a coordinate to 1e-7 degrees, halves away from zero. It adds a half and cuts: math.Round, which is right for the
// last float64 below a half, too, takes 20 instructions more.
func roundE7(deg float64) int32 { return int32(deg*degE7 + math.Copysign(0.5, deg)) }

// NoE7 is no coordinate.
const NoE7 = math.MinInt32

// Pos is the log position of input i.
func (b *Batch) Pos(i int) uint64 { return b.in[i].Pos }

// Device is the device of input i. It allocates.
func (b *Batch) Device(i int) DeviceID {
	var buf [MaxDeviceIDLen + 1]byte
	var few [16]byte
	in := &b.in[i]
	return DeviceID(Unpack(buf[:0], b.apps[in.App], in.Form, b.name(in, &few)))
}

// name is the packed name of an input; few is room for a short one.
func (b *Batch) name(in *Input, few *[16]byte) []byte {
	if in.Form.Short() {
		binary.LittleEndian.PutUint64(few[:], in.Word)
		binary.LittleEndian.PutUint64(few[8:], in.Tail)
		return few[:in.Form.Bytes()]
	}
	if in.Rest == 0 {
		return nil
	}
	return b.rest[in.Rest-1].name
}

// Fix is the fix of input i.
func (b *Batch) Fix(i int) Fix {
	in := &b.in[i]
	f := Fix{
		FixedAt: in.FixedAt, ReceivedAt: in.ReceivedAt, Lat: b.points[i].Lat, Lng: b.points[i].Lng, HasPosition: in.Flags&InputPosition != 0,
		AccuracyM: in.AccuracyM, SpeedMPS: in.SpeedMPS, Source: in.Source, Skewed: in.Flags&InputSkewed != 0, Mock: in.Flags&InputMock != 0,
	}
	if in.Rest != 0 {
		f.Fence = b.rest[in.Rest-1].fence
	}
	return f
}
