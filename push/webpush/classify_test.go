package webpush

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"footfall/push"

	"github.com/google/go-cmp/cmp"
)

func TestClassify(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	after := func(v string) http.Header { return http.Header{"Retry-After": {v}} }
	date := after("Sat, 28 Nov 2026 12:00:30 GMT")
	foreign := push.Outcome{Class: push.TokenForeign, Reason: "the subscription was made with another VAPID key"}
	for _, tt := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   push.Outcome // Status and Sent are filled in
	}{
		{"created", 201, http.Header{"Location": {"https://x/m/1"}}, "", push.Outcome{Class: push.Accepted}},
		{"with a receipt to come", 202, nil, "", push.Outcome{Class: push.Accepted}},
		{"ok", 200, nil, "<html>", push.Outcome{Class: push.Accepted}},
		{"redirect", 307, nil, "", push.Outcome{Unknown: true, Class: push.Config, Reason: "HTTP 307"}},
		{"proxy", 407, nil, "", push.Outcome{Unknown: true, Class: push.Config, Reason: "HTTP 407"}},

		{"Mozilla: TTL", 400, nil, `{"code":400,"errno":112,"error":"Bad Request"}`, push.Outcome{Class: push.Bug, Reason: "errno 112"}},
		{"Apple: topic", 400, nil, `{"reason":"BadWebPushTopic"}`, push.Outcome{Class: push.Bug, Reason: "BadWebPushTopic"}},
		{"400", 400, nil, "", push.Outcome{Class: push.Bug, Reason: "HTTP 400"}},
		{"Google: 400 about the key", 400, nil, "UnauthorizedRegistration\n", push.Outcome{Class: push.Auth, Reason: "HTTP 400"}},
		{"Mozilla: token", 401, nil, `{"code":401,"errno":109,"error":"Unauthorized","message":"Invalid VAPID token"}`, push.Outcome{Class: push.Auth, Reason: "errno 109"}},
		{"Google: token", 403, nil, "permission denied: invalid JWT provided\n", push.Outcome{Class: push.Auth, Reason: "HTTP 403"}},
		{"Apple: token", 403, nil, `{"reason":"BadJwtToken"}`, push.Outcome{Class: push.Auth, Reason: "BadJwtToken"}},

		{"Apple: other key", 400, nil, `{"reason":"VapidPkHashMismatch"}`, foreign},
		{"Apple: other key, 403", 403, nil, `{"reason":"VapidPkHashMismatch"}`, foreign},
		{"Google: other key", 403, nil, "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions.\n", foreign},
		{"Google: other sender", 403, nil, "the key in the authorization header does not correspond to the sender ID used to subscribe this user. Please", foreign},
		{"Mozilla: other key", 401, nil, `{"code":401,"errno":109,"message":"VAPID public key mismatch"}`, foreign},
		{"the same words with another status", 500, nil, "VapidPkHashMismatch", push.Outcome{Class: push.Retry, Reason: "HTTP 500"}},

		{"not found", 404, nil, `{"errno":102}`, push.Outcome{Class: push.TokenDead, Reason: "errno 102"}},
		{"gone", 410, nil, "push subscription has unsubscribed or expired.\n", push.Outcome{Class: push.TokenDead, Reason: "HTTP 410"}},
		{"gone, Apple", 410, nil, `{"reason":"Unregistered"}`, push.Outcome{Class: push.TokenDead, Reason: "Unregistered"}},
		{"too large", 413, nil, `{"errno":104}`, push.Outcome{Class: push.TooLarge, Reason: "errno 104"}},
		{"Microsoft: rate", 406, nil, "", push.Outcome{Class: push.LaneRate, Reason: "HTTP 406", RetryAfter: time.Minute}},
		{"rate", 429, nil, "", push.Outcome{Class: push.LaneRate, Reason: "HTTP 429", RetryAfter: time.Minute}},
		{"rate, seconds", 429, after("120"), "", push.Outcome{Class: push.LaneRate, Reason: "HTTP 429", RetryAfter: 2 * time.Minute}},
		{"rate, date", 429, date, "", push.Outcome{Class: push.LaneRate, Reason: "HTTP 429", RetryAfter: 30 * time.Second}},
		{"timeout of theirs", 408, nil, "", push.Outcome{Unknown: true, Class: push.Retry, Reason: "HTTP 408"}},
		{"500", 500, nil, `{"errno":999}`, push.Outcome{Class: push.Retry, Reason: "errno 999"}},
		{"502", 502, nil, "<html>", push.Outcome{Unknown: true, Class: push.Retry, Reason: "HTTP 502"}},
		{"503, seconds", 503, after("5"), "", push.Outcome{Class: push.Retry, Reason: "HTTP 503", RetryAfter: 5 * time.Second}},
		{"503, date", 503, date, "", push.Outcome{Class: push.Retry, Reason: "HTTP 503", RetryAfter: 30 * time.Second}},
		{"415", 415, nil, "", push.Outcome{Unknown: true, Class: push.Bug, Reason: "HTTP 415"}},
		{"a reason that is none", 400, nil, `{"reason":"see https://x/wpush/secret"}`, push.Outcome{Class: push.Bug, Reason: "HTTP 400"}},
		{"errno that is none", 400, nil, `{"errno":-1}`, push.Outcome{Class: push.Bug, Reason: "HTTP 400"}},
		{"nothing", 0, nil, "", push.Outcome{Unknown: true, Class: push.InDoubt, Reason: "no answer"}},
	} {
		tt.want.Status, tt.want.Sent = tt.status, true
		if d := cmp.Diff(tt.want, Classify(tt.status, tt.header, []byte(tt.body), now)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(403, "3", []byte(`{"reason":"BadJwtToken"}`))
	f.Add(410, "", []byte(`{"errno":106}`))
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		o := Classify(status, http.Header{"Retry-After": {after}}, body, time.Unix(1795859999, 0))
		if !slices.Contains(push.Classes(), o.Class) || !o.Sent || o.RetryAfter < 0 || len(o.Reason) > 60 {
			t.Errorf("%+v", o)
		}
		if o.Class == push.TokenDead && status != 404 && status != 410 {
			t.Errorf("%d deletes a token", status)
		}
	})
}
