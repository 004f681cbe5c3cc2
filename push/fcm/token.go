package fcm

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"
)

const (
	// refreshBefore is how long before its end a token is replaced, in the
	// background, while it still serves.
	refreshBefore = 5 * time.Minute
	fetchTimeout  = 10 * time.Second
	// fetchPause is how long a failed fetch, or a token that Google refused, is
	// not tried again: all workers ask at once.
	fetchPause = 5 * time.Second
	// freshFor is how long a refused token must have been in use for a new one
	// to be worth trying.
	freshFor = time.Minute
)

// tokens keeps one OAuth access token for all senders, and has at most one
// fetch under way. It is safe for concurrent use.
type tokens struct {
	conf   *jwt.Config
	client *http.Client
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
		if err := t.ctx.Err(); err != nil {
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

// refused tells that Google did not take bearer. It reports whether a retry
// will use another one.
func (t *tokens) refused(bearer string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.current != bearer:
		return true
	case t.now().Sub(t.since) < freshFor:
		return false // a token just made is refused: the account is at fault
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
		tok, err := t.conf.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, t.client)).Token()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fetch, t.err = nil, err
		now := t.now()
		if err != nil {
			t.retryAt = now.Add(fetchPause)
		} else {
			// The library reckons with the machine's clock; a span does not care.
			life := time.Hour // Google always says; an hour is its habit
			if !tok.Expiry.IsZero() {
				life = max(time.Until(tok.Expiry), fetchPause)
			}
			t.current, t.since, t.expires = tok.AccessToken, now, now.Add(life)
			t.renewAt = t.expires.Add(-min(refreshBefore, life/4))
		}
		close(done)
	})
}

// tokenFailure is the outcome of a Send that got no access token. Nothing was
// sent. A refusal by Google pauses the lane; a network error does not.
func tokenFailure(err error, now time.Time) push.Outcome {
	if r, ok := errors.AsType[*oauth2.RetrieveError](err); ok && r.Response != nil {
		status := r.Response.StatusCode
		o := push.Outcome{Class: push.Auth, Reason: exchange.Brief("access token refused: " + r.ErrorCode + " " + r.ErrorDescription)}
		if status >= 500 || status == http.StatusTooManyRequests {
			o.Class = push.Retry
			o.RetryAfter = exchange.RetryAfter(r.Response.Header, now)
		}
		return o
	}
	return push.Outcome{Class: push.Retry, Reason: exchange.Brief("no access token: " + err.Error())}
}
