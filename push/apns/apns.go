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
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
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
	cfg        Config
	signer     *signer
	topic      []string // the header's value; requests share it
	production *lane
	sandbox    *lane
}

// lane is one environment. Connections are dialled on the first push, so that an
// unused environment costs nothing.
type lane struct {
	pool   *h2pool.Pool
	origin url.URL // of requests, without a path
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
		topic: []string{cfg.Topic},
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
	pool, err := h2pool.New(h2pool.Config{Origin: host, RootCAs: p.cfg.RootCAs, Connections: p.cfg.Connections, Dial: p.cfg.Dial})
	if err != nil {
		return nil, errors.New("apns: host: " + strings.TrimPrefix(err.Error(), "h2pool: "))
	}
	origin, err := url.Parse(host)
	if err != nil {
		return nil, fmt.Errorf("apns: host: %w", err)
	}
	return &lane{pool: pool, origin: url.URL{Scheme: origin.Scheme, Host: origin.Host}}, nil
}

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
	req, o := p.request(n)
	if req == nil {
		return o
	}
	bearer, err := p.signer.bearerNow()
	if err != nil {
		return push.Outcome{Class: push.Auth, Reason: exchange.Brief(err.Error())}
	}
	req.Header["authorization"] = []string{"bearer " + bearer}
	if until, ok := ctx.Deadline(); !ok || time.Until(until) > p.cfg.Timeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.cfg.Timeout)
		defer cancel()
	}
	l := p.production
	if n.Env == push.EnvSandbox {
		l = p.sandbox
	}
	status, header, body, err := l.post(req.WithContext(ctx))
	if status == 0 {
		return exchange.Failure(err)
	}
	o = Classify(status, header, body, now)
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

// post makes the request and reads the answer, or what came of it: the status
// is what counts. Status 0: there was none, and err says why.
func (l *lane) post(req *http.Request) (status int, header http.Header, body []byte, err error) {
	req.URL.Scheme, req.URL.Host = l.origin.Scheme, l.origin.Host
	resp, err := l.pool.RoundTrip(req)
	if err != nil {
		return 0, nil, nil, err
	}
	if resp.ContentLength == 0 {
		resp.Body.Close()
	} else {
		body, _ = exchange.ReadBody(resp)
	}
	// Apple's connection answers 403 for ever after it has seen an expired
	// token, so it goes, whoever may still be using it.
	if resp.StatusCode == http.StatusForbidden && Classify(resp.StatusCode, resp.Header, body, time.Time{}).Reason == apns2.ReasonExpiredProviderToken {
		l.pool.Retire(resp)
	}
	return resp.StatusCode, resp.Header, body, nil
}

// Values of headers that requests share. The transport only reads them. Names
// of headers are in lower case, as HTTP/2 sends them, so that it need not make
// them so.
var (
	contentJSON    = []string{"application/json; charset=utf-8"}
	priorityHigh   = []string{"10"}
	priorityLow    = []string{"5"} // when it suits the phone's battery
	typeAlert      = []string{string(apns2.PushTypeAlert)}
	typeBackground = []string{string(apns2.PushTypeBackground)}
	nowOrNever     = []string{"0"} // Apple stores a message without this header for as long as it likes
)

// request builds the request for n but for its origin and authorization, or
// explains why that is impossible.
func (p *Provider) request(n *push.Notification) (*http.Request, push.Outcome) {
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
	h := make(http.Header, 8)
	h["content-type"] = contentJSON
	h["apns-topic"] = p.topic
	h["apns-collapse-id"] = []string{exchange.CollapseID(n)}
	h["apns-priority"], h["apns-push-type"], h["apns-expiration"] = priorityHigh, typeAlert, nowOrNever
	if exchange.UUID(n.MID) {
		h["apns-id"] = []string{n.MID}
	}
	if !n.ExpiresAt.IsZero() {
		h["apns-expiration"] = []string{strconv.FormatInt(n.ExpiresAt.Unix(), 10)}
	}
	switch {
	case n.Silent:
		h["apns-priority"], h["apns-push-type"] = priorityLow, typeBackground
	case n.Importance == push.Passive:
		h["apns-priority"] = priorityLow
	}
	return &http.Request{
		Method: http.MethodPost,
		URL:    &url.URL{Path: "/3/device/" + n.Token},
		Proto:  "HTTP/2.0", ProtoMajor: 2,
		Header: h,
		Body:   io.NopCloser(bytes.NewReader(payload)), ContentLength: int64(len(payload)),
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
	for _, l := range p.lanes() {
		wg.Go(func() { l.pool.Close() })
	}
	wg.Wait()
	return nil
}
