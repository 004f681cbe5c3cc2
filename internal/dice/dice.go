// Package dice gives random tests their seeds.
package dice

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Seed returns the seed of a random test, and logs it:
//
//   - FOOTFALL_SEED, a number, when it is set: so a failure is played again;
//   - a fresh one in the long form, FOOTFALL_LONG=1: so new ground is covered;
//   - else 1, so that a change is judged by what it changes and not by the draw.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(1)
	if s := os.Getenv("FOOTFALL_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("FOOTFALL_SEED: %v", err)
		}
		seed = n
	} else if os.Getenv("FOOTFALL_LONG") != "" {
		seed = rand.Uint64()
	}
	t.Logf("FOOTFALL_SEED=%d", seed)
	return seed
}
