package h2pool

import (
	"container/list"
	"net"
	"slices"
	"time"

	"golang.org/x/net/http2"
)

const (
	// maxStreams bounds the requests on a connection, whatever the peer allows;
	// firstStreams holds until it has said what that is.
	maxStreams   = 1000
	firstStreams = 100
	// maxControl is how many frames we may owe a peer that asks for answers
	// (PING, SETTINGS) and does not read them.
	maxControl = 1000
	// closeTimeout bounds the last frame to a peer, which may not be reading.
	closeTimeout = time.Second

	maxStreamID   = 1<<31 - 1
	maxWindow     = 1<<31 - 1 // RFC 9113 section 6.9.1
	defaultWindow = 65535     // section 6.9.2
	// What the peer may send unasked: on the connection, and for one answer.
	// The latter is never extended.
	connWindow   = 1 << 20
	streamWindow = MaxBody + 16<<10
)

// conn is one connection. read.go holds what its reading goroutine does,
// write.go what its writing one does.
type conn struct {
	pool *Pool
	nc   net.Conn      // HTTP/2 is spoken on it
	raw  net.Conn      // the socket under nc: closing it never waits
	wake chan struct{} // capacity 1: there is something to write, or the end

	// Everything below is guarded by Pool.mu.
	settled bool // the peer's first SETTINGS have come
	open    bool // an answer has been seen: no longer warming
	retired bool
	ended   bool
	goodbye goodbye
	misses  int // deadlines missed since the last answer

	queue    []*stream // for the writer, oldest first
	streams  map[uint32]*stream
	sending  []*stream // of streams: with a body that waits for window
	nextID   uint32
	limit    int    // streams that the peer allows, at most maxStreams
	lastGood uint32 // of the peer's GOAWAY

	sendWindow    int64 // bytes of DATA that the peer takes
	initialWindow int64 // and on a new stream
	recvWindow    int64 // bytes of DATA that the peer may send
	recvOwed      int64 // taken, and not given back yet

	control control

	heard     time.Time // of the last frame
	pings     uint64    // the number of the last one, its content
	pingOwed  bool      // it is not answered yet
	watchdog  *time.Timer
	drainOver *time.Timer
}

// control is what is to be written besides requests.
type control struct {
	acks      int // SETTINGS to acknowledge
	tableSize tableSize
	pongs     [][8]byte
	ping      bool
	window    uint32 // of the connection, to give back
	resets    []reset
}

// tableSize is what the peer allows for header compression: the encoder must
// go through the least on its way to the last (RFC 7541 section 4.2).
type tableSize struct {
	set         bool
	least, last uint32
}

type reset struct {
	id   uint32
	code http2.ErrCode
}

// goodbye is how a connection ends: with a GOAWAY of this code, or cut.
type goodbye int64

const (
	leave goodbye = goodbye(http2.ErrCodeNo)
	cut   goodbye = -1
)

// stream is one attempt to have a request answered. Its fields are guarded by
// Pool.mu until done is closed, and then belong to the caller.
type stream struct {
	req   *Request
	avoid *conn // it has just refused this request
	done  chan struct{}

	waits    *list.Element // among Pool.waiters
	conn     *conn         // nil: waiting
	id       uint32        // 0: not handed to the writer
	sent     int           // bytes of the body that have been handed to it
	ended    bool          // its end has been
	window   int64         // bytes that the peer takes
	received int64         // of DATA, with padding
	resp     Response

	finished bool
	fate     fate
	err      error
}

// begun reports whether the peer can have acted on the request: it cannot when
// it has nothing of the body, and no end of the stream.
func (s *stream) begun() bool { return s.sent > 0 || s.ended }

func (s *stream) finish(f fate, err error) {
	s.finished, s.fate, s.err = true, f, err
	close(s.done)
}

// startConn makes a connection of nc and starts its goroutines. Callers hold
// Pool.mu.
func startConn(p *Pool, nc, raw net.Conn) *conn {
	c := &conn{
		pool: p, nc: nc, raw: raw, wake: make(chan struct{}, 1),
		streams: make(map[uint32]*stream), nextID: 1, limit: firstStreams, lastGood: maxStreamID,
		sendWindow: defaultWindow, initialWindow: defaultWindow, recvWindow: connWindow,
		heard: time.Now(),
	}
	c.watchdog = time.AfterFunc(p.cfg.PingAfter, c.watch)
	p.wg.Go(c.read)
	p.wg.Go(c.write)
	return c
}

// kick wakes the writer.
func (c *conn) kick() {
	select {
	case c.wake <- struct{}{}:
	default: // it has been woken and will see everything
	}
}

// active is how many requests the connection has. As the rest of this file, it
// is for holders of Pool.mu.
func (c *conn) active() int { return len(c.queue) + len(c.streams) }

