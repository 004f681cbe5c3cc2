package clienttest

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/internal/nodetest"
	"footfall/push"
	"footfall/stream"
	"footfall/stream/natsd"
	"footfall/stream/wire"
)

// stores are GeoJSON as an app team would hand it over.
const stores = `{"type":"FeatureCollection","features":[
 {"type":"Feature","id":"k01","properties":{"name":"Khreshchatyk","zone":"Europe/Kyiv","radius":200},"geometry":{"type":"Point","coordinates":[30.5234,50.4501]}},
 {"type":"Feature","id":"k02","properties":{"name":"Bessarabka","zone":"Europe/Kyiv","radius":200},"geometry":{"type":"Point","coordinates":[30.5206,50.4420]}}
]}`

const welcome = `
campaign: welcome
trigger: {enter: {fences: {all: true}}}
once_per: {day: store}
steps:
  - push:
      ttl: 15m
      template:
        default_locale: en
        locales:
          en: {title: "Welcome to {{fence.name}}", body: "Today only"}
`

// saw is what publish.mjs prints.
type saw struct {
	Answers map[string]wire.Reply `json:"answers"`
	Events  []struct {
		Subject string          `json:"subject"`
		ID      string          `json:"id"`
		Data    json.RawMessage `json:"data"`
	} `json:"events"`
	Missing []string `json:"missing"`
}

// A phone whose app uses the official Node client walks into a store, and the whole path works: registration,
// positions as requests and as plain publishes, refusals in words, events, and one push for two stores.
func TestNodeClient(t *testing.T) {
	dir := nodetest.App(t, "publish.mjs")
	gw := startGateway(t)
	var got saw
	nodetest.Run(t, dir, nil, &got, "publish.mjs", gw.url, strconv.FormatInt(gw.now().UnixMilli(), 10))

	t.Run("answers", func(t *testing.T) { checkAnswers(t, got.Answers) })
	t.Run("events", func(t *testing.T) { checkEvents(t, got) })
	t.Run("push", func(t *testing.T) {
		sent := gw.provider.notifications()
		if len(sent) != 1 {
			t.Fatalf("%d pushes, want 1: %+v", len(sent), sent)
		}
		n := sent[0]
		if n.Device != "node-1" || n.Fence != "k01" || n.Title != "Welcome to Khreshchatyk" || n.Token != strings.Repeat("ab", 32) {
			t.Errorf("pushed %+v", n)
		}
	})
}

func checkAnswers(t *testing.T, got map[string]wire.Reply) {
	for name, n := range map[string]int{"device": 1, "one": 1, "ten": 10} {
		if r := got[name]; !r.OK || r.N != n {
			t.Errorf("%s: answered %+v, want ok for %d", name, r, n)
		}
	}
	for _, tt := range []struct {
		name     string
		code     wire.Code
		reason   string // part of it
		accepted int
		index    int // -1: the payload as a whole
	}{
		{"notJSON", wire.CodeMalformed, "JSON", 0, -1},
		{"noLon", wire.CodeMissingPosition, "lon", 0, 0},
		{"mixed", wire.CodeOutOfRange, "lat", 1, 1},
		{"badSubject", wire.CodeBadSubject, "A-Z", 0, -1},
	} {
		r := got[tt.name]
		if r.OK || r.Error == nil {
			t.Errorf("%s: answered %+v, want a refusal", tt.name, r)
			continue
		}
		index := -1
		if r.Error.Index != nil {
			index = *r.Error.Index
		}
		if r.Error.Code != tt.code || !strings.Contains(r.Error.Reason, tt.reason) || r.Accepted != tt.accepted || index != tt.index {
			t.Errorf("%s: refused as %s %q, record %d, %d accepted; want %s with %q, record %d, %d accepted",
				tt.name, r.Error.Code, r.Error.Reason, index, r.Accepted, tt.code, tt.reason, tt.index, tt.accepted)
		}
	}
}

