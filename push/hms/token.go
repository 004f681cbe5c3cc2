package hms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"footfall/push"
	"footfall/push/h2pool"
	"footfall/push/internal/access"
	"footfall/push/internal/exchange"
	"footfall/push/internal/post"
)

// freshFor is how long a refused token must have been in use for a new one to
// be worth trying.
const freshFor = time.Minute

// refusedError is an answer of the token server that is no token.
type refusedError struct {
	status     int
	text       string
	retryAfter time.Duration
}

func (e *refusedError) Error() string { return e.text }

// fetcher asks Huawei's token server for a token: OAuth 2.0, client
// credentials.
func (p *Provider) fetcher(secret string) access.Fetch {
	form := []byte(url.Values{"grant_type": {"client_credentials"}, "client_id": {p.cfg.ClientID}, "client_secret": {secret}}.Encode())
	return func(ctx context.Context) (string, time.Duration, error) {
		a, err := p.client.Post(ctx, p.tokenURL, http.Header{
			"Content-Type": {"application/x-www-form-urlencoded"},
			"User-Agent":   {"Footfall"},
		}, form)
		if err != nil {
			return "", 0, err
		}
		text, life, err := parseToken(a, p.cfg.Now())
		if e, ok := errors.AsType[*refusedError](err); ok {
			e.text = strings.ReplaceAll(e.text, secret, "…")
		}
		return text, life, err
	}
}

func parseToken(a *post.Answer, now time.Time) (string, time.Duration, error) {
	var j struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
		// Huawei's errors are numbers: {"error":1101,"sub_error":12304,"error_description":"invalid client_secret"}
		Error       json.Number `json:"error"`
		SubError    json.Number `json:"sub_error"`
		Description string      `json:"error_description"`
	}
	broken := json.Unmarshal(a.Body, &j) != nil || a.Err != nil
	if a.Status == http.StatusOK && !broken && j.AccessToken != "" && strings.Trim(j.AccessToken, tokenBytes) == "" {
		life := time.Hour // what Huawei's documentation shows
		if j.ExpiresIn > 0 && j.ExpiresIn < 1e6 {
			life = max(time.Duration(j.ExpiresIn*float64(time.Second)), access.FetchPause)
		}
		return j.AccessToken, life, nil
	}
	e := &refusedError{status: a.Status, retryAfter: exchange.RetryAfter(a.Header, now)}
	switch {
	case broken || j.Error == "" && j.Description == "":
		e.text = fmt.Sprintf("HTTP %d without a token", a.Status)
	default:
		e.text = exchange.Brief(fmt.Sprintf("%s %s %s", j.Error, j.SubError, j.Description))
	}
	return "", 0, e
}

// tokenBytes are what a bearer token may consist of (RFC 6750 section 2.1,
// and the backslash that some of Huawei's have been seen with).
const tokenBytes = `ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=\`

// tokenFailure is the outcome of a Send that got no access token. Nothing was
// sent. A refusal by Huawei pauses the lane; a network error does not.
func tokenFailure(err error) push.Outcome {
	if e, ok := errors.AsType[*refusedError](err); ok {
		if e.status == http.StatusOK || e.status == http.StatusTooManyRequests || e.status >= 500 || e.status >= 300 && e.status < 400 {
			return push.Outcome{Class: push.Retry, Reason: exchange.Brief("no access token: " + e.text), RetryAfter: e.retryAfter}
		}
		return push.Outcome{Class: push.Auth, Reason: exchange.Brief("access token refused: " + e.text)}
	}
	if errors.Is(err, access.ErrClosed) || errors.Is(err, h2pool.ErrClosed) {
		return push.Outcome{Class: push.Retry, Reason: "provider is closed"}
	}
	o := push.Outcome{Class: push.Retry, Reason: exchange.Brief("no access token: " + err.Error())}
	if ns, ok := errors.AsType[*h2pool.NotSentError](err); ok {
		o.RetryAfter = ns.RetryAfter
	}
	return o
}
