// Package row writes and reads what stored rows are made of: numbers as varints, and texts with their length in front.
package row

import "encoding/binary"

// AppendString appends the length of s as a varint, and s.
func AppendString[T string | []byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// Reader takes a row apart, from its beginning. After a mistake in the row it returns zeroes, and OK is false. The texts that it
// returns are parts of the one copy that NewReader makes, so a row costs one allocation however many texts it has. The zero value
// reads an empty row.
type Reader struct {
	text string
	bad  bool
}

// NewReader reads a copy of b.
func NewReader(b []byte) Reader { return Reader{text: string(b)} }

// OK reports whether the whole row has been read, without a mistake.
func (r *Reader) OK() bool { return !r.bad && r.text == "" }

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.text == "" {
		r.fail()
		return 0
	}
	c := r.text[0]
	r.text = r.text[1:]
	return c
}

// Uvarint reads what binary.AppendUvarint wrote.
func (r *Reader) Uvarint() uint64 {
	var n uint64
	for i := 0; i < len(r.text) && i < binary.MaxVarintLen64; i++ {
		c := r.text[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.text = r.text[i+1:]
			return n
		}
	}
	r.fail()
	return 0
}

// Varint reads what binary.AppendVarint wrote.
func (r *Reader) Varint() int64 {
	u := r.Uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// Uint64 reads eight bytes, the least first.
func (r *Reader) Uint64() uint64 {
	if len(r.text) < 8 {
		r.fail()
		return 0
	}
	var n uint64
	for i := range 8 {
		n |= uint64(r.text[i]) << (8 * i)
	}
	r.text = r.text[8:]
	return n
}

// Text reads what AppendString wrote.
func (r *Reader) Text() string {
	n := r.Uvarint()
	if n > uint64(len(r.text)) {
		r.fail()
		return ""
	}
	s := r.text[:n]
	r.text = r.text[n:]
	return s
}

// Count reads a number of things that take at least a byte each, and so bounds what a damaged row can make its reader allocate.
func (r *Reader) Count() int {
	n := r.Uvarint()
	if n > uint64(len(r.text)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *Reader) fail() { r.bad, r.text = true, "" }
