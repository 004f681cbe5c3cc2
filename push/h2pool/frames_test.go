package h2pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// do sends body with Do, on a connection of which header compression has seen
// the fields before.
func do(t *testing.T, p *Pool, body string) (*Response, error) {
	t.Helper()
	return p.Do(patient(t), &Request{Method: "POST", Path: "/x", Body: []byte(body),
		Header: []hpack.HeaderField{{Name: "kept", Value: "k"}, {Name: "new", Value: body[:min(len(body), 50)], Sensitive: true}}})
}

// fields compresses, "name value" each, without regard for what is allowed.
func (c *rawConn) fields(list ...string) []byte {
	c.encBuf.Reset()
	for _, f := range list {
		name, value, _ := strings.Cut(f, " ")
		c.enc.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	return bytes.Clone(c.encBuf.Bytes())
}

func (c *rawConn) headers(id uint32, end bool, list ...string) {
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.fields(list...), EndHeaders: true, EndStream: end})
}

// What a peer may say, and what it must not, in answer to one request: each
// ends with what is known, and the pool goes on.
func TestEveryAnswerHasItsMeaning(t *testing.T) {
	long := strings.Repeat("x", MaxBody)
	write := func(c *rawConn, id uint32, body string) {
		for len(body) > 0 {
			n := min(len(body), maxFrame)
			c.fr.WriteData(id, n == len(body), []byte(body[:n]))
			body = body[n:]
		}
	}
	tests := []struct {
		name   string
		answer func(c *rawConn, id uint32) // under c.mu
		status int                         // 0: in doubt
		body   string
		cut    string // part of BodyErr
		doubt  string // part of the error; "" with a status
		lost   bool   // the connection with it
	}{
		{name: "interim answers first", status: 200, body: "b", answer: func(c *rawConn, id uint32) {
			c.headers(id, false, ":status 103", "link x")
			c.headers(id, false, ":status 100")
			c.headers(id, false, ":status 200")
			write(c, id, "b")
		}},
		{name: "trailers", status: 200, body: "b", answer: func(c *rawConn, id uint32) {
			c.headers(id, false, ":status 200")
			c.fr.WriteData(id, false, []byte("b"))
			c.headers(id, true, "grpc-status 0")
		}},
		{name: "headers in pieces", status: 400, answer: func(c *rawConn, id uint32) {
			b := c.fields(":status 400", "a b", "c d")
			c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b[:1], EndStream: true})
			c.fr.WriteContinuation(id, false, nil)
			c.fr.WriteContinuation(id, true, b[1:])
		}},
		{name: "padding", status: 200, body: "bc", answer: func(c *rawConn, id uint32) {
			c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.fields(":status 200"), EndHeaders: true, PadLength: 200})
			c.fr.WriteDataPadded(id, false, []byte("b"), make([]byte, 255))
			c.fr.WriteDataPadded(id, false, nil, make([]byte, 100))
			c.fr.WriteDataPadded(id, true, []byte("c"), nil)
		}},
		{name: "unknown frames", status: 200, answer: func(c *rawConn, id uint32) {
			c.fr.WriteRawFrame(0xbe, 0xff, id, []byte("later versions"))
			c.fr.WritePriority(id, http2.PriorityParam{StreamDep: 0, Weight: 3})
			c.headers(id, true, ":status 200")
		}},
		{name: "the longest body", status: 200, body: long, answer: func(c *rawConn, id uint32) {
			c.headers(id, false, ":status 200", fmt.Sprint("content-length ", len(long)))
			write(c, id, long)
		}},
		{name: "a longer body", status: 503, body: long, cut: "too long", answer: func(c *rawConn, id uint32) {
			c.headers(id, false, ":status 503")
			write(c, id, long+"y")
		}},
		{name: "a body of padding", status: 200, cut: "too long", answer: func(c *rawConn, id uint32) {
			c.headers(id, false, ":status 200")
			for left := streamWindow; left > 0; {
				pad := make([]byte, min(255, left-1))
				c.fr.WriteDataPadded(id, false, nil, pad)
				left -= len(pad) + 1
			}
		}},
		{name: "a body shorter than announced", status: 200, body: "b", cut: "unexpected EOF", answer: func(c *rawConn, id uint32) {
			c.headers(id, false, ":status 200", "content-length 2")
			write(c, id, "b")
		}},
		{name: "reset in the body", status: 410, body: "b", cut: "INTERNAL_ERROR", answer: func(c *rawConn, id uint32) {
			c.headers(id, false, ":status 410")
			c.fr.WriteData(id, false, []byte("b"))
			c.fr.WriteRSTStream(id, http2.ErrCodeInternal)
		}},
		{name: "refused after the status", status: 200, cut: "REFUSED_STREAM", answer: func(c *rawConn, id uint32) {
			c.headers(id, false, ":status 200")
			c.fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		}},
		{name: "cut in the body", status: 200, cut: "EOF", lost: true, answer: func(c *rawConn, id uint32) {
			c.headers(id, false, ":status 200")
			c.nc.Close()
		}},

		{name: "too many headers", doubt: "bytes of headers", answer: func(c *rawConn, id uint32) {
			c.headers(id, true, append([]string{":status 200"}, slices.Repeat([]string{"a " + strings.Repeat("x", 3<<10)}, 11)...)...)
		}},
		{name: "no status", doubt: "no status", answer: func(c *rawConn, id uint32) { c.headers(id, true, "a b") }},
		{name: "a status of letters", doubt: "no status", answer: func(c *rawConn, id uint32) { c.headers(id, true, ":status ok!") }},
		{name: "101", doubt: "101", answer: func(c *rawConn, id uint32) { c.headers(id, false, ":status 101") }},
		{name: "nothing but an interim answer", doubt: "103", answer: func(c *rawConn, id uint32) { c.headers(id, true, ":status 103") }},
		{name: "a body first", doubt: "before the headers", answer: func(c *rawConn, id uint32) { c.fr.WriteData(id, true, []byte("b")) }},
		{name: "two answers", status: 200, cut: "headers after", answer: func(c *rawConn, id uint32) {
			c.headers(id, false, ":status 200")
			c.headers(id, false, ":status 410")
		}},
		{name: "upper case names", doubt: "against the protocol", answer: func(c *rawConn, id uint32) { c.headers(id, true, ":status 200", "A b") }},
		{name: "stream window over the top", doubt: "FLOW_CONTROL", answer: func(c *rawConn, id uint32) { c.fr.WriteWindowUpdate(id, maxWindow) }},
		{name: "stream window update of 0", doubt: "PROTOCOL", answer: func(c *rawConn, id uint32) { c.fr.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 4)) }},

		{name: "too many headers by far", doubt: "PROTOCOL", lost: true, answer: func(c *rawConn, id uint32) {
			c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.fields(":status 200")})
			for range 20 {
				c.fr.WriteContinuation(id, false, c.fields("a "+strings.Repeat("x", 15<<10)))
			}
		}},
		{name: "connection window over the top", doubt: "FLOW_CONTROL", lost: true, answer: func(c *rawConn, id uint32) { c.fr.WriteWindowUpdate(0, maxWindow) }},
		{name: "connection window update of 0", doubt: "PROTOCOL", lost: true, answer: func(c *rawConn, id uint32) { c.fr.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, make([]byte, 4)) }},
		{name: "a window in SETTINGS over the top", doubt: "FLOW_CONTROL", lost: true, answer: func(c *rawConn, id uint32) {
			c.fr.WriteWindowUpdate(id, maxWindow-defaultWindow)
			c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
		}},
		{name: "push promised", doubt: "PUSH_PROMISE", lost: true, answer: func(c *rawConn, id uint32) {
			c.fr.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, BlockFragment: c.fields(":status 200"), EndHeaders: true})
		}},
		{name: "push enabled", doubt: "enables push", lost: true, answer: func(c *rawConn, id uint32) {
			c.fr.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 1})
		}},
		{name: "a stream of the peer's", doubt: "not opened", lost: true, answer: func(c *rawConn, id uint32) { c.headers(2, true, ":status 200") }},
		{name: "a stream that is not open", doubt: "not opened", lost: true, answer: func(c *rawConn, id uint32) { c.fr.WriteRSTStream(id+2, http2.ErrCodeCancel) }},
		{name: "a frame too large", doubt: "too large", lost: true, answer: func(c *rawConn, id uint32) {
			c.fr.WriteRawFrame(http2.FrameData, 0, id, make([]byte, maxFrame+1))
		}},
		{name: "headers that do not decompress", doubt: "COMPRESSION", lost: true, answer: func(c *rawConn, id uint32) {
			c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
		}},
		{name: "HTTP/1", doubt: "frame", lost: true, answer: func(c *rawConn, id uint32) { io.WriteString(c.nc, "HTTP/1.1 400 Bad Request\r\n\r\n") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := startRaw(t, 100, func(c *rawConn, id uint32, body string) {
				if body != "x" {
					c.respond(id, 204)
					return
				}
				c.took(body)
				c.mu.Lock()
				defer c.mu.Unlock()
				c.fr.AllowIllegalWrites = true
				tt.answer(c, id)
				delete(c.open, id)
			})
			p := newPool(t, s, nil)
			if _, err := do(t, p, "warm"); err != nil {
				t.Fatal(err)
			}
			resp, err := do(t, p, "x")
			if tt.status == 0 {
				if err == nil || notSent(err) || !strings.Contains(err.Error(), tt.doubt) {
					t.Errorf("got %+v, %v; want an error that leaves it open, with %q", resp, err, tt.doubt)
				}
			} else if err != nil || resp.Status != tt.status || string(resp.Body) != tt.body || (resp.BodyErr == nil) != (tt.cut == "") ||
				!strings.Contains(fmt.Sprint(resp.BodyErr), tt.cut) {
				t.Fatalf("got %+v, %v; want %d with a body of %d bytes, %q", resp, err, tt.status, len(tt.body), tt.cut)
			}
			if resp, err := do(t, p, "after"); err != nil || resp.Status != 204 {
				t.Errorf("the next request: %+v, %v", resp, err)
			}
			if n := s.seenOf("x"); n != 1 {
				t.Errorf("seen %d times", n)
			}
			if want := map[bool]int{false: 1, true: 2}[tt.lost]; s.dials() != want {
				t.Errorf("%d connections, want %d", s.dials(), want)
			}
		})
	}
}

