package h2pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// conn is one connection. Its fields are guarded by Pool.mu.
type conn struct {
	cc      *http.ClientConn
	open    bool // an answer has been seen: no longer warming
	retired bool
	closed  bool
	active  int // requests granted and not finished
	// starting is how many of them have not opened their stream yet, so that
	// net/http does not count them. (ClientConn.Reserve would count them, but
	// when the peer lowers its limit, reservations block the very requests that
	// hold them: each waits for the others' places.)
	starting int
	misses   int // deadlines missed since the last answer
	limit    int // stream limit last seen while there was room
	// stuckSince is since when the connection has no room although it carries
	// fewer requests than limit. Zero: it is not so.
	stuckSince time.Time
	drain      *time.Timer
}

// room reports whether c can take a request now.
func (c *conn) room() bool {
	switch {
	case c.retired || c.cc.Err() != nil:
		return false
	case !c.open:
		return c.active == 0
	}
	return c.cc.Available() > c.starting
}

// observe keeps limit and stuckSince up to date.
//
// net/http does not tell a connection that is full from one that has received
// GOAWAY: both have nothing available. But a full one carries as many
// requests as its limit. One that stays stuck below it is draining, or its
// limit was lowered; replacing it is right in the first case and harmless in
// the second.
func (c *conn) observe(now time.Time) {
	if !c.open {
		return
	}
	available, inFlight := c.cc.Available(), c.cc.InFlight()
	switch {
	case available > 0:
		c.limit = available + inFlight
		c.stuckSince = time.Time{}
	case inFlight >= c.limit:
		c.stuckSince = time.Time{}
	case c.stuckSince.IsZero():
		c.stuckSince = now
	}
}

// stuck reports whether c should be replaced: when it is idle and the next look
// finds it without room still, else after a while. The first look is not
// enough: a stream that ends between the two questions of observe looks like one.
func (c *conn) stuck(now time.Time) bool {
	if c.stuckSince.IsZero() {
		return false
	}
	return c.active == 0 && now.After(c.stuckSince) || now.Sub(c.stuckSince) >= stuckFor
}

// answered notes that a response has come on c.
func (p *Pool) answered(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.misses = 0
	p.dialFails, p.dialErr = 0, nil
	if !c.open {
		c.open = true
		p.kick()
	}
}

// opened notes that a granted request on c has opened its stream, or will
// never do so.
func (p *Pool) opened(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.starting--
	p.kick()
}

// failed notes that a request has ended on c without a response.
func (p *Pool) failed(c *conn, err error, sent bool, f fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case f == goneAway:
		p.retireLocked(c)
	case sent && errors.Is(err, context.DeadlineExceeded):
		// One unanswered stream is known to happen. Two in a row, or one on a
		// connection that has never answered, is a dead connection that pings
		// do not find (a middlebox may answer them).
		c.misses++
		if c.misses >= 2 || !c.open {
			p.retireLocked(c)
		}
	case f != refused && !c.open && c.cc.Err() != nil:
		// Accepted and then closed, as overloaded balancers do. Without this it
		// would be dialled again in a tight loop.
		p.dialFailedLocked(err)
	}
	p.releaseLocked(c)
}

// release returns the request's place on c.
func (p *Pool) release(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.releaseLocked(c)
}

func (p *Pool) releaseLocked(c *conn) {
	c.active--
	if c.retired && c.active == 0 {
		p.closeLocked(c)
	}
	p.kick()
}

// retireLocked takes c out of use. It reports whether it was in use.
func (p *Pool) retireLocked(c *conn) bool {
	if c.retired {
		return false
	}
	c.retired = true
	p.stats.Retired++
	p.dropLocked(c)
	if c.active == 0 {
		p.closeLocked(c)
		return true
	}
	p.draining[c] = struct{}{}
	c.drain = time.AfterFunc(p.cfg.DrainTimeout, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.closeLocked(c)
	})
	p.kick()
	return true
}

// dropLocked removes c from the connections for new requests.
func (p *Pool) dropLocked(c *conn) {
	for i := range p.conns {
		if p.conns[i] == c {
			p.conns = append(p.conns[:i:i], p.conns[i+1:]...)
			return
		}
	}
}

// closeLocked cuts c. Closing a TLS connection can wait for a peer that does
// not read, so it is done aside. Closing twice is harmless, and after
// Pool.Close has closed every living connection no goroutine starts here.
func (p *Pool) closeLocked(c *conn) {
	delete(p.draining, c)
	if c.drain != nil {
		c.drain.Stop()
	}
	if c.closed {
		return
	}
	c.retired, c.closed = true, true
	if c.cc.Err() == nil {
		p.wg.Go(func() { c.cc.Close() })
	}
}

// gate is a request body that knows whether any of it was handed out. A peer
// cannot have acted on a request whose body was never read, because the
// stream has not ended; and after abandon nothing is handed out any more. So
// the answer of abandon is exact, whatever the transport is still doing.
type gate struct {
	opened func() // called once: at the first Read, or by abandon

	mu        sync.Mutex
	rest      []byte
	begun     bool
	abandoned bool
	once      sync.Once
}

func newGate(body []byte, opened func()) *gate { return &gate{rest: body, opened: opened} }

func (g *gate) Read(b []byte) (int, error) {
	g.once.Do(g.opened)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.abandoned {
		return 0, errAbandoned
	}
	g.begun = true
	if len(g.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

func (g *gate) Close() error { return nil }

// abandon ends the handing out and reports whether it had begun.
func (g *gate) abandon() bool {
	g.once.Do(g.opened)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.abandoned = true
	return g.begun
}

// rewindable reads the body of req, which is small, and closes it. Nil: req
// has none.
func rewindable(req *http.Request) ([]byte, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil, nil
	}
	defer req.Body.Close()
	if req.ContentLength <= 0 { // not known
		body, err := io.ReadAll(req.Body)
		if err != nil || len(body) == 0 {
			return nil, err
		}
		return body, nil
	}
	body := make([]byte, req.ContentLength)
	if _, err := io.ReadFull(req.Body, body); err != nil {
		return nil, fmt.Errorf("h2pool: a body that is shorter than its length of %d bytes: %w", len(body), err)
	}
	return body, nil
}

// responseBody gives the place on the connection back when it has been read
// or closed.
type responseBody struct {
	io.ReadCloser
	pool *Pool
	conn *conn
	once sync.Once
}

func (b *responseBody) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	if err != nil {
		b.done()
	}
	return n, err
}

func (b *responseBody) Close() error {
	err := b.ReadCloser.Close()
	b.done()
	return err
}

func (b *responseBody) done() { b.once.Do(func() { b.pool.release(b.conn) }) }
