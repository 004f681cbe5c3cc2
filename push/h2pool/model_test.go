package h2pool

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"footfall/internal/dice"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What the pool says of a request against what the peer has done with it,
// whatever happens to the connections: nothing is acted on twice, what is
// reported unsent was never acted on, and an answer is the request's own.
func TestPromisesHoldWhateverThePeerDoes(t *testing.T) {
	seed := dice.Seed(t)
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 0))
	roll := func(n int) int { mu.Lock(); defer mu.Unlock(); return rng.IntN(n) }

	last := map[*rawConn]uint32{} // of its GOAWAY
	goAway := func(c *rawConn, id uint32) {
		mu.Lock()
		last[c] = id
		mu.Unlock()
		c.goAway(id, http2.ErrCodeNo)
	}
	s := startRaw(t, 20, func(c *rawConn, id uint32, body string) {
		mu.Lock()
		l, gone := last[c]
		mu.Unlock()
		if gone && id > l {
			return // it has said that it will not act on this one
		}
		answer := func() {
			c.took(body)
			c.respond(id, 200+len(body)%200)
		}
		switch roll(60) {
		case 0: // says no, and means it
			c.reset(id, http2.ErrCodeRefusedStream)
		case 1: // goes away without this one; requests come in order
			goAway(c, id-1)
		case 2: // goes away with this one, and stays for it
			goAway(c, id)
			answer()
		case 3: // acts on it and says nothing
			c.took(body)
			c.nc.Close()
		case 4:
			c.took(body)
			c.reset(id, http2.ErrCodeInternal)
		case 5: // never answers
			c.took(body)
		case 6:
			c.settings(uint32(1 + roll(30)))
			answer()
		case 7, 8, 9, 10, 11, 12, 13, 14, 15:
			wait := time.Duration(roll(3000)) * time.Microsecond
			time.AfterFunc(wait, answer)
		default:
			answer()
		}
	})
	p := newPool(t, s, func(c *Config) { c.Connections = 3 })
	var answered, doubts, unsent atomic.Int64
	var wg sync.WaitGroup
	for w := range 30 {
		wg.Go(func() {
			for i := range 15 {
				body := fmt.Sprint(w, "-", i, strings.Repeat("x", roll(300)))
				patience := time.Minute
				if roll(20) == 0 {
					patience = time.Duration(roll(5000)) * time.Microsecond
				} else if roll(3) > 0 {
					patience = 300 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), min(patience, 2*time.Second))
				st, err := post(ctx, p, body)
				cancel()
				n := s.seenOf(body)
				switch {
				case n > 1:
					t.Errorf("%.20s was acted on %d times", body, n)
				case err == nil && (n != 1 || st != 200+len(body)%200):
					t.Errorf("%.20s: answered %d, acted on %d times", body, st, n)
				case notSent(err) && n != 0:
					t.Errorf("%.20s was acted on: %v", body, err)
				}
				switch {
				case err == nil:
					answered.Add(1)
				case notSent(err):
					unsent.Add(1)
				default:
					doubts.Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d answered, %d in doubt, %d unsent, %+v", answered.Load(), doubts.Load(), unsent.Load(), p.Stats())
	if answered.Load() == 0 {
		t.Error("nothing was answered")
	}
	if st := p.Stats(); st.InFlight != 0 || st.Waiting != 0 {
		t.Errorf("left behind: %+v", st)
	}
}

// The pool and net/http's client must agree about net/http's server.
func TestAgreesWithNetHTTP(t *testing.T) {
	type got struct {
		Method, Path, Body string
		Header             http.Header
	}
	var mu sync.Mutex
	arrived := map[string]got{} // by the header "n"
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h := r.Header.Clone()
		for _, own := range []string{"User-Agent", "Accept-Encoding", "N"} {
			h.Del(own)
		}
		mu.Lock()
		arrived[r.Header.Get("n")] = got{r.Method, r.URL.RequestURI(), string(body), h}
		mu.Unlock()
		if r.Header.Get("early") != "" {
			w.WriteHeader(http.StatusEarlyHints)
		}
		for i := range len(body) % 5 {
			w.Header().Add(fmt.Sprint("Answer-", i%3), strings.Repeat("v", i*len(body)%900))
		}
		w.WriteHeader(200 + len(body)%300)
		for rest := body[:min(len(body), MaxBody)]; len(rest) > 0; {
			n := min(len(rest), 1+len(body)%20000)
			w.Write(rest[:n])
			if len(body)%2 == 0 {
				w.(http.Flusher).Flush()
			}
			rest = rest[n:]
		}
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	p, err := New(Config{Origin: srv.URL, RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	text := func(status int, header http.Header, body []byte, err error) string {
		header.Del("Date") // when the answer was made
		return fmt.Sprint(status, header, string(body), err)
	}
	send := func(req *http.Request, body string) string {
		r := &Request{Method: req.Method, Path: req.URL.RequestURI(), Body: []byte(body)}
		for name, values := range req.Header {
			for _, v := range values {
				r.Header = append(r.Header, hpack.HeaderField{Name: strings.ToLower(name), Value: v})
			}
		}
		resp, err := p.Do(patient(t), r)
		if err != nil {
			t.Error(err)
			return ""
		}
		return text(resp.Status, resp.Header(), resp.Body, resp.BodyErr)
	}
	sendByNetHTTP := func(req *http.Request) string {
		resp, err := srv.Client().Transport.RoundTrip(req)
		if err != nil {
			t.Error(err)
			return ""
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return text(resp.StatusCode, resp.Header, body, err)
	}
	seed := dice.Seed(t)
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			for i := range 15 {
				size := []int{0, 1, 100, 5000, 16384, 70000, 100000}[rng.IntN(7)]
				if size > 1 {
					size += rng.IntN(size)
				}
				body := strings.Repeat(strconv.Itoa(i), size)[:size]
				request := func(n string) *http.Request {
					req, err := http.NewRequest("POST", srv.URL+"/p/"+fmt.Sprint(i%4)+"?q="+fmt.Sprint(i), strings.NewReader(body))
					if err != nil {
						t.Error(err)
					}
					if size == 0 && i%2 == 0 {
						req.Method, req.Body = "GET", nil
					}
					req.Header = http.Header{"N": {n}, "Authorization": {"bearer " + strings.Repeat("j", 300)}, "X-Two": {"1", "2"},
						"X-Long": {strings.Repeat("l", i*i)}}
					if i%3 == 0 {
						req.Header.Set("early", "1")
					}
					return req
				}
				ours, theirs := fmt.Sprint("ours", w, "-", i), fmt.Sprint("theirs", w, "-", i)
				a, b := send(request(ours), body), sendByNetHTTP(request(theirs))
				if a != b {
					t.Errorf("answers to a body of %d bytes differ: %.300s\n%.300s", size, a, b)
				}
				mu.Lock()
				if x, y := fmt.Sprint(arrived[ours]), fmt.Sprint(arrived[theirs]); x != y {
					t.Errorf("requests differ: %.300s\n%.300s", x, y)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if st := p.Stats(); st.Dials != 2 || st.InFlight != 0 || st.Moved != 0 {
		t.Errorf("%+v", st)
	}
}

// Whatever bytes come: no panic, nobody waits for ever, and what was not
// refused in so many words is not called unsent.
func FuzzPeer(f *testing.F) {
	frames := func(make func(fr *http2.Framer)) []byte {
		var b strings.Builder
		make(http2.NewFramer(&b, nil))
		return []byte(b.String())
	}
	ok := []byte{0x88} // :status 200
	seeds := []func(fr *http2.Framer){
		func(fr *http2.Framer) {},
		func(fr *http2.Framer) {
			fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 3})
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: ok, EndHeaders: true})
			fr.WriteDataPadded(1, true, []byte("body"), make([]byte, 3))
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: ok})
			fr.WriteContinuation(3, true, nil)
			fr.WriteRSTStream(5, http2.ErrCodeRefusedStream)
		},
		func(fr *http2.Framer) {
			fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
			fr.WritePing(false, [8]byte{1})
			fr.WriteWindowUpdate(0, 1000)
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: ok, EndHeaders: true, EndStream: true})
			fr.WriteWindowUpdate(3, 1<<31-1)
			fr.WriteGoAway(3, http2.ErrCodeNo, []byte("later"))
		},
		func(fr *http2.Framer) { fr.WriteGoAway(0, http2.ErrCodeProtocol, nil) },
		func(fr *http2.Framer) {
			fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
			fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: ok, EndHeaders: true})
		},
	}
	for _, s := range seeds {
		f.Add(frames(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		ends := make(chan net.Conn, 10)
		p, err := New(Config{Origin: "http://peer", Connections: 1, Proxy: noProxy, Dial: pipes(ends)})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		p.dialPause = time.Microsecond
		good := &rawServer{t: t, limit: 100, seen: map[string]int{}, request: func(c *rawConn, id uint32, body string) { c.respond(id, 200) }}
		var peers sync.WaitGroup
		stop := make(chan struct{})
		peers.Go(func() {
			for n := 0; ; n++ {
				select {
				case nc := <-ends:
					if n > 0 { // a good one, for what moves
						peers.Go(good.newConn(nc).serve)
						continue
					}
					peers.Go(func() { io.Copy(io.Discard, nc) })
					peers.Go(func() {
						nc.SetDeadline(time.Now().Add(10 * time.Second))
						nc.Write(said)
						nc.Close()
					})
				case <-stop:
					return
				}
			}
		})
		mayRefuse := strings.Contains(string(said), "\x03") || strings.Contains(string(said), "\x07") // RST_STREAM, GOAWAY
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := p.Do(ctx, &Request{Method: "POST", Path: "/x", Body: []byte(fmt.Sprint("body ", i)),
					Header: []hpack.HeaderField{{Name: "a", Value: "b"}}})
				if ctx.Err() != nil {
					t.Errorf("no answer: %v", err)
				}
				if notSent(err) && !mayRefuse {
					t.Errorf("it was sent, and nobody has refused it: %v", err)
				}
			})
		}
		wg.Wait()
		p.Close()
		close(stop)
		peers.Wait()
	})
}

