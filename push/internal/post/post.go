// Package post makes one POST to a server of any HTTP version and tells
// whether it can have been acted on.
//
// It is for services that package h2pool cannot serve: endpoints of customers,
// browsers' push services and vendors of which nobody knows whether they speak
// HTTP/2. It gives up h2pool's exact number of connections; it keeps what the
// queue needs: one call is one request, a redirect is an answer, an error says
// whether the request had left, and a server that cannot be reached is not
// dialled by every worker at once.
package post

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"time"

	"footfall/push/h2pool"
)

const (
	// maxBody is how much of an answer is read. What is over it is cut off.
	maxBody = 64 << 10
	// idleTimeout is below the minute that common servers and balancers allow:
	// a request on a connection that the server is just closing is in doubt.
	idleTimeout = 30 * time.Second
	// pauseMin and pauseMax bound how long an origin is not dialled after
	// failed dials in a row.
	pauseMin = time.Second
	pauseMax = 30 * time.Second
	// maxOrigins bounds what is remembered about origins without a request in
	// flight. Browsers have a handful of push services.
	maxOrigins = 256
)

// Config describes a Client. The zero value works.
type Config struct {
	// RootCAs verifies servers; nil is the system's roots.
	RootCAs *x509.CertPool
	// InFlight is the most requests to one origin at a time, default 32; others
	// wait. It also bounds the connections to a server without HTTP/2.
	InFlight int
	// Guard refuses addresses before they are dialled; nil allows all. It sees
	// what names resolve to, so that a name cannot point inwards. Proxies of the
	// environment are exempt: there the proxy's own rules apply.
	Guard func(netip.Addr) error
	// Now is the clock for the pauses after failed dials; nil is time.Now.
	Now func() time.Time
}

// Client is safe for concurrent use.
type Client struct {
	cfg     Config
	tr      *http.Transport
	dialer  net.Dialer
	proxies sync.Map // "host:port" of proxies in use

	ctx  context.Context // ends with Close
	stop context.CancelFunc

	mu      sync.Mutex
	closed  bool
	calls   sync.WaitGroup
	origins map[string]*origin
	conns   map[net.Conn]struct{}
}

// origin is what is known about one scheme, host and port. Guarded by
// Client.mu, except slots.
type origin struct {
	slots   chan struct{}
	users   int
	fails   int // dials that failed in a row
	retryAt time.Time
	err     error
}

// Answer is what the server said. Err is why the body is cut, if it is.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	Err    error
}

// New returns a client without connections. The caller must Close it.
func New(cfg Config) *Client {
	cfg.InFlight = cmp.Or(cfg.InFlight, 32)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{cfg: cfg, origins: make(map[string]*origin), conns: make(map[net.Conn]struct{})}
	c.dialer = net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	c.tr = &http.Transport{
		Proxy:               c.proxy,
		DialContext:         c.dial,
		Protocols:           protocols,
		TLSClientConfig:     &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: cfg.InFlight,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true, // answers are a few bytes; a bomb stays small
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 3 * time.Second},
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// Post sends body to u once. header is not changed. An error that is an
// *h2pool.NotSentError proves that the server's application has not seen the
// request; any other leaves that open. An Answer comes with a nil error. No
// error holds the path or the query of u.
func (c *Client) Post(ctx context.Context, u *url.URL, header http.Header, body []byte) (*Answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, &h2pool.NotSentError{Err: err}
	}
	o, err := c.enter(u)
	if err != nil {
		return nil, err
	}
	defer c.leave(o)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	select {
	case o.slots <- struct{}{}:
		defer func() { <-o.slots }()
	case <-ctx.Done():
		return nil, c.notSent(ctx.Err())
	}
	if err := c.paused(o); err != nil {
		return nil, err
	}
	g := &gate{rest: body}
	// No GetBody: net/http and its HTTP/2 would send the request again by
	// themselves, after some errors that do not exclude a first copy.
	h := header.Clone()
	if h == nil {
		h = make(http.Header)
	}
	req := (&http.Request{
		Method: http.MethodPost, URL: u, Host: u.Host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: g, ContentLength: int64(len(body)),
	}).WithContext(ctx)
	resp, err := c.tr.RoundTrip(req)
	if err != nil {
		return nil, c.failed(ctx, o, err, g.abandon())
	}
	defer resp.Body.Close()
	c.mu.Lock()
	o.fails, o.err = 0, nil
	c.mu.Unlock()
	a := &Answer{Status: resp.StatusCode, Header: resp.Header}
	a.Body, a.Err = io.ReadAll(io.LimitReader(resp.Body, maxBody))
	return a, nil
}

