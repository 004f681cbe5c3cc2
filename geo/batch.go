package geo

// Hit says that the shape at position Shape contains the point at position Point of a
// batch.
type Hit struct{ Point, Shape int32 }

// batchSize is how many points go through the stages together: enough loads in flight
// to keep the memory busy, and few enough for the stages' notes to stay in the first-level cache.
const batchSize = 128

// MatchBatch is Match for many points: it appends to dst a Hit for every pair of a
// point and a shape that contains it, ordered by point, then by shape. Does not
// allocate when dst has room.
//
// The points take each step of the index together, so that the loads of one step, each
// of which may miss every cache, do not wait for one another: with 1,000,000 fences a quarter of
// the time of Match for each point alone, with 10,000 two thirds (BenchmarkMatchBatch).
// The plain twin is that loop.
func (x *Index) MatchBatch(dst []Hit, ps []Point) []Hit {
	var a Ahead
	for first := 0; first < len(ps); first += batchSize {
		some := ps[first:min(first+batchSize, len(ps))]
		x.LookAhead(&a, some)
		dst = x.match(dst, some, int32(first), &a)
	}
	return dst
}

// Ahead is what LookAhead leaves for MatchAhead. The zero value is ready for LookAhead, and is reused.
type Ahead struct {
	spots [batchSize]uint32 // bits of the sieve
	slow  bool              // an unusual point is among them: spots is not right
}

// LookAhead is the first half of MatchBatch, for 128 points at most: it finds the one word that decides about most of them, and asks
// for its memory without waiting. MatchAhead is the second half; a caller with other work to do in between waits less. Panics when
// there are more points.
//
// For 4 instructions a point, a batch among 100,000 fences takes 11 and 19 % less time (0.0226 instead of 0.0254 of the h3-go twin, medians of five
// rounds of processes in turn, and 0.0195 instead of 0.0242 of four), a decision among 10,000 fences 4 to 6 % less (medians of six
// rounds in one process, four times). A load in place of the request gains nothing, as it holds up what comes after it.
func (x *Index) LookAhead(a *Ahead, ps []Point) {
	if len(ps) > batchSize {
		panic("geo: LookAhead at more than 128 points")
	}
	m := &x.patches
	a.slow = !m.spots(&a.spots, ps)
	if !a.slow {
		prefetchWords(&m.sieve[0], &a.spots, len(ps))
	}
}

// MatchAhead is MatchBatch for the points that a was made of, by the same index.
func (x *Index) MatchAhead(dst []Hit, ps []Point, a *Ahead) []Hit { return x.match(dst, ps, 0, a) }

// batchPoint is a point on its way through the stages.
type batchPoint struct {
	point int32 // in its batch
	at    uint32
	part  uint32
}

// match is MatchAhead for points of which the first is number first.
func (x *Index) match(dst []Hit, ps []Point, first int32, a *Ahead) []Hit {
	if a.slow {
		return x.matchSlow(dst, ps, first)
	}
	m := &x.patches
	// Which points are near a fence is decided only when their words are there: see patchMap.
	var near [batchSize]batchPoint
	n := 0
	for i := range ps {
		if spot := a.spots[i&(batchSize-1)]; m.maybe(spot) {
			near[n&(batchSize-1)] = batchPoint{point: int32(i), at: spot}
			n++
		}
	}
	k := 0
	for _, b := range near[:n] { // a block?
		p := &ps[b.point]
		r, c := uint(int((p.Lat-m.south)*patchesPerDeg)), uint(int((p.Lng-m.west)*patchesPerDeg))
		t := &m.tiles[b.at>>sieveBits]
		if part := r&56 | c>>3&7; t.has(part) {
			near[k&(batchSize-1)] = batchPoint{b.point, t.after(part), uint32(r&7<<3 | c&7)}
			k++
		}
	}
	n, k = k, 0
	for _, b := range near[:n] { // a patch?
		t := &m.blocks[b.at]
		if t.has(uint(b.part)) {
			near[k&(batchSize-1)] = batchPoint{point: b.point, at: t.after(uint(b.part))}
			k++
		}
	}
	on := near[:k]
	for i := range on {
		on[i].at = m.refs[on[i].at]
	}
	if len(x.resolutions) > 0 {
		return x.matchMixed(dst, ps, on, first)
	}
	for _, b := range on { // a fence?
		p := ps[b.point]
		if b.at >= refList {
			dst = x.appendHits(dst, p, b.at, first+b.point)
			continue
		}
		f := &x.flats[b.at-1]
		d := f.distSq(p.Lat, p.Lng)
		if d > float64(f.outSq) {
			continue
		}
		if d < float64(f.inSq) || x.shapes[b.at-1].Contains(p) {
			dst = append(dst, Hit{first + b.point, int32(b.at - 1)})
		}
	}
	return dst
}

// appendHits is matchRef for hits.
func (x *Index) appendHits(dst []Hit, p Point, ref uint32, point int32) []Hit {
	var few [16]int32
	for _, i := range x.matchRef(few[:0], p, p, ref) {
		dst = append(dst, Hit{point, i})
	}
	return dst
}

// matchMixed ends a batch where there are large shapes too: on has the points that
// small ones may contain.
func (x *Index) matchMixed(dst []Hit, ps []Point, on []batchPoint, first int32) []Hit {
	for i, p := range ps {
		ref := uint32(0)
		if len(on) > 0 && on[0].point == int32(i) {
			ref, on = on[0].at, on[1:]
		}
		if ref != 0 || x.wide.has(p) {
			dst = x.appendHits(dst, p, ref, first+int32(i))
		}
	}
	return dst
}

// matchSlow is match for a batch that has an unusual point in it.
func (x *Index) matchSlow(dst []Hit, ps []Point, first int32) []Hit {
	var few [16]int32
	for i, p := range ps {
		for _, s := range x.Match(few[:0], p) {
			dst = append(dst, Hit{first + int32(i), s})
		}
	}
	return dst
}
