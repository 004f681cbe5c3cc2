package stream

import (
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"footfall/fences"
	"footfall/stream/natsd"
)

// system is one of two things that a publisher is let loose on.
type system struct {
	pub    *publisher
	taken  func() int64 // messages dealt with
	window int64        // messages that may be on the way: below what any queue turns away
	check  func()       // after the last round; may be nil
}

// run lets the publisher send for a warm-up and then for d, and returns messages a second and the CPU seconds that
// this process used for one message.
func (s *system) run(b *testing.B, d time.Duration) (rate, cpu float64) {
	b.Helper()
	var from, began int64
	var cpu0 time.Duration
	start := time.Now()
	warm, end := start.Add(d/4), start.Add(d/4+d)
	for now := start; now.Before(end); now = time.Now() {
		taken := s.taken()
		if from == 0 && now.After(warm) {
			from, began, cpu0 = taken, now.UnixNano(), processCPU()
		}
		if err := s.pub.allow(taken + s.window); err != nil {
			b.Fatal(err)
		}
		time.Sleep(300 * time.Microsecond)
	}
	n := float64(s.taken() - from)
	rate = n / (float64(time.Now().UnixNano()-began) / 1e9)
	cpu = (processCPU() - cpu0).Seconds() / n
	for deadline := time.Now().Add(20 * time.Second); s.taken() < s.pub.limit; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d messages were dealt with", s.taken(), s.pub.limit)
		}
	}
	return rate, cpu
}

// processCPU is the CPU time of this process so far.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const (
	benchRounds = 7
	benchRound  = 600 * time.Millisecond
	// benchWarmUp is how long a new system is under load before it is measured. Until then half of its processor time goes into
	// memory that is touched for the first time, block caches of 16 logs above all; a gateway runs for days.
	benchWarmUp = 10 * time.Second
)

// compare runs two systems in turn and reports pings a second, CPU seconds per million pings of both, and the median over the rounds
// of the quotient of their rates. Each benchmark is one iteration.
func compare(b *testing.B, pings int, subject, base *system) {
	b.Helper()
	var rates, baseRates, cpus, baseCPUs, quotients []float64
	subject.run(b, benchWarmUp)
	base.run(b, benchWarmUp)
	for b.Loop() {
		for round := range benchRounds {
			measure := func() {
				r, c := subject.run(b, benchRound)
				rates, cpus = append(rates, r), append(cpus, c)
			}
			if round%2 == 0 {
				measure()
			}
			r, c := base.run(b, benchRound)
			baseRates, baseCPUs = append(baseRates, r), append(baseCPUs, c)
			if round%2 == 1 {
				measure()
			}
			quotients = append(quotients, rates[len(rates)-1]/r)
		}
	}
	for _, s := range []*system{subject, base} {
		if s.check != nil {
			s.check()
		}
	}
	n := float64(pings)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(rates)*n, "pings/s")
	b.ReportMetric(median(baseRates)*n, "base-pings/s")
	b.ReportMetric(median(quotients), "ratio")
	b.ReportMetric(median(cpus)*1e6/n, "cpu-s/M")
	b.ReportMetric(median(baseCPUs)*1e6/n, "base-cpu-s/M")
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// benchGateway is a gateway over loopback in the world of the publishers.
func benchGateway(b testing.TB, tune func(*Config)) *rig {
	b.Helper()
	r := newRig(b)
	r.fences = benchWorldFences(b)
	r.listen = func(c *natsd.Config) { c.Listen = "127.0.0.1:0" }
	r.tune = func(c *Config) {
		c.Ingest.DeviceRecords, c.Now = 1<<30, time.Now
		if tune != nil {
			tune(c)
		}
	}
	r.start()
	return r
}

func benchWorldFences(b testing.TB) []fences.Fence {
	b.Helper()
	fs := make([]fences.Fence, benchFences)
	for i := range fs {
		lat, lng := fencePlace(i)
		fs[i] = store(b, fmt.Sprintf("s%05d", i), lat, lng)
	}
	return fs
}

