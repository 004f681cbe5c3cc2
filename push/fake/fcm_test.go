package fake

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"firebase.google.com/go/v4/errorutils"
	"firebase.google.com/go/v4/messaging"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"golang.org/x/oauth2/jwt"
	"google.golang.org/api/option"
)

func startFCM(t testing.TB, cfg FCMConfig) *FCM {
	t.Helper()
	f, err := StartFCM(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// fcmHTTP is a client that trusts the fake and authorises itself with the
// service account file, through Google's own library.
func fcmHTTP(t testing.TB, f *FCM) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.RootCAs}, ForceAttemptHTTP2: true}
	if l, ok := f.ln.(*cappedListener).Listener.(*MemListener); ok {
		tr.DialContext = l.DialContext
	}
	t.Cleanup(tr.CloseIdleConnections)
	conf, err := google.JWTConfigFromJSON(f.CredentialsJSON(), messagingScope)
	if err != nil {
		t.Fatalf("Google's library reads our service account: %v", err)
	}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: tr})
	return &http.Client{Transport: &oauth2.Transport{Source: conf.TokenSource(ctx), Base: once{tr}}}
}

// once hides failures from the SDK, which would otherwise repeat a request up
// to four times by itself.
type once struct{ http.RoundTripper }

func (o once) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := o.RoundTripper.RoundTrip(r)
	if err != nil {
		return &http.Response{StatusCode: 599, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	}
	if res.StatusCode == 503 {
		res.StatusCode = 598
	}
	return res, nil
}

// newMessaging infers the configuration type of the SDK, which nobody outside
// can name, so that the root package of firebase need not be linked.
func newMessaging[T ~struct {
	Opts               []option.ClientOption
	ProjectID, Version string
}](ctx context.Context, mk func(context.Context, *T) (*messaging.Client, error), c struct {
	Opts               []option.ClientOption
	ProjectID, Version string
}) (*messaging.Client, error) {
	v := T(c)
	return mk(ctx, &v)
}

