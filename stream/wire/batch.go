package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"footfall/track"
)

// A batch is one message of the log. All integers are little-endian; "uv" is an unsigned LEB128 varint.
//
//	magic 0xF7 · version 0x03 · base i64 (ReceivedAt of the first record, Unix ms) · micros u16 (0-999, after base)
//	  app (len u8, bytes) of the first record
//	record …
//	CRC-32C of everything before it, u32
//
//	record: tag u8 · flags u8 · form u8 · sizes u8 · [position] [accuracy f32] [speed f32] [app] · name · received [age] · rest
//	  tag: bits 0-2 kind, bits 3-5 source (ping), bit 6 own app, bit 7 zero
//	  sizes: bits 0-1 of received, bits 2-3 of age (ping): 1, 2, 4 or 8 bytes
//	  app: len u8, bytes; only when it is not the app of the batch
//	  name: the device's name packed as track.Form says; len u8 before it when the form does not tell its length
//	  received: zigzag (− base); age: zigzag (received − fixed)
//	  rest of a ping: [fence: len uv, bytes]; of others: payload (len uv, bytes), and flags are zero
//
// Every value of a Fix comes back bit for bit, or a replay would decide differently. Coordinates are
// two f64, but phones rarely send more than seven decimals: when n/1e7 gives back the very same float64
// for an int32 n, n is stored instead (flagPos7) and eight bytes are saved. Records are
// self-contained but for base and app, so that AppendRecord needs no state beside dst.
//
// What the usual ping has stands at the same place in each, so that Fill reads it with few branches: see fillUsual.
const (
	batchMagic   = 0xF7
	batchVersion = 3
	headerLen    = 13 // without the app
	trailerLen   = 4

	tagOwnApp = 1 << 6

	flagPos      = 1 << 0 // HasPosition: lat, lng follow
	flagPos7     = 1 << 1 // … as two i32 in 1e-7 degrees
	flagRawPos   = 1 << 2 // Lat or Lng is set although HasPosition is not; kept for exactness
	flagAccuracy = 1 << 3 // accuracy follows; else 0, unknown
	flagSpeed    = 1 << 4 // speed follows; else -1, unknown
	flagFence    = 1 << 5
	flagSkewed   = 1 << 6
	flagMock     = 1 << 7

	maxDeviceID = 2*MaxToken + 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors of a batch that cannot be read. A batch is written by ourselves and carried by a store with its own
// checksums, so each of them means another gateway wrote it or storage is damaged: the reader must stop at
// it or skip the message and count it, never guess.
var (
	ErrBatchVersion  = errors.New("wire: batch of an unknown version; another footfall wrote it")
	ErrBatchChecksum = errors.New("wire: batch is damaged or not sealed (checksum)")
	ErrBatchCorrupt  = errors.New("wire: batch is not well-formed")
	ErrBatchKind     = errors.New("wire: record of an unknown kind; a newer footfall wrote it")
)

// Kind is what a record of the log holds.
type Kind uint8

// The kinds of records. The values are stored: they never change.
const (
	KindPing    Kind = 1
	KindEvent   Kind = 2
	KindDevice  Kind = 3
	KindReceipt Kind = 4
)

// String is the first token of the subjects that carry the kind.
func (k Kind) String() string {
	switch k {
	case KindPing:
		return "ping"
	case KindEvent:
		return "event"
	case KindDevice:
		return "device"
	case KindReceipt:
		return "receipt"
	}
	return "unknown"
}

// Record is one entry of a batch.
type Record struct {
	Kind       Kind
	Device     track.DeviceID
	Fix        track.Fix // KindPing; the zero Fix otherwise
	ReceivedAt int64     // Unix ms; for a ping the reader sets it to Fix.ReceivedAt, the writer ignores it
	Payload    []byte    // the other kinds: the JSON as it came. When read, a view into the batch
	Index      int       // when read: its number in the batch, from 0
}

// AppendRecord appends r to the batch dst and returns it grown; an empty dst begins a batch. dst must
// hold nothing but a batch begun this way and not sealed. r.Device must be a valid id
// (JoinDevice), r.Kind one of the kinds, r.Fix.Fence and r.Payload within MaxFence and MaxPayload: the
// reader refuses what is not. It retains nothing and allocates only to grow dst.
func AppendRecord(dst []byte, r *Record) []byte {
	var d deviceHead
	if r.Kind == KindPing {
		return d.appendPing(d.begin(dst, KindPing, r.Device, r.Fix.ReceivedAt), &r.Fix)
	}
	dst = d.begin(dst, r.Kind, r.Device, r.ReceivedAt)
	delta, size := zigzag(r.ReceivedAt - d.base)
	dst = append(dst, d.tag, 0, byte(d.form), size)
	dst = append(dst, d.name[:d.size]...)
	dst = appendSized(dst, delta, size)
	dst = binary.AppendUvarint(dst, uint64(len(r.Payload)))
	return append(dst, r.Payload...)
}

// AppendPings is AppendRecord for each of fixes, pings of one device: the same bytes for a fraction of the instructions, since what
// is the same for all of them is made once.
func AppendPings(dst []byte, id track.DeviceID, fixes []track.Fix) []byte {
	if len(fixes) == 0 {
		return dst
	}
	var d deviceHead
	dst = d.begin(dst, KindPing, id, fixes[0].ReceivedAt)
	for i := range fixes {
		dst = d.appendPing(dst, &fixes[i])
	}
	return dst
}

// deviceHead is what records of one kind and device have in common in one batch.
type deviceHead struct {
	base int64 // of the batch
	tag  byte
	form track.Form
	size int // of name
	// name is the app, when it is not that of the batch, and the packed name, each with its length where that is written.
	name [maxNameBytes]byte
}

const maxNameBytes = 1 + MaxToken + 1 + maxDeviceID

// begin makes d for a device's records in the batch dst, which it begins when it is empty.
func (d *deviceHead) begin(dst []byte, kind Kind, id track.DeviceID, received int64) []byte {
	app := id.App()
	if len(dst) == 0 {
		dst = append(dst, batchMagic, batchVersion)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(received))
		own := app
		if len(app) > MaxToken {
			own = "" // not a valid id
		}
		dst = append(dst, 0, 0, byte(len(own)))
		dst = append(dst, own...)
	}
	d.base = int64(binary.LittleEndian.Uint64(dst[2:]))
	d.tag = byte(kind)
	name := d.name[:0]
	if n := int(dst[headerLen-1]); string(dst[headerLen:headerLen+n]) != app {
		d.tag |= tagOwnApp
	}
	if len(id) > maxDeviceID || len(app) > MaxToken {
		return dst // form 0: the reader refuses it
	}
	if d.tag&tagOwnApp != 0 {
		name = append(name, byte(len(app)))
		name = append(name, app...)
	}
	at := len(name)
	name, d.form = track.Pack(name, id)
	if d.form.Bytes() == 0 {
		name = append(name, 0)
		copy(name[at+1:], name[at:])
		name[at] = byte(len(name) - at - 1)
	}
	d.size = len(name)
	return dst
}