// A peer that takes little at a time gets all of it, in order; one that has
// taken nothing of a body cannot have acted on it.
func TestSmallWindows(t *testing.T) {
	const bodies = 40
	s := startRaw(t, 100, func(c *rawConn, id uint32, body string) {
		c.took(body)
		c.respond(id, 200)
	})
	s.settings = []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}
	s.frame = func(c *rawConn, f http2.Frame) {
		id := f.Header().StreamID
		switch f := f.(type) {
		case *http2.MetaHeadersFrame: // let it begin, a byte at first
			c.fr.WriteWindowUpdate(id, 1)
		case *http2.DataFrame:
			if n := uint32(len(f.Data())); n > 0 && !f.StreamEnded() {
				c.fr.WriteWindowUpdate(id, min(n*3, 5000))
			}
		}
	}
	p := newPool(t, s, nil)
	type sent struct {
		body string
		err  error
	}
	results := make(chan sent, bodies)
	for i := range bodies {
		go func() {
			body := fmt.Sprint(i, " ", strings.Repeat(fmt.Sprint(i%10), i*300))
			_, err := do(t, p, body)
			results <- sent{body, err}
		}()
	}
	for range bodies {
		if r := <-results; r.err != nil || s.seenOf(r.body) != 1 {
			t.Errorf("a body of %d bytes: %v, arrived %d times", len(r.body), r.err, s.seenOf(r.body))
		}
	}

	s.mu.Lock()
	s.frame = nil // from now on nothing may be sent
	s.mu.Unlock()
	_, err := p.Do(deadline(t, 50*time.Millisecond), &Request{Method: "POST", Path: "/x", Body: []byte("held")})
	if !notSent(err) {
		t.Errorf("nothing of the body has left, but: %v", err)
	}
	if _, err := p.Do(patient(t), &Request{Method: "GET", Path: "/x"}); err != nil {
		t.Errorf("a request without a body: %v", err)
	}
}

