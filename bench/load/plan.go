package load

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Plan is everything that a run sends and everything that has to come of it. It is not changed by a run.
type Plan struct {
	Config   Config
	World    *World
	Devices  []Device
	Messages []Message // by At
	Pings    []Ping
	Expect   []Expectation
	// Refused is the number of pings that the gateway has to refuse at the door.
	Refused int
	// Left is the number of recorded positions that the plan leaves out, because the gateway's answer would hang on
	// the last millimetre or because they repeat a time.
	Left int
}

// Device is one phone.
type Device struct {
	Name   string
	Token  string // push token
	IOS    bool
	OptOut bool
	Enters bool // somewhere in the plan; only such devices are registered
}

// Message is one publish: Pings[First:First+N], all of Device, to be sent At after the start.
type Message struct {
	At     time.Duration
	Device int32
	First  int32
	N      int32
}

// Ping is one position. T is in milliseconds from the start of the run, negative for positions that were kept.
type Ping struct {
	T        int64
	Lat, Lng float64
	Acc      float32
	Mock     bool
}

// Expectation is a transition that the gateway owes, and for an enter what its campaign has to make of it.
type Expectation struct {
	Device  int32
	Circle  int32
	Message int32
	Kind    Kind
	Push    Push
	T       int64 // of the fix, as in Ping
}

// Push is what a campaign makes of an enter.
type Push uint8

// The outcomes that a plan expects. All but Sent are reasons for which the push is held.
const (
	NoPush Push = iota // of an exit
	Sent
	AlreadyClaimed
	Overlap
	OptedOut
	Stale
)

func (p Push) String() string {
	return [...]string{"", "sent", "already_claimed", "overlap", "opted_out", "stale"}[p]
}

// clearM is how far positions stay from every distance at which a rule changes its answer, in metres. The profiles
// that are about edges go as near as a centimetre, ten times what the gateway promises.
func clearM(profile string) float64 {
	switch profile {
	case "jitter", "worst", "replay":
		return 0.01
	}
	return 1.5
}

// Position is one row of a recorded trace.
type Position struct {
	Device   string
	T        int64 // Unix ms
	Lat, Lng float64
	Acc      float32
}

// NewPlan draws the plan of a profile. cfg is complete (WithDefaults).
func NewPlan(cfg Config) (*Plan, error) {
	var w *World
	switch cfg.Profile {
	case "citrus":
		w = kyivWorld()
	case "worst":
		w = gridWorld()
	case "replay":
		return nil, fmt.Errorf("the replay profile needs a trace: NewReplay")
	default:
		w = cityWorld(cfg.Seed)
	}
	p := newPlanner(cfg, w, cfg.Devices)
	c := crowd{cfg: &cfg, world: w, span: cfg.Duration.Seconds(), interval: float64(cfg.Devices*cfg.Batch) / cfg.Rate}
	var backlog int
	if cfg.Profile == "catchup" {
		// What is kept covers eight minutes, however much it is.
		backlog = max(1, int(math.Round(cfg.Rate*cfg.Duration.Seconds()/float64(cfg.Devices*cfg.Batch)))) * cfg.Batch
		c.span = keptFor
		c.interval = c.span / float64(backlog)
	}
	rngs := make([]*rand.Rand, cfg.Devices)
	for i := range rngs {
		rngs[i] = rand.New(rand.NewPCG(cfg.Seed, uint64(i)))
	}
	movers := c.movers(rngs)
	for i := range movers {
		p.plan.Devices[i].OptOut = movers[i].optOut
	}
	if backlog > 0 {
		p.uploads(rngs, movers, backlog)
	} else {
		p.rounds(rngs, movers)
	}
	return p.finish(), nil
}

