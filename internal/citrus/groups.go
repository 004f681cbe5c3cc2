package citrus

import (
	"time"

	"footfall/geo"
)

// cleanEntry is G1. The first person enters in the very millisecond of opening, the second in the last one before
// closing: the campaign's hours are half-open.
func (p *planner) cleanEntry() {
	entry := p.between(clock(10, 2), clock(20, 55))
	switch p.index {
	case 0:
		entry = Opens
	case 1:
		entry = Closes.Add(-time.Millisecond)
	}
	stops := walkIn
	if p.rng.IntN(2) == 0 {
		stops = append(stops[:len(stops):len(stops)], leaves)
	}
	p.visit(p.store, entry, stops...)
}

// threeVisits is G2.
func (p *planner) threeVisits() {
	entry := p.between(clock(10, 5), clock(16, 30))
	for range 3 {
		p.visit(p.store, entry, append(comesIn[:len(comesIn):len(comesIn)], leaves)...)
		entry = entry.Add(time.Duration(40+p.rng.IntN(45)) * time.Minute)
	}
	p.held("already_claimed", 2)
}

// overlapAtOnce and overlapOnFoot are the people of G3 who go through the overlap of k03 and k10: the first have a
// single fix there, which enters both stores; the others walk from k03 through it into k10.
const (
	overlapAtOnce = 20
	overlapOnFoot = 10
)

// twoStores is G3.
func (p *planner) twoStores() {
	switch {
	case p.index < overlapAtOnce:
		p.intoOverlap()
	case p.index < overlapAtOnce+overlapOnFoot:
		p.throughOverlap()
	default:
		entry := p.between(clock(10, 5), clock(18, 0))
		p.visit(p.store, entry, append(walkIn[:len(walkIn):len(walkIn)], leaves)...)
		other := (p.store + 1 + p.rng.IntN(len(stores)-1)) % len(stores)
		p.visit(other, entry.Add(time.Duration(60+p.rng.IntN(90))*time.Minute), walkIn...)
		p.held("already_claimed", 1)
	}
}

// lens is the middle of the overlap and the direction from k03 to k10.
func lens() (middle geo.Point, axis float64) {
	a, b := stores[k03].Center, stores[k10].Center
	axis = bearing(a, b)
	return offset(a, axis, geo.DistanceM(a, b)/2), axis
}

// intoOverlap comes from the side, where both stores are out of reach, straight to the middle of the overlap.
// Whichever centre is a few metres nearer gets the notice.
func (p *planner) intoOverlap() {
	middle, axis := lens()
	entry := p.between(clock(10, 5), clock(20, 30))
	side := axis + 90
	if !apart(offset(middle, side, 330), k03, k10) {
		side -= 180
	}
	for _, s := range []stop{{330, -2 * time.Minute}, {220, -time.Minute}} {
		p.live(fixAt(entry.Add(s.after), offset(middle, side, s.metres), p.uniform(5, 15)))
	}
	nearer := p.uniform(2, 8)
	if p.index%2 == 1 {
		nearer = -nearer
	}
	p.live(fixAt(entry, offset(middle, axis, nearer), p.uniform(5, 10)))
	p.self.Want.Entries = 2
	p.held("overlap", 1)
}

// throughOverlap walks into k03, on through the overlap, where it enters k10 while still in k03, and to the centre
// of k10, where it has left k03.
func (p *planner) throughOverlap() {
	middle, axis := lens()
	k03to10 := geo.DistanceM(stores[k03].Center, stores[k10].Center)
	entry := p.between(clock(10, 5), clock(20, 30))
	for _, s := range []stop{ // metres along the axis from the centre of k03
		{-400, -4 * time.Minute}, {-300, -3 * time.Minute}, {-120, 0}, {0, 90 * time.Second},
	} {
		p.live(fixAt(entry.Add(s.after), offset(stores[k03].Center, axis, s.metres), p.uniform(5, 15)))
	}
	p.live(fixAt(entry.Add(4*time.Minute), middle, p.uniform(5, 10)))
	p.live(fixAt(entry.Add(7*time.Minute), offset(stores[k03].Center, axis, k03to10-5), p.uniform(5, 10)))
	p.self.Want.Entries = 2
	p.held("already_claimed", 1)
}

