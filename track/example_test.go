package track_test

import (
	"fmt"
	"time"

	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// A phone comes to a shop and leaves it.
func ExampleTracker_Apply() {
	circle, err := geo.NewCircle(geo.Point{Lat: 50.4501, Lng: 30.5234}, 200)
	if err != nil {
		panic(err)
	}
	set, err := fences.NewSet([]fences.Fence{{ID: "kyiv-01", Shape: circle}}, nil)
	if err != nil {
		panic(err)
	}
	tracker := track.New(track.DefaultRules())
	var res track.Result
	start := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	for i, lat := range []float64{50.4550, 50.4505, 50.4502, 50.4570} {
		at := start.Add(time.Duration(i) * time.Minute)
		fix := track.Fix{
			FixedAt: at.UnixMilli(), ReceivedAt: at.UnixMilli(),
			HasPosition: true, Lat: lat, Lng: 30.5234, AccuracyM: 8, SpeedMPS: -1,
		}
		tracker.Apply(set, "shop.anna", fix, uint64(i+1), &res)
		fmt.Print(at.Format("15:04 "), res.Verdict)
		for _, tr := range res.Transitions {
			fmt.Printf(", %v %s, confidence %d", tr.Kind, tr.FenceID, tr.Confidence)
		}
		fmt.Println()
	}
	// Output:
	// 10:00 accepted
	// 10:01 accepted, enter kyiv-01, confidence 3
	// 10:02 accepted
	// 10:03 accepted, exit kyiv-01, confidence 3
}

// A gateway stores rows and goes on from them after a restart.
func ExampleTracker_Restore() {
	set, err := fences.NewSet(nil, nil)
	if err != nil {
		panic(err)
	}
	before := track.New(track.DefaultRules())
	var res track.Result
	fix := track.Fix{FixedAt: 1_795_860_000_000, ReceivedAt: 1_795_860_000_000, HasPosition: true, Lat: 50.45, Lng: 30.52}
	before.Apply(set, "shop.anna", fix, 7, &res)
	rows := map[track.DeviceID][]byte{}
	for _, id := range before.Dirty(nil) {
		rows[id], _ = before.Encode(nil, id)
		before.MarkClean(id)
	}

	after := track.New(track.DefaultRules())
	for id, row := range rows {
		if err := after.Restore(id, row); err != nil {
			panic(err)
		}
	}
	after.Apply(set, "shop.anna", fix, 7, &res) // the log delivers it again
	fmt.Println(res.Verdict)
	// Output: replayed
}
