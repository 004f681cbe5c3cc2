package stage

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/journey"
	"footfall/outbox"
	"footfall/push"
	"footfall/push/apns"
	"footfall/push/fcm"
	"footfall/push/webhook"
	"footfall/receipt"
	"footfall/stream"
	"footfall/stream/natsd"
)

// Settings is what a gateway has to be told, in this process or in a child.
type Settings struct {
	Dir       string
	Listen    string   // "": connections inside the process only
	Fences    []byte   // GeoJSON; nil: none
	Campaigns string   // a file of campaigns, journeys and segments
	Webhooks  []string // addresses of systems that journeys call; the name of each is the last element of its path
	// LogInJetStream keeps the input log in streams, where a test can read it and write to it.
	LogInJetStream bool

	APNsURL, APNsKeyID, APNsTeamID, APNsTopic string
	APNsKey, APNsCA                           []byte
	FCMEndpoint                               string
	FCMCredentials, FCMCA                     []byte
}

// Gateway is the whole product in one process, wired as the command does it: the embedded NATS server with
// JetStream, the ledger on disk, the gateway, and the real providers, which point at the fakes.
type Gateway struct {
	*stream.Gateway
	Clock  *Clock
	Server *natsd.Server
	DB     *db.DB
	lanes  []push.Provider
	stop   context.CancelFunc
	ended  chan error
}

const (
	laneAPNs = "apns/*/prod"
	laneFCM  = "fcm/*/prod"
)

// Open returns when the gateway listens; after an error nothing of it is left. The providers' expiry and token ages
// follow the clock; what they sign is dated by the machine's clock, because the libraries below them know no other.
func Open(s *Settings, clock *Clock) (g *Gateway, err error) {
	g = &Gateway{Clock: clock}
	if err := g.open(s); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Gateway) open(s *Settings) (err error) {
	clock := g.Clock
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	a, err := apns.New(apns.Config{
		KeyPEM: s.APNsKey, KeyID: s.APNsKeyID, TeamID: s.APNsTeamID, Topic: s.APNsTopic, Host: s.APNsURL,
		RootCAs: pool(s.APNsCA), Now: clock.Now, Logger: log,
	})
	if err != nil {
		return err
	}
	g.lanes = append(g.lanes, a)
	f, err := fcm.New(fcm.Config{CredentialsJSON: s.FCMCredentials, Endpoint: s.FCMEndpoint, RootCAs: pool(s.FCMCA), Now: clock.Now, Logger: log})
	if err != nil {
		return err
	}
	g.lanes = append(g.lanes, f)
	lanes := map[string]push.Provider{laneAPNs: a, laneFCM: f}
	for _, at := range s.Webhooks {
		call, err := webhook.New(webhook.Config{URL: at, Secrets: []string{webhook.NewSecret()}, Now: clock.Now, Logger: log})
		if err != nil {
			return err
		}
		g.lanes = append(g.lanes, call)
		lanes[stream.CallLane(path.Base(at))] = call
	}
	// The log holds positions for a quarter of an hour by default; a replay reads a whole day from it.
	logs := stream.LogConfig{MaxAge: 6 * time.Hour, JetStream: s.LogInJetStream}
	if g.Server, err = natsd.Start(natsd.Config{StoreDir: filepath.Join(s.Dir, "nats"), Listen: s.Listen, MaxStore: 32 << 30, Logger: log}); err != nil {
		return err
	}
	if g.DB, err = db.Open(db.Config{Dir: filepath.Join(s.Dir, "ledger"), Now: clock.Now, Logger: log}); err != nil {
		return err
	}
	// The same secret in every run, so that codes and keys are the same. It signs nothing outside of the run.
	keys, err := receipt.NewKeyring(receipt.Secrets{[]byte("a scenario alone knows this word!")})
	if err != nil {
		return err
	}
	g.Gateway, err = stream.New(stream.Config{
		Receipts: keys, Server: g.Server, DB: g.DB, Log: logs, Now: clock.Now, Logger: log,
		Providers: lanes,
		Lane: func(_ string, p *audience.Profile) (string, bool) {
			switch push.Platform(p.Platform) {
			case push.IOS:
				return laneAPNs, true
			case push.Android:
				return laneFCM, true
			}
			return "", false
		},
	})
	if err != nil {
		return err
	}
	if err := g.load(s); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.stop, g.ended = cancel, make(chan error, 1)
	go func() { g.ended <- g.Gateway.Run(ctx) }()
	select {
	case <-g.Ready():
		return nil
	case err := <-g.ended:
		g.ended <- nil // for Close
		return fmt.Errorf("the gateway ended before it was ready: %w", err)
	case <-time.After(30 * time.Second):
		return errors.New("the gateway was not ready within 30 s")
	}
}

