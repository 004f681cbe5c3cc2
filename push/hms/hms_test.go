package hms

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"footfall/push"
	"footfall/push/internal/h2test"
	"footfall/push/pushtest"
)

var update = flag.Bool("update", false, "rewrite testdata")

func TestConformance(t *testing.T) {
	for name, project := range map[string]string{"v1": "", "v2": "987"} {
		t.Run(name, func(t *testing.T) {
			pushtest.Conformance(t, func(t *testing.T) pushtest.Harness {
				s := startHuawei(t)
				cfg := s.config()
				cfg.ProjectID = project
				cfg.Timeout = time.Minute // the machine may be busy with something else
				cfg.ClientSecret, cfg.ClientSecretFile = "", filepath.Join(t.TempDir(), "secret")
				write := func(text string) {
					if err := os.WriteFile(cfg.ClientSecretFile, []byte(text), 0o600); err != nil {
						t.Error(err)
					}
				}
				write(secret)
				return pushtest.Harness{
					Provider: newProvider(t, cfg),
					RetryAfter: func(d time.Duration, date bool) {
						s.respond(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
							w.Header().Set("Retry-After", pushtest.RetryAfter(d, date))
							w.WriteHeader(503)
						})
					},
					Rotation: &pushtest.Rotation{
						Spoil:   func() { write("") },
						Replace: func() { s.oldIsGood.Store(true); s.secret.Store(new("another-secret")); write("another-secret\n") },
						Revoke:  func() { s.oldIsGood.Store(false) },
					},
					Notification: example(),
					Requests:     s.Requests,
					Script: func(a pushtest.Answer) {
						s.respond(map[pushtest.Answer]h2test.Handler{
							pushtest.TokenDead:   says(200, "80300007", "All the tokens are invalid"),
							pushtest.Unavailable: says(500, "81000001", "System inner error"),
							pushtest.Cut:         func(_ http.ResponseWriter, r *http.Request, _ []byte) { s.Cut(r) },
							pushtest.Hang:        func(_ http.ResponseWriter, r *http.Request, _ []byte) { s.Hang(r) },
						}[a])
					},
				}
			})
		})
	}
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time       { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

func TestAccessToken(t *testing.T) {
	s := startHuawei(t)
	c := &clock{now: time.Now()}
	cfg := s.config()
	cfg.Now = c.Now
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	p := newProvider(t, cfg)
	send := func() push.Outcome {
		n := example()
		n.ExpiresAt = c.Now().Add(time.Minute)
		return p.Send(t.Context(), &n)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if o := send(); o.Class != push.Accepted || o.ProviderID != "req-1" {
				t.Errorf("%+v", o)
			}
		})
	}
	wg.Wait()
	if n := s.tokens.Load(); n != 1 {
		t.Errorf("%d tokens for 50 senders", n)
	}

	// A fresh token called expired: asking again would go on for ever.
	s.respond(says(200, codeExpired, "Token expired"))
	if o := send(); o.Class != push.Auth || !strings.Contains(log.String(), "client_secret") {
		t.Errorf("%+v, %s", o, log.String())
	}
	// One that has served a while: a new one, at once, but once.
	c.pass(10 * time.Second)
	if o := send(); o.Class != push.RetryNow || o.Reason != codeExpired || !o.Sent {
		t.Errorf("%+v", o)
	}
	if o := send(); o.Class != push.Auth {
		t.Errorf("its successor: %+v", o)
	}
	s.respond(nil)
	if o := send(); o.Class != push.Accepted || s.tokens.Load() != 2 {
		t.Errorf("%+v with %d tokens", o, s.tokens.Load())
	}
	// "Authentication error" may mean another app's client: less eager.
	s.respond(says(401, codeAuth, "Oauth authentication error"))
	c.pass(30 * time.Second)
	if o := send(); o.Class != push.Auth {
		t.Errorf("%+v", o)
	}
	c.pass(time.Minute)
	if o := send(); o.Class != push.RetryNow {
		t.Errorf("%+v", o)
	}
	s.respond(nil)
	if o := send(); o.Class != push.Accepted || s.tokens.Load() != 3 {
		t.Errorf("%+v with %d tokens", o, s.tokens.Load())
	}
	// A refusal that is not about the token leaves it.
	s.respond(says(200, "80600003", "request oauth failed"))
	c.pass(2 * time.Minute)
	if o := send(); o.Class != push.Auth || s.tokens.Load() != 3 {
		t.Errorf("%+v", o)
	}
	s.respond(nil)

	// Shortly before its end it is replaced aside; nobody waits for that.
	fetched := make(chan struct{})
	hold := make(chan struct{})
	slow := h2test.Handler(func(w http.ResponseWriter, r *http.Request, body []byte) {
		close(fetched)
		<-hold
		s.oauth.Store(nil)
		s.token(w, r, body)
	})
	s.oauth.Store(&slow)
	c.pass(54 * time.Minute)
	if o := send(); o.Class != push.Accepted {
		t.Errorf("while a token is fetched: %+v", o)
	}
	<-fetched
	if o := send(); o.Class != push.Accepted || *s.bearers.Load() != "Bearer at-3/+=" {
		t.Errorf("while a token is fetched: %+v with %s", o, *s.bearers.Load())
	}
	close(hold)
	for start := time.Now(); s.tokens.Load() < 4; time.Sleep(time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatal("no token")
		}
	}
}

