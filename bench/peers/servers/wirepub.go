package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
)

// wirePub publishes over a connection of its own with nothing between it and the socket but a buffer, as resp does for Tile38: the
// servers and not their clients are compared. The library takes a lock, a wake-up of a goroutine and a copy more for a message.
type wirePub struct {
	net.Conn
	w      *bufio.Writer
	pinged atomic.Bool // the server wants to know that we live
	failed atomic.Pointer[error]
}

// dialPub connects to a NATS server that asks for no credentials.
func dialPub(server string) (*wirePub, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	p := &wirePub{Conn: c, w: bufio.NewWriterSize(c, 1<<16)}
	r := bufio.NewReaderSize(c, 1<<16)
	ready := make(chan error, 1)
	go p.listen(r, ready)
	if _, err := c.Write([]byte("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n")); err != nil {
		c.Close()
		return nil, err
	}
	if err := <-ready; err != nil {
		c.Close()
		return nil, err
	}
	return p, nil
}

// listen reads what the server says until the connection ends. ready gets nil at its first PONG.
func (p *wirePub) listen(r *bufio.Reader, ready chan<- error) {
	fail := func(err error) {
		p.failed.Store(&err)
		select {
		case ready <- err:
		default:
		}
	}
	for {
		line, err := r.ReadString('\n')
		switch {
		case err != nil:
			fail(err)
			return
		case strings.HasPrefix(line, "-ERR"):
			fail(errors.New("the server says " + strings.TrimSpace(line)))
			return
		case strings.HasPrefix(line, "PING"):
			p.pinged.Store(true)
		case strings.HasPrefix(line, "PONG"):
			select {
			case ready <- nil:
			default:
			}
		}
	}
}

// publish is of a whole PUB, from appendPub.
func (p *wirePub) publish(frame []byte) error {
	if p.pinged.CompareAndSwap(true, false) {
		p.w.WriteString("PONG\r\n")
	}
	if _, err := p.w.Write(frame); err != nil {
		if why := p.failed.Load(); why != nil {
			err = *why
		}
		return err
	}
	return nil
}

// appendPub appends a publish in the protocol of NATS; reply may be "".
func appendPub(dst []byte, subject, reply string, data []byte) []byte {
	if reply != "" {
		reply += " "
	}
	dst = fmt.Appendf(dst, "PUB %s %s%d\r\n", subject, reply, len(data))
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}
