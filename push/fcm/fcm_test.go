package fcm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"footfall/push"
	"footfall/push/internal/h2test"
	"footfall/push/pushtest"
)

const registrationToken = "fcm:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"

var keyPEM = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return pkcs8(key)
})

func pkcs8(key any) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func account(tokenURI string) map[string]string {
	return map[string]string{
		"type": "service_account", "project_id": "shop-1234", "private_key_id": "k1", "private_key": keyPEM(),
		"client_email": "push@shop-1234.iam.gserviceaccount.com", "token_uri": tokenURI,
	}
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// fakeGoogle is a server that is FCM and the token server at once.
type fakeGoogle struct {
	*h2test.Server
	tokens  atomic.Int64 // given out
	scopes  sync.Map
	message atomic.Pointer[h2test.Handler]
	token   atomic.Pointer[h2test.Handler] // in place of giving one out
}

func startGoogle(t *testing.T, h h2test.Handler) *fakeGoogle {
	t.Helper()
	g := &fakeGoogle{}
	g.message.Store(&h)
	isToken := func(r *http.Request) bool { return r.URL.Path == "/token" }
	g.Server = h2test.Start(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		if !isToken(r) {
			(*g.message.Load())(w, r, body)
			return
		}
		if h := g.token.Load(); h != nil {
			(*h)(w, r, body)
			return
		}
		n := g.tokens.Add(1)
		form, _ := url.ParseQuery(string(body))
		g.scopes.Store(form.Get("grant_type"), form.Get("assertion"))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"at-%d","expires_in":3600,"token_type":"Bearer"}`, n)
	}, isToken)
	return g
}

func (g *fakeGoogle) config() Config {
	return Config{CredentialsJSON: encode(account(g.URL + "/token")), Endpoint: g.URL + "/v1", RootCAs: g.RootCAs}
}

func newProvider(t *testing.T, cfg Config) *Provider {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func example() push.Notification {
	return push.Notification{
		MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", App: "shop", Device: "phone-7", Platform: push.Android,
		Token: registrationToken, Campaign: "anniversary", Fence: "kyiv-01", Title: "Title", Body: "Body",
		ExpiresAt: time.Now().Add(15 * time.Minute),
	}
}

func accept(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Write([]byte(`{"name":"projects/shop-1234/messages/1"}`))
}

func answerWith(status int, body string) h2test.Handler {
	return func(w http.ResponseWriter, r *http.Request, _ []byte) {
		w.WriteHeader(status)
		w.Write([]byte(body))
	}
}

const unregistered = `{"error":{"code":404,"message":"Requested entity was not found.","status":"NOT_FOUND","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED"}]}}`
const unavailable = `{"error":{"code":503,"message":"The service is currently unavailable.","status":"UNAVAILABLE","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNAVAILABLE"}]}}`

func TestConformance(t *testing.T) {
	for _, style := range []Style{Display, DataOnly} {
		t.Run(string(style), func(t *testing.T) {
			pushtest.Conformance(t, func(t *testing.T) pushtest.Harness {
				g := startGoogle(t, accept)
				cfg := g.config()
				cfg.Style = style
				cfg.Timeout = time.Minute // the machine may be busy with something else
				return pushtest.Harness{
					Provider:     newProvider(t, cfg),
					Notification: example(),
					Requests:     g.Requests,
					Script: func(a pushtest.Answer) {
						h := map[pushtest.Answer]h2test.Handler{
							pushtest.Accept:      accept,
							pushtest.TokenDead:   answerWith(404, unregistered),
							pushtest.Unavailable: answerWith(503, unavailable),
							pushtest.Cut:         func(_ http.ResponseWriter, r *http.Request, _ []byte) { g.Cut(r) },
							pushtest.Hang:        func(_ http.ResponseWriter, r *http.Request, _ []byte) { g.Hang(r) },
						}[a]
						g.message.Store(&h)
					},
				}
			})
		})
	}
}

// Google's own client repeats network errors and 503 up to four times, and
// sleeps through a Retry-After of two minutes in the worker.
func TestOneSendIsOneRequest(t *testing.T) {
	g := startGoogle(t, accept)
	p := newProvider(t, g.config())
	send := func() push.Outcome { n := example(); return p.Send(t.Context(), &n) }
	send()
	tests := []struct {
		name string
		h    h2test.Handler
		want push.Outcome
	}{
		{"503 with Retry-After", func(w http.ResponseWriter, r *http.Request, b []byte) {
			w.Header().Set("Retry-After", "60")
			answerWith(503, unavailable)(w, r, b)
		}, push.Outcome{Class: push.Retry, Status: 503, Reason: "UNAVAILABLE", RetryAfter: time.Minute, Sent: true}},
		{"500", answerWith(500, ""), push.Outcome{Class: push.Retry, Status: 500, Reason: "HTTP 500", Unknown: true, Sent: true}},
		{"redirect", func(w http.ResponseWriter, r *http.Request, b []byte) {
			w.Header().Set("Location", g.URL+"/elsewhere")
			w.WriteHeader(307)
		}, push.Outcome{Class: push.Config, Status: 307, Reason: "HTTP 307", Unknown: true, Sent: true}},
		{"cut", func(_ http.ResponseWriter, r *http.Request, _ []byte) { g.Cut(r) }, push.Outcome{Class: push.InDoubt, Reason: "connection lost", Sent: true}},
		{"200 with a page", answerWith(200, "<html>"), push.Outcome{Class: push.InDoubt, Status: 200, Reason: "200 without a message name", Sent: true}},
		{"200 cut in the body", func(w http.ResponseWriter, r *http.Request, b []byte) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(200)
			w.Write([]byte(`{"name":`))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, push.Outcome{Class: push.InDoubt, Status: 200, Reason: "200 without a message name", Sent: true}},
	}
	for _, tt := range tests {
		g.message.Store(&tt.h)
		before, start := g.Requests(), time.Now()
		got := send()
		if tt.name == "cut" { // how is the network's business
			got.Reason, _, _ = strings.Cut(got.Reason, ":")
		}
		if got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
		if n := g.Requests() - before; n != 1 {
			t.Errorf("%s: %d requests", tt.name, n)
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%s: took %v", tt.name, d)
		}
	}
}

func TestAccessToken(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	pass := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }

	g := startGoogle(t, nil)
	var bearer atomic.Value
	h := h2test.Handler(func(w http.ResponseWriter, r *http.Request, b []byte) {
		bearer.Store(r.Header.Get("Authorization"))
		accept(w, r, b)
	})
	g.message.Store(&h)
	cfg := g.config()
	cfg.Now = clock
	p := newProvider(t, cfg)
	send := func() push.Outcome {
		n := example()
		n.ExpiresAt = clock().Add(time.Minute)
		return p.Send(t.Context(), &n)
	}

	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if o := send(); o.Class != push.Accepted {
				t.Errorf("%+v", o)
			}
		})
	}
	wg.Wait()
	if n := g.tokens.Load(); n != 1 || bearer.Load() != "Bearer at-1" {
		t.Errorf("%d tokens for 50 senders, %v", n, bearer.Load())
	}
	assertion, _ := g.scopes.Load("urn:ietf:params:oauth:grant-type:jwt-bearer")
	if got := claim(t, assertion.(string), "scope"); got != scope {
		t.Errorf("scope %q, want %q alone", got, scope)
	}

	// Shortly before its end it is replaced aside; nobody waits for that.
	pass(57 * time.Minute)
	if o := send(); o.Class != push.Accepted || bearer.Load() != "Bearer at-1" {
		t.Errorf("%+v with %v", o, bearer.Load())
	}
	for g.tokens.Load() < 2 {
		time.Sleep(time.Millisecond)
	}

	// Google no longer takes it: a new one, if it was not new already.
	for bearer.Load() != "Bearer at-2" {
		send()
	}
	refuse := answerWith(401, `{"error":{"code":401,"status":"UNAUTHENTICATED"}}`)
	g.message.Store(&refuse)
	if o := send(); o.Class != push.Auth {
		t.Errorf("a fresh token refused: %+v", o)
	}
	pass(2 * time.Minute)
	if o := send(); o.Class != push.RetryNow {
		t.Errorf("an older token refused: %+v", o)
	}
	if o := send(); o.Class != push.Auth {
		t.Errorf("its successor refused as well: %+v", o)
	}
	if n := g.tokens.Load(); n != 3 {
		t.Errorf("%d tokens, want 3", n)
	}
	thirdParty := answerWith(401, `{"error":{"code":401,"status":"UNAUTHENTICATED","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"THIRD_PARTY_AUTH_ERROR"}]}}`)
	g.message.Store(&thirdParty)
	pass(2 * time.Minute)
	if o := send(); o.Class != push.Auth || o.Reason != "THIRD_PARTY_AUTH_ERROR" {
		t.Errorf("%+v", o)
	}
	if n := g.tokens.Load(); n != 3 {
		t.Errorf("Apple's credentials are wrong, and our token was renewed (%d)", n)
	}
}

func claim(t *testing.T, jwt, name string) string {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("assertion %q", jwt)
	}
	var m map[string]any
	if err := json.Unmarshal(rawURL(t, parts[1]), &m); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(m[name])
}

func TestAccessTokenFailures(t *testing.T) {
	g := startGoogle(t, accept)
	tests := []struct {
		name  string
		h     h2test.Handler
		class push.Class
	}{
		{"revoked account", answerWith(400, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`), push.Auth},
		{"token server down", answerWith(503, ""), push.Retry},
		{"not a token server", answerWith(200, "<html>"), push.Retry},
		{"cut", func(_ http.ResponseWriter, r *http.Request, _ []byte) { g.Cut(r) }, push.Retry},
	}
	for _, tt := range tests {
		g.token.Store(&tt.h)
		p := newProvider(t, g.config())
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				n := example()
				if o := p.Send(t.Context(), &n); o.Class != tt.class || o.Sent || o.Reason == "" {
					t.Errorf("%s: %+v", tt.name, o)
				}
			})
		}
		wg.Wait()
		if err := p.Warm(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "fcm: ") {
			t.Errorf("%s: Warm: %v", tt.name, err)
		}
	}
	if g.Requests() != 0 {
		t.Errorf("%d messages were sent without a token", g.Requests())
	}
}

func TestNewExplainsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	with := func(k, v string) []byte {
		m := account("https://oauth2.googleapis.com/token")
		if m[k] = v; v == "" {
			delete(m, k)
		}
		return encode(m)
	}
	tests := []struct {
		name string
		cfg  Config
		want []string
	}{
		{"nothing", Config{}, []string{"credentials_file is not set", "service account"}},
		{"missing file", Config{CredentialsFile: filepath.Join(dir, "none.json")}, []string{"none.json", "no such file"}},
		{"empty file", Config{CredentialsFile: file("empty.json", nil)}, []string{"empty.json", "is empty"}},
		{"not JSON", Config{CredentialsFile: file("key.txt", []byte("AAAA-legacy-server-key"))}, []string{"is not JSON"}},
		{"null", Config{CredentialsJSON: []byte("null")}, []string{`no "type"`}},
		{"google-services.json", Config{CredentialsJSON: []byte(`{"project_info":{"project_id":"x"},"client":[]}`)}, []string{"google-services.json"}},
		{"a user's credentials", Config{CredentialsJSON: []byte(`{"type":"authorized_user"}`)}, []string{"authorized_user"}},
		{"lacks all", Config{CredentialsJSON: []byte(`{"type":"service_account"}`)}, []string{"lacks project_id, client_email, private_key, token_uri"}},
		{"no project", Config{CredentialsJSON: with("project_id", "")}, []string{"lacks project_id"}},
		{"project with a slash", Config{CredentialsJSON: with("project_id", "a/../b")}, []string{"a/../b"}},
		{"bad token_uri", Config{CredentialsJSON: with("token_uri", "token")}, []string{"token_uri"}},
		{"key without line ends", Config{CredentialsJSON: with("private_key", strings.ReplaceAll(keyPEM(), "\n", " "))}, []string{"private_key", "PEM"}},
		{"damaged key", Config{CredentialsJSON: with("private_key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")}, []string{"damaged"}},
		{"EC key", Config{CredentialsJSON: with("private_key", pkcs8(ec))}, []string{"RSA"}},
		{"both", Config{CredentialsFile: "x", CredentialsJSON: with("x", "y")}, []string{"keep one"}},
		{"endpoint", Config{CredentialsJSON: with("x", "y"), Endpoint: "localhost"}, []string{"endpoint", "localhost"}},
		{"style", Config{CredentialsJSON: with("x", "y"), Style: "loud"}, []string{`"loud"`, `"display"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := New(tt.cfg)
			if err == nil {
				p.Close()
				t.Fatal("accepted")
			}
			for _, w := range append(tt.want, "fcm: ") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "MII") {
				t.Error("the error shows the key")
			}
		})
	}
	p, err := New(Config{CredentialsJSON: with("x", "y")})
	if err != nil {
		t.Fatalf("good credentials: %v", err)
	}
	p.Close()
}
