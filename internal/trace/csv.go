package trace

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
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
	line, _ := c.r.FieldPos(0)
	fail := func(format string, v ...any) (Row, error) {
		return Row{Line: line}, &RowError{File: c.file, Line: line, Reason: fmt.Sprintf(format, v...)}
	}
	if pe, ok := errors.AsType[*csv.ParseError](err); ok {
		line = pe.Line
		return fail("%v", pe.Err)
	}
	if err != nil {
		return Row{}, fmt.Errorf("trace: %s: %w", c.file, err)
	}
	if len(rec) < c.want {
		return fail("%d fields where %d are needed", len(rec), c.want)
	}
	row := Row{
		Line: line, Device: strings.Clone(strings.TrimSpace(rec[c.col["device"]])), Stamp: strings.Clone(strings.TrimSpace(rec[c.col["ts"]])),
		Fix: track.Fix{HasPosition: true, SpeedMPS: -1},
	}
	if row.Device == "" {
		return fail("no device")
	}
	if row.Fix.FixedAt, err = parseStamp(row.Stamp); err != nil {
		return fail("%v", err)
	}
	if row.Fix.Lat, err = strconv.ParseFloat(strings.TrimSpace(rec[c.col["lat"]]), 64); err != nil {
		return fail("lat %q is not a number", rec[c.col["lat"]])
	}
	if row.Fix.Lng, err = strconv.ParseFloat(strings.TrimSpace(rec[c.col["lon"]]), 64); err != nil {
		return fail("lon %q is not a number", rec[c.col["lon"]])
	}
	row.Fix.ReceivedAt = row.Fix.FixedAt
	if i, ok := c.col["received"]; ok && strings.TrimSpace(rec[i]) != "" {
		if row.Fix.ReceivedAt, err = parseStamp(strings.TrimSpace(rec[i])); err != nil {
			return fail("received: %v", err)
		}
	}
	for field, dst := range map[string]*float32{"acc": &row.Fix.AccuracyM, "speed": &row.Fix.SpeedMPS} {
		i, ok := c.col[field]
		if !ok || strings.TrimSpace(rec[i]) == "" {
			continue
		}
		x, err := strconv.ParseFloat(strings.TrimSpace(rec[i]), 32)
		if err != nil {
			return fail("%s %q is not a number", field, rec[i])
		}
		*dst = float32(x)
	}
	return row, nil
}
