// Package fcm sends notifications to Android through Firebase Cloud
// Messaging, HTTP v1.
//
// It uses Google's Go SDK for the message format, and nothing else of it: the
// SDK's client would repeat a request up to five times inside one Send, each of
// them perhaps a duplicate on the phone, sleep through Retry-After in the worker
// and lose the status. Requests, connections, access token and outcome are ours.
package fcm

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"footfall/push"
	"footfall/push/h2pool"
	"footfall/push/internal/access"
	"footfall/push/internal/exchange"

	"golang.org/x/net/http2/hpack"
)

// defaultEndpoint is Google's.
const defaultEndpoint = "https://fcm.googleapis.com/v1"

// Config describes one Firebase project. CredentialsFile (or CredentialsJSON)
// is required.
type Config struct {
	// CredentialsFile is the service account's JSON file; CredentialsJSON is
	// its content instead. The project and the address of the token server come
	// from it.
	CredentialsFile string
	CredentialsJSON []byte

	// Endpoint replaces "https://fcm.googleapis.com/v1".
	Endpoint string
	// RootCAs verifies FCM and the token server; nil is the system's roots.
	RootCAs *x509.CertPool
	// Connections, default 2. Google allows 100 messages in flight on each.
	Connections int
	// Timeout bounds one attempt, default 10 s.
	Timeout time.Duration
	// Style says who draws the notification, default Display.
	Style Style
	// Channel is the Android notification channel; empty is the app's default.
	Channel string
	// Now is the clock for expiry and token age; nil is time.Now.
	Now func() time.Time
	// Logger gets what an operator should act on; nil discards.
	Logger *slog.Logger
}

// Provider sends to FCM. It implements push.Provider.
type Provider struct {
	cfg    Config
	path   string // of messages:send
	pool   *h2pool.Pool
	tokens *access.Source
	oauth  *http.Client // of the token server

	rotating sync.Mutex   // one Rotate at a time; guards account
	account  *credentials // in use
}

var (
	_ push.Provider = (*Provider)(nil)
	_ push.Rotator  = (*Provider)(nil)
)

// New checks cfg and the credentials and returns a provider. The error says
// what is wrong, where, and what to do. Nothing is sent and nothing dialled.
func New(cfg Config) (*Provider, error) {
	creds, err := loadCredentials(&cfg)
	if err != nil {
		return nil, err
	}
	cfg.Endpoint = strings.TrimRight(cmp.Or(cfg.Endpoint, defaultEndpoint), "/")
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.Style = cmp.Or(cfg.Style, Display)
	if cfg.Style != Display && cfg.Style != DataOnly {
		return nil, fmt.Errorf("fcm: style %q is neither %q nor %q", cfg.Style, Display, DataOnly)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	endpoint, err := url.Parse(cfg.Endpoint)
	if err != nil || endpoint.Host == "" {
		return nil, fmt.Errorf("fcm: endpoint %q is not of the form %s", cfg.Endpoint, defaultEndpoint)
	}
	pool, err := h2pool.New(h2pool.Config{
		Origin: endpoint.Scheme + "://" + endpoint.Host, RootCAs: cfg.RootCAs, Connections: cfg.Connections,
	})
	if err != nil {
		return nil, errors.New("fcm: endpoint: " + strings.TrimPrefix(err.Error(), "h2pool: "))
	}
	p := &Provider{
		cfg: cfg, pool: pool, account: creds,
		path: endpoint.EscapedPath() + "/projects/" + creds.project + "/messages:send",
	}
	p.oauth = &http.Client{Transport: &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		TLSClientConfig:   &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
		IdleConnTimeout:   30 * time.Second, // one request an hour
	}}
	p.tokens = access.New(fetcher(creds.oauth, p.oauth), cfg.Now)
	return p, nil
}

// CredentialFiles implements push.Rotator.
func (p *Provider) CredentialFiles() []string {
	if p.cfg.CredentialsFile == "" {
		return nil
	}
	return []string{p.cfg.CredentialsFile}
}

