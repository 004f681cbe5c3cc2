package h2pool

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"
)

// waiter is a request without a connection.
type waiter struct {
	answer chan grant // capacity 1: the dispatcher never waits for a waiter
	avoid  *conn      // the connection that has just refused it
}

type grant struct {
	conn *conn
	err  error
}

const (
	// tickEvery is how often the dispatcher looks again while requests wait,
	// for what no state hook announces: a back-off that ends, a stuck connection.
	tickEvery = 50 * time.Millisecond
	// stuckFor is how long a connection may look stuck before it is replaced.
	stuckFor = 250 * time.Millisecond

	// dialFast is how many dials may fail before requests fail with them.
	dialFast     = 3
	minDialPause = 100 * time.Millisecond
	maxDialPause = 10 * time.Second
)

// acquire reserves a place for one request, waiting for one as long as ctx
// allows. Errors are *NotSentError.
func (p *Pool) acquire(ctx context.Context, avoid *conn) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, &NotSentError{Err: err}
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, &NotSentError{Err: ErrClosed}
	}
	// Fast path: there is room and nobody was here before.
	if p.waiters.Len() == 0 {
		if c := p.grantLocked(avoid); c != nil {
			p.mu.Unlock()
			return c, nil
		}
	}
	p.reapLocked()
	if err := p.downLocked(time.Now()); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	w := &waiter{answer: make(chan grant, 1), avoid: avoid}
	e := p.waiters.PushBack(w)
	p.growLocked(time.Now())
	p.mu.Unlock()
	p.kick()

	select {
	case g := <-w.answer:
		return g.conn, g.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case g := <-w.answer: // granted in the same moment: hand it back
		if g.conn != nil {
			g.conn.starting--
			p.releaseLocked(g.conn)
		}
	default:
		p.waiters.Remove(e)
	}
	return nil, &NotSentError{Err: ctx.Err()}
}

// grantLocked takes a place on the least busy connection, or returns nil.
func (p *Pool) grantLocked(avoid *conn) *conn {
	var best *conn
	for _, c := range p.conns {
		// The connection that refused this request is the last choice.
		if c.room() && (best == nil || best == avoid || c != avoid && c.active < best.active) {
			best = c
		}
	}
	if best == nil {
		return nil
	}
	best.active++
	best.starting++
	// Requests that overlap show that the origin is in real use: have all
	// connections then, so that losing one is not losing everything.
	if best.active > 1 && len(p.conns)+p.dialing < p.cfg.Connections && !time.Now().Before(p.dialAfter) {
		p.startDialLocked()
	}
	return best
}

// kick wakes the dispatcher. It takes no lock: net/http calls it as a state
// hook from inside calls that the pool makes under its own lock.
func (p *Pool) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// dispatch hands places to waiters until the pool is closed.
func (p *Pool) dispatch() {
	tick := time.NewTimer(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.wake:
		case <-tick.C:
		}
		if p.serve(time.Now()) > 0 {
			tick.Reset(tickEvery)
		}
	}
}

// serve grants what can be granted and returns how many still wait.
func (p *Pool) serve(now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0
	}
	p.reapLocked()
	for e := p.waiters.Front(); e != nil; e = p.waiters.Front() {
		w := e.Value.(*waiter)
		c := p.grantLocked(w.avoid)
		if c == nil {
			break
		}
		p.waiters.Remove(e)
		w.answer <- grant{conn: c}
	}
	waiting := p.waiters.Len() > 0
	for _, c := range append([]*conn(nil), p.conns...) {
		c.observe(now)
		if waiting && c.stuck(now) {
			p.retireLocked(c)
		}
	}
	if err := p.downLocked(now); waiting && err != nil {
		p.failWaitersLocked(err)
	}
	p.growLocked(now)
	return p.waiters.Len()
}

// reapLocked removes connections that have died.
func (p *Pool) reapLocked() {
	for _, c := range append([]*conn(nil), p.conns...) {
		if c.cc.Err() != nil {
			if !c.open && c.active == 0 {
				p.dialFailedLocked(errShortLived)
			}
			c.retired = true
			p.dropLocked(c)
		}
	}
}

// downLocked returns the error for new requests while the origin is down:
// there is no connection, dialFast dials in a row have failed, and the pause
// before the next one has not ended. Shorter pauses are waited for.
func (p *Pool) downLocked(now time.Time) error {
	if len(p.conns) > 0 || p.dialing > 0 || p.dialFails < dialFast || !now.Before(p.dialAfter) {
		return nil
	}
	return &NotSentError{Err: p.dialErr, RetryAfter: p.dialAfter.Sub(now)}
}

func (p *Pool) failWaitersLocked(err error) {
	for e := p.waiters.Front(); e != nil; e = p.waiters.Front() {
		p.waiters.Remove(e)
		e.Value.(*waiter).answer <- grant{err: err}
	}
}

// growLocked dials for those who wait, never beyond Connections.
func (p *Pool) growLocked(now time.Time) {
	if p.closed || now.Before(p.dialAfter) {
		return
	}
	for len(p.conns)+p.dialing < p.cfg.Connections && p.dialing < p.waiters.Len() {
		p.startDialLocked()
	}
}

func (p *Pool) startDialLocked() {
	p.dialing++
	p.stats.Dials++
	p.wg.Go(p.dial)
}

func (p *Pool) dial() {
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.DialTimeout)
	defer cancel()
	cc, err := p.tr.NewClientConn(ctx, p.scheme, p.addr)

	p.mu.Lock()
	p.dialing--
	switch {
	case err != nil && !p.closed:
		p.stats.DialErrors++
		p.dialFailedLocked(err)
		if down := p.downLocked(time.Now()); down != nil {
			p.failWaitersLocked(down)
		}
	case err == nil && !p.closed:
		p.conns = append(p.conns, &conn{cc: cc})
	case err == nil:
		defer cc.Close()
	}
	p.mu.Unlock()
	if err == nil {
		cc.SetStateHook(func(*http.ClientConn) { p.kick() })
	}
	p.kick()
}

// dialFailedLocked sets the pause before the next dial: doubling, with
// jitter so that gateways that lost the same peer do not return together.
func (p *Pool) dialFailedLocked(err error) {
	pause := min(maxDialPause, minDialPause<<min(p.dialFails, 10))
	p.dialFails++
	p.dialErr = err
	p.dialAfter = time.Now().Add(pause/2 + rand.N(pause))
}
