// Package h2pool sends requests to one origin over a small, fixed number of
// HTTP/2 connections, and tells the caller whether a failed request can have
// been seen.
//
// It exists because push services punish what general transports do. A cold
// burst through net/http dials hundreds of connections, or has its streams
// refused because the peer allows one stream until it has seen a valid token;
// a connection whose peer has fallen silent is noticed after half a minute;
// one that the peer has poisoned is never given up while it is busy; an error
// does not say whether the request may be repeated; and a push costs more than
// twice the processor (docs/decisions/0016-own-http2-client.md).
//
// The client is our own, on the frames of golang.org/x/net/http2: one
// goroutine reads a connection and one writes it, many requests at a time. A
// connection goes through
//
//	          dial          first answer
//	(none) ─────────▶ warming ─────────▶ open
//	   ▲                 │                 │  retire: two deadline misses in a row,
//	   │ dial failed,    │                 │  Retire, RetireAll, GOAWAY
//	   │ back-off        ▼                 ▼
//	   └────────────── ended ◀───────── draining
//	                         last request done, or DrainTimeout
//
// and a request (a stream) through
//
//	submitted ─▶ waiting ─▶ queued ─▶ handed ─▶ answered
//	                 ▲         │        │
//	                 └─────────┘        └─▶ no answer: a fate
//	          the connection retires
//
// Waiting is for any connection with room, first come first served; queued is
// for one connection's writer. What has not been handed to a writer has not
// left: there the promise that nothing was sent is exact.
//
// A warming connection carries one request at a time, so that the peer can
// announce its real stream limit before there are streams to refuse.
//
// What is bounded: requests on a connection by the peer's limit and maxStreams,
// an answer's headers by maxHeaderList and its body by MaxBody, what is written
// at once by maxBatch, and what a peer can make us owe it by maxControl.
package h2pool

import (
	"cmp"
	"container/list"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
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
	// Proxy as in http.Transport: http, https or socks5. Nil: from the
	// environment.
	Proxy func(*http.Request) (*url.URL, error)
	// Dial makes the connections below TLS, for a network that is not the
	// machine's. Nil: TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Pool sends requests to one origin. It is safe for concurrent use.
// Connections are dialled on demand; Warm dials them ahead.
type Pool struct {
	cfg          Config
	scheme, addr string // what is dialled
	host         string // :authority

	ctx  context.Context // ends with Close; stops dials
	stop context.CancelFunc
	wg   sync.WaitGroup // dials, readers, writers

	// mu guards everything below, and what conn and stream say it does. It is
	// never held over I/O or encoding.
	mu        sync.Mutex
	closed    bool
	conns     []*conn            // warming and open
	draining  map[*conn]struct{} // retired with requests in flight
	waiters   list.List          // of *stream, oldest first
	dialing   int
	dialPause time.Duration // after the first failed dial; minDialPause, but for tests
	dialFails int           // in a row, without an answer in between
	dialAfter time.Time
	dialErr   error
	redial    *time.Timer // runs at dialAfter; nil: no dial has failed yet
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
		draining: make(map[*conn]struct{}),

		dialPause: minDialPause,
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p, nil
}

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
// closes when those in flight have ended. It reports whether there was anything
// to do.
func (p *Pool) Retire(resp *Response) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return resp.conn.pool == p && resp.conn.retireLocked()
}

// RetireAll takes every connection out of use, for a change of credentials that
// the peer ties to connections: new requests get new ones, and those in flight
// end as with Retire.
func (p *Pool) RetireAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range slices.Clone(p.conns) {
		c.retireLocked()
	}
}

// Stats returns a snapshot.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Connections, s.Draining, s.Waiting = len(p.conns), len(p.draining), p.waiters.Len()
	for _, c := range p.conns {
		s.InFlight += c.active()
	}
	for c := range p.draining {
		s.InFlight += c.active()
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
		if p.redial != nil {
			p.redial.Stop()
		}
		for _, c := range slices.Clone(p.conns) {
			c.endLocked(ErrClosed, leave)
		}
		for c := range p.draining {
			c.endLocked(ErrClosed, leave)
		}
		p.failWaitersLocked(ErrClosed, 0)
	}
	p.mu.Unlock()
	p.wg.Wait()
	return nil
}
