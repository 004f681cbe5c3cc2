package trace

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"footfall/track"
)

// readAll reads a trace to its end. Rows that cannot be read come as "line: reason"; the error is what ended it.
func readAll(t testing.TB, name string, data []byte) (rows []Row, bad []string, err error) {
	t.Helper()
	f := new(File)
	if err := f.read(name, bytes.NewReader(data)); err != nil {
		return nil, nil, err
	}
	defer f.Close()
	for calls := 0; ; calls++ {
		if calls > len(data)+1 {
			t.Fatalf("%s: %d bytes give more than %d rows", name, len(data), calls)
		}
		row, err := f.Next()
		if re, ok := errors.AsType[*RowError](err); ok {
			if re.File != name || re.Line != row.Line {
				t.Errorf("%s: the error says %s:%d, the row line %d", name, re.File, re.Line, row.Line)
			}
			bad = append(bad, fmt.Sprintf("%d: %s", re.Line, re.Reason))
			continue
		}
		if errors.Is(err, io.EOF) {
			return rows, bad, nil
		}
		if err != nil {
			return rows, bad, err
		}
		rows = append(rows, row)
	}
}

func at(device, stamp string, ms int64, line int, lat, lng float64) Row {
	return Row{Device: device, Stamp: stamp, Line: line, Fix: track.Fix{HasPosition: true, FixedAt: ms, ReceivedAt: ms, Lat: lat, Lng: lng, SpeedMPS: -1}}
}

func with(r Row, change func(*track.Fix)) Row {
	change(&r.Fix)
	return r
}

const gpxHead = `<?xml version="1.0"?><gpx version="1.1"><metadata><name>my walks</name></metadata>` + "\n"

func gpxPt(lat, lon, time string) string {
	return fmt.Sprintf("<trkpt lat=%q lon=%q><time>%s</time></trkpt>\n", lat, lon, time)
}

