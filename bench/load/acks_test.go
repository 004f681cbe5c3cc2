package load

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// stingy stands in for a gateway: it answers a message busy the first time and stores it the second. Nothing
// comes of what it stores.
type stingy struct {
	mu    sync.Mutex
	asked map[string]int // by subject and payload
}

const stingyMS = 120

func (g *stingy) answer(m *nats.Msg) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := m.Subject + string(m.Data)
	if g.asked[key]++; g.asked[key] == 1 {
		_ = m.Respond([]byte(`{"ok":false,"busy":true,"retry_ms":120}`))
		return
	}
	_ = m.Respond([]byte(`{"ok":true,"n":1}`))
}

func startStingy(t *testing.T) (*stingy, string) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"ev.>"}, Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	g := &stingy{asked: map[string]int{}}
	for subject, fn := range map[string]nats.MsgHandler{
		"ping.>":     g.answer,
		"device.>":   func(m *nats.Msg) { _ = m.Respond([]byte(`{"ok":true}`)) },
		statsSubject: func(m *nats.Msg) { _ = m.Respond([]byte(`{"stats":{},"settled":true}`)) },
	} {
		if _, err := nc.Subscribe(subject, fn); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return g, srv.ClientURL()
}

// A request that is answered busy goes out again, once, not before the gateway said, and counts as acknowledged then.
func TestBusyIsSentAgain(t *testing.T) {
	g, url := startStingy(t)
	cfg, err := Config{Profile: "city", Seed: 7, Rate: 200, Devices: 200, Duration: time.Second, Warmup: 100 * time.Millisecond, Ack: true}.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	res, err := Run(t.Context(), plan, Target{URL: url, SameClock: true}, Options{Drain: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	n := int64(len(plan.Messages))
	if n == 0 || res.Load.Busy != n || res.Load.Retried != n || res.Load.Acked != n || res.Load.Unanswered != 0 {
		t.Errorf("of %d messages: %d busy, %d sent again, %d acknowledged, %d unanswered", n, res.Load.Busy, res.Load.Retried, res.Load.Acked, res.Load.Unanswered)
	}
	for key, times := range g.asked {
		if times != 2 {
			t.Errorf("%q came %d times", key, times)
		}
	}
	if ack := res.Stages["ack"]; ack == nil || ack.P50US < stingyMS*1000 {
		t.Errorf("acknowledged sooner than the gateway had said it would: %+v", ack)
	}
	if res.Commit == "" {
		t.Error("the result does not say what it was made with")
	}
}
