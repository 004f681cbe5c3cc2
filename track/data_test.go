package track_test

import (
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// The tests in this file replay recorded traces and compare with answers that
// two independent programs computed. They skip where the recordings are absent.

// dataFile finds a file of shared/data in a folder above the test's.
func dataFile(t testing.TB, name string) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		path := filepath.Join(dir, "shared", "data", name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Skipf("shared/data/%s is not on this machine", name)
		}
		dir = up
	}
}

// readCSV calls row with the columns asked for, by header name.
func readCSV(t testing.TB, name string, columns []string, row func(v []string)) {
	file, err := os.Open(dataFile(t, name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	in := csv.NewReader(z)
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		t.Fatal(err)
	}
	at := make([]int, len(columns))
	for i, c := range columns {
		if at[i] = slices.Index(header, c); at[i] < 0 {
			t.Fatalf("%s has no column %s", name, c)
		}
	}
	values := make([]string, len(columns))
	for {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, k := range at {
			values[i] = strings.Clone(rec[k])
		}
		row(values)
	}
}

// sample is one row of a trace.
type sample struct {
	device string
	ts     string // as written
	ms     int64
	at     geo.Point
	acc    float32
}

func readTrace(t testing.TB, name string, accuracy bool) []sample {
	columns := []string{"device", "ts", "lat", "lon"}
	if accuracy {
		columns = append(columns, "accuracy_m")
	}
	var samples []sample
	readCSV(t, name, columns, func(v []string) {
		f := make([]float64, 4)
		for i, text := range v[1:] {
			var err error
			if f[i], err = strconv.ParseFloat(text, 64); err != nil {
				t.Fatal(err)
			}
		}
		samples = append(samples, sample{v[0], v[1], int64(math.Round(f[0] * 1000)), geo.Point{Lat: f[1], Lng: f[2]}, float32(f[3])})
	})
	return samples
}

func loadSet(t testing.TB, name string, o fences.Options) *fences.Set {
	fs, findings, err := fences.Load(dataFile(t, name), o)
	if err != nil {
		t.Fatal(err)
	}
	if fences.HasErrors(findings) {
		t.Fatalf("%s: %v", name, findings[0])
	}
	set, err := fences.NewSet(fs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// event is a line of data/events.
type event struct{ device, fence, ts, kind string }

func (e event) compare(o event) int {
	return cmp.Or(cmp.Compare(e.device, o.device), cmp.Compare(e.ts, o.ts), cmp.Compare(e.kind, o.kind), cmp.Compare(e.fence, o.fence))
}

func readEvents(t testing.TB, name string) []event {
	var events []event
	readCSV(t, name, []string{"device", "fence", "ts", "kind"}, func(v []string) {
		events = append(events, event{v[0], v[1], v[2], v[3]})
	})
	return events
}

// replayPlain puts a trace through a Tracker with plain rules, rows in order of
// time within a device.
func replayPlain(set *fences.Set, samples []sample) []event {
	samples = slices.Clone(samples)
	slices.SortStableFunc(samples, func(a, b sample) int {
		return cmp.Or(cmp.Compare(a.device, b.device), cmp.Compare(a.ms, b.ms))
	})
	tr := track.New(track.PlainRules())
	var res track.Result
	var events []event
	for i, s := range samples {
		f := track.Fix{FixedAt: s.ms, ReceivedAt: s.ms, Lat: s.at.Lat, Lng: s.at.Lng, HasPosition: true, AccuracyM: s.acc, SpeedMPS: -1}
		tr.Apply(set, track.DeviceID(s.device), f, uint64(i+1), &res)
		for k := range res.Transitions {
			tr := &res.Transitions[k]
			events = append(events, event{s.device, string(tr.FenceID), s.ts, tr.Kind.String()})
		}
	}
	return events
}

// sameLines compares as sets of lines, in one order.
func sameLines(t *testing.T, got, want []event) {
	t.Helper()
	got, want = slices.SortedFunc(slices.Values(got), event.compare), slices.SortedFunc(slices.Values(want), event.compare)
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("line %d of %d: got %v, want %v", i, len(want), got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("got %d lines, want %d", len(got), len(want))
	}
}

func TestCabsAtTarget(t *testing.T) {
	samples := readTrace(t, "traces/sf_cabs_2008-06-06.csv.gz", false)
	set := loadSet(t, "fences/us_target.geojson.gz", fences.Options{DefaultRadiusM: 200})
	got := replayPlain(set, samples)

	t.Run("wgs84", func(t *testing.T) {
		want := readEvents(t, "events/sf_cabs_2008-06-06__us_target__200m_wgs84.csv.gz")
		if len(want) != 8097 {
			t.Fatalf("the answers have %d lines", len(want))
		}
		if !slices.Equal(got, want) {
			sameLines(t, got, want)
			t.Error("same lines in another order")
		}
	})

	t.Run("sphere", func(t *testing.T) {
		want := readEvents(t, "events/sf_cabs_2008-06-06__us_target__200m_sphere.csv.gz")
		likeSphere(t, set, samples, got, want)
	})
}

// likeSphere compares with answers computed on a sphere of the mean radius,
// which is up to 1.1 m wrong at 200 m. Every line that differs must hang on a fix
// that near to the edge, and there must be few.
func likeSphere(t *testing.T, set *fences.Set, samples []sample, got, want []event) {
	t.Helper()
	diff := map[event]bool{}
	for _, e := range got {
		diff[e] = true
	}
	for _, e := range want {
		if diff[e] {
			delete(diff, e)
		} else {
			diff[e] = true
		}
	}
	byDevice := map[string][]sample{}
	for _, s := range samples {
		byDevice[s.device] = append(byDevice[s.device], s)
	}
	for e := range diff {
		fence, _ := set.Lookup(fences.ID(e.fence))
		rows := byDevice[e.device]
		slices.SortStableFunc(rows, func(a, b sample) int { return cmp.Compare(a.ms, b.ms) })
		i := slices.IndexFunc(rows, func(s sample) bool { return s.ts == e.ts })
		near := func(i int) bool { return i >= 0 && math.Abs(fence.Shape.EdgeDistanceM(rows[i].at)) <= 1.2 }
		// The fix of the event, or the one before it, which moved the event here.
		if !near(i) && !near(i-1) {
			t.Errorf("%v differs from the sphere's answer and no fix is near the edge", e)
		}
	}
	t.Logf("%d lines differ from the sphere's %d", len(diff), len(want))
	if len(diff) > 2+len(want)/100 {
		t.Errorf("%d lines differ, more than the sphere's error can explain", len(diff))
	}
}

func TestPhonesAtTarget(t *testing.T) {
	samples := readTrace(t, "traces/phones_moving_bayarea.csv.gz", true)
	set := loadSet(t, "fences/us_target.geojson.gz", fences.Options{DefaultRadiusM: 200})
	want := readEvents(t, "events/phones_moving__us_target__200m_sphere.csv.gz")
	if len(want) != 34 {
		t.Fatalf("the answers have %d lines", len(want))
	}
	got := replayPlain(set, samples)
	if len(got) != len(want) {
		t.Errorf("got %d lines, want %d", len(got), len(want))
	}
	likeSphere(t, set, samples, got, want)
}

func TestCabsInNeighbourhoods(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine that computes")
	}
	set := loadSet(t, "fences/sf_neighborhoods.geojson.gz", fences.Options{IDKey: fences.IDKeyIndex, SkipInvalid: true, OGC: true})
	if set.Len() != 34 {
		t.Fatalf("%d areas, want 37 less the 3 invalid ones", set.Len())
	}
	want := readEvents(t, "events/sf_cabs_2008-06-06_first25__sf_neighborhoods.csv.gz")
	if len(want) != 8177 {
		t.Fatalf("the answers have %d lines", len(want))
	}
	first := map[string]bool{}
	var samples []sample
	for _, s := range readTrace(t, "traces/sf_cabs_2008-06-06.csv.gz", false) {
		if first[s.device] = first[s.device] || len(first) < 25; first[s.device] {
			samples = append(samples, s)
		}
	}
	sameLines(t, replayPlain(set, samples), want)
}

// TestStillPhones runs phones that lay still for days, with fences around and
// beside them: by plain rules they come and go all the time, by ours they
// hardly may.
func TestStillPhones(t *testing.T) {
	samples := readTrace(t, "traces/phones_stationary_bayarea.csv.gz", true)
	byDevice := map[string][]sample{}
	for _, s := range samples {
		byDevice[s.device] = append(byDevice[s.device], s)
	}
	var plain, ours int
	for device, trace := range byDevice {
		// Where it lay: the median of its sharp fixes.
		var lats, lngs []float64
		for _, s := range trace {
			if s.acc <= 30 {
				lats, lngs = append(lats, s.at.Lat), append(lngs, s.at.Lng)
			}
		}
		slices.Sort(lats)
		slices.Sort(lngs)
		home := geo.Point{Lat: lats[len(lats)/2], Lng: lngs[len(lngs)/2]}
		var fs []fences.Fence
		for i, off := range []float64{0, 150, 190, 210, 250, 300} {
			c := geo.Point{Lat: home.Lat + off/111_000, Lng: home.Lng}
			shape, err := geo.NewCircle(c, 200)
			if err != nil {
				t.Fatal(err)
			}
			fs = append(fs, fences.Fence{ID: fences.ID(fmt.Sprint("fence-", i)), Shape: shape})
		}
		set, err := fences.NewSet(fs, nil)
		if err != nil {
			t.Fatal(err)
		}
		plain += len(replayPlain(set, trace))
		tr := track.New(track.DefaultRules())
		var res track.Result
		for i, s := range trace {
			f := track.Fix{FixedAt: s.ms, ReceivedAt: s.ms, Lat: s.at.Lat, Lng: s.at.Lng, HasPosition: true, AccuracyM: s.acc, SpeedMPS: -1}
			tr.Apply(set, track.DeviceID(device), f, uint64(i+1), &res)
			for k := range res.Transitions {
				if x := &res.Transitions[k]; !x.Reason.Has(track.Resumed) {
					ours++
				}
			}
		}
	}
	t.Logf("%d phones, %d fixes: %d transitions by plain rules, %d by the default rules", len(byDevice), len(samples), plain, ours)
	if ours*10 > plain {
		t.Errorf("default rules make %d transitions of still phones, plain rules %d: want a tenth at most", ours, plain)
	}
}