// pingRoom is more than a ping takes without its fence, and than is written of it beyond its end.
const pingRoom = 4 + 2*8 + 4 + 4 + maxNameBytes + 2*8 + 16

// appendPing appends one ping. It writes whole words, of which the next field overwrites what is too much: a loop for each byte of a
// name and of a time takes twice as long.
func (d *deviceHead) appendPing(dst []byte, f *track.Fix) []byte {
	dst = slices.Grow(dst, pingRoom)
	b := dst[len(dst) : len(dst)+pingRoom]
	head := uint32(d.tag|byte(f.Source)<<3) | uint32(d.form)<<16
	i := 4
	if f.HasPosition {
		head |= flagPos << 8
	} else if math.Float64bits(f.Lat)|math.Float64bits(f.Lng) != 0 {
		head |= flagRawPos << 8
	}
	if head&((flagPos|flagRawPos)<<8) != 0 {
		lat, ok := toE7(f.Lat)
		lng, ok2 := toE7(f.Lng)
		if ok && ok2 {
			head |= flagPos7 << 8
			binary.LittleEndian.PutUint32(b[4:], uint32(lat))
			binary.LittleEndian.PutUint32(b[8:], uint32(lng))
			i = 12
		} else {
			binary.LittleEndian.PutUint64(b[4:], math.Float64bits(f.Lat))
			binary.LittleEndian.PutUint64(b[12:], math.Float64bits(f.Lng))
			i = 20
		}
	}
	if acc := math.Float32bits(f.AccuracyM); acc != 0 {
		head |= flagAccuracy << 8
		binary.LittleEndian.PutUint32(b[i:], acc)
		i += 4
	}
	if f.SpeedMPS != -1 {
		head |= flagSpeed << 8
		binary.LittleEndian.PutUint32(b[i:], math.Float32bits(f.SpeedMPS))
		i += 4
	}
	if f.Skewed {
		head |= flagSkewed << 8
	}
	if f.Mock {
		head |= flagMock << 8
	}
	if d.size <= 16 {
		*(*[16]byte)(b[i:]) = *(*[16]byte)(d.name[:])
	} else {
		copy(b[i:], d.name[:d.size])
	}
	i += d.size
	delta, deltaSize := zigzag(f.ReceivedAt - d.base)
	age, ageSize := zigzag(f.ReceivedAt - f.FixedAt)
	head |= uint32(deltaSize|ageSize<<2) << 24
	binary.LittleEndian.PutUint64(b[i:], delta)
	i += 1 << deltaSize
	binary.LittleEndian.PutUint64(b[i:], age)
	i += 1 << ageSize
	if f.Fence != "" {
		head |= flagFence << 8
	}
	binary.LittleEndian.PutUint32(b, head)
	dst = dst[:len(dst)+i]
	if f.Fence != "" {
		dst = appendBytes(dst, f.Fence)
	}
	return dst
}

