package stream

import "hash/maphash"

// floodGuard keeps one publisher from taking the collector's time and room away from the others: a device may
// send so much in a window, the rest is refused before anything looks into it. It counts in a fixed table indexed by a hash of the name, so
// its memory does not depend on how many names a hostile client invents; two devices that share a slot share
// an allowance, which at the default is far above what any phone sends.
//
// It belongs to one goroutine.
type floodGuard struct {
	limit    uint32
	windowMS int64
	seed     maphash.Seed
	started  int64
	counts   [1 << 14]uint32
}

func newFloodGuard(limit int, windowMS int64) *floodGuard {
	return &floodGuard{limit: uint32(limit), windowMS: windowMS, seed: maphash.MakeSeed()}
}

// recordBytes is what a record weighs against the allowance when nobody has counted records yet.
const recordBytes = 100

// allow weighs one message of a device, received at nowMS, and reports whether it is within the device's
// allowance, and if not, after how many milliseconds a new window begins.
func (g *floodGuard) allow(device string, bytes int, nowMS int64) (ok bool, retryMS int64) {
	n := max(1, bytes/recordBytes)
	if nowMS-g.started >= g.windowMS || nowMS < g.started {
		g.started = nowMS
		clear(g.counts[:])
	}
	c := &g.counts[maphash.String(g.seed, device)&uint64(len(g.counts)-1)]
	if *c+uint32(n) > g.limit && *c > 0 {
		return false, g.started + g.windowMS - nowMS
	}
	*c += uint32(n)
	return true, 0
}
