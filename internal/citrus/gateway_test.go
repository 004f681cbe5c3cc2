package citrus

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/push"
	"footfall/push/apns"
	"footfall/push/fcm"
	"footfall/receipt"
	"footfall/stream"
)

// virtualClock is the time of the day as the gateway, its providers and the phones see it.
type virtualClock struct{ ms atomic.Int64 }

func (c *virtualClock) now() time.Time      { return time.UnixMilli(c.ms.Load()) }
func (c *virtualClock) add(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// forward sets the clock on to t; it never goes back. One goroutine moves the clock.
func (c *virtualClock) forward(t time.Time) { c.ms.Store(max(c.ms.Load(), t.UnixMilli())) }

// settings is what a gateway has to be told, in this process or in a child.
type settings struct {
	Dir      string
	Listen   string // "": connections inside the process only
	Campaign string // "": that of the day

	APNsURL, APNsKeyID, APNsTeamID, APNsTopic string
	APNsKey, APNsCA                           []byte
	FCMEndpoint                               string
	FCMCredentials, FCMCA                     []byte
}

// gateway is the whole product in one process, wired as the command does it: the embedded NATS server with
// JetStream, the ledger on disk, the gateway, and the real providers, which point at the fakes.
type gateway struct {
	clock  *virtualClock
	server *stream.Server
	db     *db.DB
	gw     *stream.Gateway
	lanes  []push.Provider
	stop   context.CancelFunc
	ended  chan error
}

const (
	laneAPNs = "apns/*/prod"
	laneFCM  = "fcm/*/prod"
)

// openGateway returns when the gateway listens. The providers' expiry and token ages follow the virtual clock; what
// they sign is dated by the machine's clock, because the libraries below them know no other.
func openGateway(s *settings, clock *virtualClock) (g *gateway, err error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	g = &gateway{clock: clock, ended: make(chan error, 1)}
	a, err := apns.New(apns.Config{
		KeyPEM: s.APNsKey, KeyID: s.APNsKeyID, TeamID: s.APNsTeamID, Topic: s.APNsTopic, Host: s.APNsURL,
		RootCAs: pool(s.APNsCA), Now: clock.now, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	f, err := fcm.New(fcm.Config{CredentialsJSON: s.FCMCredentials, Endpoint: s.FCMEndpoint, RootCAs: pool(s.FCMCA), Now: clock.now, Logger: log})
	if err != nil {
		return nil, err
	}
	g.lanes = []push.Provider{a, f}
	// The log holds positions for a quarter of an hour by default; the replay reads the whole day from it.
	logs := stream.LogConfig{MaxAge: 6 * time.Hour}
	if g.server, err = stream.StartServer(stream.ServerConfig{StoreDir: filepath.Join(s.Dir, "nats"), Listen: s.Listen, MaxStore: 32 << 30, Logger: log}); err != nil {
		return nil, err
	}
	if g.db, err = db.Open(db.Config{Dir: filepath.Join(s.Dir, "ledger"), Now: clock.now, Logger: log}); err != nil {
		return nil, err
	}
	// The same secret in every variant, so that codes and keys are the same.
	keys, err := receipt.NewKeyring(receipt.Secrets{[]byte("the citrus day, for tests alone!")})
	if err != nil {
		return nil, err
	}
	g.gw, err = stream.New(stream.Config{
		Receipts: keys, Server: g.server, DB: g.db, Log: logs, Now: clock.now, Logger: log,
		Providers: map[string]push.Provider{laneAPNs: a, laneFCM: f},
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
		return nil, err
	}
	fs, findings := fences.Parse("stores.geojson", Fences(), fences.Options{})
	if fences.HasErrors(findings) { // k03 and k10 overlap, which is a warning
		return nil, fmt.Errorf("the stores have errors: %v", findings)
	}
	if _, err := g.gw.SetFences(context.Background(), fs); err != nil {
		return nil, err
	}
	cs, err := campaign.Parse("campaign.yaml", []byte(cmp.Or(s.Campaign, Campaign)))
	if err != nil {
		return nil, err
	}
	set, err := campaign.NewSet(cs)
	if err != nil {
		return nil, err
	}
	g.gw.SetCampaigns(set)
	ctx, cancel := context.WithCancel(context.Background())
	g.stop = cancel
	go func() { g.ended <- g.gw.Run(ctx) }()
	select {
	case <-g.gw.Ready():
		return g, nil
	case err := <-g.ended:
		return nil, fmt.Errorf("the gateway ended before it was ready: %w", err)
	case <-time.After(30 * time.Second):
		return nil, errors.New("the gateway was not ready within 30 s")
	}
}

func pool(pem []byte) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(pem)
	return p
}

// drain returns when everything that had arrived is decided and every push that is owed has come to an end, so
// that the clock may go on. Rows that a killed gateway had on the way come to theirs by the clock: nudge is how
// far it may go ahead for them at each look.
func (g *gateway) drain(ctx context.Context, nudge time.Duration) error {
	if err := g.gw.Settle(ctx); err != nil {
		return fmt.Errorf("settle: %w; %+v", err, g.gw.Status().Stats)
	}
	for {
		owed, err := g.owed()
		if err != nil || owed == 0 {
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d pushes are owed: %w; %+v", owed, ctx.Err(), g.gw.Status().Outbox)
		}
		g.clock.add(nudge)
	}
}

// owed counts the claims that have no outcome yet.
func (g *gateway) owed() (n int64, err error) {
	err = g.db.View(func(tx *db.Tx) error {
		f, err := stream.Funnel(tx)
		if err != nil {
			return err
		}
		n = f[CampaignID]["claimed"]
		for _, s := range outbox.States() {
			n -= f[CampaignID]["push."+string(s)]
		}
		return nil
	})
	return n, err
}

// close stops the gateway in order; what it had to do is done.
func (g *gateway) close() error {
	g.stop()
	err := <-g.ended
	err = errors.Join(err, g.db.Close())
	g.server.Shutdown()
	for _, p := range g.lanes {
		err = errors.Join(err, p.Close())
	}
	return err
}
