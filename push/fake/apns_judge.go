package fake

import (
	"encoding/json"
	"net/http"
	"time"
)

// verdict is what becomes of one request.
type verdict struct {
	status      int
	reason      string // "" for 200 and for scripted bodies
	body        string
	contentType string
	retryAfter  string
	delay       time.Duration
	fault       Fault
	goAway      *GoAway
	push        *message // what the phone gets, nil when refused
}

// maxAnswerBody bounds a scripted body.
const maxAnswerBody = 16 << 10

// judge decides on a complete request, in the order in which a person would
// want to hear of faults: the script last, so that it never hides one.
func (a *APNs) judge(c *apnsConn, r *apnsRequest) verdict {
	now := a.cfg.Now()
	v := verdict{status: 200, delay: a.latency.next()}
	reason := a.auth.check(r.auth, now)
	if reason = c.sawToken(reason); reason == "" {
		reason = r.check(a.Topic)
	}
	var push *message
	if reason == "" {
		var ok bool
		if push, ok = parseAPNs(r.body); !ok {
			// Apple documents no reason for a body that is not JSON or has no
			// aps; to the phone either is empty.
			reason = "PayloadEmpty"
		}
	}
	if reason != "" {
		a.refuse(&v, reason, now)
		return v
	}
	token, _ := r.deviceToken()
	push.Token, push.Collapse = token, r.collapse
	push.expires, _ = parseExpiry(r.expiry)
	// The header absent means Apple's own limit; 0 or a past time, once only.
	push.never = r.expiry != "" && !push.expires.After(now)
	if ans, ok := a.script.match(token); ok {
		v.delay += ans.Delay
		v.fault, v.goAway = ans.Fault, ans.GoAway
		if !ans.ordinary() {
			a.scripted(&v, &ans, now)
			if v.reason == "ExpiredProviderToken" {
				c.sawToken(v.reason)
			}
			return v
		}
	}
	switch e := a.tokens.get(token); e.state {
	case TokenBad, TokenOtherEnv:
		a.refuse(&v, "BadDeviceToken", now)
	case TokenOtherTopic:
		a.refuse(&v, "DeviceTokenNotForTopic", now)
	case TokenGone:
		a.refuseAt(&v, "Unregistered", e.since, now)
	case TokenExpired:
		a.refuseAt(&v, "ExpiredToken", e.since, now)
	default:
		v.push = push
	}
	if v.fault == FaultLose || v.fault == FaultRefuse || v.fault == FaultHang || v.fault == FaultSilence {
		v.push = nil
	}
	return v
}

// scripted fills v from an answer that replaces the ordinary one.
func (a *APNs) scripted(v *verdict, ans *Answer, now time.Time) {
	v.status = ans.Status
	if v.status == 0 {
		v.status = 500 // an unknown reason without a status
		if s := apnsStatus[ans.Reason]; s != 0 {
			v.status = s
		}
	}
	v.reason, v.body, v.contentType = ans.Reason, ans.Body, ans.contentType()
	v.retryAfter = ans.retryAfter(now)
	if v.body == "" && v.reason != "" {
		v.body, v.contentType = apnsBody(v.reason, v.status, ans.Since, now), jsonType
	}
}

func (a *APNs) refuse(v *verdict, reason string, now time.Time) {
	a.refuseAt(v, reason, time.Time{}, now)
}

func (a *APNs) refuseAt(v *verdict, reason string, since, now time.Time) {
	v.status, v.reason, v.contentType = apnsStatus[reason], reason, jsonType
	v.body = apnsBody(reason, v.status, since, now)
}

const jsonType = "application/json"

// apnsBody is the documented error body; 410 carries the time, in
// milliseconds, at which the token was last known to be dead.
func apnsBody(reason string, status int, since, now time.Time) string {
	b := struct {
		Reason    string `json:"reason"`
		Timestamp int64  `json:"timestamp,omitempty"`
	}{Reason: reason}
	if status == http.StatusGone {
		if since.IsZero() {
			since = now
		}
		b.Timestamp = since.UnixMilli()
	}
	j, _ := json.Marshal(b) // cannot fail: a string and a number
	return string(j)
}
