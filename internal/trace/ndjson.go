package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"footfall/track"
)

// maxLine bounds one line of NDJSON.
const maxLine = 1 << 20

// ndjsonReader reads pings in the form of the protocol plus "device": one object a line, or an array of them.
type ndjsonReader struct {
	file    string
	s       *bufio.Scanner
	line    int
	pending []json.RawMessage // what is left of the line's array
	element int               // the one before pending, from 1; 0: the line was one object
}

func newNDJSON(file string, r io.Reader) *ndjsonReader {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	return &ndjsonReader{file: file, s: s}
}

type pingLine struct {
	Device   string   `json:"device"`
	T        *float64 `json:"t"`
	Received *float64 `json:"received"`
	Lat      *float64 `json:"lat"`
	Lon      *float64 `json:"lon"`
	Acc      float32  `json:"acc"`
	Spd      *float32 `json:"spd"`
	Src      string   `json:"src"`
	Mock     bool     `json:"mock"`
	Fence    string   `json:"fence"`
}

func (n *ndjsonReader) Next() (Row, error) {
	ping, err := n.next()
	var row Row
	if err == nil {
		row, err = readPing(ping)
	}
	row.Line = n.line
	if bad, ok := errors.AsType[*badPing](err); ok {
		reason := bad.Error()
		if n.element > 0 {
			reason = fmt.Sprintf("ping %d of the line: %s", n.element, reason)
		}
		return row, &RowError{File: n.file, Line: n.line, Reason: reason}
	}
	return row, err
}

// badPing is what is wrong with one ping.
type badPing struct{ reason string }

func (b *badPing) Error() string { return b.reason }

func bad(format string, v ...any) error { return &badPing{fmt.Sprintf(format, v...)} }

// next returns the next ping unread; it is valid until the one after it.
func (n *ndjsonReader) next() ([]byte, error) {
	for len(n.pending) == 0 {
		if !n.s.Scan() {
			err := n.s.Err()
			switch {
			case err == nil:
				return nil, io.EOF
			case errors.Is(err, bufio.ErrTooLong):
				return nil, fmt.Errorf("trace: %s:%d: a line is longer than %d bytes", n.file, n.line+1, maxLine)
			}
			return nil, fmt.Errorf("trace: %s: %w", n.file, err)
		}
		n.line++
		n.element = 0
		line := bytes.TrimSpace(n.s.Bytes())
		if len(line) == 0 {
			continue
		}
		if line[0] != '[' {
			return line, nil
		}
		if err := json.Unmarshal(line, &n.pending); err != nil {
			n.pending = nil
			return nil, bad("not an array of ping objects: %v", err)
		}
	}
	ping := n.pending[0]
	n.pending = n.pending[1:]
	n.element++
	return ping, nil
}

func readPing(data []byte) (row Row, err error) {
	var p pingLine
	if err := json.Unmarshal(data, &p); err != nil {
		return row, bad("not a ping object: %v", err)
	}
	src, err := track.ParseSource(p.Src)
	switch {
	case err != nil:
		return row, bad("src: %v", err)
	case p.Device == "":
		return row, bad("no device")
	case p.T == nil:
		return row, bad("no t")
	case (p.Lat == nil || p.Lon == nil) && !src.OS():
		return row, bad("no lat, lon")
	}
	if p.Received == nil {
		p.Received = p.T
	}
	if math.Abs(*p.T) > maxStamp || math.Abs(*p.Received) > maxStamp {
		return row, bad("the time is out of range")
	}
	row.Device, row.Stamp = p.Device, strconv.FormatFloat(*p.T, 'f', -1, 64)
	row.Fix = track.Fix{
		FixedAt: int64(*p.T), ReceivedAt: int64(*p.Received), AccuracyM: p.Acc, SpeedMPS: -1, Source: src, Fence: p.Fence, Mock: p.Mock,
	}
	if p.Lat != nil && p.Lon != nil {
		row.Fix.HasPosition, row.Fix.Lat, row.Fix.Lng = true, *p.Lat, *p.Lon
	}
	if p.Spd != nil {
		row.Fix.SpeedMPS = *p.Spd
	}
	return row, nil
}