func TestAccessTokenFailures(t *testing.T) {
	s := startHuawei(t)
	for _, tt := range []struct {
		name  string
		h     h2test.Handler
		class push.Class
		want  string
	}{
		{"wrong secret", raw(400, `{"error":1101,"sub_error":12304,"error_description":"invalid client_secret `+secret+`"}`), push.Auth, "1101 12304 invalid client_secret"},
		{"unknown client", raw(401, `{"error":"invalid_client"}`), push.Auth, "HTTP 401"},
		{"token server down", raw(503, ""), push.Retry, "HTTP 503"},
		{"asked too often", raw(429, ""), push.Retry, "HTTP 429"},
		{"portal", raw(302, ""), push.Retry, "HTTP 302"},
		{"not a token server", raw(200, "<html>"), push.Retry, "HTTP 200"},
		{"200 with an error", raw(200, `{"error":1203,"error_description":"flow control"}`), push.Retry, "1203"},
		{"a token that is none", raw(200, `{"access_token":"a\r\nX: y","expires_in":3600}`), push.Retry, "HTTP 200"},
		{"cut", func(_ http.ResponseWriter, r *http.Request, _ []byte) { s.Cut(r) }, push.Retry, "no access token"},
	} {
		s.oauth.Store(&tt.h)
		p := newProvider(t, s.config())
		for range 3 {
			n := example()
			o := p.Send(t.Context(), &n)
			if o.Class != tt.class || o.Sent || !strings.Contains(o.Reason, tt.want) || strings.Contains(o.Reason, secret) {
				t.Errorf("%s: %+v", tt.name, o)
			}
		}
		if err := p.Warm(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "hms: ") {
			t.Errorf("%s: Warm: %v", tt.name, err)
		}
	}
	if s.Requests() != 0 {
		t.Errorf("%d messages were sent without a token", s.Requests())
	}
}

