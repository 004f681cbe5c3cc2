package h2pool

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// Request is one request to the pool's origin. It belongs to the pool for
// good: nothing in it may change after Do was called, not even after Do has
// returned.
type Request struct {
	Method string
	Path   string // with a query
	// PathVaries says that hardly any two requests have the same path.
	PathVaries bool
	// Header are the fields, with names in lower case, without those that the
	// pool writes: pseudo fields and content-length. Sensitive ones, which
	// include all whose value is new each time, stay out of the compression
	// state; the others take one byte when they are repeated.
	Header []hpack.HeaderField
	Body   []byte
}

// Response is the answer to a Request.
type Response struct {
	Status int
	Fields []hpack.HeaderField // without pseudo fields; trailers are dropped
	Body   []byte
	// BodyErr is why Body is not all of it. The status holds all the same.
	BodyErr error

	conn   *conn
	length int64 // announced; -1: not
}

// Header returns the fields in the form of net/http.
func (r *Response) Header() http.Header {
	h := make(http.Header, len(r.Fields))
	for _, f := range r.Fields {
		h.Add(f.Name, f.Value)
	}
	return h
}

// MaxBody is the longest body of an answer. Of a longer one this much is kept,
// with ErrBodyTooLong.
const MaxBody = 64 << 10

const (
	// maxMoves bounds how often one request changes connections. A rolling
	// restart of the peer costs one or two; more means that it is not well.
	maxMoves     = 5
	refusedPause = 5 * time.Millisecond
)

// Do sends r once and waits for the whole answer. ctx bounds both the wait for
// a connection and that for the answer.
//
// An error that is a *NotSentError proves that the peer's application has not
// seen the request. Any other error means that nobody knows. A request that
// the peer promised not to have processed (refused stream, GOAWAY below its
// id, connection lost before any of its body was written) is moved to another
// connection, a few times, before it becomes a NotSentError.
func (p *Pool) Do(ctx context.Context, r *Request) (*Response, error) {
	if err := check(r); err != nil {
		return nil, &NotSentError{Err: err}
	}
	if err := ctx.Err(); err != nil {
		return nil, &NotSentError{Err: err}
	}
	var last *conn
	for moves := 0; ; moves++ {
		s := &stream{req: r, avoid: last, done: make(chan struct{})}
		p.submit(s)
		select {
		case <-s.done:
		case <-ctx.Done():
			p.abandon(s, ctx.Err())
		}
		switch {
		case s.fate == answered:
			return &s.resp, nil
		case s.fate == unknown:
			return nil, fmt.Errorf("h2pool: %w", s.err)
		case s.fate == neverSent:
			return nil, s.err
		case ctx.Err() != nil:
			return nil, &NotSentError{Err: ctx.Err()}
		case s.fate == refusedForGood || moves == maxMoves:
			return nil, &NotSentError{Err: s.err}
		}
		p.mu.Lock()
		p.stats.Moved++
		p.mu.Unlock()
		last = s.conn
		if s.fate == refused {
			// The peer is short of streams and has not said so in SETTINGS yet.
			select {
			case <-time.After(refusedPause << moves):
			case <-ctx.Done():
				return nil, &NotSentError{Err: ctx.Err()}
			}
		}
	}
}

// check refuses what the peer would take for an attack on the connection.
func check(r *Request) error {
	if !httpguts.ValidHeaderFieldName(r.Method) {
		return fmt.Errorf("h2pool: method %q", r.Method)
	}
	if !strings.HasPrefix(r.Path, "/") || !httpguts.ValidHeaderFieldValue(r.Path) {
		return errors.New("h2pool: a path that does not begin with / or has control characters")
	}
	for _, f := range r.Header {
		if !httpguts.ValidHeaderFieldName(f.Name) || strings.ToLower(f.Name) != f.Name {
			return fmt.Errorf("h2pool: header name %q", f.Name)
		}
		if !httpguts.ValidHeaderFieldValue(f.Value) {
			return fmt.Errorf("h2pool: header %s has control characters", f.Name)
		}
	}
	return nil
}
