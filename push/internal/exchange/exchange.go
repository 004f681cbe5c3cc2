// Package exchange records what happens on the wire during one Send, for
// providers that are built on vendor libraries.
//
// The libraries lose what the queue must know: the status when a body is not
// JSON, the headers, whether there was a request at all; and some repeat a
// request by themselves. [Transport] sits below the library, keeps the whole
// answer in the [Exchange] of the call and lets exactly one request through.
package exchange

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"footfall/push"
	"footfall/push/h2pool"
)

// maxBody is how much of an answer is kept. Real ones are under 2 KB.
const maxBody = 64 << 10

// Exchange is one request and its answer.
type Exchange struct {
	// Requests is how often the library asked for a request. Only the first
	// was made.
	Requests int
	// Status is 0 when there was no answer.
	Status int
	Header http.Header
	Body   []byte
	// Err is why there was no answer, or, with a Status, why its body is cut.
	Err error

	mu sync.Mutex
}

type key struct{}

// With returns a context whose requests are recorded in the Exchange.
func With(ctx context.Context) (context.Context, *Exchange) {
	x := new(Exchange)
	return context.WithValue(ctx, key{}, x), x
}

// ErrRepeated is what a library gets when it tries to send again by itself.
var ErrRepeated = errors.New("exchange: one Send is one request")

// Transport is an http.RoundTripper for contexts made by With.
type Transport struct {
	Base http.RoundTripper
	// Answered is called with every complete answer, before the library sees
	// it; raw is the response as Base returned it, its body already read.
	Answered func(x *Exchange, raw *http.Response)
	// Quiet hides failures from a library that repeats requests on network
	// errors and on 503: it gets answers with statuses that it does not know,
	// StatusNoAnswer and StatusUnavailable. The Exchange keeps the truth.
	Quiet bool
}

// Statuses that a quiet Transport shows to the library.
const (
	StatusUnavailable = 598
	StatusNoAnswer    = 599
)

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x, ok := req.Context().Value(key{}).(*Exchange)
	if !ok {
		x = new(Exchange)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.Requests++
	if x.Requests > 1 {
		if req.Body != nil {
			req.Body.Close()
		}
		return t.fail(req, ErrRepeated)
	}
	resp, err := t.Base.RoundTrip(req)
	if err != nil {
		x.Err = err
		return t.fail(req, err)
	}
	x.Status, x.Header = resp.StatusCode, resp.Header
	x.Body, x.Err = ReadBody(resp)
	if t.Answered != nil {
		t.Answered(x, resp)
	}
	if x.Err != nil {
		return t.fail(req, x.Err)
	}
	seen := *resp
	seen.Body = io.NopCloser(bytes.NewReader(x.Body))
	if t.Quiet && seen.StatusCode == http.StatusServiceUnavailable {
		seen.StatusCode = StatusUnavailable
	}
	return &seen, nil
}

// ReadBody reads the body of an answer, what is over maxBody left out, and
// closes it.
func ReadBody(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxBody))
}

func (t *Transport) fail(req *http.Request, err error) (*http.Response, error) {
	if !t.Quiet {
		return nil, err
	}
	return &http.Response{
		StatusCode: StatusNoAnswer, Status: "599 no answer", Request: req,
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: make(http.Header), Body: http.NoBody,
	}, nil
}

// CloseIdleConnections hands on to Base; apns2 insists on the method.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.Base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Failure is the outcome of a request that ended in err without an answer.
// It is a pure function.
func Failure(err error) push.Outcome {
	ns, ok := errors.AsType[*h2pool.NotSentError](err)
	switch {
	case !ok && errors.Is(err, context.DeadlineExceeded):
		return push.Outcome{Class: push.InDoubt, Reason: "no answer before the deadline", Sent: true}
	case !ok && errors.Is(err, context.Canceled):
		return push.Outcome{Class: push.InDoubt, Reason: "given up while waiting for the answer", Sent: true}
	case !ok:
		return push.Outcome{Class: push.InDoubt, Reason: Brief("connection lost: " + err.Error()), Sent: true}
	case errors.Is(err, h2pool.ErrClosed):
		return push.Outcome{Class: push.Retry, Reason: "provider is closed"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return push.Outcome{Class: push.Retry, Reason: "no connection before the deadline"}
	case ns.RetryAfter > 0:
		return push.Outcome{Class: push.Retry, Reason: Brief("no connection: " + ns.Err.Error()), RetryAfter: ns.RetryAfter}
	}
	return push.Outcome{Class: push.RetryNow, Reason: Brief("not processed: " + ns.Err.Error())}
}

// RetryAfter reads the header of that name, seconds or an HTTP date (RFC 9110
// section 10.2.3). Zero: none, unreadable, or in the past. The longest is a day.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" { // nearly always: and two errors less to be made
		return 0
	}
	d := time.Duration(0)
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), 24*time.Hour)
}

// Brief makes a text from outside fit for a log line: one line of printable
// ASCII, at most 120 bytes.
func Brief(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 120 {
		s = s[:117] + "..."
	}
	return s
}
