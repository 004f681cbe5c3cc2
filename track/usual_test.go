package track

import (
	"math"
	"testing"

	"footfall/fences"
	"footfall/geo"
)

// TestUsual: which pings are applied to the record alone. That the outcome is the rules' is for
// TestApplyBatchEqualsApply and TestAgainstModel.
func TestUsual(t *testing.T) {
	circle, err := geo.NewCircle(geo.Point{Lat: 50.45, Lng: 30.52}, 200)
	if err != nil {
		t.Fatal(err)
	}
	other, err := geo.NewCircle(geo.Point{Lat: 50.4, Lng: 30.55}, 200)
	if err != nil {
		t.Fatal(err)
	}
	set, err := fences.NewSet([]fences.Fence{{ID: "shop", Shape: circle}, {ID: "gate", Shape: other, Crossed: true}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const t0 = int64(1_764_324_000_000)
	base := Fix{FixedAt: t0 + 30_000, ReceivedAt: t0 + 31_000, Lat: 50.4, Lng: 30.5, HasPosition: true, AccuracyM: 5, SpeedMPS: -1}
	for _, tt := range []struct {
		name string
		want bool
		edit func(f *Fix, pos *uint64)
	}{
		{"as it comes", true, func(*Fix, *uint64) {}},
		{"app in front", true, func(f *Fix, _ *uint64) { f.Source = SourceForeground }},
		{"accuracy unknown", true, func(f *Fix, _ *uint64) { f.AccuracyM = 0 }},
		{"clock a little ahead", true, func(f *Fix, _ *uint64) { f.ReceivedAt = f.FixedAt - 120_000 }},
		{"as far as it goes", true, func(f *Fix, _ *uint64) { f.Lat += 2690 / 111_695.0 }},
		{"clock ahead", false, func(f *Fix, _ *uint64) { f.ReceivedAt = f.FixedAt - 120_001 }},
		{"too far", false, func(f *Fix, _ *uint64) { f.Lat += 2701 / 111_695.0 }},
		{"in a fence", false, func(f *Fix, _ *uint64) { f.Lat, f.Lng = 50.45, 30.52 }},
		{"near one that may be crossed", false, func(f *Fix, _ *uint64) { f.Lng, f.FixedAt, f.ReceivedAt = 30.555, t0+115_000, t0+116_000 }},
		{"through one that may be crossed", false, func(f *Fix, _ *uint64) { f.Lng, f.FixedAt, f.ReceivedAt = 30.58, t0+120_000, t0+121_000 }},
		{"too late to have crossed it", true, func(f *Fix, _ *uint64) { f.Lng, f.FixedAt, f.ReceivedAt = 30.58, t0+120_001, t0+121_000 }},
		{"same time", false, func(f *Fix, _ *uint64) { f.FixedAt = t0 }},
		{"earlier", false, func(f *Fix, _ *uint64) { f.FixedAt = t0 - 1 }},
		{"replayed", false, func(_ *Fix, pos *uint64) { *pos = 1 }},
		{"mock", false, func(f *Fix, _ *uint64) { f.Mock = true }},
		{"phone's word", false, func(f *Fix, _ *uint64) { f.Source = SourceOSEnter }},
		{"negative accuracy", false, func(f *Fix, _ *uint64) { f.AccuracyM = -1 }},
		{"accuracy not a number", false, func(f *Fix, _ *uint64) { f.AccuracyM = float32(math.NaN()) }},
		{"speed infinite", false, func(f *Fix, _ *uint64) { f.SpeedMPS = float32(math.Inf(1)) }},
		{"nowhere", false, func(f *Fix, _ *uint64) { f.Lat = math.NaN() }},
		{"beyond the pole", false, func(f *Fix, _ *uint64) { f.Lat = 90.000000001 }},
		{"year 2110", false, func(f *Fix, _ *uint64) { f.FixedAt, f.ReceivedAt = 1<<42, 1<<42 }},
	} {
		tr := New(DefaultRules())
		var res Result
		first := base
		first.FixedAt, first.ReceivedAt = t0, t0
		tr.Apply(set, "shop.d1", first, 1, &res)
		f, pos := base, uint64(2)
		tt.edit(&f, &pos)
		i, ok := tr.table.findID("shop.d1")
		if got := ok && tr.applyUsual(set, i, &f, pos); got != tt.want {
			t.Errorf("%s: usual is %v", tt.name, got)
		}
	}
}
