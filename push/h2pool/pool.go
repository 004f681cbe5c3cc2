// Package h2pool sends requests to one origin over a small, fixed number of
// HTTP/2 connections, and tells the caller whether a failed request can have
// been seen.
//
// It exists because push services punish what general transports do. A cold
// burst through net/http dials hundreds of connections, or has its streams
// refused because the peer allows one stream until it has seen a valid token;
// a connection whose peer has fallen silent is noticed after half a minute;
// one that the peer has poisoned is never given up while it is busy; and an
// error does not say whether the request may be repeated. Each connection of
// a [Pool] is made by [http.Transport.NewClientConn] and goes through
//
//	          dial          first answer
//	(none) ─────────▶ warming ─────────▶ open
//	   ▲                 │                 │  retire: two deadline misses in a row,
//	   │ dial failed,    │                 │  Retire, GOAWAY, CloseIdleConnections
//	   │ back-off        ▼                 ▼
//	   └───────────── closed ◀───────── draining
//	                         last request done, or DrainTimeout
//
// A warming connection carries one request at a time, so that the peer can
// announce its real stream limit before there are streams to refuse. Requests
// beyond the limits wait, first come first served, until their context ends.
package h2pool

import (
	"cmp"
	"container/list"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Config describes a Pool. Only Origin is required.
type Config struct {
	// Origin is scheme and host, "https://api.push.apple.com" or with a port.
	// "http" means HTTP/2 in clear text with prior knowledge.
	Origin string
	// RootCAs verifies the server. Nil: the system's roots.
	RootCAs *x509.CertPool
	// Connections is the most connections open for new requests, default 2.
	// Draining ones are not counted.
	Connections int
	// DialTimeout bounds TCP, proxy and TLS together, default 10 s.
	DialTimeout time.Duration
	// PingAfter is how long a connection may be without a frame from the peer
	// before it is pinged, default 5 s; PingTimeout is how long the answer may
	// take before the connection is given up, default 3 s.
	PingAfter, PingTimeout time.Duration
	// DrainTimeout is how long a retired connection may finish its requests,
	// default 15 s. What is left then ends as after a cut.
	DrainTimeout time.Duration
	// Proxy as in http.Transport. Nil: from the environment.
	Proxy func(*http.Request) (*url.URL, error)
	// Dial makes the connections below TLS, for a network that is not the
	// machine's. Nil: TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Pool is an http.RoundTripper for one origin. It is safe for concurrent use.
// Connections are dialled on demand; Warm dials them ahead.
type Pool struct {
	cfg          Config
	scheme, addr string // what is dialled
	host         string // what a request's URL must name
	tr           *http.Transport

	ctx  context.Context // ends with Close; stops dials
	stop context.CancelFunc
	wg   sync.WaitGroup // dispatcher, dials, closers
	wake chan struct{}  // capacity 1: a wake-up that is already pending is enough

	mu        sync.Mutex
	closed    bool
	conns     []*conn            // warming and open
	draining  map[*conn]struct{} // retired with requests in flight
	waiters   list.List          // of *waiter, oldest first
	dialing   int
	dialFails int // in a row, without an answer in between
	dialAfter time.Time
	dialErr   error
	stats     Stats
}

// Stats counts since the pool was made, and what is now.
type Stats struct {
	Connections int // warming and open
	Draining    int
	InFlight    int // requests on connections
	Waiting     int // requests without a connection

	Dials, DialErrors int64
	Retired           int64 // connections given up by rule or on request
	Moved             int64 // requests that moved to another connection unprocessed
}

// New checks cfg and returns a pool without connections. The caller must
// Close it.
func New(cfg Config) (*Pool, error) {
	u, err := url.Parse(cfg.Origin)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("h2pool: origin %q is not of the form https://host[:port]", cfg.Origin)
	}
	if cfg.Connections < 0 {
		return nil, fmt.Errorf("h2pool: %d connections: must not be negative (0 is the default)", cfg.Connections)
	}
	cfg.Connections = cmp.Or(cfg.Connections, 2)
	cfg.DialTimeout = cmp.Or(cfg.DialTimeout, 10*time.Second)
	cfg.PingAfter = cmp.Or(cfg.PingAfter, 5*time.Second)
	cfg.PingTimeout = cmp.Or(cfg.PingTimeout, 3*time.Second)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 15*time.Second)
	if cfg.Proxy == nil {
		cfg.Proxy = http.ProxyFromEnvironment
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	p := &Pool{
		cfg:      cfg,
		scheme:   u.Scheme,
		addr:     net.JoinHostPort(u.Hostname(), port),
		host:     u.Host,
		wake:     make(chan struct{}, 1),
		draining: make(map[*conn]struct{}),
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(u.Scheme == "https")
	protocols.SetUnencryptedHTTP2(u.Scheme == "http")
	p.tr = &http.Transport{
		Proxy:              cfg.Proxy,
		DialContext:        cfg.Dial,
		Protocols:          protocols,
		DisableCompression: true, // answers are a few bytes, and are recorded as they came
		HTTP2:              &http.HTTP2Config{SendPingTimeout: cfg.PingAfter, PingTimeout: cfg.PingTimeout},
		TLSClientConfig: &tls.Config{
			RootCAs:    cfg.RootCAs,
			MinVersion: tls.VersionTLS12,
			// Without this a server that lacks HTTP/2 would be spoken to in HTTP/1,
			// one request at a time.
			VerifyConnection: func(cs tls.ConnectionState) error {
				if cs.NegotiatedProtocol != "h2" {
					return errors.New("the server does not speak HTTP/2 (is a TLS-inspecting proxy in between?)")
				}
				return nil
			},
		},
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.wg.Go(p.dispatch)
	return p, nil
}

// RoundTrip implements http.RoundTripper. It sends req once.
//
// An error that is a *NotSentError proves that the peer's application has not
// seen the request. Any other error means that nobody knows. A request that
// the peer promised not to have processed (refused stream, GOAWAY below its
// id, connection lost before the body was written) is moved to another
// connection, a few times, before it becomes a NotSentError.
//
// The caller must read the response's body to its end or close it.
func (p *Pool) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := rewindable(req)
	if err != nil {
		return nil, &NotSentError{Err: err}
	}
	if req.URL.Host != p.host {
		return nil, &NotSentError{Err: fmt.Errorf("request for host %q on a pool for %q", req.URL.Host, p.host)}
	}
	ctx := req.Context()
	var last *conn
	for moves := 0; ; moves++ {
		c, err := p.acquire(ctx, last)
		if err != nil {
			return nil, err
		}
		g := newGate(body, func() { p.opened(c) })
		r := *req
		r.Body, r.GetBody = nil, nil
		if body != nil {
			r.Body, r.ContentLength = g, int64(len(body))
		}
		resp, err := c.cc.RoundTrip(&r)
		if err == nil {
			g.once.Do(g.opened) // an answer may come before the body was asked for
			p.answered(c)
			resp.Request = req
			resp.Body = &responseBody{ReadCloser: resp.Body, pool: p, conn: c}
			return resp, nil
		}
		sent := g.abandon() || body == nil
		fate := fateOf(err, sent)
		p.failed(c, err, sent, fate)
		switch {
		case fate == unknown:
			return nil, fmt.Errorf("h2pool: %w", err)
		case ctx.Err() != nil:
			return nil, &NotSentError{Err: ctx.Err()}
		case fate == refusedForGood || moves == maxMoves:
			return nil, &NotSentError{Err: err}
		}
		p.mu.Lock()
		p.stats.Moved++
		p.mu.Unlock()
		last = c
		if fate == refused {
			// The peer is short of streams and has not said so in SETTINGS yet.
			select {
			case <-time.After(refusedPause << moves):
			case <-ctx.Done():
				return nil, &NotSentError{Err: ctx.Err()}
			}
		}
	}
}

const (
	// maxMoves bounds how often one request changes connections. A rolling
	// restart of the peer costs one or two; more means that it is not well.
	maxMoves     = 5
	refusedPause = 5 * time.Millisecond
)

// Warm dials until the pool has all its connections, and returns the first
// error of a dial. It sends nothing on them.
func (p *Pool) Warm(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	p.mu.Lock()
	failures := p.stats.DialErrors
	p.mu.Unlock()
	for {
		p.mu.Lock()
		closed, have, err := p.closed, len(p.conns), p.dialErr
		failed := p.stats.DialErrors > failures
		if !closed && !failed {
			for len(p.conns)+p.dialing < p.cfg.Connections {
				p.startDialLocked()
			}
		}
		p.mu.Unlock()
		switch {
		case closed:
			return ErrClosed
		case have >= p.cfg.Connections:
			return nil
		case failed:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Retire takes the connection that resp came on out of use, because its
// answer shows that the connection is spoilt: it takes no new request, and
// closes when those in flight have ended. resp must be as RoundTrip returned
// it, with its original Body. It reports whether there was anything to do.
func (p *Pool) Retire(resp *http.Response) bool {
	b, ok := resp.Body.(*responseBody)
	if !ok || b.pool != p {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.retireLocked(b.conn)
}

// RetireAll takes every connection out of use, for a change of credentials that
// the peer ties to connections: new requests get new ones, and those in flight
// end as with Retire.
func (p *Pool) RetireAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range append([]*conn(nil), p.conns...) {
		p.retireLocked(c)
	}
}

// CloseIdleConnections retires connections without a request in flight.
// http.Client and apns2.Client call it by this name.
func (p *Pool) CloseIdleConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range append([]*conn(nil), p.conns...) {
		if c.active == 0 {
			p.retireLocked(c)
		}
	}
}

// Stats returns a snapshot.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Connections, s.Draining, s.Waiting = len(p.conns), len(p.draining), p.waiters.Len()
	for _, c := range p.conns {
		s.InFlight += c.active
	}
	for c := range p.draining {
		s.InFlight += c.active
	}
	return s
}

// Close cuts every connection, fails waiting requests with ErrClosed and
// waits for the pool's goroutines. A second Close waits for the same and
// returns nil.
func (p *Pool) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		p.stop()
		for e := p.waiters.Front(); e != nil; e = p.waiters.Front() {
			p.waiters.Remove(e)
			e.Value.(*waiter).answer <- grant{err: &NotSentError{Err: ErrClosed}}
		}
		for _, c := range p.conns {
			p.closeLocked(c)
		}
		for c := range p.draining {
			p.closeLocked(c)
		}
		p.conns = nil
		clear(p.draining)
	}
	p.mu.Unlock()
	p.wg.Wait()
	return nil
}
