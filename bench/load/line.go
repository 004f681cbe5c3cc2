package load

import (
	"net"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// line is one connection of phones. The client library makes and keeps it: it dials, answers the server's pings and reads
// what comes back. Only publishing goes past the library, whose lock and flusher are shared with goroutines that may have lost
// their processor: the sender, which runs ahead of them all, would wait for the one that holds the lock, and on a machine at its limit that
// is what most of the generator's lag was.
type line struct {
	nc *nats.Conn
	// mu keeps what the library writes (pongs, now and then) and what we write apart. The library writes whole
	// lines of the protocol at a time.
	mu   sync.Mutex
	conn atomic.Pointer[net.Conn]
	buf  []byte // of the sender
}

// dial opens a line with the client library's options. Behind TLS the library has to write itself.
func dial(url string, opts []nats.Option) (*line, error) {
	l := new(line)
	nc, err := nats.Connect(url, append(opts, nats.SetCustomDialer(l))...)
	if err != nil {
		return nil, err
	}
	l.nc = nc
	return l, nil
}

// Dial implements nats.CustomDialer.
func (l *line) Dial(network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.Dial(network, address)
	if err != nil {
		return nil, err
	}
	l.conn.Store(&conn)
	return &sharedConn{conn, l}, nil
}

// SkipTLSHandshake implements the other half of what the library asks of a dialer.
func (l *line) SkipTLSHandshake() bool { return false }

// sharedConn is a line's connection as the library has it.
type sharedConn struct {
	net.Conn
	line *line
}

func (c *sharedConn) Write(b []byte) (int, error) {
	c.line.mu.Lock()
	defer c.line.mu.Unlock()
	return c.Conn.Write(b)
}

// publish has the kernel take one message before it returns. It is for one goroutine at a time.
func (l *line) publish(subject, reply string, data []byte) error {
	if _, err := l.nc.TLSConnectionState(); err == nil {
		return l.nc.PublishRequest(subject, reply, data)
	}
	b := append(append(l.buf[:0], "PUB "...), subject...)
	if reply != "" {
		b = append(append(b, ' '), reply...)
	}
	b = append(strconv.AppendInt(append(b, ' '), int64(len(data)), 10), "\r\n"...)
	b = append(append(b, data...), "\r\n"...)
	l.buf = b
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := (*l.conn.Load()).Write(b)
	return err
}

// hangUp ends a publish that the other side keeps waiting. The line is of no use afterwards.
func (l *line) hangUp() { _ = (*l.conn.Load()).Close() }
