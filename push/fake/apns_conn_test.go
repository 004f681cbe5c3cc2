package fake

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawClient speaks HTTP/2 frame by frame, so that a test can do what no
// well-behaved client does.
type rawClient struct {
	t    testing.TB
	tc   *tls.Conn
	fr   *http2.Framer
	auth string
	a    *APNs
	next uint32
	// limits announced by the server, in order; not yet acknowledged by us
	limits []uint32
}

func dialRaw(t testing.TB, a *APNs, settings ...http2.Setting) *rawClient {
	t.Helper()
	dial := new(net.Dialer).DialContext
	if ln, ok := a.ln.(*MemListener); ok {
		dial = ln.DialContext
	}
	nc, err := dial(t.Context(), "tcp", a.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	tc := tls.Client(nc, &tls.Config{RootCAs: a.RootCAs, NextProtos: []string{"h2"}, ServerName: "127.0.0.1"})
	if err := tc.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	tc.SetDeadline(time.Now().Add(time.Minute))
	c := &rawClient{t: t, tc: tc, fr: http2.NewFramer(tc, tc), a: a, next: 1, auth: "bearer " + bearer(t, a)}
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fr.AllowIllegalWrites = true
	io.WriteString(tc, http2.ClientPreface)
	c.fr.WriteSettings(settings...)
	return c
}

// send writes a whole push on a new stream and returns the stream's id.
func (c *rawClient) send(token, body string) uint32 {
	id := c.open(token)
	c.fr.WriteData(id, true, []byte(body))
	return id
}

// open writes the headers of a push and leaves the stream open.
func (c *rawClient) open(token string) uint32 {
	id := c.next
	c.next += 2
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range [][2]string{
		{":method", "POST"}, {":scheme", "https"}, {":authority", "fake"}, {":path", "/3/device/" + token},
		{"authorization", c.auth}, {"apns-topic", c.a.Topic},
	} {
		e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b.Bytes(), EndHeaders: true})
	return id
}

// event is a frame in words: "1 200", "3 RST REFUSED_STREAM", "1 DATA {...}",
// "GOAWAY 3 NO_ERROR {...}", "LIMIT 10", "PING".
func (c *rawClient) event() (string, error) {
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			return "", err
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return fmt.Sprintf("%d %s", f.StreamID, f.PseudoValue("status")), nil
		case *http2.DataFrame:
			return fmt.Sprintf("%d DATA %s", f.StreamID, f.Data()), nil
		case *http2.RSTStreamFrame:
			return fmt.Sprintf("%d RST %v", f.StreamID, f.ErrCode), nil
		case *http2.GoAwayFrame:
			return fmt.Sprintf("GOAWAY %d %v %s", f.LastStreamID, f.ErrCode, f.DebugData()), nil
		case *http2.PingFrame:
			return "PING", nil
		case *http2.SettingsFrame:
			if n, ok := f.Value(http2.SettingMaxConcurrentStreams); ok {
				c.limits = append(c.limits, n)
				return fmt.Sprintf("LIMIT %d", n), nil
			}
		}
	}
}

// expect reads as many events as are wanted, in that order.
func (c *rawClient) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		got, err := c.event()
		if err != nil || got != w {
			c.t.Fatalf("got %q, %v; want %q", got, err, w)
		}
	}
}

// expectEnd wants the connection closed, and nothing but window updates before.
func (c *rawClient) expectEnd() {
	c.t.Helper()
	if got, err := c.event(); err == nil {
		c.t.Fatalf("got %q, want the end of the connection", got)
	} else if te, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && te.Timeout() {
		c.t.Fatal("the connection stayed open")
	}
}

