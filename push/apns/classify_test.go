package apns

import (
	"net/http"
	"testing"
	"time"

	"footfall/push"

	"github.com/google/go-cmp/cmp"
)

func TestClassify(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	reason := func(r string) string { return `{"reason":"` + r + `"}` }
	after := func(v string) http.Header { return http.Header{"Retry-After": {v}} }
	tests := []struct {
		name   string
		status int
		header http.Header
		body   string
		want   push.Outcome // Status and Sent are filled in
	}{
		{"accepted", 200, http.Header{"Apns-Id": {"id-1"}}, "", push.Outcome{Class: push.Accepted, ProviderID: "id-1"}},
		{"gone", 410, nil, `{"reason":"Unregistered","timestamp":1764000000123}`, push.Outcome{Class: push.TokenDead, Reason: "Unregistered", InvalidSince: time.UnixMilli(1764000000123)}},
		{"gone, quoted time", 410, nil, `{"reason":"Unregistered","timestamp":"1764000000123"}`, push.Outcome{Class: push.TokenDead, Reason: "Unregistered", InvalidSince: time.UnixMilli(1764000000123)}},
		{"gone, no time", 410, nil, reason("Unregistered"), push.Outcome{Class: push.TokenDead, Reason: "Unregistered"}},
		{"gone, bad time", 410, nil, `{"reason":"Unregistered","timestamp":{}}`, push.Outcome{Class: push.TokenDead, Reason: "Unregistered"}},
		{"token expired", 410, nil, `{"reason":"ExpiredToken","timestamp":1764000000000}`, push.Outcome{Class: push.TokenDead, Reason: "ExpiredToken", InvalidSince: time.UnixMilli(1764000000000)}},
		{"bad token", 400, nil, reason("BadDeviceToken"), push.Outcome{Class: push.TokenBad, Reason: "BadDeviceToken"}},

		{"not for topic", 400, nil, reason("DeviceTokenNotForTopic"), push.Outcome{Class: push.Config, Reason: "DeviceTokenNotForTopic"}},
		{"topic disallowed", 400, nil, reason("TopicDisallowed"), push.Outcome{Class: push.Config, Reason: "TopicDisallowed"}},
		{"bad topic", 400, nil, reason("BadTopic"), push.Outcome{Class: push.Config, Reason: "BadTopic"}},
		{"missing topic", 400, nil, reason("MissingTopic"), push.Outcome{Class: push.Config, Reason: "MissingTopic"}},

		{"expired provider token", 403, nil, reason("ExpiredProviderToken"), push.Outcome{Class: push.Auth, Reason: "ExpiredProviderToken"}},
		{"invalid provider token", 403, nil, reason("InvalidProviderToken"), push.Outcome{Class: push.Auth, Reason: "InvalidProviderToken"}},
		{"missing provider token", 403, nil, reason("MissingProviderToken"), push.Outcome{Class: push.Auth, Reason: "MissingProviderToken"}},
		{"unrelated key", 403, nil, reason("UnrelatedKeyIdInToken"), push.Outcome{Class: push.Auth, Reason: "UnrelatedKeyIdInToken"}},
		{"key of other environment", 403, nil, reason("BadEnvironmentKeyInToken"), push.Outcome{Class: push.Auth, Reason: "BadEnvironmentKeyInToken"}},
		{"key id of other environment", 403, nil, reason("BadEnvironmentKeyIdInToken"), push.Outcome{Class: push.Auth, Reason: "BadEnvironmentKeyIdInToken"}},
		{"bad certificate", 403, nil, reason("BadCertificate"), push.Outcome{Class: push.Auth, Reason: "BadCertificate"}},
		{"certificate of other environment", 403, nil, reason("BadCertificateEnvironment"), push.Outcome{Class: push.Auth, Reason: "BadCertificateEnvironment"}},
		{"forbidden", 403, nil, reason("Forbidden"), push.Outcome{Class: push.Auth, Reason: "Forbidden"}},

		{"bad collapse id", 400, nil, reason("BadCollapseId"), push.Outcome{Class: push.Bug, Reason: "BadCollapseId"}},
		{"bad expiration", 400, nil, reason("BadExpirationDate"), push.Outcome{Class: push.Bug, Reason: "BadExpirationDate"}},
		{"bad message id", 400, nil, reason("BadMessageId"), push.Outcome{Class: push.Bug, Reason: "BadMessageId"}},
		{"bad priority", 400, nil, reason("BadPriority"), push.Outcome{Class: push.Bug, Reason: "BadPriority"}},
		{"bad push type", 400, nil, reason("InvalidPushType"), push.Outcome{Class: push.Bug, Reason: "InvalidPushType"}},
		{"duplicate headers", 400, nil, reason("DuplicateHeaders"), push.Outcome{Class: push.Bug, Reason: "DuplicateHeaders"}},
		{"payload empty", 400, nil, reason("PayloadEmpty"), push.Outcome{Class: push.Bug, Reason: "PayloadEmpty"}},
		{"missing token", 400, nil, reason("MissingDeviceToken"), push.Outcome{Class: push.Bug, Reason: "MissingDeviceToken"}},
		{"bad path", 404, nil, reason("BadPath"), push.Outcome{Class: push.Bug, Reason: "BadPath"}},
		{"bad method", 405, nil, reason("MethodNotAllowed"), push.Outcome{Class: push.Bug, Reason: "MethodNotAllowed"}},
		{"too large", 413, nil, reason("PayloadTooLarge"), push.Outcome{Class: push.TooLarge, Reason: "PayloadTooLarge"}},

		{"idle timeout", 400, nil, reason("IdleTimeout"), push.Outcome{Class: push.Retry, Reason: "IdleTimeout"}},
		{"internal error", 500, nil, reason("InternalServerError"), push.Outcome{Class: push.Retry, Reason: "InternalServerError"}},
		{"unavailable", 503, nil, reason("ServiceUnavailable"), push.Outcome{Class: push.Retry, Reason: "ServiceUnavailable"}},
		{"unavailable, seconds", 503, after("120"), reason("ServiceUnavailable"), push.Outcome{Class: push.Retry, Reason: "ServiceUnavailable", RetryAfter: 2 * time.Minute}},
		{"unavailable, date", 503, after("Sat, 28 Nov 2026 12:00:45 GMT"), reason("ServiceUnavailable"), push.Outcome{Class: push.Retry, Reason: "ServiceUnavailable", RetryAfter: 45 * time.Second}},
		{"unavailable, past date", 503, after("Sat, 28 Nov 2026 11:00:00 GMT"), reason("ServiceUnavailable"), push.Outcome{Class: push.Retry, Reason: "ServiceUnavailable"}},
		{"unavailable, nonsense", 503, after("-5"), reason("ServiceUnavailable"), push.Outcome{Class: push.Retry, Reason: "ServiceUnavailable"}},
		{"shutdown", 503, nil, reason("Shutdown"), push.Outcome{Class: push.RetryNow, Reason: "Shutdown"}},

		{"device rate", 429, nil, reason("TooManyRequests"), push.Outcome{Class: push.DeviceRate, Reason: "TooManyRequests", RetryAfter: 30 * time.Second}},
		{"device rate, longer", 429, after("50"), reason("TooManyRequests"), push.Outcome{Class: push.DeviceRate, Reason: "TooManyRequests", RetryAfter: 50 * time.Second}},
		{"token updates", 429, nil, reason("TooManyProviderTokenUpdates"), push.Outcome{Class: push.Auth, Reason: "TooManyProviderTokenUpdates", RetryAfter: time.Minute}},

		// Reasons of years to come.
		{"unknown 400", 400, nil, reason("BadMood"), push.Outcome{Unknown: true, Class: push.Bug, Reason: "BadMood"}},
		{"unknown 403", 403, nil, reason("BadMood"), push.Outcome{Unknown: true, Class: push.Auth, Reason: "BadMood"}},
		{"unknown 410", 410, nil, `{"reason":"LongGone","timestamp":1764000000000}`, push.Outcome{Unknown: true, Class: push.TokenDead, Reason: "LongGone", InvalidSince: time.UnixMilli(1764000000000)}},
		{"unknown 429", 429, nil, reason("Slower"), push.Outcome{Unknown: true, Class: push.LaneRate, Reason: "Slower", RetryAfter: time.Minute}},
		{"unknown 500", 500, nil, reason("BadMood"), push.Outcome{Unknown: true, Class: push.Retry, Reason: "BadMood"}},
		{"known reason, other status", 500, nil, reason("BadDeviceToken"), push.Outcome{Unknown: true, Class: push.Retry, Reason: "BadDeviceToken"}},
		{"reason full of control characters", 400, nil, `{"reason":"a\nb\u001b[31m"}`, push.Outcome{Unknown: true, Class: push.Bug, Reason: "a b [31m"}},

		// Not Apple at all.
		{"proxy's 502", 502, nil, "<html>Bad Gateway</html>", push.Outcome{Unknown: true, Class: push.Retry, Reason: "HTTP 502"}},
		{"empty 503", 503, nil, "", push.Outcome{Unknown: true, Class: push.Retry, Reason: "HTTP 503"}},
		{"410 without a word", 410, nil, "", push.Outcome{Unknown: true, Class: push.Bug, Reason: "HTTP 410"}},
		{"410 without a reason", 410, nil, `{"error":"gone"}`, push.Outcome{Unknown: true, Class: push.Bug, Reason: "HTTP 410"}},
		{"proxy's 410", 410, nil, "<html>Gone</html>", push.Outcome{Unknown: true, Class: push.Bug, Reason: "HTTP 410"}},
		{"proxy's 429", 429, after("90"), "slow down", push.Outcome{Unknown: true, Class: push.LaneRate, Reason: "HTTP 429", RetryAfter: 90 * time.Second}},
		{"proxy's 407", 407, nil, "", push.Outcome{Unknown: true, Class: push.Config, Reason: "HTTP 407"}},
		{"portal", 302, nil, "<html>", push.Outcome{Unknown: true, Class: push.Config, Reason: "HTTP 302"}},
		{"401", 401, nil, "", push.Outcome{Unknown: true, Class: push.Auth, Reason: "HTTP 401"}},
		{"418", 418, nil, "[]", push.Outcome{Unknown: true, Class: push.Bug, Reason: "HTTP 418"}},
		{"200 with a page", 200, nil, "<html>", push.Outcome{Class: push.Accepted}},
		{"202", 202, nil, "", push.Outcome{Unknown: true, Class: push.InDoubt, Reason: "HTTP 202"}},
		{"no status", 0, nil, "", push.Outcome{Unknown: true, Class: push.InDoubt, Reason: "HTTP 0"}},
	}
	tested := map[string]bool{}
	for _, tt := range tests {
		tt.want.Status, tt.want.Sent = tt.status, true
		got := Classify(tt.status, tt.header, []byte(tt.body), now)
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
		tested[http.StatusText(tt.status)+got.Reason] = true
	}
	for key := range classes {
		if !tested[statusAndReason(key)] {
			t.Errorf("%s is in the table and in no test", key)
		}
	}
}

func statusAndReason(key string) string {
	status := int(key[0]-'0')*100 + int(key[1]-'0')*10 + int(key[2]-'0')
	return http.StatusText(status) + key[4:]
}

// Whatever a peer says, the outcome is one of the known classes, and costs a
// token only with Apple's own words.
func FuzzClassify(f *testing.F) {
	f.Add(410, `{"reason":"Unregistered","timestamp":1}`, "1")
	f.Add(503, "<html>", "Sat, 28 Nov 2026 12:00:45 GMT")
	f.Fuzz(func(t *testing.T, status int, body, after string) {
		o := Classify(status, http.Header{"Retry-After": {after}}, []byte(body), time.Unix(1764000000, 0))
		known := false
		for _, c := range push.Classes() {
			known = known || c == o.Class
		}
		if !known || o.RetryAfter < 0 || o.RetryAfter > 24*time.Hour || len(o.Reason) > 120 {
			t.Errorf("%+v", o)
		}
		if o.Class == push.TokenDead && status != 410 {
			t.Errorf("status %d kills a token", status)
		}
	})
}
