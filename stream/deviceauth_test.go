package stream

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// A device's token is good for that device's subjects alone: it hears and says nothing of another device, of the
// gateway's commands and of what is stored; and it works for all that a device does.
func TestDeviceTokens(t *testing.T) {
	secret := strings.Repeat("d", 32)
	r := newRig(t)
	r.listen = func(c *ServerConfig) { c.Listen, c.Token, c.DeviceSecret = "127.0.0.1:0", "operator", secret }
	r.start()
	defer r.halt()
	connect := func(token string) (*nats.Conn, chan error, error) {
		refused := make(chan error, 16)
		nc, err := nats.Connect(r.server.ClientURL(), nats.Token(token), nats.CustomInboxPrefix("_INBOX_d1"), nats.NoReconnect(),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
		if err == nil {
			t.Cleanup(nc.Close)
		}
		return nc, refused, err
	}
	good := DeviceToken(secret, "shop", "d1")
	for name, token := range map[string]string{
		"none": "", "another device's name": strings.Replace(good, "d1", "d2", 1), "cut": good[:len(good)-1], "made up": "shop.d1.AAAAAAAAAAAAAAAAAAAAAA",
		"another secret": DeviceToken(strings.Repeat("e", 32), "shop", "d1"), "a wildcard": DeviceToken(secret, "shop", ">"), "one part": "shop",
	} {
		if _, _, err := connect(token); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
		}
	}

	nc, refused, err := connect(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"footfall.v1.stats", "footfall.v1.campaign.stop", "feed.shop", "ping.shop.d2", "device.shop.d2",
		"receipt.other.d1", "down.shop.d1", "ev.shop.push.welcome.accepted", "$JS.API.STREAM.DELETE.EVENTS", "$SYS.REQ.SERVER.PING"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, nc, refused, "publish "+subject)
	}
	for _, subject := range []string{">", "down.shop.d2", "down.shop.*", "down.>", "ping.>", "ev.>", "_INBOX.>", "_INBOX_d2.>", "footfall.>", "$JS.>"} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, nc, refused, "subscribe "+subject)
	}

	// What a device does: it asks, and it answers what it is sent.
	if _, err := nc.Subscribe("down.shop.d1", func(m *nats.Msg) { _ = m.Respond([]byte(`{"ok":true}`)) }); err != nil {
		t.Fatal(err)
	}
	if m, err := nc.Request("ping.shop.d1", []byte(`{"lat":50.4502,"lon":30.5235,"age_ms":0}`), 30*time.Second); err != nil || !strings.Contains(string(m.Data), `"ok":true`) {
		t.Errorf("a ping of its own: %v, %v", m, err)
	}
	if m, err := r.nc.Request("down.shop.d1", []byte(`{"type":"push"}`), 30*time.Second); err != nil || string(m.Data) != `{"ok":true}` {
		t.Errorf("the answer to the gateway: %v, %v", m, err)
	}
	select {
	case err := <-refused:
		t.Errorf("of its own: %v", err)
	default:
	}
}

// wantRefusal waits for the server's word that what was asked last is not permitted.
func wantRefusal(t *testing.T, nc *nats.Conn, refused chan error, what string) {
	t.Helper()
	if err := nc.FlushTimeout(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-refused:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("%s: not refused", what)
	}
}