// An answer may come before the request is all there.
func TestEarlyAnswer(t *testing.T) {
	s := startRaw(t, 100, func(c *rawConn, id uint32, body string) { c.respond(id, 200) })
	resets := make(chan uint32, 1)
	s.frame = func(c *rawConn, f http2.Frame) {
		switch f := f.(type) {
		case *http2.DataFrame:
			if len(f.Data()) > 1000 && c.open[f.StreamID] {
				delete(c.open, f.StreamID)
				c.headers(f.StreamID, true, ":status 413")
			}
		case *http2.RSTStreamFrame:
			resets <- f.StreamID
		}
	}
	p := newPool(t, s, nil)
	resp, err := do(t, p, strings.Repeat("x", 1<<20))
	if err != nil || resp.Status != 413 {
		t.Fatalf("%+v, %v", resp, err)
	}
	<-resets
	if resp, err := do(t, p, "y"); err != nil || resp.Status != 200 || s.dials() != 1 {
		t.Errorf("next: %+v, %v, %d connections", resp, err, s.dials())
	}
}

// A peer that asks for answers without end, and reads none of them, costs a
// bounded amount of memory and its connection.
func TestFloods(t *testing.T) {
	floods := map[string]func(fr *http2.Framer) error{
		"PING": func(fr *http2.Framer) error { return fr.WritePing(false, [8]byte{1}) },
		"SETTINGS": func(fr *http2.Framer) error {
			return fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 7})
		},
	}
	for name, frame := range floods {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the connection has a second for its last words
			ends := make(chan net.Conn, 10)
			p, err := New(Config{Origin: "http://peer", Connections: 1, Proxy: noProxy, Dial: pipes(ends)})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			result := make(chan error, 1)
			go func() { _, err := do(t, p, "x"); result <- err }()
			peer := <-ends
			readRequest(t, peer)
			fr := http2.NewFramer(peer, nil)
			sent := 0
			for fr.WriteSettings(); frame(fr) == nil; sent++ {
				if sent > 1<<20 {
					t.Fatal("it is answered for ever")
				}
			}
			if err := <-result; notSent(err) || !strings.Contains(fmt.Sprint(err), "ENHANCE_YOUR_CALM") {
				t.Errorf("after %d frames: %v", sent, err)
			}
		})
	}
}

