package h2pool

import (
	"errors"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// ErrClosed is inside the *NotSentError of a request on a closed pool.
var ErrClosed = errors.New("h2pool: pool is closed")

var (
	errAbandoned  = errors.New("h2pool: request was given up before it was sent")
	errShortLived = errors.New("h2pool: the peer closed the connection before its first answer")
)

// NotSentError says that the peer's application has not seen the request: it
// may be repeated without the risk of a duplicate. Every other error of
// RoundTrip leaves that open.
type NotSentError struct {
	// Err is the reason: a dial or TLS error, the context's error while
	// waiting, a refusal by the peer, ErrClosed.
	Err error
	// RetryAfter is how long the pool itself will not dial, after failed dials.
	RetryAfter time.Duration
}

func (e *NotSentError) Error() string { return "h2pool: not sent: " + e.Err.Error() }

// Unwrap returns the reason.
func (e *NotSentError) Unwrap() error { return e.Err }

// fate is what is known about a request that got no response.
type fate uint8

const (
	unknown        fate = iota // it may have been acted on
	unsent                     // it did not leave, for instance because the connection was lost
	refused                    // REFUSED_STREAM: not processed, RFC 9113 section 8.7
	goneAway                   // above the last id of a GOAWAY: not processed, section 6.8
	refusedForGood             // as goneAway, but the very first stream, with an error code
)

// The texts of net/http's unexported errors. There is nothing else to know
// them by; the pool's tests, against raw frames, fail when they change.
const (
	textGoAway      = "http2: Transport received Server's graceful shutdown GOAWAY"
	textFirstGoAway = "http2: Transport received GOAWAY from server"
)

// fateOf judges err, an error of http.ClientConn.RoundTrip. sent is whether
// any of the request's body was handed to the connection.
func fateOf(err error, sent bool) fate {
	var stream http2.StreamError
	switch text := err.Error(); {
	case errors.As(err, &stream) && stream.Code == http2.ErrCodeRefusedStream:
		return refused
	case strings.HasPrefix(text, textGoAway):
		return goneAway
	case strings.HasPrefix(text, textFirstGoAway):
		return refusedForGood
	case !sent:
		return unsent
	}
	return unknown
}
