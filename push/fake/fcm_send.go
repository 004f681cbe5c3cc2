package fake

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxSendBody bounds the body of a request; a message with everything in it
// is far below.
const maxSendBody = 64 << 10

// handleSend is messages:send.
func (f *FCM) handleSend(w http.ResponseWriter, r *http.Request) {
	f.stats.requests.Add(1)
	// The whole body is read before anything is decided: a cut after this is a
	// cut of a request that the service had.
	body, err := io.ReadAll(io.LimitReader(r.Body, maxSendBody+1))
	if err != nil {
		return // the client went away in the middle
	}
	ans, push, fault := f.judge(r, body)
	switch fault {
	case FaultHang:
		f.wait(r, -1)
		panic(http.ErrAbortHandler)
	case FaultSilence:
		if c := connOf(r.Context()); c != nil {
			c.silent.Store(true)
		}
		f.wait(r, -1)
		panic(http.ErrAbortHandler)
	}
	if !f.wait(r, ans.delay) {
		panic(http.ErrAbortHandler) // the fake is closing: no answer, no push
	}
	if push != nil {
		f.stats.accepted.Add(1)
		f.tally.accepted(push.MID)
		if push.Token != "" { // a topic or condition reaches no phone of ours
			f.cfg.Phones.deliver(push)
		}
	}
	switch fault {
	case FaultCut, FaultLose:
		if c := connOf(r.Context()); c != nil {
			c.Close()
		}
		panic(http.ErrAbortHandler)
	case FaultReset, FaultRefuse:
		panic(http.ErrAbortHandler)
	}
	if ans.status != http.StatusOK {
		f.tally.reason(ans.label)
		f.cfg.Logger.Debug("message refused", "status", ans.status, "reason", ans.label)
	}
	ans.write(w)
}

// wait lets the latency pass, for ever when d is negative. It reports false
// when the fake is closing. A client that goes away ends it early: the service
// has the message and nobody listens.
func (f *FCM) wait(r *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	var timeout <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-timeout:
	case <-r.Context().Done():
	case <-f.closing:
		return false
	}
	return true
}

// judge decides on one request: authorisation, project, message, quota, script
// and token, in this order. push is nil when no phone gets anything.
func (f *FCM) judge(r *http.Request, body []byte) (ans fcmAnswer, push *message, fault Fault) {
	now := f.cfg.Now()
	delay := f.latency.next()
	refuse := func(a fcmAnswer) (fcmAnswer, *message, Fault) {
		a.delay = delay
		return a, nil, FaultNone
	}
	if !f.oauth.allows(r.Header.Get("Authorization")) {
		return refuse(fcmForms[FCMUnauthenticated]("", ""))
	}
	project := r.PathValue("project")
	if project != f.ProjectID {
		return refuse(fcmForms[FCMNotFound]("", ""))
	}
	if len(body) > maxSendBody {
		return refuse(fcmError(http.StatusBadRequest, "INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE",
			"Request payload size exceeds the limit: "+strconv.Itoa(maxSendBody)+" bytes."))
	}
	m, err := parseFCM(body)
	if err != nil {
		var fe *fieldError
		if errors.As(err, &fe) {
			return refuse(fcmBadField(fe))
		}
		return refuse(fcmError(http.StatusBadRequest, "INVALID_ARGUMENT", FCMInvalidField, err.Error()))
	}
	if m.tooBig() {
		return refuse(fcmTooBig())
	}
	if m.Token != "" && !isRegistrationToken(m.Token) {
		return refuse(fcmForms[FCMInvalidToken]("", ""))
	}
	if left, ok := f.quota.take(now); !ok {
		a := fcmForms[FCMResourceExhausted](project, "")
		a.retryAfter = (&Answer{RetryAfter: left}).retryAfter(now)
		return refuse(a)
	}
	ordinary := fcmAnswer{status: http.StatusOK, delay: delay, body: fcmName(f.ProjectID, f.messageID(m.validateOnly, now))}
	if s, ok := f.script.match(m.Token); ok {
		delay += s.Delay
		fault = s.Fault
		ordinary.delay = delay
		if !s.ordinary() {
			a := fcmScripted(&s, project, m.Token, now)
			a.delay = delay
			return a, nil, fault
		}
	}
	switch f.tokens.get(m.Token).state {
	case TokenBad:
		return refuse(fcmForms[FCMInvalidToken]("", ""))
	case TokenGone, TokenExpired:
		return refuse(fcmForms[FCMUnregistered]("", ""))
	case TokenOtherTopic:
		return refuse(fcmForms[FCMSenderIDMismatch]("", ""))
	}
	switch fault {
	case FaultLose, FaultRefuse, FaultHang, FaultSilence:
		return ordinary, nil, fault
	}
	if !m.validateOnly {
		push = m.message(now)
	}
	return ordinary, push, fault
}

// messageID makes the last part of a message's name, in the form of Google's.
func (f *FCM) messageID(validateOnly bool, now time.Time) string {
	if validateOnly {
		return "fake_message_id" // what the service answers as well
	}
	return "0:" + strconv.FormatInt(now.UnixMicro(), 10) + "%" + strconv.FormatInt(f.nextID.Add(1), 16)
}

// isRegistrationToken reports whether s has the alphabet of FCM's tokens.
func isRegistrationToken(s string) bool {
	if len(s) > 4096 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' || c == ':' || c == '.') {
			return false
		}
	}
	return s != ""
}
