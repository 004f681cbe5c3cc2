package stream

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// benchPings are payloads of n pings each, of devices that walk far from every store: the common case.
func benchPings(prefix string, devices, perMessage int) (subjects []string, payloads [][]byte) {
	for d := range devices {
		var parts []string
		for i := range perMessage {
			parts = append(parts, fmt.Sprintf(`{"t":%d,"lat":%.6f,"lon":%.6f,"acc":12,"spd":1.4}`,
				noon.UnixMilli()+int64(i)*1000, 48+float64(d%1000)*0.001, 25+float64(i)*0.00001))
		}
		text := parts[0]
		if perMessage > 1 {
			text = "[" + strings.Join(parts, ",") + "]"
		}
		subjects = append(subjects, fmt.Sprintf("%s.shop.d%d", prefix, d))
		payloads = append(payloads, []byte(text))
	}
	return subjects, payloads
}

// BenchmarkEndToEnd publishes pings as fast as the gateway takes them, through NATS, collector, durable log, tracker
// and ledger, and waits until the last is decided and committed. The twin is a subscriber that does nothing with
// the same messages. Publisher and server share the process: compare the two, the absolute rates mean little.
func BenchmarkEndToEnd(b *testing.B) {
	// Messages in flight are kept below what the client library or a partition's queue would turn away.
	for _, bm := range []struct {
		perMessage int
		window     int64
	}{{1, 8192}, {10, 4096}, {100, 1024}} {
		perMessage, window := bm.perMessage, bm.window
		run := func(b *testing.B, nc *nats.Conn, prefix string, taken func() int64) {
			subjects, payloads := benchPings(prefix, 500, perMessage)
			sent := int64(0)
			for b.Loop() {
				k := int(sent) % len(subjects)
				if err := nc.Publish(subjects[k], payloads[k]); err != nil {
					b.Fatal(err)
				}
				if sent++; sent%32 == 0 {
					for sent-taken() > window {
						time.Sleep(20 * time.Microsecond)
					}
				}
			}
			for deadline := time.Now().Add(time.Minute); taken() < sent; time.Sleep(20 * time.Microsecond) {
				if time.Now().After(deadline) {
					b.Fatalf("%d of %d messages arrived", taken(), sent)
				}
			}
			b.ReportMetric(float64(sent)*float64(perMessage)/b.Elapsed().Seconds(), "pings/s")
		}
		b.Run(fmt.Sprintf("to=gateway/pings=%d", perMessage), func(b *testing.B) {
			r := newRig(b)
			r.tune = func(c *Config) { c.Ingest.DeviceRecords = 1 << 30 }
			r.start()
			defer r.halt()
			run(b, r.nc, "ping", func() int64 { return r.gw.count.processed.Load() / int64(perMessage) })
			r.settle()
			if d := r.gw.Status().Stats.Dropped; len(d) > 0 {
				b.Fatalf("dropped %v", d)
			}
		})
		b.Run(fmt.Sprintf("to=nobody/pings=%d", perMessage), func(b *testing.B) {
			r := newRig(b)
			r.start()
			defer r.halt()
			nc, err := r.server.Connect("nobody")
			if err != nil {
				b.Fatal(err)
			}
			defer nc.Close()
			var got atomic.Int64
			if _, err := nc.Subscribe("nobody.>", func(*nats.Msg) { got.Add(1) }); err != nil {
				b.Fatal(err)
			}
			if err := nc.Flush(); err != nil {
				b.Fatal(err)
			}
			run(b, r.nc, "nobody", got.Load)
		})
	}
}
