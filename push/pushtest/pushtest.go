// Package pushtest holds the suite that every push.Provider passes: the
// promises of its doc comments, as tests.
package pushtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"footfall/push"

	"github.com/google/go-cmp/cmp"
)

// Answer is what the server does with the requests that follow.
type Answer uint8

const (
	// Accept takes the message.
	Accept Answer = iota
	// TokenDead says that the token is gone for good.
	TokenDead
	// Unavailable is the service's own "try again later", a 503 as a rule.
	Unavailable
	// Cut reads the whole request and closes the connection without an answer.
	Cut
	// Hang reads the whole request and never answers it.
	Hang
)

// Harness is one provider with a scripted server behind it.
type Harness struct {
	Provider push.Provider
	// Notification is a valid one, whose token the server knows. The suite
	// works on copies.
	Notification push.Notification
	// Script sets what the server does from now on. A new server accepts.
	Script func(Answer)
	// Requests is how many whole requests for a push the server's application
	// has seen.
	Requests func() int
	// RetryAfter makes the server turn requests away for d, with a Retry-After
	// in seconds or as a date. Nil: the channel has no such thing.
	RetryAfter func(d time.Duration, date bool)
	// NoRaw: the channel does not carry Notification.Raw.
	NoRaw bool
	// Rotation changes credentials in the files that Provider reads them from.
	// Nil: there are none, or they cannot change.
	Rotation *Rotation
}

// Rotation is a change of credentials, in the order of its fields.
type Rotation struct {
	// Spoil makes the files unusable.
	Spoil func()
	// Replace puts other credentials into them; the server takes both.
	Replace func()
	// Revoke makes the server refuse the old ones.
	Revoke func()
}

// Conformance runs the suite. start makes a fresh harness for each test and
// cleans up with t.Cleanup; it may be called in any order.
func Conformance(t *testing.T, start func(t *testing.T) Harness) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(*testing.T, *Harness)
	}{
		{"name", testName},
		{"accepted", testAccepted},
		{"token dead", testTokenDead},
		{"unavailable is one request", testUnavailable},
		{"cut is in doubt and one request", testCut},
		{"silence is in doubt", testHang},
		{"context already done", testDoneContext},
		{"expired", testExpired},
		{"nothing to say", testEmpty},
		{"too large", testTooLarge},
		{"raw", testRaw},
		{"retry after", testRetryAfter},
		{"credentials rotate", testRotation},
		{"many at once", testConcurrent},
		{"close", testClose},
		{"close while sending", testCloseWhileSending},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := start(t)
			c.run(t, &h)
		})
	}
}

// testRaw: what a campaign adds goes along; what is the gateway's own, or is no
// small object, is not sent, because a second token or collapse id would reach
// somebody else or show twice.
func testRaw(t *testing.T, h *Harness) {
	raw := func(s string) func(*push.Notification) {
		return func(n *push.Notification) { n.Raw = json.RawMessage(s) }
	}
	h.want(t, h.send(t.Context(), t, raw(rawSample[h.Notification.Platform])), push.Accepted, true, 1)
	if h.NoRaw {
		return
	}
	for _, owned := range []string{`{"g":{"mid":"another"},"token":"x","android":{"ttl":"1s"}}`, `{"data":null,"aps":null}`, `[1]`, `{"a":"` + strings.Repeat("x", push.MaxRaw) + `"}`} {
		h.want(t, h.send(t.Context(), t, raw(owned)), push.Bug, false, 1)
	}
}

