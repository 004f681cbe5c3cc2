package webpush

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"footfall/push"
	"footfall/push/internal/h2test"
	"footfall/push/pushtest"
)

var update = flag.Bool("update", false, "rewrite testdata")

// browser is a push service with one subscriber: it checks what RFC 8030 and
// 8292 ask for, and opens the message.
type browser struct {
	*h2test.Server
	key  *ecdh.PrivateKey
	auth []byte

	answer atomic.Pointer[h2test.Handler] // nil: take it
	last   atomic.Pointer[received]
}

type received struct {
	header http.Header
	text   []byte
	jwt    string
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	b := &browser{auth: []byte("0123456789abcdef")}
	var err error
	if b.key, err = ecdh.P256().GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	b.Server = h2test.Start(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		if h := b.answer.Load(); h != nil {
			(*h)(w, r, body)
			return
		}
		got, err := b.check(r, body)
		if err != nil {
			t.Errorf("the push service refuses: %v", err)
			w.WriteHeader(400)
			return
		}
		b.last.Store(got)
		w.Header().Set("Location", b.URL+"/m/capability")
		w.WriteHeader(201)
	}, nil)
	return b
}

func (b *browser) check(r *http.Request, body []byte) (*received, error) {
	h := r.Header
	if r.Method != "POST" || r.URL.Path != "/wpush/ENDPOINTSECRET" || h.Get("Content-Encoding") != "aes128gcm" {
		return nil, fmt.Errorf("%s %s %v", r.Method, r.URL.Path, h)
	}
	if n, err := strconv.Atoi(h.Get("TTL")); err != nil || n < 0 || n > 30*24*3600 {
		return nil, fmt.Errorf("TTL %q", h.Get("TTL"))
	}
	if u := h.Get("Urgency"); u != "high" && u != "low" {
		return nil, fmt.Errorf("urgency %q", u)
	}
	if id := h.Get("Topic"); id == "" || len(id) > 32 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return nil, fmt.Errorf("topic %q", id)
	}
	if len(body) > MaxBody {
		return nil, fmt.Errorf("%d bytes", len(body))
	}
	t, k, ok := strings.Cut(strings.TrimPrefix(h.Get("Authorization"), "vapid t="), ", k=")
	if !ok {
		return nil, fmt.Errorf("authorization %q", h.Get("Authorization"))
	}
	claims, err := verify(t, k)
	if err != nil || claims["aud"] != b.URL {
		return nil, fmt.Errorf("token: %v, %v", claims, err)
	}
	text, err := openPush(body, b.key, b.auth)
	if err != nil {
		return nil, err
	}
	return &received{h, text, t}, nil
}

func (b *browser) respond(h h2test.Handler) {
	if h == nil {
		b.answer.Store(nil)
		return
	}
	b.answer.Store(&h)
}

func (b *browser) subscription() string {
	return fmt.Sprintf(`{"endpoint":"%s/wpush/ENDPOINTSECRET","expirationTime":null,"keys":{"p256dh":"%s","auth":"%s"}}`, b.URL,
		base64.RawURLEncoding.EncodeToString(b.key.PublicKey().Bytes()), base64.RawURLEncoding.EncodeToString(b.auth))
}

var keys = sync.OnceValues(func() (string, string) {
	private, public, err := GenerateKey()
	if err != nil {
		panic(err)
	}
	return private, public
})

func (b *browser) config() Config {
	private, public := keys()
	return Config{PrivateKey: private, PublicKey: public, Subject: "mailto:ops@shop.example", AllowPrivate: true, RootCAs: b.RootCAs}
}

func (b *browser) example() push.Notification {
	return push.Notification{
		MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", App: "shop", Device: "browser-7", Platform: push.Web,
		Token: b.subscription(), Campaign: "anniversary", Fence: "kyiv-01", Title: "Title", Body: "Body",
		ExpiresAt: time.Now().Add(15 * time.Minute),
	}
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

func status(code int, body string) h2test.Handler {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(code); w.Write([]byte(body)) }
}

