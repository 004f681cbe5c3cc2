package stream

import (
	"fmt"
	"testing"
)

// TestFloodIsTheFloodersAlone has 20 devices use up their allowance and then 10,000 others send one message each.
// With one row of counters some 12 of them would be refused, with two it is three or more in one run of two million.
func TestFloodIsTheFloodersAlone(t *testing.T) {
	g := newFloodGuard(100, 10_000) // its first window begins at 0
	for i := range 20 {
		loud := fmt.Sprint("shop.loud", i)
		for range 100 {
			g.allow(loud, 1, 0)
		}
		if ok, retryMS := g.allow(loud, 1, 2_000); ok || retryMS != 8_000 {
			t.Errorf("%s after its allowance: %v, again in %d ms; want a refusal for the 8 s that are left of the window", loud, ok, retryMS)
		}
	}
	refused := 0
	for i := range 10_000 {
		if ok, _ := g.allow(fmt.Sprint("shop.quiet", i), 1, 2_000); !ok {
			refused++
		}
	}
	if refused > 2 {
		t.Errorf("%d of 10,000 devices were refused for what 20 others sent", refused)
	}
	if ok, _ := g.allow("shop.loud0", 1, 10_000); !ok {
		t.Error("a device was refused in the window after the one it flooded")
	}
}

// TestFloodWeighsBytes: one message above the allowance by itself is let in, as the first of a window only.
func TestFloodWeighsBytes(t *testing.T) {
	g := newFloodGuard(10, 10_000)
	if ok, _ := g.allow("shop.d1", 100*recordBytes, 1); !ok {
		t.Error("the first message of a window was refused")
	}
	if ok, _ := g.allow("shop.d1", 1, 1); ok {
		t.Error("a message after one that was above the allowance was let in")
	}
	for range 5 {
		if ok, _ := g.allow("shop.d2", 2*recordBytes, 1); !ok {
			t.Error("a message within the allowance was refused")
		}
	}
	if ok, _ := g.allow("shop.d2", 1, 1); ok {
		t.Error("an eleventh record was let in, the allowance is 10")
	}
}
