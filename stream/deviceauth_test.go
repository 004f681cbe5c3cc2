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
		nc, err := nats.Connect(r.server.ClientURL(), nats.Token(token), nats.CustomInboxPrefix("_INBOX.shop.d1"), nats.NoReconnect(),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
		if err == nil {
			t.Cleanup(nc.Close)
		}
		return nc, refused, err
	}
	good := DeviceToken(secret, "shop", "d1", time.Time{})
	later := DeviceToken(secret, "shop", "d1", time.Now().Add(time.Hour))
	for name, token := range map[string]string{
		"none": "", "another device's name": strings.Replace(good, "d1", "d2", 1), "cut": good[:len(good)-1], "made up": "shop.d1.AAAAAAAAAAAAAAAAAAAAAA",
		"another secret": DeviceToken(strings.Repeat("e", 32), "shop", "d1", time.Time{}), "a wildcard": DeviceToken(secret, "shop", ">", time.Time{}), "one part": "shop",
		"of yesterday": DeviceToken(secret, "shop", "d1", time.Now().Add(-24*time.Hour)), "no time": "shop.d1.." + good[len("shop.d1."):],
		"prolonged": strings.Replace(later, "shop.d1.", "shop.d1.9", 1), "without its end": "shop.d1." + later[strings.LastIndexByte(later, '.')+1:],
	} {
		if _, _, err := connect(token); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
		}
	}

	if _, _, err := connect(later); err != nil {
		t.Errorf("one that ends in an hour: %v", err)
	}
	nc, refused, err := connect(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"footfall.v1.stats", "footfall.v1.campaign.stop", "feed.shop", "ping.shop.d2", "device.shop.d2",
		"receipt.other.d1", "near.shop.d2", "here.shop.d2", "down.shop.d1", "ev.shop.push.welcome.accepted", "$JS.API.STREAM.DELETE.EVENTS", "$SYS.REQ.SERVER.PING"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, nc, refused, "publish "+subject)
	}
	for _, subject := range []string{">", "down.shop.d2", "down.shop.*", "down.>", "ping.>", "ev.>", "_INBOX.>", "_INBOX.shop.d2.>", "_INBOX.other.d1.>", "footfall.>", "$JS.>"} {
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
	if m, err := nc.Request("near.shop.d1", []byte(`{"lat":50.4502,"lon":30.5235}`), 30*time.Second); err != nil || !strings.Contains(string(m.Data), `"ok":true,"fences":[`) {
		t.Errorf("which fences are near: %v, %v", m, err)
	}
	if m, err := nc.Request("here.shop.d1", nil, 30*time.Second); err != nil || !strings.Contains(string(m.Data), `"ok":true`) {
		t.Errorf("it says that it is there: %v, %v", m, err)
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

// The connection of a token ends with it.
func TestDeviceTokenEnds(t *testing.T) {
	secret := strings.Repeat("d", 32)
	s, err := StartServer(ServerConfig{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Token: "operator", DeviceSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	until := time.Now().Add(3 * time.Second).Truncate(time.Second)
	closed := make(chan struct{})
	nc, err := nats.Connect(s.ClientURL(), nats.Token(DeviceToken(secret, "shop", "d1", until)), nats.NoReconnect(),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	select {
	case <-closed:
	case <-time.After(30 * time.Second):
		t.Fatal("still connected")
	}
	if early := time.Until(until); early > 0 {
		t.Errorf("ended %v before its time", early)
	}
	if nc, err := nats.Connect(s.ClientURL(), nats.Token(DeviceToken(secret, "shop", "d1", until))); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("the same token again: %v", err)
	}
}

// Over MQTT the token is the password. What it does not allow reaches nobody, an OwnTracks phone may use its own
// subjects, and a subscription to another device's is refused.
func TestDeviceTokensOverMQTT(t *testing.T) {
	secret := strings.Repeat("d", 32)
	s, err := StartServer(ServerConfig{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", MQTT: "127.0.0.1:0", Token: "operator",
		DeviceSecret: secret, OwnTracksApp: "tracks"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	operator, err := nats.Connect(s.ClientURL(), nats.Token("operator"))
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Close()
	heard := make(chan *nats.Msg, 64)
	for _, subject := range []string{"ping.>", "event.>", "owntracks.>", "feed.>", "footfall.>"} {
		if _, err := operator.ChanSubscribe(subject, heard); err != nil {
			t.Fatal(err)
		}
	}
	if err := operator.FlushTimeout(30 * time.Second); err != nil {
		t.Fatal(err)
	}

	dialMQTT(t, s.MQTTAddr(), "phone", "wrong", 5) // not authorised
	for _, tt := range []struct {
		name, app, device   string
		refused, own, other []string // published, published, subscribed
	}{
		{"a device", "shop", "d1",
			[]string{"ping/shop/d2", "ping/tracks/d1", "owntracks/shop/d1", "feed/shop", "footfall/v1/campaign/stop"},
			[]string{"event/shop/d1", "ping/shop/d1"}, []string{"down/shop/d2", "down/#", "ping/#"}},
		{"OwnTracks", "tracks", "big__bob_-phone",
			[]string{"owntracks/big/bob", "owntracks/big_bob/tablet", "owntracks/big__bob/phone", "owntracks/big_bob/phone/cmd"},
			[]string{"owntracks/big_bob/phone/event", "ping/tracks/big__bob_-phone", "owntracks/big_bob/phone"}, []string{"owntracks/+/+", "down/tracks/eve_-phone"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := dialMQTT(t, s.MQTTAddr(), "any name", DeviceToken(secret, tt.app, tt.device, time.Now().Add(time.Hour)), 0)
			for _, topic := range append(tt.refused, tt.own...) {
				m.publish(topic, "x")
			}
			for _, topic := range tt.own { // in order, so what comes before them would have come
				select {
				case got := <-heard:
					if want := strings.ReplaceAll(topic, "/", "."); got.Subject != want {
						t.Errorf("%s reached the gateway, %s was due", got.Subject, want)
					}
				case <-time.After(30 * time.Second):
					t.Fatalf("%s did not reach the gateway", topic)
				}
			}
			for _, topic := range tt.other {
				if code := m.subscribe(topic); code != 0x80 {
					t.Errorf("subscribe %s: granted %#x", topic, code)
				}
			}
			down := "down/" + tt.app + "/" + tt.device
			if code := m.subscribe(down); code != 0 {
				t.Errorf("subscribe %s: %#x", down, code)
			}
		})
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
	case <-time.After(patience):
		t.Errorf("%s: not refused", what)
	}
}
