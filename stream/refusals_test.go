package stream

import (
	"fmt"
	"testing"
)

// TestRefusalBookKeepsItsOwnNames: the collector names devices by views of a buffer that it uses again. A book that kept
// one, be it only from the second refusal of a device on, would forget the device with the next message.
func TestRefusalBookKeepsItsOwnNames(t *testing.T) {
	b := newRefusalBook(8)
	buf := []byte("shop.d1")
	for i := range 3 {
		copy(buf, "shop.d1")
		b.add(view(buf), "mock", int64(i))
		copy(buf, "shop.d2")
		b.add(view(buf), "flood", int64(i))
		copy(buf, "xxxxxxx")
	}
	for device, reason := range map[string]string{"shop.d1": "mock", "shop.d2": "flood"} {
		if r, ok := b.last(device); !ok || r != (Refusal{Reason: reason, At: 2, Count: 3}) {
			t.Errorf("%s: %+v, %v", device, r, ok)
		}
	}
	if r, ok := b.last("xxxxxxx"); ok {
		t.Errorf("nobody was refused as xxxxxxx: %+v", r)
	}
	b.add("shop.d1", "mock", 9)
	b.add("shop.d1", "too_old", 10)
	if r, _ := b.last("shop.d1"); r != (Refusal{Reason: "too_old", At: 10, Count: 1}) {
		t.Errorf("another reason: %+v", r)
	}
	for i := range 100 {
		b.add(fmt.Sprint(i), "mock", 11)
	}
	if n := len(b.new) + len(b.old); n > 8 {
		t.Errorf("%d devices are remembered, at most 8 are to be", n)
	}
}
