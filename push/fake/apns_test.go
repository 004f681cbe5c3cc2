package fake

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/token"
	"golang.org/x/net/http2"
)

func startAPNs(t testing.TB, cfg APNsConfig) *APNs {
	t.Helper()
	a, err := StartAPNs(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// foreignAPNs is a client that we did not write.
func foreignAPNs(t testing.TB, a *APNs) *apns2.Client {
	t.Helper()
	key, err := token.AuthKeyFromBytes(a.KeyPEM)
	if err != nil {
		t.Fatalf("apns2 reads our .p8: %v", err)
	}
	c := apns2.NewTokenClient(&token.Token{AuthKey: key, KeyID: a.KeyID, TeamID: a.TeamID})
	c.Host = a.URL()
	//lint:ignore SA1019 apns2 has made this transport; a test of a foreign client takes it as it is
	tr := c.HTTPClient.Transport.(*http2.Transport)
	//lint:ignore SA1019 see above
	tr.TLSClientConfig = &tls.Config{RootCAs: a.RootCAs}
	//lint:ignore SA1019 see above
	tr.DialTLS = nil
	//lint:ignore SA1019 see above
	t.Cleanup(tr.CloseIdleConnections)
	return c
}

// bearer is a provider token that the fake accepts.
func bearer(t testing.TB, a *APNs) string {
	t.Helper()
	key, err := token.AuthKeyFromBytes(a.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	tok := &token.Token{AuthKey: key, KeyID: a.KeyID, TeamID: a.TeamID}
	if _, err := tok.Generate(); err != nil {
		t.Fatal(err)
	}
	return tok.Bearer
}

const hello = `{"aps":{"alert":{"title":"T","subtitle":"S","body":"B"},"mutable-content":1},` +
	`"g":{"v":1,"mid":"m-1","img":"https://example.com/i.jpg","link":"shop://1"}}`

var phone1 = DeviceToken("phone 1")

func TestAPNsShowsWhatAForeignClientSends(t *testing.T) {
	a := startAPNs(t, APNsConfig{})
	var seen []Shown
	a.Phones().OnShow(func(s Shown) { seen = append(seen, s) })
	c := foreignAPNs(t, a)
	n := &apns2.Notification{
		ApnsID: "123E4567-E89B-12D3-A456-426614174000", DeviceToken: phone1, Topic: a.Topic, CollapseID: "c1",
		PushType: apns2.PushTypeAlert, Expiration: time.Now().Add(time.Hour), Payload: []byte(hello),
	}
	for i := range 2 {
		res, err := c.PushWithContext(t.Context(), n)
		if err != nil || !res.Sent() || res.ApnsID != n.ApnsID {
			t.Fatalf("push %d: %+v, %v", i, res, err)
		}
	}
	want := []Shown{{
		Token: phone1, Service: "apns", MID: "m-1", Title: "T", Subtitle: "S", Body: "B",
		Image: "https://example.com/i.jpg", Link: "shop://1", Collapse: "c1", Replaced: 1,
	}}
	got := a.Phones().Shown(phone1)
	got[0].At = time.Time{}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("screen after a push and its copy (-want +got):\n%s", d)
	}
	// OnShow ran before the answers, so no waiting here.
	if len(seen) != 2 || seen[1].Replaced != 1 {
		t.Errorf("OnShow saw %+v, want the push and its replacement", seen)
	}
	if n := a.Deliveries("m-1"); n != 2 {
		t.Errorf("Deliveries = %d, want 2", n)
	}
	if s := a.Stats(); s.Connections != 1 || s.Requests != 2 || s.Accepted != 2 || s.ProviderTokens != 1 || len(s.Reasons) != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestAPNsTokenStates(t *testing.T) {
	a := startAPNs(t, APNsConfig{})
	c := foreignAPNs(t, a)
	gone := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		state  TokenState
		status int
		reason string
		since  time.Time
	}{
		{TokenBad, 400, "BadDeviceToken", time.Time{}},
		{TokenOtherEnv, 400, "BadDeviceToken", time.Time{}},
		{TokenOtherTopic, 400, "DeviceTokenNotForTopic", time.Time{}},
		{TokenGone, 410, "Unregistered", gone},
		{TokenExpired, 410, "ExpiredToken", gone},
		{TokenOK, 200, "", time.Time{}},
	} {
		a.SetToken(phone1, tc.state, gone)
		res, err := c.PushWithContext(t.Context(), &apns2.Notification{DeviceToken: phone1, Topic: a.Topic, Payload: []byte(hello)})
		if err != nil {
			t.Fatalf("state %d: %v", tc.state, err)
		}
		if res.StatusCode != tc.status || res.Reason != tc.reason || !res.Timestamp.Equal(tc.since) {
			t.Errorf("state %d: got %d %q at %v, want %d %q at %v", tc.state, res.StatusCode, res.Reason, res.Timestamp, tc.status, tc.reason, tc.since)
		}
	}
	if n := len(a.Phones().Shown(phone1)); n != 1 {
		t.Errorf("%d notifications shown, want the one for the good state", n)
	}
}

// post sends one push with given headers and returns status, headers and body.
func post(t testing.TB, hc *http.Client, url string, hdr map[string]string, body string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range hdr {
		req.Header.Set(k, v)
	}
	res, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// h2Client is net/http's HTTP/2 client, another one that we did not write.
func h2Client(t testing.TB, a *APNs) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.RootCAs}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestAPNsHeaderRules(t *testing.T) {
	a := startAPNs(t, APNsConfig{TokenUpdateInterval: -1})
	good := "bearer " + bearer(t, a)
	hc := h2Client(t, a)
	pad := func(n int) string { // a payload of exactly n bytes
		head, tail := `{"aps":{"alert":"`, `"}}`
		return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
	}
	for _, tc := range []struct {
		name, path string
		hdr        map[string]string
		body       string
		status     int
		reason     string
	}{
		{name: "plain", status: 200},
		{name: "all headers", hdr: map[string]string{"apns-id": "123e4567-e89b-12d3-a456-426614174000", "apns-collapse-id": strings.Repeat("c", 64),
			"apns-priority": "10", "apns-push-type": "alert", "apns-expiration": "0"}, status: 200},
		{name: "no token", hdr: map[string]string{"authorization": ""}, status: 403, reason: "MissingProviderToken"},
		{name: "empty bearer, as apns2 sends for a nil key", hdr: map[string]string{"authorization": "bearer "}, status: 403, reason: "MissingProviderToken"},
		{name: "tampered token", hdr: map[string]string{"authorization": good[:len(good)-4] + "AAAA"}, status: 403, reason: "InvalidProviderToken"},
		{name: "basic auth", hdr: map[string]string{"authorization": "Basic eDp5"}, status: 403, reason: "InvalidProviderToken"},
		{name: "id", hdr: map[string]string{"apns-id": "1234"}, status: 400, reason: "BadMessageId"},
		{name: "collapse id of 65 bytes", hdr: map[string]string{"apns-collapse-id": strings.Repeat("c", 65)}, status: 400, reason: "BadCollapseId"},
		{name: "priority", hdr: map[string]string{"apns-priority": "7"}, status: 400, reason: "BadPriority"},
		{name: "background at 10", hdr: map[string]string{"apns-push-type": "background", "apns-priority": "10"}, status: 400, reason: "BadPriority"},
		{name: "background at 5", hdr: map[string]string{"apns-push-type": "background", "apns-priority": "5"}, body: `{"aps":{"content-available":1}}`, status: 200},
		{name: "push type", hdr: map[string]string{"apns-push-type": "shout"}, status: 400, reason: "InvalidPushType"},
		{name: "expiration", hdr: map[string]string{"apns-expiration": "tomorrow"}, status: 400, reason: "BadExpirationDate"},
		{name: "negative expiration", hdr: map[string]string{"apns-expiration": "-1"}, status: 400, reason: "BadExpirationDate"},
		{name: "no topic", hdr: map[string]string{"apns-topic": ""}, status: 400, reason: "MissingTopic"},
		{name: "odd topic", hdr: map[string]string{"apns-topic": "a b"}, status: 400, reason: "BadTopic"},
		{name: "other app", hdr: map[string]string{"apns-topic": "com.other"}, status: 400, reason: "TopicDisallowed"},
		{name: "location without suffix", hdr: map[string]string{"apns-push-type": "location"}, status: 400, reason: "BadTopic"},
		{name: "location", hdr: map[string]string{"apns-push-type": "location", "apns-topic": a.Topic + ".location-query"}, status: 200},
		{name: "no device", path: "/3/device/", status: 400, reason: "MissingDeviceToken"},
		{name: "short device token", path: "/3/device/abcd", status: 400, reason: "BadDeviceToken"},
		{name: "device token not hex", path: "/3/device/" + strings.Repeat("z", 64), status: 400, reason: "BadDeviceToken"},
		{name: "path", path: "/4/broadcasts", status: 404, reason: "BadPath"},
		{name: "4096 bytes", body: pad(4096), status: 200},
		{name: "4097 bytes", body: pad(4097), status: 413, reason: "PayloadTooLarge"},
		{name: "60,000 bytes", body: pad(60_000), status: 413, reason: "PayloadTooLarge"},
		{name: "voip, 5120 bytes", hdr: map[string]string{"apns-push-type": "voip", "apns-topic": a.Topic + ".voip"}, body: pad(5120), status: 200},
		{name: "empty", body: " ", status: 400, reason: "PayloadEmpty"},
		{name: "no aps", body: `{"g":{}}`, status: 400, reason: "PayloadEmpty"},
		{name: "aps is a list", body: `{"aps":[]}`, status: 400, reason: "PayloadEmpty"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hdr := map[string]string{"authorization": good, "apns-topic": a.Topic}
			for k, v := range tc.hdr {
				hdr[k] = v
				if v == "" {
					delete(hdr, k)
				}
			}
			path, body := "/3/device/"+phone1, hello
			if tc.path != "" {
				path = tc.path
			}
			if tc.body != "" {
				body = tc.body
			}
			status, h, got := post(t, hc, a.URL()+path, hdr, body)
			want := ""
			if tc.reason != "" {
				want = `{"reason":"` + tc.reason + `"}`
			}
			if status != tc.status || got != want {
				t.Errorf("got %d %s, want %d %s", status, got, tc.status, want)
			}
			if !isUUID(h.Get("apns-id")) {
				t.Errorf("apns-id %q in the answer", h.Get("apns-id"))
			}
		})
	}
	t.Run("GET", func(t *testing.T) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", a.URL()+"/3/device/"+phone1, nil)
		req.Header.Set("Authorization", good)
		res, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != 405 {
			t.Errorf("got %d, want 405", res.StatusCode)
		}
	})
	if s := a.Stats(); s.Connections != 1 || s.ProtocolErrors != 0 {
		t.Errorf("%d connections, %d protocol errors; want 1 and 0: a refused body must not cost the connection", s.Connections, s.ProtocolErrors)
	}
}

