package hms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"footfall/push"
	"footfall/push/h2pool"
	"footfall/push/internal/exchange"
	"footfall/push/internal/post"
)

const (
	// refreshBefore is how long before its end a token is replaced, in the
	// background, while it still serves.
	refreshBefore = 5 * time.Minute
	fetchTimeout  = 10 * time.Second
	// fetchPause is how long a failed fetch is not tried again: all workers ask
	// at once, and Huawei counts token requests.
	fetchPause = 5 * time.Second
	// freshFor is how long a refused token must have been in use for a new one
	// to be worth trying.
	freshFor = time.Minute
)

// refusedError is an answer of the token server that is no token.
type refusedError struct {
	status     int
	text       string
	retryAfter time.Duration
}

func (e *refusedError) Error() string { return e.text }

// tokens keeps one access token for all senders, and has at most one fetch
// under way. It is safe for concurrent use.
type tokens struct {
	client *post.Client
	url    *url.URL
	secret string // part of form; never shown
	form   []byte
	now    func() time.Time
	ctx    context.Context // ends with close
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	current string        // "": none
	since   time.Time     // when current was fetched
	renewAt time.Time     // when to fetch the next one
	expires time.Time     // when current ends
	fetch   chan struct{} // closed when the fetch under way ends; nil: none
	err     error
	retryAt time.Time
}

// get returns an access token, waiting for one if there is none.
func (t *tokens) get(ctx context.Context) (string, error) {
	for {
		t.mu.Lock()
		if t.ctx.Err() != nil {
			t.mu.Unlock()
			return "", h2pool.ErrClosed
		}
		if err := ctx.Err(); err != nil {
			t.mu.Unlock()
			return "", err
		}
		now := t.now()
		usable := t.current != "" && now.Before(t.expires)
		if t.fetch == nil && !now.Before(t.retryAt) && (!usable || !now.Before(t.renewAt)) {
			t.startLocked()
		}
		bearer, fetch, err := t.current, t.fetch, t.err
		t.mu.Unlock()
		switch {
		case usable:
			return bearer, nil
		case fetch == nil:
			return "", err // failed a moment ago
		}
		select {
		case <-fetch:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// close ends the fetch under way and lets no other begin.
func (t *tokens) close() {
	t.mu.Lock()
	t.stop()
	t.mu.Unlock()
	t.wg.Wait()
}

// refused tells that Huawei did not take bearer, with or without calling it
// expired. It reports whether a retry will use another one.
func (t *tokens) refused(bearer string, expired bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	age := t.now().Sub(t.since)
	switch {
	case t.current != bearer:
		return true
	case expired && age < fetchPause, !expired && age < freshFor:
		return false // a token just made is refused: the client is at fault
	}
	t.current = ""
	return true
}

func (t *tokens) startLocked() {
	done := make(chan struct{})
	t.fetch = done
	t.wg.Go(func() {
		ctx, cancel := context.WithTimeout(t.ctx, fetchTimeout)
		defer cancel()
		text, life, err := t.request(ctx)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fetch, t.err = nil, err
		now := t.now()
		if err != nil {
			t.retryAt = now.Add(fetchPause)
		} else {
			t.current, t.since, t.expires = text, now, now.Add(life)
			t.renewAt = t.expires.Add(-min(refreshBefore, life/4))
		}
		close(done)
	})
}

// request asks for a token: OAuth 2.0, client credentials.
func (t *tokens) request(ctx context.Context) (string, time.Duration, error) {
	a, err := t.client.Post(ctx, t.url, http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"},
		"User-Agent":   {"Footfall"},
	}, t.form)
	if err != nil {
		return "", 0, err
	}
	text, life, err := parseToken(a, t.now())
	if e, ok := errors.AsType[*refusedError](err); ok {
		e.text = strings.ReplaceAll(e.text, t.secret, "…")
	}
	return text, life, err
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
			life = max(time.Duration(j.ExpiresIn*float64(time.Second)), fetchPause)
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
	if errors.Is(err, h2pool.ErrClosed) {
		return push.Outcome{Class: push.Retry, Reason: "provider is closed"}
	}
	o := push.Outcome{Class: push.Retry, Reason: exchange.Brief("no access token: " + err.Error())}
	if ns, ok := errors.AsType[*h2pool.NotSentError](err); ok {
		o.RetryAfter = ns.RetryAfter
	}
	return o
}
