package inputlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Message is one stored message.
type Message struct {
	Seq  uint64
	AtUS int64 // when it was stored, Unix microseconds
	Data []byte
}

// Reader reads a log from a sequence on, beside appends. Single goroutine; Close ends it.
type Reader struct {
	log  *Log
	seg  *segment // nil: none is open
	file *os.File
	scan scanner
	seq  uint64 // wanted next
}

// Read returns a reader of the messages from a sequence on, or from the first that the log holds.
func (l *Log) Read(from uint64) *Reader { return &Reader{log: l, seq: max(from, 1)} }

// Next returns the next message, whose data belongs to the caller. io.EOF says that there is none yet: Next may be called again
// later. Messages that have left the log, or cannot be read, are passed over.
func (r *Reader) Next() (Message, error) {
	for {
		end, last, err := r.place()
		if err != nil {
			return Message{}, err
		}
		m, raw, err := r.scan.next(end)
		switch {
		case err == nil && (m.seq < r.seq || m.sum == erasedSum):
			r.seq = max(r.seq, m.seq+1)
		case err == nil:
			r.seq = m.seq + 1
			return Message{Seq: m.seq, AtUS: m.atUS, Data: bytes.Clone(raw[messageBytes:])}, nil
		case errors.Is(err, io.EOF) && last:
			return Message{}, io.EOF
		case errors.Is(err, io.EOF):
			if err := r.skip(); err != nil {
				return Message{}, err
			}
		case errors.Is(err, errDamaged):
			r.log.all.cfg.Logger.Error("a stored message is damaged; what follows it in its file is passed over", "file", r.seg.path, "seq", r.scan.seq)
			if err := r.skip(); err != nil {
				return Message{}, err
			}
		default:
			return Message{}, err
		}
	}
}

// place opens the segment that holds r.seq, unless it is open, and returns up to where it can be read and whether it is
// the last one.
func (r *Reader) place() (end int64, last bool, err error) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, false, ErrClosed
	}
	r.seq = max(r.seq, l.first)
	if r.seg == nil {
		i := 0
		for i+1 < len(l.segs) && l.segs[i+1].first <= r.seq {
			i++
		}
		g := l.segs[i]
		if r.file, err = os.Open(g.path); err != nil {
			return 0, false, err
		}
		r.seg, r.scan = g, scanner{file: r.file, at: headerBytes, seq: g.first, buf: r.scan.buf[:0]}
	}
	return r.seg.size, r.seg == l.last(), nil
}

// skip goes on with the segment after this one.
func (r *Reader) skip() error {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.seg == l.last() {
		if err := l.begin(); err != nil {
			return err
		}
	}
	for _, g := range l.segs {
		if g.first > r.seg.first {
			r.seq = max(r.seq, g.first)
			break
		}
	}
	return r.Close()
}

// Close ends reading.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file, r.seg = nil, nil
	return f.Close()
}

// Scan calls fn for every message of partition p of the logs in dir that nobody has open, however old it is, until fn returns an
// error. It changes nothing on the disk. The data is good until fn returns. What is damaged ends its segment. The error is
// fs.ErrNotExist when there is no such log.
func Scan(dir string, p int, fn func(Message) error) error {
	dir = filepath.Join(dir, partitionName(p))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries { // by name, and so by sequence
		if filepath.Ext(e.Name()) != segmentExt {
			continue
		}
		if err := scanSegment(filepath.Join(dir, e.Name()), fn); err != nil {
			return err
		}
	}
	return nil
}

func scanSegment(path string, fn func(Message) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	head := make([]byte, headerBytes)
	if _, err := f.ReadAt(head, 0); errors.Is(err, io.EOF) {
		return nil // made in the moment of a crash
	} else if err != nil {
		return err
	}
	_, first, ok := parseHeader(head)
	if !ok {
		return nil
	}
	for s := (scanner{file: f, at: headerBytes, seq: first}); ; {
		m, raw, err := s.next(info.Size())
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errDamaged):
			return nil
		case err != nil:
			return fmt.Errorf("inputlog: %s: %w", path, err)
		case m.sum == erasedSum:
			continue
		}
		if err := fn(Message{Seq: m.seq, AtUS: m.atUS, Data: raw[messageBytes:]}); err != nil {
			return err
		}
	}
}
