package h2pool

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// maxBatch is about how much is written at once: what is handed to the writer
// is in doubt if the connection is lost, so it should not be all there is.
const maxBatch = 32 << 10

// batch is what is written at once, in this order.
type batch struct {
	control control
	ping    uint64 // the content, with control.ping
	parts   []part
}

// part is a piece of a request: its headers, some of its body, or both.
type part struct {
	id       uint32
	req      *Request
	headers  bool
	from, to int // of the body
	end      bool
}

// write sends what has been queued until the connection ends.
func (c *conn) write() {
	w := newWriter(c.pool.scheme, c.pool.host)
	w.preface()
	b := new(batch)
	for c.take(b) {
		w.encode(b)
		if w.out.Len() == 0 {
			<-c.wake
			// Let everybody who is about to queue do so: one write for many.
			runtime.Gosched()
			continue
		}
		if _, err := c.nc.Write(w.out.Bytes()); err != nil {
			c.end(err, cut)
		}
		w.out.Reset()
	}
	c.pool.mu.Lock()
	how := c.goodbye
	c.pool.mu.Unlock()
	if how != cut {
		w.out.Reset()
		w.fr.WriteGoAway(0, http2.ErrCode(how), nil)
		if _, err := c.nc.Write(w.out.Bytes()); err == nil {
			c.nc.Close()
		}
	}
	c.raw.Close()
}

// take moves what can be written now into b. From here on its requests are in
// doubt if they are not answered. It reports false when the connection has
// ended.
func (c *conn) take(b *batch) bool {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if c.ended {
		return false
	}
	b.control.pongs, b.control.resets = b.control.pongs[:0], b.control.resets[:0]
	b.control, c.control = c.control, control{pongs: b.control.pongs, resets: b.control.resets}
	b.ping = c.pings
	clear(b.parts) // requests may go
	b.parts = b.parts[:0]
	room := maxBatch
	blocked := 0
	for _, s := range c.sending {
		room -= c.takeBody(b, s, false, room)
		if !s.ended {
			c.sending[blocked] = s
			blocked++
		}
	}
	clear(c.sending[blocked:])
	c.sending = c.sending[:blocked]
	taken := 0
	for taken < len(c.queue) && len(c.streams) < c.limit && room > 0 && c.nextID <= maxStreamID {
		s := c.queue[taken]
		taken++
		s.id, s.window = c.nextID, c.initialWindow
		c.nextID += 2
		c.streams[s.id] = s
		room -= 200 + c.takeBody(b, s, true, room)
		if !s.ended {
			c.sending = append(c.sending, s)
		}
	}
	n := copy(c.queue, c.queue[taken:])
	clear(c.queue[n:])
	c.queue = c.queue[:n]
	if c.nextID > maxStreamID { // after 2^30 requests
		c.retireLocked()
	}
	if room <= 0 {
		c.kick() // there may be more: look again after this write
	}
	return true
}

// takeBody moves what the windows allow of s's body into b, behind the headers
// if it is new, and returns how much.
func (c *conn) takeBody(b *batch, s *stream, headers bool, room int) int {
	moved := 0
	for !s.ended {
		n := min(len(s.req.Body)-s.sent, int(max(0, min(s.window, c.sendWindow))), maxFrame, room-moved)
		n = max(n, 0)
		end := s.sent+n == len(s.req.Body)
		if n == 0 && !end && !headers {
			break
		}
		b.parts = append(b.parts, part{s.id, s.req, headers, s.sent, s.sent + n, end})
		s.sent, s.ended, headers = s.sent+n, end, false
		s.window, c.sendWindow = s.window-int64(n), c.sendWindow-int64(n)
		moved += n
	}
	return moved
}

// writer encodes frames. Only the writing goroutine uses it.
type writer struct {
	scheme, host string

	out   bytes.Buffer // frames
	fr    *http2.Framer
	block bytes.Buffer // the headers of one request, compressed
	enc   *hpack.Encoder
	text  []byte // scratch
}

func newWriter(scheme, host string) *writer {
	w := &writer{scheme: scheme, host: host}
	w.fr = http2.NewFramer(&w.out, nil)
	w.enc = hpack.NewEncoder(&w.block)
	return w
}