func TestStreamLimitOpensWithTheFirstGoodToken(t *testing.T) {
	a := startAPNs(t, APNsConfig{MaxStreams: 3})
	c := dialRaw(t, a)
	c.expect("LIMIT 1")
	first := c.open(phone1)
	c.send(phone1, hello) // the second stream is one too many
	c.expect("3 RST REFUSED_STREAM")
	c.fr.WriteData(first, true, []byte(hello))
	c.expect("LIMIT 3", "1 200")
	a.Script(Rule{Answer: Answer{Fault: FaultHang}})
	for range 4 {
		c.send(phone1, hello)
	}
	c.expect("11 RST REFUSED_STREAM")
	if s := a.Stats(); s.RefusedStreams != 2 || s.PeakStreams != 3 || s.Accepted != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestBadTokenKeepsTheLimitAtOne(t *testing.T) {
	a := startAPNs(t, APNsConfig{})
	c := dialRaw(t, a)
	c.auth = "bearer x.y.z"
	c.send(phone1, hello)
	c.expect("LIMIT 1", "1 403", `1 DATA {"reason":"InvalidProviderToken"}`)
	c.open(phone1)
	c.open(phone1)
	c.expect("5 RST REFUSED_STREAM")
}

// RFC 9113, 6.5.3: a client acts on a setting when it has seen it, so a lower
// limit must not punish streams opened before the acknowledgement.
func TestLowerLimitHoldsOnceAcknowledged(t *testing.T) {
	a := startAPNs(t, APNsConfig{MaxStreams: 100})
	c := dialRaw(t, a)
	c.fr.WriteSettingsAck()
	c.send(phone1, hello)
	c.expect("LIMIT 1", "LIMIT 100", "1 200")
	c.fr.WriteSettingsAck()
	a.Script(Rule{Answer: Answer{Fault: FaultHang}})
	a.SetMaxStreams(2)
	c.expect("LIMIT 2")
	for range 5 { // in flight before the client knew
		c.send(phone1, hello)
	}
	c.fr.WritePing(false, [8]byte{})
	c.expect("PING")
	if n := a.Stats().RefusedStreams; n != 0 {
		t.Fatalf("%d streams refused before the acknowledgement", n)
	}
	c.fr.WriteSettingsAck()
	c.send(phone1, hello)
	c.expect("13 RST REFUSED_STREAM")
}

func TestGoAwayDropsWhatIsAboveTheLastStream(t *testing.T) {
	// In fake time, so that no answer comes before the GOAWAY, however busy the machine is.
	synctest.Test(t, goAwayDropsWhatIsAboveTheLastStream)
}

func goAwayDropsWhatIsAboveTheLastStream(t *testing.T) {
	a := startAPNs(t, APNsConfig{Listener: NewMemListener()})
	c := dialRaw(t, a)
	c.send(phone1, hello)
	c.expect("LIMIT 1", "LIMIT 1000", "1 200")
	a.SetLatency(FixedLatency(50 * time.Millisecond))
	for i := range 6 {
		c.send(DeviceToken(fmt.Sprint(i)), hello)
	}
	c.fr.WritePing(false, [8]byte{})
	c.expect("PING") // all six are in
	a.GoAway(GoAway{Last: func(open []uint32, highest uint32) uint32 {
		if !slices.Equal(open, []uint32{3, 5, 7, 9, 11, 13}) || highest != 13 {
			t.Errorf("open %v, highest %d", open, highest)
		}
		return open[2]
	}})
	c.expect(`GOAWAY 7 NO_ERROR {"reason":"Shutdown"}`)
	got := []string{}
	for range 3 {
		e, err := c.event()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"3 200", "5 200", "7 200"}) {
		t.Errorf("answers after GOAWAY: %v", got)
	}
	c.expectEnd()
	for i := range 6 {
		if n, want := len(a.Phones().Shown(DeviceToken(fmt.Sprint(i)))), map[bool]int{true: 1}[i < 3]; n != want {
			t.Errorf("phone %d shows %d, want %d", i, n, want)
		}
	}
}

func TestGoAwayNeverDeniesAProcessedPush(t *testing.T) {
	a := startAPNs(t, APNsConfig{})
	c := dialRaw(t, a)
	c.send(phone1, hello)
	c.expect("LIMIT 1", "LIMIT 1000", "1 200")
	a.GoAway(GoAway{Last: func([]uint32, uint32) uint32 { return 0 }, Code: uint32(http2.ErrCodeEnhanceYourCalm), Debug: []byte("x")})
	c.expect("GOAWAY 1 ENHANCE_YOUR_CALM x")
	c.expectEnd()
}

func TestGoAwayThatCutsLeavesPushesInDoubt(t *testing.T) {
	a := startAPNs(t, APNsConfig{})
	c := dialRaw(t, a)
	c.send(phone1, hello)
	c.expect("LIMIT 1", "LIMIT 1000", "1 200")
	a.SetLatency(FixedLatency(time.Minute))
	c.send(DeviceToken("cut"), hello)
	c.fr.WritePing(false, [8]byte{})
	c.expect("PING")
	a.GoAway(GoAway{Close: true})
	c.expect(`GOAWAY 3 NO_ERROR {"reason":"Shutdown"}`)
	c.expectEnd()
	a.Close()
	if n := len(a.Phones().Shown(DeviceToken("cut"))); n != 1 {
		t.Errorf("phone shows %d, want the push that was never answered", n)
	}
}

