// Package webhook hands notifications to a system that the retailer already
// has: one signed POST to one endpoint for each push.
//
// The receiver is a small bridge that calls Braze, OneSignal, Infobip or a
// home-grown sender. Requests follow the Standard Webhooks conventions, so
// that any of its libraries verifies them; in Go, [Verify] and [Parse] do.
//
//	POST /footfall HTTP/1.1
//	content-type: application/json
//	webhook-id: 3f0c2b1a-9d7e-4c55-8a10-0123456789ab    (the message id: the same for every re-send)
//	webhook-timestamp: 1795859999                       (of this attempt, Unix seconds)
//	webhook-signature: v1,K5oZfz…= v1,g0hM9S…=          (HMAC-SHA256 over id.timestamp.body, one for each secret)
//
//	{"id":"3f0c…","type":"push.send","created_at":"2026-11-28T12:00:00Z","push":{…}}
//
// [Event] and [Push] document the body. What the receiver answers:
//
//	2xx        taken; also for an id that it has taken before. A body {"id":"…"} gives its own id of the message
//	410, 404   the endpoint is gone: alarm, the notification fails
//	401, 403   the signature is not accepted: the lane pauses
//	413        too large
//	429, 503   later, not before Retry-After (seconds or a date)
//	408, 5xx   later
//	other 4xx  the notification fails and is not repeated
//
// An error answer may say more, in JSON: {"error":{"class":"token_dead",
// "reason":"user 17 is unsubscribed"}}. Class is one of token_dead, token_bad,
// token_foreign, too_large, device_rate, lane_rate, retry, config, bug and
// overrides the status; token_dead is how a bridge reports that a device is
// gone.
//
// A call that a journey makes ([push.Notification.Call]) is the same request
// with another body: the JSON that the journey's file says, as it is. An error
// that would be about a device is a bug there.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"
	"footfall/push/internal/post"
)

// Config describes one endpoint. URL and Secrets (or SecretFile) are required.
type Config struct {
	// URL is the receiver's address, https. http is taken for loopback only:
	// the body names people's devices.
	URL string
	// Secrets sign each request, the current one first. While a receiver
	// changes secrets both are here, and it accepts either. The form is
	// "whsec_" and 24 to 64 random bytes in base64; NewSecret makes one.
	// SecretFile is a file with them instead, one a line.
	Secrets    []string
	SecretFile string
	// Header is added to each request, for example an Authorization that a
	// gateway in front of the receiver asks for. Values are not logged.
	Header http.Header
	// IncludeToken puts the device's push token into the body. Off by default:
	// it is a credential, and a bridge that knows its users by id has no need.
	IncludeToken bool

	// RootCAs verifies the receiver; nil is the system's roots.
	RootCAs *x509.CertPool
	// InFlight is the most requests at a time, default 32.
	InFlight int
	// Timeout bounds one attempt, default 10 s.
	Timeout time.Duration
	// Now is the clock for expiry and timestamps; nil is time.Now.
	Now func() time.Time
	// Logger gets what an operator should act on; nil discards.
	Logger *slog.Logger
}

// Provider posts to one endpoint. It implements push.Provider.
type Provider struct {
	cfg     Config
	url     *url.URL
	secrets atomic.Pointer[[]Secret]
	client  *post.Client
}

var (
	_ push.Provider = (*Provider)(nil)
	_ push.Rotator  = (*Provider)(nil)
)

