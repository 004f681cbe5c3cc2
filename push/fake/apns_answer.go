package fake

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// sawToken notes what the check of a provider token said. A good one opens the
// connection to many streams; an expired one wedges it, after which the answer
// is always that. It returns the reason that counts.
func (c *apnsConn) sawToken(reason string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.wedged:
		return "ExpiredProviderToken"
	case reason == "ExpiredProviderToken":
		c.wedged = !c.a.cfg.NoWedge
	case reason == "" && !c.authorised:
		c.authorised = true
		c.setLimit(c.a.maxStream.Load())
	}
	return reason
}

// process decides on a complete request and answers now or later.
func (c *apnsConn) process(st *apnsStream) {
	c.a.stats.requests.Add(1)
	if c.schedule(st, c.a.judge(c, &st.req)) {
		c.finish(st)
	}
}

// schedule applies what a verdict asks for before the answer, and reports
// whether the answer is due now.
func (c *apnsConn) schedule(st *apnsStream, v verdict) (due bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[st.id] != st {
		return false // dropped by a GOAWAY or a cut in the meantime
	}
	st.verdict = v
	st.req.body = nil
	if v.goAway != nil {
		c.goAway(*v.goAway)
		if c.streams[st.id] != st {
			return false
		}
	}
	switch v.fault {
	case FaultHang:
		return false
	case FaultSilence:
		c.silent = true
		return false
	case FaultRefuse:
		c.a.stats.refused.Add(1)
		c.reset(st.id, http2.ErrCodeRefusedStream)
		return false
	}
	if v.delay <= 0 {
		return true
	}
	c.a.wg.Add(1) // balanced by the timer's function, or by who stops it
	st.timer = time.AfterFunc(v.delay, func() {
		defer c.a.wg.Done()
		c.finish(st)
	})
	return false
}

// finish hands the push to the phone and sends the answer, in this order, so
// that whoever has an answer finds the phone up to date.
func (c *apnsConn) finish(st *apnsStream) {
	c.mu.Lock()
	if c.streams[st.id] != st || c.silent || c.closed {
		c.mu.Unlock()
		return
	}
	v := &st.verdict
	st.phase = answering
	if v.push != nil {
		c.reached = max(c.reached, st.id)
	}
	c.mu.Unlock()
	if v.push != nil {
		c.a.deliver(v.push)
	}
	switch v.fault {
	case FaultCut, FaultLose:
		c.close()
		return
	}
	if v.status != http.StatusOK {
		c.a.tally.reason(v.label())
		c.a.cfg.Logger.Debug("push refused", "status", v.status, "reason", v.reason)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[st.id] != st || c.silent {
		return
	}
	if v.fault == FaultReset {
		c.reset(st.id, http2.ErrCodeInternal)
		return
	}
	c.answer(st)
}

// label names an answer in the counts by reason.
func (v *verdict) label() string {
	if v.reason != "" {
		return v.reason
	}
	return "status " + strconv.Itoa(v.status)
}

// deliver hands an accepted push to its phone.
func (a *APNs) deliver(m *message) {
	a.stats.accepted.Add(1)
	a.tally.accepted(m.MID)
	a.cfg.Phones.deliver(m)
}

// answer writes the response. Callers hold mu.
func (c *apnsConn) answer(st *apnsStream) {
	v := &st.verdict
	c.hbuf.Reset()
	field := func(name, value string) {
		if value != "" {
			c.henc.WriteField(hpack.HeaderField{Name: name, Value: value})
		}
	}
	field(":status", strconv.Itoa(v.status))
	id := st.req.id
	if !isUUID(id) {
		id = newUUID()
	}
	field("apns-id", id)
	if c.a.cfg.Sandbox && v.status == http.StatusOK {
		field("apns-unique-id", newUUID())
	}
	if v.body != "" {
		field("content-type", v.contentType)
		field("content-length", strconv.Itoa(len(v.body)))
	}
	field("retry-after", v.retryAfter)
	c.fr.WriteHeaders(http2.HeadersFrameParam{
		StreamID: st.id, BlockFragment: c.hbuf.Bytes(), EndHeaders: true, EndStream: v.body == "",
	})
	c.kick()
	if v.body == "" {
		c.answered(st)
		return
	}
	st.unsent = []byte(v.body)
	c.pump(st)
}

// pump sends as much of an answer's body as the client's windows allow.
// Callers hold mu.
func (c *apnsConn) pump(st *apnsStream) {
	if len(st.unsent) == 0 || c.silent || c.flush {
		return
	}
	n := int(min(int64(len(st.unsent)), st.window, c.peerWin))
	if n <= 0 {
		return
	}
	last := n == len(st.unsent)
	c.fr.WriteData(st.id, last, st.unsent[:n])
	c.kick()
	st.unsent = st.unsent[n:]
	st.window -= int64(n)
	c.peerWin -= int64(n)
	if last {
		c.answered(st)
	}
}

// pumpAll goes on with every answer that waited for window. Callers hold mu.
func (c *apnsConn) pumpAll() {
	for _, st := range c.streams {
		c.pump(st)
	}
}

// answered ends a stream. A client that was refused while it was still sending
// is told to stop (RFC 9113, section 8.1). Callers hold mu.
func (c *apnsConn) answered(st *apnsStream) {
	if st.ended {
		c.drop(st)
	} else {
		c.reset(st.id, http2.ErrCodeNo)
	}
}

// newUUID is a random UUID (RFC 9562, version 4), upper case like Apple's.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := []byte(hex.EncodeToString(b[:]))
	for i, ch := range h {
		if ch >= 'a' {
			h[i] = ch - 'a' + 'A'
		}
	}
	return string(h[:8]) + "-" + string(h[8:12]) + "-" + string(h[12:16]) + "-" + string(h[16:20]) + "-" + string(h[20:])
}

// atomicMax raises v to at least n.
func atomicMax(v *atomic.Int64, n int64) {
	for old := v.Load(); n > old; old = v.Load() {
		if v.CompareAndSwap(old, n) {
			return
		}
	}
}
