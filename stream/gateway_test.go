package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/geo"
	"footfall/internal/db"
	"footfall/journey"
	"footfall/push"
	"footfall/stream/natsd"
)

// recorder is a provider that accepts everything and remembers it.
type recorder struct {
	mu   sync.Mutex
	sent []push.Notification
	say  func(n *push.Notification) push.Outcome // nil: accepted
}

func (r *recorder) Name() string { return "recorder" }
func (r *recorder) Close() error { return nil }
func (r *recorder) Send(_ context.Context, n *push.Notification) push.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, *n)
	if r.say != nil {
		return r.say(n)
	}
	return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
}

func (r *recorder) pushes() []push.Notification {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]push.Notification(nil), r.sent...)
}

// clock is a settable time for the gateway's stamps.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

// patience is how long a test waits for what has to come: long, because the machine may be busy with something else.
const patience = time.Minute

// rig is a gateway in this process with everything real but the provider and the clock.
type rig struct {
	t        testing.TB
	dir      string
	clock    *clock
	provider *recorder
	fences   []fences.Fence
	yaml     string
	tune     func(*Config)
	listen   func(*natsd.Config)

	server *natsd.Server
	db     *db.DB
	gw     *Gateway
	nc     *nats.Conn
	stop   context.CancelFunc
	ended  chan error
}

const testCampaign = `
campaign: welcome
trigger: {enter: {fences: {all: true}}}
once_per: {day: store}
steps:
  - push:
      ttl: 15m
      template:
        default_locale: en
        locales:
          en: {title: "Welcome to {{fence.name}}", body: "You are {{event.distance_m | round}} m from the door"}
`

// noon is a Saturday noon in Kyiv.
var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, mustZone("Europe/Kyiv"))

func mustZone(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return loc
}

func store(t testing.TB, id string, lat, lng float64) fences.Fence {
	t.Helper()
	shape, err := geo.NewCircle(geo.Point{Lat: lat, Lng: lng}, 200)
	if err != nil {
		t.Fatal(err)
	}
	return fences.Fence{ID: fences.ID(id), Name: "Store " + id, Store: fences.StoreID(id), Zone: "Europe/Kyiv", Location: mustZone("Europe/Kyiv"), Shape: shape}
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return &rig{
		t: t, dir: t.TempDir(), clock: &clock{t: noon}, provider: &recorder{}, yaml: testCampaign,
		fences: []fences.Fence{store(t, "k01", 50.4501, 30.5234), store(t, "k02", 50.4420, 30.5206)},
	}
}

// start runs the gateway on the rig's directory; stopping and starting again is a restart.
func (r *rig) start() {
	r.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	sc := natsd.Config{StoreDir: filepath.Join(r.dir, "nats"), Logger: log}
	if r.listen != nil {
		r.listen(&sc)
	}
	var err error
	if r.server, err = natsd.Start(sc); err != nil {
		r.t.Fatal(err)
	}
	if r.db, err = db.Open(db.Config{Dir: filepath.Join(r.dir, "ledger"), Logger: log, Now: r.clock.now}); err != nil {
		r.t.Fatal(err)
	}
	cfg := Config{
		Server: r.server, DB: r.db, Now: r.clock.now, Logger: log,
		Providers: map[string]push.Provider{"test": r.provider},
		Lane:      func(string, *audience.Profile) (string, bool) { return "test", true },
	}
	if r.tune != nil {
		r.tune(&cfg)
	}
	if r.gw, err = New(cfg); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.gw.SetFences(r.t.Context(), r.fences); err != nil {
		r.t.Fatal(err)
	}
	r.apply()
	ctx, cancel := context.WithCancel(context.Background())
	r.stop, r.ended = cancel, make(chan error, 1)
	go func() { r.ended <- r.gw.Run(ctx) }()
	select {
	case <-r.gw.Ready():
	case err := <-r.ended:
		r.t.Fatalf("gateway ended before it was ready: %v", err)
	case <-time.After(patience):
		r.t.Fatalf("gateway was not ready within %s", patience)
	}
	if r.nc, err = r.server.Connect("test"); err != nil {
		r.t.Fatal(err)
	}
}

