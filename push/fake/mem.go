package fake

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// MemListener is a listener without a network: connections are pairs of
// buffers in memory. Give it to a fake as its Listener and its DialContext to
// the client's transport, and the whole exchange, TLS included, can run inside
// a testing/synctest bubble, where a real socket would stop the fake clock.
type MemListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewMemListener returns a listener that is ready to be dialled.
func NewMemListener() *MemListener {
	return &MemListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept waits for DialContext.
func (l *MemListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and DialContext; connections that exist live on.
func (l *MemListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr is 127.0.0.1:443, for which the fakes' certificates are good; nothing
// listens there.
func (l *MemListener) Addr() net.Addr { return memAddr }

var memAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}

// DialContext connects to the listener, whatever address it is given.
func (l *MemListener) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	a, b := newMemBuffer(), newMemBuffer()
	select {
	case l.conns <- &memConn{in: a, out: b}:
		return &memConn{in: b, out: a}, nil
	case <-l.done:
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: memAddr, Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: memAddr, Err: ctx.Err()}
	}
}

// memCapacity is how much one direction holds before a writer waits, as a
// socket buffer would. net.Pipe holds nothing, and two HTTP/2 ends that both
// write would wait for each other for ever.
const memCapacity = 256 << 10

var errMemClosed = errors.New("fake: connection is closed")

// memBuffer is one direction of a connection. Safe for concurrent use.
type memBuffer struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change
	data     []byte
	finished bool // the writing end has closed: EOF after data
	broken   bool // the reading end has closed: writes fail
}

func newMemBuffer() *memBuffer { return &memBuffer{changed: make(chan struct{})} }

// touch wakes everybody who waits. Callers hold mu.
func (b *memBuffer) touch() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// memConn is one end of a connection.
type memConn struct {
	in, out  *memBuffer
	readEnd  memDeadline
	writeEnd memDeadline
}

func (c *memConn) Read(p []byte) (int, error) {
	for {
		if c.readEnd.passed() {
			return 0, os.ErrDeadlineExceeded
		}
		c.in.mu.Lock()
		if c.in.broken {
			c.in.mu.Unlock()
			return 0, net.ErrClosed
		}
		if len(c.in.data) > 0 {
			n := copy(p, c.in.data)
			c.in.data = c.in.data[n:]
			c.in.touch()
			c.in.mu.Unlock()
			return n, nil
		}
		end, changed := c.in.finished, c.in.changed
		c.in.mu.Unlock()
		if end {
			return 0, io.EOF
		}
		if err := c.readEnd.wait(changed); err != nil {
			return 0, err
		}
	}
}

func (c *memConn) Write(p []byte) (n int, err error) {
	for {
		if c.writeEnd.passed() {
			return n, os.ErrDeadlineExceeded
		}
		c.out.mu.Lock()
		if c.out.finished || c.out.broken {
			c.out.mu.Unlock()
			return n, errMemClosed
		}
		if k := min(len(p), memCapacity-len(c.out.data)); k > 0 {
			c.out.data = append(c.out.data, p[:k]...)
			n, p = n+k, p[k:]
			c.out.touch()
		}
		changed := c.out.changed
		c.out.mu.Unlock()
		if len(p) == 0 {
			return n, nil
		}
		if err := c.writeEnd.wait(changed); err != nil {
			return n, err
		}
	}
}

func (c *memConn) Close() error {
	c.in.mu.Lock()
	c.in.broken = true
	c.in.touch()
	c.in.mu.Unlock()
	c.out.mu.Lock()
	c.out.finished = true
	c.out.touch()
	c.out.mu.Unlock()
	return nil
}

func (c *memConn) LocalAddr() net.Addr  { return memAddr }
func (c *memConn) RemoteAddr() net.Addr { return memAddr }

func (c *memConn) SetDeadline(t time.Time) error {
	c.readEnd.set(t)
	c.writeEnd.set(t)
	return nil
}

func (c *memConn) SetReadDeadline(t time.Time) error  { c.readEnd.set(t); return nil }
func (c *memConn) SetWriteDeadline(t time.Time) error { c.writeEnd.set(t); return nil }

// memDeadline is a deadline that can be moved while somebody waits for it.
type memDeadline struct {
	mu    sync.Mutex
	at    time.Time
	moved chan struct{} // closed at the next set, nil when nobody waits
}

func (d *memDeadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	if d.moved != nil {
		close(d.moved)
		d.moved = nil
	}
}

// passed reports whether the deadline is over; then even what could be done at
// once is refused, as on a socket.
func (d *memDeadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.at.IsZero() && !time.Now().Before(d.at)
}

// wait returns nil when the buffer has changed or the deadline was moved, and
// os.ErrDeadlineExceeded when it has passed.
func (d *memDeadline) wait(changed <-chan struct{}) error {
	d.mu.Lock()
	if d.moved == nil {
		d.moved = make(chan struct{})
	}
	at, moved := d.at, d.moved
	d.mu.Unlock()
	var expired <-chan time.Time
	if !at.IsZero() {
		left := time.Until(at)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		t := time.NewTimer(left)
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-changed:
	case <-moved:
	case <-expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}
