// Package h2test is an HTTP/2 server over TLS for the tests of providers.
package h2test

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// Server runs until the test ends.
type Server struct {
	URL     string
	RootCAs *x509.CertPool

	handle   atomic.Pointer[Handler]
	requests atomic.Int64
	conns    atomic.Int64
	done     chan struct{}
}

// Handler answers a request whose body has been read.
type Handler func(w http.ResponseWriter, r *http.Request, body []byte)

// Start serves h. Requests for which uncounted is true are not counted.
func Start(t testing.TB, h Handler, uncounted func(*http.Request) bool) *Server {
	t.Helper()
	s := &Server{RootCAs: x509.NewCertPool(), done: make(chan struct{})}
	s.Handle(h)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // given up before it was whole
		}
		if uncounted == nil || !uncounted(r) {
			s.requests.Add(1)
		}
		(*s.handle.Load())(w, r, body)
	}))
	srv.EnableHTTP2 = true
	srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		s.conns.Add(1)
		return context.WithValue(ctx, connKey{}, c)
	}
	srv.StartTLS()
	s.URL = srv.URL
	s.RootCAs.AddCert(srv.Certificate())
	t.Cleanup(func() {
		close(s.done)
		srv.CloseClientConnections()
		srv.Close()
	})
	return s
}

type connKey struct{}

// Handle replaces the handler.
func (s *Server) Handle(h Handler) { s.handle.Store(&h) }

// Requests is how many whole requests have come.
func (s *Server) Requests() int { return int(s.requests.Load()) }

// Conns is how many connections have come.
func (s *Server) Conns() int { return int(s.conns.Load()) }

// Cut closes the connection of r without an answer.
func (s *Server) Cut(r *http.Request) { r.Context().Value(connKey{}).(net.Conn).Close() }

// Hang waits until the client gives up or the test ends.
func (s *Server) Hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.done:
	}
}
