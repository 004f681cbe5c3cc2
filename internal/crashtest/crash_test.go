package crashtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"footfall/push/fake"
	"footfall/stream"
	"footfall/stream/natsd"
	"footfall/stream/wire"
)

const stores = `{"type":"FeatureCollection","features":[
{"type":"Feature","id":"k01","properties":{"name":"Khreshchatyk","radius":200,"zone":"Europe/Kyiv"},"geometry":{"type":"Point","coordinates":[30.5234,50.4501]}},
{"type":"Feature","id":"k02","properties":{"name":"Besarabka","radius":200,"zone":"Europe/Kyiv"},"geometry":{"type":"Point","coordinates":[30.5206,50.4420]}}]}`

const welcome = `campaign: welcome
trigger: {enter: {fences: {all: true}}}
once_per: {rolling: PT24H}
steps:
  - push:
      ttl: 15m
      template:
        default_locale: en
        locales:
          en: {title: "Welcome to {{fence.name}}", body: "Come in"}
`

// The gateway is built when it is first asked for, into buildDir: as a user would build it, and with the points at
// which it can be made to end.
var (
	buildDir      string
	gatewayBinary = sync.OnceValues(func() (string, error) { return build("footfall", "") })
	mortalBinary  = sync.OnceValues(func() (string, error) { return build("mortal", "failpoint") })
)