// TestFormats reads each format as it is met in the wild, and as nobody meant it. A row that cannot be read costs
// that row; the ones after it are still there.
func TestFormats(t *testing.T) {
	pt := gpxPt("50.5", "30.5", "2026-11-28T10:00:00Z")
	const stamp, ms = "2026-11-28T10:00:00Z", 1795860000000
	for _, tt := range []struct {
		name, file, text string
		rows             []Row
		bad              []string // line and part of the reason
		err              string
	}{
		{
			name: "CSV", file: "a.csv", text: "device,ts,lat,lon\nd,1700000000.5,50.5,30.5\n",
			rows: []Row{at("d", "1700000000.5", 1700000000500, 2, 50.5, 30.5)},
		}, {
			name: "CSV other names and order, milliseconds, all columns", file: "a.csv",
			text: "Longitude, LATITUDE ,speed_mps,accuracy,received,time,vehicle,colour\r\n30.5,50.5,1.5,8,1700000001000,1700000000000, cab 1 ,red\r\n",
			rows: []Row{with(at("cab 1", "1700000000000", 1700000000000, 2, 50.5, 30.5), func(f *track.Fix) {
				f.ReceivedAt, f.SpeedMPS, f.AccuracyM = 1700000001000, 1.5, 8
			})},
		}, {
			name: "CSV empty optional fields", file: "a.csv", text: "device,ts,lat,lon,accuracy_m,speed_mps,received_ts\nd,1700000000,1,2,,,\n",
			rows: []Row{at("d", "1700000000", 1700000000000, 2, 1, 2)},
		}, {
			name: "CSV byte order mark and quotes", file: "a.csv", text: "\xef\xbb\xbf\"device\",ts,lat,lon\n\"a,\"\"b\"\"\",1700000000,1,2\n",
			rows: []Row{at(`a,"b"`, "1700000000", 1700000000000, 2, 1, 2)},
		}, {
			name: "CSV bad fields", file: "a.csv",
			text: "device,ts,lat,lon,acc\n,1,1,1,1\nd,soon,1,1,1\nd,NaN,1,1,1\nd,1e15,1,1,1\nd,1,x,1,1\nd,1,1,NaN,1\nd,1,Inf,1,1\nd,1,1,1,1e60\nd,1,1,1,?\nd,1\n\nd,1,2,3,4\n",
			rows: []Row{with(at("d", "1", 1000, 13, 2, 3), func(f *track.Fix) { f.AccuracyM = 4 })},
			bad: []string{"2: no device", `3: time "soon"`, `4: time "NaN"`, `5: time "1e15" is out of range`, `6: lat "x"`, `7: lon "NaN"`,
				`8: lat "Inf"`, `9: accuracy "1e60"`, `10: accuracy "?"`, "11: 2 fields where 5 are needed"},
		}, {
			name: "CSV stray quote", file: "a.csv", text: "device,ts,lat,lon\na\"b,1,1,1\n\"c\"d,1,1,1\nd,1,2,3\n",
			rows: []Row{at("d", "1", 1000, 4, 2, 3)},
			bad:  []string{`2: bare "`, `3: extraneous or missing "`},
		}, {
			name: "CSV quote never closed", file: "a.csv", text: "device,ts,lat,lon\nd,1,2,3\n\"e,100,50,30",
			rows: []Row{at("d", "1", 1000, 2, 2, 3)},
			bad:  []string{`3: extraneous or missing "`},
		}, {
			name: "CSV quote never closed over many lines", file: "a.csv", text: "device,ts,lat,lon\n\"e,100,50,30\nf,1,2,3\ng,1,2,3\n",
			bad: []string{`2: extraneous or missing "`},
		},
		{name: "CSV quote in the header", file: "a.csv", text: "\"device,ts,lat,lon", err: "a.csv: header"},
		{name: "CSV empty", file: "a.csv", err: "needs a header line"},
		{name: "CSV missing column", file: "a.csv", text: "device,ts,lat,x\n", err: "no column for lon (known names: lon, lng, long, longitude); the header has: device, ts, lat, x"},
		{
			name: "NDJSON", file: "a.ndjson",
			text: `{"device":"d","t":1700000000000,"lat":50.5,"lon":30.5}` + "\r\n \t\r\n" +
				`{"device":"e","t":2,"received":3,"lat":1,"lon":2,"acc":5,"spd":0,"src":"os_enter","fence":"f","mock":true,"later":1}`,
			rows: []Row{at("d", "1700000000000", 1700000000000, 1, 50.5, 30.5), with(at("e", "2", 2, 3, 1, 2), func(f *track.Fix) {
				f.ReceivedAt, f.AccuracyM, f.SpeedMPS, f.Source, f.Fence, f.Mock = 3, 5, 0, track.SourceOSEnter, "f", true
			})},
		}, {
			name: "NDJSON from the phone's system without a position", file: "a.ndjson", text: `{"device":"d","t":1,"src":"os_exit","fence":"f"}`,
			rows: []Row{{Device: "d", Stamp: "1", Line: 1, Fix: track.Fix{FixedAt: 1, ReceivedAt: 1, SpeedMPS: -1, Source: track.SourceOSExit, Fence: "f"}}},
		}, {
			name: "NDJSON arrays", file: "a.jsonl",
			text: `[{"device":"d","t":1,"lat":1,"lon":2}, {"device":"d","lat":1,"lon":2}, 7, {"device":"e","t":2,"lat":1,"lon":2}]` + "\n[]\n[[]]\n[{]\n" + `{"device":"f","t":3,"lat":1,"lon":2}`,
			rows: []Row{at("d", "1", 1, 1, 1, 2), at("e", "2", 2, 1, 1, 2), at("f", "3", 3, 5, 1, 2)},
			bad:  []string{"1: ping 2 of the line: no t", "1: ping 3 of the line: not a ping object", "3: ping 1 of the line: not a ping object", "4: not an array of ping objects"},
		}, {
			name: "NDJSON bad fields", file: "a.ndjson",
			text: "{\n" + `{"t":1,"lat":1,"lon":2}` + "\n" + `{"device":"d","t":1,"lat":1}` + "\n" + `{"device":"d","t":1e300,"lat":1,"lon":2}` + "\n" +
				`{"device":"d","t":1,"lat":1,"lon":2,"src":"guess"}` + "\n" + `{"device":"d","t":1,"lat":1,"lon":2,"acc":1e60}` + "\nnull\n" + `{"device":"d","t":1,"lat":1,"lon":2}{}`,
			bad: []string{"1: not a ping object", "2: no device", "3: no lat, lon", "4: the time is out of range", "5: src", "6: not a ping object", "7: no device", "8: not a ping object"},
		},
		{name: "NDJSON line too long", file: "a.ndjson", text: "\n{" + strings.Repeat(" ", maxLine), err: "a.ndjson:2: a line is longer than"},
		{name: "NDJSON empty", file: "a.ndjson"},
		{
			name: "GPX", file: "dir/walk.gpx", text: gpxHead + `<wpt lat="1" lon="2"><name>home</name></wpt><trk><name> d </name><trkseg>` + "\n" + pt + "</trkseg></trk></gpx>",
			rows: []Row{at("d", stamp, ms, 3, 50.5, 30.5)},
		}, {
			name: "GPX tracks without a name", file: "dir/walk.GPX.gz",
			text: "<gpx><trk>" + pt + "</trk><trk><name>bus</name>" + pt + "</trk><trk><name>  </name>" + pt + pt + "</trk><trk></trk><trk>" + pt + "</trk></gpx>",
			rows: []Row{at("walk", stamp, ms, 1, 50.5, 30.5), at("bus", stamp, ms, 2, 50.5, 30.5), at("walk-2", stamp, ms, 3, 50.5, 30.5),
				at("walk-2", stamp, ms, 4, 50.5, 30.5), at("walk-3", stamp, ms, 5, 50.5, 30.5)},
		}, {
			name: "GPX names that are not the track's", file: "w.gpx",
			text: "<gpx><trk><name>d</name><link><name>site</name></link><extensions><x><name>device</name></x></extensions>" + pt + "</trk></gpx>",
			rows: []Row{at("d", stamp, ms, 1, 50.5, 30.5)},
		}, {
			name: "GPX bad points", file: "w.gpx",
			text: "<gpx><trk>" + gpxPt("north", "30", stamp) + gpxPt("50", "NaN", stamp) + gpxPt("50", "30", "") + gpxPt("50", "30", "noon") + "<trkpt/>" + pt + "</trk></gpx>",
			rows: []Row{at("w", stamp, ms, 5, 50.5, 30.5)},
			bad:  []string{"1: a track point without a readable lat", "2: a track point without a readable lat", "3: a track point without a time", `4: time "noon"`, "5: a track point without a readable"},
		}, {
			name: "GPX cut off", file: "w.gpx", text: "<gpx><trk>" + pt + "<trkpt lat=",
			rows: []Row{at("w", stamp, ms, 1, 50.5, 30.5)}, err: "w.gpx: XML syntax error",
		},
		{name: "told by the first byte: JSON", file: "-", text: "\n\n {\"device\":\"d\",\"t\":1,\"lat\":1,\"lon\":2}", rows: []Row{at("d", "1", 1, 3, 1, 2)}},
		{name: "told by the first byte: GPX", file: "-", text: " <gpx><trk>" + pt + "</trk></gpx>", rows: []Row{at("-", stamp, ms, 1, 50.5, 30.5)}},
		{name: "told by the first byte: CSV", file: "-", text: "id,ts,lat,lon\nd,1,1,2\n", rows: []Row{at("d", "1", 1000, 2, 1, 2)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for form, data := range map[string][]byte{"plain": []byte(tt.text), "gzip": zipped(t, tt.text)} {
				rows, bad, err := readAll(t, tt.file, data)
				if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%s: ended with %v, want %q", form, err, tt.err)
				}
				if diff := cmp.Diff(tt.rows, rows); diff != "" {
					t.Errorf("%s: rows (-want +got):\n%s", form, diff)
				}
				if !slices.EqualFunc(bad, tt.bad, strings.HasPrefix) {
					t.Errorf("%s: unreadable rows\n  %s\nwant\n  %s", form, strings.Join(bad, "\n  "), strings.Join(tt.bad, "\n  "))
				}
			}
		})
	}
}

