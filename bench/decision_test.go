package bench

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/uber/h3-go/v4"

	"footfall/bench/measure"
	"footfall/bench/world"
	"footfall/fences"
	"footfall/geo"
	"footfall/stream/wire"
	"footfall/track"
)

// fenceSet is a set of circles with ids.
func fenceSet(tb testing.TB, shapes []*geo.Shape) *fences.Set {
	tb.Helper()
	set, err := fences.NewSet(fenceList(shapes), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func fenceList(shapes []*geo.Shape) []fences.Fence {
	fs := make([]fences.Fence, len(shapes))
	for i, s := range shapes {
		fs[i] = fences.Fence{ID: fences.ID(fmt.Sprintf("store-%07d", i)), Shape: *s}
	}
	return fs
}

// deviceIDs are ids as SDKs make them: an app and 16 hexadecimal digits.
func deviceIDs(n int) []track.DeviceID {
	rng := rand.New(rand.NewPCG(9, 9))
	ids := make([]track.DeviceID, n)
	for i := range ids {
		ids[i] = track.DeviceID(fmt.Sprintf("shop.%016x", rng.Uint64()))
	}
	return ids
}

// uuids are ids as phones make them.
func uuids(n int) []track.DeviceID {
	rng := rand.New(rand.NewPCG(9, 10))
	ids := make([]track.DeviceID, n)
	for i := range ids {
		ids[i] = track.DeviceID(fmt.Sprintf("shop.%08x-%04x-4%03x-%04x-%012x", rng.Uint32(), rng.IntN(1<<16), rng.IntN(1<<12), 1<<15|rng.IntN(1<<14), rng.Int64N(1<<48)))
	}
	return ids
}

// fleet is what walking devices send, in the forms in which it comes: sealed batches of the log, and JSON. Time
// goes on for ever: each play of the recorded rounds is later than the one before.
type fleet struct {
	ids    []track.DeviceID
	at     []geo.Point // whole rounds of all devices
	logs   [][]byte    // sealed batches of logPings pings
	json   [][]byte    // one ping each, aligned with at; made by withJSON
	length int64       // of a play in ms

	next  int    // log batch, or ping
	later int64  // ms since the recording
	seq   uint64 // of the log batch
}

const (
	fleetStart = 1_764_324_000_000
	fleetStep  = 30_000 // ms from fix to fix
	logPings   = 512
)

func newFleet(ids []track.DeviceID, at []geo.Point) *fleet {
	f := &fleet{ids: ids, at: at}
	var b []byte
	for k, p := range at {
		b = wire.AppendRecord(b, &wire.Record{Kind: wire.KindPing, Device: ids[k%len(ids)], Fix: f.fix(k, p)})
		if (k+1)%logPings == 0 || k == len(at)-1 {
			f.logs = append(f.logs, wire.SealBatch(b))
			b = nil
		}
	}
	f.length = int64(len(at)/len(ids)) * fleetStep
	return f
}

// fix is ping k of the recording: what phones send, with seven decimals.
func (f *fleet) fix(k int, p geo.Point) track.Fix {
	e7 := func(v float64) float64 { return math.Round(v*1e7) / 1e7 }
	at := fleetStart + int64(k/len(f.ids))*fleetStep + int64(k%len(f.ids))*fleetStep/int64(len(f.ids))
	return track.Fix{FixedAt: at - int64(k%7)*300, ReceivedAt: at, Lat: e7(p.Lat), Lng: e7(p.Lng), HasPosition: true, AccuracyM: 12, SpeedMPS: 1.4}
}

// nextLog is the next batch of the log.
func (f *fleet) nextLog() (batch []byte, first uint64) {
	if f.next == len(f.logs) {
		// Again, later: the base of a batch moves all its times.
		f.next, f.later = 0, f.later+f.length
		for i, b := range f.logs {
			binary.LittleEndian.PutUint64(b[2:], binary.LittleEndian.Uint64(b[2:])+uint64(f.length))
			f.logs[i] = wire.SealBatch(b[:len(b)-4])
		}
	}
	f.next++
	f.seq++
	return f.logs[f.next-1], f.seq << 10
}

// compact is the decision for pings from the log, as a partition worker makes it.
type compact struct {
	t      *track.Tracker
	set    *fences.Set
	f      *fleet
	reader wire.BatchReader
	pings  track.Batch
	res    track.Result
	counts track.Counts
	each   func(int, *track.Result)

	transitions int
}

func newCompact(set *fences.Set, f *fleet) *compact {
	c := &compact{t: track.New(track.DefaultRules()), set: set, f: f}
	c.res.Transitions = make([]track.Transition, 0, 16)
	c.each = func(_ int, res *track.Result) { c.transitions += len(res.Transitions) }
	return c
}

// run decides about n pings, to whole batches of the log.
func (c *compact) run(n int) {
	for n > 0 {
		batch, first := c.f.nextLog()
		if err := c.reader.Reset(batch); err != nil {
			panic(err)
		}
		for more := true; more; {
			var err error
			if _, more, err = c.reader.Fill(&c.pings, nil, first); err != nil {
				panic(err)
			}
			n -= c.pings.Len()
			c.t.ApplyBatch(c.set, &c.pings, &c.counts, &c.res, c.each)
		}
	}
}

// withJSON makes the pings' JSON.
func (f *fleet) withJSON() *fleet {
	for k, p := range f.at {
		x := f.fix(k, p)
		f.json = append(f.json, fmt.Appendf(nil, `{"t":%d,"lat":%.7f,"lon":%.7f,"acc":%.1f,"spd":%.2f,"crs":%d,"alt":%.1f,"src":"stream"}`,
			x.FixedAt, x.Lat, x.Lng, x.AccuracyM, x.SpeedMPS, k%360, 100+float64(k%1000)/10))
	}
	return f
}

// single is the decision for pings that come one by one as JSON.
type single struct {
	t     *track.Tracker
	set   *fences.Set
	f     *fleet
	fixes []track.Fix
	res   track.Result
	pos   uint64

	transitions int
}

func newSingle(set *fences.Set, f *fleet) *single {
	s := &single{t: track.New(track.DefaultRules()), set: set, f: f, fixes: make([]track.Fix, 0, 1)}
	s.res.Transitions = make([]track.Transition, 0, 16)
	return s
}

func (s *single) run(n int) {
	f := s.f
	for ; n > 0; n-- {
		if f.next == len(f.at) {
			f.next, f.later = 0, f.later+f.length
		}
		k := f.next
		f.next++
		s.pos++
		at := fleetStart + int64(k/len(f.ids))*fleetStep + int64(k%len(f.ids))*fleetStep/int64(len(f.ids))
		fixes, refused, err := wire.DecodePings(s.fixes[:0], f.json[k], at)
		if err != nil || refused != nil {
			panic(fmt.Sprint(err, refused))
		}
		fix := &fixes[0]
		fix.FixedAt, fix.ReceivedAt = fix.FixedAt+f.later, fix.ReceivedAt+f.later
		s.t.Apply(s.set, f.ids[k%len(f.ids)], *fix, s.pos, &s.res)
		s.transitions += len(s.res.Transitions)
	}
}

// BenchmarkDecision is the whole in-process decision: reading the ping, fences of the position, state of
// the device, transitions; compact records of the log in batches, and JSON one at a time, each beside one bare cell
// lookup of the H3 binding.
func BenchmarkDecision(b *testing.B) {
	for _, fenceCount := range []int{100, 10_000, 1_000_000} {
		const devices = 100_000
		shapes := world.Stores(fenceCount)
		set := fenceSet(b, shapes)
		ids, at := deviceIDs(devices), world.Walkers(shapes, devices, 6)
		i := 0
		var sum h3.Cell
		cell := measure.Impl{Name: "h3go_cell", Run: func(ops int) {
			for range ops {
				p := at[i%len(at)]
				c, err := h3.LatLngToCell(h3.LatLng{Lat: p.Lat, Lng: p.Lng}, 9)
				if err != nil {
					b.Fatal(err)
				}
				sum += c
				i++
			}
		}}
		b.Run(fmt.Sprintf("compact/fences=%d/devices=%d", fenceCount, devices), func(b *testing.B) {
			c := newCompact(set, newFleet(ids, at))
			c.run(len(at))
			r := measure.Paired(b, 1<<14, measure.Impl{Name: "compact", Run: c.run}, cell)
			if c.transitions == 0 || c.counts[track.Refused]+c.counts[track.Replayed]+c.counts[track.Late] > 0 {
				b.Fatal(c.transitions, c.counts)
			}
			what := fmt.Sprintf("decision, %d fences, compact records in batches / one h3-go 4.5.0 cell", fenceCount)
			switch fenceCount {
			case 10_000:
				measure.AtMost(b, what, r.Of("compact", "h3go_cell"), 0.07, "")
			case 1_000_000:
				measure.AtMost(b, what, r.Of("compact", "h3go_cell"), 0.12, "")
			default:
				measure.Tell(b, what, r.Of("compact", "h3go_cell"), "")
			}
		})
		b.Run(fmt.Sprintf("json/fences=%d/devices=%d", fenceCount, devices), func(b *testing.B) {
			s := newSingle(set, newFleet(ids, at).withJSON())
			s.run(len(at))
			r := measure.Paired(b, 1<<14, measure.Impl{Name: "json", Run: s.run}, cell)
			if s.transitions == 0 {
				b.Fatal("nobody enters")
			}
			if fenceCount == 10_000 {
				measure.AtMost(b, "decision, 10000 fences, JSON one at a time / one h3-go 4.5.0 cell", r.Of("json", "h3go_cell"), 0.32, "")
			}
		})
	}
}