// preface is what a client says first (RFC 9113 section 3.4).
func (w *writer) preface() {
	w.out.WriteString(http2.ClientPreface)
	w.fr.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeaderList},
	)
	w.fr.WriteWindowUpdate(0, connWindow-defaultWindow)
}

// encode appends b to w.out. The Framer's errors are those of its caller
// (stream 0, a frame too large), and w.out's none.
func (w *writer) encode(b *batch) {
	if t := b.control.tableSize; t.set {
		w.enc.SetMaxDynamicTableSize(t.least)
		w.enc.SetMaxDynamicTableSize(t.last)
	}
	for range b.control.acks {
		w.fr.WriteSettingsAck()
	}
	for _, data := range b.control.pongs {
		w.fr.WritePing(true, data)
	}
	if b.control.ping {
		var data [8]byte
		binary.BigEndian.PutUint64(data[:], b.ping)
		w.fr.WritePing(false, data)
	}
	if b.control.window > 0 {
		w.fr.WriteWindowUpdate(0, b.control.window)
	}
	// Before new requests: the peer counts the places that these free.
	for _, r := range b.control.resets {
		w.fr.WriteRSTStream(r.id, r.code)
	}
	for i := range b.parts {
		p := &b.parts[i]
		bare := p.end && p.from == p.to // the headers, or the last data, end it
		if p.headers {
			w.headers(p.id, p.req, bare)
			if bare {
				continue
			}
		}
		if p.from < p.to || bare {
			w.fr.WriteData(p.id, p.end, p.req.Body[p.from:p.to])
		}
	}
}

// Names of the static table (RFC 7541 appendix A) that are written by number.
const (
	staticPath          = 4
	staticContentLength = 28
)

// headers writes the HEADERS of r, and what does not fit as CONTINUATION. What
// is the same for many requests goes through the encoder, whose table makes it
// a byte each; what is new each time would only push that out of the table, and
// is written as it is (RFC 7541 section 6.2.3), which is also the least work
// for both sides.
func (w *writer) headers(id uint32, r *Request, end bool) {
	w.block.Reset()
	// The first through the encoder, which may have a change of its table to say.
	w.enc.WriteField(hpack.HeaderField{Name: ":method", Value: r.Method})
	w.enc.WriteField(hpack.HeaderField{Name: ":scheme", Value: w.scheme})
	w.enc.WriteField(hpack.HeaderField{Name: ":authority", Value: w.host})
	if r.PathVaries {
		w.literal(staticPath, "", r.Path)
	} else {
		w.enc.WriteField(hpack.HeaderField{Name: ":path", Value: r.Path})
	}
	for _, f := range r.Header {
		if f.Sensitive {
			w.literal(0, f.Name, f.Value)
		} else {
			w.enc.WriteField(f)
		}
	}
	if len(r.Body) > 0 || r.Method == "POST" || r.Method == "PUT" {
		w.literal(staticContentLength, "", strconv.Itoa(len(r.Body)))
	}
	block := w.block.Bytes()
	first := block[:min(len(block), maxFrame)]
	block = block[len(first):]
	w.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndHeaders: len(block) == 0, EndStream: end})
	for len(block) > 0 {
		next := block[:min(len(block), maxFrame)]
		block = block[len(next):]
		w.fr.WriteContinuation(id, len(block) == 0, next)
	}
}

// literal writes a field that no table keeps, its name by its number in the
// static table or, with 0, as it is.
func (w *writer) literal(number uint64, name, value string) {
	const neverIndexed = 0x10
	w.text = appendInt(w.text[:0], neverIndexed, 4, number)
	if number == 0 {
		w.text = appendInt(w.text, 0, 7, uint64(len(name)))
		w.text = append(w.text, name...)
	}
	w.text = appendInt(w.text, 0, 7, uint64(len(value)))
	w.text = append(w.text, value...)
	w.block.Write(w.text)
}

// appendInt appends n in the form of RFC 7541 section 5.1: in the low bits of
// first, and in further bytes what does not fit.
func appendInt(dst []byte, first byte, bits uint, n uint64) []byte {
	full := uint64(1)<<bits - 1
	if n < full {
		return append(dst, first|byte(n))
	}
	dst = append(dst, first|byte(full))
	return binary.AppendUvarint(dst, n-full)
}