func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestCutGzip: what was read before the damage is there, and the damage is said.
func TestCutGzip(t *testing.T) {
	var b strings.Builder
	b.WriteString("device,ts,lat,lon\n")
	for i := range 20_000 {
		fmt.Fprintf(&b, "d%d,%d,1,2\n", i*7919%20_000, i)
	}
	whole := zipped(t, b.String())
	rows, _, err := readAll(t, "a.csv.gz", whole[:len(whole)/2])
	if len(rows) < 1000 || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "a.csv.gz") {
		t.Errorf("%d rows, error %v", len(rows), err)
	}
	if _, _, err := readAll(t, "a.csv.gz", whole[:5]); err == nil {
		t.Error("half a gzip header is no error")
	}
}

// TestRowsKeepTheirStrings: the readers reuse their buffers; a row must not.
func TestRowsKeepTheirStrings(t *testing.T) {
	for name, text := range map[string]string{
		"a.csv":    "device,ts,lat,lon\naaaa,1111,1,2\nbbbb,2222,1,2\n",
		"a.ndjson": `{"device":"aaaa","t":1111,"lat":1,"lon":2}` + "\n" + `{"device":"bbbb","t":2222,"lat":1,"lon":2}`,
	} {
		rows, bad, err := readAll(t, name, []byte(text))
		if err != nil || len(bad) > 0 || len(rows) != 2 || rows[0].Device != "aaaa" || rows[0].Stamp != "1111" || rows[1].Device != "bbbb" {
			t.Errorf("%s: %+v, %v, %v", name, rows, bad, err)
		}
	}
}

