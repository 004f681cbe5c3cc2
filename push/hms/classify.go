package hms

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"
)

const (
	// ratePause is used after flow control without Retry-After.
	ratePause = 10 * time.Second

	codeSuccess = "80000000"
	codePartial = "80100000"
	codeAuth    = "80200001"
	codeExpired = "80200003"
)

// codes are Huawei's, of "Sending downlink messages", table of service error
// codes. A code that is not here is judged by classOf.
var codes = map[string]push.Class{
	codeSuccess: push.Accepted,
	// codePartial is in partial.
	"80100001":  push.Bug,       // a parameter is wrong
	"80100003":  push.Bug,       // the message's structure is wrong
	"80100004":  push.Bug,       // ttl lies in the past
	"80100013":  push.Bug,       // collapse_key
	"80100016":  push.Bug,       // sensitive words in the text
	"80100017":  push.Retry,     // too many topic tasks at a time; we send none
	"80100018":  push.Bug,       // third-party review does not match
	codeAuth:    push.Auth,      // Authorization is missing or of another app
	codeExpired: push.Auth,      // the access token has expired
	"80200005":  push.Auth,      // the JSON Web Token has expired; we use none
	"80300002":  push.Config,    // the app may not send: Push Kit is off, or another app's credentials
	"80300007":  push.TokenDead, // all tokens are invalid
	"80300008":  push.TooLarge,  // over 4096 bytes
	"80300010":  push.Bug,       // number of tokens
	"80300011":  push.Config,    // no right to send with high priority
	"80300013":  push.Config,    // the receipt address is wrong
	"80600003":  push.Auth,      // the OAuth service refuses
	"81000001":  push.Retry,     // internal error
}

// Classify says what an answer of Push Kit means. It is a pure function: now
// is used for a Retry-After date only. Status 0 is "no answer is known".
//
// The code in the body decides when there is one. 80300007 is what Huawei says
// of a dead token, and also of every token when the credentials are another
// app's: the queue's guard against mass deletion stands between.
func Classify(status int, header http.Header, body []byte, now time.Time) push.Outcome {
	o := push.Outcome{Status: status, Sent: true}
	var a struct {
		Code      string `json:"code"`
		Msg       string `json:"msg"`
		RequestID string `json:"requestId"`
	}
	if json.Unmarshal(body, &a) != nil || len(a.Code) > 16 || strings.Trim(a.Code, "0123456789") != "" {
		a.Code = "" // a proxy's page, or a text of ours: never repeated in a reason
	}
	o.Class, o.Reason = classOf(status, a.Code), a.Code
	_, known := codes[a.Code]
	o.Unknown = !known && !(a.Code == "" && status == http.StatusServiceUnavailable) // flow control has no code
	if a.Code == codePartial {
		o.Class, o.Unknown = partial(a.Msg), false
	}
	switch {
	case o.Class == push.Accepted:
		o.Reason, o.ProviderID = "", exchange.Brief(a.RequestID)
	case a.Code != "":
	case status == http.StatusOK:
		o.Reason = "200 without a code"
	case status == 0:
		o.Reason = "no answer"
	default:
		o.Reason = "HTTP " + strconv.Itoa(status)
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

func classOf(status int, code string) push.Class {
	class, known := codes[code]
	switch {
	case known && class == push.Accepted && status != http.StatusOK:
		return push.InDoubt // it contradicts itself
	case status == 503, status == 429:
		return push.LaneRate // 503 is Huawei's flow control
	case known:
		return class
	case code != "" && strings.HasPrefix(code, "81"):
		return push.Retry // of the family of internal errors
	case status == 401, status == 403:
		return push.Auth
	case status == 404, status == 407, status >= 300 && status < 400:
		return push.Config // wrong address, or a proxy in between
	case status == 413:
		return push.TooLarge
	case status == 408, status >= 500:
		return push.Retry
	case status >= 400, status == http.StatusOK && code != "":
		return push.Bug
	}
	return push.InDoubt
}

// partial is for the answer "some tokens are invalid". Of one token that is
// all or nothing.
func partial(msg string) push.Class {
	var m struct {
		Success *int     `json:"success"`
		Failure *int     `json:"failure"`
		Illegal []string `json:"illegal_tokens"`
	}
	if json.Unmarshal([]byte(msg), &m) != nil || m.Success == nil {
		return push.InDoubt
	}
	switch {
	case *m.Success == 1:
		return push.Accepted
	case *m.Success == 0 && len(m.Illegal) == 1:
		return push.TokenDead
	}
	return push.InDoubt
}

// refusal reports whether o says that the access token is not accepted.
func refusal(o *push.Outcome) bool {
	return o.Class == push.Auth && (o.Reason == codeAuth || o.Reason == codeExpired || o.Status == http.StatusUnauthorized)
}
