package webhook

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"
)

// ratePause is used after a 429 without Retry-After.
const ratePause = 10 * time.Second

// answer is what a receiver may say in JSON.
type answer struct {
	ID    string `json:"id"`
	Error struct {
		Class  push.Class `json:"class"`
		Reason string     `json:"reason"`
	} `json:"error"`
}

// receiverMay are the classes that a receiver can ask for. Auth and InDoubt
// are about the exchange itself, and an error is not Accepted.
var receiverMay = map[push.Class]bool{
	push.TokenDead: true, push.TokenBad: true, push.TokenForeign: true, push.Config: true, push.Bug: true,
	push.TooLarge: true, push.Retry: true, push.DeviceRate: true, push.LaneRate: true,
}

// Classify says what an answer of the receiver means. It is a pure function:
// now is used for a Retry-After date only. Status 0 is "no answer is known".
func Classify(status int, header http.Header, body []byte, now time.Time) push.Outcome {
	o := push.Outcome{Status: status, Sent: true}
	var a answer
	if json.Unmarshal(body, &a) != nil {
		a = answer{} // a proxy's page: judged by the number
	}
	if status >= 200 && status < 300 {
		o.Class, o.ProviderID = push.Accepted, exchange.Brief(a.ID)
		return o
	}
	o.Class = classOf(status)
	switch {
	case a.Error.Reason != "":
		o.Reason = exchange.Brief(a.Error.Reason)
	case status == 0:
		o.Reason = "no answer"
	}
	if o.Reason == "" {
		o.Reason = "HTTP " + strconv.Itoa(status)
	}
	if status >= 400 && receiverMay[a.Error.Class] {
		o.Class = a.Error.Class
	}
	switch o.Class {
	case push.Retry:
		o.RetryAfter = exchange.RetryAfter(header, now)
	case push.LaneRate, push.DeviceRate:
		if o.RetryAfter = exchange.RetryAfter(header, now); o.RetryAfter == 0 {
			o.RetryAfter = ratePause
		}
	}
	return o
}

func classOf(status int) push.Class {
	switch {
	case status == 401, status == 403:
		return push.Auth
	case status == 404, status == 405, status == 410:
		return push.Config // not this endpoint, or not any more
	case status == 407, status >= 300 && status < 400:
		return push.Config // a proxy, or an endpoint that has moved: the signature is for one address
	case status == 413:
		return push.TooLarge
	case status == 429:
		return push.LaneRate
	case status == 408, status == 425, status >= 500:
		return push.Retry
	case status >= 400:
		return push.Bug
	}
	return push.InDoubt
}
