package track

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"footfall/fences"
	"footfall/geo"
)

// TestMemoryPerDevice keeps the figures that operators size machines by: the heap of a tracker for each device,
// everything included, with one device in ten inside a fence that it has dwelt in; how long the longest first ping takes; and how
// long a forced collection takes with all of them. FOOTFALL_LONG=1 counts 10,000,000 devices.
func TestMemoryPerDevice(t *testing.T) {
	if testing.Short() {
		t.Skip("a matter of memory")
	}
	devices := 200_000
	if os.Getenv("FOOTFALL_LONG") != "" {
		devices = 10_000_000
	}
	circle, err := geo.NewCircle(geo.Point{Lat: 50.45, Lng: 30.52}, 200)
	if err != nil {
		t.Fatal(err)
	}
	set, err := fences.NewSet([]fences.Fence{{ID: "shop", Shape: circle, Dwell: time.Minute}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		id   func(n int) string
		goal float64
	}{
		{"16 hexadecimal digits", func(n int) string { return fmt.Sprintf("shop.%016x", uint64(n)*0x9e3779b97f4a7c15) }, 42},
		{"a UUID", func(n int) string { return fmt.Sprintf("shop.%08x-3d2e-4f6a-9b1c-%012x", n, n) }, 50},
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		tr := New(DefaultRules())
		var res Result
		dwelt := 0
		var worst []time.Duration
		for n := range devices {
			id := DeviceID(c.id(n))
			f := Fix{FixedAt: 1_764_324_000_000, ReceivedAt: 1_764_324_000_000, Lat: 50, Lng: 30, HasPosition: true, AccuracyM: 5}
			if n%10 == 0 {
				f.Lat, f.Lng = 50.45, 30.52
			}
			start := time.Now()
			tr.Apply(set, id, f, 1, &res)
			if d := time.Since(start); len(worst) < 20 || d > worst[len(worst)-1] {
				worst = append(worst, d)
				slices.SortFunc(worst, func(a, b time.Duration) int { return int(b - a) })
				worst = worst[:min(len(worst), 20)]
			}
			if n%10 == 0 {
				f.FixedAt += 90_000
				f.ReceivedAt += 90_000
				tr.Apply(set, id, f, 2, &res)
				dwelt += len(res.Transitions)
			}
		}
		if dwelt != devices/10 {
			t.Fatalf("%d of %d devices dwelt", dwelt, devices)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		var collections []time.Duration
		for range 5 {
			start := time.Now()
			runtime.GC()
			collections = append(collections, time.Since(start))
		}
		slices.Sort(collections)
		var stats debug.GCStats
		debug.ReadGCStats(&stats)
		got := float64(after.HeapAlloc-before.HeapAlloc) / float64(devices)
		pieces := int(after.HeapObjects) - int(before.HeapObjects)
		t.Logf("%s: %.1f bytes for each of %d devices in %d pieces; longest first pings %v, %v, 20th %v; a forced collection %v (pause %v)",
			c.name, got, tr.Len(), pieces, worst[0], worst[1], worst[len(worst)-1], collections[2], stats.Pause[0])
		if got > c.goal {
			t.Errorf("%s: %.1f bytes a device, want at most %v", c.name, got, c.goal)
		}
		// What a collection takes, without a clock: it marks and sweeps each piece.
		if most := devices/4000 + 300; pieces > most {
			t.Errorf("%s: %d pieces of memory, want at most %d", c.name, pieces, most)
		}
		runtime.KeepAlive(tr)
	}
}
