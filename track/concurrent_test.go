package track_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// TestFencesReplacedUnderLoad is many partitions at work while the fences are
// replaced over and over. A device that stays inside a fence that no edit
// touches enters it once, whatever happens around it. With -race it also shows
// that trackers share nothing but the immutable set.
func TestFencesReplacedUnderLoad(t *testing.T) {
	const partitions, pings, edits = 16, 400, 200
	home, err := geo.NewCircle(geo.Point{Lat: townLat, Lng: townLng}, 200)
	if err != nil {
		t.Fatal(err)
	}
	w := newTown(rand.New(rand.NewPCG(1, 1)))
	var cat fences.Catalogue
	var sets []*fences.Set
	for range edits {
		w.edit()
		set, err := fences.NewSet(append([]fences.Fence{{ID: "home", Shape: home}}, w.fs...), &cat)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, set)
	}
	// Pings of any partition move the fences on, so that edits come between the
	// pings of every device however the scheduler behaves.
	var current atomic.Pointer[fences.Set]
	var sent atomic.Int64
	current.Store(sets[0])
	var workers sync.WaitGroup
	for p := range partitions {
		workers.Go(func() {
			tr := track.New(track.DefaultRules())
			var res track.Result
			rng := rand.New(rand.NewPCG(2, uint64(p)))
			id := track.DeviceID(fmt.Sprintf("shop.d%d", p))
			enters, now := 0, w.now
			for pos := uint64(1); pos <= pings; pos++ {
				current.Store(sets[sent.Add(1)*edits/(partitions*pings+1)])
				now += 10_000
				f := track.Fix{FixedAt: now, ReceivedAt: now, HasPosition: true, AccuracyM: 5,
					Lat: townLat + (rng.Float64()-0.5)*0.002, Lng: townLng + (rng.Float64()-0.5)*0.002}
				tr.Apply(current.Load(), id, f, pos, &res)
				for i := range res.Transitions {
					if x := &res.Transitions[i]; x.FenceID == "home" {
						enters++
						if x.Kind != track.Enter || x.Reason != track.Initial {
							t.Errorf("%s at home: %v %v", id, x.Kind, x.Reason)
						}
					}
				}
			}
			if enters != 1 {
				t.Errorf("%s: %d transitions at home, want the one enter", id, enters)
			}
		})
	}
	workers.Wait()
}
