package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"footfall/audience"
	"footfall/outbox"
	"footfall/push"
	"footfall/push/apns"
	"footfall/push/fcm"
)

// Lanes. One account of each provider serves every app, which is what the "*" says.
var (
	laneAPNs        = outbox.LaneName("apns", "*", push.EnvProd)
	laneAPNsSandbox = outbox.LaneName("apns", "*", push.EnvSandbox)
	laneFCM         = outbox.LaneName("fcm", "*", push.EnvProd)
	laneLog         = outbox.LaneName("log", "*", push.EnvProd)
)

// providers is the set of push providers that a configuration asks for.
type providers struct {
	lanes map[string]push.Provider
	apns  bool
	fcm   bool
}

// openProviders checks the credentials and opens what is configured. With nothing configured every push is
// printed to w.
func openProviders(cfg *Config, w io.Writer) (*providers, error) {
	p := newProviders()
	var errs []error
	if cfg.Push.APNs.KeyFile != "" {
		c := cfg.apns()
		roots, err := readCA("push.apns.ca_file", cfg.Push.APNs.CAFile)
		if err != nil {
			errs = append(errs, err)
		}
		c.RootCAs = roots
		// Environments fail apart: a wrong sandbox key must not hold up production.
		if a, err := apns.New(c); err != nil {
			errs = append(errs, err)
		} else {
			p.addAPNs(a)
		}
	}
	if cfg.Push.FCM.CredentialsFile != "" {
		c := cfg.fcm()
		roots, err := readCA("push.fcm.ca_file", cfg.Push.FCM.CAFile)
		if err != nil {
			errs = append(errs, err)
		}
		c.RootCAs = roots
		if f, err := fcm.New(c); err != nil {
			errs = append(errs, err)
		} else {
			p.addFCM(f)
		}
	}
	if err := errors.Join(errs...); err != nil {
		p.close()
		return nil, err
	}
	if !p.apns && !p.fcm {
		p.lanes[laneLog] = push.NewLog(w, time.Now)
	}
	return p, nil
}

func newProviders() *providers { return &providers{lanes: map[string]push.Provider{}} }

func (p *providers) addAPNs(a push.Provider) {
	p.apns = true
	p.lanes[laneAPNs], p.lanes[laneAPNsSandbox] = a, a
}

func (p *providers) addFCM(f push.Provider) {
	p.fcm = true
	p.lanes[laneFCM] = f
}

// lane is where a device's pushes go.
func (p *providers) lane(_ string, profile *audience.Profile) (string, bool) {
	if !p.apns && !p.fcm {
		return laneLog, true
	}
	switch push.Platform(profile.Platform) {
	case push.IOS:
		if profile.Env == push.EnvSandbox {
			return laneAPNsSandbox, p.apns
		}
		return laneAPNs, p.apns
	case push.Android:
		return laneFCM, p.fcm
	}
	return "", false
}

// describe says in a few words where pushes go.
func (p *providers) describe() string {
	switch {
	case p.apns && p.fcm:
		return "APNs and FCM"
	case p.apns:
		return "APNs; Android devices get nothing (push.fcm.credentials_file is not set)"
	case p.fcm:
		return "FCM; iOS devices get nothing (push.apns.key_file is not set)"
	}
	return "printed only: no provider is configured (push.apns, push.fcm)"
}

func (p *providers) close() {
	seen := map[push.Provider]bool{}
	for _, l := range p.lanes {
		if !seen[l] {
			seen[l] = true
			_ = l.Close()
		}
	}
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
