package fcm

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"
)

// lanePause is Google's floor after a 429 without Retry-After.
const lanePause = 60 * time.Second

// answer is an error of Google's API: google.rpc.Status in JSON.
type answer struct {
	Error struct {
		Status  string `json:"status"`
		Message string `json:"message"`
		Details []struct {
			Type       string `json:"@type"`
			ErrorCode  string `json:"errorCode"` // FcmError
			Violations []struct {
				Subject     string `json:"subject"`
				Description string `json:"description"`
			} `json:"violations"` // QuotaFailure
		} `json:"details"`
	} `json:"error"`
}

// fcmCode is the error code of FCM itself, "" when only the gateway in front
// of it has spoken. The difference decides about tokens: a 404 of the gateway
// is a wrong project.
func (a *answer) fcmCode() string {
	for _, d := range a.Error.Details {
		if strings.HasSuffix(d.Type, "google.firebase.fcm.v1.FcmError") {
			return d.ErrorCode
		}
	}
	return ""
}

// deviceQuota reports whether it is the device that gets too many messages.
func (a *answer) deviceQuota() bool {
	for _, d := range a.Error.Details {
		if !strings.HasSuffix(d.Type, "google.rpc.QuotaFailure") {
			continue
		}
		for _, v := range d.Violations {
			if strings.Contains(strings.ToLower(v.Subject+" "+v.Description), "device") {
				return true
			}
		}
	}
	return false
}

// documented are the answers that Google's reference lists, as status and word:
// the FCM code, or without one the status of google.rpc.
var documented = map[string]bool{
	"400 INVALID_ARGUMENT": true, "404 UNREGISTERED": true, "404 NOT_FOUND": true,
	"401 UNAUTHENTICATED": true, "401 THIRD_PARTY_AUTH_ERROR": true,
	"403 SENDER_ID_MISMATCH": true, "403 PERMISSION_DENIED": true,
	"429 QUOTA_EXCEEDED": true, "429 RESOURCE_EXHAUSTED": true,
	"500 INTERNAL": true, "503 UNAVAILABLE": true, "504 DEADLINE_EXCEEDED": true,
}

// Classify says what an answer of FCM means. It is a pure function: now is
// used for a Retry-After date only. Status 0 is "no answer is known".
func Classify(status int, header http.Header, body []byte, now time.Time) push.Outcome {
	o := push.Outcome{Status: status, Sent: true}
	if status == http.StatusOK {
		var ok struct {
			Name string `json:"name"`
		}
		if json.Unmarshal(body, &ok) != nil || ok.Name == "" {
			o.Class, o.Reason = push.InDoubt, "200 without a message name"
			return o
		}
		o.Class, o.ProviderID = push.Accepted, ok.Name
		return o
	}
	var a answer
	// Not JSON (a proxy's page): no code, no status, judged by the number.
	_ = json.Unmarshal(body, &a)
	code := a.fcmCode()
	switch {
	case code != "":
		o.Reason = exchange.Brief(code)
	case a.Error.Status != "":
		o.Reason = exchange.Brief(a.Error.Status)
	case status != 0:
		o.Reason = "HTTP " + strconv.Itoa(status)
	default:
		o.Reason = "no answer"
	}
	o.Class = classOf(status, code, &a)
	// INVALID_ARGUMENT is Google's word for a bad message too.
	o.Unproven = o.Class == push.TokenBad
	o.Unknown = !documented[strconv.Itoa(status)+" "+o.Reason]
	o.RetryAfter = exchange.RetryAfter(header, now)
	switch o.Class {
	case push.LaneRate, push.DeviceRate:
		if o.RetryAfter == 0 {
			o.RetryAfter = lanePause
		}
	}
	return o
}

func classOf(status int, code string, a *answer) push.Class {
	message := strings.ToLower(a.Error.Message)
	switch {
	case status == 404 && code == "UNREGISTERED":
		return push.TokenDead
	case status == 404:
		return push.Config
	case status == 413, status == 400 && (strings.Contains(message, "too big") || strings.Contains(message, "too large")):
		return push.TooLarge
	case status == 400 && code == "INVALID_ARGUMENT" && strings.Contains(message, "registration token"):
		return push.TokenBad
	case status == 403 && code == "SENDER_ID_MISMATCH":
		return push.TokenForeign
	case status == 401, status == 403:
		return push.Auth
	case status == 407, status >= 300 && status < 400:
		return push.Config // a proxy or a portal stands in between
	case status == 429 && a.deviceQuota():
		return push.DeviceRate
	case status == 429:
		return push.LaneRate
	case status >= 500:
		return push.Retry
	case status >= 400:
		return push.Bug // also 410: FCM has no such answer
	}
	return push.InDoubt
}