// New checks cfg and returns a provider. The error names every problem on a
// line of its own: what is wrong, where, what to do. Nothing is sent.
func New(cfg Config) (*Provider, error) {
	u, err := checkURL(cfg.URL)
	errs := []error{err}
	secrets, err := cfg.loadSecrets()
	errs = append(errs, err)
	p := &Provider{cfg: cfg, url: u}
	p.secrets.Store(&secrets)
	for name := range cfg.Header {
		switch k := http.CanonicalHeaderKey(name); {
		case k == "Content-Type", k == "Content-Length", k == "Host", k == "User-Agent", strings.HasPrefix(k, "Webhook-"):
			errs = append(errs, fmt.Errorf("webhook: header %q is set by the gateway: remove it", name))
		}
	}
	if cfg.InFlight < 0 || cfg.Timeout < 0 {
		errs = append(errs, errors.New("webhook: in_flight and timeout must not be negative (0 is the default)"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	p.cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	if cfg.Now == nil {
		p.cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		p.cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p.client = post.New(post.Config{RootCAs: cfg.RootCAs, InFlight: cfg.InFlight})
	return p, nil
}

func (cfg *Config) loadSecrets() ([]Secret, error) {
	const hint = `give the receiver and this gateway a common one, "whsec_" and the output of: openssl rand -base64 32`
	texts, where := cfg.Secrets, func(i int) string { return fmt.Sprintf("secrets[%d]", i) }
	switch {
	case len(texts) > 0 && cfg.SecretFile != "":
		return nil, errors.New("webhook: both secret_file and secrets are given: keep one of them")
	case len(texts) == 0 && cfg.SecretFile == "":
		return nil, errors.New("webhook: secrets is not set: " + hint)
	case len(texts) == 0:
		data, err := os.ReadFile(cfg.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("webhook: secret_file %q cannot be read: %w; %s", cfg.SecretFile, err, hint)
		}
		if texts = strings.Fields(string(data)); len(texts) == 0 {
			return nil, fmt.Errorf("webhook: secret_file %q is empty; %s", cfg.SecretFile, hint)
		}
		where = func(i int) string { return fmt.Sprintf("secret_file %q, secret %d", cfg.SecretFile, i+1) }
	}
	var secrets []Secret
	var errs []error
	for i, text := range texts {
		s, err := ParseSecret(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("webhook: %s %w", where(i), err))
		}
		secrets = append(secrets, s)
	}
	return secrets, errors.Join(errs...)
}

// CredentialFiles implements push.Rotator.
func (p *Provider) CredentialFiles() []string {
	if p.cfg.SecretFile == "" {
		return nil
	}
	return []string{p.cfg.SecretFile}
}

// Rotate implements push.Rotator.
func (p *Provider) Rotate() (changed bool, err error) {
	if p.cfg.SecretFile == "" {
		return false, nil
	}
	secrets, err := p.cfg.loadSecrets()
	if err != nil {
		return false, err
	}
	if slices.EqualFunc(*p.secrets.Load(), secrets, func(a, b Secret) bool { return bytes.Equal(a.key, b.key) }) {
		return false, nil
	}
	p.secrets.Store(&secrets)
	return true, nil
}

// checkURL does not repeat the URL in its errors: it may hold a key.
func checkURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, errors.New("webhook: url is not set: give the https address of the receiver")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return nil, errors.New("webhook: url is not of the form https://host/path")
	case u.User != nil:
		return nil, errors.New("webhook: url holds a user name: use header Authorization instead")
	case u.Fragment != "":
		return nil, errors.New("webhook: url has a #fragment, which is not sent: remove it")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return u, nil
	case u.Scheme == "http":
		return nil, fmt.Errorf("webhook: url of host %q is http: use https (http is for loopback only)", u.Host)
	}
	return nil, fmt.Errorf("webhook: url has scheme %q: use https", u.Scheme)
}

func loopback(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.IsLoopback()
	}
	return host == "localhost"
}

// Name implements push.Provider.
func (p *Provider) Name() string { return "webhook" }

// Send implements push.Provider. The token is not needed.
func (p *Provider) Send(ctx context.Context, n *push.Notification) push.Outcome {
	now := p.cfg.Now()
	if !n.ExpiresAt.IsZero() && !now.Before(n.ExpiresAt) {
		return push.Outcome{Class: push.Expired, Reason: "expired before sending"}
	}
	if !idOK(n.MID) {
		return push.Outcome{Class: push.Bug, Reason: "no message id, or one that cannot stand in a header"}
	}
	body := n.Call
	var err error
	if body == nil {
		body, _, err = compose(n, p.cfg.IncludeToken, now)
	}
	switch {
	case errors.Is(err, errTooLarge):
		return push.Outcome{Class: push.TooLarge, Reason: err.Error()}
	case err != nil:
		return push.Outcome{Class: push.Bug, Reason: exchange.Brief(err.Error())}
	}
	h := p.cfg.Header.Clone()
	if h == nil {
		h = make(http.Header, 5)
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "Footfall")
	h.Set(headerID, n.MID)
	h.Set(headerTimestamp, stamp)
	secrets := p.secrets.Load()
	h.Set(headerSignature, sign(*secrets, n.MID, stamp, body))
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	a, err := p.client.Post(ctx, p.url, h, body)
	if err != nil {
		return exchange.Failure(err)
	}
	o := Classify(a.Status, a.Header, a.Body, now)
	if n.Call != nil {
		refusedCall(&o)
	}
	if o.Class == push.Accepted && o.ProviderID == "" {
		o.ProviderID = n.MID
	}
	// A receiver may repeat what it was sent.
	o.Reason, o.ProviderID = scrub(o.Reason, n), scrub(o.ProviderID, n)
	switch {
	case o.Class != push.Auth:
	case p.secrets.Load() != secrets:
		o.Class = push.RetryNow // signed with the secrets before these
	default:
		p.cfg.Logger.Error("webhook: the receiver refuses the signature or the header: compare secrets on both sides", "host", p.url.Host, "status", o.Status)
	}
	return o
}

// refusedCall judges an answer to a call. It has no text of a campaign that
// could be at fault, and no token: what a receiver says of these is that it
// does not take this one call.
func refusedCall(o *push.Outcome) {
	switch o.Class {
	case push.TokenDead, push.TokenBad, push.TokenForeign, push.DeviceRate:
		o.Class, o.RetryAfter = push.Refused, 0
	case push.Bug:
		o.Class, o.Unproven = push.Refused, true
	}
}

func scrub(s string, n *push.Notification) string {
	if n.Token == "" {
		return s
	}
	return strings.ReplaceAll(s, n.Token, push.RedactToken(n.Token))
}

// idOK reports whether s can be a webhook-id: the signed text is split at
// dots, so an id has none.
func idOK(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '.' {
			return false
		}
	}
	return true
}

// Close implements push.Provider.
func (p *Provider) Close() error { return p.client.Close() }
