package post

import (
	"io"
	"strings"
	"sync"
)

// gate is a request's body that knows whether any of it was handed out, and
// can be shut: a transport may read on after RoundTrip has returned.
type gate struct {
	mu        sync.Mutex
	rest      []byte
	begun     bool
	abandoned bool
}

func (g *gate) Read(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.abandoned {
		return 0, errAbandoned
	}
	g.begun = true
	if len(g.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

func (g *gate) Close() error { return nil }

// abandon ends the handing out and reports whether it had begun.
func (g *gate) abandon() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.abandoned = true
	return g.begun
}

// The texts with which net/http wraps the two errors that promise that a
// request was not processed (RFC 9113 sections 8.7 and 6.8), when it cannot
// repeat the request because its body has been read. There is nothing else to
// know them by; a test against raw frames fails when they change.
const (
	textCannotRetry = "http2: Transport: cannot retry err ["
	textGoAway      = "http2: Transport received Server's graceful shutdown GOAWAY"
	textRefused     = "REFUSED_STREAM"
)

// refused reports whether err is the peer's promise not to have processed the
// request.
func refused(err error) bool {
	inner, ok := strings.CutPrefix(err.Error(), textCannotRetry)
	if !ok {
		return false
	}
	inner, _, _ = strings.Cut(inner, "]")
	return strings.HasPrefix(inner, textGoAway) ||
		strings.HasPrefix(inner, "stream error:") && strings.Contains(inner, textRefused)
}
