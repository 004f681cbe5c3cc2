package post

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"footfall/push/h2pool"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// serve starts a TLS server that speaks HTTP/2 or only HTTP/1.1.
func serve(t *testing.T, h2 bool, h http.HandlerFunc) (*url.URL, Config) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = h2
	srv.StartTLS()
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	u, err := url.Parse(srv.URL + "/secret-path")
	if err != nil {
		t.Fatal(err)
	}
	return u, Config{RootCAs: roots}
}

func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	c := New(cfg)
	t.Cleanup(func() { c.Close() })
	return c
}

func notSent(err error) bool {
	_, ok := errors.AsType[*h2pool.NotSentError](err)
	return ok
}

var versions = map[string]bool{"HTTP/1.1": false, "HTTP/2": true}

func TestAnswersAreAnswers(t *testing.T) {
	for name, h2 := range versions {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			u, cfg := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				body, _ := io.ReadAll(r.Body)
				if r.ProtoMajor == 2 != h2 {
					t.Errorf("spoke %s", r.Proto)
				}
				switch string(body) {
				case "redirect":
					w.Header().Set("Location", "/elsewhere")
					w.WriteHeader(307)
				case "endless":
					for range 100 {
						w.Write(make([]byte, 64<<10))
					}
				case "half":
					w.Header().Set("Content-Length", "10")
					w.Write([]byte("half"))
					w.(http.Flusher).Flush()
					panic(http.ErrAbortHandler)
				default:
					w.Header().Set("Echo", r.Header.Get("Echo"))
					w.WriteHeader(503)
					w.Write(body)
				}
			})
			c := client(t, cfg)
			post := func(body string) *Answer {
				t.Helper()
				a, err := c.Post(t.Context(), u, http.Header{"Echo": {"e"}}, []byte(body))
				if err != nil {
					t.Fatalf("%s: %v", body, err)
				}
				return a
			}
			if a := post("hello"); a.Status != 503 || string(a.Body) != "hello" || a.Header.Get("Echo") != "e" || a.Err != nil {
				t.Errorf("%+v", a)
			}
			if a := post("redirect"); a.Status != 307 {
				t.Errorf("a redirect was followed: %+v", a)
			}
			if a := post("endless"); len(a.Body) != maxBody {
				t.Errorf("kept %d bytes of an endless body", len(a.Body))
			}
			if a := post("half"); a.Status != 200 || a.Err == nil {
				t.Errorf("%+v", a)
			}
			if n := requests.Load(); n != 4 {
				t.Errorf("%d requests for 4 calls", n)
			}
		})
	}
}

// A cut after the request was read is one request and in doubt, also on a
// connection that had served before: that is where net/http likes to repeat.
func TestCutIsOneRequest(t *testing.T) {
	for name, h2 := range versions {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			var cut atomic.Bool
			u, cfg := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				requests.Add(1)
				if cut.Load() {
					panic(http.ErrAbortHandler)
				}
			})
			c := client(t, cfg)
			for i, want := range []bool{false, true, true, false} {
				cut.Store(want)
				_, err := c.Post(t.Context(), u, nil, []byte("x"))
				if (err != nil) != want || notSent(err) {
					t.Errorf("%d: %v", i, err)
				}
				if err != nil && strings.Contains(err.Error(), "secret-path") {
					t.Errorf("the error shows the path: %v", err)
				}
			}
			if n := requests.Load(); n != 4 {
				t.Errorf("%d requests for 4 calls", n)
			}
		})
	}
}

// Only the peer's promise not to have processed a request is one: the errors
// are told apart by net/http's texts.
func TestPeersPromise(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  func(fr *http2.Framer, id uint32)
		notSent bool
	}{
		{"refused stream", func(fr *http2.Framer, id uint32) { fr.WriteRSTStream(id, http2.ErrCodeRefusedStream) }, true},
		{"GOAWAY below", func(fr *http2.Framer, id uint32) { fr.WriteGoAway(0, http2.ErrCodeNo, nil) }, true},
		{"GOAWAY at it", func(fr *http2.Framer, id uint32) { fr.WriteGoAway(id, http2.ErrCodeNo, nil) }, false},
		{"protocol error", func(fr *http2.Framer, id uint32) { fr.WriteRSTStream(id, http2.ErrCodeProtocol) }, false},
		{"cancelled", func(fr *http2.Framer, id uint32) { fr.WriteRSTStream(id, http2.ErrCodeCancel) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, cfg, seen := serveRaw(t, tt.answer)
			c := client(t, cfg)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := c.Post(ctx, u, nil, []byte("x"))
			if err == nil || notSent(err) != tt.notSent {
				t.Errorf("got %v, want not sent %v", err, tt.notSent)
			}
			if n := seen.Load(); n != 1 {
				t.Errorf("the server has seen %d requests", n)
			}
		})
	}
}

