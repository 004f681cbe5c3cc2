package apns

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/push"
	"footfall/push/internal/h2test"
)

var update = flag.Bool("update", false, "rewrite testdata")

// What goes over the wire for each notification: headers, then payload.
func TestGolden(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	base := push.Notification{
		MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", App: "shop", Device: "phone-7", Platform: push.IOS, Token: deviceToken,
		Campaign: "anniversary", Fence: "kyiv-01", Title: "Hello", Body: "Come in", ExpiresAt: now.Add(15 * time.Minute),
		ReceiptKey: "a1b2c3d4e5f60718",
	}
	tests := []struct {
		name string
		mod  func(*push.Notification)
	}{
		{"plain", func(n *push.Notification) {}},
		{"cyrillic_emoji_escapes", func(n *push.Notification) {
			n.Title, n.Body = "Знижка <20 %> & подарунок 🎉", "Їжа \"смачна\" & тепла\n👨‍👩‍👧 чекаємо"
		}},
		{"image_link", func(n *push.Notification) {
			n.Image, n.Link = "https://cdn.example/a.jpg?w=1&h=2", "shop://store/7?src=geo&c=18"
		}},
		{"subtitle_thread_sound_category_data", func(n *push.Notification) {
			n.Subtitle, n.Thread, n.Sound, n.Category = "Store 7", "store-7", "bell.caf", "offer"
			n.Data = map[string]string{"coupon": "KYIV18", "z": "last"}
		}},
		{"silent", func(n *push.Notification) { n.Silent, n.Title, n.Body = true, "", "" }},
		{"no_sound_own_collapse_no_expiry", func(n *push.Notification) {
			n.Sound, n.CollapseID, n.ExpiresAt = "none", "anniversary:kyiv-01", time.Time{}
		}},
		{"long_collapse_is_hashed", func(n *push.Notification) { n.CollapseID = strings.Repeat("кампанія", 10) }},
		{"shrunk_to_fit", func(n *push.Notification) {
			n.Subtitle, n.Data = "goes away", map[string]string{"goes": "away"}
			n.Body = strings.Repeat("&", 600) + strings.Repeat("я", 125) + "!"
		}},
	}
	type wire struct {
		header http.Header
		path   string
		body   []byte
	}
	got := make(chan wire, 1)
	s := h2test.Start(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		got <- wire{r.Header, r.URL.Path, body}
	}, nil)
	cfg := config(s)
	cfg.Now = func() time.Time { return now }
	p := newProvider(t, cfg)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := base
			tt.mod(&n)
			if o := p.Send(t.Context(), &n); o.Class != push.Accepted {
				t.Fatalf("%+v", o)
			}
			w := <-got
			var b bytes.Buffer
			fmt.Fprintf(&b, "POST %s\n", w.path)
			if !strings.HasPrefix(w.header.Get("Authorization"), "bearer ey") {
				t.Errorf("authorization %q", w.header.Get("Authorization"))
			}
			var names []string
			for name := range w.header {
				if strings.HasPrefix(name, "Apns-") || name == "Content-Type" {
					names = append(names, name)
				}
			}
			slices.Sort(names)
			for _, name := range names {
				fmt.Fprintf(&b, "%s: %s\n", strings.ToLower(name), w.header.Get(name))
			}
			fmt.Fprintf(&b, "\n%d bytes\n", len(w.body))
			if err := json.Indent(&b, w.body, "", "  "); err != nil {
				t.Fatal(err)
			}
			b.WriteByte('\n')
			if len(w.body) > MaxPayload {
				t.Errorf("%d bytes", len(w.body))
			}
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

// The limit holds to the byte, after escaping.
func TestPayloadLimit(t *testing.T) {
	n := example()
	n.Title, n.Body = "Ціна & якість <3 🎉", ""
	empty, _, err := compose(&n, form{})
	if err != nil {
		t.Fatal(err)
	}
	// `,"body":""` comes with the first byte.
	fill := MaxPayload - len(empty) - len(`,"body":""`)
	n.Body = strings.Repeat("x", fill)
	if data, _, err := compose(&n, form{}); err != nil || len(data) != MaxPayload {
		t.Errorf("%d bytes, %v; want %d", len(data), err, MaxPayload)
	}
	n.Body += "x"
	if data, _, err := compose(&n, form{}); err != errTooLarge {
		t.Errorf("%d bytes, %v; want errTooLarge", len(data), err)
	}
	n.Body = n.Body[:len(n.Body)-7] + "&" // six bytes as \u0026, seven letters fewer
	if data, _, err := compose(&n, form{}); err != nil || len(data) != MaxPayload {
		t.Errorf("with an &: %d bytes, %v", len(data), err)
	}
	// To the byte with a subtitle: sent with it. One byte over: without it.
	n.Subtitle = "s"
	n.Body = n.Body[len(`,"subtitle":"s"`):]
	if data, reduced, err := compose(&n, form{}); err != nil || reduced || len(data) != MaxPayload {
		t.Errorf("with a subtitle: %d bytes, reduced %v, %v", len(data), reduced, err)
	}
	n.Body = "x" + n.Body
	data, reduced, err := compose(&n, form{})
	if err != nil || !reduced || bytes.Contains(data, []byte("subtitle")) || len(data) > MaxPayload {
		t.Errorf("a byte over with a subtitle: %d bytes, reduced %v, %v", len(data), reduced, err)
	}
}

func TestReservedDataKeys(t *testing.T) {
	for _, k := range []string{"aps", "g"} {
		n := example()
		n.Data = map[string]string{k: "x"}
		if _, _, err := compose(&n, form{}); err != errReserved {
			t.Errorf("%s: %v", k, err)
		}
	}
}

// A critical alert needs an entitlement from Apple and sounds through
// do-not-disturb: no notification turns into one by its sound, nor by its
// importance unless the app is said to have the entitlement.
func TestCriticalOnlyWithTheEntitlement(t *testing.T) {
	for _, sound := range []string{"", "default", "none", "bell.caf", "critical", `{"critical":1}`} {
		for _, importance := range []push.Importance{"", push.Passive, push.Active, push.TimeSensitive, push.Critical} {
			for _, granted := range []bool{false, true} {
				n := example()
				n.Sound, n.Importance = sound, importance
				data, _, err := compose(&n, form{critical: granted})
				if err != nil {
					t.Fatal(err)
				}
				var p struct {
					Aps struct {
						Sound any
						Level string `json:"interruption-level"`
					}
				}
				if err := json.Unmarshal(data, &p); err != nil {
					t.Fatal(err)
				}
				_, isObject := p.Aps.Sound.(map[string]any)
				want := granted && importance == push.Critical
				if isObject != (want && sound != "none") || (p.Aps.Level == "critical") != want {
					t.Errorf("sound %q, importance %q, granted %v: %v, %s", sound, importance, granted, p.Aps.Sound, p.Aps.Level)
				}
			}
		}
	}
}
