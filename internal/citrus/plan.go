package citrus

import (
	"math/rand/v2"
	"time"

	"footfall/geo"
)

// planner writes the day of one person into the day of all.
type planner struct {
	day     *Day
	rng     *rand.Rand
	index   int // within the group
	person  int // within the day
	store   int
	self    Person
	consent bool
	mock    bool
	twice   bool
}

// clock is a time of the event day on the wall in Kyiv.
func clock(hour, minute int) time.Time {
	return Opens.Add(time.Duration(hour-10)*time.Hour + time.Duration(minute)*time.Minute)
}

// between draws a time to the millisecond.
func (p *planner) between(from, to time.Time) time.Time {
	return from.Add(time.Duration(p.rng.Int64N(to.Sub(from).Milliseconds())) * time.Millisecond)
}

func (p *planner) uniform(from, to float64) float64 { return from + p.rng.Float64()*(to-from) }

func (p *planner) send(at time.Time, class string, v any, refused string) {
	p.day.Messages = append(p.day.Messages, Message{
		SendAt: at, Person: p.person, Subject: class + "." + App + "." + p.self.Device, Payload: encode(v), Refused: refused,
	})
}

// register sends what an app says of itself, in the evening before.
func (p *planner) register() {
	locale := "uk-UA"
	if p.index%3 == 2 {
		locale = "en"
	}
	at := p.between(p.day.Begins, p.day.Begins.Add(10*time.Minute))
	p.send(at, "device", map[string]any{
		"user": p.self.User, "platform": p.self.Platform, "token": p.self.Token, "locale": locale, "zone": Zone,
		"consent": map[string]bool{"location": true, "push": p.consent},
	}, "")
}

// live sends a position within two seconds of its fix.
func (p *planner) live(f ping) {
	code := ""
	if p.mock {
		f.Mock, code = true, "mock"
	}
	at := time.UnixMilli(f.T).Add(time.Duration(p.rng.IntN(1000)) * time.Millisecond)
	p.send(at, "ping", f, code)
	if p.twice {
		p.send(at.Add(time.Second), "ping", f, code)
		p.self.Want.Duplicates++
	}
	if code == "" {
		p.seen(geo.Point{Lat: f.Lat, Lng: f.Lon})
	}
}

// batch uploads positions together.
func (p *planner) batch(at time.Time, fs []ping) {
	p.send(at, "ping", fs, "")
	last := fs[len(fs)-1]
	p.seen(geo.Point{Lat: last.Lat, Lng: last.Lon})
}

// seen notes the last place that the gateway knows.
func (p *planner) seen(at geo.Point) {
	w := &p.self.Want
	w.Nearest = ""
	for i := range stores {
		if d := geo.DistanceM(at, stores[i].Center); w.Nearest == "" || d < w.NearestM {
			w.Nearest, w.NearestM = stores[i].ID, d
		}
	}
}

// stop is one fix of a walk: the distance from the store's centre and the time from the entry.
type stop struct {
	metres float64
	after  time.Duration
}

// A walk comes on foot from the street and enters at the fix of time 0; a leave is clearly outside.
var (
	walkIn  = []stop{{330, -115 * time.Second}, {235, -60 * time.Second}, {140, 0}, {70, 50 * time.Second}}
	comesIn = []stop{{330, -95 * time.Second}, {130, 0}, {60, 60 * time.Second}}
	leaves  = stop{330, 10 * time.Minute}
)

// fixes places stops on a straight line from a store, each known to 5-20 m.
func (p *planner) fixes(store int, entry time.Time, stops ...stop) []ping {
	metres := make([]float64, len(stops))
	for i, s := range stops {
		metres[i] = s.metres
	}
	dir := someBearing(p.rng, store, metres...)
	out := make([]ping, len(stops))
	for i, s := range stops {
		out[i] = fixAt(entry.Add(s.after), offset(stores[store].Center, dir, s.metres), p.uniform(5, 20))
	}
	return out
}

// visit walks into a store and reports as it goes.
func (p *planner) visit(store int, entry time.Time, stops ...stop) {
	for _, f := range p.fixes(store, entry, stops...) {
		p.live(f)
	}
	p.self.Want.Entries++
}

// held says that n of the entries lead to no notice.
func (p *planner) held(reason string, n int) { p.self.Want.Held = map[string]int{reason: n} }