func TestAPNsFaults(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault Fault
		want  []string // events after the first push; "end" is the end of the connection
		shown int
	}{
		{"cut after accept", FaultCut, []string{"end"}, 1},
		{"lost request", FaultLose, []string{"end"}, 0},
		{"refused", FaultRefuse, []string{"3 RST REFUSED_STREAM", "5 200"}, 0},
		{"reset after accept", FaultReset, []string{"3 RST INTERNAL_ERROR", "5 200"}, 1},
		{"hang", FaultHang, []string{"5 200"}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := startAPNs(t, APNsConfig{})
			c := dialRaw(t, a)
			c.send(DeviceToken("warm"), hello)
			c.expect("LIMIT 1", "LIMIT 1000", "1 200")
			a.Script(Rule{Token: phone1, Times: 1, Answer: Answer{Fault: tc.fault}})
			c.send(phone1, hello)
			c.send(DeviceToken("after"), hello)
			for _, w := range tc.want {
				if w == "end" {
					c.expectEnd()
				} else {
					c.expect(w)
				}
			}
			if n := len(a.Phones().Shown(phone1)); n != tc.shown {
				t.Errorf("phone shows %d, want %d", n, tc.shown)
			}
		})
	}
}

func TestSilenceKeepsTheSocketAndAnswersNothing(t *testing.T) {
	a := startAPNs(t, APNsConfig{TokenUpdateInterval: -1})
	c := dialRaw(t, a)
	c.send(phone1, hello)
	c.expect("LIMIT 1", "LIMIT 1000", "1 200")
	a.Silence()
	c.send(DeviceToken("silence"), hello)
	c.fr.WritePing(false, [8]byte{})
	c.tc.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if e, err := c.event(); err == nil {
		t.Errorf("a silent connection said %q", e)
	} else if errors.Is(err, io.EOF) {
		t.Error("a silent connection closed its socket")
	}
	if n := len(a.Phones().Shown(DeviceToken("silence"))); n != 0 {
		t.Error("a push on a silent connection reached the phone")
	}
	d := dialRaw(t, a) // a new connection is well
	d.send(phone1, hello)
	d.expect("LIMIT 1", "LIMIT 1000", "1 200")
}

// A client that was reset-happy must not lose pushes that the service has.
func TestResetByTheClientDeliversAWholeRequest(t *testing.T) {
	a := startAPNs(t, APNsConfig{Latency: FixedLatency(time.Hour)})
	c := dialRaw(t, a)
	c.expect("LIMIT 1")
	whole := c.send(phone1, hello)
	c.fr.WriteRSTStream(whole, http2.ErrCodeCancel)
	half := c.open(DeviceToken("half"))
	c.fr.WriteRSTStream(half, http2.ErrCodeCancel)
	c.fr.WritePing(false, [8]byte{})
	c.expect("LIMIT 1000", "PING")
	if len(a.Phones().Shown(phone1)) != 1 || len(a.Phones().Shown(DeviceToken("half"))) != 0 {
		t.Errorf("whole request: %v, half a request: %v", a.Phones().Shown(phone1), a.Phones().Shown(DeviceToken("half")))
	}
}

// A client may allow no DATA at all; its answer then waits for a window update
// and costs nobody else anything.
func TestAnswersWaitForTheClientsWindow(t *testing.T) {
	a := startAPNs(t, APNsConfig{TokenUpdateInterval: -1})
	a.SetToken(phone1, TokenBad, time.Time{})
	c := dialRaw(t, a, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	id := c.send(phone1, hello)
	c.expect("LIMIT 1", "LIMIT 1000", "1 400")
	c.send(DeviceToken("other"), hello)
	c.expect("3 200")
	c.fr.WriteWindowUpdate(id, 10)
	c.expect(`1 DATA {"reason":`)
	c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
	c.expect(`1 DATA "BadDeviceToken"}`)
}

func TestHostileFrames(t *testing.T) {
	settled := func(c *rawClient) {
		c.send(phone1, hello)
		c.expect("LIMIT 1", "LIMIT 1000", "1 200")
	}
	for _, tc := range []struct {
		name string
		do   func(*rawClient)
		want string // prefix of the last event, "" when only the end is wanted
	}{
		{"even stream", func(c *rawClient) { c.next = 2; c.open(phone1) }, "GOAWAY 1 PROTOCOL_ERROR"},
		{"stream id falls", func(c *rawClient) { c.next = 9; c.send(phone1, hello); c.expect("9 200"); c.next = 5; c.open(phone1) }, "GOAWAY 9 PROTOCOL_ERROR"},
		{"data on an idle stream", func(c *rawClient) { c.fr.WriteData(99, true, nil) }, "GOAWAY 1 PROTOCOL_ERROR"},
		{"reset of an idle stream", func(c *rawClient) { c.fr.WriteRSTStream(99, 0) }, "GOAWAY 1 PROTOCOL_ERROR"},
		{"push promise", func(c *rawClient) {
			c.fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		}, "GOAWAY"},
		{"window too large", func(c *rawClient) { c.fr.WriteWindowUpdate(0, 1<<31-1) }, "GOAWAY 1 FLOW_CONTROL_ERROR"},
		{"frame too large", func(c *rawClient) { c.fr.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 1<<17)) }, "GOAWAY 1 FRAME_SIZE_ERROR"},
		{"settings of a wrong size", func(c *rawClient) { c.fr.WriteRawFrame(http2.FrameSettings, 0, 0, []byte{1, 2, 3}) }, "GOAWAY 1 FRAME_SIZE_ERROR"},
		{"bad window setting", func(c *rawClient) {
			c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		}, "GOAWAY 1 FLOW_CONTROL_ERROR"},
		{"rubbish header block", func(c *rawClient) {
			c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
		}, "GOAWAY 1 COMPRESSION_ERROR"},
		{"continuation flood", func(c *rawClient) {
			c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, EndHeaders: false})
			for range 1000 {
				if c.fr.WriteContinuation(3, false, bytes.Repeat([]byte{0x40, 1, 'a', 1, 'b'}, 200)) != nil {
					return
				}
			}
		}, ""},
		{"not h2 at all", func(c *rawClient) { c.tc.Write(bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 2000)) }, "GOAWAY 1 FRAME_SIZE_ERROR"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := startAPNs(t, APNsConfig{TokenUpdateInterval: -1})
			c := dialRaw(t, a)
			settled(c)
			tc.do(c)
			if tc.want != "" {
				got, err := c.event()
				if err != nil || !strings.HasPrefix(got, tc.want) {
					t.Fatalf("got %q, %v; want %q", got, err, tc.want)
				}
				c.expectEnd()
			} else {
				for {
					if _, err := c.event(); err != nil {
						break
					}
				}
			}
			settled(dialRaw(t, a)) // others are served
		})
	}
}