// RetryAfter is the value of a Retry-After header, rounded up: seconds, or the
// date that far ahead (RFC 9110 section 10.2.3).
func RetryAfter(d time.Duration, date bool) string {
	if date {
		return time.Now().Add(d + time.Second).UTC().Format(http.TimeFormat)
	}
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// rawSample is a raw object that each platform's service takes.
var rawSample = map[push.Platform]string{
	push.IOS: `{"aps":{"target-content-id":"7"}}`, push.Android: `{"android":{"direct_boot_ok":true}}`,
	push.HMS: `{"android":{"category":"MARKETING"}}`, push.Web: `{"vibrate":[100,50]}`,
}

// limit is how long anything may take that does not wait for a peer: long, for a machine may be busy with something else, and
// short of the minute for which the harnesses' providers wait for an answer.
const limit = 30 * time.Second

// send sends a copy of the notification and checks what holds for every
// outcome.
func (h *Harness) send(ctx context.Context, t *testing.T, mod func(*push.Notification)) push.Outcome {
	t.Helper()
	n := h.Notification
	if mod != nil {
		mod(&n)
	}
	before := n
	o := h.Provider.Send(ctx, &n)
	if d := cmp.Diff(before, n); d != "" {
		t.Errorf("Send changed the notification:\n%s", d)
	}
	known := false
	for _, c := range push.Classes() {
		known = known || c == o.Class
	}
	if !known {
		t.Errorf("class %q is not one of push.Classes", o.Class)
	}
	if strings.Contains(fmt.Sprintf("%+v", o), n.Token) {
		t.Errorf("the outcome shows the token: %+v", o)
	}
	if !o.Sent && o.Status != 0 {
		t.Errorf("not sent, and yet a status: %+v", o)
	}
	return o
}

// want compares class, Sent and the number of requests so far.
func (h *Harness) want(t *testing.T, o push.Outcome, class push.Class, sent bool, requests int) {
	t.Helper()
	if o.Class != class || o.Sent != sent {
		t.Errorf("got %+v; want class %s, sent %v", o, class, sent)
	}
	if n := h.Requests(); n != requests {
		t.Errorf("the server has seen %d requests, want %d", n, requests)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// due is a context whose deadline has passed when the channel is closed.
type due struct {
	context.Context
	passed chan struct{}
}

func (d due) Done() <-chan struct{} { return d.passed }

func (d due) Err() error {
	select {
	case <-d.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func testName(t *testing.T, h *Harness) {
	name := h.Provider.Name()
	if again := h.Provider.Name(); name == "" || again != name {
		t.Errorf("name %q, then %q", name, again)
	}
}

func testAccepted(t *testing.T, h *Harness) {
	o := h.send(t.Context(), t, nil)
	h.want(t, o, push.Accepted, true, 1)
	if o.ProviderID == "" {
		t.Errorf("no provider id: %+v", o)
	}
	h.want(t, h.send(t.Context(), t, func(n *push.Notification) { n.Silent = true }), push.Accepted, true, 2)
}

func testTokenDead(t *testing.T, h *Harness) {
	h.Script(TokenDead)
	h.want(t, h.send(t.Context(), t, nil), push.TokenDead, true, 1)
}

func testUnavailable(t *testing.T, h *Harness) {
	h.Script(Unavailable)
	start := time.Now()
	h.want(t, h.send(t.Context(), t, nil), push.Retry, true, 1)
	if d := time.Since(start); d > limit {
		t.Errorf("took %v: the provider waits or retries by itself", d)
	}
	h.Script(Accept)
	h.want(t, h.send(t.Context(), t, nil), push.Accepted, true, 2)
}

func testCut(t *testing.T, h *Harness) {
	// On a connection that works, and on one that never has.
	h.want(t, h.send(t.Context(), t, nil), push.Accepted, true, 1)
	h.Script(Cut)
	start := time.Now()
	h.want(t, h.send(t.Context(), t, nil), push.InDoubt, true, 2)
	h.want(t, h.send(within(t, limit), t, nil), push.InDoubt, true, 3)
	if d := time.Since(start); d > limit {
		t.Errorf("took %v: the provider waits or retries by itself", d)
	}
	h.Script(Accept)
	h.want(t, h.send(within(t, limit), t, nil), push.Accepted, true, 4)
}

func testHang(t *testing.T, h *Harness) {
	h.want(t, h.send(t.Context(), t, nil), push.Accepted, true, 1)
	h.Script(Hang)
	// A deadline that passes when the request has arrived, and not before it has left.
	deadline := due{t.Context(), make(chan struct{})}
	var passed time.Time
	go func() {
		for h.Requests() < 2 && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		passed = time.Now()
		close(deadline.passed)
	}()
	h.want(t, h.send(deadline, t, nil), push.InDoubt, true, 2)
	if <-deadline.passed; time.Since(passed) > limit {
		t.Errorf("ended %v after its deadline", time.Since(passed))
	}
	// Given up by the caller, which is no deadline.
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for h.Requests() < 3 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	h.want(t, h.send(ctx, t, nil), push.InDoubt, true, 3)
	h.Script(Accept)
	h.want(t, h.send(within(t, limit), t, nil), push.Accepted, true, 4)
}

func testDoneContext(t *testing.T, h *Harness) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.want(t, h.send(ctx, t, nil), push.Retry, false, 0)
	past, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	h.want(t, h.send(past, t, nil), push.Retry, false, 0)
}

func testExpired(t *testing.T, h *Harness) {
	h.want(t, h.send(t.Context(), t, func(n *push.Notification) { n.ExpiresAt = time.Unix(1e9, 0) }), push.Expired, false, 0)
	h.want(t, h.send(t.Context(), t, func(n *push.Notification) { n.ExpiresAt = time.Time{} }), push.Accepted, true, 1)
}

func testEmpty(t *testing.T, h *Harness) {
	h.want(t, h.send(t.Context(), t, func(n *push.Notification) { n.Title, n.Body = "", "" }), push.Bug, false, 0)
	h.want(t, h.send(t.Context(), t, func(n *push.Notification) { n.MID = "" }), push.Bug, false, 0)
}

func testTooLarge(t *testing.T, h *Harness) {
	h.want(t, h.send(t.Context(), t, func(n *push.Notification) { n.Body = strings.Repeat("ї", 4096) }), push.TooLarge, false, 0)
	// Subtitle and data are given up before the message is.
	h.want(t, h.send(t.Context(), t, func(n *push.Notification) {
		n.Subtitle = strings.Repeat("s", 3000)
		n.Data = map[string]string{"note": strings.Repeat("d", 3000)}
	}), push.Accepted, true, 1)
}

func testRetryAfter(t *testing.T, h *Harness) {
	if h.RetryAfter == nil {
		t.Skip("the channel has no Retry-After")
	}
	for _, date := range []bool{false, true} {
		h.RetryAfter(90*time.Second, date)
		before, start := h.Requests(), time.Now()
		o := h.send(t.Context(), t, nil)
		switch o.Class {
		case push.Retry, push.LaneRate, push.DeviceRate:
		default:
			t.Errorf("date %v: %+v is not told to wait", date, o)
		}
		if o.RetryAfter < 90*time.Second-limit || o.RetryAfter > 92*time.Second || !o.Sent {
			t.Errorf("date %v: got %+v; want to wait for 90 s", date, o)
		}
		if n := h.Requests() - before; n != 1 || time.Since(start) > limit {
			t.Errorf("date %v: %d requests in %v: the provider waits or retries by itself", date, n, time.Since(start))
		}
	}
}

// Credentials change under load: every message is accepted, at worst after a
// RetryNow, and nothing says Auth, which would pause the lane.
func testRotation(t *testing.T, h *Harness) {
	r := h.Rotation
	if r == nil {
		t.Skip("no credentials in files")
	}
	p, ok := h.Provider.(push.Rotator)
	if !ok || len(p.CredentialFiles()) == 0 {
		t.Fatal("the provider's credentials are in files, and it is no push.Rotator")
	}
	h.want(t, h.send(t.Context(), t, nil), push.Accepted, true, 1)
	if changed, err := p.Rotate(); changed || err != nil {
		t.Errorf("nothing has changed: got %v, %v", changed, err)
	}
	r.Spoil()
	if changed, err := p.Rotate(); changed || err == nil {
		t.Errorf("spoilt files: got %v, %v; want an error", changed, err)
	}
	h.want(t, h.send(t.Context(), t, nil), push.Accepted, true, 2)

	ctx, stop := context.WithCancel(within(t, 4*limit))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for ctx.Err() == nil {
				o := h.send(t.Context(), t, nil)
				for again := 0; o.Class == push.RetryNow && again < 10; again++ {
					o = h.send(t.Context(), t, nil)
				}
				if o.Class != push.Accepted {
					t.Errorf("%+v", o)
					return
				}
			}
		})
	}
	more := func() {
		for from := h.Requests(); h.Requests() < from+100 && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		}
	}
	more()
	r.Replace()
	if changed, err := p.Rotate(); !changed || err != nil {
		t.Errorf("other credentials: got %v, %v", changed, err)
	}
	more()
	r.Revoke()
	more()
	if ctx.Err() != nil {
		t.Error("the sending stopped")
	}
	stop()
	wg.Wait()
	before := h.Requests()
	h.want(t, h.send(t.Context(), t, nil), push.Accepted, true, before+1)
}

