package hms

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"footfall/push"
	"footfall/push/internal/access"
	"footfall/push/internal/post"

	"github.com/google/go-cmp/cmp"
)

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

func TestClassify(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	after := func(v string) http.Header { return http.Header{"Retry-After": {v}} }
	code := func(c, msg string) string {
		b, _ := json.Marshal(map[string]string{"code": c, "msg": msg, "requestId": "r1"})
		return string(b)
	}
	for _, tt := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   push.Outcome // Status and Sent are filled in
	}{
		{"success", 200, nil, code("80000000", "Success"), push.Outcome{Class: push.Accepted, ProviderID: "r1"}},
		{"success without an id", 200, nil, `{"code":"80000000"}`, push.Outcome{Class: push.Accepted}},
		{"success with another status", 400, nil, code("80000000", ""), push.Outcome{Class: push.InDoubt, Reason: "80000000"}},
		{"200 with a page", 200, nil, "<html>", push.Outcome{Unknown: true, Class: push.InDoubt, Reason: "200 without a code"}},
		{"200, empty object", 200, nil, "{}", push.Outcome{Unknown: true, Class: push.InDoubt, Reason: "200 without a code"}},
		{"200, code as a number", 200, nil, `{"code":80000000}`, push.Outcome{Unknown: true, Class: push.InDoubt, Reason: "200 without a code"}},
		{"200, code is text", 200, nil, code("IQAAAA", ""), push.Outcome{Unknown: true, Class: push.InDoubt, Reason: "200 without a code"}},

		{"partial: ours is the bad one", 200, nil, code("80100000", `{"success":0,"failure":1,"illegal_tokens":["x"]}`), push.Outcome{Class: push.TokenDead, Reason: "80100000"}},
		{"partial: ours is good", 200, nil, code("80100000", `{"success":1,"failure":0,"illegal_tokens":[]}`), push.Outcome{Class: push.Accepted, ProviderID: "r1"}},
		{"partial: of more than one", 200, nil, code("80100000", `{"success":3,"failure":1,"illegal_tokens":["x"]}`), push.Outcome{Class: push.InDoubt, Reason: "80100000"}},
		{"partial: unreadable", 200, nil, code("80100000", "partial"), push.Outcome{Class: push.InDoubt, Reason: "80100000"}},
		{"partial: none counted", 200, nil, code("80100000", "{}"), push.Outcome{Class: push.InDoubt, Reason: "80100000"}},

		{"parameter", 400, nil, code("80100001", "UnSupported svc"), push.Outcome{Class: push.Bug, Reason: "80100001"}},
		{"structure", 400, nil, code("80100003", ""), push.Outcome{Class: push.Bug, Reason: "80100003"}},
		{"ttl", 400, nil, code("80100004", ""), push.Outcome{Class: push.Bug, Reason: "80100004"}},
		{"collapse_key", 400, nil, code("80100013", ""), push.Outcome{Class: push.Bug, Reason: "80100013"}},
		{"sensitive words", 200, nil, code("80100016", ""), push.Outcome{Class: push.Bug, Reason: "80100016"}},
		{"topic tasks", 200, nil, code("80100017", ""), push.Outcome{Class: push.Retry, Reason: "80100017"}},
		{"review", 200, nil, code("80100018", ""), push.Outcome{Class: push.Bug, Reason: "80100018"}},
		{"authentication", 401, nil, code("80200001", ""), push.Outcome{Class: push.Auth, Reason: "80200001"}},
		{"expired", 200, nil, code("80200003", ""), push.Outcome{Class: push.Auth, Reason: "80200003"}},
		{"JWT expired", 401, nil, code("80200005", ""), push.Outcome{Class: push.Auth, Reason: "80200005"}},
		{"not permitted", 200, nil, code("80300002", ""), push.Outcome{Class: push.Config, Reason: "80300002"}},
		{"token", 200, nil, code("80300007", ""), push.Outcome{Class: push.TokenDead, Reason: "80300007"}},
		{"too large", 400, nil, code("80300008", ""), push.Outcome{Class: push.TooLarge, Reason: "80300008"}},
		{"tokens", 400, nil, code("80300010", ""), push.Outcome{Class: push.Bug, Reason: "80300010"}},
		{"priority", 200, nil, code("80300011", ""), push.Outcome{Class: push.Config, Reason: "80300011"}},
		{"receipt", 200, nil, code("80300013", ""), push.Outcome{Class: push.Config, Reason: "80300013"}},
		{"OAuth", 200, nil, code("80600003", ""), push.Outcome{Class: push.Auth, Reason: "80600003"}},
		{"internal", 500, after("7"), code("81000001", ""), push.Outcome{Class: push.Retry, Reason: "81000001", RetryAfter: 7 * time.Second}},
		{"internal, unknown", 200, nil, code("81000999", ""), push.Outcome{Unknown: true, Class: push.Retry, Reason: "81000999"}},
		{"unknown", 200, nil, code("80999999", ""), push.Outcome{Unknown: true, Class: push.Bug, Reason: "80999999"}},
		{"unknown, 400", 400, nil, code("80999999", ""), push.Outcome{Unknown: true, Class: push.Bug, Reason: "80999999"}},
		{"unknown, 502", 502, nil, code("80999999", ""), push.Outcome{Unknown: true, Class: push.Retry, Reason: "80999999"}},

		{"flow control", 503, nil, "", push.Outcome{Class: push.LaneRate, Reason: "HTTP 503", RetryAfter: 10 * time.Second}},
		{"flow control, date", 503, after("Sat, 28 Nov 2026 12:00:30 GMT"), "", push.Outcome{Class: push.LaneRate, Reason: "HTTP 503", RetryAfter: 30 * time.Second}},
		{"flow control with a code", 503, nil, code("80300007", ""), push.Outcome{Class: push.LaneRate, Reason: "80300007", RetryAfter: 10 * time.Second}},
		{"429", 429, after("3"), "", push.Outcome{Unknown: true, Class: push.LaneRate, Reason: "HTTP 429", RetryAfter: 3 * time.Second}},
		{"401", 401, nil, "", push.Outcome{Unknown: true, Class: push.Auth, Reason: "HTTP 401"}},
		{"403", 403, nil, "<html>", push.Outcome{Unknown: true, Class: push.Auth, Reason: "HTTP 403"}},
		{"404", 404, nil, "", push.Outcome{Unknown: true, Class: push.Config, Reason: "HTTP 404"}},
		{"302", 302, nil, "", push.Outcome{Unknown: true, Class: push.Config, Reason: "HTTP 302"}},
		{"400", 400, nil, "", push.Outcome{Unknown: true, Class: push.Bug, Reason: "HTTP 400"}},
		{"410 is none of theirs", 410, nil, "", push.Outcome{Unknown: true, Class: push.Bug, Reason: "HTTP 410"}},
		{"413", 413, nil, "", push.Outcome{Unknown: true, Class: push.TooLarge, Reason: "HTTP 413"}},
		{"408", 408, nil, "", push.Outcome{Unknown: true, Class: push.Retry, Reason: "HTTP 408"}},
		{"500", 500, nil, "", push.Outcome{Unknown: true, Class: push.Retry, Reason: "HTTP 500"}},
		{"502", 502, nil, "<html>", push.Outcome{Unknown: true, Class: push.Retry, Reason: "HTTP 502"}},
		{"nothing", 0, nil, "", push.Outcome{Unknown: true, Class: push.InDoubt, Reason: "no answer"}},
	} {
		tt.want.Status, tt.want.Sent = tt.status, true
		if d := cmp.Diff(tt.want, Classify(tt.status, tt.header, []byte(tt.body), now)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(200, "3", []byte(`{"code":"80100000","msg":"{\"success\":0,\"failure\":1,\"illegal_tokens\":[\"x\"]}"}`))
	f.Add(200, "", []byte(`{"code":"80300007","requestId":"1"}`))
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		o := Classify(status, http.Header{"Retry-After": {after}}, body, time.Unix(1795859999, 0))
		if !slices.Contains(push.Classes(), o.Class) || !o.Sent || o.RetryAfter < 0 || len(o.Reason) > 40 || len(o.ProviderID) > 120 {
			t.Errorf("%+v", o)
		}
		if o.Class == push.TokenDead && o.Reason != "80300007" && o.Reason != codePartial {
			t.Errorf("%+v deletes a token", o)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add(200, []byte(`{"access_token":"a","expires_in":3600,"token_type":"Bearer"}`))
	f.Add(400, []byte(`{"error":1101,"sub_error":12304,"error_description":"invalid client_secret"}`))
	f.Add(200, []byte(`{"access_token":"a","expires_in":1e300}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		text, life, err := parseToken(&post.Answer{Status: status, Body: body}, time.Unix(1795859999, 0))
		if (err == nil) != (text != "") || err == nil && (life < access.FetchPause || life > 12*24*time.Hour || status != 200) {
			t.Errorf("%q %v %v", text, life, err)
		}
		if err != nil {
			if o := tokenFailure(err); o.Sent || o.Class != push.Auth && o.Class != push.Retry || len(o.Reason) > 120 {
				t.Errorf("%+v", o)
			}
		}
	})
}
