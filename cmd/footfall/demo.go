package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/internal/say"
	"footfall/push/apns"
	"footfall/push/fake"
	"footfall/push/fcm"
	"footfall/stream"
	"footfall/stream/wire"
)

//go:embed demo/stores.geojson
var demoStores []byte

//go:embed demo/campaign.yaml.tmpl
var demoCampaign string

type demoCmd struct {
	Phones int           `help:"How many phones walk." default:"60"`
	Speed  float64       `help:"How fast they walk, in metres a second." default:"6"`
	For    time.Duration `help:"Stop after this time; 0: on Ctrl-C." default:"0s"`
	Data   string        `help:"Data directory; default a temporary one that is removed." placeholder:"DIR"`
	Listen string        `help:"Client address of the embedded NATS server; default 127.0.0.1:4222, or a free port when that is taken." placeholder:"HOST:PORT"`
	Seed   uint64        `help:"Seed of the walks." default:"1"`

	Scenario string        `help:"Play a case study at its full size, in about a minute, and print its figures beside this run's: citrus or perekrestok. Of the flags above, --for, --data and --listen count." enum:",citrus,perekrestok" default:"" placeholder:"NAME"`
	Pace     time.Duration `help:"On a terminal the scenario takes at least as long, so that it can be followed." default:"45s"`
	Part     int           `help:"Divide the scenario's people by this, for a slow machine." default:"1" placeholder:"N"`
}

func (c *demoCmd) Run(e *env) error {
	if c.Part < 1 || c.Part > 100 {
		return usage("--part is 1 to 100")
	}
	switch c.Scenario {
	case "citrus":
		return c.runScenario(e, citrusScenario(c.Part))
	case "perekrestok":
		s, err := perekrestokScenario(c.Part)
		if err != nil {
			return err
		}
		return c.runScenario(e, s)
	}
	if c.Phones < 0 || c.Phones > 10_000 || c.Speed <= 0 || c.Speed > 80 {
		return usage("--phones is 0 to 10000, --speed more than 0 and at most 80 m/s")
	}
	ctx := e.ctx
	if c.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.For)
		defer cancel()
	}
	d := &demo{cmd: c, out: newScreen(e.out)}
	d.log = slog.New(slog.NewTextHandler(d.out, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cleanup, err := d.open()
	defer cleanup()
	if err != nil {
		return err
	}
	err = d.run(ctx)
	d.out.setStatus("")
	stats := d.phones.Stats()
	writeFunnel(e.out, d.node.gateway.Status(), &stats)
	return err
}

// demo is a gateway with stores, walkers and phones around it.
type demo struct {
	cmd    *demoCmd
	out    *screen
	log    *slog.Logger
	node   *node
	phones *fake.PhoneBook
	walk   *walkers
	feed   *nats.Conn

	entries, pushes, held, shown atomic.Int64
}

// open makes everything; the function it returns ends what was made, also after an error.
func (d *demo) open() (cleanup func(), err error) {
	var closers []func()
	cleanup = func() {
		for i := len(closers) - 1; i >= 0; i-- {
			closers[i]()
		}
	}
	cfg := defaultConfig()
	cfg.DataDir = d.cmd.Data
	if cfg.DataDir == "" {
		if cfg.DataDir, err = os.MkdirTemp("", "footfall-demo-"); err != nil {
			return cleanup, err
		}
		closers = append(closers, func() { _ = os.RemoveAll(cfg.DataDir) })
	}
	if err := d.files(&cfg); err != nil {
		return cleanup, err
	}
	d.phones = fake.NewPhoneBook(fake.PhoneBookConfig{})
	p, closeFakes, err := d.fakes()
	closers = append(closers, closeFakes)
	if err != nil {
		return cleanup, err
	}
	cfg.NATS.Listen = d.cmd.Listen
	if cfg.NATS.Listen == "" {
		cfg.NATS.Listen = freeAddress("127.0.0.1:4222")
	}
	if err := cfg.validate(); err != nil {
		return cleanup, err
	}
	if d.node, err = openNode(&cfg, d.log, p); err != nil {
		return cleanup, err
	}
	closers = append(closers, d.node.close)
	if err := d.node.loadFences(context.Background(), d.out); err != nil {
		return cleanup, err
	}
	if err := d.node.loadCampaigns(context.Background()); err != nil {
		return cleanup, err
	}
	connect := func(name string) (*nats.Conn, error) { return nats.Connect(d.node.server.ClientURL(), nats.Name(name)) }
	if d.feed, err = connect("demo screen"); err != nil {
		return cleanup, err
	}
	closers = append(closers, d.feed.Close)
	d.walk, err = newWalkers(connect, d.cmd.Phones, d.node.gateway.Fences(), d.cmd.Speed, d.cmd.Seed)
	if err == nil {
		closers = append(closers, d.walk.close)
	}
	return cleanup, err
}

// files writes the stores and the campaign into the data directory, where they can be edited while the demo
// runs. Files of an earlier demo are kept.
func (d *demo) files(cfg *Config) error {
	dir := filepath.Join(cfg.DataDir, "demo")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	kyiv, err := time.LoadLocation("Europe/Kyiv")
	if err != nil {
		return err
	}
	today := time.Now().In(kyiv)
	text := strings.NewReplacer(
		"{{FROM}}", today.AddDate(0, 0, -1).Format("2006-01-02T15:04"),
		"{{TO}}", today.AddDate(0, 0, 30).Format("2006-01-02T15:04"),
	).Replace(demoCampaign)
	cfg.Fences.Path, cfg.Campaigns.Path = filepath.Join(dir, "stores.geojson"), filepath.Join(dir, "campaign.yaml")
	for path, data := range map[string][]byte{cfg.Fences.Path: demoStores, cfg.Campaigns.Path: []byte(text)} {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// fakes starts the APNs and FCM fakes and points real providers at them.
func (d *demo) fakes() (p *providers, closeAll func(), err error) {
	p = &providers{lanes: nil}
	closeAll = func() {}
	a, err := fake.StartAPNs(fake.APNsConfig{Phones: d.phones})
	if err != nil {
		return nil, closeAll, err
	}
	f, err := fake.StartFCM(fake.FCMConfig{Phones: d.phones})
	if err != nil {
		return nil, func() { _ = a.Close() }, err
	}
	closeAll = func() { _ = errors.Join(a.Close(), f.Close()) }
	ap, err := apns.New(apns.Config{KeyPEM: a.KeyPEM, KeyID: a.KeyID, TeamID: a.TeamID, Topic: a.Topic, Host: a.URL(), RootCAs: a.RootCAs, Logger: d.log})
	if err != nil {
		return nil, closeAll, err
	}
	fp, err := fcm.New(fcm.Config{CredentialsJSON: f.CredentialsJSON(), Endpoint: f.Endpoint(), RootCAs: f.RootCAs, Logger: d.log})
	if err != nil {
		_ = ap.Close()
		return nil, closeAll, err
	}
	p = newProviders()
	p.add(ap, laneAPNs)
	p.add(fp, laneFCM)
	return p, closeAll, nil
}

// freeAddress is addr when nobody listens there, else a free port of the same host.
func freeAddress(addr string) string {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return "127.0.0.1:0"
	}
	if err == nil {
		_ = l.Close()
	}
	return addr
}

func (d *demo) run(ctx context.Context) error {
	n := d.node
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	walkCtx, stopWalk := context.WithCancel(ctx)
	defer stopWalk()
	d.phones.OnShow(func(s fake.Shown) {
		d.shown.Add(1)
		text := s.Title
		if s.Subtitle != "" {
			text += " · " + s.Subtitle
		}
		d.out.line("%s  SHOWN  %-18s │ %s │ %s", clockNow(), d.walk.name(s.Token), text, s.Body)
		go d.walk.react(walkCtx, s, func(what string, p *walker) { d.out.line("%s  %s %s", clockNow(), what, p.name) })
	})
	if _, err := d.feed.Subscribe(wire.EventsAll, d.event); err != nil {
		return err
	}
	if err := d.feed.Flush(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-n.gateway.Ready():
		case <-walkCtx.Done():
			return
		}
		d.greet()
		wg.Go(func() { d.status(walkCtx) })
		d.walk.run(walkCtx, d.cmd.Phones)
	})
	err := n.run(ctx, n.watchFences, n.watchCampaigns)
	stopWalk()
	wg.Wait()
	return err
}

