package track_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// rowsOf returns rows of every sort: unseen positions, quarantines, visits in
// every state.
func rowsOf(t testing.TB, seed uint64) [][]byte {
	t.Helper()
	w := newTown(rand.New(rand.NewPCG(seed, 1)))
	rules := track.DefaultRules()
	tr := track.New(rules)
	var res track.Result
	var rows [][]byte
	for pos := uint64(1); pos <= 400; pos++ {
		id, f := w.input()
		tr.Apply(w.set, id, f, pos, &res)
		if row, ok := tr.Encode(nil, id); ok && pos%7 == 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

func TestRestoreRefusesDamage(t *testing.T) {
	tr := track.New(track.DefaultRules())
	for _, row := range rowsOf(t, 1) {
		if err := tr.Restore("a.b", row); err != nil {
			t.Fatalf("%x: %v", row, err)
		}
		for n := range row {
			if err := tr.Restore("a.b", row[:n]); !errors.Is(err, track.ErrBadRow) {
				t.Fatalf("%x cut to %d bytes: %v", row, n, err)
			}
		}
		if err := tr.Restore("a.b", append(bytes.Clone(row), 0)); !errors.Is(err, track.ErrBadRow) {
			t.Fatalf("%x and a byte more: %v", row, err)
		}
		newer := bytes.Clone(row)
		newer[0]++
		if err := tr.Restore("a.b", newer); !errors.Is(err, track.ErrBadRow) {
			t.Fatalf("row of another version: %v", err)
		}
		// A refused row leaves the device as it was.
		if got, _ := tr.Encode(nil, "a.b"); !bytes.Equal(got, row) {
			t.Fatalf("after refused rows: got %x, want %x", got, row)
		}
	}
	if err := tr.Restore("", rowsOf(t, 1)[0]); !errors.Is(err, track.ErrBadRow) {
		t.Errorf("empty device id: %v", err)
	}
}

// TestRowSize keeps the promise of a compact row: presence is written for every
// device once in a while.
func TestRowSize(t *testing.T) {
	circle, err := geo.NewCircle(geo.Point{Lat: 50.4501, Lng: 30.5234}, 200)
	if err != nil {
		t.Fatal(err)
	}
	set, err := fences.NewSet([]fences.Fence{{ID: "kyiv-01", Shape: circle}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := track.New(track.DefaultRules())
	var res track.Result
	for _, c := range []struct {
		id  track.DeviceID
		lat float64
		max int
	}{{"shop.far", 51, 30}, {"shop.in", 50.4501, 55}} {
		f := track.Fix{FixedAt: 1_764_324_000_000, ReceivedAt: 1_764_324_000_000, Lat: c.lat, Lng: 30.5234, HasPosition: true, AccuracyM: 5}
		tr.Apply(set, c.id, f, 1_000_000, &res)
		row, ok := tr.Encode(nil, c.id)
		if !ok || len(row) > c.max {
			t.Errorf("%s: row of %d bytes, want at most %d", c.id, len(row), c.max)
		}
	}
	if row, ok := tr.Encode([]byte("x"), "shop.nobody"); ok || string(row) != "x" {
		t.Errorf("unknown device: got %q, %v", row, ok)
	}
}

// FuzzRestore: hostile bytes give an error, or a state that Encode gives back
// byte for byte and that Apply can go on from.
func FuzzRestore(f *testing.F) {
	for _, row := range rowsOf(f, 2) {
		f.Add(row)
	}
	f.Add([]byte{1, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	w := newTown(rand.New(rand.NewPCG(3, 3)))
	f.Fuzz(func(t *testing.T, row []byte) {
		tr := track.New(track.DefaultRules())
		if err := tr.Restore("a.b", row); err != nil {
			if !errors.Is(err, track.ErrBadRow) {
				t.Fatalf("error is not ErrBadRow: %v", err)
			}
			if tr.Len() != 0 {
				t.Fatal("a refused row made a device")
			}
			return
		}
		if got, _ := tr.Encode(nil, "a.b"); !bytes.Equal(got, row) {
			t.Fatalf("restored %x, encodes to %x", row, got)
		}
		tr.Presence("a.b")
		var res track.Result
		for i, at := range []int64{1_764_324_000_000, 1_764_324_060_000, 1_764_424_060_000} {
			fix := track.Fix{FixedAt: at, ReceivedAt: at, Lat: townLat, Lng: townLng, HasPosition: true, AccuracyM: 5}
			tr.Apply(w.set, "a.b", fix, ^uint64(0)-2+uint64(i), &res)
		}
	})
}

// FuzzCheckFix: any numbers at all; what passes can be relied on, and checking
// again changes nothing.
func FuzzCheckFix(f *testing.F) {
	f.Add(int64(1_764_324_000_000), int64(1_764_324_000_000), 50.45, 30.52, float32(5), float32(-1), byte(0), "", true)
	f.Add(int64(-1<<63), int64(1<<63-1), 91.0, 540.0, float32(-1), float32(0), byte(200), "x", false)
	f.Add(int64(1<<63-1), int64(1_764_324_000_000), 0.0, 0.0, float32(0), float32(0), byte(3), "x", true)
	w := newTown(rand.New(rand.NewPCG(4, 4)))
	f.Fuzz(func(t *testing.T, fixed, received int64, lat, lng float64, acc, speed float32, src byte, fence string, hasPos bool) {
		for _, rules := range []track.Rules{track.DefaultRules(), track.PlainRules()} {
			fix := track.Fix{FixedAt: fixed, ReceivedAt: received, Lat: lat, Lng: lng, HasPosition: hasPos,
				AccuracyM: acc, SpeedMPS: speed, Source: track.Source(src), Fence: fence}
			given := fix
			refusal := track.CheckFix(&fix, &rules)
			if refusal != "" {
				if fmt.Sprint(fix) != fmt.Sprint(given) { // Sprint: NaN is not equal to itself
					t.Fatalf("refused (%s) and changed: %+v to %+v", refusal, given, fix)
				}
			} else {
				if hasPos && !(lat >= -90 && lat <= 90 && lng >= -180 && lng <= 180) {
					t.Fatalf("accepted %v, %v", lat, lng)
				}
				if !rules.Plain && (fix.AccuracyM < 0 || fix.FixedAt > fix.ReceivedAt+120_000) {
					t.Fatalf("accepted %+v", fix)
				}
				again := fix
				if r := track.CheckFix(&again, &rules); r != "" || again != fix {
					t.Fatalf("checked twice: %q, %+v then %+v", r, fix, again)
				}
			}
			var res track.Result
			tr := track.New(rules)
			tr.Apply(w.set, "a.b", given, 1, &res)
			if (res.Verdict == track.Refused) != (refusal != "") || res.Refusal != refusal {
				t.Fatalf("CheckFix says %q, Apply %v %q", refusal, res.Verdict, res.Refusal)
			}
		}
	})
}
