package webhook

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"footfall/push"
	"footfall/push/pushtest"
)

var update = flag.Bool("update", false, "rewrite testdata")

const (
	secretA = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secretB = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	token   = "SECRETTOKEN-9d7e4c558a100123456789abcdef"
)

// receiver is the retailer's side: it verifies what it gets.
type receiver struct {
	*httptest.Server
	roots    *x509.CertPool
	requests atomic.Int64
	handle   atomic.Pointer[http.HandlerFunc] // nil: take it
	secrets  atomic.Pointer[[]Secret]
	revoked  atomic.Bool // signatures with older ones are no surprise
	last     atomic.Pointer[http.Request]
	body     atomic.Pointer[[]byte]
	done     chan struct{}
}

func startReceiver(t *testing.T, h2 bool) *receiver {
	t.Helper()
	r := &receiver{roots: x509.NewCertPool(), done: make(chan struct{})}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		r.requests.Add(1)
		r.last.Store(q)
		r.body.Store(&body)
		if h := r.handle.Load(); h != nil {
			(*h)(w, q)
			return
		}
		if _, err := Verify(*r.secrets.Load(), q.Header, body, time.Now()); err != nil {
			if !r.revoked.Load() {
				t.Errorf("the receiver cannot verify: %v", err)
			}
			w.WriteHeader(401)
			return
		}
		if _, err := Parse(body); err != nil {
			t.Errorf("the receiver cannot parse: %v", err)
		}
	}))
	r.accept(secretA)
	r.EnableHTTP2 = h2
	r.StartTLS()
	r.roots.AddCert(r.Certificate())
	t.Cleanup(func() { close(r.done); r.CloseClientConnections(); r.Close() })
	return r
}

// accept verifies with these secrets from now on.
func (r *receiver) accept(texts ...string) {
	var secrets []Secret
	for _, text := range texts {
		s, err := ParseSecret(text)
		if err != nil {
			panic(err)
		}
		secrets = append(secrets, s)
	}
	r.secrets.Store(&secrets)
}

func (r *receiver) answer(h http.HandlerFunc) {
	if h == nil {
		r.handle.Store(nil)
		return
	}
	r.handle.Store(&h)
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); io.WriteString(w, body) }
}

func (r *receiver) config() Config {
	return Config{URL: r.URL + "/footfall?key=URLSECRET", Secrets: []string{secretA}, RootCAs: r.roots}
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
		MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", App: "shop", Device: "phone-7", Platform: push.IOS,
		Token: token, Campaign: "anniversary", Fence: "kyiv-01", Title: "Title", Body: "Body",
		ExpiresAt: time.Now().Add(15 * time.Minute),
	}
}

func TestConformance(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			pushtest.Conformance(t, func(t *testing.T) pushtest.Harness {
				r := startReceiver(t, h2)
				cfg := r.config()
				cfg.Timeout = time.Minute // the machine may be busy with something else
				cfg.Secrets, cfg.SecretFile = nil, filepath.Join(t.TempDir(), "secret")
				write := func(text string) {
					if err := os.WriteFile(cfg.SecretFile, []byte(text), 0o600); err != nil {
						t.Error(err)
					}
				}
				write(secretA + "\n")
				return pushtest.Harness{
					Provider: newProvider(t, cfg),
					RetryAfter: func(d time.Duration, date bool) {
						r.answer(func(w http.ResponseWriter, _ *http.Request) {
							w.Header().Set("Retry-After", pushtest.RetryAfter(d, date))
							w.WriteHeader(429)
						})
					},
					Rotation: &pushtest.Rotation{
						Spoil:   func() { write("whsec_short\n") },
						Replace: func() { r.accept(secretA, secretB); write(secretB + "\n") },
						Revoke:  func() { r.revoked.Store(true); r.accept(secretB) },
					},
					Notification: example(),
					Requests:     func() int { return int(r.requests.Load()) },
					Script: func(a pushtest.Answer) {
						r.answer(map[pushtest.Answer]http.HandlerFunc{
							pushtest.Accept:      nil,
							pushtest.TokenDead:   status(422, `{"error":{"class":"token_dead","reason":"unsubscribed"}}`),
							pushtest.Unavailable: status(503, "busy"),
							pushtest.Cut:         func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
							pushtest.Hang: func(_ http.ResponseWriter, q *http.Request) {
								select {
								case <-q.Context().Done():
								case <-r.done:
								}
								panic(http.ErrAbortHandler) // returning would answer 200, and a client that is just leaving may still see it
							},
						}[a])
					},
				}
			})
		})
	}
}

