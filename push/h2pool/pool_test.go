package h2pool

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func newPool(t *testing.T, s *rawServer, mod func(*Config)) *Pool {
	t.Helper()
	cfg := Config{Origin: s.origin(), RootCAs: s.roots, Connections: 1}
	if mod != nil {
		mod(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func request(body string) *Request { return &Request{Method: "POST", Path: "/x", Body: []byte(body)} }

// post sends body and returns the status.
func post(ctx context.Context, p *Pool, body string) (int, error) {
	resp, err := p.Do(ctx, request(body))
	if err != nil {
		return 0, err
	}
	return resp.Status, resp.BodyErr
}

func notSent(err error) bool {
	_, ok := errors.AsType[*NotSentError](err)
	return ok
}

// patient ends long after everything that is going to happen has: the machine may be busy with something else.
func patient(t *testing.T) context.Context {
	t.Helper()
	return deadline(t, time.Minute)
}

func deadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Apple allows one stream until it has seen a valid token, then a thousand.
// General transports answer a cold burst with refused streams or hundreds of
// dials.
func TestColdBurstDialsExactlyK(t *testing.T) {
	for _, k := range []int{1, 4} {
		var authed sync.Map
		s := startRaw(t, 1, func(c *rawConn, id uint32, body string) {
			c.took(body)
			if _, again := authed.LoadOrStore(c, true); !again {
				c.settings(1000)
			}
			go func() {
				time.Sleep(10 * time.Millisecond)
				c.respond(id, 200)
			}()
		})
		p := newPool(t, s, func(c *Config) { c.Connections = k })
		const n = 1000
		var wg sync.WaitGroup
		var bad atomic.Int64
		for i := range n {
			wg.Go(func() {
				if st, err := post(patient(t), p, fmt.Sprint(i)); st != 200 || err != nil {
					bad.Add(1)
					t.Errorf("request %d: %d, %v", i, st, err)
				}
			})
		}
		wg.Wait()
		if got := s.dials(); got != k || bad.Load() != 0 {
			t.Errorf("k=%d: %d connections, %d failures; want %d, 0", k, got, bad.Load(), k)
		}
		for i := range s.dials() {
			if c := s.conn(i); c.refused != 0 {
				t.Errorf("k=%d: connection %d refused %d streams", k, i, c.refused)
			}
		}
		if st := p.Stats(); st.InFlight != 0 || st.Waiting != 0 || st.Moved != 0 {
			t.Errorf("k=%d: stats %+v after the burst", k, st)
		}
	}
}

func TestStreamLimitLoweredMidRun(t *testing.T) {
	var n atomic.Int64
	s := startRaw(t, 100, func(c *rawConn, id uint32, body string) {
		c.took(body)
		if n.Add(1) == 300 {
			c.settings(10)
		}
		go func() {
			time.Sleep(2 * time.Millisecond)
			c.respond(id, 200)
		}()
	})
	p := newPool(t, s, nil)
	var wg sync.WaitGroup
	for w := range 80 {
		wg.Go(func() {
			for i := range 15 {
				body := fmt.Sprint(w, "-", i)
				if st, err := post(patient(t), p, body); st != 200 || err != nil {
					t.Errorf("%d, %v", st, err)
				}
				if s.seenOf(body) != 1 {
					t.Errorf("request %s seen %d times", body, s.seenOf(body))
				}
			}
		})
	}
	wg.Wait()
	// Once the pool had acknowledged the new limit the server refused what went over it: nothing may have.
	lowered := 0
	for i := range s.dials() {
		c := s.conn(i)
		c.mu.Lock()
		if c.refused > 0 {
			t.Errorf("connection %d: %d streams over the limit", i, c.refused)
		}
		if c.limit == 10 {
			lowered++
		}
		c.mu.Unlock()
	}
	if lowered != 1 {
		t.Errorf("%d connections had their limit lowered, want 1", lowered)
	}
}

func TestGoAwayMovesOnlyTheUnprocessed(t *testing.T) {
	var s *rawServer
	var mu sync.Mutex
	waiting := map[string]uint32{}
	s = startRaw(t, 1000, func(c *rawConn, id uint32, body string) {
		if c.n > 0 || body == "warm" {
			c.took(body)
			c.respond(id, 200)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		waiting[body] = id
		if len(waiting) < 100 {
			return
		}
		var ids []uint32
		for _, id := range waiting {
			ids = append(ids, id)
		}
		last := median(ids)
		c.goAway(last, http2.ErrCodeNo)
		for b, id := range waiting {
			if id <= last {
				c.took(b)
				c.respond(id, 200)
			}
		}
	})
	p := newPool(t, s, nil)
	if st, err := post(t.Context(), p, "warm"); st != 200 {
		t.Fatal(st, err)
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if st, err := post(patient(t), p, fmt.Sprint(i)); st != 200 || err != nil {
				t.Errorf("%d, %v", st, err)
			}
		})
	}
	wg.Wait()
	for i := range 100 {
		if n := s.seenOf(fmt.Sprint(i)); n != 1 {
			t.Errorf("request %d was seen %d times", i, n)
		}
	}
	if st := p.Stats(); st.Moved != 50 || s.dials() != 2 {
		t.Errorf("moved %d, dials %d; want 50, 2", st.Moved, s.dials())
	}
}

func median(ids []uint32) uint32 {
	for _, m := range ids {
		below := 0
		for _, id := range ids {
			if id <= m {
				below++
			}
		}
		if below == len(ids)/2 {
			return m
		}
	}
	return 0
}

// What became of a request, by what the peer did with it.
func TestWhatIsKnownAfterAFailure(t *testing.T) {
	tests := []struct {
		name    string
		do      func(c *rawConn, id uint32)
		inDoubt bool // else moved to the second connection and answered
	}{
		{"refused stream", func(c *rawConn, id uint32) { c.reset(id, http2.ErrCodeRefusedStream) }, false},
		{"goaway below", func(c *rawConn, id uint32) { c.goAway(id-2, http2.ErrCodeNo) }, false},
		{"goaway at, then cut", func(c *rawConn, id uint32) { c.goAway(id, http2.ErrCodeNo); c.nc.Close() }, true},
		{"cut", func(c *rawConn, id uint32) { c.nc.Close() }, true},
		{"reset with internal error", func(c *rawConn, id uint32) { c.reset(id, http2.ErrCodeInternal) }, true},
		{"reset with protocol error", func(c *rawConn, id uint32) { c.reset(id, http2.ErrCodeProtocol) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var done atomic.Bool
			s := startRaw(t, 100, func(c *rawConn, id uint32, body string) {
				if body == "x" && done.CompareAndSwap(false, true) {
					tt.do(c, id)
					return
				}
				c.took(body)
				c.respond(id, 200)
			})
			p := newPool(t, s, nil)
			if st, err := post(t.Context(), p, "warm"); st != 200 {
				t.Fatal(st, err)
			}
			st, err := post(patient(t), p, "x")
			switch {
			case tt.inDoubt && (err == nil || notSent(err)):
				t.Errorf("got %d, %v; want an error that leaves it open", st, err)
			case tt.inDoubt && s.seenOf("x") != 0:
				t.Error("a request in doubt was sent again")
			case !tt.inDoubt && (st != 200 || s.seenOf("x") != 1):
				t.Errorf("got %d, %v, seen %d; want 200, seen once", st, err, s.seenOf("x"))
			}
			// The pool has not suffered.
			if st, err := post(patient(t), p, "after"); st != 200 {
				t.Errorf("next request: %d, %v", st, err)
			}
		})
	}
}

// A GOAWAY with an error code for the very first stream is the peer's no to
// this client; trying again at once on another connection would not help.
func TestGoAwayForTheFirstStream(t *testing.T) {
	s := startRaw(t, 100, func(c *rawConn, id uint32, body string) { c.goAway(0, http2.ErrCodeEnhanceYourCalm) })
	p := newPool(t, s, nil)
	_, err := post(patient(t), p, "x")
	if !notSent(err) || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v; want a NotSentError with the peer's reason", err)
	}
}

// A peer that never stops refusing must not keep a request for ever.
func TestEndlessRefusalEndsUnsent(t *testing.T) {
	var n atomic.Int64
	s := startRaw(t, 100, func(c *rawConn, id uint32, body string) { n.Add(1); c.reset(id, http2.ErrCodeRefusedStream) })
	p := newPool(t, s, nil)
	if _, err := post(patient(t), p, "x"); !notSent(err) || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if n.Load() != maxMoves+1 {
		t.Errorf("%d tries, want %d", n.Load(), maxMoves+1)
	}
}

func TestSilentPeerIsFoundByPing(t *testing.T) {
	arrived := make(chan struct{})
	s := startRaw(t, 100, func(c *rawConn, id uint32, body string) {
		if c.n == 0 && body == "x" {
			c.setMute()
			close(arrived)
		}
		c.respond(id, 200)
	})
	// No connection is quiet for so long by itself: a pong that a busy machine has late ends none but the mute one.
	p := newPool(t, s, func(c *Config) { c.PingAfter, c.PingTimeout = time.Hour, 60*time.Millisecond })
	if st, err := post(t.Context(), p, "warm"); st != 200 {
		t.Fatal(st, err)
	}
	found := make(chan error, 1)
	go func() { _, err := post(patient(t), p, "x"); found <- err }()
	<-arrived
	mute := func() *conn { p.mu.Lock(); defer p.mu.Unlock(); return p.conns[0] }()
	for waiting := true; waiting; runtime.Gosched() {
		select {
		case err := <-found:
			if err == nil || notSent(err) || errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %v, want in doubt", err)
			}
			waiting = false
		default:
			p.mu.Lock()
			if !mute.pingOwed && !mute.ended {
				mute.heard = time.Time{} // an hour has passed; again if a frame from before was still to be read
				mute.watchdog.Reset(0)
			}
			p.mu.Unlock()
		}
	}
	if st, err := post(patient(t), p, "y"); st != 200 || s.dials() != 2 {
		t.Errorf("%d, %v on connection %d", st, err, s.dials())
	}
}