// The proxies that net/http's transport knows: with a password, over SOCKS5.
func TestProxies(t *testing.T) {
	s := startRaw(t, 1, func(c *rawConn, id uint32, body string) { c.respond(id, 200) })
	want := url.UserPassword("user", "secret")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // SOCKS5 with a password (RFC 1928, 1929)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				b := make([]byte, 64)
				read := func(n int) []byte { io.ReadFull(nc, b[:n]); return slices.Clone(b[:n]) }
				read(int(read(2)[1]))
				nc.Write([]byte{5, 2})
				user := string(read(int(read(2)[1])))
				password := string(read(int(read(1)[0])))
				if user != "user" || password != "secret" {
					nc.Write([]byte{1, 1})
					return
				}
				nc.Write([]byte{1, 0})
				read(4 + 4 + 2) // an IPv4 address: the origin's
				nc.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
				out, err := net.Dial("tcp", s.ln.Addr().String())
				if err != nil {
					return
				}
				defer out.Close()
				go func() { io.Copy(out, nc); out.Close() }()
				io.Copy(nc, out)
			}()
		}
	}()
	for _, u := range []*url.URL{{Scheme: "socks5", User: want, Host: ln.Addr().String()}} {
		p := newPool(t, s, func(c *Config) { c.Proxy = http.ProxyURL(u) })
		if st, err := post(patient(t), p, "x"); st != 200 {
			t.Errorf("%s: %d, %v", u.Redacted(), st, err)
		}
	}
	for _, u := range []*url.URL{
		{Scheme: "socks5", User: url.UserPassword("user", "wrong"), Host: ln.Addr().String()},
		{Scheme: "ftp", Host: "127.0.0.1:1"},
	} {
		p := newPool(t, s, func(c *Config) { c.Proxy = http.ProxyURL(u) })
		if err := p.Warm(patient(t)); err == nil || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: %v", u.Redacted(), err)
		}
	}
}
