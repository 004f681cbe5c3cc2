// Package webpush sends notifications to browsers through their push services
// (RFC 8030), encrypted for the browser (RFC 8291) and signed with the
// gateway's own key (VAPID, RFC 8292).
//
// The token of a device is its subscription as the browser gives it:
//
//	{"endpoint":"https://…","keys":{"p256dh":"…","auth":"…"}}
//
// An endpoint is an address that a stranger may have written. Only https to
// public addresses is spoken to, also after the name is resolved, and no
// redirect is followed. The service worker gets the JSON described at
// [Message].
package webpush

import (
	"cmp"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"
	"footfall/push/internal/post"
)

// maxTTL is the most that push services store, 30 days (Mozilla's limit).
const maxTTL = 30 * 24 * time.Hour

// Config describes one site. PrivateKey (or KeyFile) and Subject are required.
type Config struct {
	// PrivateKey is the VAPID key: 32 bytes in base64url, as GenerateKey and the
	// tools of other libraries print it. KeyFile is a file with that text, or
	// with the key in PEM.
	PrivateKey string
	KeyFile    string
	// PublicKey, if set, must belong to the private key. It is what the site
	// subscribes with: browsers that used another one cannot be reached.
	PublicKey string
	// Subject is where push services complain: "mailto:ops@shop.example" or an
	// https URL.
	Subject string

	// AllowPrivate lets endpoints be on loopback and private addresses, for a
	// push service of one's own. Off, the gateway cannot be made to call into
	// the network that it runs in.
	AllowPrivate bool
	// RootCAs verifies push services; nil is the system's roots.
	RootCAs *x509.CertPool
	// InFlight is the most requests to one push service at a time, default 32.
	InFlight int
	// Timeout bounds one attempt, default 10 s.
	Timeout time.Duration
	// Now is the clock for expiry and VAPID tokens; nil is time.Now.
	Now func() time.Time
	// Logger gets what an operator should act on; nil discards.
	Logger *slog.Logger
}

// Provider sends to browsers. It implements push.Provider.
type Provider struct {
	cfg    Config
	vapid  *vapid
	client *post.Client
}

var _ push.Provider = (*Provider)(nil)

// New checks cfg and the key and returns a provider. The error names every
// problem on a line of its own: what is wrong, where, what to do. Nothing is
// sent.
func New(cfg Config) (*Provider, error) {
	key, err := cfg.check()
	if err != nil {
		return nil, err
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Provider{cfg: cfg, vapid: newVAPID(key, cfg.Subject, cfg.Now)}
	pc := post.Config{RootCAs: cfg.RootCAs, InFlight: cfg.InFlight}
	if !cfg.AllowPrivate {
		pc.Guard = public
	}
	p.client = post.New(pc)
	return p, nil
}

// Name implements push.Provider.
func (p *Provider) Name() string { return "webpush" }

// PublicKey is what the site's page passes as applicationServerKey, base64url.
func (p *Provider) PublicKey() string { return p.vapid.public }

// Send implements push.Provider. A 401 or 403 for a VAPID token that had been
// in use for a minute is RetryNow with a new one, else Auth.
func (p *Provider) Send(ctx context.Context, n *push.Notification) push.Outcome {
	now := p.cfg.Now()
	if !n.ExpiresAt.IsZero() && !now.Before(n.ExpiresAt) {
		return push.Outcome{Class: push.Expired, Reason: "expired before sending"}
	}
	if n.MID == "" {
		return push.Outcome{Class: push.Bug, Reason: "no message id"}
	}
	sub, err := parseSubscription(n.Token)
	if err != nil {
		return push.Outcome{Class: push.TokenBad, Reason: err.Error()}
	}
	if a, err := netip.ParseAddr(sub.endpoint.Hostname()); err == nil && !p.cfg.AllowPrivate && public(a) != nil {
		return push.Outcome{Class: push.TokenBad, Reason: "the subscription's endpoint is not a public address"}
	}
	text, _, err := compose(n)
	switch {
	case errors.Is(err, errTooLarge):
		return push.Outcome{Class: push.TooLarge, Reason: err.Error()}
	case err != nil:
		return push.Outcome{Class: push.Bug, Reason: exchange.Brief(err.Error())}
	}
	ephemeral, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return push.Outcome{Class: push.Retry, Reason: "no key for the message could be made"}
	}
	salt := make([]byte, saltLen)
	rand.Read(salt) // never fails
	body, err := encrypt(text, sub, ephemeral, salt)
	if err != nil {
		return push.Outcome{Class: push.TokenBad, Reason: "the subscription's key cannot be used"}
	}
	token := p.vapid.token(sub.origin)
	h := http.Header{
		"Authorization":    {"vapid t=" + token + ", k=" + p.vapid.public},
		"Content-Encoding": {"aes128gcm"},
		"Content-Type":     {"application/octet-stream"},
		"Ttl":              {strconv.FormatInt(int64(ttl(n.ExpiresAt, now)/time.Second), 10)},
		"Topic":            {topic(n)},
		"Urgency":          {urgency(n)},
		"User-Agent":       {"Footfall"},
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	a, err := p.client.Post(ctx, sub.endpoint, h, body)
	if _, ok := errors.AsType[*post.RefusedError](err); ok {
		return push.Outcome{Class: push.Config, Reason: "the push service's name leads to an address that is not public"}
	}
	if err != nil {
		return exchange.Failure(err)
	}
	o := Classify(a.Status, a.Header, a.Body, now)
	switch {
	case o.Class == push.Accepted:
		o.ProviderID = n.MID // Location is a capability: who has it can delete the message
	case o.Class == push.Auth && p.vapid.refused(sub.origin, token):
		o.Class = push.RetryNow
	case o.Class == push.Auth:
		p.cfg.Logger.Error("webpush: the push service refuses a fresh VAPID token: check the subject and this machine's clock",
			"service", sub.endpoint.Host, "status", o.Status, "reason", o.Reason)
	}
	return o
}

// ttl is the time left in whole seconds. Zero, also for no expiry, is "now or
// never".
func ttl(expires, now time.Time) time.Duration {
	if expires.IsZero() {
		return 0
	}
	return min(max(expires.Sub(now), 0), maxTTL).Truncate(time.Second)
}

// Close implements push.Provider.
func (p *Provider) Close() error { return p.client.Close() }
