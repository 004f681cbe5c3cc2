package track

import (
	"fmt"
	"runtime"
	"testing"

	"footfall/fences"
)

// TestMemoryPerDevice keeps the figure that operators size machines by: the
// heap of a tracker for each device that is near no fence, id included.
func TestMemoryPerDevice(t *testing.T) {
	const devices = 200_000
	set, err := fences.NewSet(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tr := New(DefaultRules())
	var res Result
	f := Fix{FixedAt: 1_764_324_000_000, ReceivedAt: 1_764_324_000_000, Lat: 50, Lng: 30, HasPosition: true, AccuracyM: 5}
	for i := range devices {
		tr.Apply(set, DeviceID(fmt.Sprintf("shop.%016x", i)), f, 1, &res)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	got := float64(after.HeapAlloc-before.HeapAlloc) / devices
	t.Logf("%.1f bytes for each of %d devices with ids of 21 bytes", got, tr.Len())
	if got > 120 {
		t.Errorf("%.1f bytes a device, want at most 120", got)
	}
	runtime.KeepAlive(tr)
}
