package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"footfall/audience"
	"github.com/nats-io/nats.go"

	"footfall/push"
	"footfall/push/fake"
	"footfall/push/webhook"
	"footfall/push/webpush"
	"footfall/stream/natsd"
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
	firebase, err := fake.StartFCM(fake.FCMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = firebase.Close() })
	files, err := firebase.WriteFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	google := defaultConfig().Push.FCM
	google.CredentialsFile, google.Endpoint, google.CAFile = files.Credentials, firebase.Endpoint(), files.CA
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
		{"firebase", func(p *PushConfig) { p.FCM = google },
			map[string]string{"android": laneFCM, "ios": ""}, "ios → nothing"},
		{"iPhones behind firebase", func(p *PushConfig) { p.FCM = google; p.FCM.IOS = true },
			map[string]string{"android": laneFCM, "ios": laneFCM, "web": ""}, "ios → fcm"},
		{"huawei", func(p *PushConfig) { p.HMS = HMSConfig{ClientID: "1", ClientSecretFile: hmsSecret} }, map[string]string{"hms": laneHMS, "web": ""}, "web → nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := defaultConfig()
			tt.tune(&cfg.Push)
			var printed bytes.Buffer
			p, err := openProviders(&cfg, &printed, slog.New(slog.DiscardHandler))
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

// TestCredentialsRotateWithoutRestart: new key files are noticed and used, a spoilt one changes nothing, and the lanes
// are told, since they may be paused for the old credentials.
func TestCredentialsRotateWithoutRestart(t *testing.T) {
	dir := t.TempDir()
	apple, err := fake.StartAPNs(fake.APNsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer apple.Close()
	google, err := fake.StartFCM(fake.FCMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer google.Close()
	aFiles, err := apple.WriteFiles(filepath.Join(dir, "apns"))
	if err != nil {
		t.Fatal(err)
	}
	gFiles, err := google.WriteFiles(filepath.Join(dir, "fcm"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := defaultConfig()
	cfg.DataDir = dir
	cfg.Push.APNs = APNsConfig{KeyFile: aFiles.Key, KeyID: apple.KeyID, TeamID: apple.TeamID, Topic: apple.Topic, Host: apple.URL(), CAFile: aFiles.CA, Connections: 1}
	cfg.Push.FCM = FCMConfig{CredentialsFile: gFiles.Credentials, Endpoint: google.Endpoint(), CAFile: gFiles.CA, Connections: 1}
	log := slog.New(slog.DiscardHandler)
	p, err := openProviders(&cfg, t.Output(), log)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	server, err := natsd.Start(natsd.Config{StoreDir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:0", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	if err := p.askAppsFirst(server, time.Second); err != nil { // as serve does: what wraps a provider must not hide it
		t.Fatal(err)
	}
	resumed := make(chan string, 16)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer func() { stop(); wg.Wait() }()
	for _, w := range p.watchers(log, func(lane string) { resumed <- lane }) {
		wg.Go(func() {
			if err := w(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	send := func(lane string) push.Outcome {
		n := push.Notification{MID: "e5133745-bdc3-8e22-9c09-3ff2964918bd", App: "shop", Device: "shop.d1", Platform: push.IOS,
			Token: fake.DeviceToken("d1"), Title: "Hello", ExpiresAt: time.Now().Add(time.Minute)}
		return p.lanes[lane].Send(t.Context(), &n)
	}
	// What only apps get has a lane of its own, which no platform leads to.
	nc, err := server.Connect("an app")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Subscribe("down.shop.d2", func(m *nats.Msg) { _ = m.Respond([]byte(`{"ok":true}`)) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	inside := push.Notification{MID: "e5133745-bdc3-8e22-9c09-3ff2964918bd", App: "shop", Device: "d2", Title: "Hello", ExpiresAt: time.Now().Add(time.Minute)}
	if o := p.lanes[p.inApp()].Send(t.Context(), &inside); o.Class != push.Accepted || o.Reason != "in_app" {
		t.Errorf("in the app: %+v", o)
	}
	for _, tt := range []struct {
		lane, file string
		lanes      int
		renew      func() ([]byte, error)
		revoke     func()
	}{
		{laneAPNs, aFiles.Key, 2, func() ([]byte, error) { return apple.AddKey(apple.KeyID) }, func() {}}, // of the same name, so the old one is gone
		{laneFCM, gFiles.Credentials, 1, google.RotateKey, google.RevokeOldKeys},
	} {
		if o := send(tt.lane); o.Class != push.Accepted {
			t.Fatalf("%s: %+v", tt.lane, o)
		}
		if err := os.WriteFile(tt.file, []byte("half a fi"), 0o600); err != nil {
			t.Fatal(err)
		}
		if o := send(tt.lane); o.Class != push.Accepted {
			t.Errorf("%s with a spoilt file: %+v", tt.lane, o)
		}
		data, err := tt.renew()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(tt.file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for range tt.lanes {
			select {
			case lane := <-resumed:
				if p.lanes[lane] != p.lanes[tt.lane] {
					t.Errorf("lane %s was resumed for %s", lane, tt.file)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("%s: the new file was not noticed", tt.file)
			}
		}
		tt.revoke()
		if o := send(tt.lane); o.Class != push.Accepted {
			t.Errorf("%s with the new file: %+v", tt.lane, o)
		}
	}
}
