package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"footfall/track"
)

// A batch is one message of the log. All integers are little-endian or LEB128 varints ("uv": unsigned,
// "zv": zigzag).
//
//	magic 0xF7 · version 0x02 · base i64 (ReceivedAt of the first record, Unix ms) · micros u16 (0-999, after base)
//	record …
//	CRC-32C of everything before it, u32
//
//	record: tag u8 · flags u8 · received zv (− base) · device (len uv, bytes) · body
//	  tag: bits 0-2 kind, bits 3-5 source (ping), bits 6-7 zero
//	  ping body: fixed zv (received − fixed) [lat lng] [accuracy f32] [speed f32] [fence: len uv, bytes]
//	  other body: payload (len uv, bytes); flags are zero
//
// Every value of a Fix comes back bit for bit, or a replay would decide differently. Coordinates are
// two f64, but phones rarely send more than seven decimals: when n/1e7 gives back the very same float64
// for an int32 n, n is stored instead (flagPos7) and eight bytes are saved. Records are
// self-contained but for base, so that AppendRecord needs no state beside dst. Version 1 had no micros; it is still
// read.
const (
	batchMagic   = 0xF7
	batchVersion = 2
	headerLen    = 12
	header1Len   = 10 // of version 1
	trailerLen   = 4

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
// checksums, so each of them means a newer gateway wrote it or storage is damaged: the reader must stop at
// it or skip the message and count it, never guess.
var (
	ErrBatchVersion  = errors.New("wire: batch of an unknown version; a newer footfall wrote it")
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
}

// AppendRecord appends r to the batch dst and returns it grown; an empty dst begins a batch. dst must
// hold nothing but a batch begun this way and not sealed. r.Device must be a valid id
// (JoinDevice), r.Kind one of the kinds, r.Fix.Fence and r.Payload within MaxFence and MaxPayload: the
// reader refuses what is not. It retains nothing and allocates only to grow dst.
func AppendRecord(dst []byte, r *Record) []byte {
	received := r.ReceivedAt
	if r.Kind == KindPing {
		received = r.Fix.ReceivedAt
	}
	if len(dst) == 0 {
		dst = append(dst, batchMagic, batchVersion)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(received))
		dst = append(dst, 0, 0)
	}
	base := int64(binary.LittleEndian.Uint64(dst[2:]))
	if r.Kind != KindPing {
		dst = append(dst, byte(r.Kind), 0)
		dst = binary.AppendVarint(dst, received-base)
		dst = appendBytes(dst, string(r.Device))
		dst = binary.AppendUvarint(dst, uint64(len(r.Payload)))
		return append(dst, r.Payload...)
	}

	f := &r.Fix
	var flags byte
	lat, lng, pos7 := int32(0), int32(0), false
	if f.HasPosition {
		flags |= flagPos
	} else if math.Float64bits(f.Lat)|math.Float64bits(f.Lng) != 0 {
		flags |= flagRawPos
	}
	if flags != 0 {
		if lat, pos7 = toE7(f.Lat); pos7 {
			if lng, pos7 = toE7(f.Lng); pos7 {
				flags |= flagPos7
			}
		}
	}
	if math.Float32bits(f.AccuracyM) != 0 {
		flags |= flagAccuracy
	}
	if f.SpeedMPS != -1 {
		flags |= flagSpeed
	}
	if f.Fence != "" {
		flags |= flagFence
	}
	if f.Skewed {
		flags |= flagSkewed
	}
	if f.Mock {
		flags |= flagMock
	}
	dst = append(dst, byte(KindPing)|byte(f.Source)<<3, flags)
	dst = binary.AppendVarint(dst, received-base)
	dst = appendBytes(dst, string(r.Device))
	dst = binary.AppendVarint(dst, received-f.FixedAt)
	if flags&flagPos7 != 0 {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(lat))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(lng))
	} else if flags&(flagPos|flagRawPos) != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(f.Lat))
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(f.Lng))
	}
	if flags&flagAccuracy != 0 {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(f.AccuracyM))
	}
	if flags&flagSpeed != 0 {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(f.SpeedMPS))
	}
	if flags&flagFence != 0 {
		dst = appendBytes(dst, f.Fence)
	}
	return dst
}