// pipes is a network of synchronous pipes, whose other ends go to ends.
func pipes(ends chan<- net.Conn) dialFunc {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case ends <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

// readRequest reads from a client until the end of its first request.
func readRequest(t *testing.T, peer net.Conn) {
	t.Helper()
	if _, err := io.ReadFull(peer, make([]byte, len(http2.ClientPreface))); err != nil {
		t.Fatal(err)
	}
	fr := http2.NewFramer(nil, peer)
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f.Header().Flags.Has(http2.FlagDataEndStream) && f.Header().StreamID > 0 {
			return
		}
	}
}

// What was not handed to a writer that hangs has not left: it moves to another
// connection and is not in doubt.
func TestPeerThatDoesNotRead(t *testing.T) {
	ends := make(chan net.Conn, 10)
	p, err := New(Config{Origin: "http://peer", Connections: 1, Proxy: noProxy, Dial: pipes(ends),
		PingAfter: time.Hour, PingTimeout: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	warm := make(chan error, 1)
	go func() { _, err := do(t, p, "warm"); warm <- err }()
	first := <-ends
	readRequest(t, first)
	fr := http2.NewFramer(first, first)
	fr.WriteSettings()
	if f, err := fr.ReadFrame(); err != nil || !f.Header().Flags.Has(http2.FlagSettingsAck) {
		t.Fatal(f, err)
	}
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true})
	if err := <-warm; err != nil {
		t.Fatal(err)
	}
	// From now on nobody reads the pipe. More than a batch of requests:
	const n = 20
	results := make(chan error, n)
	for i := range n {
		go func() { _, err := do(t, p, fmt.Sprint(i, strings.Repeat("x", 8<<10))); results <- err }()
	}
	handed := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		c := p.conns[0]
		if c.active() < n || len(c.streams) == 0 {
			return false
		}
		c.heard = time.Time{} // an hour has passed
		c.watchdog.Reset(0)
		return true
	}
	for ctx := patient(t); !handed(); runtime.Gosched() {
		if ctx.Err() != nil {
			t.Fatal("nothing was handed to the writer")
		}
	}
	second := <-ends
	s := &rawServer{t: t, limit: 100, seen: map[string]int{}, request: func(c *rawConn, id uint32, body string) { c.respond(id, 200) }}
	go s.newConn(second).serve()
	doubts, ok := 0, 0
	for range n {
		switch err := <-results; {
		case err == nil:
			ok++
		case !notSent(err) && strings.Contains(err.Error(), "silent"):
			doubts++
		default:
			t.Error(err)
		}
	}
	// What was handed over fits into one batch, or a little more.
	if doubts == 0 || doubts > maxBatch/(8<<10)+1 {
		t.Errorf("%d in doubt, %d answered on another connection", doubts, ok)
	}
}

