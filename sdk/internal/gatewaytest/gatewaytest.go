// Package gatewaytest runs a real gateway, built from the repository around this module, for the tests of clients; and a
// cable to it that can be cut.
package gatewaytest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"
)

// Stores and campaigns of the gateway: one store, k01, with one message a person, which shows its code; and one for the app
// alone of whoever leaves it.
const (
	stores   = `{"type":"FeatureCollection","features":[{"type":"Feature","id":"k01","properties":{"name":"Khreshchatyk","zone":"Europe/Kyiv","radius":200},"geometry":{"type":"Point","coordinates":[30.5234,50.4501]}}]}`
	campaign = `campaign: welcome
trigger: {enter: {fences: {all: true}}}
once_per: campaign
steps:
  - push: {ttl: 15m, template: {default_locale: en, locales: {en: {title: "Welcome to {{fence.name}}", body: "Your code is {{message.code}}"}}}}
---
campaign: inbox
trigger: {exit: {fences: {all: true}}}
once_per: campaign
steps:
  - push: {ttl: 15m, in_app: only, template: {default_locale: en, locales: {en: {title: "For the app", body: "Hello"}}}}
`
)

// Gateway is a running one. Pushes that are not taken in-app are printed to its log.
type Gateway struct {
	Addr      string // of NATS, host:port
	WebSocket string // host:port, "" when the environment opens none

	bin string
	mu  sync.Mutex
	out bytes.Buffer
}

// Start builds and starts a gateway with more settings in its environment, and stops it with the test. It skips the test
// outside the gateway's repository.
func Start(t *testing.T, environ []string) *Gateway {
	t.Helper()
	root, ok := repository(t)
	if !ok {
		t.Skip("not in the gateway's repository")
	}
	dir := t.TempDir()
	g := &Gateway{bin: filepath.Join(dir, "footfall")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", g.bin, "./cmd/footfall")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for name, text := range map[string]string{"stores.geojson": stores, "welcome.yaml": campaign} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(g.bin, "serve", "--listen", "127.0.0.1:0", "--fences", "stores.geojson", "--campaigns", "welcome.yaml", "--data", "data")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), environ...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		listening := regexp.MustCompile(`listening on nats://(\S+)`)
		browsers := regexp.MustCompile(`browsers: ws://(\S+)`)
		told := false
		for s := bufio.NewScanner(out); s.Scan(); {
			g.mu.Lock()
			g.out.WriteString(s.Text() + "\n")
			if m := listening.FindStringSubmatch(s.Text()); m != nil {
				g.Addr = m[1]
			}
			if m := browsers.FindStringSubmatch(s.Text()); m != nil {
				g.WebSocket = m[1]
			}
			if !told && g.Addr != "" && (g.WebSocket != "" || len(environ) == 0) {
				told = true
				close(ready)
			}
			g.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("the gateway ended with %v\n%s", err, g.Log())
		}
	})
	select {
	case <-ready:
	case <-time.After(60 * time.Second):
		t.Fatal("the gateway does not listen\n" + g.Log())
	}
	return g
}

// Log is what the gateway has printed so far.
func (g *Gateway) Log() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.out.String()
}

// Delivery is what explain says of a device's one push.
type Delivery struct {
	State    string
	Reason   string
	Receipts []struct {
		Ev, Ref, Via, Currency string
		Value                  float64
	}
}

// Explain asks the gateway, with its own command, what it has stored about the one push of a device (app.device).
func (g *Gateway) Explain(t *testing.T, device string) (d Delivery) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), g.bin, "explain", device, "--json", "--server", "nats://"+g.Addr).Output()
	if err != nil {
		t.Fatalf("explain: %v", err)
	}
	var e struct{ Deliveries map[string]Delivery }
	if err := json.Unmarshal(out, &e); err != nil || len(e.Deliveries) != 1 {
		t.Fatalf("%d deliveries, %v\n%s", len(e.Deliveries), err, out)
	}
	for _, d = range e.Deliveries {
	}
	return d
}

// Cable is a way to the gateway that can be cut.
type Cable struct {
	Addr string // where clients connect

	mu   sync.Mutex
	up   bool
	open []net.Conn
}

// NewCable lays a cable to an address; it is up.
func NewCable(t *testing.T, to string) *Cable {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Cable{Addr: ln.Addr().String(), up: true}
	t.Cleanup(func() { ln.Close(); w.Set(false) })
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

// Set cuts the cable, with every connection on it, or mends it.
func (w *Cable) Set(up bool) {
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

// repository looks for the gateway's repository in the folders above the test's.
func repository(t *testing.T) (root string, ok bool) {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "footfall")); err == nil {
			return dir, true
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}
