package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"footfall/audience"
	"footfall/internal/watch"
	"footfall/outbox"
	"footfall/push"
	"footfall/push/apns"
	"footfall/push/fcm"
	"footfall/push/hms"
	"footfall/push/webhook"
	"footfall/push/webpush"
	"footfall/stream"
)

// Lanes. One account of each provider serves every app, which is what the "*" says.
var (
	laneAPNs        = outbox.LaneName("apns", "*", push.EnvProd)
	laneAPNsSandbox = outbox.LaneName("apns", "*", push.EnvSandbox)
	laneFCM         = outbox.LaneName("fcm", "*", push.EnvProd)
	laneWebPush     = outbox.LaneName("webpush", "*", push.EnvProd)
	laneHMS         = outbox.LaneName("hms", "*", push.EnvProd)
	laneWebhook     = outbox.LaneName("webhook", "*", push.EnvProd)
	laneInApp       = outbox.LaneName("inapp", "*", push.EnvProd)
	laneLog         = outbox.LaneName("log", "*", push.EnvProd)
)

// providers is the set of push providers that a configuration asks for, by lane.
type providers struct {
	lanes         map[string]push.Provider
	closers       []func() // after the lanes
	iosThroughFCM bool
}

func newProviders() *providers { return &providers{lanes: map[string]push.Provider{}} }

// openProviders checks the credentials and opens what is configured; every problem is reported at once. With
// nothing configured every push is printed to w. log gets what an operator should act on.
func openProviders(cfg *Config, w io.Writer, log *slog.Logger) (*providers, error) {
	p := newProviders()
	p.iosThroughFCM = cfg.Push.FCM.IOS
	var errs []error
	open := func(set bool, make func() (push.Provider, error), lanes ...string) {
		if !set {
			return
		}
		provider, err := make()
		if err != nil {
			errs = append(errs, err)
			return
		}
		p.add(provider, lanes...)
	}
	open(cfg.Push.APNs.KeyFile != "", func() (_ push.Provider, err error) {
		c := cfg.apns()
		c.Logger = log
		if c.RootCAs, err = readCA("push.apns.ca_file", cfg.Push.APNs.CAFile); err != nil {
			return nil, err
		}
		return apns.New(c)
	}, laneAPNs, laneAPNsSandbox) // a lane each: a pause of the sandbox must not hold up production
	open(cfg.Push.FCM.CredentialsFile != "", func() (_ push.Provider, err error) {
		c := cfg.fcm()
		c.Logger = log
		if c.RootCAs, err = readCA("push.fcm.ca_file", cfg.Push.FCM.CAFile); err != nil {
			return nil, err
		}
		return fcm.New(c)
	}, laneFCM)
	open(cfg.Push.WebPush.KeyFile != "", func() (push.Provider, error) {
		c := cfg.webpush()
		c.Logger = log
		return webpush.New(c)
	}, laneWebPush)
	open(cfg.Push.HMS.ClientID != "", func() (push.Provider, error) {
		c := cfg.hms()
		c.Logger = log
		return hms.New(c)
	}, laneHMS)
	open(cfg.Push.Webhook.URL != "", func() (push.Provider, error) {
		c := cfg.Push.Webhook.config()
		c.Logger = log
		return webhook.New(c)
	}, laneWebhook)
	if len(p.lanes) == 0 && len(errs) == 0 {
		p.add(push.NewLog(w, time.Now), laneLog)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Webhooks)) {
		open(true, func() (push.Provider, error) {
			c := cfg.Webhooks[name].config()
			c.Logger = log
			provider, err := webhook.New(c)
			if err != nil {
				return nil, fmt.Errorf("webhooks.%s: %w", name, err)
			}
			return provider, nil
		}, stream.CallLane(name))
	}
	if err := errors.Join(errs...); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *providers) add(provider push.Provider, lanes ...string) {
	for _, l := range lanes {
		p.lanes[l] = provider
	}
}

// lane is where a device's pushes go: to its platform's provider, else to the webhook, else nowhere.
func (p *providers) lane(_ string, profile *audience.Profile) (string, bool) {
	if _, printed := p.lanes[laneLog]; printed {
		return laneLog, true
	}
	var lane string
	switch push.Platform(profile.Platform) {
	case push.IOS:
		switch {
		case p.iosThroughFCM:
			lane = laneFCM
		case profile.Env == push.EnvSandbox:
			lane = laneAPNsSandbox
		default:
			lane = laneAPNs
		}
	case push.Android:
		lane = laneFCM
	case push.Web:
		lane = laneWebPush
	case push.HMS:
		lane = laneHMS
	}
	if _, ok := p.lanes[lane]; ok {
		return lane, true
	}
	_, ok := p.lanes[laneWebhook]
	return laneWebhook, ok
}

// inApp is the lane of what only apps get, "" without one.
func (p *providers) inApp() string {
	if _, ok := p.lanes[laneInApp]; ok {
		return laneInApp
	}
	return ""
}

// describe says where the pushes of each platform go.
func (p *providers) describe() string {
	if _, printed := p.lanes[laneLog]; printed {
		return "printed only: no provider is configured (push.apns, push.fcm, push.webpush, push.hms, push.webhook)"
	}
	var parts []string
	for _, platform := range []push.Platform{push.IOS, push.Android, push.Web, push.HMS} {
		to := "nothing"
		if lane, ok := p.lane("", &audience.Profile{Platform: string(platform)}); ok {
			to = p.lanes[lane].Name()
		}
		parts = append(parts, fmt.Sprintf("%s → %s", platform, to))
	}
	return strings.Join(parts, ", ")
}

// all returns the providers and the lanes of each.
func (p *providers) all() map[push.Provider][]string {
	all := map[push.Provider][]string{}
	for lane, provider := range p.lanes {
		all[provider] = append(all[provider], lane)
	}
	return all
}

func (p *providers) close() {
	for provider := range p.all() {
		_ = provider.Close()
	}
	for _, fn := range p.closers {
		fn()
	}
}

// watchers keep the providers' credentials equal to their files, one watcher for each file. A file that cannot be
// used changes nothing and is logged. resume is told the lanes whose credentials are new, because they may be
// paused for the old ones.
func (p *providers) watchers(log *slog.Logger, resume func(lane string)) []func(context.Context) error {
	var out []func(context.Context) error
	for provider, lanes := range p.all() {
		r, ok := provider.(push.Rotator)
		if !ok {
			continue
		}
		for _, path := range r.CredentialFiles() {
			out = append(out, func(ctx context.Context) error {
				first := true
				return watch.Files(ctx, watch.Config{Path: path, Logger: log}, func() error {
					changed, err := r.Rotate()
					if err != nil && first { // spoilt since it was opened: no reason to stop
						log.Error("credentials not replaced", "provider", provider.Name(), "err", err)
						err = nil
					}
					first = false
					if !changed {
						return err
					}
					log.Info("credentials replaced", "provider", provider.Name(), "file", path)
					for _, lane := range lanes {
						resume(lane)
					}
					return nil
				})
			})
		}
	}
	return out
}

// readCA reads the certificates of a private authority; "" is the system's.
func readCA(key, path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %s: %w", key, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("config: %s: %s holds no PEM certificate", key, path)
	}
	return pool, nil
}