// gatewaySystem sends a load to a new gateway and counts what is decided.
func gatewaySystem(b *testing.B, l load, window int64, tune func(*Config)) *system {
	b.Helper()
	r := benchGateway(b, tune)
	l.URL = r.server.ClientURL()
	s := &system{pub: startPublisher(b, l), window: window}
	s.taken = func() int64 { return r.gw.count.processed.Load() / int64(l.Pings) }
	b.Cleanup(r.halt)
	s.check = func() {
		r.settle()
		if st := r.gw.Status().Stats; len(st.Dropped) > 0 || len(st.Refused) > 0 || len(st.Poison) > 0 {
			b.Errorf("dropped %v, refused %v, poison %v", st.Dropped, st.Refused, st.Poison)
		} else if st.Kinds["enter"] == 0 {
			b.Errorf("nobody entered: %+v", st)
		} else {
			b.Logf("%d pings in %d batches, %v, %d events, %d commits", st.Pings, st.Batches, st.Kinds, st.Relayed, r.db.Stats().Groups)
		}
	}
	return s
}

// nobodySystem sends a load to a subscriber that does nothing, in the process of its server as the gateway is.
func nobodySystem(b *testing.B, l load, window int64) *system {
	b.Helper()
	srv, err := natsd.Start(natsd.Config{Listen: "127.0.0.1:0", StoreDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(srv.Shutdown)
	nc, err := srv.Connect("nobody")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	var got atomic.Int64
	if _, err := nc.Subscribe("ping.>", func(*nats.Msg) { got.Add(1) }); err != nil {
		b.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		b.Fatal(err)
	}
	l.URL = srv.ClientURL()
	return &system{pub: startPublisher(b, l), taken: got.Load, window: window}
}

// BenchmarkEndToEnd sends pings from another process as fast as they are taken, through NATS, collector, durable log,
// tracker, ledger and EVENTS; a thousandth of them makes a transition. The base is a subscriber that does nothing
// with the same messages.
func BenchmarkEndToEnd(b *testing.B) {
	for _, bm := range benchLoads {
		b.Run(bm.name, func(b *testing.B) {
			compare(b, bm.load.Pings, gatewaySystem(b, bm.load, bm.window, nil), nobodySystem(b, bm.load, bm.window))
		})
	}
}

var benchLoads = []struct {
	name   string
	load   load
	window int64
}{
	{"json=1", load{Pings: 1, Devices: benchDevices}, 16384},
	{"json=10", load{Pings: 10, Devices: benchDevices}, 4096},
	{"json=100", load{Pings: 100, Devices: benchDevices}, 768},
	{"proto=100", load{Pings: 100, Devices: benchDevices, Proto: true}, 768},
	{"conns=1000", load{Pings: 1, Devices: benchDevices, Conns: 1000}, 8192},
}

// BenchmarkGateway is the subject of BenchmarkEndToEnd without the base: for profiles.
func BenchmarkGateway(b *testing.B) {
	for _, bm := range benchLoads {
		b.Run(bm.name, func(b *testing.B) {
			s := gatewaySystem(b, bm.load, bm.window, nil)
			s.run(b, benchWarmUp)
			var rate, cpu float64
			for b.Loop() {
				rate, cpu = s.run(b, 5*benchRound)
			}
			s.check()
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(rate*float64(bm.load.Pings), "pings/s")
			b.ReportMetric(cpu*1e6/float64(bm.load.Pings), "cpu-s/M")
		})
	}
}

// BenchmarkLogKinds compares a gateway whose log is files of its own with one whose log is in streams of the same server.
func BenchmarkLogKinds(b *testing.B) {
	for _, bm := range benchLoads {
		b.Run(bm.name, func(b *testing.B) {
			compare(b, bm.load.Pings, gatewaySystem(b, bm.load, bm.window, nil), gatewaySystem(b, bm.load, bm.window, func(c *Config) { c.Log.JetStream = true }))
		})
	}
}

// BenchmarkDurableLog compares the gateway with JetStream as most would use it: one stored message per ping, published
// asynchronously with acknowledgements, and a consumer. The gateway does all its work besides.
func BenchmarkDurableLog(b *testing.B) {
	l := load{Pings: 1, Devices: benchDevices}
	subject := gatewaySystem(b, l, 16384, nil)
	srv, err := natsd.Start(natsd.Config{Listen: "127.0.0.1:0", StoreDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(srv.Shutdown)
	nc, err := srv.Connect("singles")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	s, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "SINGLE", Subjects: []string{"single"}, MaxBytes: 1 << 30, Duplicates: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	c, err := s.OrderedConsumer(b.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	var got atomic.Int64
	cc, err := c.Consume(func(jetstream.Msg) { got.Add(1) }, jetstream.PullMaxMessages(5000))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cc.Stop)
	l.URL, l.JS = srv.ClientURL(), true
	compare(b, 1, subject, &system{pub: startPublisher(b, l), taken: got.Load, window: 8192})
}
