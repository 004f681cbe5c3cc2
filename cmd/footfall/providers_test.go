package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"footfall/audience"
	"footfall/push/webhook"
	"footfall/push/webpush"
)

// TestLanes: each platform goes to its provider, the rest to the webhook, and with nothing configured to the log.
func TestLanes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, _, err := webpush.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	vapid, hmsSecret := write("vapid", key), write("hms", "0123456789abcdef\n")
	secret := write("secret", webhook.NewSecret()+"\n"+webhook.NewSecret()+"\n")
	for _, tt := range []struct {
		name string
		tune func(*PushConfig)
		want map[string]string // platform -> lane, "" for none
		says string
	}{
		{"nothing", func(*PushConfig) {}, map[string]string{"ios": laneLog, "web": laneLog, "": laneLog}, "printed only"},
		{"browsers", func(p *PushConfig) { p.WebPush = WebPushConfig{KeyFile: vapid, Subject: "mailto:ops@shop.example"} },
			map[string]string{"web": laneWebPush, "ios": "", "hms": ""}, "web → webpush"},
		{"browsers and webhook", func(p *PushConfig) {
			p.WebPush = WebPushConfig{KeyFile: vapid, Subject: "mailto:ops@shop.example"}
			p.Webhook = WebhookConfig{URL: "https://hooks.shop.example/push", SecretFile: secret}
		}, map[string]string{"web": laneWebPush, "ios": laneWebhook, "android": laneWebhook, "": laneWebhook}, "ios → webhook"},
		{"huawei", func(p *PushConfig) { p.HMS = HMSConfig{ClientID: "1", ClientSecretFile: hmsSecret} }, map[string]string{"hms": laneHMS, "web": ""}, "web → nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := defaultConfig()
			tt.tune(&cfg.Push)
			var printed bytes.Buffer
			p, err := openProviders(&cfg, &printed)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			for platform, want := range tt.want {
				lane, ok := p.lane("shop", &audience.Profile{Platform: platform})
				if ok != (want != "") || ok && lane != want {
					t.Errorf("platform %q goes to %q, %v; want %q", platform, lane, ok, want)
				}
			}
			if d := p.describe(); !strings.Contains(d, tt.says) {
				t.Errorf("described as %q, want %q", d, tt.says)
			}
		})
	}
}
