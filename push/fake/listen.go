package fake

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// acceptLoop hands connections to fn until the listener is closed. Any other
// error (too many open files, usually) passes by itself, so it waits a little
// and goes on.
func acceptLoop(ln net.Listener, fn func(net.Conn)) {
	for {
		nc, err := ln.Accept()
		if err == nil {
			fn(nc)
			continue
		}
		var ne net.Error
		if errors.Is(err, net.ErrClosed) || !errors.As(err, &ne) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// errorsWithClose closes ln because of err and returns both errors as one.
func errorsWithClose(ln net.Listener, err error) error {
	return errors.Join(err, ln.Close())
}

// cappedListener closes connections over a limit at once and can silence the
// others. It is the listener under net/http, which has no such limit.
type cappedListener struct {
	net.Listener
	max    int64
	counts *fcmCounters
}

func (l *cappedListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.counts.open.Add(1) > l.max {
			l.counts.open.Add(-1)
			l.counts.refusedConnections.Add(1)
			nc.Close()
			continue
		}
		l.counts.connections.Add(1)
		return &quietConn{Conn: nc, open: &l.counts.open}, nil
	}
}

// quietConn is a connection that can be made to swallow everything written to
// it, below TLS, so that the peer sees a live socket and a dead server.
type quietConn struct {
	net.Conn
	silent atomic.Bool
	closed atomic.Bool
	open   *atomic.Int64
}

func (c *quietConn) Write(p []byte) (int, error) {
	if c.silent.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *quietConn) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// connKey finds the connection of a request in its context.
type connKey struct{}

// connOf returns the connection below TLS that a request came on.
func connOf(ctx context.Context) *quietConn {
	if tc, ok := ctx.Value(connKey{}).(*tls.Conn); ok {
		if qc, ok := tc.NetConn().(*quietConn); ok {
			return qc
		}
	}
	return nil
}
