package natsd

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// The connection of a token ends with it.
func TestDeviceTokenEnds(t *testing.T) {
	secret := strings.Repeat("d", 32)
	s, err := Start(Config{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Token: "operator", DeviceSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	var until time.Time
	var nc *nats.Conn
	var closed chan struct{}
	for life := 2 * time.Second; nc == nil; life *= 2 {
		until, closed = time.Now().Add(life+time.Second).Truncate(time.Second), make(chan struct{})
		nc, err = nats.Connect(s.ClientURL(), nats.Token(DeviceToken(secret, "shop", "d1", until)), nats.NoReconnect(),
			nats.ClosedHandler(func(*nats.Conn) { close(closed) }), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil && time.Now().Before(until) { // else a busy machine has shown it too late
			t.Fatal(err)
		}
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
	s, err := Start(Config{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", MQTT: "127.0.0.1:0", Token: "operator",
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