func build(name, tags string) (string, error) {
	bin := filepath.Join(buildDir, name)
	out, err := exec.Command("go", "build", "-tags", tags, "-o", bin, "footfall/cmd/footfall").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

func TestMain(m *testing.M) {
	var err error
	if buildDir, err = os.MkdirTemp("", "footfall-crash-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(buildDir)
	os.Exit(code)
}

// site is a data directory with its configuration, and the phones its pushes reach. The fake APNs is in this
// process: it lives on when the gateway dies.
type site struct {
	t      *testing.T
	binary func() (string, error)
	dir    string
	addr   string
	apns   *fake.APNs
	cmd    *exec.Cmd
	output *bytes.Buffer
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, binary: gatewayBinary, dir: t.TempDir(), addr: freePort(t)}
	var err error
	if s.apns, err = fake.StartAPNs(fake.APNsConfig{Latency: fake.UniformLatency(0, 30*time.Millisecond, 1), TokenUpdateInterval: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.apns.Close() })
	files, err := s.apns.WriteFiles(filepath.Join(s.dir, "apns"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("stores.geojson", stores)
	s.write("campaign.yaml", welcome)
	// A short checkpoint interval makes recoveries differ: some start at a checkpoint, some far behind one.
	s.write("footfall.yaml", fmt.Sprintf(`data_dir: data
nats: {listen: %q}
fences: {path: stores.geojson}
campaigns: {path: campaign.yaml}
push:
  apns: {key_file: %q, key_id: %s, team_id: %s, topic: %s, host: %q, ca_file: %q}
retention: {checkpoint: 3s}
log: {level: warn}
`, s.addr, files.Key, s.apns.KeyID, s.apns.TeamID, s.apns.Topic, s.apns.URL(), files.CA))
	return s
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// freePort finds a port for the gateway: it must be the same after every restart, or clients could not follow.
func freePort(t *testing.T) string {
	t.Helper()
	srv, err := natsd.Start(natsd.Config{Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	return strings.TrimPrefix(srv.ClientURL(), "nats://")
}

// launch starts the gateway with more environment, and does not wait.
func (s *site) launch(env ...string) {
	s.t.Helper()
	bin, err := s.binary()
	if err != nil {
		s.t.Fatal(err)
	}
	s.output = &bytes.Buffer{}
	s.cmd = exec.Command(bin, "serve", "-c", filepath.Join(s.dir, "footfall.yaml"))
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	// The gateway refuses settings that it does not know, and those of this test are not its own.
	s.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "FOOTFALL_") }), env...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// start launches the gateway and waits until it answers.
func (s *site) start() {
	s.t.Helper()
	s.launch()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if nc, err := nats.Connect("nats://" + s.addr); err == nil {
			_, err = nc.Request(stream.StatsSubject, nil, time.Second)
			nc.Close()
			if err == nil {
				return
			}
		}
		if time.Now().After(deadline) {
			s.kill()
			s.t.Fatalf("the gateway did not answer within 30 s:\n%s", s.output)
		}
	}
}

func (s *site) kill() {
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	_ = s.cmd.Wait()
}

func (s *site) stop() {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the gateway did not stop cleanly: %v\n%s", err, s.output)
	}
}

// visit is what one device does: fixes 10 s apart that come near a store, go in, and half the time come out and in
// again.
func visit(rng *rand.Rand, began time.Time) [][]byte {
	store := [2]float64{50.4501, 30.5234}
	if rng.IntN(2) == 1 {
		store = [2]float64{50.4420, 30.5206}
	}
	path := []float64{400, 300, 150, 60, 150, 300, 400}
	if rng.IntN(2) == 1 {
		path = append(path, 250, 100, 50)
	}
	var out [][]byte
	for i, metres := range path {
		p, err := json.Marshal(map[string]any{
			"t": began.Add(time.Duration(i) * 10 * time.Second).UnixMilli(), "lat": store[0] + metres/111_200, "lon": store[1], "acc": 8,
		})
		if err != nil {
			panic(err)
		}
		out = append(out, p)
	}
	return out
}

// phones sends the input of all devices, each device's in order, each ping until it is answered ok, or refused because the person wants it so. A ping leaves
// only when the release channel allows one.
type phones struct {
	nc      *nats.Conn
	release chan struct{}
	left    atomic.Int64
	wg      sync.WaitGroup
}

func sendAll(t *testing.T, addr string, seed uint64, devices int, began time.Time) *phones {
	t.Helper()
	nc, err := nats.Connect("nats://"+addr, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	p := &phones{nc: nc, release: make(chan struct{}, 1<<16)}
	for d := range devices {
		rng := rand.New(rand.NewPCG(seed, uint64(d)))
		name := fmt.Sprintf("d%03d", d)
		reg, err := json.Marshal(map[string]any{"platform": "ios", "token": fake.DeviceToken(name), "locale": "en"})
		if err != nil {
			t.Fatal(err)
		}
		type message struct {
			subject string
			data    []byte
		}
		todo := []message{{"device.shop." + name, reg}}
		if d%4 == 0 { // the person does not want to be located, stands at a store, and thinks again
			todo = append(todo, message{"device.shop." + name, []byte(`{"consent":{"location":false}}`)})
			for _, ping := range visit(rng, began.Add(-5*time.Minute))[3:6] {
				todo = append(todo, message{"ping.shop." + name, ping})
			}
			todo = append(todo, message{"device.shop." + name, []byte(`{"consent":{"location":true}}`)})
		}
		for _, ping := range visit(rng, began) {
			todo = append(todo, message{"ping.shop." + name, ping})
		}
		p.left.Add(int64(len(todo)))
		p.wg.Go(func() {
			for _, m := range todo {
				<-p.release
				p.send(m.subject, m.data)
				p.left.Add(-1)
			}
		})
	}
	return p
}

func (p *phones) send(subject string, data []byte) {
	for {
		m, err := p.nc.Request(subject, data, 500*time.Millisecond)
		if err == nil {
			if r, err := wire.ParseReply(m.Data); err == nil && (r.OK || r.Error != nil && r.Error.Code == wire.CodeNoConsent) {
				return
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (p *phones) allow(n int) {
	for range n {
		p.release <- struct{}{}
	}
}

// result is what came of the input, in terms that must not depend on how often the gateway died.
type result struct {
	Transitions map[string]int // event id -> how many different messages on EVENTS carry it
	Shown       map[string]int // phone -> notifications on its screen
	Claims      int64
	Accepted    int64
	Entered     int64
	Owed        int64
}

// collect waits until nothing is owed and reads the result.
func (s *site) collect(devices int) result {
	s.t.Helper()
	nc, err := nats.Connect("nats://" + s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	var st stream.Status
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		m, err := nc.Request(stream.StatsSubject, nil, 5*time.Second)
		if err != nil {
			s.t.Fatal(err)
		}
		st = stream.Status{}
		if err := json.Unmarshal(m.Data, &st); err != nil {
			s.t.Fatal(err)
		}
		f := st.Funnel["welcome"]
		done := int64(0)
		for outcome, n := range f {
			if strings.HasPrefix(outcome, "push.") {
				done += n
			}
		}
		if f["claimed"] == done && st.Stats.EventsOwed == 0 && st.Settled {
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("still owed after 60 s: %s\n%s", m.Data, s.output)
		}
	}
	r := result{Shown: map[string]int{}, Claims: st.Funnel["welcome"]["claimed"], Accepted: st.Funnel["welcome"]["push.accepted"], Entered: st.Funnel[""]["entered"]}
	r.Transitions = s.events(nc)
	for d := range devices {
		name := fmt.Sprintf("d%03d", d)
		r.Shown[name] = len(s.apns.Phones().Shown(fake.DeviceToken(name)))
	}
	return r
}

// events reads EVENTS: subject and event id -> how many messages carry them.
func (s *site) events(nc *nats.Conn) map[string]int {
	s.t.Helper()
	found := map[string]int{}
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	events, err := js.Stream(ctx, wire.EventsStream)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := events.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	for left := events.CachedInfo().State.Msgs; left > 0; left-- {
		m, err := c.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			s.t.Fatal(err)
		}
		found[m.Subject()+" "+m.Headers().Get(nats.MsgIdHdr)]++
	}
	return found
}

// TestKill9 proves, on the real binary, that a killed gateway loses no input that was answered ok and repeats no
// push: after FOOTFALL_KILLS (default 50) kills at random moments the transitions, their ids, the claims and what
// every phone shows are those of a run that was never interrupted.
func TestKill9(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and kills the gateway 50 times; not in -short")
	}
	kills := killsWanted(t, 50)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, kills)
	const devices = 120
	began := time.Now().Add(-3 * time.Minute)

	calm := newSite(t)
	calm.start()
	p := sendAll(t, calm.addr, seed, devices, began)
	total := int(p.left.Load())
	p.allow(total)
	p.wg.Wait()
	p.nc.Close()
	want := calm.collect(devices)
	calm.stop()

	rough := newSite(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	rough.start()
	p = sendAll(t, rough.addr, seed, devices, began)
	unanswered := 0
	for k := range kills {
		p.allow(total*(k+1)/(kills+1) - total*k/(kills+1))
		time.Sleep(time.Duration(rng.IntN(120)*rng.IntN(120)/120) * time.Millisecond) // mostly early, while input is under way
		rough.kill()
		if p.left.Load() > int64(total-total*(k+1)/(kills+1)) {
			unanswered++
		}
		rough.start()
	}
	p.allow(total - total*kills/(kills+1))
	p.wg.Wait()
	p.nc.Close()
	got := rough.collect(devices)
	rough.stop()
	t.Logf("%d of %d kills came while input was unanswered; %d messages, %d entries, %d claims", unanswered, kills, total, got.Entered, got.Claims)

	if want.Entered < devices || want.Claims != devices {
		t.Errorf("the uninterrupted run has %d entries and %d claims for %d devices", want.Entered, want.Claims, devices)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the killed gateway differs from the uninterrupted one (-want +got):\n%s", d)
	}
	for _, name := range slices.Sorted(maps.Keys(got.Shown)) {
		if n := got.Shown[name]; n != 1 {
			t.Errorf("phone %s shows %d notifications, want 1", name, n)
		}
	}
}

// killsWanted is how often a test kills the gateway: FOOTFALL_KILLS, or the default.
func killsWanted(t *testing.T, def int) int {
	t.Helper()
	v := os.Getenv("FOOTFALL_KILLS")
	if v == "" {
		return def
	}
	kills, err := strconv.Atoi(v)
	if err != nil || kills < 1 {
		t.Fatalf("FOOTFALL_KILLS=%q is not a positive number", v)
	}
	return kills
}