func foreignFCM(t testing.TB, f *FCM, project string) *messaging.Client {
	t.Helper()
	c, err := newMessaging(t.Context(), messaging.NewClient, struct {
		Opts               []option.ClientOption
		ProjectID, Version string
	}{[]option.ClientOption{option.WithHTTPClient(fcmHTTP(t, f)), option.WithEndpoint(f.Endpoint())}, project, "4.19.0"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFCMShowsWhatAForeignClientSends(t *testing.T) {
	f := startFCM(t, FCMConfig{})
	c := foreignFCM(t, f, f.ProjectID)
	ttl := time.Minute
	msg := &messaging.Message{
		Token: "reg:1", Data: map[string]string{"mid": "m-1", "link": "shop://1"},
		Notification: &messaging.Notification{Title: "T", Body: "B", ImageURL: "https://example.com/i.jpg"},
		Android: &messaging.AndroidConfig{Priority: "high", TTL: &ttl, CollapseKey: "k",
			Notification: &messaging.AndroidNotification{Tag: "m-1", ChannelID: "geo"}},
	}
	for range 2 {
		name, err := c.Send(t.Context(), msg)
		if err != nil || !strings.HasPrefix(name, "projects/footfall-fake/messages/0:") {
			t.Fatalf("%q, %v", name, err)
		}
	}
	got := f.Phones().Shown("reg:1")
	if len(got) != 1 {
		t.Fatalf("shown: %+v, want the second in place of the first", got)
	}
	got[0].At = time.Time{}
	want := Shown{Token: "reg:1", Service: "fcm", MID: "m-1", Title: "T", Body: "B", Image: "https://example.com/i.jpg",
		Link: "shop://1", Collapse: "m-1", Data: msg.Data, Replaced: 1}
	if d := cmp.Diff(want, got[0]); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if s := f.Stats(); s.Accepted != 2 || s.AccessTokens != 1 || f.Deliveries("m-1") != 2 {
		t.Errorf("stats %+v, %d deliveries", s, f.Deliveries("m-1"))
	}
	if _, err := c.SendDryRun(t.Context(), msg); err != nil {
		t.Errorf("validate_only: %v", err)
	}
	if n := f.Deliveries("m-1"); n != 2 {
		t.Errorf("validate_only delivered")
	}
}

// What the SDK's own predicates make of every form of answer; the rows with
// "trap" are those on which the SDK's plain reading goes wrong.
func TestFCMAnswersAsTheSDKReadsThem(t *testing.T) {
	f := startFCM(t, FCMConfig{})
	c := foreignFCM(t, f, f.ProjectID)
	for _, tc := range []struct {
		reason string
		status int
		want   func(error) bool
		not    func(error) bool
	}{
		{FCMUnregistered, 404, messaging.IsUnregistered, nil},
		{FCMNotFound, 404, errorutils.IsNotFound, messaging.IsUnregistered}, // trap: must not delete a token
		{FCMInvalidToken, 400, messaging.IsInvalidArgument, nil},
		{FCMInvalidField, 400, errorutils.IsInvalidArgument, messaging.IsInvalidArgument},
		{FCMTooBig, 400, errorutils.IsInvalidArgument, nil},
		{FCMQuotaExceeded, 429, messaging.IsQuotaExceeded, nil},
		{FCMDeviceQuota, 429, messaging.IsQuotaExceeded, nil},
		{FCMResourceExhausted, 429, errorutils.IsResourceExhausted, messaging.IsQuotaExceeded}, // trap
		{FCMUnavailable, 598, messaging.IsUnavailable, nil},
		{FCMInternal, 500, messaging.IsInternal, nil},
		{FCMThirdPartyAuth, 401, messaging.IsThirdPartyAuthError, nil},
		{FCMSenderIDMismatch, 403, messaging.IsSenderIDMismatch, nil},
		{FCMUnauthenticated, 401, errorutils.IsUnauthenticated, messaging.IsThirdPartyAuthError},
		{FCMPermissionDenied, 403, errorutils.IsPermissionDenied, messaging.IsSenderIDMismatch},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			f.ClearScript()
			f.Script(Rule{Answer: Answer{Reason: tc.reason, RetryAfter: 1500 * time.Millisecond}})
			before := f.Stats().Requests
			_, err := c.Send(t.Context(), &messaging.Message{Token: "reg:1", Data: map[string]string{"mid": "x"}})
			res := errorutils.HTTPResponse(err)
			if res == nil || res.StatusCode != tc.status || res.Header.Get("Retry-After") != "2" {
				t.Fatalf("error %v, response %+v; want status %d", err, res, tc.status)
			}
			if !tc.want(err) || tc.not != nil && tc.not(err) {
				t.Errorf("%v is read as something else", err)
			}
			if n := f.Stats().Requests - before; n != 1 {
				t.Errorf("%d requests for one Send", n)
			}
		})
	}
	if n := f.Stats().Accepted; n != 0 {
		t.Errorf("%d messages accepted", n)
	}
}

func TestFCMWrongProjectIsNotADeadToken(t *testing.T) {
	f := startFCM(t, FCMConfig{})
	_, err := foreignFCM(t, f, "other").Send(t.Context(), &messaging.Message{Token: "reg:1"})
	if !errorutils.IsNotFound(err) || messaging.IsUnregistered(err) {
		t.Errorf("got %v", err)
	}
	status, h, body := post(t, fcmHTTP(t, f), f.URL()+"/v2/nowhere", nil, "{}")
	if status != 404 || !strings.HasPrefix(h.Get("Content-Type"), "text/html") || !strings.HasPrefix(body, "<!DOCTYPE") {
		t.Errorf("wrong address: %d %s %s", status, h.Get("Content-Type"), body)
	}
}

func TestFCMTokenStates(t *testing.T) {
	f := startFCM(t, FCMConfig{})
	c := foreignFCM(t, f, f.ProjectID)
	for _, tc := range []struct {
		state TokenState
		want  func(error) bool
	}{
		{TokenBad, messaging.IsInvalidArgument}, {TokenGone, messaging.IsUnregistered}, {TokenExpired, messaging.IsUnregistered},
		{TokenOtherTopic, messaging.IsSenderIDMismatch}, {TokenOtherEnv, func(err error) bool { return err == nil }},
	} {
		f.SetToken("reg:1", tc.state, time.Time{})
		if _, err := c.Send(t.Context(), &messaging.Message{Token: "reg:1"}); !tc.want(err) {
			t.Errorf("state %d: %v", tc.state, err)
		}
	}
}

func TestFCMValidation(t *testing.T) {
	f := startFCM(t, FCMConfig{})
	hc := fcmHTTP(t, f)
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, tc := range []struct {
		name, body string
		field      string // of the first violation; "" for 200
	}{
		{"token", `{"message":{"token":"a"}}`, ""},
		{"camelCase", `{"validateOnly":true,"message":{"token":"a","android":{"collapseKey":"k","notification":{"channelId":"c","notificationCount":3}}}}`, ""},
		{"topic", `{"message":{"topic":"news"}}`, ""},
		{"low priority spelling", `{"message":{"token":"a","android":{"priority":"high","ttl":"3.5s"}}}`, ""},
		{"ttl of 28 days", `{"message":{"token":"a","android":{"ttl":"2419200s"}}}`, ""},
		{"null field", `{"message":{"token":"a","android":null}}`, ""},
		{"4096 bytes", `{"message":{"token":"a","data":{"k":"` + long(4095) + `"}}}`, ""},
		{"no target", `{"message":{"data":{}}}`, "message"},
		{"two targets", `{"message":{"token":"a","topic":"b"}}`, "message"},
		{"no message", `{}`, "message"},
		{"unknown name", `{"message":{"token":"a","sound":"x"}}`, "message"},
		{"same field twice", `{"message":{"token":"a","android":{"collapse_key":"a","collapseKey":"b"}}}`, "message.android.collapse_key"},
		{"number in data", `{"message":{"token":"a","data":{"n":1}}}`, "message.data[0].value"},
		{"reserved key from", `{"message":{"token":"a","data":{"from":"x"}}}`, "message.data[0].key"},
		{"reserved key google", `{"message":{"token":"a","data":{"a":"","google.x":"x"}}}`, "message.data[1].key"},
		{"reserved key gcm", `{"message":{"token":"a","data":{"gcm.x":"x"}}}`, "message.data[0].key"},
		{"reserved key collapse_key", `{"message":{"token":"a","android":{"data":{"collapse_key":"x"}}}}`, "message.android.data[0].key"},
		{"ttl without unit", `{"message":{"token":"a","android":{"ttl":"60"}}}`, "message.android.ttl"},
		{"ttl negative", `{"message":{"token":"a","android":{"ttl":"-1s"}}}`, "message.android.ttl"},
		{"ttl number", `{"message":{"token":"a","android":{"ttl":60}}}`, "message.android.ttl"},
		{"ttl over 28 days", `{"message":{"token":"a","android":{"ttl":"2419200.1s"}}}`, "message.android.ttl"},
		{"priority", `{"message":{"token":"a","android":{"priority":"10"}}}`, "message.android.priority"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, _, body := post(t, hc, f.Endpoint()+"/projects/"+f.ProjectID+"/messages:send", nil, tc.body)
			var e struct {
				Error struct {
					Details []struct {
						FieldViolations []struct{ Field string }
					}
				}
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil {
				t.Fatalf("%v in %s", err, body)
			}
			if tc.field == "" {
				if status != 200 {
					t.Errorf("%d %s", status, body)
				}
				return
			}
			if status != 400 || len(e.Error.Details) != 1 || len(e.Error.Details[0].FieldViolations) != 1 || e.Error.Details[0].FieldViolations[0].Field != tc.field {
				t.Errorf("%d %s, want field %s", status, body, tc.field)
			}
		})
	}
	for _, tc := range []struct{ name, body, want string }{
		{"not JSON", `{"message":`, "Invalid JSON"},
		{"list", `[]`, "Invalid JSON"},
		{"two documents", `{"message":{"token":"a"}}{}`, "Invalid JSON"},
		{"4097 bytes", `{"message":{"token":"a","data":{"k":"` + long(4096) + `"}}}`, "too big"},
		{"100 KB", `{"message":{"token":"a","webpush":{"x":"` + long(100_000) + `"}}}`, "exceeds the limit"},
		{"bad token", `{"message":{"token":"not a token"}}`, "not a valid FCM registration token"},
		{"deep nesting", strings.Repeat(`{"message":`, 5000), "Invalid JSON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if status, _, body := post(t, hc, f.Endpoint()+"/projects/"+f.ProjectID+"/messages:send", nil, tc.body); status != 400 || !strings.Contains(body, tc.want) {
				t.Errorf("%d %s, want 400 %q", status, body, tc.want)
			}
		})
	}
}

