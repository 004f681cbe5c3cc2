package inputlog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
)

const (
	headerBytes  = 32
	messageBytes = 24
	// maxData bounds a message: far above what anybody stores, and far below what a damaged length could ask for.
	maxData = 16 << 20
	magic   = "FFLOG\x00\x00\x01"
	// erasedSum is the checksum of a message that was erased: its length and sequence stand, its data is zeros. A message whose
	// checksum is this one by chance has it inverted.
	erasedSum = 0
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendHeader(dst []byte, created int64, first uint64) []byte {
	from := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(created))
	dst = binary.LittleEndian.AppendUint64(dst, first)
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
	return append(dst, 0, 0, 0, 0)
}

func parseHeader(b []byte) (created int64, first uint64, ok bool) {
	ok = string(b[:8]) == magic && binary.LittleEndian.Uint32(b[24:]) == crc32.Checksum(b[:24], castagnoli)
	return int64(binary.LittleEndian.Uint64(b[8:])), binary.LittleEndian.Uint64(b[16:]), ok
}

// message is what stands before a message's data.
type message struct {
	sum  uint32
	size uint32 // of the data
	atUS int64
	seq  uint64
}

func appendMessage(dst []byte, seq uint64, atUS int64, data []byte) []byte {
	from := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(data)))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(atUS))
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	dst = append(dst, data...)
	binary.LittleEndian.PutUint32(dst[from:], checksum(dst[from:]))
	return dst
}

// checksum is that of a message with what stands before it.
func checksum(b []byte) uint32 {
	sum := crc32.Checksum(b[4:], castagnoli)
	if sum == erasedSum {
		return ^sum
	}
	return sum
}

func parseMessage(b []byte) message {
	return message{
		sum:  binary.LittleEndian.Uint32(b),
		size: binary.LittleEndian.Uint32(b[4:]),
		atUS: int64(binary.LittleEndian.Uint64(b[8:])),
		seq:  binary.LittleEndian.Uint64(b[16:]),
	}
}

// errDamaged: what is there is no message with the sequence that it should have.
var errDamaged = errors.New("damaged message")

// scanner reads the messages of a segment one after the other.
type scanner struct {
	file io.ReaderAt
	at   int64  // of the next message
	seq  uint64 // its sequence
	buf  []byte // what was read of the file from bufAt on
	from int64
}

// readAhead is how much a scanner reads at once.
const readAhead = 64 << 10

// next returns the next message, with its bytes as they are in the file, of a segment that is whole up to end. io.EOF says that there are no
// more. The bytes are valid until the next call. A message that was erased has the checksum erasedSum.
func (s *scanner) next(end int64) (m message, raw []byte, err error) {
	if s.at >= end {
		return m, nil, io.EOF
	}
	b, err := s.view(messageBytes, end)
	if err != nil {
		return m, nil, err
	}
	m = parseMessage(b)
	if m.seq != s.seq || m.size > maxData {
		return m, nil, errDamaged
	}
	if raw, err = s.view(messageBytes+int64(m.size), end); err != nil {
		return m, nil, err
	}
	if m.sum != erasedSum && m.sum != checksum(raw) {
		return m, nil, errDamaged
	}
	s.at, s.seq = s.at+int64(len(raw)), s.seq+1
	return m, raw, nil
}

// view returns n bytes from s.at on.
func (s *scanner) view(n, end int64) ([]byte, error) {
	if s.at+n > end {
		return nil, errDamaged
	}
	if s.at < s.from || s.at+n > s.from+int64(len(s.buf)) {
		want := min(max(n, readAhead), end-s.at)
		if int64(cap(s.buf)) < want {
			s.buf = make([]byte, want)
		}
		s.buf, s.from = s.buf[:want], s.at
		if _, err := s.file.ReadAt(s.buf, s.at); err != nil {
			s.buf = s.buf[:0]
			return nil, err
		}
	}
	return s.buf[s.at-s.from:][:n], nil
}

// check reads a whole segment and returns up to where it holds whole messages, and the sequence after the last of them.
func check(f *os.File, g *segment) (whole int64, next uint64, err error) {
	s := scanner{file: f, at: headerBytes, seq: g.first}
	for {
		switch _, _, err := s.next(g.size); {
		case errors.Is(err, io.EOF), errors.Is(err, errDamaged):
			return s.at, s.seq, nil
		case err != nil:
			return 0, 0, err
		}
	}
}

// erase overwrites the messages of a segment up to a sequence.
func erase(f *os.File, g *segment, through uint64) error {
	s := scanner{file: f, at: headerBytes, seq: g.first}
	for s.seq <= through {
		at := s.at
		m, raw, err := s.next(g.size)
		if err != nil {
			return err
		}
		if m.sum == erasedSum {
			continue
		}
		clear(raw[:4])
		clear(raw[messageBytes:])
		if _, err := f.WriteAt(raw, at); err != nil {
			return err
		}
	}
	return nil
}