// room reports whether c can take a request now.
func (c *conn) room() bool {
	if !c.open {
		return !c.retired && c.active() == 0
	}
	return !c.retired && c.active() < c.limit
}

// answeredLocked notes that a status has come on c.
func (c *conn) answeredLocked() {
	p := c.pool
	c.misses = 0
	p.dialFails, p.dialErr = 0, nil
	if !c.open {
		c.open = true
		p.serveLocked()
	}
}

// missedLocked notes that a request was not answered in its time. One is known
// to happen. Two in a row, or one on a connection that has never answered, is a
// dead connection that pings do not find (a middlebox may answer them).
func (c *conn) missedLocked() {
	c.misses++
	if c.misses >= 2 || !c.open {
		c.retireLocked()
	}
}

// endStreamLocked ends s for its caller and gives its place to another.
func (c *conn) endStreamLocked(s *stream, f fate, err error) {
	delete(c.streams, s.id)
	if !s.ended {
		c.sending = without(c.sending, s)
	}
	s.finish(f, err)
	c.freedLocked()
}

// lostLocked ends s, of which no more will come.
func (c *conn) lostLocked(s *stream, err error) {
	switch {
	case s.resp.Status != 0:
		s.resp.BodyErr = err
		c.endStreamLocked(s, answered, nil)
	case s.begun():
		c.endStreamLocked(s, unknown, err)
	default:
		c.endStreamLocked(s, unsent, err)
	}
}

// resetLocked ends s because of what the peer has done.
func (c *conn) resetLocked(s *stream, code http2.ErrCode, err error) {
	c.control.resets = append(c.control.resets, reset{s.id, code})
	c.kick()
	c.lostLocked(s, err)
}

// cancel tells the peer that nobody waits for s any more.
func (c *conn) cancel(s *stream) {
	c.control.resets = append(c.control.resets, reset{s.id, http2.ErrCodeCancel})
	c.kick()
}

func (c *conn) unqueue(s *stream) { c.queue = without(c.queue, s) }

func without(list []*stream, s *stream) []*stream {
	if i := slices.Index(list, s); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// freedLocked is called when a request has left c.
func (c *conn) freedLocked() {
	if c.retired && c.active() == 0 {
		c.endLocked(nil, leave)
		return
	}
	c.pool.serveLocked()
}

// retireLocked takes c out of use. It reports whether it was in use.
func (c *conn) retireLocked() bool {
	if c.retired {
		return false
	}
	p := c.pool
	c.retired = true
	p.stats.Retired++
	p.conns = slices.DeleteFunc(p.conns, func(o *conn) bool { return o == c })
	p.waitAgainLocked(c.queue)
	c.queue = nil
	if c.active() == 0 {
		c.endLocked(nil, leave)
		return true
	}
	p.draining[c] = struct{}{}
	c.drainOver = time.AfterFunc(p.cfg.DrainTimeout, func() { c.end(errDrained, leave) })
	p.serveLocked()
	return true
}

func (c *conn) end(err error, how goodbye) {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	c.endLocked(err, how)
}

// endLocked ends c, for the reason err, which its requests get. Its goroutines
// are gone soon after: a writer that the peer does not read waits no longer
// than closeTimeout. A second call does nothing.
func (c *conn) endLocked(err error, how goodbye) {
	if c.ended {
		return
	}
	p := c.pool
	wanted := c.retired || p.closed
	c.ended, c.retired, c.goodbye = true, true, how
	c.watchdog.Stop()
	if c.drainOver != nil {
		c.drainOver.Stop()
	}
	delete(p.draining, c)
	p.conns = slices.DeleteFunc(p.conns, func(o *conn) bool { return o == c })
	p.waitAgainLocked(c.queue)
	c.queue = nil
	for _, s := range c.streams {
		c.lostLocked(s, err)
	}
	if how == cut {
		c.raw.Close()
	} else {
		c.raw.SetDeadline(time.Now().Add(closeTimeout))
	}
	c.kick()
	if !c.open && !wanted {
		// Accepted and then closed, as overloaded balancers do. Without a pause
		// it would be dialled again in a tight loop.
		p.dialFailedLocked(err)
	}
	p.serveLocked()
}

// watch finds a peer that has fallen silent, by a ping when nothing has come
// for a while. A ping that cannot even be written is one without an answer.
func (c *conn) watch() {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.ended {
		return
	}
	if c.pingOwed {
		c.endLocked(errSilent, cut)
		return
	}
	if quiet := time.Since(c.heard); quiet < p.cfg.PingAfter {
		c.watchdog.Reset(p.cfg.PingAfter - quiet)
		return
	}
	c.pings++
	c.pingOwed, c.control.ping = true, true
	c.kick()
	c.watchdog.Reset(p.cfg.PingTimeout)
}