// greet says what runs and how to take part by hand.
func (d *demo) greet() {
	n := d.node
	url := n.server.ClientURL()
	store := n.gateway.Fences().At(0)
	center := store.Shape.Center()
	d.out.printf(`Footfall demo: %d stores in Kyiv, %d walking phones, APNs and FCM fakes. Nothing leaves this machine.
  stores and campaign   %s (edit them while this runs)
  NATS                  %s
Take part from another terminal, with any NATS client. Register a phone, then walk it into %s:
  nats -s %s request device.demo.me '{"platform":"ios","token":"%s","locale":"en"}'
  nats -s %s request ping.demo.me '{"age_ms":0,"lat":%.4f,"lon":%.4f,"acc":5}'
  go run ./cmd/footfall explain demo.me --server %s
Ctrl-C stops and prints the funnel.
`, n.gateway.Fences().Len(), d.cmd.Phones, filepath.Dir(n.cfg.Fences.Path), url, store.Name,
		url, fake.DeviceToken("me"), url, center.Lat, center.Lng, url)
}

// event prints one event of the EVENTS stream.
func (d *demo) event(m *nats.Msg) {
	ev, err := wire.ParseEvent(m.Subject)
	if err != nil {
		return
	}
	switch ev.Kind {
	case "enter":
		var t stream.TransitionEvent
		if json.Unmarshal(m.Data, &t) != nil {
			return
		}
		d.entries.Add(1)
		d.out.line("%s  ENTER  %-18s → %s, %.0f m from the door (±%.0f m)", clockNow(), t.Device, t.FenceName, t.DistanceM, t.AccuracyM)
	case "push":
		var p stream.PushEvent
		if json.Unmarshal(m.Data, &p) != nil {
			return
		}
		switch p.Outcome {
		case "accepted":
			d.pushes.Add(1)
		case "held":
			d.held.Add(1)
			d.out.line("%s  held   %-18s   no push: %s", clockNow(), p.Device, strings.ReplaceAll(p.Reason, "_", " "))
		default:
			d.out.line("%s  push   %-18s   %s %s", clockNow(), p.Device, p.Outcome, p.Reason)
		}
	}
}

// status keeps the status line: every second on a terminal, every ten seconds as a plain line elsewhere.
func (d *demo) status(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var before int64
	for i := 1; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		sent := d.walk.sent.Load()
		line := fmt.Sprintf("phones %d │ pings %s (%d/s) │ entries %d │ held %d │ pushed %d │ shown %d",
			d.cmd.Phones, say.Thousands(sent), sent-before, d.entries.Load(), d.held.Load(), d.pushes.Load(), d.shown.Load())
		before = sent
		if d.out.tty {
			d.out.setStatus(line)
		} else if i%10 == 0 {
			d.out.printf("%s  %s", clockNow(), line)
		}
	}
}

func clockNow() string { return time.Now().Format("15:04:05") }

var _ io.Writer = (*screen)(nil)