// apply makes the campaigns and journeys of r.yaml active.
func (r *rig) apply() {
	r.t.Helper()
	lib, err := campaign.ParseLibrary("test.yaml", []byte(r.yaml))
	if err != nil {
		r.t.Fatal(err)
	}
	set, err := campaign.NewSet(lib.Campaigns)
	if err != nil {
		r.t.Fatal(err)
	}
	js, err := journey.Read(lib)
	if err != nil {
		r.t.Fatal(err)
	}
	r.gw.SetCampaigns(set)
	r.gw.SetSegments(lib.Segments)
	if err := r.gw.SetJourneys(r.t.Context(), js); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) halt() {
	r.t.Helper()
	r.nc.Close()
	r.stop()
	if err := <-r.ended; err != nil {
		r.t.Errorf("gateway: %v", err)
	}
	if err := r.db.Close(); err != nil {
		r.t.Errorf("ledger: %v", err)
	}
	r.server.Shutdown()
}

// ask publishes as an SDK does and returns the answer.
func (r *rig) ask(subject string, payload any) string {
	r.t.Helper()
	data, ok := payload.(string)
	if !ok {
		b, err := json.Marshal(payload)
		if err != nil {
			r.t.Fatal(err)
		}
		data = string(b)
	}
	m, err := r.nc.Request(subject, []byte(data), patience)
	if err != nil {
		r.t.Fatalf("%s: %v", subject, err)
	}
	return string(m.Data)
}

func (r *rig) mustAsk(subject string, payload any) {
	r.t.Helper()
	var answer struct{ OK bool }
	if a := r.ask(subject, payload); json.Unmarshal([]byte(a), &answer) != nil || !answer.OK {
		r.t.Fatalf("%s: answered %s, want ok", subject, a)
	}
}

func (r *rig) settle() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	if err := r.gw.Settle(ctx); err != nil {
		r.t.Fatalf("not settled: %v; %+v", err, r.gw.Status().Stats)
	}
}

// await polls until what holds is true.
func (r *rig) await(what string, holds func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited %s for %s; %+v", patience, what, r.gw.Status())
		}
	}
}

func (r *rig) register(device string) {
	r.t.Helper()
	r.mustAsk("device.shop."+device, map[string]any{"platform": "ios", "token": fmt.Sprintf("%064x", device), "locale": "en"})
}

func ping(at time.Time, lat, lng float64) map[string]any {
	return map[string]any{"t": at.UnixMilli(), "lat": lat, "lon": lng, "acc": 8}
}

func TestPingBecomesPush(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	events, err := r.nc.SubscribeSync("ev.>")
	if err != nil {
		t.Fatal(err)
	}
	r.register("d1")
	r.mustAsk("ping.shop.d1", ping(noon.Add(-time.Minute), 50.4530, 30.5234))
	r.mustAsk("ping.shop.d1", ping(noon, 50.4502, 30.5235))
	r.await("the push", func() bool { return len(r.provider.pushes()) == 1 })
	n := r.provider.pushes()[0]
	if n.Title != "Welcome to Store k01" || n.Fence != "k01" || n.Device != "d1" {
		t.Errorf("pushed %+v", n)
	}
	if want := noon.Add(15 * time.Minute); !n.ExpiresAt.Equal(want) {
		t.Errorf("expires at %v, want %v", n.ExpiresAt, want)
	}
	for _, want := range []string{"ev.shop.enter.k01", "ev.shop.push.welcome.accepted"} {
		m, err := events.NextMsg(patience)
		if err != nil {
			t.Fatalf("waiting for %s: %v", want, err)
		}
		if m.Subject != want {
			t.Errorf("event on %s, want %s", m.Subject, want)
		}
		if m.Header.Get("Nats-Msg-Id") == "" {
			t.Errorf("%s has no message id", m.Subject)
		}
	}
	// Leaves and comes back on the same day: an entry, but no second push.
	r.clock.set(noon.Add(5 * time.Minute))
	r.mustAsk("ping.shop.d1", []map[string]any{ping(noon.Add(time.Minute), 50.46, 30.53), ping(noon.Add(3*time.Minute), 50.4502, 30.5235)})
	r.await("the second entry to be held", func() bool { return r.gw.Status().Funnel["welcome"]["held.already_claimed"] == 1 })
	if got := len(r.provider.pushes()); got != 1 {
		t.Errorf("%d pushes, want 1", got)
	}
}
