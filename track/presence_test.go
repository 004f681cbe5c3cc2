package track_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// TestPresence looks at a device that has one of everything.
func TestPresence(t *testing.T) {
	circle := func(lat, lng float64) geo.Shape {
		s, err := geo.NewCircle(geo.Point{Lat: lat, Lng: lng}, 200)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	set, err := fences.NewSet([]fences.Fence{
		{ID: "shop", Shape: circle(50.45, 30.52), Dwell: time.Minute},
		{ID: "slow", Shape: circle(50.45, 30.52), MinStay: time.Hour},
		{ID: "strict", Shape: circle(50.45, 30.52), MaxAccuracyM: 2},
		{ID: "word", Shape: circle(50.45, 30.53)},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const t0 = int64(1_764_324_000_000)
	tr := track.New(track.DefaultRules())
	var res track.Result
	at := func(s int64, lat, lng float64) track.Fix {
		return track.Fix{FixedAt: t0 + s*1000, ReceivedAt: t0 + s*1000, Lat: lat, Lng: lng, HasPosition: true, AccuracyM: 5}
	}
	if _, ok := tr.Presence("shop.anna"); ok {
		t.Error("an unknown device has a presence")
	}
	for i, f := range []track.Fix{
		at(0, 50.45, 30.52), at(90, 50.4501, 30.52),
		{FixedAt: t0 + 100_000, ReceivedAt: t0 + 100_000, Source: track.SourceOSEnter, Fence: "word"},
		at(110, 51.45, 30.52),
	} {
		tr.Apply(set, "shop.anna", f, uint64(10+i), &res)
	}
	got, ok := tr.Presence("shop.anna")
	want := track.Presence{
		LastFixedAt: t0 + 100_000, LastPos: 13, Seen: true,
		HasPosition: true, PositionAt: t0 + 90_000, Lat: 50.4501, Lng: 30.52, AccuracyM: 5,
		Inside:      []track.InsideFence{{FenceID: "shop", Since: t0, Dwelled: true}, {FenceID: "word", Since: t0 + 100_000}},
		Pending:     []track.PendingFence{{FenceID: "slow", Since: t0, Reason: track.Initial}, {FenceID: "strict", Since: t0, Vague: true, Reason: track.Initial}},
		Quarantined: &track.QuarantinedFix{FixedAt: t0 + 110_000, Lat: 51.45, Lng: 30.52, AccuracyM: 5},
	}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("presence (-want +got):\n%s", diff)
	}
	// It is a copy.
	got.Inside[0].FenceID = "changed"
	if again, _ := tr.Presence("shop.anna"); again.Inside[0].FenceID != "shop" {
		t.Error("Presence hands out the tracker's own state")
	}
	if n := tr.Len(); n != 1 {
		t.Errorf("%d devices, want 1", n)
	}
	tr.Forget("shop.anna")
	if _, ok := tr.Presence("shop.anna"); ok || tr.Len() != 0 {
		t.Error("a forgotten device is known")
	}
	tr.Forget("shop.anna") // again: harmless
}