func TestConformance(t *testing.T) {
	pushtest.Conformance(t, func(t *testing.T) pushtest.Harness {
		b := startBrowser(t)
		cfg := b.config()
		cfg.Timeout = time.Minute // the machine may be busy with something else
		return pushtest.Harness{
			Provider:     newProvider(t, cfg),
			Notification: b.example(),
			Requests:     b.Requests,
			RetryAfter: func(d time.Duration, date bool) {
				b.respond(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
					w.Header().Set("Retry-After", pushtest.RetryAfter(d, date))
					w.WriteHeader(429)
				})
			},
			Script: func(a pushtest.Answer) {
				b.respond(map[pushtest.Answer]h2test.Handler{
					pushtest.TokenDead:   status(410, `{"code":410,"errno":106}`),
					pushtest.Unavailable: status(503, ""),
					pushtest.Cut:         func(_ http.ResponseWriter, r *http.Request, _ []byte) { b.Cut(r) },
					pushtest.Hang:        func(_ http.ResponseWriter, r *http.Request, _ []byte) { b.Hang(r) },
				}[a])
			},
		}
	})
}

func TestGolden(t *testing.T) {
	now := time.UnixMilli(1795860000000)
	b := startBrowser(t)
	cfg := b.config()
	cfg.Now = func() time.Time { return now }
	p := newProvider(t, cfg)
	base := b.example()
	base.ExpiresAt = now.Add(15 * time.Minute)
	for _, tt := range []struct {
		name string
		mod  func(*push.Notification)
	}{
		{"plain", func(*push.Notification) {}},
		{"everything", func(n *push.Notification) {
			n.Subtitle, n.Image, n.Link, n.Sound = "Store 7", "https://cdn.example/a.jpg?w=1&h=2", "https://shop.example/7", "none"
			n.Thread, n.Category, n.ReceiptKey = "store-7", "offer", "a1b2c3d4e5f60718"
			n.Data, n.CollapseID = map[string]string{"coupon": "KYIV18", "title": "<b>"}, "anniversary:kyiv-01"
		}},
		{"cyrillic_emoji", func(n *push.Notification) {
			n.Title, n.Body, n.CollapseID = "Знижка <20 %> & подарунок 🎉", "Їжа \"смачна\"\n👨‍👩‍👧", "sale_7"
		}},
		{"silent_no_expiry", func(n *push.Notification) {
			n.Silent, n.Title, n.Body, n.ExpiresAt = true, "", "", time.Time{}
		}},
		{"ttl_has_a_limit", func(n *push.Notification) { n.ExpiresAt = now.Add(90 * 24 * time.Hour) }},
		{"shrunk_to_fit", func(n *push.Notification) {
			n.Subtitle, n.Data = "goes away", map[string]string{"goes": strings.Repeat("away", 100)}
			n.Body = strings.Repeat("&", 3600)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := base
			tt.mod(&n)
			if o := p.Send(t.Context(), &n); o.Class != push.Accepted || o.ProviderID != n.MID {
				t.Fatalf("%+v", o)
			}
			got := b.last.Load()
			var out bytes.Buffer
			fmt.Fprintf(&out, "TTL: %s\nTopic: %s\nUrgency: %s\n\n", got.header.Get("TTL"), got.header.Get("Topic"), got.header.Get("Urgency"))
			if err := json.Indent(&out, got.text, "", "  "); err != nil {
				t.Fatal(err)
			}
			out.WriteByte('\n')
			path := filepath.Join("testdata", tt.name+".txt")
			if *update {
				if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(want, out.Bytes()) {
				t.Errorf("%v; got\n%s", err, out.Bytes())
			}
		})
	}
}

func TestPayloadLimit(t *testing.T) {
	n := push.Notification{MID: "m", Body: "x"}
	text, _, err := compose(&n)
	if err != nil {
		t.Fatal(err)
	}
	n.Body = strings.Repeat("x", maxText-len(text)+1)
	if text, _, err := compose(&n); err != nil || len(text) != maxText {
		t.Errorf("at the limit: %d, %v", len(text), err)
	}
	n.Body += "x"
	if _, _, err := compose(&n); err != errTooLarge {
		t.Errorf("over the limit: %v", err)
	}
}

// A stranger can register any address as a subscription. None of these may
// cost a connection.
func TestEndpointsThatAreNotPublic(t *testing.T) {
	b := startBrowser(t)
	cfg := b.config()
	cfg.AllowPrivate = false
	p := newProvider(t, cfg)
	n := b.example()
	if o := p.Send(t.Context(), &n); o.Class != push.TokenBad || o.Sent {
		t.Errorf("an address: %+v", o)
	}
	n.Token = strings.Replace(n.Token, "127.0.0.1", "localhost", 1)
	if o := p.Send(t.Context(), &n); o.Class != push.Config || o.Sent {
		t.Errorf("a name: %+v", o)
	}
	if b.Conns() != 0 {
		t.Errorf("%d connections", b.Conns())
	}
}

func TestPublic(t *testing.T) {
	for _, s := range []string{
		"127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "0.0.0.0", "0.1.2.3",
		"192.0.0.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "255.255.255.255", "240.0.0.1",
		"::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1",
		"64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2001:db8::1", "2001::1", "100::1",
	} {
		if public(netip.MustParseAddr(s)) == nil {
			t.Errorf("%s is taken for public", s)
		}
	}
	for _, s := range []string{"8.8.8.8", "142.250.1.95", "34.107.243.93", "17.57.144.1", "::ffff:8.8.8.8", "2a00:1450:4001:80b::200a", "2606:4700::1111"} {
		if err := public(netip.MustParseAddr(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	private, _ := ecdh.P256().GenerateKey(rand.Reader)
	point := base64.RawURLEncoding.EncodeToString(private.PublicKey().Bytes())
	off := private.PublicKey().Bytes()
	off[64] ^= 1
	sub := func(endpoint, p256dh, auth string) string {
		j, _ := json.Marshal(map[string]any{"endpoint": endpoint, "keys": map[string]string{"p256dh": p256dh, "auth": auth}})
		return string(j)
	}
	const endpoint, auth = "https://push.example/x", "BTBZMqHH6r4Tts7J_aSIgg"
	for name, s := range map[string]string{
		"nothing": "", "no JSON": "fcm:APA91", "null": "null", "array": "[]", "no endpoint": sub("", point, auth),
		"http": sub("http://push.example/x", point, auth), "file": sub("file:///etc/passwd", point, auth), "relative": sub("/x", point, auth),
		"no host": sub("https:///x", point, auth), "port only": sub("https://:443/x", point, auth), "user": sub("https://a:b@push.example/x", point, auth),
		"opaque": sub("https:push.example", point, auth), "control": sub("https://push.example/\r\nX: y", point, auth),
		"no key": sub(endpoint, "", auth), "short key": sub(endpoint, point[:40], auth), "compressed": sub(endpoint, base64.RawURLEncoding.EncodeToString(append([]byte{2}, off[1:33]...)), auth),
		"off the curve": sub(endpoint, base64.RawURLEncoding.EncodeToString(off), auth), "infinity": sub(endpoint, "AA", auth),
		"no auth": sub(endpoint, point, ""), "short auth": sub(endpoint, point, "AAAA"), "long auth": sub(endpoint, point, auth+"AAAA"),
		"bad base64": sub(endpoint, point, "!"), "huge": sub(endpoint+strings.Repeat("x", maxSubscription), point, auth),
	} {
		if _, err := parseSubscription(s); err == nil {
			t.Errorf("%s is accepted", name)
		} else if strings.Contains(err.Error(), "push.example") {
			t.Errorf("%s: %q shows the endpoint", name, err)
		}
	}
	for s, origin := range map[string]string{
		rfcSubscription(): "https://push.example.net",
		sub("https://Push.Example:443/x?y#z", point+"=", auth+"=="):                            "https://push.example",
		sub("https://push.example:8443/", point, "BTBZMqHH6r4Tts7J/aSIgg=="):                   "https://push.example:8443",
		sub("https://[2a00:1450:4001:80b::200a]/x", strings.ReplaceAll(point, "-", "+"), auth): "https://[2a00:1450:4001:80b::200a]",
	} {
		got, err := parseSubscription(s)
		if err != nil || got.origin != origin || got.endpoint.Fragment != "" {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
}

func FuzzSubscription(f *testing.F) {
	f.Add(rfcSubscription())
	f.Add(`{"endpoint":"https://[::1%25eth0]:1/","keys":{}}`)
	f.Fuzz(func(t *testing.T, s string) {
		sub, err := parseSubscription(s)
		if err != nil {
			return
		}
		if sub.endpoint.Scheme != "https" || sub.endpoint.Hostname() == "" || sub.endpoint.User != nil || len(sub.auth) != 16 ||
			strings.ContainsAny(sub.origin, "\"\\\r\n ") {
			t.Errorf("%q: %+v", s, sub)
		}
	})
}

func TestTopic(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"", "sale_7", strings.Repeat("x", 32), strings.Repeat("x", 33), "a:b", "a/b", "розпродаж", strings.Repeat("x", 65)} {
		got := topic(&push.Notification{MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", CollapseID: id})
		if len(got) == 0 || len(got) > 32 || seen[got] != "" || strings.ContainsAny(got, ":/ +=") {
			t.Errorf("%q: %q", id, got)
		}
		seen[got] = id + "."
	}
	if seen["sale_7"] == "" || seen["PwwrGp1-TFWKEAEjRWeJqw"] == "" {
		t.Errorf("ids that are topics already are changed: %v", seen)
	}
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	b := startBrowser(t)
	now := time.Now()
	cfg := b.config()
	cfg.Now = func() time.Time { return now }
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	p := newProvider(t, cfg)
	n := b.example()
	n.ExpiresAt = now.Add(time.Hour)
	if o := p.Send(t.Context(), &n); o.Class != push.Accepted {
		t.Fatalf("%+v", o)
	}
	first := b.last.Load().jwt
	b.respond(status(403, `{"reason":"BadJwtToken"}`))
	if o := p.Send(t.Context(), &n); o.Class != push.Auth || o.Reason != "BadJwtToken" || !strings.Contains(log.String(), "clock") {
		t.Errorf("a fresh token refused: %+v, %s", o, log.String())
	}
	now = now.Add(2 * time.Minute)
	if o := p.Send(t.Context(), &n); o.Class != push.RetryNow {
		t.Errorf("an older token refused: %+v", o)
	}
	if o := p.Send(t.Context(), &n); o.Class != push.Auth {
		t.Errorf("its successor refused as well: %+v", o)
	}
	b.respond(nil)
	if o := p.Send(t.Context(), &n); o.Class != push.Accepted || b.last.Load().jwt == first {
		t.Errorf("%+v", o)
	}
	if b.Conns() != 1 {
		t.Errorf("%d connections", b.Conns())
	}
}

func TestNothingSecretIsShown(t *testing.T) {
	b := startBrowser(t)
	var log bytes.Buffer
	cfg := b.config()
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Timeout = 50 * time.Millisecond
	p := newProvider(t, cfg)
	shown := ""
	for _, h := range []h2test.Handler{
		nil, status(400, `{"reason":"ENDPOINTSECRET"}`), status(403, "no ENDPOINTSECRET"), status(404, "https://x/wpush/ENDPOINTSECRET"), status(307, ""),
		func(_ http.ResponseWriter, r *http.Request, _ []byte) { b.Cut(r) },
		func(_ http.ResponseWriter, r *http.Request, _ []byte) { b.Hang(r) },
	} {
		b.respond(h)
		n := b.example()
		o := p.Send(t.Context(), &n)
		if o.Reason == "ENDPOINTSECRET" {
			continue // a word that the service chose to call a reason
		}
		shown += fmt.Sprintf("%+v\n", o)
	}
	private, _ := keys()
	shown += log.String()
	for _, secret := range []string{"ENDPOINTSECRET", "capability", private, base64.RawURLEncoding.EncodeToString(b.auth)} {
		if strings.Contains(shown, secret) {
			t.Errorf("%q is shown in\n%s", secret, shown)
		}
	}
}
