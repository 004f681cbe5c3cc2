// Package trace reads recorded positions: CSV (as GPS loggers and data sets have them), newline-delimited JSON
// pings and GPX, plain or gzip. It streams; memory does not grow with the file.
package trace

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"footfall/track"
)

// Row is one recorded position. Its strings are its own and stay valid after the next call of the reader.
type Row struct {
	Device string
	Stamp  string // the time as it was written
	Fix    track.Fix
	Line   int // in the file, from 1; 0 where lines mean nothing
}

// Reader yields rows until io.EOF. A *RowError costs that row only: the caller may count it and go on.
type Reader interface {
	Next() (Row, error)
}

// A RowError is a row that could not be read.
type RowError struct {
	File   string
	Line   int
	Reason string
}

func (e *RowError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}

// File is an open trace.
type File struct {
	Reader
	closers []io.Closer
}

// Close closes the file.
func (f *File) Close() error {
	var err error
	for _, c := range f.closers {
		if e := c.Close(); e != nil && err == nil {
			err = e
		}
	}
	return err
}

// Open opens a trace; the format is told by the name (.csv, .ndjson, .jsonl, .json, .gpx, .xml, each also with .gz), and when
// that says nothing by the first byte. "-" is standard input.
func Open(path string) (*File, error) {
	f := &File{}
	var r io.Reader = os.Stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("trace: %w", err)
		}
		f.closers = append(f.closers, file)
		r = file
	}
	if err := f.read(path, r); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// read sets the reader for what r holds.
func (f *File) read(path string, r io.Reader) (err error) {
	buf := bufio.NewReaderSize(r, 1<<18)
	if magic, _ := buf.Peek(2); string(magic) == "\x1f\x8b" {
		gz, err := gzip.NewReader(buf)
		if err != nil {
			return fmt.Errorf("trace: %s: %w", path, err)
		}
		f.closers = append([]io.Closer{gz}, f.closers...)
		buf = bufio.NewReaderSize(gz, 1<<18)
	}
	if bom, _ := buf.Peek(3); string(bom) == "\xef\xbb\xbf" {
		_, _ = buf.Discard(3)
	}
	switch format(path, buf) {
	case "csv":
		f.Reader, err = newCSV(path, buf)
	case "ndjson":
		f.Reader = newNDJSON(path, buf)
	case "gpx":
		f.Reader = newGPX(path, buf)
	}
	return err
}

func format(path string, r *bufio.Reader) string {
	switch filepath.Ext(strings.TrimSuffix(strings.ToLower(path), ".gz")) {
	case ".csv":
		return "csv"
	case ".ndjson", ".jsonl", ".json":
		return "ndjson"
	case ".gpx", ".xml":
		return "gpx"
	}
	for n := 1; n <= 512; n++ {
		b, err := r.Peek(n)
		if err != nil {
			break
		}
		switch c := b[n-1]; c {
		case ' ', '\t', '\r', '\n':
			continue
		case '{', '[':
			return "ndjson"
		case '<':
			return "gpx"
		default:
			return "csv"
		}
	}
	return "csv"
}

// maxStamp bounds times, in Unix ms: the year 5138. A float64 that is far larger does not even fit an int64.
const maxStamp = 1e14

// number reads a finite number.
func number(s string, bits int) (float64, error) {
	x, err := strconv.ParseFloat(strings.TrimSpace(s), bits)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return x, nil
}

// ParseStamp reads Unix seconds (with a fraction), Unix milliseconds or RFC 3339, as Unix ms.
func ParseStamp(s string) (int64, error) {
	if x, err := strconv.ParseFloat(s, 64); err == nil {
		if math.IsNaN(x) || math.Abs(x) > maxStamp {
			return 0, fmt.Errorf("time %q is out of range", s)
		}
		if math.Abs(x) < 1e11 {
			x *= 1000
		}
		return int64(math.Round(x)), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, fmt.Errorf("time %q is neither Unix seconds, Unix milliseconds nor RFC 3339", s)
	}
	return t.UnixMilli(), nil
}
