// Package hms sends notifications to Huawei phones without Google's services,
// through Push Kit's REST interface.
//
// Versions 1 (by client id) and 2 (by project id) of messages:send are spoken,
// which reach HMS Core and HarmonyOS up to 4. HarmonyOS 5 and later takes
// version 3 with another message and other credentials: not here.
//
// Written after Huawei's reference of the interface; it has been run against
// the server in this package's tests only, not against Huawei's.
package hms

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"footfall/push"
	"footfall/push/internal/access"
	"footfall/push/internal/exchange"
	"footfall/push/internal/post"
)

const (
	defaultEndpoint = "https://push-api.cloud.huawei.com"
	defaultTokenURL = "https://oauth-login.cloud.huawei.com/oauth2/v3/token"
	secretHint      = "it is in AppGallery Connect, Project settings, General information, OAuth 2.0 client ID"
)

// Config describes one app at Huawei. ClientID and ClientSecret (or
// ClientSecretFile) are required.
type Config struct {
	// ClientID and ClientSecret are the app's OAuth 2.0 client; ClientSecretFile
	// is a file with the secret instead.
	ClientID         string
	ClientSecret     string
	ClientSecretFile string
	// ProjectID selects version 2 of the interface, which needs it; empty is
	// version 1.
	ProjectID string
	// Category is the message category that Huawei has granted the app, for
	// example "SUBSCRIPTION"; empty leaves the choice to Huawei, which treats the
	// message as marketing in doubt.
	Category string
	// Channel is the Android notification channel; empty is the app's default.
	Channel string

	// Endpoint and TokenURL replace Huawei's.
	Endpoint, TokenURL string
	// RootCAs verifies both; nil is the system's roots.
	RootCAs *x509.CertPool
	// InFlight is the most requests at a time, default 32.
	InFlight int
	// Timeout bounds one attempt, default 10 s.
	Timeout time.Duration
	// Now is the clock for expiry and token age; nil is time.Now.
	Now func() time.Time
	// Logger gets what an operator should act on; nil discards.
	Logger *slog.Logger
}

// Provider sends to Push Kit. It implements push.Provider.
type Provider struct {
	cfg    Config
	send   *url.URL
	client *post.Client

	tokenURL *url.URL
	tokens   *access.Source

	rotating sync.Mutex // one Rotate at a time; guards secret
	secret   string     // in use; never shown
}

var (
	_ push.Provider = (*Provider)(nil)
	_ push.Rotator  = (*Provider)(nil)
)

// New checks cfg and returns a provider. The error names every problem on a
// line of its own: what is wrong, where, what to do. Nothing is sent.
func New(cfg Config) (*Provider, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("hms: "+format, args...)) }
	secret, err := cfg.loadSecret()
	if err != nil {
		errs = append(errs, err)
	}
	path := "/v1/" + cfg.ClientID + "/messages:send"
	switch {
	case cfg.ClientID == "":
		bad("client_id is not set: %s", secretHint)
	case !word(cfg.ClientID):
		bad("client_id %q is not one: %s", cfg.ClientID, secretHint)
	}
	if cfg.ProjectID != "" {
		if path = "/v2/" + cfg.ProjectID + "/messages:send"; !word(cfg.ProjectID) {
			bad("project_id %q is not one: it is a number in AppGallery Connect, Project settings", cfg.ProjectID)
		}
	}
	cfg.Endpoint = strings.TrimRight(cmp.Or(cfg.Endpoint, defaultEndpoint), "/")
	cfg.TokenURL = cmp.Or(cfg.TokenURL, defaultTokenURL)
	send, err := url.Parse(cfg.Endpoint + path)
	if err != nil || send.Scheme != "https" || send.Hostname() == "" {
		bad("endpoint %q is not of the form %s", cfg.Endpoint, defaultEndpoint)
	}
	token, err := url.Parse(cfg.TokenURL)
	if err != nil || token.Scheme != "https" || token.Hostname() == "" {
		bad("token_url %q is not of the form %s", cfg.TokenURL, defaultTokenURL)
	}
	if cfg.InFlight < 0 || cfg.Timeout < 0 {
		bad("in_flight and timeout must not be negative (0 is the default)")
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.ClientSecret = "" // the token source has it
	p := &Provider{cfg: cfg, send: send, tokenURL: token, secret: secret}
	p.client = post.New(post.Config{RootCAs: cfg.RootCAs, InFlight: cfg.InFlight})
	p.tokens = access.New(p.fetcher(secret), cfg.Now)
	return p, nil
}

