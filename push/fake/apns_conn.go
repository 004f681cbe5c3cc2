package fake

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Bounds of one connection. With them a hostile client can keep busy what one
// connection is worth and no more.
const (
	handshakeTimeout = 10 * time.Second
	writeTimeout     = 10 * time.Second
	lingerTimeout    = time.Second
	maxHeaderList    = 16 << 10
	maxFrame         = 16 << 10  // the protocol's least limit
	maxUnsent        = 256 << 10 // bytes for a client that does not read; then we stop reading too
	maxUnackedLimits = 64        // SETTINGS that a client may leave unacknowledged
	initialWindow    = 65535     // RFC 9113, section 6.9.2
	maxWindow        = 1<<31 - 1
)

// apnsConn is one HTTP/2 connection (RFC 9113), server side, on raw frames.
//
// Two goroutines: serve reads and handles frames, write sends what has been
// put into buf, so answers that become ready together leave together. Answers
// with a latency are made by timers. mu guards everything below it and is
// never held while a phone's watcher runs.
//
//	preface ─▶ open (limit 1) ─valid provider token▶ open (limit N)
//	open ─GOAWAY▶ draining: open streams up to the last id are answered
//	draining ─none left▶ flushed, write side shut ─client closes, or 1 s▶ closed
//	open ─Silence▶ silent: frames are read and dropped, until closed
//	any ─Cut, Close, I/O error▶ closed
type apnsConn struct {
	a    *APNs
	raw  net.Conn
	tc   *tls.Conn
	fr   *http2.Framer // reads: serve only; writes: under mu, into buf
	wake chan struct{} // one slot: buf has something, or flush was set
	done chan struct{} // closed by close

	mu         sync.Mutex
	space      sync.Cond // buf became shorter, or closed
	buf        []byte    // frames to send
	hbuf       bytes.Buffer
	henc       *hpack.Encoder
	streams    map[uint32]*apnsStream
	unfinished lateStreams
	highest    uint32 // highest stream id received
	reached    uint32 // highest stream id whose push has been handed to a phone
	limit      uint32 // streams allowed now
	unacked    []uint32
	peerWin    int64 // bytes of DATA the client takes on the connection
	peerIni    int64 // and on a new stream
	owed       int   // bytes received and not yet given back as window

	settled    bool // our SETTINGS are out; nothing may be sent before them
	authorised bool // a valid provider token was seen
	wedged     bool // an expired one was seen
	silent     bool
	goneAway   bool
	lastID     uint32 // of the GOAWAY
	flush      bool   // close when buf has been sent
	closed     bool
}

func newAPNsConn(a *APNs, nc net.Conn) *apnsConn {
	c := &apnsConn{
		a: a, raw: nc, tc: tls.Server(nc, a.tls),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		streams: make(map[uint32]*apnsStream), limit: 1, unacked: []uint32{1},
		peerWin: initialWindow, peerIni: initialWindow,
	}
	c.space.L = &c.mu
	c.henc = hpack.NewEncoder(&c.hbuf)
	c.fr = http2.NewFramer((*connBuffer)(c), bufio.NewReaderSize(c.tc, 8<<10))
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fr.MaxHeaderListSize = maxHeaderList
	c.fr.SetMaxReadFrameSize(maxFrame)
	c.fr.SetReuseFrames()
	return c
}

// connBuffer is the writer under the Framer: it collects frames in c.buf.
type connBuffer apnsConn

func (b *connBuffer) Write(p []byte) (int, error) {
	b.buf = append(b.buf, p...)
	return len(p), nil
}

// serve runs the connection until it is closed.
func (c *apnsConn) serve() {
	defer c.close()
	c.raw.SetDeadline(time.Now().Add(handshakeTimeout))
	preface := make([]byte, len(http2.ClientPreface))
	if err := c.tc.Handshake(); err != nil || c.tc.ConnectionState().NegotiatedProtocol != "h2" {
		return
	}
	// The framer's own buffered reader is not in use yet, so reading exactly
	// the preface here loses nothing.
	if _, err := io.ReadFull(c.tc, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	c.raw.SetDeadline(time.Time{})
	c.mu.Lock()
	c.fr.WriteSettings(
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeaderList},
	)
	c.settled = true
	c.kick()
	c.mu.Unlock()
	c.a.wg.Go(c.write)
	for first := true; ; first = false {
		f, err := c.fr.ReadFrame()
		if err == nil && first {
			if _, ok := f.(*http2.SettingsFrame); !ok {
				err = http2.ConnectionError(http2.ErrCodeProtocol)
			}
		}
		var next func()
		if err == nil {
			next, err = c.handle(f)
		}
		if err != nil && !c.survive(err) {
			return
		}
		if next != nil {
			next()
		}
	}
}

