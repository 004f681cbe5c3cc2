package fcm

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"footfall/push"

	"firebase.google.com/go/v4/messaging"
)

var update = flag.Bool("update", false, "rewrite testdata")

// What goes over the wire for each notification. TTL, collapse key and tag
// are part of the body.
func TestGolden(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	base := push.Notification{
		MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", App: "shop", Device: "phone-7", Platform: push.Android, Token: registrationToken,
		Campaign: "anniversary", Fence: "kyiv-01", Title: "Hello", Body: "Come in", ExpiresAt: now.Add(15 * time.Minute),
		ReceiptKey: "a1b2c3d4e5f60718",
	}
	tests := []struct {
		name  string
		style Style
		mod   func(*push.Notification)
	}{
		{"plain", Display, func(n *push.Notification) {}},
		{"cyrillic_emoji_escapes", Display, func(n *push.Notification) {
			n.Title, n.Body = "Знижка <20 %> & подарунок 🎉", "Їжа \"смачна\" & тепла\n👨‍👩‍👧 чекаємо"
		}},
		{"image_link", Display, func(n *push.Notification) {
			n.Image, n.Link = "https://cdn.example/a.jpg?w=1&h=2", "shop://store/7?src=geo&c=18"
		}},
		{"subtitle_sound_category_data", Display, func(n *push.Notification) {
			n.Subtitle, n.Sound, n.Category = "Store 7", "bell", "offer"
			n.Data = map[string]string{"coupon": "KYIV18"}
		}},
		{"silent", Display, func(n *push.Notification) { n.Silent, n.Title, n.Body = true, "", "" }},
		{"no_sound_own_collapse_no_expiry", Display, func(n *push.Notification) {
			n.Sound, n.CollapseID, n.ExpiresAt = "none", "anniversary:kyiv-01", time.Time{}
		}},
		{"ttl_is_rounded_down", Display, func(n *push.Notification) { n.ExpiresAt = now.Add(89*time.Second + 999*time.Millisecond) }},
		{"campaign_that_is_no_label", Display, func(n *push.Notification) { n.Campaign = "Київ 18" }},
		{"shrunk_to_fit", Display, func(n *push.Notification) {
			n.Subtitle, n.Data = "goes away", map[string]string{"goes": "away"}
			n.Body = strings.Repeat("&", 3000) + strings.Repeat("я", 390) + "!"
		}},
		{"raw", Display, func(n *push.Notification) {
			n.Raw = json.RawMessage(`{"android":{"direct_boot_ok":true,"bandwidth_constrained_ok":true,"notification":{"ticker":"<Sale>","vibrate_timings":["0.1s","0.25s"]}}}`)
		}},
		{"raw_data_style", DataOnly, func(n *push.Notification) { // nothing that the system would draw
			n.Raw = json.RawMessage(`{"android":{"direct_boot_ok":true,"notification":{"ticker":"Sale"}}}`)
		}},
		{"raw_ios", Display, func(n *push.Notification) {
			n.Platform, n.Raw = push.IOS, json.RawMessage(`{"aps":{"target-content-id":"7","alert":{"title-loc-key":"HELLO"}},"shop":{"id":9007199254740993}}`)
		}},
		{"data_style", DataOnly, func(n *push.Notification) {
			n.Subtitle, n.Image, n.Link, n.Thread = "Store 7", "https://cdn.example/a.jpg", "shop://sale", "store-7"
		}},
	}
	type wire struct {
		r    *http.Request
		body []byte
	}
	got := make(chan wire, 1)
	g := startGoogle(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		got <- wire{r, body}
		accept(w, r, body)
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := g.config()
			cfg.Now, cfg.Style, cfg.Channel = func() time.Time { return now }, tt.style, "offers"
			p := newProvider(t, cfg)
			n := base
			tt.mod(&n)
			if o := p.Send(t.Context(), &n); o.Class != push.Accepted {
				t.Fatalf("%+v", o)
			}
			w := <-got
			var b bytes.Buffer
			fmt.Fprintf(&b, "POST %s\n", w.r.URL.Path)
			for _, name := range []string{"Content-Type", "X-Goog-Api-Format-Version"} {
				fmt.Fprintf(&b, "%s: %s\n", strings.ToLower(name), w.r.Header.Get(name))
			}
			fmt.Fprintf(&b, "\n%d bytes\n", len(w.body))
			if err := json.Indent(&b, w.body, "", "  "); err != nil {
				t.Fatal(err)
			}
			b.WriteByte('\n')
			golden(t, filepath.Join("testdata", tt.name+".golden"), b.Bytes())
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (run with -update and review the diff):\ngot\n%s\nwant\n%s", name, got, want)
	}
}

func TestTTL(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		expires time.Time
		want    time.Duration
	}{
		{time.Time{}, 0},
		{now.Add(-time.Second), 0},
		{now.Add(999 * time.Millisecond), 0},
		{now.Add(time.Second), time.Second},
		{now.Add(15*time.Minute + 500*time.Millisecond), 15 * time.Minute},
		{now.AddDate(1, 0, 0), 28 * 24 * time.Hour},
	} {
		if got := ttl(tt.expires, now); got != tt.want {
			t.Errorf("ttl(%v) = %v, want %v", tt.expires, got, tt.want)
		}
	}
}

func TestReservedDataKeys(t *testing.T) {
	for _, k := range []string{"g", "from", "message_type", "collapse_key", "gcm.x", "google.y"} {
		n := example()
		n.Data = map[string]string{k: "x"}
		if _, _, err := compose(&n, Display, "", time.Now()); err != errReserved {
			t.Errorf("%s: %v", k, err)
		}
	}
}

// An image that is no URL costs no request: Google refuses the whole message.
// A phone whose app draws the message can do without it.
func TestImageThatIsNoURL(t *testing.T) {
	g := startGoogle(t, accept)
	p := newProvider(t, g.config())
	n := example()
	n.Image = "no url"
	for _, n.Platform = range []push.Platform{push.Android, push.IOS} {
		if o := p.Send(t.Context(), &n); o.Class != push.Bug || o.Sent || !strings.Contains(o.Reason, "image") {
			t.Errorf("%s: %+v", n.Platform, o)
		}
	}
	if g.Requests() != 0 {
		t.Errorf("%d requests", g.Requests())
	}
	n.Platform, n.Style = push.Android, string(DataOnly)
	if o := p.Send(t.Context(), &n); o.Class != push.Accepted {
		t.Errorf("data: %+v", o)
	}
}

// sizeOf is the size of a message without anything raw.
func sizeOf(t *testing.T, m *messaging.Message) int {
	t.Helper()
	n, err := size(m, new(raw))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The limit holds to the byte, in what the phone gets and not in the escaped
// JSON that carries it there.
func TestMessageLimit(t *testing.T) {
	n := example()
	n.Title, n.Body = "Ціна & якість <3 🎉", "x"
	m, _, err := compose(&n, Display, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	n.Body = strings.Repeat("&", 1+MaxMessage-sizeOf(t, m))
	if m, _, err = compose(&n, Display, "", time.Now()); err != nil || sizeOf(t, m) != MaxMessage {
		t.Errorf("at the limit: %v", err)
	}
	n.Subtitle, n.Data = "s", map[string]string{"k": "v"}
	if m, _, err = compose(&n, Display, "", time.Now()); err != nil || m.Data["subtitle"] != "" || m.Data["k"] != "" {
		t.Errorf("with a subtitle and data: %v, %v", m, err)
	}
	n.Body += "&"
	if _, _, err = compose(&n, Display, "", time.Now()); err != errTooLarge {
		t.Errorf("one over: %v", err)
	}
}