// failed judges err, an error of the transport. begun is whether any of the
// body was handed out: before that the server cannot know what it is asked.
func (c *Client) failed(ctx context.Context, o *origin, err error, begun bool) error {
	switch {
	case begun && refused(err):
		return &h2pool.NotSentError{Err: err}
	case begun:
		return err
	case ctx.Err() != nil:
		return c.notSent(ctx.Err())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	o.fails++
	pause := min(pauseMin<<min(o.fails-1, 5), pauseMax)
	o.retryAt, o.err = c.cfg.Now().Add(pause), err
	return &h2pool.NotSentError{Err: err, RetryAfter: pause}
}

func (c *Client) paused(o *origin) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if left := o.retryAt.Sub(c.cfg.Now()); o.err != nil && left > 0 {
		return &h2pool.NotSentError{Err: o.err, RetryAfter: left}
	}
	return nil
}

// notSent is err, or ErrClosed if that is what lies behind it.
func (c *Client) notSent(err error) error {
	if c.ctx.Err() != nil {
		err = h2pool.ErrClosed
	}
	return &h2pool.NotSentError{Err: err}
}

func (c *Client) enter(u *url.URL) (*origin, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, &h2pool.NotSentError{Err: h2pool.ErrClosed}
	}
	key := u.Scheme + "://" + u.Host
	o := c.origins[key]
	if o == nil {
		if len(c.origins) >= maxOrigins {
			for k, old := range c.origins {
				if old.users == 0 {
					delete(c.origins, k)
				}
			}
		}
		o = &origin{slots: make(chan struct{}, c.cfg.InFlight)}
		c.origins[key] = o
	}
	o.users++
	c.calls.Add(1)
	return o, nil
}

func (c *Client) leave(o *origin) {
	c.mu.Lock()
	o.users--
	c.mu.Unlock()
	c.calls.Done()
}

func (c *Client) proxy(r *http.Request) (*url.URL, error) {
	p, err := http.ProxyFromEnvironment(r)
	if p != nil && c.cfg.Guard != nil {
		port := p.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[p.Scheme]
		}
		c.proxies.Store(net.JoinHostPort(p.Hostname(), port), struct{}{})
	}
	return p, err
}

// RefusedError is inside the NotSentError of a request whose server's address
// the Guard does not allow.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns the Guard's error.
func (e *RefusedError) Unwrap() error { return e.Err }

// dial dials, asks the guard about the address that is really used, and keeps
// the connection, so that Close can cut it.
func (c *Client) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := c.dialer
	if _, isProxy := c.proxies.Load(addr); c.cfg.Guard != nil && !isProxy {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err == nil {
				err = c.cfg.Guard(ap.Addr())
			}
			if err != nil {
				return &RefusedError{err}
			}
			return nil
		}
	}
	nc, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	t := &tracked{Conn: nc, client: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		nc.Close()
		return nil, h2pool.ErrClosed
	}
	c.conns[t] = struct{}{}
	return t, nil
}

type tracked struct {
	net.Conn
	client *Client
}

func (t *tracked) Close() error {
	t.client.mu.Lock()
	delete(t.client.conns, t)
	t.client.mu.Unlock()
	return t.Conn.Close()
}

// Close cuts every connection and waits for the calls of Post, which end as
// after a cut. A second Close waits for the same and returns nil.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.calls.Wait()
	c.tr.CloseIdleConnections()
	c.mu.Lock()
	left := make([]net.Conn, 0, len(c.conns))
	for nc := range c.conns {
		left = append(left, nc)
	}
	c.mu.Unlock()
	for _, nc := range left {
		nc.Close()
	}
	return nil
}

var errAbandoned = errors.New("post: request was given up before it was sent")
