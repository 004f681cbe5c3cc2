package trace

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"footfall/track"
)

// gpxReader reads the track points of a GPX 1.0 or 1.1 file. The device of a point is its track's name, else the
// file's.
type gpxReader struct {
	file   string
	d      *xml.Decoder
	device string
	inTrk  bool
	points int
}

func newGPX(file string, r io.Reader) *gpxReader {
	base := filepath.Base(strings.TrimSuffix(strings.TrimSuffix(file, ".gz"), ".gpx"))
	return &gpxReader{file: file, d: xml.NewDecoder(r), device: base}
}

type gpxPoint struct {
	Lat  string `xml:"lat,attr"`
	Lon  string `xml:"lon,attr"`
	Time string `xml:"time"`
}

func (g *gpxReader) Next() (Row, error) {
	for {
		tok, err := g.d.Token()
		if errors.Is(err, io.EOF) {
			return Row{}, io.EOF
		}
		if err != nil {
			return Row{}, fmt.Errorf("trace: %s: %w", g.file, err)
		}
		if end, ok := tok.(xml.EndElement); ok && end.Name.Local == "trk" {
			g.inTrk = false
		}
		el, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		switch el.Name.Local {
		case "trk":
			g.inTrk = true
		case "name":
			var name string
			if err := g.d.DecodeElement(&name, &el); err != nil {
				return Row{}, fmt.Errorf("trace: %s: %w", g.file, err)
			}
			if name = strings.TrimSpace(name); g.inTrk && name != "" {
				g.device = name
			}
		case "trkpt":
			line, _ := g.d.InputPos()
			var p gpxPoint
			if err := g.d.DecodeElement(&p, &el); err != nil {
				return Row{}, fmt.Errorf("trace: %s: %w", g.file, err)
			}
			return g.row(line, p)
		}
	}
}

func (g *gpxReader) row(line int, p gpxPoint) (Row, error) {
	g.points++
	row := Row{Device: g.device, Stamp: strings.TrimSpace(p.Time), Line: line, Fix: track.Fix{HasPosition: true, SpeedMPS: -1}}
	var err error
	if row.Fix.Lat, err = strconv.ParseFloat(p.Lat, 64); err == nil {
		row.Fix.Lng, err = strconv.ParseFloat(p.Lon, 64)
	}
	if err != nil {
		return row, &RowError{File: g.file, Line: line, Reason: "a track point without a readable lat and lon"}
	}
	if row.Stamp == "" {
		return row, &RowError{File: g.file, Line: line, Reason: "a track point without a time"}
	}
	if row.Fix.FixedAt, err = parseStamp(row.Stamp); err != nil {
		return row, &RowError{File: g.file, Line: line, Reason: err.Error()}
	}
	row.Fix.ReceivedAt = row.Fix.FixedAt
	return row, nil
}
