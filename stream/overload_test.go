package stream

import (
	"fmt"
	"os"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"footfall/stream/wire"
)

// TestOverload sends far more than the gateway can take: plain pings of one partition as fast as they go, and entries
// of ever new devices as requests; for a part of the time the log stands still. Then the load ends. Held to:
//
//   - memory stays bounded while it lasts;
//   - requests are answered busy and plain pings that were not taken are counted;
//   - within 30 s of its end (one or two where nothing else runs) a new entry is on EVENTS within a second;
//   - every entry that was answered ok is on EVENTS, once.
//
// FOOTFALL_LONG=1 keeps it up for a minute.
func TestOverload(t *testing.T) {
	lasts := 3 * time.Second
	if os.Getenv("FOOTFALL_LONG") != "" {
		lasts = time.Minute
	}
	const (
		heapLimit = 512 << 20
		recovery  = 30 * time.Second
		promptly  = time.Second
		partition = 3
	)
	r := newRig(t)
	r.tune = func(c *Config) { c.Ingest.DeviceRecords, c.Now = 1<<30, time.Now }
	r.start()
	defer r.halt()

	var mu sync.Mutex
	acked, entered := map[string]bool{}, map[string]int{}
	var busy atomic.Int64
	// An inbox subject ends with the device, so that one subscription hears all the answers.
	answers, err := r.nc.Subscribe("answers.*", func(m *nats.Msg) {
		reply, err := wire.ParseReply(m.Data)
		switch {
		case err != nil:
			t.Errorf("answered %s", m.Data)
		case reply.OK:
			mu.Lock()
			acked[m.Subject[len("answers."):]] = true
			mu.Unlock()
		default:
			busy.Add(1)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := answers.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	enter := func(nc *nats.Conn, device string) error {
		return nc.PublishRequest("ping.shop."+device, "answers."+device, fmt.Appendf(nil, `{"t":%d,"lat":50.4501,"lon":30.5234,"acc":5}`, time.Now().UnixMilli()))
	}
	js, err := jetstream.New(r.nc)
	if err != nil {
		t.Fatal(err)
	}
	events, err := js.OrderedConsumer(t.Context(), wire.EventsStream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{"ev.shop.enter.k01"}})
	if err != nil {
		t.Fatal(err)
	}
	hearing, err := events.Consume(func(m jetstream.Msg) {
		_, rest, _ := strings.Cut(string(m.Data()), `"device":"`)
		device, _, _ := strings.Cut(rest, `"`)
		mu.Lock()
		entered[device]++
		mu.Unlock()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer hearing.Stop()

	var load sync.WaitGroup
	end := time.Now().Add(lasts)
	var parts []string
	for i := range 100 {
		parts = append(parts, fmt.Sprintf(`{"age_ms":%d,"lat":48.1,"lon":25.1}`, 100-i))
	}
	array := []byte("[" + strings.Join(parts, ",") + "]")
	flooders := devicesOf(partition, 64)
	for range 2 {
		nc, err := r.server.Connect("flood")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		load.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				_ = nc.Publish("ping.shop."+flooders[i%len(flooders)], array)
			}
			_ = nc.Flush()
		})
	}
	load.Go(func() {
		pace := time.NewTicker(200 * time.Microsecond)
		defer pace.Stop()
		for i := 0; time.Now().Before(end); i++ {
			<-pace.C
			_ = enter(r.nc, fmt.Sprint("v", i))
		}
	})
	load.Go(func() { // the log stands still for a third of the time
		slots := r.gw.collector.appends[0].slots
		<-time.After(lasts / 3)
		for range appendsAtOnce {
			slots <- struct{}{}
		}
		<-time.After(min(lasts/3, 4*time.Second))
		for range appendsAtOnce {
			<-slots
		}
	})
	// What each collection found alive. How much garbage lies beside it depends on when the collector got a processor.
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var peak uint64
	for time.Now().Before(end) {
		metrics.Read(live)
		peak = max(peak, live[0].Value.Uint64())
		<-time.After(50 * time.Millisecond)
	}
	load.Wait()
	ended := time.Now()
	if peak > heapLimit {
		t.Errorf("the live heap grew to %d MiB, the limit is %d", peak>>20, heapLimit>>20)
	}
	prompt := false
	for i := 0; !prompt && time.Since(ended) < recovery; i++ {
		device := fmt.Sprint("probe", i)
		sent := time.Now()
		if err := enter(r.nc, device); err != nil {
			t.Fatal(err)
		}
		for !prompt && time.Since(sent) < promptly {
			<-time.After(5 * time.Millisecond)
			mu.Lock()
			prompt = entered[device] > 0
			mu.Unlock()
		}
	}
	recovered := time.Since(ended)
	if !prompt {
		t.Errorf("%s after the load ended no entry was on EVENTS within %s", recovered, promptly)
	}
	r.settle()
	r.await("every answered entry on EVENTS", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for device := range acked {
			if entered[device] == 0 {
				return false
			}
		}
		return true
	})
	mu.Lock()
	defer mu.Unlock()
	for device, n := range entered {
		if n != 1 {
			t.Errorf("%s entered %d times", device, n)
		}
	}
	s := r.gw.Status().Stats
	if busy.Load() == 0 || s.Dropped["log_slow"]+s.Dropped["overload"] == 0 {
		t.Errorf("%d answers busy, dropped %v: the load was none", busy.Load(), s.Dropped)
	}
	t.Logf("%d entries answered ok, %d busy; dropped %v; %d pings stored; heap at most %d MiB; an entry took less than %s again %s after the end",
		len(acked), busy.Load(), s.Dropped, s.Pings, peak>>20, promptly, recovered.Round(10*time.Millisecond))
}
