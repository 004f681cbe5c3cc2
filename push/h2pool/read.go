package h2pool

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// maxHeaderList is the most that the headers of an answer may be, as the
	// protocol counts them. The Framer ends a connection that goes far beyond.
	maxHeaderList = 32 << 10
	// maxFrame is the least that the protocol lets a limit be. We neither take
	// larger frames nor make them, whatever the peer would take.
	maxFrame = 16 << 10
)

// read handles what the peer sends until the connection ends.
func (c *conn) read() {
	fr := http2.NewFramer(nil, bufio.NewReaderSize(c.nc, maxFrame))
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	fr.MaxHeaderListSize = maxHeaderList
	fr.SetMaxReadFrameSize(maxFrame)
	fr.SetReuseFrames()
	for first := true; ; first = false {
		f, err := fr.ReadFrame()
		if detail := fr.ErrorDetail(); err != nil && detail != nil {
			err = fmt.Errorf("%w (%w)", err, detail)
		}
		if !c.handle(f, err, first) {
			return
		}
	}
}

// handle deals with one frame, or with the error in its place, and reports
// whether the connection goes on.
func (c *conn) handle(f http2.Frame, err error, first bool) bool {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if c.ended {
		return false
	}
	if err == nil {
		c.heard = time.Now()
		if _, ok := f.(*http2.SettingsFrame); first && !ok {
			err = protocolError("the first frame is no SETTINGS, but " + f.Header().Type.String())
		} else {
			err = c.frame(f)
		}
	}
	if err == nil {
		return true
	}
	if se, ok := errors.AsType[http2.StreamError](err); ok {
		var s *stream
		if s, err = c.stream(se.StreamID); err == nil {
			if s != nil {
				c.resetLocked(s, se.Code, fmt.Errorf("the peer's answer is against the protocol: %w", se))
			}
			return !c.ended
		}
	}
	how := cut
	if ce, ok := errors.AsType[http2.ConnectionError](err); ok {
		how = goodbye(ce)
	} else if errors.Is(err, http2.ErrFrameTooLarge) {
		how = goodbye(http2.ErrCodeFrameSize)
	} else if !c.open {
		err = fmt.Errorf("%w: %w", errShortLived, err)
	}
	c.endLocked(err, how)
	return false
}

func protocolError(what string) error {
	return fmt.Errorf("%w: %s", http2.ConnectionError(http2.ErrCodeProtocol), what)
}

// frame deals with a frame. Its error is an http2.ConnectionError, or an
// http2.StreamError.
func (c *conn) frame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.RSTStreamFrame:
		return c.wasReset(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		return c.ping(f)
	case *http2.GoAwayFrame:
		c.goAway(f)
	case *http2.PushPromiseFrame:
		return protocolError("PUSH_PROMISE, which we have switched off")
	}
	return nil // PRIORITY, and what later versions may bring
}

// stream returns the stream of a frame, nil if it is over: frames that cross
// our reset on the way are no error.
func (c *conn) stream(id uint32) (*stream, error) {
	if id%2 == 0 || id >= c.nextID {
		return nil, protocolError("a frame for stream " + strconv.FormatUint(uint64(id), 10) + ", which we have not opened")
	}
	return c.streams[id], nil
}

func streamError(id uint32, code http2.ErrCode, cause string) error {
	return http2.StreamError{StreamID: id, Code: code, Cause: errors.New(cause)}
}

// headers takes a status and its fields, an interim answer, or trailers.
func (c *conn) headers(f *http2.MetaHeadersFrame) error {
	s, err := c.stream(f.StreamID)
	if s == nil {
		return err
	}
	switch {
	case f.Truncated:
		return streamError(f.StreamID, http2.ErrCodeCancel, fmt.Sprintf("more than %d bytes of headers", maxHeaderList))
	case s.resp.Status != 0 && (!f.StreamEnded() || len(f.PseudoFields()) > 0):
		return streamError(f.StreamID, http2.ErrCodeProtocol, "headers after the headers")
	case s.resp.Status != 0:
		c.complete(s)
		return nil
	}
	text := f.PseudoValue("status")
	status, err := strconv.ParseUint(text, 10, 16)
	switch {
	case err != nil || len(text) != 3 || status < 100:
		return streamError(f.StreamID, http2.ErrCodeProtocol, "no status")
	case status == 101 || status < 200 && f.StreamEnded():
		return streamError(f.StreamID, http2.ErrCodeProtocol, "an answer that ends as it begins: "+text)
	case status < 200:
		return nil // the real one follows
	}
	s.resp.Status, s.resp.Fields, s.resp.conn, s.resp.length = int(status), f.RegularFields(), c, -1
	for _, hf := range s.resp.Fields {
		if hf.Name == "content-length" {
			if n, err := strconv.ParseUint(hf.Value, 10, 62); err == nil {
				s.resp.length = int64(n)
			}
		}
	}
	c.answeredLocked()
	if f.StreamEnded() {
		c.complete(s)
	}
	return nil
}