// NewReplay plans recorded positions, which are in the order of time, at the configured rate. Times and spacing are
// the run's, the order and the places are the recording's.
func NewReplay(cfg Config, w *World, rows []Position) (*Plan, error) {
	most := int(cfg.Rate * cfg.Duration.Seconds())
	index := map[string]int{}
	var names []string
	for i := range rows[:min(most, len(rows))] {
		if _, ok := index[rows[i].Device]; !ok {
			index[rows[i].Device] = len(names)
			names = append(names, rows[i].Device)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the trace has no positions")
	}
	cfg.Devices = len(names)
	cfg.Connections = min(cfg.Connections, len(names))
	p := newPlanner(cfg, w, len(names))
	last := make([]int64, len(names)) // time of the device's last position in the recording
	held := make([][]Ping, len(names))
	arrivals := p.arrivals(1)
	for i := range rows {
		at, ok := arrivals()
		if !ok {
			break
		}
		r := &rows[i]
		d := index[r.Device]
		if r.T <= last[d] && last[d] != 0 { // the same time twice: which place counts is the gateway's own rule
			p.plan.Left++
			continue
		}
		last[d] = r.T
		held[d] = append(held[d], Ping{T: at.Milliseconds(), Lat: round7(r.Lat), Lng: round7(r.Lng), Acc: r.Acc})
		if len(held[d]) == cfg.Batch {
			p.message(at, d, held[d])
			held[d] = held[d][:0]
		}
	}
	for d := range held {
		if len(held[d]) > 0 {
			p.message(cfg.Duration, d, held[d])
		}
	}
	return p.finish(), nil
}

// keptFor is how long the phones of the catchup profile were offline, in seconds: within a gateway's limit for what
// may still push. Every fifth of them was on for as long but came back later than that.
const (
	keptFor = 480
	staleBy = 900
)

type planner struct {
	plan   *Plan
	oracle *oracle
	clearM float64
	rng    *rand.Rand // of the arrivals
	states []state
	around []near
}

// state is what the planner knows of a device.
type state struct {
	presence
	sent     bool // the campaign's push
	sentAt   int  // ping of it
	seen     bool
	lastT    int64
	lat, lng float64
	acc      float64
}

func newPlanner(cfg Config, w *World, devices int) *planner {
	p := &planner{
		plan: &Plan{Config: cfg, World: w, Devices: make([]Device, devices)}, oracle: newOracle(w.Circles), clearM: clearM(cfg.Profile),
		rng: rand.New(rand.NewPCG(cfg.Seed, math.MaxUint64)), states: make([]state, devices),
	}
	for i := range p.plan.Devices {
		d := &p.plan.Devices[i]
		d.Name = fmt.Sprintf("%s-%06d", cfg.RunID, i)
		sum := sha256.Sum256([]byte(d.Name))
		d.Token, d.IOS = hex.EncodeToString(sum[:]), i%2 == 0
		if !d.IOS {
			d.Token = "fcm-" + d.Token
		}
	}
	n := int(cfg.Rate * cfg.Duration.Seconds())
	p.plan.Pings = make([]Ping, 0, n+n/50)
	p.plan.Messages = make([]Message, 0, n/cfg.Batch+n/cfg.Batch/50)
	return p
}

// intensity is the load at a moment as a multiple of the mean; over the whole run it averages 1.
func intensity(shape string, t, total float64) float64 {
	f := t / total
	switch shape {
	case "ramp":
		return 0.2 + 1.6*f
	case "step":
		return 0.4 + 0.4*math.Floor(4*f)
	case "burst": // every tenth of a period 5.5 times as much
		if period := min(10, total/3); math.Mod(t, period) < period/10 {
			return 5.5
		}
		return 0.5
	}
	return 1
}

// arrivals hands out the send times of messages of n pings until the run ends.
func (p *planner) arrivals(n int) func() (time.Duration, bool) {
	cfg := &p.plan.Config
	total, t := cfg.Duration.Seconds(), 0.0
	mean := float64(n) / cfg.Rate
	return func() (time.Duration, bool) {
		at := t
		gap := mean
		if cfg.Arrival == "poisson" {
			gap *= p.rng.ExpFloat64()
		}
		// In steps, so that a long gap at a low load does not jump over a burst.
		const step = 0.001
		for cfg.Shape != "steady" && t < total {
			done := step * intensity(cfg.Shape, t, total)
			if done >= gap {
				gap *= step / done
				break
			}
			gap -= done
			t += step
		}
		t += gap
		return time.Duration(at * float64(time.Second)), at < total
	}
}

// rounds lets every device send in turn. A message carries the positions since the device's last one.
func (p *planner) rounds(rngs []*rand.Rand, movers []mover) {
	cfg := &p.plan.Config
	order := p.rng.Perm(len(movers))
	arrivals := p.arrivals(cfg.Batch)
	spacing := max(1, float64(len(movers))/cfg.Rate*1000) // ms between two positions of a device
	var pings []Ping
	for i := 0; ; i++ {
		at, ok := arrivals()
		if !ok {
			return
		}
		d := order[i%len(order)]
		m := &movers[d]
		pings = pings[:0]
		for j := range cfg.Batch {
			age := spacing * float64(cfg.Batch-1-j)
			t := at.Seconds() - age/1000
			ping := p.position(m, rngs[d], t)
			ping.T = at.Milliseconds() - int64(age) - m.lateMS
			pings = append(pings, ping)
		}
		p.message(at, d, pings)
		if m.twice {
			last := p.plan.Messages[len(p.plan.Messages)-1]
			last.At += time.Millisecond
			p.plan.Messages = append(p.plan.Messages, last)
		}
	}
}

// uploads lets devices come back one after the other, some fifty at a time, each sending all it has kept.
func (p *planner) uploads(rngs []*rand.Rand, movers []mover, backlog int) {
	cfg := &p.plan.Config
	type upload struct {
		device, sent int
		began        time.Duration
	}
	var open []upload
	next := 0
	spacing := keptFor * 1000 / float64(backlog)
	arrivals := p.arrivals(cfg.Batch)
	var pings []Ping
	for i := 0; ; i++ {
		at, ok := arrivals()
		if !ok {
			return
		}
		for len(open) < min(50, len(movers)) && next < len(movers) {
			open = append(open, upload{device: next, began: at})
			next++
		}
		if len(open) == 0 {
			return
		}
		k := i % len(open)
		u := &open[k]
		pings = pings[:0]
		for range min(cfg.Batch, backlog-u.sent) {
			ping := p.position(&movers[u.device], rngs[u.device], float64(u.sent)*spacing/1000)
			ping.T = u.began.Milliseconds() - int64(spacing*float64(backlog-u.sent))
			if u.device%5 == 4 {
				ping.T -= staleBy * 1000
			}
			pings = append(pings, ping)
			u.sent++
		}
		p.message(at, u.device, pings)
		if u.sent == backlog {
			open = slices.Delete(open, k, k+1)
		}
	}
}

func (p *planner) position(m *mover, rng *rand.Rand, t float64) Ping {
	c := &p.plan.World.Circles[m.anchor]
	x, y, acc := m.at(t, rng)
	north, east := degreesPerM(c.Lat)
	return Ping{Lat: round7(c.Lat + y*north), Lng: round7(c.Lng + x*east), Acc: float32(acc), Mock: m.mock}
}

// message adds one publish and everything that has to come of its pings.
func (p *planner) message(at time.Duration, device int, pings []Ping) {
	plan, s := p.plan, &p.states[device]
	m := Message{At: at, Device: int32(device), First: int32(len(plan.Pings))}
	for i := range pings {
		ping := pings[i]
		if s.seen && ping.T <= s.lastT {
			ping.T = s.lastT + 1
		}
		if ping.Mock {
			plan.Refused++
			s.seen, s.lastT = true, ping.T
		} else if !p.settle(s, &ping) {
			plan.Left++
			continue
		}
		plan.Pings = append(plan.Pings, ping)
		if !ping.Mock {
			p.expect(s, device, at, &ping)
		}
	}
	if m.N = int32(len(plan.Pings)) - m.First; m.N > 0 {
		plan.Messages = append(plan.Messages, m)
	}
}

// settle moves a position clear of every distance at which an answer changes and out of reach of the speed limit; a
// recorded one is left out instead. It leaves the distances in p.around.
func (p *planner) settle(s *state, ping *Ping) bool {
	w := p.plan.World
	measure := func() { p.around = p.oracle.around(p.around[:0], ping.Lat, ping.Lng) }
	measure()
	acc := float64(ping.Acc)
	for try := 0; ; try++ {
		n, bad := ambiguous(w.Circles, &w.Rules, p.around, acc, p.clearM)
		if !bad {
			break
		}
		if p.plan.Config.Profile == "replay" {
			return false
		}
		if try == 8 { // between two edges: further along the way it is clear again
			return false
		}
		c := &w.Circles[n.circle]
		f := (n.d + 2.2*p.clearM) / n.d // outwards
		ping.Lat, ping.Lng = round7(c.Lat+(ping.Lat-c.Lat)*f), round7(c.Lng+(ping.Lng-c.Lng)*f)
		measure()
	}
	if w.Rules.MaxSpeedMPS > 0 && s.seen && (s.lat != 0 || s.lng != 0) {
		moved := geodesicM(s.lat, s.lng, ping.Lat, ping.Lng) - min(s.acc, 150) - min(acc, 150)
		if moved > 0.9*w.Rules.MaxSpeedMPS*float64(ping.T-s.lastT)/1000 {
			return false
		}
	}
	return true
}

func (p *planner) expect(s *state, device int, at time.Duration, ping *Ping) {
	plan := p.plan
	s.seen, s.lastT, s.lat, s.lng, s.acc = true, ping.T, ping.Lat, ping.Lng, float64(ping.Acc)
	number := len(plan.Pings) - 1
	s.step(plan.World.Circles, &plan.World.Rules, p.around, float64(ping.Acc), func(k Kind, circle int32) {
		e := Expectation{Device: int32(device), Circle: circle, Message: int32(len(plan.Messages)), Kind: k, T: ping.T}
		if k == Enter {
			d := &plan.Devices[device]
			d.Enters = true
			switch {
			case at.Milliseconds()-ping.T > plan.World.Rules.MaxAgeMS:
				e.Push = Stale
			case d.OptOut:
				e.Push = OptedOut
			case s.sent && s.sentAt == number:
				e.Push = Overlap
			case s.sent:
				e.Push = AlreadyClaimed
			default:
				e.Push = Sent
				s.sent, s.sentAt = true, number
			}
		}
		plan.Expect = append(plan.Expect, e)
	})
}

// finish puts the messages in the order of their times: repeats were planned a moment later than what follows them.
func (p *planner) finish() *Plan {
	plan := p.plan
	order := make([]int32, len(plan.Messages))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return int(plan.Messages[a].At - plan.Messages[b].At) })
	place := make([]int32, len(order))
	sorted := make([]Message, len(order))
	for to, from := range order {
		sorted[to], place[from] = plan.Messages[from], int32(to)
	}
	plan.Messages = sorted
	for i := range plan.Expect {
		plan.Expect[i].Message = place[plan.Expect[i].Message]
	}
	return plan
}

// Sum counts what a plan expects.
type Sum struct {
	Messages, Pings, Enters, Exits, Pushes int
	Held                                   map[string]int
}

// Sum adds up the plan.
func (p *Plan) Sum() Sum {
	s := Sum{Messages: len(p.Messages), Held: map[string]int{}}
	for i := range p.Messages {
		s.Pings += int(p.Messages[i].N)
	}
	for i := range p.Expect {
		switch e := &p.Expect[i]; {
		case e.Kind == Exit:
			s.Exits++
		case e.Push == Sent:
			s.Enters++
			s.Pushes++
		default:
			s.Enters++
			s.Held[e.Push.String()]++
		}
	}
	return s
}