func TestGolden(t *testing.T) {
	now := time.UnixMilli(1795860000000)
	base := example()
	base.ExpiresAt = now.Add(15 * time.Minute)
	for _, tt := range []struct {
		name string
		mod  func(*push.Notification)
	}{
		{"plain", func(*push.Notification) {}},
		{"everything", func(n *push.Notification) {
			n.Subtitle, n.Image, n.Link, n.Sound = "Store 7", "https://cdn.example/a.jpg?w=1&h=2", "shop://store/7?src=geo#top", "bell"
			n.ReceiptKey, n.Data, n.CollapseID = "a1b2c3d4e5f60718", map[string]string{"coupon": "KYIV18"}, "anniversary:kyiv-01"
		}},
		{"cyrillic_emoji_https", func(n *push.Notification) {
			n.Title, n.Body, n.Link = "Знижка <20 %> & подарунок 🎉", "Їжа \"смачна\"\n👨‍👩‍👧", "https://shop.example/7?a=1&b=2"
		}},
		{"title_alone_no_sound_no_expiry", func(n *push.Notification) { n.Body, n.Sound, n.ExpiresAt = "", "none", time.Time{} }},
		{"silent", func(n *push.Notification) { n.Silent, n.Title, n.Body = true, "", "" }},
		{"ttl_has_a_limit", func(n *push.Notification) { n.ExpiresAt = now.Add(90 * 24 * time.Hour) }},
		{"shrunk_to_fit", func(n *push.Notification) {
			n.Subtitle, n.Data = "goes away", map[string]string{"goes": strings.Repeat("away", 100)}
			n.Body = strings.Repeat("&", 3500)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := base
			tt.mod(&n)
			body, _, err := compose(&n, "SUBSCRIPTION", "offers", now)
			if err != nil {
				t.Fatal(err)
			}
			if err := checkMessage(&http.Request{Method: "POST", URL: mustURL("/v2/987/messages:send")}, body); err != nil {
				t.Error(err)
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
		})
	}
}

func TestPayloadLimit(t *testing.T) {
	n := push.Notification{MID: "m", Body: "x", Token: pushToken}
	tokenLen := len(`,"token":["` + pushToken + `"]`)
	body, _, err := compose(&n, "", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	n.Body = strings.Repeat("x", MaxMessage-(len(body)-tokenLen)+1)
	if body, _, err := compose(&n, "", "", time.Now()); err != nil || len(body)-tokenLen != MaxMessage {
		t.Errorf("at the limit: %d, %v", len(body)-tokenLen, err)
	}
	n.Body += "x"
	if _, _, err := compose(&n, "", "", time.Now()); err != errTooLarge {
		t.Errorf("over the limit: %v", err)
	}
}

func TestClick(t *testing.T) {
	for link, want := range map[string]click{
		"":                             {Type: clickApp},
		"https://shop.example/7?a=1&b": {Type: clickURL, URL: "https://shop.example/7?a=1&b"},
		"http://shop.example/7":        {Type: clickApp},
		"shop://store/7?a=1#frag":      {Type: clickIntent, Intent: "intent://store/7?a=1#Intent;scheme=shop;launchFlags=0x4000000;end"},
		"shop://sale;end":              {Type: clickApp}, // would end the intent early
		"shop:sale":                    {Type: clickApp},
		"intent://x#Intent;end":        {Type: clickApp},
		"javascript:alert(1)":          {Type: clickApp},
		"file:///etc/passwd":           {Type: clickApp},
		"/relative":                    {Type: clickApp},
		"%zz":                          {Type: clickApp},
	} {
		if got := clickFor(link); got != want {
			t.Errorf("%q: got %+v, want %+v", link, got, want)
		}
	}
}

func TestReservedData(t *testing.T) {
	p := newProvider(t, startHuawei(t).config())
	n := example()
	n.Data = map[string]string{"g": "x"}
	if o := p.Send(t.Context(), &n); o.Class != push.Bug || o.Sent {
		t.Errorf("%+v", o)
	}
	for _, token := range []string{"", strings.Repeat("x", maxToken+1)} {
		n := example()
		n.Token = token
		if o := p.Send(t.Context(), &n); o.Class != push.TokenBad || o.Sent {
			t.Errorf("%+v", o)
		}
	}
}

func TestNothingSecretIsShown(t *testing.T) {
	s := startHuawei(t)
	var log bytes.Buffer
	cfg := s.config()
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Timeout = 50 * time.Millisecond
	p := newProvider(t, cfg)
	shown := ""
	for _, h := range []h2test.Handler{
		says(200, "80300007", pushToken), says(400, pushToken, "x"), says(401, codeAuth, "at-1/+="), raw(500, pushToken),
		func(_ http.ResponseWriter, r *http.Request, _ []byte) { s.Cut(r) },
		func(_ http.ResponseWriter, r *http.Request, _ []byte) { s.Hang(r) },
	} {
		s.respond(h)
		n := example()
		shown += fmt.Sprintf("%+v\n", p.Send(t.Context(), &n))
	}
	shown += log.String() + fmt.Sprintf("%+v", p.cfg)
	for _, x := range []string{pushToken, secret, "at-1/"} {
		if strings.Contains(shown, x) {
			t.Errorf("%q is shown in\n%s", x, shown)
		}
	}
}

func TestNewExplainsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	file := func(name, data string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := Config{ClientID: clientID, ClientSecret: "KEYKEY"}
	for _, tt := range []struct {
		name string
		mod  func(*Config)
		want []string
	}{
		{"nothing", func(c *Config) { *c = Config{} }, []string{"client_id is not set", "client_secret_file is not set", "AppGallery Connect"}},
		{"both", func(c *Config) { c.ClientSecretFile = "x" }, []string{"keep one"}},
		{"missing file", func(c *Config) { c.ClientSecret, c.ClientSecretFile = "", filepath.Join(dir, "none") }, []string{"none", "no such file"}},
		{"empty file", func(c *Config) { c.ClientSecret, c.ClientSecretFile = "", file("empty", "\n") }, []string{"empty", "one line"}},
		{"two lines", func(c *Config) { c.ClientSecret, c.ClientSecretFile = "", file("two", "KEY\nKEY\n") }, []string{"one line"}},
		{"client id", func(c *Config) { c.ClientID = "../x" }, []string{`client_id "../x"`}},
		{"project id", func(c *Config) { c.ProjectID = "a/b" }, []string{`project_id "a/b"`}},
		{"endpoint", func(c *Config) { c.Endpoint = "push-api.example" }, []string{"endpoint", "push-api.example"}},
		{"http", func(c *Config) { c.Endpoint = "http://push-api.example" }, []string{"endpoint", "https://push-api.cloud.huawei.com"}},
		{"token url", func(c *Config) { c.TokenURL = "http://x/" }, []string{"token_url"}},
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
			for _, w := range append(tt.want, "hms: ") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "KEY") {
				t.Errorf("%q shows the secret", err)
			}
		})
	}
	cfg := Config{ClientID: clientID, ClientSecretFile: file("good", "KEY\n"), ProjectID: "987"}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if p.Close(); p.send.String() != "https://push-api.cloud.huawei.com/v2/987/messages:send" {
		t.Errorf("sends to %s", p.send)
	}
}
