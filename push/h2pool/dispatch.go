package h2pool

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	// dialFast is how many dials may fail before requests fail with them.
	dialFast     = 3
	minDialPause = 100 * time.Millisecond
	maxDialPause = 10 * time.Second
)

// submit gives s to the connection with the fewest requests, or lets it wait for one.
func (p *Pool) submit(s *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		s.finish(neverSent, &NotSentError{Err: ErrClosed})
		return
	}
	// Fast path: there is room and nobody was here before.
	if p.waiters.Len() == 0 {
		if c := p.roomLocked(s.avoid); c != nil {
			p.assignLocked(c, s)
			return
		}
	}
	now := time.Now()
	if p.downLocked(now) {
		s.finish(neverSent, &NotSentError{Err: p.dialErr, RetryAfter: p.dialAfter.Sub(now)})
		return
	}
	s.waits = p.waiters.PushBack(s)
	p.growLocked(now)
}

// abandon ends s for its caller, whose context has ended with err. Afterwards
// nothing of it is sent that has not been handed to a writer yet.
func (p *Pool) abandon(s *stream, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := s.conn
	switch {
	case s.finished: // in the same moment
	case s.waits != nil:
		p.waiters.Remove(s.waits)
		s.waits = nil
		s.finish(neverSent, &NotSentError{Err: err})
	case s.id == 0:
		c.unqueue(s)
		s.finish(neverSent, &NotSentError{Err: err})
		c.freedLocked()
	default:
		inDoubt := s.begun()
		c.cancel(s)
		c.lostLocked(s, err)
		if inDoubt && errors.Is(err, context.DeadlineExceeded) {
			c.missedLocked()
		}
	}
}

// roomLocked returns the least busy connection with room, or nil.
func (p *Pool) roomLocked(avoid *conn) *conn {
	var best *conn
	for _, c := range p.conns {
		// The connection that refused this request is the last choice.
		if c.room() && (best == nil || best == avoid || c != avoid && c.active() < best.active()) {
			best = c
		}
	}
	return best
}

func (p *Pool) assignLocked(c *conn, s *stream) {
	s.conn = c
	c.queue = append(c.queue, s)
	c.kick()
	// Requests that overlap show that the origin is in real use: have all
	// connections then, so that losing one is not losing everything.
	if len(p.conns)+p.dialing < p.cfg.Connections && c.active() > 1 && !time.Now().Before(p.dialAfter) {
		p.startDialLocked()
	}
}

// serveLocked gives room to those who wait, and dials for the rest. It is
// called whenever there may be room that was not there before.
func (p *Pool) serveLocked() {
	if p.waiters.Len() == 0 || p.closed {
		return
	}
	for e := p.waiters.Front(); e != nil; e = p.waiters.Front() {
		s := e.Value.(*stream)
		c := p.roomLocked(s.avoid)
		if c == nil {
			break
		}
		p.waiters.Remove(e)
		s.waits = nil
		p.assignLocked(c, s)
	}
	p.growLocked(time.Now())
}

// waitAgainLocked puts requests that were never handed to their writer back to
// the front of those who wait.
func (p *Pool) waitAgainLocked(queue []*stream) {
	for i := len(queue) - 1; i >= 0; i-- {
		queue[i].conn = nil
		queue[i].waits = p.waiters.PushFront(queue[i])
	}
}

// downLocked reports whether the origin is down, so that new requests fail at
// once: there is no connection, dialFast dials in a row have failed, and the
// pause before the next one has not ended. Shorter pauses are waited for.
func (p *Pool) downLocked(now time.Time) bool {
	return len(p.conns) == 0 && p.dialing == 0 && p.dialFails >= dialFast && now.Before(p.dialAfter)
}

func (p *Pool) failWaitersLocked(err error, retryAfter time.Duration) {
	for e := p.waiters.Front(); e != nil; e = p.waiters.Front() {
		p.waiters.Remove(e)
		s := e.Value.(*stream)
		s.waits = nil
		s.finish(neverSent, &NotSentError{Err: err, RetryAfter: retryAfter})
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
	nc, raw, err := p.connect(ctx)

	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	switch {
	case p.closed:
		if err == nil {
			raw.Close()
		}
	case err != nil:
		p.stats.DialErrors++
		p.dialFailedLocked(err)
	default:
		p.conns = append(p.conns, startConn(p, nc, raw))
		p.serveLocked()
	}
}

// dialFailedLocked sets the pause before the next dial: doubling, with
// jitter so that gateways that lost the same peer do not return together.
func (p *Pool) dialFailedLocked(err error) {
	pause := min(maxDialPause, p.dialPause<<min(p.dialFails, 10))
	pause = pause/2 + rand.N(pause)
	now := time.Now()
	p.dialFails++
	p.dialErr = err
	p.dialAfter = now.Add(pause)
	if p.downLocked(now) {
		p.failWaitersLocked(err, pause)
	}
	if p.redial == nil {
		p.redial = time.AfterFunc(pause, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.growLocked(time.Now())
		})
	} else {
		p.redial.Reset(pause)
	}
}