// A connection has 2^30 requests in it, a day's worth at full speed.
func TestStreamIdsRunOut(t *testing.T) {
	s := startRaw(t, 100, func(c *rawConn, id uint32, body string) { c.took(body); c.respond(id, 200) })
	p := newPool(t, s, nil)
	if _, err := do(t, p, "warm"); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.conns[0].nextID = maxStreamID - 4
	p.mu.Unlock()
	for i := range 10 {
		if resp, err := do(t, p, fmt.Sprint(i)); err != nil || resp.Status != 200 {
			t.Errorf("request %d: %+v, %v", i, resp, err)
		}
	}
	if s.dials() != 2 || p.Stats().Retired != 1 {
		t.Errorf("%d connections, %+v", s.dials(), p.Stats())
	}
}

// A peer that allows no streams is left, slowly: the next connection may do better.
func TestNoStreamsAllowed(t *testing.T) {
	s := startRaw(t, 100, func(c *rawConn, id uint32, body string) {
		if c.n == 0 {
			c.settings(0)
		}
		c.respond(id, 200)
	})
	p := newPool(t, s, nil)
	for range 3 {
		if resp, err := do(t, p, "x"); err != nil || resp.Status != 200 {
			t.Errorf("%+v, %v", resp, err)
		}
	}
	if s.dials() != 2 {
		t.Errorf("%d connections, want 2", s.dials())
	}
}

// The peer may take its compression table away and give it back.
func TestHeaderTableSize(t *testing.T) {
	w := newWriter("https", "h")
	dec := hpack.NewDecoder(4096, nil)
	r := &Request{Method: "POST", Path: "/p", PathVaries: true, Body: []byte("b"), Header: []hpack.HeaderField{
		{Name: "kept", Value: strings.Repeat("k", 300)}, {Name: "new", Value: strings.Repeat("n", 200), Sensitive: true}}}
	want := []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "h"},
		{Name: ":path", Value: "/p", Sensitive: true}, r.Header[0], r.Header[1], {Name: "content-length", Value: "1", Sensitive: true}}
	size := func(t tableSize) int {
		w.encode(&batch{control: control{tableSize: t}})
		w.headers(1, r, false)
		return w.block.Len()
	}
	for i, tt := range []struct {
		change  tableSize
		indexed bool
	}{
		{tableSize{}, false}, {tableSize{}, true}, {tableSize{true, 0, 0}, false}, {tableSize{}, false},
		{tableSize{true, 4096, 1 << 20}, false}, {tableSize{}, true}, {tableSize{true, 0, 4096}, false}, {tableSize{}, true},
	} {
		n := size(tt.change)
		got, err := dec.DecodeFull(w.block.Bytes())
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("step %d: %v, %v", i, got, err)
		}
		if small := n < 300; small != tt.indexed {
			t.Errorf("step %d: %d bytes, want them indexed: %v", i, n, tt.indexed)
		}
	}
}

func TestRequestsAreChecked(t *testing.T) {
	p, err := New(Config{Origin: "http://peer"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, r := range []*Request{
		{Method: "", Path: "/"}, {Method: "PO ST", Path: "/"}, {Method: "GET", Path: ""}, {Method: "GET", Path: "/a\nb"},
		{Method: "GET", Path: "/", Header: []hpack.HeaderField{{Name: "Upper", Value: "v"}}},
		{Method: "GET", Path: "/", Header: []hpack.HeaderField{{Name: ":path", Value: "/"}}},
		{Method: "GET", Path: "/", Header: []hpack.HeaderField{{Name: "a", Value: "b\r\nc"}}},
	} {
		if _, err := p.Do(t.Context(), r); !notSent(err) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