// jitter is G4: 15 m beyond the edge is not a clear exit, so the many crossings are one visit.
func (p *planner) jitter() {
	entry := p.between(clock(10, 5), clock(20, 30))
	dir := someBearing(p.rng, p.store, 190, 215)
	for i := range 20 {
		metres := 215.0
		if i%2 == 1 {
			metres = 190
		}
		at := entry.Add(time.Duration(i-1) * 30 * time.Second)
		p.live(fixAt(at, offset(stores[p.store].Center, dir+p.uniform(-3, 3), metres), p.uniform(15, 30)))
	}
	p.self.Want.Entries = 1
	p.self.Want.Note = "inside_margin"
}

// insideBeforeOpening is G5. The first 40 are known to be inside from 09:40 on: they enter before the campaign has
// begun, and the first fix after it has is what pushes. The next 20 are known only to some hundred metres until
// then, as it is in a shopping centre; the phones of the last 20 sleep until then. The first person of all has a
// fix in the very millisecond of opening.
func (p *planner) insideBeforeOpening() {
	first := p.between(clock(10, 0), clock(10, 30))
	if p.index == 0 {
		first = Opens
	}
	dir := someBearing(p.rng, p.store, 80)
	place := func() geo.Point { return offset(stores[p.store].Center, dir, p.uniform(10, 80)) }
	early := func(from, to float64) {
		for _, at := range []time.Time{clock(9, 40), clock(9, 52)} {
			p.live(fixAt(at, place(), p.uniform(from, to)))
		}
	}
	w := &p.self.Want
	w.Entries, w.Initial = 1, true
	switch {
	case p.index < insideKnown:
		early(8, 25)
		p.held("not_started", 1)
		w.Begun = 1
	case p.index < insideKnown+insideVague:
		early(300, 900)
		w.Note = "accuracy_too_poor"
	}
	for i := range 3 {
		p.live(fixAt(first.Add(time.Duration(i)*4*time.Minute), place(), p.uniform(8, 25)))
	}
}

// insideKnown and insideVague are how many people of G5 are known to be inside before opening, and how many to be
// thereabouts.
const (
	insideKnown = 40
	insideVague = 20
)

// lateBatch is G6.
func (p *planner) lateBatch() {
	const late = 6 * time.Minute
	entry := p.between(clock(10, 5), clock(20, 40))
	p.batch(entry.Add(late), p.fixes(p.store, entry, walkIn...))
	p.self.Want.Entries, p.self.Want.Late = 1, late
}

// everythingTwice is G7. The visits are about 14:00, when variant v1 kills the gateway.
func (p *planner) everythingTwice() {
	p.twice = true
	p.visit(p.store, p.between(clock(13, 59), clock(14, 3)), walkIn...)
}

// closeBy is N1: the last fix is the nearest one. The first two people stop at the ends of the range.
func (p *planner) closeBy() {
	nearest := p.uniform(205, 260)
	switch p.index {
	case 0:
		nearest = 205
	case 1:
		nearest = 260
	}
	at := p.between(clock(10, 5), clock(20, 50))
	dir := someBearing(p.rng, p.store, 420, 330, nearest)
	for i, metres := range []float64{420, 330, nearest} {
		p.live(fixAt(at.Add(time.Duration(i)*time.Minute), offset(stores[p.store].Center, dir, metres), 10))
	}
}