func checkEvents(t *testing.T, got saw) {
	if len(got.Missing) > 0 {
		t.Errorf("never heard %v", got.Missing)
	}
	var subjects []string
	ids := map[string]bool{}
	for _, e := range got.Events {
		subjects = append(subjects, e.Subject)
		if e.ID == "" || ids[e.ID] {
			t.Errorf("%s: event id %q, want one of its own", e.Subject, e.ID)
		}
		ids[e.ID] = true
	}
	// Transitions keep the order of the device's log; a push's outcome arrives when the provider answers.
	transitions := slices.DeleteFunc(slices.Clone(subjects), func(s string) bool { return strings.HasPrefix(s, "ev.shop.push.") })
	if want := []string{"ev.shop.enter.k01", "ev.shop.exit.k01", "ev.shop.enter.k02"}; !slices.Equal(transitions, want) {
		t.Errorf("transitions %v, want %v", transitions, want)
	}
	for _, e := range got.Events {
		var p stream.PushEvent
		if e.Subject != "ev.shop.push.welcome.held" {
			continue
		}
		if err := json.Unmarshal(e.Data, &p); err != nil {
			t.Fatal(err)
		}
		if p.Reason != string(campaign.AlreadyClaimed) || p.Fence != "k02" {
			t.Errorf("second store: held as %q at %s, want %s at k02", p.Reason, p.Fence, campaign.AlreadyClaimed)
		}
	}
}

// gateway is everything real but the push provider and the date.
type gateway struct {
	url      string
	provider *recorder
	now      func() time.Time
}

// startGateway runs a gateway on a loopback port until the test ends. Its clock starts at noon, so that no test
// run straddles a store's midnight.
func startGateway(t *testing.T) *gateway {
	t.Helper()
	kyiv, err := time.LoadLocation("Europe/Kyiv")
	if err != nil {
		t.Fatal(err)
	}
	noon, start := time.Date(2026, 11, 28, 12, 0, 0, 0, kyiv), time.Now()
	g := &gateway{provider: &recorder{}, now: func() time.Time { return noon.Add(time.Since(start)) }}
	log, dir := slog.New(slog.DiscardHandler), t.TempDir()

	server, err := natsd.Start(natsd.Config{StoreDir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:0", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	ledger, err := db.Open(db.Config{Dir: filepath.Join(dir, "ledger"), Logger: log, Now: g.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ledger.Close(); err != nil {
			t.Errorf("ledger: %v", err)
		}
	})
	gw, err := stream.New(stream.Config{
		Server: server, DB: ledger, Now: g.now, Logger: log,
		Providers: map[string]push.Provider{"test": g.provider},
		Lane:      func(string, *audience.Profile) (string, bool) { return "test", true },
	})
	if err != nil {
		t.Fatal(err)
	}
	fs, findings := fences.Parse("stores.geojson", []byte(stores), fences.Options{})
	if fences.HasErrors(findings) {
		t.Fatalf("stores: %v", findings)
	}
	if _, err := gw.SetFences(t.Context(), fs); err != nil {
		t.Fatal(err)
	}
	cs, err := campaign.Parse("welcome.yaml", []byte(welcome))
	if err != nil {
		t.Fatal(err)
	}
	set, err := campaign.NewSet(cs)
	if err != nil {
		t.Fatal(err)
	}
	gw.SetCampaigns(set)

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("gateway: %v", err)
		}
	})
	select {
	case <-gw.Ready():
	case err := <-ended:
		ended <- nil
		t.Fatalf("the gateway ended before it was ready: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("the gateway was not ready within 20 s")
	}
	g.url = server.ClientURL()
	return g
}

// recorder is a provider that accepts everything and remembers it.
type recorder struct {
	mu   sync.Mutex
	sent []push.Notification
}

func (r *recorder) Name() string { return "recorder" }
func (r *recorder) Close() error { return nil }

func (r *recorder) Send(_ context.Context, n *push.Notification) push.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, *n)
	return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
}

func (r *recorder) notifications() []push.Notification {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sent)
}
