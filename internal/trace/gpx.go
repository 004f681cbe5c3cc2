package trace

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"footfall/track"
)

// gpxReader reads the track points of a GPX 1.0 or 1.1 file. The device of a point is its track's name. The first
// track without one goes by the file's name, each further one by that and its number: walk, walk-2, walk-3.
type gpxReader struct {
	file     string
	d        *xml.Decoder
	base     string
	inTrk    bool
	device   string // of this track; "" until it is known
	nameless int    // tracks without a name that have points
}

func newGPX(file string, r io.Reader) *gpxReader {
	base := strings.TrimSuffix(filepath.Base(file), ".gz")
	return &gpxReader{file: file, d: xml.NewDecoder(r), base: cmp.Or(strings.TrimSuffix(base, filepath.Ext(base)), base)}
}

type gpxPoint struct {
	Lat  string `xml:"lat,attr"`
	Lon  string `xml:"lon,attr"`
	Time string `xml:"time"`
}

func (g *gpxReader) Next() (Row, error) {
	fail := func(err error) (Row, error) { return Row{}, fmt.Errorf("trace: %s: %w", g.file, err) }
	for {
		tok, err := g.d.Token()
		if errors.Is(err, io.EOF) {
			return Row{}, io.EOF
		}
		if err != nil {
			return fail(err)
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
			g.inTrk, g.device = true, ""
		case "extensions", "link": // what has a name in there is not the track
			if err := g.d.Skip(); err != nil {
				return fail(err)
			}
		case "name":
			var name string
			if err := g.d.DecodeElement(&name, &el); err != nil {
				return fail(err)
			}
			if name = strings.TrimSpace(name); g.inTrk && name != "" {
				g.device = name
			}
		case "trkpt":
			line, _ := g.d.InputPos()
			var p gpxPoint
			if err := g.d.DecodeElement(&p, &el); err != nil {
				return fail(err)
			}
			if g.device == "" {
				g.device = g.base
				if g.nameless++; g.nameless > 1 {
					g.device += "-" + strconv.Itoa(g.nameless)
				}
			}
			row, err := g.row(p)
			row.Line = line
			if err != nil {
				return row, &RowError{File: g.file, Line: line, Reason: err.Error()}
			}
			return row, nil
		}
	}
}

func (g *gpxReader) row(p gpxPoint) (row Row, err error) {
	row = Row{Device: g.device, Stamp: strings.TrimSpace(p.Time), Fix: track.Fix{HasPosition: true, SpeedMPS: -1}}
	if row.Fix.Lat, err = number(p.Lat, 64); err == nil {
		row.Fix.Lng, err = number(p.Lon, 64)
	}
	if err != nil {
		return row, errors.New("a track point without a readable lat and lon")
	}
	if row.Stamp == "" {
		return row, errors.New("a track point without a time")
	}
	row.Fix.FixedAt, err = ParseStamp(row.Stamp)
	row.Fix.ReceivedAt = row.Fix.FixedAt
	return row, err
}
