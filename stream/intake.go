package stream

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// natsPipe is the intake from the embedded server: the receiving half of a NATS client, on a connection inside the
// process. The client library makes of each message an object with memory of its own and passes it through a channel,
// which costs about as much as all that door and decoder do with a small ping; here messages stay where they were read.
// It knows the lines that a server may send to a client: INFO, MSG, HMSG, PING, PONG, +OK and -ERR
// (https://docs.nats.io/reference/reference-protocols/nats-protocol). Answers go out on another connection.
type natsPipe struct {
	dial     func() (net.Conn, error)
	token    string
	subjects []string
	queue    string
	now      func() time.Time

	mu    sync.Mutex
	out   chan []byte     // to the server; of the connection at hand
	pongs []chan struct{} // who waits for the server's answers to our pings, in order
}

var errPipe = errors.New("stream: the NATS server said something unknown")

// run reads until ctx ends and what had arrived by then is passed on. A connection that breaks is made again. ready is
// called when the server has the subscriptions for the first time.
func (p *natsPipe) run(ctx context.Context, c *collector, ready func()) error {
	for {
		err := p.once(ctx, c, ready)
		if ctx.Err() != nil {
			return nil
		}
		c.log.Warn("the connection that takes in pings broke; opening it again", "err", err)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
}

// once reads one connection to its end.
func (p *natsPipe) once(ctx context.Context, c *collector, ready func()) error {
	conn, err := p.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	// Writing has a goroutine of its own: a pipe's write waits for the other end, which may be waiting for us to read.
	out := make(chan []byte, 16)
	p.mu.Lock()
	p.out = out
	p.mu.Unlock()
	end := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for {
			select {
			case b := <-out:
				if _, err := conn.Write(b); err != nil {
					return
				}
			case <-end:
				return
			}
		}
	})
	defer writing.Wait()
	defer func() {
		close(end)
		_ = conn.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, waiting := range p.pongs {
			close(waiting)
		}
		p.pongs, p.out = nil, nil
	}()

	hello := map[string]any{
		"verbose": false, "pedantic": false, "headers": true, "protocol": 1, "lang": "go", "version": "footfall", "name": "footfall intake",
	}
	if p.token != "" {
		hello["auth_token"] = p.token
	}
	text, err := json.Marshal(hello)
	if err != nil {
		return err
	}
	b := append(append([]byte("CONNECT "), text...), "\r\n"...)
	for i, s := range p.subjects {
		b = fmt.Appendf(b, "SUB %s %s %d\r\n", s, p.queue, i+1)
	}
	out <- b
	p.ping(func() { ready() })

	stop := context.AfterFunc(ctx, func() {
		var b []byte
		for i := range p.subjects {
			b = fmt.Appendf(b, "UNSUB %d\r\n", i+1)
		}
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		select {
		case out <- b:
			p.ping(func() { _ = conn.Close() }) // everything before has been read by then
		case <-end:
		}
	})
	defer stop()
	return p.read(conn, c)
}

// ping calls fn when the server has answered a ping that is sent now: everything that it had sent before
// has been passed on by then. fn is not called when the connection breaks before.
func (p *natsPipe) ping(fn func()) {
	answered := p.sendPing()
	if answered == nil {
		return
	}
	go func() {
		if _, broken := <-answered; broken {
			fn()
		}
	}()
}

// sendPing returns a channel that gets a value for the answer and is closed when the connection breaks; nil when there
// is none.
func (p *natsPipe) sendPing() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out == nil {
		return nil
	}
	answered := make(chan struct{}, 1)
	select {
	case p.out <- []byte("PING\r\n"):
		p.pongs = append(p.pongs, answered)
	default:
		return nil
	}
	return answered
}

// sync returns when what the server had for us when it was called has been passed on.
func (p *natsPipe) sync(ctx context.Context) error {
	answered := p.sendPing()
	if answered == nil {
		return nil
	}
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	// readBytes is how much is read at once, at least: a larger message gets the room it needs.
	readBytes = 64 << 10
	// keepBytes is the room that is kept: twice the largest message of the server in this process. To give it back after each
	// large one meant 450 kB of fresh memory for a message of 250 kB, and a flood of these held up everybody.
	keepBytes = 2 << 20
)