// CredentialFiles implements push.Rotator.
func (p *Provider) CredentialFiles() []string {
	if p.cfg.ClientSecretFile == "" {
		return nil
	}
	return []string{p.cfg.ClientSecretFile}
}

// Rotate implements push.Rotator.
func (p *Provider) Rotate() (changed bool, err error) {
	if p.cfg.ClientSecretFile == "" {
		return false, nil
	}
	p.rotating.Lock()
	defer p.rotating.Unlock()
	secret, err := p.cfg.loadSecret()
	if err != nil || secret == p.secret {
		return false, err
	}
	p.secret = secret
	p.tokens.Replace(p.fetcher(secret))
	return true, nil
}

func (cfg *Config) loadSecret() (string, error) {
	switch {
	case cfg.ClientSecret != "" && cfg.ClientSecretFile != "":
		return "", errors.New("hms: both client_secret_file and client_secret are given: keep one of them")
	case cfg.ClientSecret != "":
		return cfg.ClientSecret, nil
	case cfg.ClientSecretFile == "":
		return "", errors.New("hms: client_secret_file is not set: " + secretHint)
	}
	data, err := os.ReadFile(cfg.ClientSecretFile)
	if err != nil {
		return "", fmt.Errorf("hms: client_secret_file %q cannot be read: %w; %s", cfg.ClientSecretFile, err, secretHint)
	}
	secret := strings.TrimSpace(string(data))
	if secret == "" || strings.ContainsAny(secret, "\r\n") {
		return "", fmt.Errorf("hms: client_secret_file %q does not hold one line: %s", cfg.ClientSecretFile, secretHint)
	}
	return secret, nil
}

// word reports whether s can stand in the path as an id.
func word(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// Name implements push.Provider.
func (p *Provider) Name() string { return "hms" }

// Warm fetches an access token, so that wrong credentials show at start.
// Optional.
func (p *Provider) Warm(ctx context.Context) error {
	if _, err := p.tokens.Get(ctx); err != nil {
		return errors.New("hms: " + tokenFailure(err).Reason)
	}
	return nil
}

// Send implements push.Provider. A refusal of an access token that Huawei
// calls expired, or that had been in use for a minute, is RetryNow with a new
// one, else Auth.
func (p *Provider) Send(ctx context.Context, n *push.Notification) push.Outcome {
	now := p.cfg.Now()
	if !n.ExpiresAt.IsZero() && !now.Before(n.ExpiresAt) {
		return push.Outcome{Class: push.Expired, Reason: "expired before sending"}
	}
	switch {
	case n.MID == "":
		return push.Outcome{Class: push.Bug, Reason: "no message id"}
	case n.Token == "" || len(n.Token) > maxToken:
		return push.Outcome{Class: push.TokenBad, Reason: "not a push token"}
	}
	body, _, err := compose(n, p.cfg.Category, p.cfg.Channel, now)
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
		return tokenFailure(err)
	}
	a, err := p.client.Post(ctx, p.send, http.Header{
		"Authorization": {"Bearer " + bearer},
		"Content-Type":  {"application/json;charset=UTF-8"},
		"User-Agent":    {"Footfall"},
	}, body)
	if err != nil {
		return exchange.Failure(err)
	}
	o := Classify(a.Status, a.Header, a.Body, now)
	if o.Class == push.Accepted && o.ProviderID == "" {
		o.ProviderID = n.MID
	}
	if refusal(&o) {
		fresh := freshFor
		if o.Reason == codeExpired {
			fresh = access.FetchPause // its own word for it
		}
		if p.tokens.Refused(bearer, fresh) {
			o.Class = push.RetryNow
		} else {
			p.cfg.Logger.Error("hms: Huawei refuses a fresh access token: check client_id and client_secret, and that both are of this app", "reason", o.Reason)
		}
	}
	return o
}

// Close implements push.Provider.
func (p *Provider) Close() error {
	p.tokens.Close()
	return p.client.Close()
}
