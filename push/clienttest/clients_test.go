package clienttest

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"footfall/internal/nodetest"
	"footfall/push/fake"
)

// token is how apns.mjs names its phones.
func token(name string) string {
	h := hex.EncodeToString([]byte(name))
	return h + strings.Repeat("0", max(0, 64-len(h)))
}

// apnsResult is what apns.mjs prints about one call.
type apnsResult struct {
	Sent   int
	Failed []struct {
		Status    int
		Reason    string
		Timestamp int64
		Error     string
	}
}

// TestNodeAPN: @parse/node-apn sends through the APNs fake, and understands its refusals.
func TestNodeAPN(t *testing.T) {
	dir := nodetest.App(t, "apns.mjs")
	a, err := fake.StartAPNs(fake.APNsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	files, err := a.WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	a.SetToken(token("bad"), fake.TokenBad, time.Time{})
	a.SetToken(token("gone"), fake.TokenGone, since)
	a.Script(
		fake.Rule{Token: token("slow"), Answer: fake.Answer{Reason: "TooManyRequests", RetryAfter: time.Minute}},
		fake.Rule{Token: token("busy"), Answer: fake.Answer{Status: 502, Body: "<html>Bad Gateway</html>"}},
		fake.Rule{Token: token("goaway"), Answer: fake.Answer{Delay: 50 * time.Millisecond, GoAway: &fake.GoAway{}}},
	)
	got := map[string]apnsResult{}
	nodetest.Run(t, dir, nil, &got, "apns.mjs", files.Info)

	for name, want := range map[string]struct {
		sent, status int
		reason       string
	}{
		"warm": {sent: 1}, "many": {sent: 200}, "first": {sent: 1}, "second": {sent: 1}, "background": {sent: 1},
		"badPriority": {status: 400, reason: "BadPriority"}, "bad": {status: 400, reason: "BadDeviceToken"},
		"gone": {status: 410, reason: "Unregistered"}, "topic": {status: 400, reason: "TopicDisallowed"},
		"large": {status: 413, reason: "PayloadTooLarge"}, "slow": {status: 429, reason: "TooManyRequests"},
	} {
		r := got[name]
		if r.Sent != want.sent {
			t.Errorf("%s: %+v, want %d sent", name, r, want.sent)
		}
		if want.status != 0 && (len(r.Failed) != 1 || r.Failed[0].Status != want.status || r.Failed[0].Reason != want.reason) {
			t.Errorf("%s: %+v, want %d %s", name, r, want.status, want.reason)
		}
	}
	if r := got["gone"]; len(r.Failed) == 1 && r.Failed[0].Timestamp != since.UnixMilli() {
		t.Errorf("gone since %d, want %d", r.Failed[0].Timestamp, since.UnixMilli())
	}
	if r := got["busy"]; r.Sent != 0 || len(r.Failed) != 1 {
		t.Errorf("a proxy's 502: %+v", r)
	}
	if r := got["afterGoAway"]; r.Sent != 2 {
		t.Errorf("around a GOAWAY: %+v", r)
	}
	if s := a.Phones().Shown(token("collapse")); len(s) != 1 || s[0].Title != "second" || s[0].Replaced != 1 {
		t.Errorf("the phone shows %+v, want the second in place of the first", s)
	}
	if s := a.Phones().Shown(token("warm")); len(s) != 1 || s[0].Title != "Знижка" || s[0].Subtitle != "Store 7" || s[0].Body != "Їжа & <b>" {
		t.Errorf("the phone shows %+v", s)
	}
	if s := a.Phones().Shown(token("background")); len(s) != 0 {
		t.Errorf("a background push shows %+v", s)
	}
	if s := a.Stats(); s.ProtocolErrors != 0 || s.ProviderTokens != 1 {
		t.Errorf("%+v: want no protocol error and one provider token", s)
	}
}

// fcmResult is what fcm.mjs prints about one call.
type fcmResult struct {
	ID, Error, Message string
	Sent, Failed       int
}

// TestFirebaseAdmin: firebase-admin gets its access token and sends through the FCM fake, over HTTP/1.1 and HTTP/2,
// and reads each kind of refusal as its own error.
func TestFirebaseAdmin(t *testing.T) {
	dir := nodetest.App(t, "fcm.mjs")
	f, err := fake.StartFCM(fake.FCMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files, err := f.WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f.SetToken("gone", fake.TokenGone, time.Time{})
	f.SetToken("bad", fake.TokenBad, time.Time{})
	f.SetToken("foreign", fake.TokenOtherTopic, time.Time{})
	f.Script(fake.Rule{Token: "quota", Answer: fake.Answer{Reason: fake.FCMQuotaExceeded}})
	got := map[string]fcmResult{}
	nodetest.Run(t, dir, []string{"NODE_EXTRA_CA_CERTS=" + files.CA}, &got, "fcm.mjs", files.Info)

	for name, code := range map[string]string{
		"display": "", "replaced": "", "data": "", "dryRun": "",
		"gone": "messaging/registration-token-not-registered", "bad": "messaging/invalid-argument",
		"foreign": "messaging/mismatched-credential", "quota": "messaging/message-rate-exceeded", "large": "messaging/invalid-argument",
	} {
		if r := got[name]; r.Error != code || (code == "") != strings.HasPrefix(r.ID, "projects/"+f.ProjectID+"/messages/") {
			t.Errorf("%s: %+v, want error %q", name, r, code)
		}
	}
	if r := got["each"]; r.Sent != 200 || r.Failed != 0 {
		t.Errorf("sendEach: %+v, want 200 sent", r)
	}
	if s := f.Phones().Shown("display"); len(s) != 1 || s[0].Title != "second" || s[0].Replaced != 1 {
		t.Errorf("the phone shows %+v, want the second in place of the first", s)
	}
	if s := f.Phones().Shown("data"); len(s) != 1 || s[0].MID != "m-1" {
		t.Errorf("the SDK shows %+v", s)
	}
	if s := f.Phones().Shown("dry"); len(s) != 0 {
		t.Errorf("a dry run shows %+v", s)
	}
	if s := f.Stats(); s.AccessTokens != 1 {
		t.Errorf("%d access tokens were given out, want 1", s.AccessTokens)
	}
}
