package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/stream/natsd"
)

// TestWebSocketAndMQTT brings a phone in through each of the other transports of the embedded server.
func TestWebSocketAndMQTT(t *testing.T) {
	r := newRig(t)
	r.listen = func(c *natsd.Config) {
		c.Listen, c.WebSocket, c.MQTT = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	}
	r.start()
	defer r.halt()
	r.register("web")
	r.register("mqtt")

	ws, err := nats.Connect(r.server.WebSocketURL())
	if err != nil {
		t.Fatalf("connect to %s: %v", r.server.WebSocketURL(), err)
	}
	defer ws.Close()
	if _, err := ws.Request("ping.shop.web", fmt.Appendf(nil, `{"t":%d,"lat":50.4501,"lon":30.5234,"acc":5}`, noon.UnixMilli()), patience); err != nil {
		t.Fatal(err)
	}

	publishMQTT(t, r.server.MQTTAddr(), "ping/shop/mqtt", fmt.Sprintf(`{"t":%d,"lat":50.4420,"lon":30.5206,"acc":5}`, noon.UnixMilli()))
	r.await("a push for each transport", func() bool { return len(r.provider.pushes()) == 2 })
}

// publishMQTT publishes one message as an MQTT 3.1.1 client would: a clean session, QoS 0. The connection ends with the test.
func publishMQTT(t *testing.T, addr, topic, payload string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05phone")); err != nil {
		t.Fatal(err)
	}
	ack := make([]byte, 4)
	if _, err := io.ReadFull(conn, ack); err != nil || ack[3] != 0 {
		t.Fatalf("CONNACK %x, err %v", ack, err)
	}
	packet := binary.AppendUvarint([]byte{0x30}, uint64(2+len(topic)+len(payload)))
	packet = append(append(binary.BigEndian.AppendUint16(packet, uint16(len(topic))), topic...), payload...)
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
}

// A device's token is good for that device's subjects alone: it hears and says nothing of another device, of the
// gateway's commands and of what is stored; and it works for all that a device does.
func TestDeviceTokens(t *testing.T) {
	secret := strings.Repeat("d", 32)
	r := newRig(t)
	r.listen = func(c *natsd.Config) { c.Listen, c.Token, c.DeviceSecret = "127.0.0.1:0", "operator", secret }
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
	good := natsd.DeviceToken(secret, "shop", "d1", time.Time{})
	later := natsd.DeviceToken(secret, "shop", "d1", time.Now().Add(time.Hour))
	for name, token := range map[string]string{
		"none": "", "another device's name": strings.Replace(good, "d1", "d2", 1), "cut": good[:len(good)-1], "made up": "shop.d1.AAAAAAAAAAAAAAAAAAAAAA",
		"another secret": natsd.DeviceToken(strings.Repeat("e", 32), "shop", "d1", time.Time{}), "a wildcard": natsd.DeviceToken(secret, "shop", ">", time.Time{}), "one part": "shop",
		"of yesterday": natsd.DeviceToken(secret, "shop", "d1", time.Now().Add(-24*time.Hour)), "no time": "shop.d1.." + good[len("shop.d1."):],
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
