package trace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"footfall/track"
)

// maxLine bounds one line of NDJSON.
const maxLine = 1 << 20

// ndjsonReader reads one ping object a line, in the form of the protocol plus "device".
type ndjsonReader struct {
	file string
	s    *bufio.Scanner
	line int
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
	for n.s.Scan() {
		n.line++
		if len(n.s.Bytes()) == 0 {
			continue
		}
		var p pingLine
		fail := func(format string, v ...any) (Row, error) {
			return Row{Line: n.line}, &RowError{File: n.file, Line: n.line, Reason: fmt.Sprintf(format, v...)}
		}
		if err := json.Unmarshal(n.s.Bytes(), &p); err != nil {
			return fail("not a ping object: %v", err)
		}
		src, err := track.ParseSource(p.Src)
		switch {
		case err != nil:
			return fail("src: %v", err)
		case p.Device == "":
			return fail("no device")
		case p.T == nil:
			return fail("no t")
		case (p.Lat == nil || p.Lon == nil) && !src.OS():
			return fail("no lat, lon")
		}
		row := Row{Device: p.Device, Line: n.line, Stamp: strconv.FormatFloat(*p.T, 'f', -1, 64)}
		row.Fix = track.Fix{FixedAt: int64(*p.T), AccuracyM: p.Acc, SpeedMPS: -1, Source: src, Fence: p.Fence, Mock: p.Mock}
		row.Fix.ReceivedAt = row.Fix.FixedAt
		if p.Received != nil {
			row.Fix.ReceivedAt = int64(*p.Received)
		}
		if p.Lat != nil && p.Lon != nil {
			row.Fix.HasPosition, row.Fix.Lat, row.Fix.Lng = true, *p.Lat, *p.Lon
		}
		if p.Spd != nil {
			row.Fix.SpeedMPS = *p.Spd
		}
		return row, nil
	}
	if err := n.s.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return Row{}, fmt.Errorf("trace: %s:%d: a line is longer than %d bytes", n.file, n.line+1, maxLine)
		}
		return Row{}, fmt.Errorf("trace: %s: %w", n.file, err)
	}
	return Row{}, io.EOF
}