// survive deals with an error of reading or handling and reports whether the
// connection goes on: after a stream's error yes, after a connection's error
// until the client has had its GOAWAY, after an I/O error no.
func (c *apnsConn) survive(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if se, ok := errors.AsType[http2.StreamError](err); ok {
		c.a.stats.protocolErrors.Add(1)
		c.highest = max(c.highest, se.StreamID)
		c.reset(se.StreamID, se.Code)
		return !c.closed
	}
	code := http2.ErrCodeNo
	if ce, ok := errors.AsType[http2.ConnectionError](err); ok {
		code = http2.ErrCode(ce)
	} else if errors.Is(err, http2.ErrFrameTooLarge) {
		code = http2.ErrCodeFrameSize
	} else {
		return false
	}
	if c.flush || c.closed {
		return false // the second error: the client has been told
	}
	c.a.stats.protocolErrors.Add(1)
	c.a.stats.goAways.Add(1)
	c.dropStreams(0)
	c.fr.WriteGoAway(c.highest, code, nil)
	c.goneAway, c.lastID, c.flush = true, 0, true
	c.kick()
	c.mu.Unlock()
	// Reading on keeps the kernel from resetting the connection over unread
	// input before the client has read its GOAWAY.
	io.Copy(io.Discard, c.tc)
	c.mu.Lock()
	return false
}

// write sends what the others put into buf.
func (c *apnsConn) write() {
	var spare []byte
	for {
		select {
		case <-c.wake:
		case <-c.done:
			return
		}
		for {
			c.mu.Lock()
			out, last := c.buf, c.flush
			c.buf = spare[:0]
			c.space.Broadcast()
			c.mu.Unlock()
			if len(out) == 0 {
				if last {
					// Shut our side only, and give the client a moment to read: a
					// full close with input unread would reset the connection and
					// take the last answers with it.
					c.tc.CloseWrite()
					c.raw.SetReadDeadline(time.Now().Add(lingerTimeout))
					return
				}
				spare = out
				break
			}
			c.raw.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := c.tc.Write(out); err != nil {
				c.close()
				return
			}
			spare = out
		}
	}
}

// kick wakes the writer. Callers hold mu.
func (c *apnsConn) kick() {
	select {
	case c.wake <- struct{}{}:
	default: // it has been woken and will see everything
	}
}

// close cuts the connection at once; a second call does nothing.
func (c *apnsConn) close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	c.dropStreams(0)
	c.space.Broadcast()
	close(c.done)
	c.mu.Unlock()
	// Not tc.Close: that waits for a client that does not read.
	c.raw.Close()
}

// announceLimit sends a new stream limit to an authorised connection.
func (c *apnsConn) announceLimit(n uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.authorised {
		c.setLimit(n)
	}
}

// setLimit tells the client its new limit. A higher one holds at once, since
// the client may act on it as soon as it arrives; a lower one when the client
// has acknowledged it. Callers hold mu.
func (c *apnsConn) setLimit(n uint32) {
	if c.closed || c.silent || c.flush {
		return
	}
	if len(c.unacked) == maxUnackedLimits {
		c.raw.Close() // a client that acknowledges nothing; serve will notice
		return
	}
	c.unacked = append(c.unacked, n)
	c.limit = max(c.limit, n)
	c.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: n})
	c.kick()
}

// acknowledged moves to the oldest limit that was not acknowledged yet; those
// announced after it may be in use already if they are higher. Callers hold mu.
func (c *apnsConn) acknowledged() {
	if len(c.unacked) == 0 {
		return
	}
	c.limit = c.unacked[0]
	c.unacked = c.unacked[1:]
	for _, n := range c.unacked {
		c.limit = max(c.limit, n)
	}
}
