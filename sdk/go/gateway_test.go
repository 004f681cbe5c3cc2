package footfall

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestGateway lets this client talk to a real gateway in a process of its own: what is queued while away arrives after a
// restart of the client, in order and once; a message comes on down and is acknowledged, so that nothing is pushed; its
// receipts are stored. What the gateway has stored is read with its own explain command.
func TestGateway(t *testing.T) {
	bin := build(t)
	dir := t.TempDir()
	write(t, dir, "stores.geojson", `{"type":"FeatureCollection","features":[{"type":"Feature","id":"k01","properties":{"name":"Khreshchatyk","zone":"Europe/Kyiv","radius":200},"geometry":{"type":"Point","coordinates":[30.5234,50.4501]}}]}`)
	write(t, dir, "welcome.yaml", `campaign: welcome
trigger: {enter: {fences: {all: true}}}
once_per: campaign
steps:
  - push: {ttl: 15m, template: {default_locale: en, locales: {en: {title: "Welcome to {{fence.name}}", body: "Your code is {{message.code}}"}}}}
`)
	g := serve(t, bin, dir)
	line := switchable(t, g.addr)

	store := func() Store {
		s, err := OpenFileStore(filepath.Join(dir, "outbox"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan Message, 10)
	cfg := Config{URL: "nats://" + line.addr, App: "shop", Device: "d1", OnMessage: func(m Message) bool { got <- m; return true }}

	// Away: everything waits, and outlives the program.
	line.set(false)
	cfg.Store = store()
	c, err := Open(cfg)
	must(err)
	must(c.Register(Device{Platform: "android", Token: "t-1", Locale: "en", Consent: &Consent{Location: true, Push: true}}))
	now := time.Now()
	must(c.Ping(Ping{At: now.Add(-2 * time.Minute), Lat: 50.47, Lng: 30.5234, AccuracyM: 8}))
	must(c.Ping(Ping{At: now.Add(-time.Minute), Lat: 50.4502, Lng: 30.5235, AccuracyM: 8}))
	must(c.Event("view", map[string]any{"item": "x & y"}))
	if s := c.Stats(); s.Queued != 4 || s.Connected {
		t.Errorf("while away: %+v", s)
	}
	must(c.Close())

	// Back, in another run of the program.
	line.set(true)
	cfg.Store = store()
	c, err = Open(cfg)
	must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	must(c.Flush(ctx))
	var m Message
	select {
	case m = <-got:
	case <-ctx.Done():
		t.Fatal("no message on down\n" + g.log())
	}
	if m.Title != "Welcome to Khreshchatyk" || m.Key == "" || m.Fence != "k01" {
		t.Errorf("message %+v", m)
	}
	_, code, _ := strings.Cut(m.Body, "Your code is ")
	must(c.Receipt(Receipt{Push: m.Push, Ev: Opened}))
	must(c.Receipt(Receipt{Push: m.Push, Ev: Action, Action: "route"}))
	must(c.Receipt(Receipt{Push: Push{MID: m.MID, Key: "forged"}, Ev: Dismissed}))
	must(c.Event("purchase", map[string]any{"code": code, "value": 1200.5, "currency": "UAH"}))
	for { // the answer on down comes before the receipts that follow from it
		must(c.Flush(ctx))
		if st := g.explain(t, bin, "shop.d1"); len(st.Receipts) == 5 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("receipts %+v", g.explain(t, bin, "shop.d1"))
		}
	}
	st := g.explain(t, bin, "shop.d1")
	var evs []string
	for _, r := range st.Receipts {
		evs = append(evs, strings.Trim(r.Ev+" "+r.Via, " "))
	}
	if want := "action converted code delivered displayed opened"; strings.Join(evs, " ") != want {
		t.Errorf("receipts %v, want %s", evs, want)
	}
	if st.State != "accepted" || !strings.HasSuffix(st.Reason, "in_app") {
		t.Errorf("delivery %+v", st)
	}
	if s := c.Stats(); s.Refused != 1 || s.Dropped != 0 || s.Queued != 0 {
		t.Errorf("in the end: %+v", s)
	}
	must(c.Close())
	if len(got) != 0 || strings.Contains(g.log(), "Welcome to Khreshchatyk") {
		t.Errorf("shown again, or pushed as well:\n%s", g.log())
	}

	// The same message on the other way is not shown, in another run either.
	cfg.Store = store()
	c, err = Open(cfg)
	must(err)
	if show, err := c.Show(m.Push); show || err != nil {
		t.Errorf("a push of the same message is shown: %v, %v", show, err)
	}
	must(c.Close())
}

func TestOpenRefusesBadNames(t *testing.T) {
	for _, name := range []string{"", "a.b", "a b", "a>", strings.Repeat("a", 65)} {
		if _, err := Open(Config{URL: "nats://127.0.0.1:1", App: "shop", Device: name}); err == nil {
			t.Errorf("device %q is taken", name)
		}
	}
}

// build makes the gateway from the repository around this module.
func build(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("../../cmd/footfall"); err != nil {
		t.Skip("not in the gateway's repository")
	}
	bin := filepath.Join(t.TempDir(), "footfall")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/footfall")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// gateway is a running one. Pushes that are not taken in-app are printed to its log.
type gateway struct {
	addr string
	mu   sync.Mutex
	out  bytes.Buffer
}

func (g *gateway) log() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.out.String()
}

func serve(t *testing.T, bin, dir string) *gateway {
	t.Helper()
	g := &gateway{}
	cmd := exec.Command(bin, "serve", "--listen", "127.0.0.1:0", "--fences", "stores.geojson", "--campaigns", "welcome.yaml", "--data", "data")
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		listening := regexp.MustCompile(`listening on nats://(\S+)`)
		for s := bufio.NewScanner(out); s.Scan(); {
			g.mu.Lock()
			g.out.WriteString(s.Text() + "\n")
			g.mu.Unlock()
			if m := listening.FindStringSubmatch(s.Text()); m != nil {
				addr <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("the gateway ended with %v\n%s", err, g.log())
		}
	})
	select {
	case g.addr = <-addr:
	case <-time.After(60 * time.Second):
		t.Fatal("the gateway does not listen\n" + g.log())
	}
	return g
}