func TestAPNsScript(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	a := startAPNs(t, APNsConfig{})
	hdr := map[string]string{"authorization": "bearer " + bearer(t, a), "apns-topic": a.Topic}
	hc := h2Client(t, a)
	other := DeviceToken("phone 2")
	a.Script(
		Rule{Token: phone1, Skip: 1, Times: 1, Answer: Answer{Reason: "TooManyRequests", RetryAfter: 30 * time.Second}},
		Rule{Token: phone1, Skip: 1, Times: 1, Answer: Answer{Status: 502, Body: "<h1>Bad Gateway</h1>"}},
		Rule{TokenPrefix: other[:8], Answer: Answer{Reason: "SomethingNew", Status: 499}},
		Rule{Times: 1, Answer: Answer{Reason: "Unregistered", Since: now}},
	)
	type answer struct {
		Status      int
		Retry, Body string
	}
	send := func(tok string) answer {
		status, h, body := post(t, hc, a.URL()+"/3/device/"+tok, hdr, hello)
		return answer{status, h.Get("Retry-After"), body}
	}
	got := []answer{send(phone1), send(phone1), send(phone1), send(other), send(phone1)}
	want := []answer{
		{410, "", `{"reason":"Unregistered","timestamp":1795867200000}`}, // the first two rules skip one request each
		{429, "30", `{"reason":"TooManyRequests"}`},
		{502, "", "<h1>Bad Gateway</h1>"},
		{499, "", `{"reason":"SomethingNew"}`},
		{200, "", ""},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	a.ClearScript()
	if r := send(other); r.Status != 200 {
		t.Errorf("after ClearScript: %+v", r)
	}
}

// The lesson of a 2-hour wrong clock and of a restart loop: what Apple thinks
// of a provider token depends on its own clock and on how often it changes.
func TestProviderTokenRules(t *testing.T) {
	a := startAPNs(t, APNsConfig{})
	mint := func(iat time.Time) string {
		return "bearer " + signES256(t, a.KeyPEM, a.KeyID, a.TeamID, iat)
	}
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	first, second := mint(now), mint(now.Add(time.Second))
	for i, step := range []struct {
		auth string
		now  time.Time
		want string
	}{
		{mint(now.Add(-61 * time.Minute)), now, "ExpiredProviderToken"},
		{mint(now.Add(2 * time.Hour)), now, "ExpiredProviderToken"},
		{"bearer " + signES256(t, a.KeyPEM, "OTHERKEY00", a.TeamID, now), now, "InvalidProviderToken"},
		{"bearer " + signES256(t, a.KeyPEM, a.KeyID, "OTHERTEAM0", now), now, "InvalidProviderToken"},
		{first, now, ""},
		{second, now.Add(time.Minute), "TooManyProviderTokenUpdates"},
		{first, now.Add(2 * time.Minute), ""},
		{second, now.Add(20 * time.Minute), ""},
		{first, now.Add(21 * time.Minute), ""},
		{first, now.Add(61 * time.Minute), "ExpiredProviderToken"},
	} {
		if got := a.auth.check(step.auth, step.now); got != step.want {
			t.Errorf("step %d at %s: got %q, want %q", i, step.now.Format("15:04"), got, step.want)
		}
	}
	a.ExpireProviderTokens()
	if got := a.auth.check(second, now.Add(22*time.Minute)); got != "ExpiredProviderToken" {
		t.Errorf("after ExpireProviderTokens: %q", got)
	}
	if got := a.auth.check(mint(now.Add(22*time.Minute)), now.Add(22*time.Minute)); got != "" {
		t.Errorf("new token after ExpireProviderTokens: %q", got)
	}
	if n := a.Stats().ProviderTokens; n != 3 {
		t.Errorf("%d provider tokens accepted, want 3", n)
	}
}

// An expired token spoils the connection for good; a new connection works.
func TestAPNsWedge(t *testing.T) {
	a := startAPNs(t, APNsConfig{})
	hc := h2Client(t, a)
	send := func(auth string) int {
		status, _, _ := post(t, hc, a.URL()+"/3/device/"+phone1, map[string]string{"authorization": auth, "apns-topic": a.Topic}, hello)
		return status
	}
	old := "bearer " + bearer(t, a)
	if s := send(old); s != 200 {
		t.Fatalf("first push: %d", s)
	}
	a.ExpireProviderTokens()
	fresh := "bearer " + signES256(t, a.KeyPEM, a.KeyID, a.TeamID, time.Now().Add(time.Second))
	if got := []int{send(old), send(fresh), send(fresh)}; !cmp.Equal(got, []int{403, 403, 403}) {
		t.Errorf("on the wedged connection: %v, want 403 for every token", got)
	}
	hc = h2Client(t, a)
	if s := send(fresh); s != 200 {
		t.Errorf("fresh token on a new connection: %d", s)
	}
}

// The whole exchange runs in fake time over MemListener.
func TestAPNsInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := NewMemListener()
		a, err := StartAPNs(APNsConfig{Listener: ln, Latency: FixedLatency(30 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.RootCAs}, ForceAttemptHTTP2: true, DialContext: ln.DialContext}
		defer tr.CloseIdleConnections()
		start := time.Now()
		hdr := map[string]string{"authorization": "bearer " + bearer(t, a), "apns-topic": a.Topic}
		if s, _, b := post(t, &http.Client{Transport: tr}, a.URL()+"/3/device/"+phone1, hdr, hello); s != 200 {
			t.Fatalf("%d %s", s, b)
		}
		if d := time.Since(start); d != 30*time.Second {
			t.Errorf("took %v of fake time, want exactly the latency of 30s", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		<-ctx.Done() // a fake hour passes at once: nothing in the fake keeps the bubble busy
	})
}
