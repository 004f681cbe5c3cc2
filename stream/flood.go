package stream

import "hash/maphash"

// floodGuard keeps one publisher from taking the collector's time and room away from the others: a device may
// send so much in a window, the rest is refused before anything looks into it. It counts in tables of a fixed size, so
// its memory does not depend on how many names a hostile client invents (a count-min sketch with conservative update,
// Estan and Varghese 2002).
//
// A name has one counter in each of two rows, at places that have nothing to do with each other, and has sent the lesser of the
// two. So whoever shares one of them with a flooding device is not taken for it: with one row, of 50 devices beside a flood
// one in 330 starts of a gateway shut one out. With F floods at once a device of no guilt meets one in both rows with
// a chance of (F/16384)²; the seed is drawn anew with every start.
//
// It belongs to one goroutine.
type floodGuard struct {
	limit    uint32
	windowMS int64
	seed     maphash.Seed
	started  int64
	counts   [2][floodSlots]uint32
}

// floodSlots is a power of two, and its square is at most 2^64: a row takes its bits of one hash.
const floodSlots = 1 << 14

func newFloodGuard(limit int, windowMS int64) *floodGuard {
	return &floodGuard{limit: uint32(limit), windowMS: windowMS, seed: maphash.MakeSeed()}
}

// recordBytes is what a record weighs against the allowance when nobody has counted records yet.
const recordBytes = 100

// allow weighs one message of a device, received at nowMS, and reports whether it is within the device's
// allowance, and if not, after how many milliseconds a new window begins.
func (g *floodGuard) allow(device string, bytes int, nowMS int64) (ok bool, retryMS int64) {
	if nowMS-g.started >= g.windowMS || nowMS < g.started {
		g.started = nowMS
		g.counts = [2][floodSlots]uint32{}
	}
	h := maphash.String(g.seed, device)
	a, b := &g.counts[0][h%floodSlots], &g.counts[1][h>>32%floodSlots]
	sent := min(*a, *b)
	now := sent + uint32(max(1, bytes/recordBytes))
	if now > g.limit && sent > 0 {
		return false, g.started + g.windowMS - nowMS
	}
	// Only as far as this device's own sum: what others have put into the larger of the two stays theirs.
	*a, *b = max(*a, now), max(*b, now)
	return true, 0
}
