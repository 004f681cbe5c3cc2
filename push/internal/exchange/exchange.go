// Package exchange has what providers share around one request: what its
// failure means, Retry-After, and the parts of a payload that are the same on
// all platforms.
package exchange

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"footfall/push"
	"footfall/push/h2pool"
)

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