// outOfHours is N2: half before opening, half from closing on. The first of each half is a millisecond too early,
// never to be seen inside again, or in the very millisecond of closing.
func (p *planner) outOfHours() {
	entry, reason := p.between(clock(8, 30), clock(9, 45)), "not_started"
	stops := walkIn
	switch {
	case p.index == 0:
		entry = Opens.Add(-time.Millisecond)
		stops = walkIn[:len(walkIn)-1]
	case p.index == 100:
		entry, reason = Closes, "ended"
	case p.index > 100:
		entry, reason = p.between(clock(21, 1), clock(21, 45)), "ended"
	}
	p.visit(p.store, entry, append(stops[:len(stops):len(stops)], leaves)...)
	p.held(reason, 1)
}

// muchTooLate is N3. The visit counts, the notice would not be worth showing.
func (p *planner) muchTooLate() {
	const late = 3 * time.Hour
	entry := p.between(clock(10, 30), clock(17, 30))
	p.batch(entry.Add(late), p.fixes(p.store, entry, walkIn...))
	p.self.Want.Entries, p.self.Want.Late = 1, late
	p.held("stale", 1)
}

// poorAccuracy is N4.
func (p *planner) poorAccuracy() {
	at := p.between(clock(10, 5), clock(20, 30))
	dir := someBearing(p.rng, p.store, 80)
	for i := range 4 {
		p.live(fixAt(at.Add(time.Duration(i)*time.Minute), offset(stores[p.store].Center, dir, p.uniform(0, 80)), p.uniform(800, 3000)))
	}
	p.self.Want.Note = "accuracy_too_poor"
}

// driveBy is N5: a straight road that passes the centre at 40-120 m, a fix every half minute, and the fence between
// two of them. Stores that have others close by are passed over for the next.
func (p *planner) driveBy() {
	const speed = 60 / 3.6 // m/s
	const every = 30 * time.Second
	step := speed * every.Seconds() // 500 m
	at := p.between(clock(10, 5), clock(20, 50))
	for try := 0; ; try++ {
		store := (p.store + try/200) % len(stores)
		dir, aside, phase := p.uniform(0, 360), p.uniform(40, 120), p.uniform(-30, 30)
		door := offset(stores[store].Center, dir+90, aside)
		var road []geo.Point
		for _, n := range []float64{-1.5, -0.5, 0.5, 1.5} {
			road = append(road, offset(door, dir, n*step+phase))
		}
		ok := true
		for _, place := range road {
			ok = ok && apart(place, store)
		}
		if !ok {
			continue
		}
		for i, place := range road {
			p.live(fixAt(at.Add(time.Duration(i)*every), place, p.uniform(5, 15)))
		}
		return
	}
}

// optedOut is N6. Half refuse pushes when they register, half in the morning of the day.
func (p *planner) optedOut() {
	if p.index%2 == 0 {
		p.consent = false
	} else {
		p.send(p.between(clock(8, 0), clock(9, 30)), "device", map[string]any{"consent": map[string]bool{"push": false}}, "")
	}
	p.visit(p.store, p.between(clock(10, 5), clock(20, 30)), walkIn...)
	p.held("opted_out", 1)
}

// simulated is N7: the gateway refuses the positions at the door, so there is no entry.
func (p *planner) simulated() {
	p.mock = true
	for _, f := range p.fixes(p.store, p.between(clock(10, 5), clock(20, 30)), walkIn...) {
		p.live(f)
	}
	p.self.Want.Refused = "mock"
}

// farAway sends one to three positions between 15 and 60 km from the middle of the town.
func (p *planner) farAway() {
	middle := geo.Point{Lat: 50.45, Lng: 30.53}
	home := offset(middle, p.uniform(0, 360), p.uniform(15_000, 60_000))
	for _, hour := range []int{8, 13, 18}[:1+p.rng.IntN(3)] {
		at := p.between(clock(hour, 0), clock(hour+4, 30))
		p.live(fixAt(at, offset(home, p.uniform(0, 360), p.uniform(0, 300)), p.uniform(5, 60)))
	}
}
