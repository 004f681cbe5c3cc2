package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
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

const deviceToken = "aa00000000000000000000000000000000000000000000000000000000000001"

var keyPEM = sync.OnceValue(func() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return pkcs8(key)
})

func pkcs8(key any) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func config(s *h2test.Server) Config {
	return Config{KeyPEM: keyPEM(), KeyID: "ABC123DEFG", TeamID: "TEAM123456", Topic: "com.example.shop",
		Host: s.URL, RootCAs: s.RootCAs}
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
		Token: deviceToken, Title: "Title", Body: "Body", ExpiresAt: time.Now().Add(15 * time.Minute),
	}
}

func accept(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header().Set("apns-id", r.Header.Get("apns-id"))
}

func refuse(status int, reason string) h2test.Handler {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		w.WriteHeader(status)
		w.Write([]byte(`{"reason":"` + reason + `"}`))
	}
}

func TestConformance(t *testing.T) {
	pushtest.Conformance(t, func(t *testing.T) pushtest.Harness {
		s := h2test.Start(t, accept, nil)
		cfg := config(s)
		cfg.Timeout = time.Minute // the machine may be busy with something else
		return pushtest.Harness{
			Provider:     newProvider(t, cfg),
			Notification: example(),
			Requests:     s.Requests,
			Script: func(a pushtest.Answer) {
				s.Handle(map[pushtest.Answer]h2test.Handler{
					pushtest.Accept:      accept,
					pushtest.TokenDead:   refuse(410, "Unregistered"),
					pushtest.Unavailable: refuse(503, "ServiceUnavailable"),
					pushtest.Cut:         func(_ http.ResponseWriter, r *http.Request, _ []byte) { s.Cut(r) },
					pushtest.Hang:        func(_ http.ResponseWriter, r *http.Request, _ []byte) { s.Hang(r) },
				}[a])
			},
		}
	})
}

// Apple answers 403 for ever on a connection that has seen an expired token:
// only a new token on a new connection ends it, under load as well.
func TestExpiredProviderTokenRetiresTheConnection(t *testing.T) {
	var clock atomic.Int64
	clock.Store(time.Now().UnixNano())
	var expired atomic.Value // the bearer that Apple no longer takes
	expired.Store("")
	var wedged sync.Map // by client address
	bearers := sync.Map{}
	s := h2test.Start(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		bearers.Store(r.Header.Get("Authorization"), true)
		_, bad := wedged.Load(r.RemoteAddr)
		if bad || r.Header.Get("Authorization") == expired.Load() {
			wedged.Store(r.RemoteAddr, true)
			refuse(403, "ExpiredProviderToken")(w, r, body)
			return
		}
		accept(w, r, body)
	}, nil)
	cfg := config(s)
	cfg.Now = func() time.Time { return time.Unix(0, clock.Load()) }
	p := newProvider(t, cfg)
	n := example()
	n.ExpiresAt = time.Now().Add(time.Hour * 24)
	if o := p.Send(t.Context(), &n); o.Class != push.Accepted {
		t.Fatalf("%+v", o)
	}
	bearer, _ := p.signer.bearerNow()
	clock.Add(int64(21 * time.Minute)) // a new token is allowed, and not yet made
	expired.Store("bearer " + bearer)

	var wg sync.WaitGroup
	var failures atomic.Int64 // of requests that were under way
	start := time.Now()
	for range 8 {
		wg.Go(func() {
			for {
				n := n
				switch o := p.Send(t.Context(), &n); o.Class {
				case push.Accepted:
					return
				case push.RetryNow:
					failures.Add(1)
				default:
					t.Errorf("%+v", o)
					return
				}
				if time.Since(start) > time.Minute {
					t.Error("not recovered")
					return
				}
			}
		})
	}
	wg.Wait()
	count := 0
	bearers.Range(func(any, any) bool { count++; return true })
	if count != 2 {
		t.Errorf("%d provider tokens were used, want 2", count)
	}
	t.Logf("recovered after %v with %d failures", time.Since(start), failures.Load())
}

