package fake

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Fault is a way of failing below the level of an HTTP answer.
type Fault uint8

const (
	// FaultNone answers normally.
	FaultNone Fault = iota
	// FaultCut accepts the push (the phone gets it) and then closes the whole
	// connection before any answer: the sender cannot know.
	FaultCut
	// FaultLose reads the request, throws it away and closes the connection.
	// To the sender it looks exactly like FaultCut.
	FaultLose
	// FaultHang never answers this request; the connection goes on.
	FaultHang
	// FaultSilence makes the whole connection stop answering, for this and
	// every other request and for pings, and keeps the socket open.
	FaultSilence
	// FaultRefuse resets the stream with REFUSED_STREAM: certainly not
	// processed.
	FaultRefuse
	// FaultReset resets the stream with INTERNAL_ERROR after accepting the
	// push: the sender cannot know.
	FaultReset
)

// Answer is what a scripted request gets instead of the ordinary verdict.
// The zero Answer is the ordinary verdict, which is useful with Delay alone.
type Answer struct {
	// Reason names a documented answer: an APNs reason such as
	// "TooManyRequests", or one of the FCM constants such as
	// FCMQuotaExceeded. Status and body follow from it. An unknown reason
	// needs Status.
	Reason string
	// Status overrides the HTTP status; with neither Reason nor Body, 200
	// means the ordinary verdict and any other status an empty body.
	Status int
	// Body, when not empty, is sent as it is (at most 16 KiB) with
	// ContentType, "text/html" unless set: an answer of some proxy on the way.
	// Nothing is delivered, whatever the status says.
	Body        string
	ContentType string
	// RetryAfter adds a Retry-After header: whole seconds, or an HTTP date
	// when RetryAfterDate is set.
	RetryAfter     time.Duration
	RetryAfterDate bool
	// Since is the time in the body of a 410 (APNs); zero means now.
	Since time.Time
	// Delay is added to the latency of the fake.
	Delay time.Duration
	// Fault is applied in place of an HTTP answer.
	Fault Fault
	// GoAway, when not nil, is sent on the connection as soon as the request
	// has been read (APNs only).
	GoAway *GoAway
}

// Rule says which requests get an Answer.
type Rule struct {
	// Token, when not empty, must equal the device token; TokenPrefix must
	// begin it. Both empty: every request.
	Token, TokenPrefix string
	// Skip lets this many matching requests pass first.
	Skip int
	// Times is how often the rule applies before it is used up; 0 is for
	// ever.
	Times int
	// Share, between 0 and 1, applies the rule to this part of the matching
	// requests, drawn from a seeded generator; 0 means all of them.
	Share float64
	// Answer is given.
	Answer Answer
}

// GoAway describes a GOAWAY frame.
type GoAway struct {
	// Last chooses the last stream id that counts as processed. It gets the
	// ids of the streams that wait for an answer, ascending, and the highest
	// id received on the connection. Streams above the chosen id are dropped
	// and never reach a phone; an id below one whose push a phone already has
	// is raised to that. It must not call the fake. nil means the highest id:
	// all are processed.
	Last func(open []uint32, highest uint32) uint32
	// Reason is sent as debug data {"reason":"..."}, "Shutdown" unless set.
	// Debug, when not empty, replaces the whole debug data.
	Reason string
	Debug  []byte
	// Code is the HTTP/2 error code, 0 (NO_ERROR) by default.
	Code uint32
	// Close cuts the connection at once, without answering the streams at or
	// below the last id although they were accepted: unknown to the sender.
	Close bool
}

// TokenState is what the service thinks of a device token.
type TokenState uint8

const (
	// TokenOK is the state of every well-formed token that nobody set.
	TokenOK TokenState = iota
	// TokenBad: APNs 400 BadDeviceToken; FCM 400 "not a valid FCM
	// registration token".
	TokenBad
	// TokenGone: APNs 410 Unregistered with a timestamp; FCM 404
	// UNREGISTERED.
	TokenGone
	// TokenOtherTopic: APNs 400 DeviceTokenNotForTopic; FCM 403
	// SENDER_ID_MISMATCH.
	TokenOtherTopic
	// TokenOtherEnv: APNs 400 BadDeviceToken, which is what a sandbox token
	// gets from production; FCM has no environments and takes it as TokenOK.
	TokenOtherEnv
	// TokenExpired: APNs 410 ExpiredToken with a timestamp; FCM as TokenGone.
	TokenExpired
)

// ordinary reports whether the answer leaves the verdict to the service.
func (a *Answer) ordinary() bool {
	return a.Reason == "" && a.Body == "" && (a.Status == 0 || a.Status == http.StatusOK)
}

func (a *Answer) contentType() string {
	return cmp.Or(a.ContentType, "text/html")
}

// retryAfter is the value of the Retry-After header, "" for none (RFC 9110,
// section 10.2.3). A date is cut to seconds by its format, so it is rounded up
// first: a client must not come back too early because of us.
func (a *Answer) retryAfter(now time.Time) string {
	if a.RetryAfter <= 0 {
		return ""
	}
	up := func(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }
	if a.RetryAfterDate {
		return now.Add(a.RetryAfter + time.Second - 1).UTC().Format(http.TimeFormat)
	}
	return strconv.FormatInt(int64(up(a.RetryAfter)/time.Second), 10)
}

// debug is the frame's debug data.
func (g *GoAway) debug() []byte {
	if len(g.Debug) > 0 {
		return g.Debug[:min(len(g.Debug), maxAnswerBody-8)]
	}
	j, _ := json.Marshal(map[string]string{"reason": cmp.Or(g.Reason, "Shutdown")})
	return j
}
