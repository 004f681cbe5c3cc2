package h2pool

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawServer is an HTTP/2 server on bare frames: only that can refuse a
// stream, choose the last id of a GOAWAY or fall silent.
type rawServer struct {
	t       *testing.T
	ln      net.Listener
	roots   *x509.CertPool
	limit   uint32 // first SETTINGS
	request func(c *rawConn, id uint32, body string)

	settings []http2.Setting // beside the limit, in the first SETTINGS

	mu    sync.Mutex
	frame func(c *rawConn, f http2.Frame) // nil, or called with each frame, under rawConn.mu
	conns []*rawConn
	seen  map[string]int // complete requests by body
}

// rawConn is one connection of a client. Its fields are guarded by mu.
type rawConn struct {
	srv *rawServer
	nc  net.Conn
	n   int // ordinal, from 0

	mu      sync.Mutex
	fr      *http2.Framer
	enc     *hpack.Encoder
	encBuf  bytes.Buffer
	bodies  map[uint32]string
	open    map[uint32]bool
	limit   uint32 // the first one at once, later ones when acknowledged
	pending []uint32
	refused int
	peak    int
	mute    bool // answer nothing, not even pings
}

// startRaw serves until the test ends. request is called on the connection's
// reading goroutine when a request is complete.
func startRaw(t *testing.T, limit uint32, request func(c *rawConn, id uint32, body string)) *rawServer {
	t.Helper()
	// httptest makes the certificate; its server is not used.
	hs := httptest.NewUnstartedServer(http.NotFoundHandler())
	hs.StartTLS()
	cert, roots := hs.TLS.Certificates[0], x509.NewCertPool()
	roots.AddCert(hs.Certificate())
	hs.Close()

	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{t: t, ln: ln, roots: roots, limit: limit, request: request, seen: make(map[string]int)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(s.newConn(nc).serve)
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			c.nc.Close()
		}
		s.mu.Unlock()
		wg.Wait()
	})
	return s
}

func (s *rawServer) newConn(nc net.Conn) *rawConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &rawConn{srv: s, nc: nc, n: len(s.conns), bodies: map[uint32]string{}, open: map[uint32]bool{}, limit: s.limit}
	s.conns = append(s.conns, c)
	return c
}

func (s *rawServer) origin() string { return "https://" + s.ln.Addr().String() }

func (s *rawServer) conn(i int) *rawConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[i]
}

func (s *rawServer) dials() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *rawServer) seenOf(body string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[body]
}

func (c *rawConn) serve() {
	defer c.nc.Close()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := readFull(c.nc, preface); err != nil {
		return
	}
	c.mu.Lock()
	c.fr = http2.NewFramer(c.nc, c.nc)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.encBuf)
	c.mu.Unlock()
	c.settings(c.srv.limit, c.srv.settings...)
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			return
		}
		c.srv.mu.Lock()
		observe := c.srv.frame
		c.srv.mu.Unlock()
		if observe != nil {
			c.mu.Lock()
			observe(c, f)
			c.mu.Unlock()
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			c.mu.Lock()
			if f.IsAck() {
				if len(c.pending) > 0 {
					c.limit, c.pending = c.pending[0], c.pending[1:]
				}
			} else if !c.mute {
				c.fr.WriteSettingsAck()
			}
			c.mu.Unlock()
		case *http2.PingFrame:
			c.mu.Lock()
			if !f.IsAck() && !c.mute {
				c.fr.WritePing(true, f.Data)
			}
			c.mu.Unlock()
		case *http2.MetaHeadersFrame:
			c.mu.Lock()
			if uint32(len(c.open)) >= c.limit {
				c.refused++
				c.fr.WriteRSTStream(f.StreamID, http2.ErrCodeRefusedStream)
			} else {
				c.open[f.StreamID] = true
				c.peak = max(c.peak, len(c.open))
			}
			c.mu.Unlock()
			if f.StreamEnded() {
				c.srv.request(c, f.StreamID, "")
			}
		case *http2.DataFrame:
			c.mu.Lock()
			ok := c.open[f.StreamID]
			if f.Length > 0 && !c.mute {
				c.fr.WriteWindowUpdate(0, f.Length)
			}
			c.bodies[f.StreamID] += string(f.Data())
			body := c.bodies[f.StreamID]
			c.mu.Unlock()
			if ok && f.StreamEnded() {
				c.srv.request(c, f.StreamID, body)
			}
		case *http2.RSTStreamFrame:
			c.mu.Lock()
			delete(c.open, f.StreamID)
			c.mu.Unlock()
		}
	}
}

func readFull(nc net.Conn, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m, err := nc.Read(b[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// took notes that the application has seen the request.
func (c *rawConn) took(body string) {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.srv.seen[body]++
}

func (c *rawConn) settings(limit uint32, more ...http2.Setting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, limit)
	c.fr.WriteSettings(append(more, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: limit})...)
}

func (c *rawConn) respond(id uint32, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mute || !c.open[id] {
		return
	}
	delete(c.open, id)
	c.encBuf.Reset()
	c.enc.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.encBuf.Bytes(), EndHeaders: true, EndStream: true})
}

func (c *rawConn) reset(id uint32, code http2.ErrCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, id)
	c.fr.WriteRSTStream(id, code)
}

func (c *rawConn) goAway(last uint32, code http2.ErrCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fr.WriteGoAway(last, code, []byte(`{"reason":"Shutdown"}`))
}

func (c *rawConn) setMute() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = true
}
