package row

import (
	"encoding/binary"
	"math"
	"testing"
)

// TestReader reads back what was appended, and every shorter row as a mistake.
func TestReader(t *testing.T) {
	var b []byte
	b = append(b, 7)
	b = binary.AppendUvarint(b, math.MaxUint64)
	b = binary.AppendVarint(b, math.MinInt64)
	b = AppendString(b, "Київ")
	b = AppendString(b, []byte(nil))
	b = binary.LittleEndian.AppendUint64(b, 1<<63+5)
	b = binary.AppendUvarint(b, 2)
	b = append(b, 1, 2)
	read := func(b []byte) (ok bool) {
		r := NewReader(b)
		good := r.Byte() == 7 && r.Uvarint() == math.MaxUint64 && r.Varint() == math.MinInt64 && r.Text() == "Київ" && r.Text() == "" && r.Uint64() == 1<<63+5 &&
			r.Count() == 2 && r.Byte() == 1 && r.Byte() == 2
		if r.OK() != good {
			t.Errorf("% x: OK is %v where the values are right: %v", b, r.OK(), good)
		}
		return good
	}
	if !read(b) {
		t.Error("what was appended is not what was read")
	}
	for n := range b {
		if read(b[:n]) {
			t.Errorf("%d of %d bytes were read as a whole row", n, len(b))
		}
	}
	r := NewReader(append(b, 0))
	for range 3 {
		r.Byte()
	}
	if r.OK() {
		t.Error("a row with a rest is called read")
	}
	for _, b := range [][]byte{{0x80, 0x80}, {5, 'a'}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}} {
		r := NewReader(b)
		if s := r.Text(); s != "" || r.OK() || r.Varint() != 0 || r.Count() != 0 || r.Byte() != 0 {
			t.Errorf("% x was read as %q", b, s)
		}
	}
}
