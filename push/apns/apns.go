// Package apns sends notifications through Apple's push service, with
// provider tokens (a .p8 key) over HTTP/2.
//
// It uses sideshow/apns2 on connections of its own (package h2pool), because
// the library's transport loses pushes in a cold burst, stays on a connection
// that Apple has poisoned after an expired token, and drops the status of an
// answer that is not JSON.
package apns

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"footfall/push"
	"footfall/push/h2pool"
	"footfall/push/internal/exchange"

	"github.com/sideshow/apns2"
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
	cfg        Config
	signer     *signer
	production *lane
	sandbox    *lane
}

// lane is one environment: pool and client. Connections are dialled on the
// first push, so that an unused environment costs nothing.
type lane struct {
	pool   *h2pool.Pool
	client *apns2.Client
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
		cfg: cfg,
		signer: &signer{key: key, keyID: keyID, teamID: cfg.TeamID, file: cfg.TokenFile,
			now: cfg.Now, log: cfg.Logger},
	}
	p.signer.restore()
	if p.production, err = p.newLane(cfg.Host); err != nil {
		return nil, err
	}
	p.sandbox = p.production
	if cfg.SandboxHost != cfg.Host {
		if p.sandbox, err = p.newLane(cfg.SandboxHost); err != nil {
			p.production.pool.Close()
			return nil, err
		}
	}
	return p, nil
}

func (p *Provider) newLane(host string) (*lane, error) {
	host = strings.TrimRight(host, "/")
	pool, err := h2pool.New(h2pool.Config{Origin: host, RootCAs: p.cfg.RootCAs, Connections: p.cfg.Connections})
	if err != nil {
		return nil, errors.New("apns: host: " + strings.TrimPrefix(err.Error(), "h2pool: "))
	}
	recorder := &exchange.Transport{
		Base: authorize{pool},
		// Apple's connection answers 403 for ever after it has seen an expired
		// token, so it goes, whoever may still be using it.
		Answered: func(x *exchange.Exchange, raw *http.Response) {
			if x.Status == http.StatusForbidden && Classify(x.Status, x.Header, x.Body, time.Time{}).Reason == apns2.ReasonExpiredProviderToken {
				pool.Retire(raw)
			}
		},
	}
	return &lane{pool: pool, client: &apns2.Client{
		Host: host,
		HTTPClient: &http.Client{
			Transport: recorder,
			// A redirect would repeat the push somewhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}}, nil
}

// authorize adds the provider token of the call. apns2's own would be signed
// again by its own clock and cannot be kept from that.
type authorize struct{ base *h2pool.Pool }

type bearerKey struct{}

func (a authorize) RoundTrip(req *http.Request) (*http.Response, error) {
	bearer, _ := req.Context().Value(bearerKey{}).(string)
	r := *req
	r.Header = req.Header.Clone()
	r.Header.Set("Authorization", "bearer "+bearer)
	return a.base.RoundTrip(&r)
}

func (a authorize) CloseIdleConnections() { a.base.CloseIdleConnections() }

// Name implements push.Provider.
func (p *Provider) Name() string { return "apns" }

// Warm opens all connections of the production environment, so that the
// first burst does not wait for them. Optional.
func (p *Provider) Warm(ctx context.Context) error { return p.production.pool.Warm(ctx) }

// Stats describes the connections of the production environment.
func (p *Provider) Stats() h2pool.Stats { return p.production.pool.Stats() }

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
	for _, l := range p.lanes() {
		l.pool.RetireAll()
	}
	return true, nil
}

// lanes are the environments that have connections of their own.
func (p *Provider) lanes() []*lane {
	if p.sandbox == p.production {
		return []*lane{p.production}
	}
	return []*lane{p.production, p.sandbox}
}

// Send implements push.Provider. An answer of ExpiredProviderToken renews the
// token, at most once in 20 minutes for all callers together, and is RetryNow
// if there is a new token to retry with, else Auth.
func (p *Provider) Send(ctx context.Context, n *push.Notification) push.Outcome {
	now := p.cfg.Now()
	if !n.ExpiresAt.IsZero() && !now.Before(n.ExpiresAt) {
		return push.Outcome{Class: push.Expired, Reason: "expired before sending"}
	}
	msg, o := p.message(n)
	if msg == nil {
		return o
	}
	bearer, err := p.signer.bearerNow()
	if err != nil {
		return push.Outcome{Class: push.Auth, Reason: exchange.Brief(err.Error())}
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, bearerKey{}, bearer), p.cfg.Timeout)
	defer cancel()
	ctx, x := exchange.With(ctx)
	l := p.production
	if n.Env == push.EnvSandbox {
		l = p.sandbox
	}
	// The library's answer is not needed: the exchange has the whole one.
	_, err = l.client.PushWithContext(ctx, msg)
	switch {
	case x.Requests == 0:
		return push.Outcome{Class: push.Bug, Reason: exchange.Brief("no request could be made: " + scrub(err, n))}
	case x.Status == 0:
		return exchange.Failure(x.Err)
	}
	o = Classify(x.Status, x.Header, x.Body, now)
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

// scrub removes the device token, which the library puts into URLs.
func scrub(err error, n *push.Notification) string {
	if err == nil {
		return "unknown"
	}
	return strings.ReplaceAll(err.Error(), n.Token, push.RedactToken(n.Token))
}

// message turns n into the library's form, or explains why that is impossible.
func (p *Provider) message(n *push.Notification) (*apns2.Notification, push.Outcome) {
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
	msg := &apns2.Notification{
		DeviceToken: n.Token,
		CollapseID:  exchange.CollapseID(n),
		Topic:       p.cfg.Topic,
		Expiration:  n.ExpiresAt,
		Priority:    apns2.PriorityHigh,
		PushType:    apns2.PushTypeAlert,
		Payload:     payload,
	}
	if exchange.UUID(n.MID) {
		msg.ApnsID = n.MID
	}
	if n.ExpiresAt.IsZero() {
		// Now or never. The library leaves the header out for time zero, which
		// would mean "store it"; a moment long past means the same as 0.
		msg.Expiration = time.Unix(1, 0)
	}
	switch {
	case n.Silent:
		msg.Priority, msg.PushType = apns2.PriorityLow, apns2.PushTypeBackground
	case n.Importance == push.Passive:
		msg.Priority = apns2.PriorityLow // when it suits the phone's battery
	}
	return msg, push.Outcome{}
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
	for _, l := range p.lanes() {
		wg.Go(func() { l.pool.Close() })
	}
	wg.Wait()
	return nil
}