func testConcurrent(t *testing.T, h *Harness) {
	const workers, each = 200, 3
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				o := h.Provider.Send(within(t, 6*limit), &push.Notification{
					MID: fmt.Sprintf("00000000-0000-4000-8000-%012x", each*w+i), Token: h.Notification.Token,
					App: h.Notification.App, Device: h.Notification.Device, // a channel may address by name
					Platform: h.Notification.Platform, Title: "t", ExpiresAt: time.Now().Add(time.Minute),
				})
				if o.Class != push.Accepted {
					t.Errorf("got %+v", o)
				}
			}
		})
	}
	wg.Wait()
	if got := h.Requests(); got != workers*each {
		t.Errorf("the server has seen %d requests for %d messages", got, workers*each)
	}
}

func testClose(t *testing.T, h *Harness) {
	before := runtime.NumGoroutine()
	h.want(t, h.send(t.Context(), t, nil), push.Accepted, true, 1)
	for range 2 {
		if err := h.Provider.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	h.want(t, h.send(within(t, limit), t, nil), push.Retry, false, 1)
	// The provider's goroutines have ended; those of the server follow.
	for start := time.Now(); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Since(start) > limit {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before the first Send:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func testCloseWhileSending(t *testing.T, h *Harness) {
	h.Script(Hang)
	got := make(chan push.Outcome, 1)
	go func() { got <- h.send(context.Background(), t, nil) }()
	for start := time.Now(); h.Requests() == 0; time.Sleep(time.Millisecond) {
		if time.Since(start) > 2*limit {
			t.Fatal("the request has not arrived")
		}
	}
	if err := h.Provider.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	select {
	case o := <-got:
		h.want(t, o, push.InDoubt, true, 1)
	case <-time.After(limit):
		t.Error("Send has not ended after Close")
	}
}
