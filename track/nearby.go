package track

import (
	"math"
	"slices"

	"footfall/fences"
	"footfall/geo"
)

// nearby finds the fences of a set whose bounding box meets a box. The index of
// the set answers for one point only, which is all that enters and exits need;
// crossings and BufferEntries ask about a path or a circle. Only fences that
// take part in one of those rules are in it: usually none.
//
// It is a plain grid of latitude and longitude, rebuilt when the set changes. Before it is a sieve, which keeps usual pings
// that are far from such fences out of all this.
type nearby struct {
	sieve  sieve
	maxGap int64             // Rules.CrossedMaxGap in ms
	cells  map[int32][]int32 // grid cell -> fence indexes, ascending
	always []int32           // fences that would fill too many cells
	found  []int32           // scratch
}

const (
	gridDeg       = 0.05 // 5.6 km of latitude
	gridRows      = 3600 // 180 / gridDeg
	gridCols      = 7200 // 360 / gridDeg
	gridMaxCells  = 4096 // per fence
	polarLat      = 89.5 // beyond it a box is the whole circle of longitude
	metresPerLat  = 110_574.0
	metresPerLng  = 111_319.0 // at the equator
	gridSafetyDeg = 1e-3      // swallows rounding and the bow of a path of 11 km
)

// box is an area of latitude and longitude in degrees; west <= east, and east
// may exceed 180.
type box struct{ south, north, west, east float64 }

func (n *nearby) empty() bool { return len(n.cells) == 0 && len(n.always) == 0 }

func (n *nearby) build(set *fences.Set, rules *Rules) {
	*n = nearby{found: n.found, maxGap: rules.CrossedMaxGap.Milliseconds()}
	if rules.Plain {
		return
	}
	reachM := 0.0
	if rules.BufferEntries {
		reachM = rules.ExitAccuracyCapM
	}
	add := func(i int32) {
		for _, b := range boxesOf(&set.At(i).Shape) {
			n.add(i, b)
			n.sieve.mark(b, reachM)
		}
	}
	if rules.BufferEntries || rules.Crossed {
		for i := range int32(set.Len()) {
			add(i)
		}
	} else {
		for _, i := range set.Crossed() {
			add(i)
		}
	}
	for c, list := range n.cells {
		n.cells[c] = slices.Compact(list)
	}
}

// usual is u.run, up to the first input that some fence of n may say something about.
func (n *nearby) usual(u *usual, ins []Input, recs []*record) int {
	if n.empty() {
		return u.run(ins, recs)
	}
	for i := range ins {
		in, r := &ins[i], recs[i]
		if r == nil {
			return i
		}
		// Nothing can have been crossed in too long a time.
		lat, lng := in.Lat, in.Lng
		if in.FixedAt-u.bases.time-int64(r.since()) <= n.maxGap {
			lat, lng = r.lat, r.lng
		}
		if !n.sieve.clear(in.Lat, in.Lng, lat, lng) || u.run(ins[i:i+1], recs[i:i+1]) == 0 {
			return i
		}
	}
	return len(ins)
}

func (n *nearby) add(i int32, b box) {
	r0, r1, c0, c1 := b.cells()
	if (r1-r0+1)*(c1-c0+1) > gridMaxCells {
		n.always = append(n.always, i)
		return
	}
	if n.cells == nil {
		n.cells = make(map[int32][]int32)
	}
	for r := r0; r <= r1; r++ {
		for c := c0; c <= c1; c++ {
			key := gridKey(r, c)
			n.cells[key] = append(n.cells[key], i)
		}
	}
}

// query returns the fences that may meet b, ascending and distinct. The slice
// is good until the next query.
func (n *nearby) query(b box) []int32 {
	n.found = append(n.found[:0], n.always...)
	r0, r1, c0, c1 := b.cells()
	for r := r0; r <= r1; r++ {
		for c := c0; c <= c1; c++ {
			n.found = append(n.found, n.cells[gridKey(r, c)]...)
		}
	}
	slices.Sort(n.found)
	n.found = slices.Compact(n.found)
	return n.found
}

func gridKey(row, col int) int32 { return int32(row*gridCols + (col%gridCols+gridCols)%gridCols) }

// cells returns the rows and columns that b covers. Columns may run outside
// 0..gridCols-1; gridKey wraps them.
func (b box) cells() (r0, r1, c0, c1 int) {
	row := func(lat float64) int { return min(max(int(math.Floor((lat+90)/gridDeg)), 0), gridRows-1) }
	col := func(lng float64) int { return int(math.Floor((lng + 180) / gridDeg)) }
	r0, r1 = row(b.south-gridSafetyDeg), row(b.north+gridSafetyDeg)
	if b.around() {
		return r0, r1, 0, gridCols - 1
	}
	return r0, r1, col(b.west - gridSafetyDeg), col(b.east + gridSafetyDeg)
}