// serveRaw answers each whole request with frames and closes the connection
// a moment later.
func serveRaw(t *testing.T, answer func(*http2.Framer, uint32)) (*url.URL, Config, *atomic.Int64) {
	t.Helper()
	hs := httptest.NewUnstartedServer(http.NotFoundHandler())
	hs.StartTLS()
	cert, roots := hs.TLS.Certificates[0], x509.NewCertPool()
	roots.AddCert(hs.Certificate())
	hs.Close()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	seen := new(atomic.Int64)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				if _, err := io.ReadFull(nc, make([]byte, len(http2.ClientPreface))); err != nil {
					return
				}
				fr := http2.NewFramer(nc, nc)
				fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
				fr.WriteSettings()
				for {
					f, err := fr.ReadFrame()
					if err != nil {
						return
					}
					if f.Header().Type == http2.FrameSettings && !f.Header().Flags.Has(http2.FlagSettingsAck) {
						fr.WriteSettingsAck()
					}
					if d, ok := f.(*http2.DataFrame); ok && d.StreamEnded() {
						seen.Add(1)
						answer(fr, d.StreamID)
						nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
					}
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return &url.URL{Scheme: "https", Host: ln.Addr().String(), Path: "/"}, Config{RootCAs: roots}, seen
}

// boundPort returns an address that refuses connections until listen is called. The port is ours all the time: one that is let go
// may be another process's a moment later.
func boundPort(t *testing.T) (u *url.URL, listen func() net.Listener) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "a bound socket")
	t.Cleanup(func() { f.Close() })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	u = &url.URL{Scheme: "http", Host: fmt.Sprint("127.0.0.1:", name.(*syscall.SockaddrInet4).Port), Path: "/"}
	return u, func() net.Listener {
		if err := syscall.Listen(fd, 16); err != nil {
			t.Fatal(err)
		}
		ln, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
}

func TestUnreachableServerIsNotDialledByEveryWorker(t *testing.T) {
	u, listen := boundPort(t)
	now := time.Unix(1e9, 0)
	c := client(t, Config{Now: func() time.Time { return now }})
	want := time.Second
	for i := range 8 {
		_, err := c.Post(t.Context(), u, nil, []byte("x"))
		ns, ok := errors.AsType[*h2pool.NotSentError](err)
		if !ok || ns.RetryAfter != min(want, pauseMax) {
			t.Fatalf("%d: %v, %+v, want a pause of %v", i, err, ns, want)
		}
		now = now.Add(ns.RetryAfter - time.Millisecond)
		_, err = c.Post(t.Context(), u, nil, []byte("x"))
		if ns, ok := errors.AsType[*h2pool.NotSentError](err); !ok || ns.RetryAfter != time.Millisecond {
			t.Fatalf("%d: dialled during the pause: %v", i, err)
		}
		now = now.Add(time.Millisecond)
		want *= 2
	}
	// It comes back, and the pauses begin anew.
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go srv.Serve(listen())
	defer srv.Close()
	if _, err := c.Post(t.Context(), u, nil, []byte("x")); err != nil {
		t.Errorf("the server is back: %v", err)
	}
}

func TestGuardSeesTheAddressThatIsDialled(t *testing.T) {
	u, cfg := serve(t, false, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
	var asked []netip.Addr
	cfg.Guard = func(a netip.Addr) error { asked = append(asked, a); return errors.New("not there") }
	u.Host = "localhost:" + u.Port()
	_, err := client(t, cfg).Post(t.Context(), u, nil, []byte("x"))
	if _, ok := errors.AsType[*RefusedError](err); !ok || !notSent(err) {
		t.Errorf("got %v", err)
	}
	if len(asked) == 0 || !asked[0].IsLoopback() {
		t.Errorf("the guard was asked about %v", asked)
	}
}

func TestInFlightIsBounded(t *testing.T) {
	var now, most atomic.Int64
	full := make(chan struct{}) // as many as may be are under way
	u, cfg := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == 3 {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		select {
		case <-full:
		case <-time.After(time.Minute):
		}
		time.Sleep(2 * time.Millisecond) // for a fourth to come
		now.Add(-1)
	})
	cfg.InFlight = 3
	c := client(t, cfg)
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			if _, err := c.Post(t.Context(), u, nil, []byte("x")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if m := most.Load(); m != 3 {
		t.Errorf("%d requests at a time, want up to 3", m)
	}
	// Waiting for a slot counts against ctx, and nothing is sent.
	o := c.origins["https://"+u.Host]
	for range 3 {
		o.slots <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Post(ctx, u, nil, []byte("x")); !notSent(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestCloseCutsAndWaits(t *testing.T) {
	for name, h2 := range versions {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan struct{}, 1)
			u, cfg := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				arrived <- struct{}{}
				<-r.Context().Done()
			})
			before := runtime.NumGoroutine()
			c := New(cfg)
			got := make(chan error, 1)
			go func() {
				_, err := c.Post(context.Background(), u, nil, []byte("x"))
				got <- err
			}()
			select {
			case <-arrived:
			case err := <-got:
				t.Fatalf("the request did not arrive: %v", err)
			}
			for range 2 {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
			if err := <-got; err == nil || notSent(err) {
				t.Errorf("in flight: %v", err)
			}
			if _, err := c.Post(t.Context(), u, nil, nil); !notSent(err) || !errors.Is(err, h2pool.ErrClosed) {
				t.Errorf("afterwards: %v", err)
			}
			for start := time.Now(); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
				if time.Since(start) > time.Minute {
					t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
				}
			}
		})
	}
}

func TestOriginsAreBounded(t *testing.T) {
	c := client(t, Config{})
	for i := range 3 * maxOrigins {
		o, err := c.enter(&url.URL{Scheme: "https", Host: "h" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)})
		if err != nil {
			t.Fatal(err)
		}
		c.leave(o)
	}
	if n := len(c.origins); n > maxOrigins {
		t.Errorf("%d origins are remembered", n)
	}
}