// delivery is what explain says of a device's one push.
type delivery struct {
	State    string
	Reason   string
	Receipts []struct{ Ev, Via string }
}

func (g *gateway) explain(t *testing.T, bin, device string) (d delivery) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), bin, "explain", device, "--json", "--server", "nats://"+g.addr).Output()
	if err != nil {
		t.Fatalf("explain: %v", err)
	}
	var e struct{ Deliveries map[string]delivery }
	if err := json.Unmarshal(out, &e); err != nil || len(e.Deliveries) != 1 {
		t.Fatalf("%d deliveries, %v", len(e.Deliveries), err)
	}
	for _, d = range e.Deliveries {
	}
	return d
}

// cable is a way to the gateway that can be cut.
type cable struct {
	addr string
	mu   sync.Mutex
	up   bool
	open []net.Conn
}

func switchable(t *testing.T, to string) *cable {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &cable{addr: ln.Addr().String(), up: true}
	t.Cleanup(func() { ln.Close(); w.set(false) })
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			w.mu.Lock()
			if err != nil || !w.up {
				in.Close()
				if out != nil {
					out.Close()
				}
			} else {
				w.open = append(w.open, in, out)
				go pipe(in, out)
				go pipe(out, in)
			}
			w.mu.Unlock()
		}
	}()
	return w
}

func pipe(a, b net.Conn) {
	_, _ = io.Copy(a, b)
	a.Close()
	b.Close()
}

func (w *cable) set(up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up = up
	if !up {
		for _, c := range w.open {
			c.Close()
		}
		w.open = nil
	}
}