// around reports whether b is taken for the whole circle of longitude.
func (b box) around() bool {
	return b.north > polarLat || b.south < -polarLat || b.east-b.west >= 360-1
}

// grow returns the box of the points within m metres of b.
func (b box) grow(m float64) box {
	south, north := boxAround(geo.Point{Lat: b.south, Lng: b.west}, m), boxAround(geo.Point{Lat: b.north, Lng: b.east}, m)
	return box{
		south: south.south, north: north.north,
		west: min(south.west, b.west-(north.east-b.east)), east: max(north.east, b.east+(b.west-south.west)),
	}
}

// boxAround returns the box of the points within m metres of p.
func boxAround(p geo.Point, m float64) box {
	dLat := m / metresPerLat * 1.01
	b := box{south: p.Lat - dLat, north: p.Lat + dLat}
	dLng := 180.0
	if top := max(math.Abs(b.south), math.Abs(b.north)); top < polarLat {
		dLng = min(m/(metresPerLng*math.Cos(top*math.Pi/180))*1.01, 180)
	}
	b.west, b.east = p.Lng-dLng, p.Lng+dLng
	return b
}

// along returns the box of the straight path from a to b, the short way round.
func along(a, b geo.Point) box {
	dLng := b.Lng - a.Lng
	if dLng > 180 {
		dLng -= 360
	} else if dLng < -180 {
		dLng += 360
	}
	return box{
		south: min(a.Lat, b.Lat), north: max(a.Lat, b.Lat),
		west: min(a.Lng, a.Lng+dLng), east: max(a.Lng, a.Lng+dLng),
	}
}

// boxesOf returns one box for a circle and one for each polygon of a shape.
func boxesOf(s *geo.Shape) []box {
	if s.IsCircle() {
		return []box{boxAround(s.Center(), s.RadiusM())}
	}
	var boxes []box
	for _, poly := range s.Polygons() {
		if len(poly) == 0 || len(poly[0]) == 0 {
			continue
		}
		ring := poly[0]
		b := box{south: ring[0].Lat, north: ring[0].Lat, west: ring[0].Lng, east: ring[0].Lng}
		lng := ring[0].Lng
		for i := 1; i < len(ring); i++ {
			// Follow the ring the short way, so that one that runs over the
			// antimeridian stays in one piece whichever way it is written.
			d := math.Mod(ring[i].Lng-ring[i-1].Lng, 360)
			if d > 180 {
				d -= 360
			} else if d < -180 {
				d += 360
			}
			lng += d
			b.west, b.east = min(b.west, lng), max(b.east, lng)
			b.south, b.north = min(b.south, ring[i].Lat), max(b.north, ring[i].Lat)
		}
		boxes = append(boxes, b)
	}
	return boxes
}

// arriveNearby enters fences that only the accuracy circle touches.
func (s *step) arriveNearby() {
	for _, i := range s.t.nearby.query(boxAround(s.p, s.reach())) {
		f := s.t.set.At(i)
		if f == s.named || s.find(f) >= 0 || s.acc > s.t.rules.maxAccuracyM(f) {
			continue
		}
		if s.touches(f.Shape.EdgeDistanceM(s.p)) {
			s.arrive(f)
		}
	}
}

// cross finds the fences that the device passed through since its last fix
// without a fix inside.
func (s *step) cross() {
	gap := s.f.FixedAt - s.prev.at
	if !s.hasPrev || gap <= 0 || gap > s.t.rules.CrossedMaxGap.Milliseconds() {
		return
	}
	from := s.prev.point()
	for _, i := range s.t.nearby.query(along(from, s.p)) {
		f := s.t.set.At(i)
		if f == s.named || !s.t.rules.crossed(f) || s.find(f) >= 0 || s.left(f) {
			continue
		}
		limit := s.t.rules.maxAccuracyM(f)
		if s.acc > limit || float64(s.prev.acc) > limit {
			continue
		}
		if !f.Shape.Contains(from) && !f.Shape.Contains(s.p) && f.Shape.Crosses(from, s.p) {
			v := visit{fence: s.t.names.number(f.ID, f), since: s.f.FixedAt}
			s.emit(Crossed, f, &v, 0, s.f.FixedAt)
		}
	}
}

// left reports whether this very fix exited f: that is not passing through it.
func (s *step) left(f *fences.Fence) bool {
	for i := range s.res.Transitions {
		if s.res.Transitions[i].Fence == f {
			return true
		}
	}
	return false
}