// missed is a context whose deadline passes when it is cancelled.
type missed struct{ context.Context }

func (m missed) Err() error {
	if m.Context.Err() != nil {
		return context.DeadlineExceeded
	}
	return nil
}

// The peer answers pings but no requests.
func TestTwoDeadlineMissesRetire(t *testing.T) {
	arrived := make(chan struct{}, 2)
	s := startRaw(t, 100, func(c *rawConn, id uint32, body string) {
		if c.n > 0 || body == "warm" {
			c.respond(id, 200)
		} else {
			arrived <- struct{}{}
		}
	})
	p := newPool(t, s, nil)
	if st, err := post(t.Context(), p, "warm"); st != 200 {
		t.Fatal(st, err)
	}
	for i := range 2 {
		if p.Stats().Retired != 0 {
			t.Fatalf("retired after %d misses", i)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		if _, err := post(missed{ctx}, p, "x"); !errors.Is(err, context.DeadlineExceeded) || notSent(err) {
			t.Fatalf("got %v", err)
		}
	}
	if st, err := post(patient(t), p, "y"); st != 200 || p.Stats().Retired != 1 {
		t.Errorf("%d, %v, %+v", st, err, p.Stats())
	}
}

func TestRetire(t *testing.T) {
	hold, arrived := make(chan struct{}), make(chan struct{})
	s := startRaw(t, 100, func(c *rawConn, id uint32, body string) {
		if body == "slow" {
			close(arrived)
			go func() { <-hold; c.respond(id, 200) }()
			return
		}
		c.respond(id, 403)
	})
	p := newPool(t, s, nil)
	resp, err := p.Do(patient(t), request("a"))
	if err != nil {
		t.Fatal(err)
	}
	slow := make(chan int)
	go func() { st, _ := post(t.Context(), p, "slow"); slow <- st }()
	<-arrived
	if !p.Retire(resp) || p.Retire(resp) {
		t.Error("want true, then false")
	}
	if st, err := post(patient(t), p, "b"); st != 403 || s.dials() != 2 {
		t.Errorf("%d, %v, %d connections; want a new one", st, err, s.dials())
	}
	close(hold)
	if st := <-slow; st != 200 {
		t.Errorf("request in flight on the retired connection: %d", st)
	}
}

// A stream that never ends must not keep everybody else waiting for the
// connection that it holds.
func TestGracefulGoAwayWithAHangingStream(t *testing.T) {
	arrived := make(chan struct{})
	s := startRaw(t, 100, func(c *rawConn, id uint32, body string) {
		if body == "hang" {
			c.goAway(1<<31-1, http2.ErrCodeNo)
			close(arrived)
			return
		}
		c.respond(id, 200)
	})
	p := newPool(t, s, nil)
	if st, err := post(t.Context(), p, "warm"); st != 200 {
		t.Fatal(st, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	hung := make(chan error)
	go func() { _, err := post(ctx, p, "hang"); hung <- err }()
	<-arrived
	for ctx := patient(t); p.Stats().Retired == 0; runtime.Gosched() { // the frame is on its way
		if ctx.Err() != nil {
			t.Fatalf("the GOAWAY was not heeded: %+v", p.Stats())
		}
	}
	if st, err := post(patient(t), p, "x"); st != 200 {
		t.Errorf("%d, %v", st, err)
	}
	cancel()
	if err := <-hung; notSent(err) {
		t.Errorf("the hanging request: %v", err)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	hold := make(chan struct{})
	s := startRaw(t, 1, func(c *rawConn, id uint32, body string) {
		if body == "warm" {
			c.respond(id, 200)
			return
		}
		go func() { <-hold; c.respond(id, 200) }()
	})
	p := newPool(t, s, nil)
	if st, err := post(t.Context(), p, "warm"); st != 200 {
		t.Fatal(st, err)
	}
	first := make(chan error, 1)
	go func() { _, err := post(t.Context(), p, "first"); first <- err }()
	for p.Stats().InFlight == 0 {
		runtime.Gosched()
	}
	_, err := post(deadline(t, 50*time.Millisecond), p, "second")
	if !notSent(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if p.Stats().Waiting != 0 {
		t.Errorf("still waiting: %+v", p.Stats())
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := post(done, p, "third"); !notSent(err) {
		t.Errorf("with a finished context: %v", err)
	}
	close(hold)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestDownOriginFailsFastWithoutAStorm(t *testing.T) {
	// A port below 1024 is nobody's; one that was ours a moment ago may be another process's now.
	p, err := New(Config{Origin: "https://127.0.0.1:1", Connections: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 20 {
				_, err := post(patient(t), p, "x")
				if e, ok := errors.AsType[*NotSentError](err); !ok || e.RetryAfter <= 0 {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	wg.Wait()
	if st := p.Stats(); st.DialErrors > 4*dialFast+4 {
		t.Errorf("%d dials for 1,000 requests", st.DialErrors)
	}
	if _, err := post(t.Context(), p, "x"); !strings.Contains(fmt.Sprint(err), "refused") {
		t.Errorf("the reason is lost: %v", err)
	}
}

func TestServerWithoutHTTP2(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	p, err := New(Config{Origin: srv.URL, RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Warm(patient(t)); err == nil || !strings.Contains(err.Error(), "HTTP/2") && !strings.Contains(err.Error(), "protocol") {
		t.Errorf("got %v", err)
	}
}

func TestWarmDialsAll(t *testing.T) {
	s := startRaw(t, 100, func(c *rawConn, id uint32, body string) { c.respond(id, 200) })
	p := newPool(t, s, func(c *Config) { c.Connections = 3 })
	if err := p.Warm(patient(t)); err != nil {
		t.Fatal(err)
	}
	if st := p.Stats(); st.Connections != 3 || st.Dials != 3 {
		t.Errorf("%+v", st)
	}
	if st, err := post(t.Context(), p, "x"); st != 200 {
		t.Error(st, err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	arrived := make(chan struct{})
	s := startRaw(t, 1, func(c *rawConn, id uint32, body string) {
		if body == "warm" {
			c.respond(id, 200)
		} else {
			close(arrived)
		}
	})
	base := runtime.NumGoroutine()
	p := newPool(t, s, nil)
	if st, err := post(t.Context(), p, "warm"); st != 200 {
		t.Fatal(st, err)
	}
	var wg sync.WaitGroup
	var inDoubt, unsent atomic.Int64
	for range 20 {
		wg.Go(func() {
			switch _, err := post(t.Context(), p, "x"); {
			case errors.Is(err, ErrClosed) && notSent(err):
				unsent.Add(1)
			case err != nil && !notSent(err):
				inDoubt.Add(1)
			default:
				t.Errorf("got %v", err)
			}
		})
	}
	<-arrived
	for st := p.Stats(); st.InFlight != 1 || st.Waiting != 19; st = p.Stats() {
		runtime.Gosched()
	}
	p.Close()
	p.Close()
	wg.Wait()
	if inDoubt.Load() != 1 || unsent.Load() != 19 {
		t.Errorf("%d in doubt, %d unsent; want 1, 19", inDoubt.Load(), unsent.Load())
	}
	if _, err := post(t.Context(), p, "late"); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	for ctx := patient(t); runtime.NumGoroutine() > base && ctx.Err() == nil; {
		time.Sleep(5 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > base {
		t.Errorf("%d goroutines, %d before the pool (%d before the server)", n, base, before)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, origin := range []string{"", "api.push.apple.com", "ftp://x", "https://"} {
		if p, err := New(Config{Origin: origin}); err == nil {
			p.Close()
			t.Errorf("origin %q was accepted", origin)
		}
	}
	if _, err := New(Config{Origin: "https://x", Connections: -1}); err == nil {
		t.Error("negative connections were accepted")
	}
}