// A wrong clock makes every token expired. New ones would not help and
// would be refused as too many.
func TestWrongClockDoesNotMakeTokens(t *testing.T) {
	bearers := sync.Map{}
	s := h2test.Start(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		bearers.Store(r.Header.Get("Authorization"), true)
		refuse(403, "ExpiredProviderToken")(w, r, body)
	}, nil)
	p := newProvider(t, config(s))
	for range 5 {
		n := example()
		if o := p.Send(t.Context(), &n); o.Class != push.Auth || !o.Sent || o.Reason != "ExpiredProviderToken" {
			t.Errorf("%+v", o)
		}
	}
	count := 0
	bearers.Range(func(any, any) bool { count++; return true })
	if count != 1 {
		t.Errorf("%d tokens, want 1", count)
	}
}

func TestTokenAge(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	s := h2test.Start(t, accept, nil)
	cfg := config(s)
	cfg.Now = func() time.Time { return now }
	p := newProvider(t, cfg)
	bearer := func() string {
		b, err := p.signer.bearerNow()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := bearer()
	now = now.Add(49 * time.Minute)
	if bearer() != first {
		t.Error("renewed after 49 min")
	}
	now = now.Add(time.Minute)
	second := bearer()
	if second == first {
		t.Error("not renewed after 50 min")
	}
	now = now.Add(19 * time.Minute)
	if p.signer.renew(second) || bearer() != second {
		t.Error("renewed after 19 min")
	}
	if !p.signer.renew(first) || bearer() != second {
		t.Error("a rejection of the old token must not renew the new one")
	}
	now = now.Add(time.Minute)
	if !p.signer.renew(second) || bearer() == second {
		t.Error("not renewed after 20 min")
	}
	third := bearer()
	if !p.signer.renew(third) || bearer() != third {
		t.Error("a refusal right after the change may be the connection's fault: retry, same token")
	}
	now = now.Add(changeover)
	if p.signer.renew(third) || bearer() != third {
		t.Error("a refusal later is the clock's fault: no retry, same token")
	}
	now = now.Add(-2 * time.Hour) // the clock was set right
	if bearer() == third {
		t.Error("a token from the future was kept")
	}
}

func TestTokenOutlivesRestarts(t *testing.T) {
	s := h2test.Start(t, accept, nil)
	cfg := config(s)
	cfg.TokenFile = filepath.Join(t.TempDir(), "apns-token.json")
	seen := map[string]bool{}
	for range 20 {
		p := newProvider(t, cfg)
		b, err := p.signer.bearerNow()
		if err != nil {
			t.Fatal(err)
		}
		seen[b] = true
		p.Close()
	}
	if len(seen) != 1 {
		t.Errorf("20 starts made %d tokens", len(seen))
	}
	if fi, err := os.Stat(cfg.TokenFile); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("token file: %v, %v", fi, err)
	}
	// Not ours: another key, and garbage.
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	other := cfg
	other.KeyPEM = pkcs8(key)
	if b, _ := newProvider(t, other).signer.bearerNow(); seen[b] {
		t.Error("took over the token of another key")
	}
	os.WriteFile(cfg.TokenFile, []byte("{"), 0o600)
	if b, err := newProvider(t, cfg).signer.bearerNow(); err != nil || seen[b] {
		t.Errorf("after a damaged file: %v", err)
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
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	good := Config{KeyPEM: keyPEM(), KeyID: "ABC123DEFG", TeamID: "TEAM123456", Topic: "com.example.shop"}
	fromFile := func(path string) func(*Config) {
		return func(c *Config) { c.KeyPEM, c.KeyFile = nil, path }
	}
	tests := []struct {
		name string
		mod  func(*Config)
		want []string
	}{
		{"nothing at all", func(c *Config) { *c = Config{} }, []string{"key_file is not set", "key_id is not set", "team_id is not set", "topic is not set"}},
		{"no key", func(c *Config) { c.KeyPEM = nil }, []string{"key_file is not set", "AuthKey_"}},
		{"missing file", fromFile(filepath.Join(dir, "none.p8")), []string{"none.p8", "cannot be read", "no such file"}},
		{"a folder", fromFile(dir), []string{"cannot be read"}},
		{"empty file", fromFile(file("empty.p8", nil)), []string{"empty.p8", "is empty"}},
		{"blank file", fromFile(file("blank.p8", []byte("\n \n"))), []string{"is empty"}},
		{"not PEM", fromFile(file("text.p8", []byte("hello"))), []string{"is not PEM"}},
		{"a certificate", fromFile(file("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))), []string{"CERTIFICATE", "not a private key"}},
		{"damaged", fromFile(file("bad.p8", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))), []string{"damaged"}},
		{"RSA key", fromFile(file("rsa.p8", pkcs8(rsaKey))), []string{"wrong kind", "P-256"}},
		{"other curve", fromFile(file("p384.p8", pkcs8(p384))), []string{"wrong kind", "P-256"}},
		{"both", func(c *Config) { c.KeyFile = "x.p8" }, []string{"keep one"}},
		{"short key id", func(c *Config) { c.KeyID = "ABC" }, []string{`key_id "ABC"`, "ten"}},
		{"lower case team id", func(c *Config) { c.TeamID = "team123456" }, []string{`team_id "team123456"`}},
		{"topic with a space", func(c *Config) { c.Topic = "com example" }, []string{`topic "com example"`}},
		{"topic without a dot", func(c *Config) { c.Topic = "shop" }, []string{`topic "shop"`}},
		{"host without scheme", func(c *Config) { c.Host = "localhost:443" }, []string{"host", "localhost:443"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.mod(&cfg)
			p, err := New(cfg)
			if err == nil {
				p.Close()
				t.Fatal("accepted")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "apns: ") {
					t.Errorf("line %q does not say where it comes from", line)
				}
			}
			if strings.Contains(err.Error(), "MIG") { // DER of a key in base64
				t.Error("the error shows the key")
			}
		})
	}
	p, err := New(good)
	if err != nil {
		t.Fatalf("a good configuration: %v", err)
	}
	p.Close()
}

func TestTokensThatCannotStandInAPath(t *testing.T) {
	s := h2test.Start(t, accept, nil)
	p := newProvider(t, config(s))
	for _, token := range []string{"", "a/../b", "a b", "токен", "a?b", "a%2fb", strings.Repeat("a", 401)} {
		n := example()
		n.Token = token
		if o := p.Send(t.Context(), &n); o.Class != push.TokenBad || o.Sent {
			t.Errorf("token %.10q: %+v", token, o)
		}
	}
	if s.Requests() != 0 {
		t.Errorf("%d requests", s.Requests())
	}
}

func TestSandboxHasItsOwnHost(t *testing.T) {
	prod, sandbox := h2test.Start(t, accept, nil), h2test.Start(t, accept, nil)
	cfg := config(prod)
	cfg.SandboxHost = sandbox.URL
	cfg.RootCAs = cfg.RootCAs.Clone() // httptest's certificate is the same for all
	p := newProvider(t, cfg)
	n := example()
	p.Send(t.Context(), &n)
	n.Env = push.EnvSandbox
	p.Send(t.Context(), &n)
	p.Send(t.Context(), &n)
	if prod.Requests() != 1 || sandbox.Requests() != 2 {
		t.Errorf("production %d, sandbox %d; want 1, 2", prod.Requests(), sandbox.Requests())
	}
	// With a host of one's own, nothing may go to Apple.
	p = newProvider(t, config(prod))
	if p.sandbox != p.production {
		t.Error("sandbox pushes would leave for Apple")
	}
}
