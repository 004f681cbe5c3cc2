// Package access keeps the access token that all senders of a provider share:
// fetched when it is needed, renewed before it ends, replaced when the
// provider refuses it or when the credentials change.
package access

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// RefreshBefore is how long before its end a token is replaced, in the
	// background, while it still serves.
	RefreshBefore = 5 * time.Minute
	fetchTimeout  = 10 * time.Second
	// FetchPause is how long a failed fetch is not tried again: all workers ask
	// at once, and token servers count requests.
	FetchPause = 5 * time.Second
)

// ErrClosed is returned by Get after Close.
var ErrClosed = errors.New("access: closed")

// Fetch asks the token server for a token. life is how long it serves.
type Fetch func(ctx context.Context) (token string, life time.Duration, err error)

// Source keeps one token and has at most one fetch under way. It is safe for
// concurrent use.
type Source struct {
	now  func() time.Time
	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	request  Fetch
	current  string        // "": none
	since    time.Time     // when current was fetched
	renewAt  time.Time     // when to fetch the next one
	expires  time.Time     // when current ends
	fetching chan struct{} // closed when the fetch under way ends; nil: none
	err      error
	retryAt  time.Time
}

// New returns a source without a token. now is the clock for its age.
func New(fetch Fetch, now func() time.Time) *Source {
	s := &Source{request: fetch, now: now}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Get returns an access token, waiting for one if there is none. The error of a
// failed fetch is returned for FetchPause without another one.
func (s *Source) Get(ctx context.Context) (string, error) {
	for {
		s.mu.Lock()
		if s.ctx.Err() != nil {
			s.mu.Unlock()
			return "", ErrClosed
		}
		if err := ctx.Err(); err != nil {
			s.mu.Unlock()
			return "", err
		}
		now := s.now()
		usable := s.current != "" && now.Before(s.expires)
		if s.fetching == nil && !now.Before(s.retryAt) && (!usable || !now.Before(s.renewAt)) {
			s.startLocked()
		}
		token, fetching, err := s.current, s.fetching, s.err
		s.mu.Unlock()
		switch {
		case usable:
			return token, nil
		case fetching == nil:
			return "", err // failed a moment ago
		}
		select {
		case <-fetching:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// Refused tells that the provider did not take token. It reports whether a
// retry will use another one. A token that has been in use for less than fresh
// is kept: then the account is at fault and another token would not help.
func (s *Source) Refused(token string, fresh time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.current != token:
		return true
	case s.now().Sub(s.since) < fresh:
		return false
	}
	s.current = ""
	return true
}

// Replace fetches with other credentials from now on. The current token is
// given up, and so is what a fetch under way brings; who waits gets a new one.
func (s *Source) Replace(fetch Fetch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.request, s.current, s.err, s.retryAt = fetch, "", nil, time.Time{}
	s.fetching = nil // the old fetch still closes its channel
}

// Close ends the fetch under way and lets no other begin.
func (s *Source) Close() {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *Source) startLocked() {
	done, fetch := make(chan struct{}), s.request
	s.fetching = done
	s.wg.Go(func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(s.ctx, fetchTimeout)
		defer cancel()
		token, life, err := fetch(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.fetching != done {
			return // of credentials that have been replaced
		}
		s.fetching, s.err = nil, err
		now := s.now()
		if err != nil {
			s.retryAt = now.Add(FetchPause)
			return
		}
		life = max(life, FetchPause)
		s.current, s.since, s.expires = token, now, now.Add(life)
		s.renewAt = s.expires.Add(-min(RefreshBefore, life/4))
	})
}
