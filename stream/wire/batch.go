package wire

import "footfall/track"

// Kind is what a record of the log holds.
type Kind uint8

// The kinds of records. The values are stored: they never change.
const (
	KindPing    Kind = 1
	KindEvent   Kind = 2
	KindDevice  Kind = 3
	KindReceipt Kind = 4
)

// Record is one entry of a batch.
type Record struct {
	Kind       Kind
	Device     track.DeviceID
	Fix        track.Fix // KindPing only
	ReceivedAt int64     // Unix ms; for a ping equal to Fix.ReceivedAt
	Payload    []byte    // the other kinds: the JSON as it came; a view into the batch when read
}

// AppendRecord appends r to the batch dst (empty: begins one) and returns it grown. Finish with SealBatch.
func AppendRecord(dst []byte, r *Record) []byte { return dst }

// SealBatch appends the checksum; the result is what is stored.
func SealBatch(dst []byte) []byte { return dst }

// Interner gives the same string for the same device bytes without allocating. Single goroutine.
type Interner struct{}

// NewInterner returns an interner that remembers up to slots names (rounded up to a power of two).
func NewInterner(slots int) *Interner { return &Interner{} }

// BatchReader reads a sealed batch. The zero value is ready for Reset.
type BatchReader struct{}

// NewBatchReader returns a reader that takes its device ids from names (nil: a small one of its own).
func NewBatchReader(names *Interner) *BatchReader { return &BatchReader{} }

// Reset starts reading batch after checking version and checksum. The reader keeps batch until the next Reset.
func (r *BatchReader) Reset(batch []byte) error { return nil }

// Next reads one record; ok is false at the end.
func (r *BatchReader) Next(rec *Record) (ok bool, err error) { return false, nil }