// load activates the fences and the campaigns.
func (g *Gateway) load(s *Settings) error {
	ctx := context.Background()
	if s.Fences != nil {
		fs, findings := fences.Parse("fences.geojson", s.Fences, fences.Options{})
		if fences.HasErrors(findings) { // warnings, such as of an overlap, are welcome
			return fmt.Errorf("the fences have errors: %v", findings)
		}
		if _, err := g.SetFences(ctx, fs); err != nil {
			return err
		}
	}
	lib, err := campaign.ParseLibrary("campaigns.yaml", []byte(s.Campaigns))
	if err != nil {
		return err
	}
	set, err := campaign.NewSet(lib.Campaigns)
	if err != nil {
		return err
	}
	js, err := journey.Read(lib)
	if err != nil {
		return err
	}
	if err := g.SetJourneys(ctx, js); err != nil {
		return err
	}
	g.SetSegments(lib.Segments)
	g.SetCampaigns(set)
	return nil
}

func pool(pem []byte) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(pem)
	return p
}

// drainPatience bounds a Drain on a slow machine.
const drainPatience = 120 * time.Second

// Drain returns when everything that had arrived is decided, every wait that is over has ended, and every push that is
// due has come to an end, so that the clock may go on. Rows that a killed gateway had on the way come to theirs by the
// clock: nudge is how far it may go ahead for them at each look.
func (g *Gateway) Drain(nudge time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	if err := g.Settle(ctx); err != nil {
		return fmt.Errorf("settle: %w; %+v", err, g.Status().Stats)
	}
	return g.finish(ctx, nudge)
}

// finish is Drain when everything that had arrived is decided.
func (g *Gateway) finish(ctx context.Context, nudge time.Duration) error {
	g.ClockSet()
	for before := int64(0); ; {
		owed, err := g.owed()
		if err != nil || owed == 0 {
			return err
		}
		if owed == before && nudge == 0 {
			if later, err := g.later(); err != nil || later == owed {
				return err
			}
		}
		before = owed
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d pushes and waits are owed: %w; %+v", owed, ctx.Err(), g.Status().Outbox)
		}
		g.Clock.Add(nudge)
	}
}

// owed counts the claims that have no outcome yet, and the shards with a wait that is over.
func (g *Gateway) owed() (n int64, err error) {
	err = g.DB.View(func(tx *db.Tx) error {
		f, err := stream.Funnel(tx)
		if err != nil {
			return err
		}
		for id := range f {
			if id == "" {
				continue
			}
			n += f[id]["claimed"]
			for _, s := range outbox.States() {
				n -= f[id]["push."+string(s)]
			}
		}
		for shard := range journey.Shards {
			_, _, err := journey.Wakes(tx, shard, 0, nil, g.Clock.Now().UnixMilli()+1, func(journey.Wake) (bool, error) {
				n++
				return false, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// later counts the pushes that wait for a time of their own, such as the end of quiet hours.
func (g *Gateway) later() (n int64, err error) {
	now := g.Clock.Now().UnixMilli()
	err = g.DB.View(func(tx *db.Tx) error {
		return outbox.List(tx, outbox.Filter{State: outbox.StatePending}, func(d *outbox.Delivery) bool {
			if d.NextAt > now {
				n++
			}
			return true
		})
	})
	return n, err
}

// Close stops the gateway in order; what it had to do is done.
func (g *Gateway) Close() (err error) {
	if g.stop != nil {
		g.stop()
		err = <-g.ended
	}
	if g.DB != nil {
		err = errors.Join(err, g.DB.Close())
	}
	if g.Server != nil {
		g.Server.Shutdown()
	}
	for _, p := range g.lanes {
		err = errors.Join(err, p.Close())
	}
	return err
}