// data takes a piece of an answer's body.
func (c *conn) data(f *http2.DataFrame) error {
	n := int64(f.Length) // with padding, which counts as well
	if c.recvWindow -= n; c.recvWindow < 0 {
		return fmt.Errorf("%w: more data than the window", http2.ConnectionError(http2.ErrCodeFlowControl))
	}
	// The connection's window is given back whatever becomes of the stream,
	// else streams that are over would starve the connection.
	if c.recvOwed += n; c.recvOwed >= connWindow/2 {
		c.control.window += uint32(c.recvOwed)
		c.recvWindow += c.recvOwed
		c.recvOwed = 0
		c.kick()
	}
	s, err := c.stream(f.StreamID)
	if s == nil {
		return err
	}
	if s.resp.Status == 0 {
		return streamError(f.StreamID, http2.ErrCodeProtocol, "a body before the headers")
	}
	if s.received += n; s.received > streamWindow {
		return streamError(f.StreamID, http2.ErrCodeFlowControl, "more data than the window")
	}
	data := f.Data()
	fits := min(len(data), MaxBody-len(s.resp.Body))
	s.resp.Body = append(s.resp.Body, data[:fits]...)
	switch {
	case fits < len(data), s.received == streamWindow && !f.StreamEnded():
		c.resetLocked(s, http2.ErrCodeCancel, ErrBodyTooLong)
	case f.StreamEnded():
		c.complete(s)
	}
	return nil
}

// complete hands the whole answer to its caller.
func (c *conn) complete(s *stream) {
	switch n := int64(len(s.resp.Body)); {
	case s.resp.length < 0:
		s.resp.length = n
	case s.resp.length != n && s.req.Method != "HEAD":
		s.resp.BodyErr = io.ErrUnexpectedEOF
	}
	if !s.ended { // it is answered, and the rest of the request is not wanted
		c.cancel(s)
	}
	c.endStreamLocked(s, answered, nil)
}

func (c *conn) wasReset(f *http2.RSTStreamFrame) error {
	s, err := c.stream(f.StreamID)
	switch {
	case s == nil:
		return err
	case f.ErrCode == http2.ErrCodeRefusedStream && s.resp.Status == 0:
		c.endStreamLocked(s, refused, resetError(f.ErrCode))
	default:
		c.lostLocked(s, resetError(f.ErrCode))
	}
	return nil
}

func (c *conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if c.sendWindow += int64(f.Increment); c.sendWindow > maxWindow {
			return fmt.Errorf("%w: a window over 2^31-1", http2.ConnectionError(http2.ErrCodeFlowControl))
		}
	} else {
		s, err := c.stream(f.StreamID)
		if s == nil {
			return err
		}
		if s.window += int64(f.Increment); s.window > maxWindow {
			return streamError(f.StreamID, http2.ErrCodeFlowControl, "a window over 2^31-1")
		}
	}
	if len(c.sending) > 0 {
		c.kick()
	}
	return nil
}

// settings applies the peer's settings. What they change for the writer holds
// for everything that it writes after the acknowledgement.
func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil // ours restrict the peer less than the defaults, or not at all
	}
	limit := c.limit
	if !c.settled {
		c.settled, limit = true, maxStreams // unless it says otherwise
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingMaxConcurrentStreams:
			limit = int(min(s.Val, maxStreams))
		case http2.SettingInitialWindowSize:
			change := int64(s.Val) - c.initialWindow
			c.initialWindow = int64(s.Val)
			for _, st := range c.streams {
				if st.window += change; st.window > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
			}
		case http2.SettingHeaderTableSize:
			t := &c.control.tableSize
			if !t.set || s.Val < t.least {
				t.least = s.Val
			}
			t.set, t.last = true, s.Val
		case http2.SettingEnablePush:
			if s.Val != 0 {
				return protocolError("a server that enables push")
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.control.acks++
	c.kick()
	c.limit = limit
	if limit == 0 {
		// Waiting for it to allow some again would be waiting for ever if it
		// does not.
		if c.retireLocked() {
			c.pool.dialFailedLocked(errNoStreams)
		}
		return c.calm()
	}
	if over := min(c.active()-limit, len(c.queue)); over > 0 {
		keep := len(c.queue) - over
		c.pool.waitAgainLocked(c.queue[keep:])
		clear(c.queue[keep:])
		c.queue = c.queue[:keep]
	}
	c.pool.serveLocked()
	return c.calm()
}

func (c *conn) ping(f *http2.PingFrame) error {
	if !f.IsAck() {
		c.control.pongs = append(c.control.pongs, f.Data)
		c.kick()
		return c.calm()
	}
	if c.pingOwed && binary.BigEndian.Uint64(f.Data[:]) == c.pings {
		c.pingOwed = false
		c.watchdog.Reset(c.pool.cfg.PingAfter)
	}
	return nil
}

// calm is the error for a peer that wants more answers than it reads.
func (c *conn) calm() error {
	if c.control.acks+len(c.control.pongs) > maxControl {
		return fmt.Errorf("%w: it asks for answers and does not read them", http2.ConnectionError(http2.ErrCodeEnhanceYourCalm))
	}
	return nil
}

// goAway moves what the peer has not processed, and waits for the rest.
func (c *conn) goAway(f *http2.GoAwayFrame) {
	err := goAwayError(f)
	c.lastGood = min(c.lastGood, f.LastStreamID) // it may not go up again
	if c.retireLocked() && !c.open {
		c.pool.dialFailedLocked(err)
	}
	for id, s := range c.streams {
		switch {
		case id <= c.lastGood:
		case id == 1 && f.ErrCode != http2.ErrCodeNo:
			c.endStreamLocked(s, refusedForGood, err)
		default:
			c.endStreamLocked(s, goneAway, err)
		}
	}
}
