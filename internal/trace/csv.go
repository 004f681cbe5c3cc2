package trace

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"footfall/track"
)

// columns lists the names under which a column is known, in lower case.
var columns = []struct {
	field    string
	names    []string
	required bool
}{
	{"device", []string{"device", "device_id", "id", "vehicle"}, true},
	{"ts", []string{"ts", "timestamp", "time", "fix_time"}, true},
	{"lat", []string{"lat", "latitude"}, true},
	{"lon", []string{"lon", "lng", "long", "longitude"}, true},
	{"acc", []string{"accuracy_m", "accuracy", "acc"}, false},
	{"received", []string{"received_ts", "received"}, false},
	{"speed", []string{"speed_mps"}, false},
}

type csvReader struct {
	file string
	r    *csv.Reader
	col  map[string]int
	want int
}

func newCSV(file string, r io.Reader) (*csvReader, error) {
	c := &csvReader{file: file, r: csv.NewReader(r), col: map[string]int{}}
	c.r.ReuseRecord = true
	c.r.FieldsPerRecord = -1
	header, err := c.r.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("trace: %s is empty; it needs a header line such as device,ts,lat,lon,accuracy_m", file)
	}
	if err != nil {
		return nil, fmt.Errorf("trace: %s: header: %w", file, err)
	}
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		for _, k := range columns {
			for _, known := range k.names {
				if _, taken := c.col[k.field]; name == known && !taken {
					c.col[k.field] = i
				}
			}
		}
	}
	for _, k := range columns {
		i, ok := c.col[k.field]
		if !ok && k.required {
			return nil, fmt.Errorf("trace: %s:1: no column for %s (known names: %s); the header has: %s",
				file, k.field, strings.Join(k.names, ", "), strings.Join(header, ", "))
		}
		if ok {
			c.want = max(c.want, i+1)
		}
	}
	return c, nil
}

func (c *csvReader) Next() (Row, error) {
	rec, err := c.r.Read()
	if errors.Is(err, io.EOF) {
		return Row{}, io.EOF
	}
	if pe, ok := errors.AsType[*csv.ParseError](err); ok {
		// The place where the record began: a quote that is never closed is noticed at the end of the file. There
		// may be no field, so FieldPos has nothing to say.
		return Row{Line: pe.StartLine}, &RowError{File: c.file, Line: pe.StartLine, Reason: pe.Err.Error()}
	}
	if err != nil {
		return Row{}, fmt.Errorf("trace: %s: %w", c.file, err)
	}
	line, _ := c.r.FieldPos(0)
	row, err := c.row(rec)
	row.Line = line
	if err != nil {
		return row, &RowError{File: c.file, Line: line, Reason: err.Error()}
	}
	return row, nil
}

// row reads one record.
func (c *csvReader) row(rec []string) (row Row, err error) {
	if len(rec) < c.want {
		return row, fmt.Errorf("%d fields where %d are needed", len(rec), c.want)
	}
	// "" for a column that is not there. The fields share the record's memory, which the next Read reuses.
	get := func(field string) string {
		if i, ok := c.col[field]; ok {
			return strings.TrimSpace(rec[i])
		}
		return ""
	}
	row.Device, row.Stamp = strings.Clone(get("device")), strings.Clone(get("ts"))
	row.Fix = track.Fix{HasPosition: true, SpeedMPS: -1}
	if row.Device == "" {
		return row, errors.New("no device")
	}
	if row.Fix.FixedAt, err = ParseStamp(row.Stamp); err != nil {
		return row, err
	}
	if row.Fix.Lat, err = number(get("lat"), 64); err != nil {
		return row, fmt.Errorf("lat %w", err)
	}
	if row.Fix.Lng, err = number(get("lon"), 64); err != nil {
		return row, fmt.Errorf("lon %w", err)
	}
	row.Fix.ReceivedAt = row.Fix.FixedAt
	if s := get("received"); s != "" {
		if row.Fix.ReceivedAt, err = ParseStamp(s); err != nil {
			return row, fmt.Errorf("received: %w", err)
		}
	}
	if row.Fix.AccuracyM, err = optional(get("acc"), row.Fix.AccuracyM); err != nil {
		return row, fmt.Errorf("accuracy %w", err)
	}
	if row.Fix.SpeedMPS, err = optional(get("speed"), row.Fix.SpeedMPS); err != nil {
		return row, fmt.Errorf("speed %w", err)
	}
	return row, nil
}

// optional reads a number; an empty field is what it was.
func optional(s string, was float32) (float32, error) {
	if s == "" {
		return was, nil
	}
	x, err := number(s, 32)
	return float32(x), err
}