// A flood of pings from a client that reads nothing must neither grow our
// memory nor keep Close waiting.
func TestFloodWithoutReadingIsBounded(t *testing.T) {
	a := startAPNs(t, APNsConfig{TokenUpdateInterval: -1})
	c := dialRaw(t, a)
	c.tc.SetDeadline(time.Now().Add(500 * time.Millisecond))
	for c.fr.WritePing(false, [8]byte{}) == nil {
	}
	for _, ac := range a.open() {
		ac.mu.Lock()
		if len(ac.buf) > maxUnsent+1<<10 {
			t.Errorf("%d bytes wait for a client that does not read", len(ac.buf))
		}
		ac.mu.Unlock()
	}
	start := time.Now()
	a.Close()
	if d := time.Since(start); d > 30*time.Second { // it would wait for ever
		t.Errorf("Close took %v", d)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	a := startAPNs(t, APNsConfig{MaxConnections: 2})
	for range 2 {
		dialRaw(t, a).expect("LIMIT 1")
	}
	if tc, err := tls.Dial("tcp", a.Addr().String(), &tls.Config{RootCAs: a.RootCAs, NextProtos: []string{"h2"}}); err == nil {
		tc.Close()
		t.Error("a third connection was served")
	}
	if n := a.Stats().RefusedConnections; n != 1 {
		t.Errorf("RefusedConnections = %d, want 1", n)
	}
}

// Many senders, changing limits, GOAWAYs and cuts at once: every push that got
// its 200 is on a phone, and nothing is left behind afterwards.
func TestAPNsUnderConcurrencyLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	a := startAPNs(t, APNsConfig{Latency: UniformLatency(0, 3*time.Millisecond, 7)})
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.RootCAs}, ForceAttemptHTTP2: true, MaxConnsPerHost: 0}
	hc := &http.Client{Transport: tr}
	auth := "bearer " + bearer(t, a)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 40 {
				tok := DeviceToken(fmt.Sprintf("%d/%d", w, i))
				req, _ := http.NewRequestWithContext(t.Context(), "POST", a.URL()+"/3/device/"+tok, strings.NewReader(hello))
				req.Header.Set("authorization", auth)
				req.Header.Set("apns-topic", a.Topic)
				res, err := hc.Do(req)
				if err != nil {
					continue // cut or refused: unknown to the sender
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode == 200 && len(a.Phones().Shown(tok)) == 0 {
					t.Errorf("%d/%d: answered 200 and not on the phone", w, i)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 30 {
			a.SetMaxStreams(uint32(1 + i%20))
			switch i % 10 {
			case 3:
				a.GoAway(GoAway{})
			case 6:
				a.GoAway(GoAway{Last: func(open []uint32, highest uint32) uint32 { return highest / 2 }})
			case 9:
				a.Cut()
			}
			runtime.Gosched()
		}
	})
	wg.Wait()
	tr.CloseIdleConnections()
	a.Close()
	a.Close() // harmless
	if s := a.Stats(); s.OpenConnections != 0 || s.ProtocolErrors != 0 {
		t.Errorf("after Close: %+v", s)
	}
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i == 6000 {
			buf := make([]byte, 1<<16)
			t.Fatalf("goroutines: %d before, %d after Close\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
		<-time.After(10 * time.Millisecond) // net/http's own goroutines take a moment
	}
}
