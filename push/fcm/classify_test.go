package fcm

import (
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"footfall/push"

	"github.com/google/go-cmp/cmp"
)

func rawURL(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fail is an answer of Google: status word, message, details.
func fail(status, message, details string) string {
	return `{"error":{"code":0,"message":"` + message + `","status":"` + status + `","details":[` + details + `]}}`
}

func fcmError(code string) string {
	return `{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"` + code + `"}`
}

const (
	badRequest  = `{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"message.android.ttl","description":"Invalid duration"}]}`
	deviceQuota = `{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"subject":"device:abc","description":"Device message rate exceeded"}]}`
	topicQuota  = `{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"subject":"project:1","description":"Message rate exceeded"}]}`
	errorInfo   = `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","domain":"googleapis.com"}`
)

func TestClassify(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	after := func(v string) http.Header { return http.Header{"Retry-After": {v}} }
	tests := []struct {
		name   string
		status int
		header http.Header
		body   string
		want   push.Outcome // Status and Sent are filled in
	}{
		{"accepted", 200, nil, `{"name":"projects/p/messages/7"}`, push.Outcome{Class: push.Accepted, ProviderID: "projects/p/messages/7"}},
		{"200, bad body", 200, nil, "<html>", push.Outcome{Class: push.InDoubt, Reason: "200 without a message name"}},
		{"200, empty object", 200, nil, "{}", push.Outcome{Class: push.InDoubt, Reason: "200 without a message name"}},

		{"404 of FCM", 404, nil, fail("NOT_FOUND", "Requested entity was not found.", fcmError("UNREGISTERED")), push.Outcome{Class: push.TokenDead, Reason: "UNREGISTERED"}},
		{"404 of a wrong project", 404, nil, fail("NOT_FOUND", "Requested entity was not found.", ""), push.Outcome{Class: push.Config, Reason: "NOT_FOUND"}},
		{"404 of a wrong path", 404, nil, "<!DOCTYPE html>", push.Outcome{Unknown: true, Class: push.Config, Reason: "HTTP 404"}},

		{"400 bad token", 400, nil, fail("INVALID_ARGUMENT", "The registration token is not a valid FCM registration token", fcmError("INVALID_ARGUMENT")), push.Outcome{Class: push.TokenBad, Reason: "INVALID_ARGUMENT", Unproven: true}},
		{"400 bad field", 400, nil, fail("INVALID_ARGUMENT", "Invalid value at 'message.android.ttl'", badRequest), push.Outcome{Class: push.Bug, Reason: "INVALID_ARGUMENT"}},
		{"400 bad value, by FCM", 400, nil, fail("INVALID_ARGUMENT", "Invalid analytics label", fcmError("INVALID_ARGUMENT")), push.Outcome{Class: push.Bug, Reason: "INVALID_ARGUMENT"}},
		{"400 a field that mentions the token", 400, nil, fail("INVALID_ARGUMENT", "bad field next to registration token", badRequest), push.Outcome{Class: push.Bug, Reason: "INVALID_ARGUMENT"}},
		{"400 too big", 400, nil, fail("INVALID_ARGUMENT", "Android message is too big", fcmError("INVALID_ARGUMENT")), push.Outcome{Class: push.TooLarge, Reason: "INVALID_ARGUMENT"}},
		{"413", 413, nil, "", push.Outcome{Unknown: true, Class: push.TooLarge, Reason: "HTTP 413"}},

		{"403 foreign token", 403, nil, fail("PERMISSION_DENIED", "SenderId mismatch", fcmError("SENDER_ID_MISMATCH")), push.Outcome{Class: push.TokenForeign, Reason: "SENDER_ID_MISMATCH"}},
		{"403 no role", 403, nil, fail("PERMISSION_DENIED", "Permission denied on resource", ""), push.Outcome{Class: push.Auth, Reason: "PERMISSION_DENIED"}},
		{"401", 401, nil, fail("UNAUTHENTICATED", "invalid authentication credentials", ""), push.Outcome{Class: push.Auth, Reason: "UNAUTHENTICATED"}},
		{"401 of Apple's side", 401, nil, fail("UNAUTHENTICATED", "", fcmError("THIRD_PARTY_AUTH_ERROR")), push.Outcome{Class: push.Auth, Reason: "THIRD_PARTY_AUTH_ERROR"}},

		{"429 of FCM", 429, nil, fail("RESOURCE_EXHAUSTED", "", fcmError("QUOTA_EXCEEDED")+","+topicQuota), push.Outcome{Class: push.LaneRate, Reason: "QUOTA_EXCEEDED", RetryAfter: time.Minute}},
		{"429 of the project quota", 429, nil, fail("RESOURCE_EXHAUSTED", "Quota exceeded", errorInfo), push.Outcome{Class: push.LaneRate, Reason: "RESOURCE_EXHAUSTED", RetryAfter: time.Minute}},
		{"429 of a device", 429, nil, fail("RESOURCE_EXHAUSTED", "", fcmError("QUOTA_EXCEEDED")+","+deviceQuota), push.Outcome{Class: push.DeviceRate, Reason: "QUOTA_EXCEEDED", RetryAfter: time.Minute}},
		{"429, seconds", 429, after("7"), fail("RESOURCE_EXHAUSTED", "", fcmError("QUOTA_EXCEEDED")), push.Outcome{Class: push.LaneRate, Reason: "QUOTA_EXCEEDED", RetryAfter: 7 * time.Second}},
		{"429, date", 429, after("Sat, 28 Nov 2026 12:02:00 GMT"), fail("RESOURCE_EXHAUSTED", "", errorInfo), push.Outcome{Class: push.LaneRate, Reason: "RESOURCE_EXHAUSTED", RetryAfter: 2 * time.Minute}},
		{"429, a week", 429, after("604800"), "", push.Outcome{Unknown: true, Class: push.LaneRate, Reason: "HTTP 429", RetryAfter: 24 * time.Hour}},
		{"429 of a proxy", 429, nil, "slow down", push.Outcome{Unknown: true, Class: push.LaneRate, Reason: "HTTP 429", RetryAfter: time.Minute}},

		{"500", 500, nil, fail("INTERNAL", "", fcmError("INTERNAL")), push.Outcome{Class: push.Retry, Reason: "INTERNAL"}},
		{"502 of a proxy", 502, nil, "<html>Bad Gateway</html>", push.Outcome{Unknown: true, Class: push.Retry, Reason: "HTTP 502"}},
		{"503", 503, nil, fail("UNAVAILABLE", "", fcmError("UNAVAILABLE")), push.Outcome{Class: push.Retry, Reason: "UNAVAILABLE"}},
		{"503, seconds", 503, after("30"), "", push.Outcome{Unknown: true, Class: push.Retry, Reason: "HTTP 503", RetryAfter: 30 * time.Second}},
		{"503, date", 503, after("Sat, 28 Nov 2026 12:00:30 GMT"), "", push.Outcome{Unknown: true, Class: push.Retry, Reason: "HTTP 503", RetryAfter: 30 * time.Second}},
		{"504", 504, nil, "", push.Outcome{Unknown: true, Class: push.Retry, Reason: "HTTP 504"}},

		{"unknown code, 400", 400, nil, fail("FAILED_PRECONDITION", "", fcmError("NEW_CODE")), push.Outcome{Unknown: true, Class: push.Bug, Reason: "NEW_CODE"}},
		{"unknown code, 404", 404, nil, fail("NOT_FOUND", "", fcmError("NEW_CODE")), push.Outcome{Unknown: true, Class: push.Config, Reason: "NEW_CODE"}},
		{"unknown code, 403", 403, nil, fail("PERMISSION_DENIED", "", fcmError("NEW_CODE")), push.Outcome{Unknown: true, Class: push.Auth, Reason: "NEW_CODE"}},
		{"unknown code, 599", 599, nil, fail("X", "", fcmError("NEW_CODE")), push.Outcome{Unknown: true, Class: push.Retry, Reason: "NEW_CODE"}},
		{"410 is no answer of FCM", 410, nil, "", push.Outcome{Unknown: true, Class: push.Bug, Reason: "HTTP 410"}},
		{"UNREGISTERED with another status", 400, nil, fail("", "", fcmError("UNREGISTERED")), push.Outcome{Unknown: true, Class: push.Bug, Reason: "UNREGISTERED"}},
		{"details of a foreign type", 404, nil, fail("NOT_FOUND", "", `{"@type":"x","errorCode":"UNREGISTERED"}`), push.Outcome{Class: push.Config, Reason: "NOT_FOUND"}},
		{"407 of a proxy", 407, nil, "", push.Outcome{Unknown: true, Class: push.Config, Reason: "HTTP 407"}},
		{"portal", 302, nil, "", push.Outcome{Unknown: true, Class: push.Config, Reason: "HTTP 302"}},
		{"204", 204, nil, "", push.Outcome{Unknown: true, Class: push.InDoubt, Reason: "HTTP 204"}},
		{"no status", 0, nil, "", push.Outcome{Unknown: true, Class: push.InDoubt, Reason: "no answer"}},
	}
	for _, tt := range tests {
		tt.want.Status, tt.want.Sent = tt.status, true
		if d := cmp.Diff(tt.want, Classify(tt.status, tt.header, []byte(tt.body), now)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

// Whatever a peer says, the outcome is one of the known classes, and costs a
// token only with FCM's own words.
func FuzzClassify(f *testing.F) {
	f.Add(404, unregistered, "1")
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
		if o.Class == push.TokenDead && status != 404 || o.Class == push.TokenBad && status != 400 {
			t.Errorf("status %d costs a token", status)
		}
	})
}