// SetMicros notes how many microseconds after ReceivedAt, 0 to 999, the first record of an unsealed batch came. It
// serves measurements only: decisions go by milliseconds.
func SetMicros(batch []byte, us int) {
	binary.LittleEndian.PutUint16(batch[10:], uint16(us))
}

// SealBatch appends the checksum to a batch of at least one record and returns what is to be stored.
// An empty dst stays empty.
func SealBatch(dst []byte) []byte {
	if len(dst) == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst, castagnoli))
}

// toE7 returns v in 1e-7 degrees when that is the very same float64. n and 1e7 are exact, so n/1e7 is the
// float64 nearest to the decimal, which is what a parser made of it. Where there is such an n, v*1e7 is so near to it that adding a half
// and cutting finds it: math.Round takes 20 instructions more.
func toE7(v float64) (int32, bool) {
	r := v*1e7 + math.Copysign(0.5, v)
	if !(r > math.MinInt32-1 && r < math.MaxInt32+1) {
		return 0, false
	}
	n := int32(r)
	return n, math.Float64bits(float64(n)/1e7) == math.Float64bits(v)
}

// zigzag is v as a small unsigned number, and how many bytes that takes: code 0 to 3 for 1, 2, 4 and 8.
func zigzag(v int64) (u uint64, size byte) {
	u = uint64(v<<1) ^ uint64(v>>63)
	switch {
	case u < 1<<8:
	case u < 1<<16:
		size = 1
	case u < 1<<32:
		size = 2
	default:
		size = 3
	}
	return u, size
}

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

func appendSized(dst []byte, u uint64, size byte) []byte {
	for range 1 << size {
		dst = append(dst, byte(u))
		u >>= 8
	}
	return dst
}