func TestFCMQuotaIsPerMinute(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 30, 0, time.UTC)
	f := startFCM(t, FCMConfig{QuotaPerMinute: 2, Now: func() time.Time { return now }})
	hc := fcmHTTP(t, f)
	// Google's library uses the real clock; the assertion is not what is tested.
	f.oauth.now = time.Now
	send := func() (int, string) {
		s, h, _ := post(t, hc, f.Endpoint()+"/projects/"+f.ProjectID+"/messages:send", nil, `{"message":{"token":"a"}}`)
		return s, h.Get("Retry-After")
	}
	for i, want := range []string{"200 ", "200 ", "429 30"} {
		if s, r := send(); fmt.Sprint(s, " ", r) != want {
			t.Errorf("message %d: %d %q, want %s", i, s, r, want)
		}
	}
	now = now.Add(30 * time.Second)
	if s, _ := send(); s != 200 {
		t.Errorf("in the next minute: %d", s)
	}
}

func TestFCMFaults(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault Fault
		shown int
	}{
		{"cut after accept", FaultCut, 1}, {"lost", FaultLose, 0}, {"reset after accept", FaultReset, 1},
		{"hang", FaultHang, 0}, {"silence", FaultSilence, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := startFCM(t, FCMConfig{})
			hc := fcmHTTP(t, f)
			post(t, hc, f.Endpoint()+"/projects/"+f.ProjectID+"/messages:send", nil, `{"message":{"token":"warm"}}`)
			f.Script(Rule{Token: "a", Answer: Answer{Fault: tc.fault}})
			hangs := tc.fault == FaultHang || tc.fault == FaultSilence
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if hangs { // until a moment after the request has come
				go func() {
					for f.Stats().Requests < 2 && ctx.Err() == nil {
						time.Sleep(time.Millisecond)
					}
					time.Sleep(50 * time.Millisecond)
					cancel()
				}()
			}
			req, _ := http.NewRequestWithContext(ctx, "POST", f.Endpoint()+"/projects/"+f.ProjectID+"/messages:send",
				strings.NewReader(`{"message":{"token":"a","notification":{"title":"T"}}}`))
			res, err := hc.Do(req)
			if err != nil || res.StatusCode != 599 {
				t.Fatalf("%v, %v; want a failed exchange", res, err)
			}
			if hangs != (ctx.Err() != nil) {
				t.Errorf("hung: %v, want %v", ctx.Err() != nil, hangs)
			}
			if n := len(f.Phones().Shown("a")); n != tc.shown {
				t.Errorf("phone shows %d, want %d", n, tc.shown)
			}
			if n := f.Stats().Requests; n != 2 {
				t.Errorf("%d requests, want 2", n)
			}
			start := time.Now()
			f.Close()
			f.Close()
			if d := time.Since(start); d > 30*time.Second { // it would wait for ever
				t.Errorf("Close took %v with a request in the air", d)
			}
			if n := f.Stats().OpenConnections; n != 0 {
				t.Errorf("%d connections after Close", n)
			}
		})
	}
}

