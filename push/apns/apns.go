// Package apns sends notifications through Apple's push service, with
// provider tokens (a .p8 key) over HTTP/2.
//
// Requests are made here, on connections of our own (package h2pool);
// sideshow/apns2 signs the provider token and names Apple's hosts and reasons.
// The library's client loses pushes in a cold burst, stays on a connection that
// Apple has poisoned after an expired token, drops the status of an answer that
// is not JSON, and takes twice the time for a request.
package apns

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"footfall/push"
	"footfall/push/h2pool"
	"footfall/push/internal/exchange"

	"github.com/sideshow/apns2"
	"golang.org/x/net/http2/hpack"
)

const (
	productionHost = apns2.HostProduction
	sandboxHost    = apns2.HostDevelopment
)

// Config describes one app at Apple. KeyFile (or KeyPEM), TeamID and Topic are
// required, and KeyID unless it is in the name of KeyFile.
type Config struct {
	// KeyFile is the AuthKey_XXXXXXXXXX.p8 file; KeyPEM is its content instead.
	KeyFile string
	KeyPEM  []byte
	// KeyID and TeamID are the ten-character ids that Apple gave the key and
	// the developer team. An empty KeyID is taken from the name of KeyFile, or
	// of the file that it is a link to; so a link that moves to another key
	// rotates both (see Rotate).
	KeyID, TeamID string
	// Topic is the app's bundle id.
	Topic string
	// TokenFile keeps the provider token across restarts, because Apple refuses
	// more than one new token in 20 minutes. Readable by its owner only. Empty:
	// every start signs one.
	TokenFile string

	// Host and SandboxHost are origins ("https://host:port") in place of
	// Apple's. With Host alone, sandbox pushes go there too.
	Host, SandboxHost string
	// RootCAs verifies the server; nil is the system's roots.
	RootCAs *x509.CertPool
	// Dial makes the connections below TLS, for a network that is not the
	// machine's; nil is TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Connections per environment, default 2. Apple allows some 1,000 pushes in
	// flight on each.
	Connections int
	// Timeout bounds one attempt, default 10 s. Apple is known to leave streams
	// unanswered.
	Timeout time.Duration
	// Category is used by notifications that have none.
	Category string
	// CriticalAlerts says that Apple has granted the app its entitlement for
	// them. Without it nothing is ever sent as critical.
	CriticalAlerts bool
	// Now is the clock for expiry and token age; nil is time.Now.
	Now func() time.Time
	// Logger gets what an operator should act on; nil discards.
	Logger *slog.Logger
}

// Provider sends to APNs. It implements push.Provider.
type Provider struct {
	cfg    Config
	signer *signer
	topic  hpack.HeaderField
	// A pool for each environment. Connections are dialled on the first push, so
	// that an unused environment costs nothing.
	production *h2pool.Pool
	sandbox    *h2pool.Pool
}

var (
	_ push.Provider = (*Provider)(nil)
	_ push.Rotator  = (*Provider)(nil)
)

// New checks cfg and the key and returns a provider. The error names every
// problem on a line of its own: what is wrong, where, what to do. Nothing is
// sent and nothing is dialled.
func New(cfg Config) (*Provider, error) {
	key, keyID, err := cfg.check()
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
	p := &Provider{
		cfg:   cfg,
		topic: hpack.HeaderField{Name: "apns-topic", Value: cfg.Topic},
		signer: &signer{key: key, keyID: keyID, teamID: cfg.TeamID, file: cfg.TokenFile,
			now: cfg.Now, log: cfg.Logger},
	}
	p.signer.restore()
	if p.production, err = p.newPool(cfg.Host); err != nil {
		return nil, err
	}
	p.sandbox = p.production
	if cfg.SandboxHost != cfg.Host {
		if p.sandbox, err = p.newPool(cfg.SandboxHost); err != nil {
			p.production.Close()
			return nil, err
		}
	}
	return p, nil
}

func (p *Provider) newPool(host string) (*h2pool.Pool, error) {
	pool, err := h2pool.New(h2pool.Config{
		Origin: strings.TrimRight(host, "/"), RootCAs: p.cfg.RootCAs, Connections: p.cfg.Connections, Dial: p.cfg.Dial,
	})
	if err != nil {
		return nil, errors.New("apns: host: " + strings.TrimPrefix(err.Error(), "h2pool: "))
	}
	return pool, nil
}

// Name implements push.Provider.
func (p *Provider) Name() string { return "apns" }

// Warm opens all connections of the production environment, so that the
// first burst does not wait for them. Optional.
func (p *Provider) Warm(ctx context.Context) error { return p.production.Warm(ctx) }

// Stats describes the connections of the production environment.
func (p *Provider) Stats() h2pool.Stats { return p.production.Stats() }

// CredentialFiles implements push.Rotator.
func (p *Provider) CredentialFiles() []string {
	if p.cfg.KeyFile == "" {
		return nil
	}
	return []string{p.cfg.KeyFile}
}