// read passes on what comes until the connection ends.
func (p *natsPipe) read(conn net.Conn, c *collector) error {
	buf := make([]byte, 0, readBytes)
	for {
		n, err := conn.Read(buf[len(buf):cap(buf)])
		if n > 0 {
			buf = buf[:len(buf)+n]
			c.look()
			parsed, pongs, perr := p.parse(buf, p.now().UnixMicro(), c)
			if parsed > 0 {
				c.door.knock()
			}
			for range pongs {
				p.pong()
			}
			rest := buf[parsed:]
			switch {
			case len(rest) == cap(buf): // one message that is larger than what is there
				buf = append(make([]byte, 0, 2*cap(buf)), rest...)
			case cap(buf) > keepBytes && len(rest) < readBytes:
				buf = append(make([]byte, 0, readBytes), rest...)
			default:
				buf = append(buf[:0], rest...)
			}
			err = cmp.Or(perr, err)
		}
		if err != nil {
			return err
		}
	}
}

func (p *natsPipe) pong() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pongs) > 0 {
		p.pongs[0] <- struct{}{}
		p.pongs = p.pongs[1:]
	}
}

// parse takes the whole lines and messages at the front of buf, which came at atUS, and reports how many bytes they are and how
// many pongs were among them.
func (p *natsPipe) parse(buf []byte, atUS int64, c *collector) (parsed, pongs int, err error) {
	messages := int64(0)
	defer func() { c.count.messages.Add(messages) }()
	for {
		rest := buf[parsed:]
		eol := bytes.IndexByte(rest, '\n')
		if eol < 1 {
			if len(rest) > 8<<10 {
				return parsed, pongs, fmt.Errorf("%w: a line of %d bytes", errPipe, len(rest))
			}
			return parsed, pongs, nil
		}
		line := rest[:eol]
		if line[eol-1] == '\r' {
			line = line[:eol-1]
		}
		switch {
		case len(line) > 4 && string(line[:4]) == "MSG ", len(line) > 5 && string(line[:5]) == "HMSG ":
			m, ok := parseMsg(line)
			if !ok {
				return parsed, pongs, fmt.Errorf("%w: %.80q", errPipe, line)
			}
			end := eol + 1 + m.total + 2
			if len(rest) < end {
				return parsed, pongs, nil
			}
			c.let(atUS, view(m.subject), view(m.reply), rest[eol+1+m.header:eol+1+m.total])
			messages++
			parsed += end
			continue
		case string(line) == "PING":
			p.mu.Lock()
			select {
			case p.out <- []byte("PONG\r\n"):
			default: // the server asks again before it gives up
			}
			p.mu.Unlock()
		case string(line) == "PONG":
			pongs++
		case len(line) > 4 && string(line[:4]) == "-ERR":
			return parsed, pongs, fmt.Errorf("stream: the NATS server refused the intake: %s", line[4:])
		case len(line) >= 4 && string(line[:4]) == "INFO", string(line) == "+OK":
		default:
			return parsed, pongs, fmt.Errorf("%w: %.80q", errPipe, line)
		}
		parsed += eol + 1
	}
}

// msgLine is what a MSG or HMSG line says. total counts the header's bytes too.
type msgLine struct {
	subject, reply []byte
	header, total  int
}

// parseMsg reads "MSG subject sid [reply] total" and "HMSG subject sid [reply] header total".
func parseMsg(line []byte) (m msgLine, ok bool) {
	var tokens [6][]byte
	n := 0
	for i, from := 0, 0; i <= len(line); i++ {
		if i < len(line) && line[i] != ' ' {
			continue
		}
		if i > from {
			if n == len(tokens) {
				return m, false
			}
			tokens[n] = line[from:i]
			n++
		}
		from = i + 1
	}
	sizes := 1
	if line[0] == 'H' {
		sizes = 2
	}
	if n != 3+sizes && n != 4+sizes {
		return m, false
	}
	m.subject = tokens[1]
	if n == 4+sizes {
		m.reply = tokens[3]
	}
	if m.total, ok = number(tokens[n-1]); ok && sizes == 2 {
		m.header, ok = number(tokens[n-2])
	}
	return m, ok && m.header <= m.total
}

// number is a size in decimal digits, at most 64 MiB.
func number(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = 10*n + int(c-'0'); n > 64<<20 {
			return 0, false
		}
	}
	return n, len(b) > 0
}
