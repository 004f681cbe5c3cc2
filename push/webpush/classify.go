package webpush

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"
)

// ratePause is used after a 429 without Retry-After.
const ratePause = 60 * time.Second

// otherKey are the ways in which push services say that the subscription was
// made with another VAPID key than the message is signed with. It concerns one
// subscription: pausing the lane for it would punish everybody.
var otherKey = []string{
	"VapidPkHashMismatch", // Apple, 400 or 403
	"do not correspond to the credentials used to create the subscription", // Google and Microsoft, 403
	"does not correspond to the sender ID used to subscribe this user",     // Google, 403, older
	"VAPID public key mismatch", // Mozilla, 401 with errno 109
}

// documented are the statuses that RFC 8030, RFC 8292 and the three large push
// services speak of.
var documented = map[int]bool{
	400: true, 401: true, 403: true, 404: true, 406: true, 410: true, 413: true, 429: true, 500: true, 503: true,
}

// Classify says what an answer of a push service means. It is a pure function:
// now is used for a Retry-After date only. Status 0 is "no answer is known".
//
// RFC 8030 settles the statuses; 406 is Microsoft's word for 429. Reasons are
// made of known words only, because services repeat endpoints in their texts.
func Classify(status int, header http.Header, body []byte, now time.Time) push.Outcome {
	o := push.Outcome{Status: status, Sent: true}
	if status >= 200 && status < 300 {
		o.Class = push.Accepted
		return o
	}
	mismatch := false
	for _, text := range otherKey {
		mismatch = mismatch || strings.Contains(string(body), text)
	}
	o.Class = classOf(status, mismatch, strings.Contains(string(body), "UnauthorizedRegistration"))
	o.Reason = reasonOf(status, body)
	o.Unknown = !documented[status]
	if o.Class == push.TokenForeign {
		o.Reason = "the subscription was made with another VAPID key"
	}
	switch o.Class {
	case push.Retry:
		o.RetryAfter = exchange.RetryAfter(header, now)
	case push.LaneRate:
		if o.RetryAfter = exchange.RetryAfter(header, now); o.RetryAfter == 0 {
			o.RetryAfter = ratePause
		}
	}
	return o
}

func classOf(status int, mismatch, unauthorized bool) push.Class {
	switch {
	case (status == 400 || status == 401 || status == 403) && mismatch:
		return push.TokenForeign
	case status == 401, status == 403, status == 400 && unauthorized:
		return push.Auth
	case status == 404, status == 410:
		return push.TokenDead
	case status == 407, status >= 300 && status < 400:
		return push.Config // a proxy or a portal stands in between
	case status == 413:
		return push.TooLarge
	case status == 429, status == 406:
		return push.LaneRate
	case status == 408, status == 425, status >= 500:
		return push.Retry
	case status >= 400:
		return push.Bug
	}
	return push.InDoubt
}

// reasonOf is Apple's reason, Mozilla's errno, or the status.
func reasonOf(status int, body []byte) string {
	var j struct {
		Reason string `json:"reason"`
		Errno  int    `json:"errno"`
	}
	switch {
	case json.Unmarshal(body, &j) != nil:
	case j.Reason != "" && len(j.Reason) <= 40 &&
		strings.Trim(j.Reason, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == "":
		return j.Reason
	case j.Errno > 0 && j.Errno < 1000:
		return "errno " + strconv.Itoa(j.Errno)
	}
	if status == 0 {
		return "no answer"
	}
	return "HTTP " + strconv.Itoa(status)
}