// Rotate implements push.Rotator. The new key signs a token of its own, which
// begins on connections of its own.
func (p *Provider) Rotate() (changed bool, err error) {
	key, keyID, err := loadKeyAndID(&p.cfg)
	if err != nil {
		return false, named(err)
	}
	if !p.signer.replace(key, keyID) {
		return false, nil
	}
	p.production.RetireAll()
	p.sandbox.RetireAll() // of the same pool, perhaps, which is harmless
	return true, nil
}

// Send implements push.Provider. An answer of ExpiredProviderToken renews the
// token, at most once in 20 minutes for all callers together, and is RetryNow
// if there is a new token to retry with, else Auth.
func (p *Provider) Send(ctx context.Context, n *push.Notification) push.Outcome {
	now := p.cfg.Now()
	if !n.ExpiresAt.IsZero() && !now.Before(n.ExpiresAt) {
		return push.Outcome{Class: push.Expired, Reason: "expired before sending"}
	}
	bearer, err := p.signer.bearerNow()
	if err != nil {
		return push.Outcome{Class: push.Auth, Reason: exchange.Brief(err.Error())}
	}
	req, o := p.request(n, bearer)
	if req == nil {
		return o
	}
	if until, ok := ctx.Deadline(); !ok || time.Until(until) > p.cfg.Timeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.cfg.Timeout)
		defer cancel()
	}
	l := p.production
	if n.Env == push.EnvSandbox {
		l = p.sandbox
	}
	resp, err := l.Do(ctx, req)
	if err != nil {
		return exchange.Failure(err)
	}
	o = Classify(resp.Status, resp.Header(), resp.Body, now)
	// Apple's connection answers 403 for ever after it has seen an expired
	// token, so it goes, whoever may still be using it.
	if o.Status == http.StatusForbidden && o.Reason == apns2.ReasonExpiredProviderToken {
		l.Retire(resp)
	}
	switch {
	case o.Class != push.Auth:
	case o.Reason == apns2.ReasonExpiredProviderToken:
		if p.signer.renew(bearer) {
			o.Class = push.RetryNow
		} else {
			p.cfg.Logger.Error("apns: Apple says that a fresh provider token has expired: check this machine's clock")
		}
	case p.signer.replaced(bearer):
		o.Class = push.RetryNow // a refusal of the token before this one
	}
	return o
}

// Fields that requests share.
var (
	contentJSON    = hpack.HeaderField{Name: "content-type", Value: "application/json; charset=utf-8"}
	priorityHigh   = hpack.HeaderField{Name: "apns-priority", Value: "10"}
	priorityLow    = hpack.HeaderField{Name: "apns-priority", Value: "5"} // when it suits the phone's battery
	typeAlert      = hpack.HeaderField{Name: "apns-push-type", Value: string(apns2.PushTypeAlert)}
	typeBackground = hpack.HeaderField{Name: "apns-push-type", Value: string(apns2.PushTypeBackground)}
)

// request builds the request for n, or explains why that is impossible.
func (p *Provider) request(n *push.Notification, bearer string) (*h2pool.Request, push.Outcome) {
	switch {
	case n.MID == "":
		return nil, push.Outcome{Class: push.Bug, Reason: "no message id"}
	case !isToken(n.Token):
		return nil, push.Outcome{Class: push.TokenBad, Reason: "not a device token"}
	}
	payload, _, err := compose(n, form{p.cfg.Category, p.cfg.CriticalAlerts})
	switch {
	case errors.Is(err, errTooLarge):
		return nil, push.Outcome{Class: push.TooLarge, Reason: err.Error()}
	case err != nil:
		return nil, push.Outcome{Class: push.Bug, Reason: exchange.Brief(err.Error())}
	}
	priority, kind := priorityHigh, typeAlert
	switch {
	case n.Silent:
		priority, kind = priorityLow, typeBackground
	case n.Importance == push.Passive:
		priority = priorityLow
	}
	expiration := "0" // now or never: Apple stores a message without one for as long as it likes
	if !n.ExpiresAt.IsZero() {
		expiration = strconv.FormatInt(n.ExpiresAt.Unix(), 10)
	}
	fields := make([]hpack.HeaderField, 0, 8)
	fields = append(fields, contentJSON, p.topic, priority, kind,
		hpack.HeaderField{Name: "authorization", Value: "bearer " + bearer},
		hpack.HeaderField{Name: "apns-expiration", Value: expiration, Sensitive: true},
		hpack.HeaderField{Name: "apns-collapse-id", Value: exchange.CollapseID(n), Sensitive: true})
	if exchange.UUID(n.MID) {
		fields = append(fields, hpack.HeaderField{Name: "apns-id", Value: n.MID, Sensitive: true})
	}
	return &h2pool.Request{
		Method: http.MethodPost, Path: "/3/device/" + n.Token, PathVaries: true, Header: fields, Body: payload,
	}, push.Outcome{}
}

// isToken reports whether s can stand in the path of a request. Apple asks
// not to assume a length; whether it is a token is for Apple to say.
func isToken(s string) bool {
	if s == "" || len(s) > 400 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// Close implements push.Provider.
func (p *Provider) Close() error {
	var wg sync.WaitGroup
	wg.Go(func() { p.production.Close() })
	wg.Go(func() { p.sandbox.Close() })
	wg.Wait()
	return nil
}
