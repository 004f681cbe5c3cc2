package exchange

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"footfall/push"
	"footfall/push/h2pool"
)

func TestFailure(t *testing.T) {
	unsent := func(err error, after time.Duration) error { return &h2pool.NotSentError{Err: err, RetryAfter: after} }
	for _, tt := range []struct {
		err   error
		class push.Class
		sent  bool
	}{
		{errors.New("http2: client connection lost"), push.InDoubt, true},
		{context.DeadlineExceeded, push.InDoubt, true},
		{context.Canceled, push.InDoubt, true},
		{unsent(context.DeadlineExceeded, 0), push.Retry, false},
		{unsent(context.Canceled, 0), push.Retry, false},
		{unsent(h2pool.ErrClosed, 0), push.Retry, false},
		{unsent(errors.New("connection refused"), time.Second), push.Retry, false},
		{unsent(errors.New("REFUSED_STREAM"), 0), push.RetryNow, false},
	} {
		o := Failure(tt.err)
		if o.Class != tt.class || o.Sent != tt.sent || o.Reason == "" || o.Status != 0 {
			t.Errorf("%v: got %+v, want %s, sent %v", tt.err, o, tt.class, tt.sent)
		}
	}
	if o := Failure(unsent(errors.New("connection refused"), time.Second)); o.RetryAfter != time.Second {
		t.Errorf("%+v", o)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "-7": 0, "1.5": 0, "soon": 0,
		"99999999999999999999": 0, "2147483647": 24 * time.Hour,
		"Sat, 28 Nov 2026 12:01:00 GMT":    time.Minute,
		"Saturday, 28-Nov-26 12:01:00 GMT": time.Minute, // RFC 850
		"Sat Nov 28 12:01:00 2026":         time.Minute, // asctime
		"Sat, 28 Nov 2026 11:59:00 GMT":    0,
		"Sat, 28 Nov 2037 11:59:00 GMT":    24 * time.Hour,
	} {
		if got := RetryAfter(http.Header{"Retry-After": {in}}, now); got != want {
			t.Errorf("%q: got %v, want %v", in, got, want)
		}
	}
	if got := RetryAfter(nil, now); got != 0 {
		t.Errorf("no headers: %v", got)
	}
}

func TestCollapseID(t *testing.T) {
	const mid = "3f0c2b1a-9d7e-4c55-8a10-0123456789ab"
	id := func(mid, collapse string) string {
		return CollapseID(&push.Notification{MID: mid, CollapseID: collapse})
	}
	for _, tt := range []struct{ mid, collapse, want string }{
		{mid, "", "PwwrGp1-TFWKEAEjRWeJqw"},
		{strings.ToUpper(mid), "", "PwwrGp1-TFWKEAEjRWeJqw"},
		{mid, "sale:7", "sale:7"},
		{mid, strings.Repeat("x", 64), strings.Repeat("x", 64)},
	} {
		if got := id(tt.mid, tt.collapse); got != tt.want {
			t.Errorf("%q, %q: got %q, want %q", tt.mid, tt.collapse, got, tt.want)
		}
	}
	seen := map[string]string{}
	for _, in := range []string{strings.Repeat("x", 65), strings.Repeat("x", 66), "розпродаж", "a b", "a\nb"} {
		got := id(mid, in)
		if len(got) != 22 || !plain(got) || got != id("other", in) || seen[got] != "" {
			t.Errorf("%q: %q", in, got)
		}
		seen[got] = in
	}
	if a, b := id("not-a-uuid-1", ""), id("not-a-uuid-2", ""); a == b || len(a) != 22 {
		t.Errorf("%q, %q", a, b)
	}
}

func TestUUID(t *testing.T) {
	for in, want := range map[string]bool{
		"3f0c2b1a-9d7e-4c55-8a10-0123456789ab": true, "3F0C2B1A-9D7E-4C55-8A10-0123456789AB": true,
		"": false, "3f0c2b1a9d7e4c558a100123456789ab": false, "3f0c2b1a-9d7e-4c55-8a10-0123456789ag": false,
		"3f0c2b1a-9d7e-4c55-8a10-0123456789a": false, "3f0c2b1a-9d7e-4c55-8a1-00123456789ab": false,
	} {
		if got := UUID(in); got != want {
			t.Errorf("UUID(%q) = %v", in, got)
		}
	}
}

func TestBrief(t *testing.T) {
	for in, want := range map[string]string{
		"BadDeviceToken": "BadDeviceToken", "a\r\nb\x1b[0m\tc": "a b [0m c", "їжа": "", "  x  ": "x",
		strings.Repeat("x", 121): strings.Repeat("x", 117) + "...",
	} {
		if got := Brief(in); got != want {
			t.Errorf("Brief(%q) = %q, want %q", in, got, want)
		}
	}
}