// SetMicros notes how many microseconds after ReceivedAt, 0 to 999, the first record of an unsealed batch came. It
// serves measurements only: decisions go by milliseconds.
func SetMicros(batch []byte, us int) {
	binary.LittleEndian.PutUint16(batch[headerLen-2:], uint16(us))
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
// float64 nearest to the decimal, which is what a parser made of it.
func toE7(v float64) (int32, bool) {
	r := math.Round(v * 1e7)
	if !(r >= math.MinInt32 && r <= math.MaxInt32) {
		return 0, false
	}
	n := int32(r)
	return n, math.Float64bits(float64(n)/1e7) == math.Float64bits(v)
}

func appendBytes(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// BatchReader reads sealed batches, one after the other. The zero value is ready for Reset. A ping costs no
// allocation, but for the first sight of a device (Interner) and the fence id of an os_* ping. Not safe for concurrent use.
type BatchReader struct {
	names *Interner
	buf   []byte // the batch without its checksum
	pos   int
	base  int64
	us    int64 // microseconds after base
	err   error
}

// NewBatchReader returns a reader that takes its device ids from names. nil: the reader makes one of its own.
func NewBatchReader(names *Interner) *BatchReader { return &BatchReader{names: names} }

// Reset checks the version and checksum of batch and starts reading it. The reader and the records it
// returns use batch, unchanged, until the next Reset. Errors: ErrBatchVersion, ErrBatchChecksum, ErrBatchCorrupt.
func (r *BatchReader) Reset(batch []byte) error {
	r.buf, r.pos, r.err = nil, 0, nil
	header := headerLen
	if len(batch) > 1 && batch[1] == 1 {
		header = header1Len
	}
	switch {
	case len(batch) < header+trailerLen || batch[0] != batchMagic:
		r.err = ErrBatchCorrupt
	case batch[1] != batchVersion && batch[1] != 1:
		r.err = fmt.Errorf("%w (version %d, this one reads %d)", ErrBatchVersion, batch[1], batchVersion)
	case crc32.Checksum(batch[:len(batch)-trailerLen], castagnoli) != binary.LittleEndian.Uint32(batch[len(batch)-trailerLen:]):
		r.err = ErrBatchChecksum
	}
	if r.err != nil {
		return r.err
	}
	if r.names == nil {
		r.names = NewInterner(defaultInternSlots)
	}
	r.buf = batch[:len(batch)-trailerLen]
	r.base, r.us = int64(binary.LittleEndian.Uint64(batch[2:])), 0
	if header == headerLen {
		r.us = int64(binary.LittleEndian.Uint16(batch[headerLen-2:]))
	}
	r.pos = header
	return nil
}

// CollectedUS is when a record of the current batch came, in Unix microseconds: exact for those of the batch's first
// millisecond, for later ones the millisecond.
func (r *BatchReader) CollectedUS(rec *Record) int64 {
	us := rec.ReceivedAt * 1000
	if rec.ReceivedAt == r.base {
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
	if err := r.next(rec); err != nil {
		*rec = Record{}
		r.err = fmt.Errorf("%w (offset %d of %d)", err, start, len(r.buf))
		return false, r.err
	}
	return true, nil
}

func (r *BatchReader) next(rec *Record) error {
	if len(r.buf)-r.pos < 2 {
		return ErrBatchCorrupt
	}
	tag, flags := r.buf[r.pos], r.buf[r.pos+1]
	r.pos += 2
	kind := Kind(tag & 7)
	if kind < KindPing || kind > KindReceipt || tag > 63 {
		return ErrBatchKind
	}
	d, ok1 := r.varint()
	dev, ok2 := r.bytes(maxDeviceID)
	if !ok1 || !ok2 || len(dev) == 0 {
		return ErrBatchCorrupt
	}
	*rec = Record{Kind: kind, ReceivedAt: r.base + d, Device: r.names.Device(dev)}
	if kind != KindPing {
		p, ok := r.bytes(MaxPayload)
		if !ok || flags != 0 || tag != byte(kind) {
			return ErrBatchCorrupt
		}
		rec.Payload = p
		return nil
	}
	return r.fix(&rec.Fix, rec.ReceivedAt, tag, flags)
}

func (r *BatchReader) fix(f *track.Fix, received int64, tag, flags byte) error {
	f.Source = track.Source(tag >> 3)
	if f.Source > track.SourceOSDwell {
		return ErrBatchKind
	}
	d, ok := r.varint()
	if !ok {
		return ErrBatchCorrupt
	}
	f.ReceivedAt = received
	f.FixedAt = received - d
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
	b := r.buf[r.pos:]
	if len(b) < need {
		return ErrBatchCorrupt
	}
	r.pos += need
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
	if flags&flagFence != 0 {
		s, ok := r.bytes(MaxFence)
		if !ok || len(s) == 0 {
			return ErrBatchCorrupt
		}
		f.Fence = string(s)
	}
	return nil
}

func (r *BatchReader) varint() (int64, bool) {
	v, n := binary.Varint(r.buf[r.pos:])
	if n <= 0 {
		return 0, false
	}
	r.pos += n
	return v, true
}

// bytes reads a length and that many bytes, at most limit; the result is a view with no spare capacity.
func (r *BatchReader) bytes(limit int) ([]byte, bool) {
	n, w := binary.Uvarint(r.buf[r.pos:])
	if w <= 0 || n > uint64(limit) || n > uint64(len(r.buf)-r.pos-w) {
		return nil, false
	}
	from := r.pos + w
	r.pos = from + int(n)
	return r.buf[from:r.pos:r.pos], true
}