func TestNothingSecretIsShown(t *testing.T) {
	r := startReceiver(t, false)
	var log bytes.Buffer
	cfg := r.config()
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Header = http.Header{"Authorization": {"Bearer GATEWAYKEY"}}
	p := newProvider(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	send := func() push.Outcome { n := example(); return p.Send(ctx, &n) }
	shown := ""
	for _, h := range []http.HandlerFunc{
		status(401, `{"error":{"reason":"no such token `+token+`"}}`),
		status(200, `{"id":"`+token+`"}`),
		status(307, ""),
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		func(_ http.ResponseWriter, q *http.Request) { cancel(); <-q.Context().Done() },
	} {
		r.answer(h)
		shown += fmt.Sprintf("%+v\n", send())
	}
	r.Close()
	ctx = t.Context()
	shown += fmt.Sprintf("%+v %+v\n", send(), send())
	a, _ := ParseSecret(secretA)
	shown += fmt.Sprintf("%v %+v %#v %s", a, p.secrets.Load(), *p.secrets.Load(), log.String())
	for _, secret := range []string{token, "URLSECRET", "GATEWAYKEY", secretA[6:]} {
		if strings.Contains(shown, secret) {
			t.Errorf("%q is shown in\n%s", secret, shown)
		}
	}
	if !strings.Contains(log.String(), "compare secrets") {
		t.Errorf("a 401 is not logged: %s", log.String())
	}
	if got := r.last.Load().Header.Get("Authorization"); got != "Bearer GATEWAYKEY" {
		t.Errorf("the extra header did not arrive: %q", got)
	}
	if strings.Contains(string(*r.body.Load()), token) {
		t.Error("the token is in the body though nobody asked for it")
	}
}

func TestUnreachableReceiverCostsNoAttempt(t *testing.T) {
	r := startReceiver(t, false)
	p := newProvider(t, r.config())
	r.Close()
	n := example()
	for range 2 {
		o := p.Send(t.Context(), &n)
		if o.Class != push.Retry || o.Sent || o.RetryAfter <= 0 {
			t.Errorf("got %+v", o)
		}
	}
}

func TestIDsThatAreNone(t *testing.T) {
	r := startReceiver(t, false)
	p := newProvider(t, r.config())
	for _, mid := range []string{"", "a.b", "a b", "a\nb", "ї", strings.Repeat("x", 129)} {
		n := example()
		n.MID = mid
		if o := p.Send(t.Context(), &n); o.Class != push.Bug || o.Sent {
			t.Errorf("%q: %+v", mid, o)
		}
	}
	if r.requests.Load() != 0 {
		t.Error("something was sent")
	}
}

// The body is an interface to other companies' code: its members do not
// change. -update rewrites, review the diff.
func TestGolden(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 999, time.UTC)
	base := example()
	base.ExpiresAt = now.Add(15 * time.Minute)
	for _, tt := range []struct {
		name  string
		token bool
		mod   func(*push.Notification)
	}{
		{"plain", false, func(*push.Notification) {}},
		{"everything", true, func(n *push.Notification) {
			n.Subtitle, n.Image, n.Link, n.Sound = "Store 7", "https://cdn.example/a.jpg?w=1&h=2", "shop://store/7", "bell.caf"
			n.Thread, n.Category, n.Env = "store-7", "offer", push.EnvSandbox
			n.Data = map[string]string{"coupon": "KYIV18", "a": "<b>"}
			n.CollapseID, n.ReceiptKey = "anniversary:kyiv-01", "a1b2c3d4e5f60718"
		}},
		{"cyrillic_emoji_escapes", false, func(n *push.Notification) {
			n.Title, n.Body = "Знижка <20 %> & подарунок 🎉", "Їжа \"смачна\"\n👨‍👩‍👧 чекаємо"
		}},
		{"silent_no_expiry", false, func(n *push.Notification) {
			n.Silent, n.Title, n.Body, n.ExpiresAt = true, "", "", time.Time{}
		}},
		{"shrunk_to_fit", false, func(n *push.Notification) {
			n.Subtitle, n.Data = "goes away", map[string]string{"goes": strings.Repeat("away", 100)}
			n.Body = strings.Repeat("&", 3000) + strings.Repeat("я", 348)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := base
			tt.mod(&n)
			body, _, err := compose(&n, tt.token, now)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := json.Indent(&b, body, "", "  "); err != nil {
				t.Fatal(err)
			}
			b.WriteByte('\n')
			path := filepath.Join("testdata", tt.name+".json")
			if *update {
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(want, b.Bytes()) {
				t.Errorf("%v; got\n%s", err, b.Bytes())
			}
			e, err := Parse(body)
			if err != nil || e.ID != n.MID || e.Push.Title != n.Title || e.Push.Body != n.Body || !e.CreatedAt.Equal(now.Truncate(time.Millisecond)) {
				t.Errorf("read back: %+v, %v", e, err)
			}
		})
	}
}

func TestPayloadLimit(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	size := func(pad int) (int, error) {
		n := example()
		n.ExpiresAt = now.Add(time.Minute) // its text has a length of its own
		n.Body = strings.Repeat("x", pad)
		body, _, err := compose(&n, false, now)
		if err != nil {
			return 0, err
		}
		var e struct {
			Push json.RawMessage `json:"push"`
		}
		if err := json.Unmarshal(body, &e); err != nil {
			t.Fatal(err)
		}
		return len(e.Push), nil
	}
	n, err := size(1)
	if err != nil {
		t.Fatal(err)
	}
	pad := MaxPush - n + 1
	if n, err := size(pad); err != nil || n != MaxPush {
		t.Errorf("at the limit: %d, %v", n, err)
	}
	if _, err := size(pad + 1); err != errTooLarge {
		t.Errorf("over the limit: %v", err)
	}
}

func TestNewExplainsWhatIsWrong(t *testing.T) {
	good := Config{URL: "https://hooks.example/x", Secrets: []string{secretA}}
	for _, tt := range []struct {
		name string
		mod  func(*Config)
		want []string
	}{
		{"nothing", func(c *Config) { *c = Config{} }, []string{"url is not set", "secrets is not set", "openssl rand"}},
		{"http", func(c *Config) { c.URL = "http://hooks.example/KEY" }, []string{"hooks.example", "use https"}},
		{"scheme", func(c *Config) { c.URL = "ftp://hooks.example/KEY" }, []string{`"ftp"`}},
		{"no host", func(c *Config) { c.URL = "hooks.example/KEY" }, []string{"https://host/path"}},
		{"port only", func(c *Config) { c.URL = "https://:8443/KEY" }, []string{"https://host/path"}},
		{"user", func(c *Config) { c.URL = "https://me:KEY@hooks.example/" }, []string{"Authorization"}},
		{"fragment", func(c *Config) { c.URL = "https://hooks.example/#KEY" }, []string{"#fragment"}},
		{"control", func(c *Config) { c.URL = "https://hooks.example/\nKEY" }, []string{"https://host/path"}},
		{"secret without prefix", func(c *Config) { c.Secrets = []string{secretA, "KEYKEYKEY"} }, []string{"secrets[1]", "whsec_"}},
		{"secret not base64", func(c *Config) { c.Secrets = []string{"whsec_KEY!"} }, []string{"secrets[0]", "base64"}},
		{"short secret", func(c *Config) { c.Secrets = []string{"whsec_S0VZ"} }, []string{"24 to 64"}},
		{"own header", func(c *Config) { c.Header = http.Header{"webhook-id": {"KEY"}} }, []string{"webhook-id", "remove it"}},
		{"negative", func(c *Config) { c.InFlight = -1 }, []string{"negative"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.mod(&cfg)
			p, err := New(cfg)
			if err == nil {
				p.Close()
				t.Fatal("accepted")
			}
			for _, w := range append(tt.want, "webhook: ") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "KEY") {
				t.Errorf("%q shows the key", err)
			}
		})
	}
	for _, url := range []string{good.URL, "http://127.0.0.1:9/x", "http://[::1]:9", "http://localhost/x"} {
		cfg := good
		cfg.URL = url
		p, err := New(cfg)
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		p.Close()
	}
}
