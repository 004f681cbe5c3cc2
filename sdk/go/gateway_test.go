package footfall

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/sdk/internal/gatewaytest"
)

// TestGateway lets this client talk to a real gateway in a process of its own: what is queued while away arrives after a
// restart of the client, in order and once; a message comes on down and is acknowledged, so that nothing is pushed; its
// receipts are stored. What the gateway has stored is read with its own explain command.
func TestGateway(t *testing.T) {
	g := gatewaytest.Start(t, nil)
	dir := t.TempDir()
	line := gatewaytest.NewCable(t, g.Addr)

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
	cfg := Config{URL: "nats://" + line.Addr, App: "shop", Device: "d1", OnMessage: func(m Message) bool { got <- m; return true }}

	// Away: everything waits, and outlives the program.
	line.Set(false)
	cfg.Store = store()
	c, err := Open(cfg)
	must(err)
	must(c.Register(Device{Platform: "android", Token: "t-1", Locale: "en", Consent: &Consent{Location: new(true), Push: new(true)}}))
	now := time.Now()
	must(c.Ping(Ping{At: now.Add(-2 * time.Minute), Lat: 50.47, Lng: 30.5234, AccuracyM: 8}))
	must(c.Ping(Ping{At: now.Add(-time.Minute), Lat: 50.4502, Lng: 30.5235, AccuracyM: 8}))
	must(c.Event("view", map[string]any{"item": "x & y"}))
	if s := c.Stats(); s.Queued != 4 || s.Connected {
		t.Errorf("while away: %+v", s)
	}
	must(c.Close())

	// Back, in another run of the program.
	line.Set(true)
	cfg.Store = store()
	c, err = Open(cfg)
	must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	must(c.Flush(ctx))
	near, err := c.Nearest(ctx, 50.4501, 30.5234, 20)
	if err != nil || len(near.Fences) != 1 || near.Fences[0].ID != "k01" || near.Fences[0].RadiusM != 200 || near.OthersM != nil || near.Revision == "" {
		t.Errorf("near: %+v, %v", near, err)
	}
	if _, err := c.Nearest(ctx, 91, 0, 20); err == nil || !strings.Contains(err.Error(), "out_of_range: lat must be") {
		t.Errorf("near nowhere: %v", err)
	}
	var m Message
	select {
	case m = <-got:
	case <-ctx.Done():
		t.Fatal("no message on down\n" + g.Log())
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
		if st := g.Explain(t, "shop.d1"); len(st.Receipts) == 5 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("receipts %+v", g.Explain(t, "shop.d1"))
		}
	}
	st := g.Explain(t, "shop.d1")
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
	if len(got) != 0 || strings.Contains(g.Log(), "Welcome to Khreshchatyk") {
		t.Errorf("shown again, or pushed as well:\n%s", g.Log())
	}

	wantHandedOver(t, ctx, g, line)

	// The same message on the other way is not shown, in another run either.
	cfg.Store = store()
	c, err = Open(cfg)
	must(err)
	if show, err := c.Show(m.Push); show || err != nil {
		t.Errorf("a push of the same message is shown: %v, %v", show, err)
	}
	must(c.Close())
	wantExample(t, ctx, g)
}

// wantExample: what a newcomer runs first does what it says; it is registered, shows its message and is refused nothing.
func wantExample(t *testing.T, ctx context.Context, g *gatewaytest.Gateway) {
	t.Helper()
	example := exec.CommandContext(ctx, "go", "run", "./example", "nats://"+g.Addr, "shop", "example")
	example.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // of its outbox
	out, err := example.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Welcome to Khreshchatyk") || strings.Contains(string(out), "refused") {
		t.Errorf("the example: %v\n%s", err, out)
	}
}

// wantHandedOver: a message that is for the app alone waits while the app is away, and comes when the client says that it is there,
// which it does with each connection and when it is told to.
func wantHandedOver(t *testing.T, ctx context.Context, g *gatewaytest.Gateway, line *gatewaytest.Cable) {
	t.Helper()
	nc, err := nats.Connect("nats://" + g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	words := make(chan *nats.Msg, 100)
	if _, err = nc.ChanSubscribe("here.shop.d2", words); err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	word := func(why string) {
		t.Helper()
		select {
		case <-words:
		case <-ctx.Done():
			t.Fatal("the client has not said that it is there: " + why)
		}
	}
	cfg := Config{URL: "nats://" + line.Addr, App: "shop", Device: "d2"}
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	err = errors.Join(c.Ping(Ping{At: now.Add(-2 * time.Minute), Lat: 50.4501, Lng: 30.5234, AccuracyM: 8}),
		c.Ping(Ping{At: now.Add(-time.Minute), Lat: 50.47, Lng: 30.5234, AccuracyM: 8}), c.Flush(ctx), c.Close())
	if err != nil {
		t.Fatal(err)
	}
	if len(words) != 0 {
		t.Error("a client that shows nothing says that it is there")
	}
	asked := make(chan Message, 100)
	var visible atomic.Bool
	cfg.OnMessage = func(m Message) bool { asked <- m; return visible.Load() }
	if c, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	get := func() Message {
		t.Helper()
		select {
		case m := <-asked:
			return m
		case <-ctx.Done():
			t.Fatal("no message for the app\n" + g.Log())
		}
		return Message{}
	}
	word("connected")
	get() // not shown, so it waits
	visible.Store(true)
	c.Here()
	word("told to")
	if m := get(); m.Title != "For the app" {
		t.Errorf("message %+v", m)
	}
	if err := c.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for len(words) > 0 { // Open may have said it twice
		<-words
	}
	line.Set(false)
	line.Set(true)
	word("connected again")
	if len(asked) != 0 {
		t.Error("shown twice")
	}
}

func TestOpenRefusesBadNames(t *testing.T) {
	for _, name := range []string{"", "a.b", "a b", "a>", strings.Repeat("a", 65)} {
		if _, err := Open(Config{URL: "nats://127.0.0.1:1", App: "shop", Device: name}); err == nil {
			t.Errorf("device %q is taken", name)
		}
	}
}