func appendBytes(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// BatchReader reads sealed batches, one after the other. The zero value is ready for Reset. A ping costs no
// allocation, but for the fence id of an os_* ping and, with Next, for the first sight of a device (Interner). Not safe for
// concurrent use.
type BatchReader struct {
	names *Interner
	buf   []byte // the batch without its checksum
	pos   int
	n     int // records read
	base  int64
	us    int64 // microseconds after base
	app   []byte
	err   error
}

// NewBatchReader returns a reader that takes its device ids from names. nil: the reader makes one of its own.
func NewBatchReader(names *Interner) *BatchReader { return &BatchReader{names: names} }

// Reset checks the version and checksum of batch and starts reading it. The reader and the records it
// returns use batch, unchanged, until the next Reset. Errors: ErrBatchVersion, ErrBatchChecksum, ErrBatchCorrupt.
func (r *BatchReader) Reset(batch []byte) error {
	r.buf, r.pos, r.n, r.err = nil, 0, 0, nil
	switch {
	case len(batch) < 2+trailerLen || batch[0] != batchMagic:
		r.err = ErrBatchCorrupt
	case batch[1] != batchVersion:
		r.err = fmt.Errorf("%w (version %d, this one reads %d)", ErrBatchVersion, batch[1], batchVersion)
	case crc32.Checksum(batch[:len(batch)-trailerLen], castagnoli) != binary.LittleEndian.Uint32(batch[len(batch)-trailerLen:]):
		r.err = ErrBatchChecksum
	case len(batch) < headerLen+trailerLen || len(batch) < headerLen+int(batch[headerLen-1])+trailerLen || batch[headerLen-1] > MaxToken:
		r.err = ErrBatchCorrupt
	}
	if r.err != nil {
		return r.err
	}
	r.base = int64(binary.LittleEndian.Uint64(batch[2:]))
	r.us = int64(binary.LittleEndian.Uint16(batch[10:]))
	r.pos = headerLen + int(batch[headerLen-1])
	r.app = batch[headerLen:r.pos]
	r.buf = batch[:len(batch)-trailerLen]
	return nil
}

// CollectedUS is when a record of the current batch, received at receivedMS, came, in Unix microseconds: exact for those of the
// batch's first millisecond, for later ones the millisecond.
func (r *BatchReader) CollectedUS(receivedMS int64) int64 {
	us := receivedMS * 1000
	if receivedMS == r.base {
		us += r.us
	}
	return us
}

// Next overwrites *rec with the next record. ok is false at the end of the batch and on an error,
// which is then final: ErrBatchCorrupt or ErrBatchKind, with the offset. Payload is valid until the next Reset.
func (r *BatchReader) Next(rec *Record) (ok bool, err error) {
	if r.err != nil || r.pos >= len(r.buf) {
		return false, r.err
	}
	start := r.pos
	var raw rawRecord
	if err := r.next(&raw); err != nil {
		*rec = Record{}
		r.err = fmt.Errorf("%w (offset %d of %d)", err, start, len(r.buf))
		return false, r.err
	}
	*rec = Record{Kind: raw.kind, Device: r.device(&raw), ReceivedAt: raw.fix.ReceivedAt, Index: r.n}
	if raw.kind == KindPing {
		rec.Fix = raw.fix
	} else {
		rec.Payload = raw.payload
	}
	r.n++
	return true, nil
}

// device is the id of a record's device.
func (r *BatchReader) device(raw *rawRecord) track.DeviceID {
	if r.names == nil {
		r.names = NewInterner(defaultInternSlots)
	}
	var buf [maxDeviceID]byte
	return r.names.Device(track.Unpack(buf[:0], string(raw.app), raw.form, raw.name))
}

// rawRecord is a record with its device as it is written. Slices are views into the batch.
type rawRecord struct {
	kind      Kind
	form      track.Form
	app, name []byte
	fix       track.Fix // of other kinds only ReceivedAt
	payload   []byte
}

func (r *BatchReader) next(raw *rawRecord) error {
	if len(r.buf)-r.pos < 4 {
		return ErrBatchCorrupt
	}
	tag, flags, form, sizes := r.buf[r.pos], r.buf[r.pos+1], track.Form(r.buf[r.pos+2]), r.buf[r.pos+3]
	r.pos += 4
	kind := Kind(tag & 7)
	if kind < KindPing || kind > KindReceipt || tag > 127 {
		return ErrBatchKind
	}
	if !form.Valid() || sizes > 15 {
		return ErrBatchCorrupt
	}
	*raw = rawRecord{kind: kind, form: form, app: r.app}
	f := &raw.fix
	if kind == KindPing {
		if err := r.measured(f, tag>>3&7, flags); err != nil {
			return err
		}
	} else if flags != 0 || tag&^tagOwnApp != byte(kind) || sizes > 3 {
		return ErrBatchCorrupt
	}
	var ok bool
	if tag&tagOwnApp != 0 {
		if raw.app, ok = r.short(0, MaxToken); !ok {
			return ErrBatchCorrupt
		}
	}
	if n := form.Bytes(); n == 0 {
		raw.name, ok = r.short(1, maxDeviceID)
		ok = ok && len(raw.app)+1+len(raw.name) <= maxDeviceID
	} else {
		raw.name, ok = r.take(n)
	}
	if !ok {
		return ErrBatchCorrupt
	}
	delta, ok := r.sized(sizes & 3)
	if !ok {
		return ErrBatchCorrupt
	}
	f.ReceivedAt = r.base + delta
	if kind != KindPing {
		if raw.payload, ok = r.bytes(MaxPayload); !ok {
			return ErrBatchCorrupt
		}
		return nil
	}
	age, ok := r.sized(sizes >> 2)
	if !ok {
		return ErrBatchCorrupt
	}
	f.FixedAt = f.ReceivedAt - age
	if flags&flagFence != 0 {
		s, ok := r.bytes(MaxFence)
		if !ok || len(s) == 0 {
			return ErrBatchCorrupt
		}
		f.Fence = string(s)
	}
	return nil
}

// measured reads what was measured: position, accuracy and speed.
func (r *BatchReader) measured(f *track.Fix, source, flags byte) error {
	f.Source = track.Source(source)
	if f.Source > track.SourceOSDwell {
		return ErrBatchKind
	}
	f.HasPosition = flags&flagPos != 0
	f.Skewed = flags&flagSkewed != 0
	f.Mock = flags&flagMock != 0
	f.SpeedMPS = -1
	need := 0
	switch {
	case flags&(flagPos|flagRawPos) == flagPos|flagRawPos, flags&(flagPos|flagRawPos) == 0 && flags&flagPos7 != 0:
		return ErrBatchCorrupt
	case flags&flagPos7 != 0:
		need = 8
	case flags&(flagPos|flagRawPos) != 0:
		need = 16
	}
	if flags&flagAccuracy != 0 {
		need += 4
	}
	if flags&flagSpeed != 0 {
		need += 4
	}
	b, ok := r.take(need)
	if !ok {
		return ErrBatchCorrupt
	}
	if flags&flagPos7 != 0 {
		f.Lat = float64(int32(binary.LittleEndian.Uint32(b))) / 1e7
		f.Lng = float64(int32(binary.LittleEndian.Uint32(b[4:]))) / 1e7
		b = b[8:]
	} else if flags&(flagPos|flagRawPos) != 0 {
		f.Lat = math.Float64frombits(binary.LittleEndian.Uint64(b))
		f.Lng = math.Float64frombits(binary.LittleEndian.Uint64(b[8:]))
		b = b[16:]
	}
	if flags&flagAccuracy != 0 {
		f.AccuracyM = math.Float32frombits(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	if flags&flagSpeed != 0 {
		f.SpeedMPS = math.Float32frombits(binary.LittleEndian.Uint32(b))
	}
	return nil
}

// sized reads a zigzag number of 1, 2, 4 or 8 bytes.
func (r *BatchReader) sized(size byte) (int64, bool) {
	b, ok := r.take(1 << (size & 3))
	if !ok {
		return 0, false
	}
	var u uint64
	for i, c := range b {
		u |= uint64(c) << (8 * i)
	}
	return unzigzag(u), true
}

// short reads a length of one byte, from least to most, and that many bytes.
func (r *BatchReader) short(least, most int) ([]byte, bool) {
	b, ok := r.take(1)
	if !ok || int(b[0]) < least || int(b[0]) > most {
		return nil, false
	}
	return r.take(int(b[0]))
}

// take reads n bytes; the result is a view with no spare capacity.
func (r *BatchReader) take(n int) ([]byte, bool) {
	if n > len(r.buf)-r.pos {
		return nil, false
	}
	from := r.pos
	r.pos += n
	return r.buf[from:r.pos:r.pos], true
}

// bytes reads a varint length and that many bytes, at most limit; the result is a view with no spare capacity.
func (r *BatchReader) bytes(limit int) ([]byte, bool) {
	n, w := binary.Uvarint(r.buf[r.pos:])
	if w <= 0 || n > uint64(limit) {
		return nil, false
	}
	r.pos += w
	return r.take(int(n))
}