// Rotate implements push.Rotator. The project stays: tokens belong to it.
func (p *Provider) Rotate() (changed bool, err error) {
	p.rotating.Lock()
	defer p.rotating.Unlock()
	creds, err := loadCredentials(&p.cfg)
	switch {
	case err != nil:
		return false, err
	case creds.project != p.account.project:
		return false, fmt.Errorf("fcm: credentials_file is of project %q, and this gateway sends for %q: registration tokens belong to a project, so restart to change it", creds.project, p.account.project)
	case creds.same(p.account):
		return false, nil
	}
	p.account = creds
	p.tokens.Replace(fetcher(creds.oauth, p.oauth))
	return true, nil
}

// Name implements push.Provider.
func (p *Provider) Name() string { return "fcm" }

// Warm opens all connections, so that the first burst does not wait for
// them, and fetches an access token, so that wrong credentials show at start.
// Optional.
func (p *Provider) Warm(ctx context.Context) error {
	if _, err := p.tokens.Get(ctx); err != nil {
		return errors.New("fcm: " + tokenFailure(err, p.cfg.Now()).Reason)
	}
	return p.pool.Warm(ctx)
}

// Stats describes the connections.
func (p *Provider) Stats() h2pool.Stats { return p.pool.Stats() }

// Send implements push.Provider. A 401 for an access token that had been in
// use for a minute, or that other credentials have replaced meanwhile, is
// RetryNow with a new one, else Auth.
func (p *Provider) Send(ctx context.Context, n *push.Notification) push.Outcome {
	now := p.cfg.Now()
	if !n.ExpiresAt.IsZero() && !now.Before(n.ExpiresAt) {
		return push.Outcome{Class: push.Expired, Reason: "expired before sending"}
	}
	switch {
	case n.MID == "":
		return push.Outcome{Class: push.Bug, Reason: "no message id"}
	case n.Token == "":
		return push.Outcome{Class: push.TokenBad, Reason: "no registration token"}
	}
	body, err := request(n, p.cfg.Style, p.cfg.Channel, now)
	switch {
	case errors.Is(err, errTooLarge):
		return push.Outcome{Class: push.TooLarge, Reason: err.Error()}
	case err != nil:
		return push.Outcome{Class: push.Bug, Reason: exchange.Brief(err.Error())}
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	bearer, err := p.tokens.Get(ctx)
	if err != nil {
		return tokenFailure(err, now)
	}
	resp, err := p.pool.Do(ctx, &h2pool.Request{
		Method: http.MethodPost, Path: p.path, Body: body,
		Header: []hpack.HeaderField{contentJSON, formatVersion, {Name: "authorization", Value: "Bearer " + bearer}},
	})
	if err != nil {
		return exchange.Failure(err)
	}
	o := Classify(resp.Status, resp.Header(), resp.Body, now)
	if o.Class == push.Auth && o.Reason != "THIRD_PARTY_AUTH_ERROR" {
		fresh := freshFor
		if resp.Status != http.StatusUnauthorized {
			fresh = math.MaxInt64 // a right is missing: only other credentials help
		}
		if p.tokens.Refused(bearer, fresh) {
			o.Class = push.RetryNow
		} else {
			p.cfg.Logger.Error("fcm: Google refuses a fresh access token: check the service account and its role", "reason", o.Reason)
		}
	}
	return o
}

// Fields that requests share. The second is what makes Google add the codes of
// FCM itself to its errors, which tell a dead token from a wrong project.
var (
	contentJSON   = hpack.HeaderField{Name: "content-type", Value: "application/json"}
	formatVersion = hpack.HeaderField{Name: "x-goog-api-format-version", Value: "2"}
)

// Close implements push.Provider.
func (p *Provider) Close() error {
	p.tokens.Close()
	p.pool.Close()
	p.oauth.CloseIdleConnections()
	return nil
}
