package h2pool

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/http2"
)

// ErrClosed is inside the *NotSentError of a request on a closed pool.
var ErrClosed = errors.New("h2pool: pool is closed")

// ErrBodyTooLong is the BodyErr of an answer longer than MaxBody.
var ErrBodyTooLong = errors.New("h2pool: the answer's body is too long")

var (
	errShortLived = errors.New("the peer closed the connection before its first answer")
	errSilent     = errors.New("the peer has fallen silent: it does not answer a ping")
	errDrained    = errors.New("the connection was retired and its time is over")
	errNoStreams  = errors.New("the peer allows no request on a connection")
)

// NotSentError says that the peer's application has not seen the request: it
// may be repeated without the risk of a duplicate. Every other error of
// Do leaves that open.
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

// fate is how a request has ended on a connection.
type fate uint8

const (
	answered       fate = iota // there is a status
	unknown                    // it may have been acted on
	unsent                     // none of its body left, nor its end
	refused                    // REFUSED_STREAM: not processed, RFC 9113 section 8.7
	goneAway                   // above the last id of a GOAWAY: not processed, section 6.8
	refusedForGood             // as goneAway, but the very first stream, with an error code
	neverSent                  // it was not to be had for any connection; the error is a *NotSentError
)

// resetError is the peer's RST_STREAM.
type resetError http2.ErrCode

func (e resetError) Error() string {
	return "the peer has reset the stream: " + http2.ErrCode(e).String()
}

// goAwayError is the peer's GOAWAY.
func goAwayError(f *http2.GoAwayFrame) error {
	return fmt.Errorf("the peer goes away: %v, last stream %d %.100q", f.ErrCode, f.LastStreamID, f.DebugData())
}
