package apns

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"
)

// Pauses that Apple does not give a header for.
const (
	devicePause = 30 * time.Second
	lanePause   = 60 * time.Second
)

// classes maps (status, reason) to what it means for the queue. Reasons are
// those of Apple's "Handling notification responses from APNs"; a reason that
// is not here is judged by its status alone, in byStatus.
var classes = map[string]push.Class{
	"400 BadDeviceToken":         push.TokenBad,
	"400 DeviceTokenNotForTopic": push.Config,
	"400 TopicDisallowed":        push.Config,
	"400 BadTopic":               push.Config,
	"400 MissingTopic":           push.Config,
	"400 IdleTimeout":            push.Retry,
	"400 BadCollapseId":          push.Bug,
	"400 BadExpirationDate":      push.Bug,
	"400 BadMessageId":           push.Bug,
	"400 BadPriority":            push.Bug,
	"400 InvalidPushType":        push.Bug,
	"400 DuplicateHeaders":       push.Bug,
	"400 PayloadEmpty":           push.Bug,
	"400 MissingDeviceToken":     push.Bug,

	"403 ExpiredProviderToken":       push.Auth,
	"403 InvalidProviderToken":       push.Auth,
	"403 MissingProviderToken":       push.Auth,
	"403 UnrelatedKeyIdInToken":      push.Auth,
	"403 BadEnvironmentKeyInToken":   push.Auth,
	"403 BadEnvironmentKeyIdInToken": push.Auth,
	"403 BadCertificate":             push.Auth,
	"403 BadCertificateEnvironment":  push.Auth,
	"403 Forbidden":                  push.Auth,

	"404 BadPath":          push.Bug,
	"405 MethodNotAllowed": push.Bug,
	"410 Unregistered":     push.TokenDead,
	"410 ExpiredToken":     push.TokenDead,
	"413 PayloadTooLarge":  push.TooLarge,

	"429 TooManyRequests":             push.DeviceRate,
	"429 TooManyProviderTokenUpdates": push.Auth,

	"500 InternalServerError": push.Retry,
	"503 ServiceUnavailable":  push.Retry,
	"503 Shutdown":            push.RetryNow,
}

// byStatus is the default for an unknown reason, or for an answer that is not
// Apple's (a proxy's page has no reason at all). An unknown 4xx fails the row
// and never costs a token.
func byStatus(status int) push.Class {
	switch {
	case status == 200:
		return push.Accepted
	case status == 401, status == 403:
		return push.Auth
	case status == 407, status >= 300 && status < 400:
		return push.Config // a proxy or a portal stands in between
	case status == 410:
		return push.TokenDead
	case status == 413:
		return push.TooLarge
	case status == 429:
		return push.LaneRate
	case status >= 500:
		return push.Retry
	case status >= 400:
		return push.Bug
	}
	return push.InDoubt // no status, 1xx, an unknown 2xx
}

// Classify says what an answer of APNs means. It is a pure function: now is
// used for a Retry-After date only. Status 0 is "no answer is known".
//
// A 410 without Apple's reason is some proxy's and no proof against a token: it
// is Bug, not TokenDead.
func Classify(status int, header http.Header, body []byte, now time.Time) push.Outcome {
	if status == 200 && len(body) == 0 { // nearly all
		return push.Outcome{
			Class: push.Accepted, Status: status, Sent: true,
			ProviderID: header.Get("apns-id"), RetryAfter: exchange.RetryAfter(header, now),
		}
	}
	var answer struct {
		Reason    string          `json:"reason"`
		Timestamp json.RawMessage `json:"timestamp"`
	}
	_ = json.Unmarshal(body, &answer) // not JSON: no reason

	o := push.Outcome{Status: status, Reason: exchange.Brief(answer.Reason), Sent: true}
	class, known := classes[strconv.Itoa(status)+" "+answer.Reason]
	if !known {
		class = byStatus(status)
		o.Unknown = class != push.Accepted
		if class == push.TokenDead && answer.Reason == "" {
			class = push.Bug
		}
		if o.Reason == "" && status != 200 {
			o.Reason = "HTTP " + strconv.Itoa(status)
		}
	}
	o.Class = class
	o.RetryAfter = exchange.RetryAfter(header, now)
	switch {
	case class == push.Accepted:
		o.ProviderID = header.Get("apns-id")
	case class == push.TokenDead:
		o.InvalidSince = timestamp(answer.Timestamp)
	case class == push.DeviceRate:
		o.RetryAfter = max(o.RetryAfter, devicePause)
	case class == push.LaneRate, answer.Reason == "TooManyProviderTokenUpdates":
		o.RetryAfter = max(o.RetryAfter, lanePause)
	}
	return o
}

// timestamp reads milliseconds since 1970, as a number or, as some servers
// send it, as text. Zero: none.
func timestamp(raw json.RawMessage) time.Time {
	ms, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
	if err != nil || ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