func TestRetryAfterAsDate(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 400e6, time.UTC)
	f := startFCM(t, FCMConfig{Now: func() time.Time { return now }})
	hc := fcmHTTP(t, f)
	f.oauth.now = time.Now
	f.Script(Rule{Answer: Answer{Reason: FCMUnavailable, RetryAfter: 30 * time.Second, RetryAfterDate: true}})
	_, h, _ := post(t, hc, f.Endpoint()+"/projects/"+f.ProjectID+"/messages:send", nil, `{"message":{"token":"a"}}`)
	// Not :30, which would be 0.4 s early.
	if got := h.Get("Retry-After"); got != "Sat, 28 Nov 2026 12:00:31 GMT" {
		t.Errorf("Retry-After %q", got)
	}
}

func TestOAuthChecksTheAssertion(t *testing.T) {
	f := startFCM(t, FCMConfig{})
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.RootCAs}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: tr})
	base, err := google.JWTConfigFromJSON(f.CredentialsJSON(), messagingScope)
	if err != nil {
		t.Fatal(err)
	}
	other := startFCM(t, FCMConfig{})
	stranger, _ := google.JWTConfigFromJSON(other.CredentialsJSON(), messagingScope)
	for _, tc := range []struct {
		name   string
		change func(*jwt.Config)
		want   string
	}{
		{"good", func(c *jwt.Config) {}, ""},
		{"cloud-platform scope", func(c *jwt.Config) { c.Scopes = []string{"x", platformScope} }, ""},
		{"scope", func(c *jwt.Config) { c.Scopes = []string{"https://www.googleapis.com/auth/drive"} }, "invalid_scope"},
		{"Google's own audience", func(c *jwt.Config) { c.Audience = googleTokenURL }, ""},
		{"audience", func(c *jwt.Config) { c.Audience = "https://accounts.example/token" }, "audience"},
		{"issuer", func(c *jwt.Config) { c.Email = "me@example.com" }, "account not found"},
		{"key", func(c *jwt.Config) { c.PrivateKey = stranger.PrivateKey }, "Signature"},
		{"key id", func(c *jwt.Config) { c.PrivateKeyID = "0000" }, "Signature"},
		{"lives a day", func(c *jwt.Config) { c.Expires = 24 * time.Hour }, "short-lived"},
	} {
		c := *base
		tc.change(&c)
		tok, err := c.TokenSource(ctx).Token()
		if tc.want == "" {
			if err != nil || !f.oauth.allows("Bearer "+tok.AccessToken) {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		if re, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || re.Response.StatusCode != 400 || !strings.Contains(string(re.Body), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
	for body, want := range map[string]string{"": "unsupported_grant_type", url.Values{"grant_type": {jwtGrant}, "assertion": {"a.b.c"}}.Encode(): "invalid_grant"} {
		res, err := (&http.Client{Transport: tr}).Post(f.URL()+"/token", "application/x-www-form-urlencoded", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		var e struct{ Error string }
		json.NewDecoder(res.Body).Decode(&e)
		res.Body.Close()
		if res.StatusCode != 400 || e.Error != want {
			t.Errorf("form %q: %d %q, want %q", body, res.StatusCode, e.Error, want)
		}
	}
}

func TestAccessTokensEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := StartFCM(FCMConfig{Listener: NewMemListener()})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		hc := fcmHTTP(t, f)
		defer hc.Transport.(*oauth2.Transport).Base.(once).RoundTripper.(*http.Transport).CloseIdleConnections()
		send := func() int {
			s, _, _ := post(t, hc, f.Endpoint()+"/projects/"+f.ProjectID+"/messages:send", nil, `{"message":{"token":"a"}}`)
			return s
		}
		if s := send(); s != 200 {
			t.Fatalf("first: %d", s)
		}
		f.RevokeAccessTokens()
		if s := send(); s != 401 {
			t.Errorf("with a revoked token: %d, want 401", s)
		}
		time.Sleep(time.Hour) // of fake time; the library asks for a new one by itself
		if s := send(); s != 200 {
			t.Errorf("an hour later: %d", s)
		}
		if n := f.Stats().AccessTokens; n != 2 {
			t.Errorf("%d access tokens given out, want 2", n)
		}
	})
}

func TestWriteFiles(t *testing.T) {
	a, f := startAPNs(t, APNsConfig{}), startFCM(t, FCMConfig{})
	dir := filepath.Join(t.TempDir(), "fakes")
	af, err := a.WriteFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	ff, err := f.WriteFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]byte{af.CA: a.CAPEM, af.Key: a.KeyPEM, ff.CA: f.CAPEM, ff.Credentials: f.CredentialsJSON()} {
		got, err := os.ReadFile(path)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: %v, content differs: %v", path, err, string(got) != string(want))
		}
		if fi, err := os.Stat(path); err == nil && fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, fi.Mode())
		}
	}
	var info struct {
		URL   string `json:"url"`
		KeyID string `json:"key_id"`
	}
	j, _ := os.ReadFile(af.Info)
	if err := json.Unmarshal(j, &info); err != nil || info.URL != a.URL() || info.KeyID != a.KeyID {
		t.Errorf("%s: %v, %+v", af.Info, err, info)
	}
}
