package inapp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"footfall/push"
	"footfall/push/pushtest"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

var update = flag.Bool("update", false, "rewrite testdata")

// requester is a NATS connection as a Requester.
type requester struct{ *nats.Conn }

func (r requester) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	m, err := r.RequestWithContext(ctx, subject, data)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, ErrNoResponder
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrMaxPayload):
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	case err != nil:
		return nil, err
	}
	return m.Data, nil
}

// cutting is a requester whose wait ends with the device that is cut off. The real one can only wait for its time to pass.
type cutting struct {
	requester
	device *device
}

func (c cutting) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	if c.device.reply.Load() != nil || !c.device.cut.Load() {
		return c.requester.Request(ctx, subject, data)
	}
	before := c.device.requests.Load()
	heard, cut := context.WithCancel(ctx)
	defer cut()
	go func() {
		for c.device.requests.Load() == before && heard.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cut()
	}()
	answer, err := c.requester.Request(heard, subject, data)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		err = context.DeadlineExceeded
	}
	return answer, err
}

// startNATS runs a server without a port and returns a way to connect.
func startNATS(t testing.TB) func() *nats.Conn {
	t.Helper()
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return func() *nats.Conn {
		nc, err := nats.Connect("", nats.InProcessServer(s), nats.ReconnectBufSize(-1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		// The client starts a goroutine of its own with the first request, which
		// the suite would take for one of the provider.
		if _, err := nc.Request("nobody", nil, 5*time.Second); !errors.Is(err, nats.ErrNoResponders) {
			t.Fatalf("first request: %v", err)
		}
		return nc
	}
}

// device is a phone with the app open.
type device struct {
	requests atomic.Int64
	reply    atomic.Pointer[string] // nil: says nothing
	cut      atomic.Bool            // and is gone when it has heard; see cutting
}

func (d *device) says(s string) { d.reply.Store(&s) }

func startDevice(t *testing.T, nc *nats.Conn, subject string) *device {
	t.Helper()
	d := new(device)
	d.says(`{"ok":true}`)
	_, err := nc.Subscribe(subject, func(m *nats.Msg) {
		d.requests.Add(1)
		if _, ok := Parse(m.Data); !ok {
			t.Errorf("not a push: %s", m.Data)
		}
		if r := d.reply.Load(); r != nil {
			m.Respond([]byte(*r))
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newProvider(t *testing.T, cfg Config) *Provider {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func example() push.Notification {
	return push.Notification{
		MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", App: "shop", Device: "phone-7", Platform: push.Android,
		Token: "SECRETTOKEN-0123456789", Campaign: "anniversary", Fence: "kyiv-01", Title: "Title", Body: "Body",
		ExpiresAt: time.Now().Add(15 * time.Minute),
	}
}

func TestConformance(t *testing.T) {
	pushtest.Conformance(t, func(t *testing.T) pushtest.Harness {
		connect := startNATS(t)
		d := startDevice(t, connect(), "down.shop.phone-7")
		return pushtest.Harness{
			Provider:     newProvider(t, Config{Requester: cutting{requester{connect()}, d}, Timeout: time.Minute}),
			Notification: example(),
			NoRaw:        true, // of a platform's push service
			Requests:     func() int { return int(d.requests.Load()) },
			Script: func(a pushtest.Answer) {
				switch a {
				case pushtest.Accept:
					d.says(`{"ok":true}`)
				case pushtest.TokenDead:
					d.says(`{"ok":false,"error":"gone"}`)
				case pushtest.Unavailable:
					d.says(`{"ok":false,"error":"busy"}`)
				case pushtest.Cut, pushtest.Hang:
					d.reply.Store(nil)
					d.cut.Store(a == pushtest.Cut)
				}
			},
		}
	})
}

func TestDeviceThatIsNotConnected(t *testing.T) {
	connect := startNATS(t)
	others := startDevice(t, connect(), "down.shop.phone-8")
	p := newProvider(t, Config{Requester: requester{connect()}})
	n := example()
	want := push.Outcome{Class: push.Retry, Reason: "not connected"} // and not that there was no answer in time
	if o := p.Send(t.Context(), &n); o != want {
		t.Errorf("got %+v, want %+v", o, want)
	}
	if others.requests.Load() != 0 {
		t.Error("another device got it")
	}
}

func TestServerThatIsGone(t *testing.T) {
	connect := startNATS(t)
	nc := connect()
	d := startDevice(t, connect(), "down.shop.phone-7")
	d.reply.Store(nil)
	p := newProvider(t, Config{Requester: requester{nc}})
	n := example()
	got := make(chan push.Outcome, 1)
	go func() { got <- p.Send(context.Background(), &n) }()
	for d.requests.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	nc.Close() // with a request under way
	if o := <-got; o.Class != push.InDoubt || !o.Sent {
		t.Errorf("in flight: %+v", o)
	}
}

// App and device come from outside: they must not become wildcards or other
// subjects.
func TestNamesThatAreNone(t *testing.T) {
	connect := startNATS(t)
	all := startDevice(t, connect(), "down.>")
	p := newProvider(t, Config{Requester: requester{connect()}})
	for _, name := range []string{"", "*", ">", "a.b", "a b", "a\r\nPUB x 0", "ї", strings.Repeat("x", 65)} {
		for _, n := range []push.Notification{{App: name, Device: "d"}, {App: "a", Device: name}} {
			n.MID, n.Title = "m", "t"
			if o := p.Send(t.Context(), &n); o.Class != push.Bug || o.Sent {
				t.Errorf("%q: %+v", name, o)
			}
		}
	}
	if all.requests.Load() != 0 {
		t.Error("something was sent")
	}
}

func TestTheTokenIsNotSentAndNotShown(t *testing.T) {
	n := example()
	var seen []byte
	p := newProvider(t, Config{Requester: fn(func(_ context.Context, _ string, data []byte) ([]byte, error) {
		seen = data
		return []byte(`{"ok":false,"error":"bad ` + n.Token + `"}`), nil
	})})
	o := p.Send(t.Context(), &n)
	if o.Class != push.Bug || strings.Contains(o.Reason, n.Token) || bytes.Contains(seen, []byte(n.Token)) {
		t.Errorf("%+v, %s", o, seen)
	}
}

type fn func(context.Context, string, []byte) ([]byte, error)

func (f fn) Request(ctx context.Context, s string, d []byte) ([]byte, error) { return f(ctx, s, d) }

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		reply string
		want  push.Outcome // Sent is filled in
	}{
		{`{"ok":true}`, push.Outcome{Class: push.Accepted}},
		{`{"ok":true,"id":"7","later":1}`, push.Outcome{Class: push.Accepted, ProviderID: "7"}},
		{`{"ok":true,"error":"busy"}`, push.Outcome{Class: push.Accepted}},
		{`{"ok":false,"error":"busy"}`, push.Outcome{Class: push.Retry, Reason: "busy"}},
		{`{"ok":false,"error":"busy","retry_ms":500}`, push.Outcome{Class: push.Retry, Reason: "busy", RetryAfter: 500 * time.Millisecond}},
		{`{"ok":false,"error":"busy","retry_ms":-5}`, push.Outcome{Class: push.Retry, Reason: "busy"}},
		{`{"ok":false,"error":"busy","retry_ms":9223372036854775807}`, push.Outcome{Class: push.Retry, Reason: "busy", RetryAfter: 24 * time.Hour}},
		{`{"ok":false,"error":"rate"}`, push.Outcome{Class: push.DeviceRate, Reason: "rate", RetryAfter: 30 * time.Second}},
		{`{"ok":false,"error":"rate","retry_ms":1500}`, push.Outcome{Class: push.DeviceRate, Reason: "rate", RetryAfter: 1500 * time.Millisecond}},
		{`{"ok":false,"error":"too_large"}`, push.Outcome{Class: push.TooLarge, Reason: "too_large"}},
		{`{"ok":false,"error":"gone"}`, push.Outcome{Class: push.TokenDead, Reason: "gone"}},
		{`{"ok":false,"error":"no such screen"}`, push.Outcome{Class: push.Bug, Reason: "no such screen"}},
		{`{"ok":false,"error":"a\r\nb\u001b[0m"}`, push.Outcome{Class: push.Bug, Reason: "a b [0m"}},
		{`{"ok":false}`, push.Outcome{Class: push.Bug, Reason: "refused by the device"}},
		{`{"ok":false,"error":"` + strings.Repeat("x", 200) + `"}`, push.Outcome{Class: push.Bug, Reason: strings.Repeat("x", 117) + "..."}},
		// No answer of ours: the message may be on the screen.
		{``, push.Outcome{Class: push.InDoubt}},
		{`{}`, push.Outcome{Class: push.InDoubt}},
		{`{"ok":null}`, push.Outcome{Class: push.InDoubt}},
		{`{"ok":"true"}`, push.Outcome{Class: push.InDoubt}},
		{`+OK`, push.Outcome{Class: push.InDoubt}},
		{`{"ok":true,"id":"` + strings.Repeat("x", maxAnswer) + `"}`, push.Outcome{Class: push.InDoubt}},
	} {
		tt.want.Sent = true
		if tt.want.Class == push.InDoubt {
			tt.want.Reason = "the device's answer is not one"
		}
		if d := cmp.Diff(tt.want, Classify([]byte(tt.reply))); d != "" {
			t.Errorf("%.60s (-want +got):\n%s", tt.reply, d)
		}
	}
}

func TestFailure(t *testing.T) {
	for _, tt := range []struct {
		err   error
		class push.Class
		sent  bool
	}{
		{ErrNoResponder, push.Retry, false},
		{fmt.Errorf("shop: %w", ErrNoResponder), push.Retry, false},
		{fmt.Errorf("%w: no connection", ErrNotSent), push.Retry, false},
		{context.DeadlineExceeded, push.InDoubt, true},
		{context.Canceled, push.InDoubt, true},
		{nats.ErrTimeout, push.InDoubt, true},
		{nats.ErrConnectionClosed, push.InDoubt, true},
	} {
		if o := failure(tt.err); o.Class != tt.class || o.Sent != tt.sent || o.Reason == "" {
			t.Errorf("%v: got %+v", tt.err, o)
		}
	}
}

func TestGolden(t *testing.T) {
	base := example()
	base.ExpiresAt = time.UnixMilli(1795867800000)
	for _, tt := range []struct {
		name string
		mod  func(*push.Notification)
	}{
		{"plain", func(*push.Notification) {}},
		{"everything", func(n *push.Notification) {
			n.Subtitle, n.Image, n.Link, n.Sound = "Store 7", "https://cdn.example/a.jpg?w=1&h=2", "shop://store/7", "none"
			n.Thread, n.Category, n.ReceiptKey = "store-7", "offer", "a1b2c3d4e5f60718"
			n.Data, n.CollapseID = map[string]string{"coupon": "KYIV18"}, "anniversary:kyiv-01"
		}},
		{"silent_no_expiry", func(n *push.Notification) {
			n.Silent, n.Title, n.Body, n.ExpiresAt = true, "", "", time.Time{}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := base
			tt.mod(&n)
			data, _, err := compose(&n)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := json.Indent(&b, data, "", "  "); err != nil {
				t.Fatal(err)
			}
			b.WriteByte('\n')
			path := filepath.Join("testdata", tt.name+".json")
			if *update {
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(want, b.Bytes()) {
				t.Errorf("%v; got\n%s", err, b.Bytes())
			}
			m, ok := Parse(data)
			if !ok || m.MID != n.MID || m.Title != n.Title || m.Expired(base.ExpiresAt.Add(-time.Millisecond)) ||
				m.Expired(base.ExpiresAt) == n.ExpiresAt.IsZero() {
				t.Errorf("read back: %+v, %v", m, ok)
			}
		})
	}
}

func TestPayloadLimit(t *testing.T) {
	n := example()
	n.Body = "x"
	data, _, err := compose(&n)
	if err != nil {
		t.Fatal(err)
	}
	n.Body = strings.Repeat("x", MaxPayload-len(data)+1)
	if data, _, err := compose(&n); err != nil || len(data) != MaxPayload {
		t.Errorf("at the limit: %d, %v", len(data), err)
	}
	n.Body += "x"
	if _, _, err := compose(&n); err != errTooLarge {
		t.Errorf("over the limit: %v", err)
	}
}

func TestNewExplainsWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "requester is not set"},
		{Config{Requester: fn(nil), Timeout: -1}, "timeout"},
	} {
		if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "inapp: ") {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add([]byte(`{"ok":true,"id":"7"}`))
	f.Add([]byte(`{"ok":false,"error":"rate","retry_ms":1e3}`))
	f.Fuzz(func(t *testing.T, reply []byte) {
		o := Classify(reply)
		if !slices.Contains(push.Classes(), o.Class) || !o.Sent || o.RetryAfter < 0 || o.RetryAfter > maxPause || len(o.Reason) > 120 {
			t.Errorf("%+v", o)
		}
	})
}

func FuzzParse(f *testing.F) {
	n := example()
	data, _, err := compose(&n)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"type":"fences","v":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, ok := Parse(data); ok && (m.MID == "" || m.V < 1 || m.Type != TypePush) {
			t.Errorf("%+v", m)
		}
	})
}

// A phone with the app open: the request is answered by the device itself.
func Example() {
	var phone sync.Map // mids that it has shown
	bus := fn(func(_ context.Context, subject string, data []byte) ([]byte, error) {
		if subject != "down.shop.phone-7" {
			return nil, ErrNoResponder
		}
		m, ok := Parse(data)
		if !ok {
			return nil, ErrNoResponder
		}
		if _, again := phone.LoadOrStore(m.MID, true); !again {
			fmt.Println("shown:", m.Title)
		}
		return []byte(`{"ok":true}`), nil
	})
	p, err := New(Config{Requester: bus})
	if err != nil {
		panic(err)
	}
	defer p.Close()
	n := push.Notification{MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", App: "shop", Device: "phone-7", Title: "Знижка 20 %"}
	for range 2 { // the second is a re-send after doubt
		fmt.Println(p.Send(context.Background(), &n).Class)
	}
	n.Device = "phone-8"
	o := p.Send(context.Background(), &n)
	fmt.Println(o.Class, o.Reason)
	// Output:
	// shown: Знижка 20 %
	// accepted
	// accepted
	// retry not connected
}
