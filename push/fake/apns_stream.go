package fake

import (
	"math"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/http2"
)

// apnsStream is one request and its answer.
type apnsStream struct {
	id      uint32
	req     apnsRequest
	phase   phase
	ended   bool        // the client has sent everything
	timer   *time.Timer // of the answer that waits, nil for none
	verdict verdict
	window  int64  // bytes of DATA the client takes
	unsent  []byte // answer body that waits for window
	length  int64  // announced by content-length, -1: not announced
}

// phase is how far a stream has come. It only moves forward.
type phase uint8

const (
	receiving phase = iota // the request is not complete
	waiting                // complete, or too long already; latency runs
	answering              // decided: the push is with the phone, or refused
)

// keptBody is how much of a request body is kept: enough to see that it is too
// long.
const keptBody = maxPayloadVoIP + 1

// handle deals with one frame. It returns what has to be done because of it
// once mu is released, nil for nothing.
func (c *apnsConn) handle(f http2.Frame) (next func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.buf) > maxUnsent && !c.closed {
		c.space.Wait()
	}
	if c.silent || c.flush || c.closed {
		return nil, nil
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.SettingsFrame:
		return nil, c.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			c.fr.WritePing(true, f.Data)
			c.kick()
		}
	case *http2.WindowUpdateFrame:
		return nil, c.windowUpdate(f)
	case *http2.RSTStreamFrame:
		if f.StreamID > c.highest {
			return nil, http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return c.cancelled(f.StreamID), nil
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID { // RFC 7540, section 5.3.1
			return nil, http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
	case *http2.PushPromiseFrame:
		return nil, http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil, nil // GOAWAY and unknown frames need no answer
}

// headers opens a stream, or ends one with trailers. Callers hold mu.
func (c *apnsConn) headers(f *http2.MetaHeadersFrame) (func(), error) {
	id := f.StreamID
	if st := c.streams[id]; st != nil {
		if st.ended {
			return nil, http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
		}
		if !f.StreamEnded() {
			return nil, http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
		}
		return c.end(st)
	}
	if id%2 == 0 || id <= c.highest {
		return nil, http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.highest = id
	switch {
	case c.goneAway && id > c.lastID:
		return nil, nil // the client has been told, or will read it soon
	case len(c.streams) >= int(c.limit):
		c.a.stats.refused.Add(1)
		c.reset(id, http2.ErrCodeRefusedStream)
		return nil, nil
	case f.Truncated:
		return nil, http2.StreamError{StreamID: id, Code: http2.ErrCodeEnhanceYourCalm}
	}
	length, ok := wellFormed(f)
	if !ok {
		return nil, http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	st := &apnsStream{id: id, window: c.peerIni, length: length}
	var seen [9]bool
	for _, hf := range f.Fields {
		dst, i := st.req.field(hf.Name)
		if dst == nil {
			continue
		}
		st.req.duplicate = st.req.duplicate || seen[i]
		*dst, seen[i] = hf.Value, true
	}
	c.streams[id] = st
	atomicMax(&c.a.stats.peak, int64(len(c.streams)))
	if f.StreamEnded() {
		return c.end(st)
	}
	return nil, nil
}

// wellFormed applies what RFC 9113 asks of the headers of a request, section
// 8.2.2 and 8.3.1, beyond what the Framer checks. length is -1 when it is not
// announced.
func wellFormed(f *http2.MetaHeadersFrame) (length int64, ok bool) {
	if f.HasPriority() && f.Priority.StreamDep == f.StreamID { // RFC 7540, section 5.3.1
		return 0, false
	}
	length = -1
	for _, hf := range f.RegularFields() {
		switch hf.Name {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
			return 0, false
		case "te":
			if hf.Value != "trailers" {
				return 0, false
			}
		case "content-length":
			n, err := strconv.ParseUint(hf.Value, 10, 31)
			if err != nil || length >= 0 && length != int64(n) {
				return 0, false
			}
			length = int64(n)
		}
	}
	return length, f.PseudoValue("method") != "" && f.PseudoValue("scheme") != "" && f.PseudoValue("path") != ""
}

// end notes that the client has sent everything. Callers hold mu.
func (c *apnsConn) end(st *apnsStream) (func(), error) {
	st.ended = true
	if st.phase == receiving && st.length >= 0 && st.length != int64(st.req.bodyLen) {
		return nil, http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	return c.complete(st), nil
}

// complete moves a stream on whose request needs no more input. Callers hold
// mu.
func (c *apnsConn) complete(st *apnsStream) func() {
	if st.phase != receiving {
		return nil // it was too long and is being refused
	}
	st.phase = waiting
	return func() { c.process(st) }
}

// field returns where the value of a header that the rules know is kept, and
// its number; nil for any other.
func (r *apnsRequest) field(name string) (*string, int) {
	switch name {
	case ":method":
		return &r.method, 0
	case ":path":
		return &r.path, 8
	case "authorization":
		return &r.auth, 1
	case "apns-id":
		return &r.id, 2
	case "apns-topic":
		return &r.topic, 3
	case "apns-collapse-id":
		return &r.collapse, 4
	case "apns-priority":
		return &r.priority, 5
	case "apns-push-type":
		return &r.pushType, 6
	case "apns-expiration":
		return &r.expiry, 7
	}
	return nil, 0
}

// data takes a piece of a request body. Callers hold mu.
func (c *apnsConn) data(f *http2.DataFrame) (func(), error) {
	if f.StreamID > c.highest {
		return nil, http2.ConnectionError(http2.ErrCodeProtocol)
	}
	// The connection's window is given back whatever becomes of the stream,
	// else streams that we reset would slowly starve the connection. The
	// stream's own window is never extended: 64 KB is sixteen payloads.
	if c.owed += int(f.Length); c.owed >= initialWindow/2 {
		c.fr.WriteWindowUpdate(0, uint32(c.owed))
		c.owed = 0
		c.kick()
	}
	st := c.streams[f.StreamID]
	if st == nil {
		if c.unfinished.has(f.StreamID) || c.goneAway && f.StreamID > c.lastID {
			return nil, nil // over for us; the client does not know yet
		}
		return nil, http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
	}
	if st.ended {
		return nil, http2.StreamError{StreamID: st.id, Code: http2.ErrCodeStreamClosed}
	}
	if st.phase != receiving {
		st.ended = f.StreamEnded()
		return nil, nil // the rest of a body that is too long
	}
	d := f.Data()
	st.req.bodyLen += len(d)
	st.req.body = append(st.req.body, d[:min(len(d), keptBody-len(st.req.body))]...)
	switch {
	case f.StreamEnded():
		return c.end(st)
	case st.req.bodyLen >= keptBody:
		return c.complete(st), nil
	}
	return nil, nil
}

// settings applies the client's settings. Callers hold mu.
func (c *apnsConn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		c.acknowledged()
		return nil
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.henc.SetMaxDynamicTableSize(min(s.Val, 4096))
		case http2.SettingInitialWindowSize:
			delta := int64(s.Val) - c.peerIni
			c.peerIni = int64(s.Val)
			for _, st := range c.streams {
				if st.window += delta; st.window > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.fr.WriteSettingsAck()
	c.kick()
	c.pumpAll()
	return nil
}

func (c *apnsConn) windowUpdate(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if c.peerWin += int64(f.Increment); c.peerWin > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.pumpAll()
		return nil
	}
	if f.StreamID > c.highest {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if st := c.streams[f.StreamID]; st != nil {
		if st.window += int64(f.Increment); st.window > maxWindow {
			return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeFlowControl}
		}
		c.pump(st)
	}
	return nil
}

// cancelled handles a reset by the client. A request that waits for its answer
// has reached the service, which goes on with it: the push is delivered, only
// nobody is listening. That happens at once and not after the latency, so that
// resets cannot pile up work. Callers hold mu.
func (c *apnsConn) cancelled(id uint32) func() {
	st := c.streams[id]
	if st == nil {
		return nil
	}
	st.ended = true // it sends no more
	c.drop(st)
	if st.timer == nil || st.phase != waiting || st.verdict.push == nil {
		return nil
	}
	c.reached = max(c.reached, id)
	return func() { c.a.deliver(st.verdict.push) }
}

// reset sends RST_STREAM and forgets the stream. Callers hold mu.
func (c *apnsConn) reset(id uint32, code http2.ErrCode) {
	if st := c.streams[id]; st != nil {
		c.drop(st)
	}
	c.unfinished.add(id) // frames that cross ours on the way are no second error
	if c.silent || c.flush || id == 0 {
		return
	}
	c.fr.WriteRSTStream(id, code)
	c.kick()
}

// drop forgets a stream, and closes the connection after the last one that a
// GOAWAY waited for. Callers hold mu.
func (c *apnsConn) drop(st *apnsStream) {
	if c.streams[st.id] != st {
		return
	}
	delete(c.streams, st.id)
	if !st.ended {
		c.unfinished.add(st.id)
	}
	if st.timer != nil && st.timer.Stop() {
		c.a.wg.Done()
	}
	if c.goneAway && len(c.streams) == 0 {
		c.flush = true
		c.kick()
	}
}

// dropStreams forgets all streams above last. Callers hold mu.
func (c *apnsConn) dropStreams(last uint32) {
	for id, st := range c.streams {
		if id > last || last == 0 {
			c.drop(st)
		}
	}
}

// goAway sends GOAWAY and arranges what follows. Callers hold mu.
func (c *apnsConn) goAway(g GoAway) {
	if !c.settled || c.closed || c.silent || c.flush || c.goneAway {
		return
	}
	last := c.highest
	if g.Last != nil {
		open := slices.DeleteFunc(sortedIDs(c.streams), func(id uint32) bool { return c.streams[id].phase == answering })
		// GOAWAY must not deny a push that a phone already has.
		last = min(max(g.Last(open, c.highest), c.reached), math.MaxInt32)
	}
	c.a.stats.goAways.Add(1)
	c.fr.WriteGoAway(last, http2.ErrCode(g.Code), g.debug())
	c.kick()
	c.goneAway, c.lastID = true, last
	c.dropStreams(last)
	if len(c.streams) == 0 {
		c.flush = true
	}
	if !g.Close {
		return
	}
	// Accepted and never answered: hand the pushes over, then cut.
	var pushes []*message
	for _, id := range sortedIDs(c.streams) {
		st := c.streams[id]
		c.drop(st)
		if st.timer != nil && st.phase == waiting && st.verdict.push != nil {
			c.reached = max(c.reached, id)
			pushes = append(pushes, st.verdict.push)
		}
	}
	c.flush = true
	c.a.wg.Go(func() {
		for _, m := range pushes {
			c.a.deliver(m)
		}
	})
}

// lateStreams remembers streams that were over for us before the client had
// ended them: it may go on sending until it learns of that. When more than
// maxLateStreams are kept the oldest half is forgotten, and a client so far
// behind is told STREAM_CLOSED.
type lateStreams struct {
	ids    map[uint32]struct{}
	oldest []uint32
}

const maxLateStreams = 2048

func (l *lateStreams) has(id uint32) bool {
	_, ok := l.ids[id]
	return ok
}

func (l *lateStreams) add(id uint32) {
	if l.ids == nil {
		l.ids = make(map[uint32]struct{})
	}
	if l.has(id) {
		return
	}
	if len(l.oldest) == maxLateStreams {
		for _, old := range l.oldest[:maxLateStreams/2] {
			delete(l.ids, old)
		}
		l.oldest = append(l.oldest[:0], l.oldest[maxLateStreams/2:]...)
	}
	l.ids[id] = struct{}{}
	l.oldest = append(l.oldest, id)
}
