package stream

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"footfall/fences"
	"footfall/stream/wire"
)

// rebuildFences is a chain that covers a continent.
const rebuildFences = 100_000

// BenchmarkRebuild is what a running gateway's decisions notice of a set of 100,000 fences that is drawn anew: 200 entries
// and 1,800 pings without effect a second, in spans of one second in which one edit after the other is applied, in turn with
// spans in which none is. An edit moves one fence; all of them are indexed again and swapped. Reported are, with edits and
// without, the median and the 99th percentile of the time from the collector to the decision and to the durable claim, and how
// long an edit takes.
func BenchmarkRebuild(b *testing.B) {
	r := newRig(b)
	r.fences = make([]fences.Fence, rebuildFences)
	zone := mustZone("Europe/Kyiv")
	for i := range r.fences {
		f := store(b, "s", 36+0.0101*float64(i/1000), 10+0.0137*float64(i%1000))
		f.ID, f.Name, f.Location = fences.ID(fmt.Sprintf("s%06d", i)), fmt.Sprint("Store ", i), zone
		r.fences[i] = f
	}
	r.tune = func(c *Config) { c.Ingest.DeviceRecords, c.Now = 1<<30, time.Now }
	r.start()
	defer r.halt()

	js, err := jetstream.New(r.nc)
	if err != nil {
		b.Fatal(err)
	}
	events, err := js.OrderedConsumer(b.Context(), wire.EventsStream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{"ev.shop.enter.*"}})
	if err != nil {
		b.Fatal(err)
	}
	var mu sync.Mutex
	var seen []Stages
	hearing, err := events.Consume(func(m jetstream.Msg) {
		var ev TransitionEvent
		if err := json.Unmarshal(m.Data(), &ev); err != nil {
			b.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, ev.Stages)
	})
	if err != nil {
		b.Fatal(err)
	}
	defer hearing.Stop()

	sent := 0
	send := func(until time.Time) {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for now := time.Now(); now.Before(until); now = <-tick.C {
			f := &r.fences[sent*7919%rebuildFences]
			at := f.Shape.Center()
			_ = r.nc.Publish(fmt.Sprint("ping.shop.v", sent), fmt.Appendf(nil, `{"t":%d,"lat":%f,"lon":%f,"acc":5}`, now.UnixMilli(), at.Lat, at.Lng))
			for i := range 9 {
				_ = r.nc.Publish(fmt.Sprint("ping.shop.far", i), fmt.Appendf(nil, `{"t":%d,"lat":-30.1,"lon":25.1,"acc":5}`, now.UnixMilli()))
			}
			sent++
		}
	}
	type span struct {
		from, to int64
		edited   bool
	}
	var spans []span
	var edits []float64
	edit := func(until time.Time) {
		for i := 0; time.Now().Before(until); i++ {
			fs := slices.Clone(r.fences)
			fs[i%rebuildFences] = store(b, string(fs[i%rebuildFences].ID), 30, 5+0.01*float64(i))
			began := time.Now()
			if _, err := r.gw.SetFences(b.Context(), fs); err != nil {
				b.Error(err)
				return
			}
			edits = append(edits, time.Since(began).Seconds())
		}
	}
	send(time.Now().Add(2 * time.Second)) // warm
	for b.Loop() {
		for i := range 12 {
			s := span{from: time.Now().UnixMicro(), edited: i%2 == 1}
			end := time.Now().Add(time.Second)
			var editing sync.WaitGroup
			if s.edited {
				editing.Go(func() { edit(end) })
			}
			send(end)
			s.to = time.Now().UnixMicro()
			spans = append(spans, s)
			editing.Wait()
		}
	}
	r.settle()
	mu.Lock()
	defer mu.Unlock()
	var decided, claimed [2][]float64 // without edits, with
	for _, at := range seen {
		for _, s := range spans {
			if at.CollectedUS >= s.from && at.CollectedUS < s.to && at.DurableUS != 0 {
				i := 0
				if s.edited {
					i = 1
				}
				decided[i] = append(decided[i], float64(at.DecidedUS-at.CollectedUS)/1000)
				claimed[i] = append(claimed[i], float64(at.DurableUS-at.CollectedUS)/1000)
			}
		}
	}
	if len(decided[0]) == 0 || len(decided[1]) == 0 {
		b.Fatalf("%d entries sent, %d heard of", sent, len(seen))
	}
	b.ReportMetric(0, "ns/op")
	for i, name := range []string{"alone", "edits"} {
		for _, stage := range []struct {
			name string
			ms   []float64
		}{{"decided", decided[i]}, {"claimed", claimed[i]}} {
			slices.Sort(stage.ms)
			b.ReportMetric(stage.ms[len(stage.ms)/2], name+"-"+stage.name+"-p50-ms")
			b.ReportMetric(stage.ms[len(stage.ms)*99/100], name+"-"+stage.name+"-p99-ms")
		}
	}
	b.ReportMetric(median(edits), "s/edit")
	b.Logf("%d entries alone, %d beside %d edits", len(decided[0]), len(decided[1]), len(edits))
}
