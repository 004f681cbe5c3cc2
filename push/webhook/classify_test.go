package webhook

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
	says := func(class, reason string) string {
		return `{"error":{"class":"` + class + `","reason":"` + reason + `"}}`
	}
	for _, tt := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   push.Outcome // Status and Sent are filled in
	}{
		{"200", 200, nil, "", push.Outcome{Class: push.Accepted}},
		{"202 with its id", 202, nil, `{"id":"braze-1"}`, push.Outcome{Class: push.Accepted, ProviderID: "braze-1"}},
		{"204", 204, nil, "", push.Outcome{Class: push.Accepted}},
		{"200 with a page", 200, nil, "<html>", push.Outcome{Class: push.Accepted}},
		{"200 that talks of an error", 200, nil, says("token_dead", "x"), push.Outcome{Class: push.Accepted}},
		{"300", 300, nil, "", push.Outcome{Class: push.Config, Reason: "HTTP 300"}},
		{"301", 301, http.Header{"Location": {"https://x/"}}, "", push.Outcome{Class: push.Config, Reason: "HTTP 301"}},
		{"308 with a class", 308, nil, says("token_dead", ""), push.Outcome{Class: push.Config, Reason: "HTTP 308"}},
		{"400", 400, nil, "", push.Outcome{Class: push.Bug, Reason: "HTTP 400"}},
		{"401", 401, nil, "", push.Outcome{Class: push.Auth, Reason: "HTTP 401"}},
		{"403", 403, nil, says("", "bad signature"), push.Outcome{Class: push.Auth, Reason: "bad signature"}},
		{"404", 404, nil, "<html>", push.Outcome{Class: push.Config, Reason: "HTTP 404"}},
		{"405", 405, nil, "", push.Outcome{Class: push.Config, Reason: "HTTP 405"}},
		{"407", 407, nil, "", push.Outcome{Class: push.Config, Reason: "HTTP 407"}},
		{"408", 408, nil, "", push.Outcome{Class: push.Retry, Reason: "HTTP 408"}},
		{"409", 409, nil, "", push.Outcome{Class: push.Bug, Reason: "HTTP 409"}},
		{"410", 410, nil, "", push.Outcome{Class: push.Config, Reason: "HTTP 410"}},
		{"410 for the device", 410, nil, says("token_dead", "gone"), push.Outcome{Class: push.TokenDead, Reason: "gone"}},
		{"413", 413, nil, "", push.Outcome{Class: push.TooLarge, Reason: "HTTP 413"}},
		{"422", 422, nil, says("", `no user\r\n17`), push.Outcome{Class: push.Bug, Reason: "no user 17"}},
		{"425", 425, nil, "", push.Outcome{Class: push.Retry, Reason: "HTTP 425"}},
		{"429", 429, nil, "", push.Outcome{Class: push.LaneRate, Reason: "HTTP 429", RetryAfter: 10 * time.Second}},
		{"429 seconds", 429, after("7"), "", push.Outcome{Class: push.LaneRate, Reason: "HTTP 429", RetryAfter: 7 * time.Second}},
		{"429 date", 429, date, "", push.Outcome{Class: push.LaneRate, Reason: "HTTP 429", RetryAfter: 30 * time.Second}},
		{"429 for the device", 429, after("3"), says("device_rate", "2 an hour"), push.Outcome{Class: push.DeviceRate, Reason: "2 an hour", RetryAfter: 3 * time.Second}},
		{"500", 500, nil, "oops", push.Outcome{Class: push.Retry, Reason: "HTTP 500"}},
		{"500 for good", 500, nil, says("bug", "no template"), push.Outcome{Class: push.Bug, Reason: "no template"}},
		{"502", 502, nil, "<html>", push.Outcome{Class: push.Retry, Reason: "HTTP 502"}},
		{"503 seconds", 503, after("5"), "", push.Outcome{Class: push.Retry, Reason: "HTTP 503", RetryAfter: 5 * time.Second}},
		{"503 date", 503, date, "", push.Outcome{Class: push.Retry, Reason: "HTTP 503", RetryAfter: 30 * time.Second}},
		{"504", 504, nil, "", push.Outcome{Class: push.Retry, Reason: "HTTP 504"}},
		{"class it may not ask for: auth", 400, nil, says("auth", "x"), push.Outcome{Class: push.Bug, Reason: "x"}},
		{"class it may not ask for: accepted", 400, nil, says("accepted", "x"), push.Outcome{Class: push.Bug, Reason: "x"}},
		{"class nobody knows", 500, nil, says("later", "x"), push.Outcome{Class: push.Retry, Reason: "x"}},
		{"JSON of another shape", 400, nil, `{"error":"no"}`, push.Outcome{Class: push.Bug, Reason: "HTTP 400"}},
		{"reason without a letter", 400, nil, says("", "їжа"), push.Outcome{Class: push.Bug, Reason: "HTTP 400"}},
		{"nothing", 0, nil, "", push.Outcome{Class: push.InDoubt, Reason: "no answer"}},
		{"101", 101, nil, "", push.Outcome{Class: push.InDoubt, Reason: "HTTP 101"}},
	} {
		tt.want.Status, tt.want.Sent = tt.status, true
		if d := cmp.Diff(tt.want, Classify(tt.status, tt.header, []byte(tt.body), now)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
	for c := range receiverMay {
		if o := Classify(422, nil, []byte(says(string(c), "r")), now); o.Class != c {
			t.Errorf("asked for %s, got %+v", c, o)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(422, "3", []byte(`{"error":{"class":"token_dead","reason":"x"}}`))
	f.Add(200, "", []byte(`{"id":"1"}`))
	f.Add(0, "Sat, 28 Nov 2026 12:00:30 GMT", []byte("<html>"))
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		o := Classify(status, http.Header{"Retry-After": {after}}, body, time.Unix(1795859999, 0))
		if !slices.Contains(push.Classes(), o.Class) || !o.Sent || o.RetryAfter < 0 || len(o.Reason) > 120 || len(o.ProviderID) > 120 {
			t.Errorf("%+v", o)
		}
		if (o.Class == push.Accepted) != (status >= 200 && status < 300) {
			t.Errorf("%d is %s", status, o.Class)
		}
	})
}