func TestOpen(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none.csv")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	path := filepath.Join(t.TempDir(), "a.csv.gz")
	if err := os.WriteFile(path, zipped(t, "device,ts,lat,lon\nd,1,2,3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if row, err := f.Next(); err != nil || row.Device != "d" {
		t.Errorf("%+v, %v", row, err)
	}
	if _, err := f.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// FuzzRead feeds anything to each reader: it must end, and what it gives must be a position.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"device,ts,lat,lon\nd,1700000000,50.5,30.5\n\"e,100,50,30", "id,time,latitude,lng,acc\na\"b,1,2,3,4\n\"\"\n", "device,ts,lat,lon,received\n\"a\nb\",1e13,1,2,-1e13",
		`{"device":"d","t":1,"lat":1,"lon":2}`, `[{"device":"d","t":1,"src":"os_enter"},null,[]]` + "\n[", `{"device":"d","t":1e999}`,
		gpxHead + "<trk><name>a</name>" + gpxPt("1", "2", "2026-11-28T10:00:00Z") + "</trk><trk>" + gpxPt("1", "2", "0001-01-01T00:00:00Z"),
		"<trk/><trkpt lat='1e308' lon='-0'><time>5</time></trkpt>", "\xef\xbb\xbf", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 || bytes.HasPrefix(data, []byte("\x1f\x8b")) {
			return // unpacking is the standard library's, and a bomb has more rows than bytes
		}
		for _, name := range []string{"a.csv", "a.ndjson", "a.gpx", "-"} {
			rows, _, _ := readAll(t, name, data)
			for _, r := range rows {
				if r.Device == "" || r.Line < 1 || r.Stamp == "" {
					t.Fatalf("%s: row %+v", name, r)
				}
				for _, x := range []float64{r.Fix.Lat, r.Fix.Lng, float64(r.Fix.AccuracyM), float64(r.Fix.SpeedMPS)} {
					if math.IsNaN(x) || math.IsInf(x, 0) {
						t.Fatalf("%s: row %+v is not finite", name, r)
					}
				}
				if !r.Fix.HasPosition && !r.Fix.Source.OS() {
					t.Fatalf("%s: row %+v has no position", name, r)
				}
			}
		}
	})
}
