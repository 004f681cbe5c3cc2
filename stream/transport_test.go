package stream

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestWebSocketAndMQTT brings a phone in through each of the other transports of the embedded server.
func TestWebSocketAndMQTT(t *testing.T) {
	r := newRig(t)
	r.listen = func(c *ServerConfig) {
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
	if _, err := ws.Request("ping.shop.web", fmt.Appendf(nil, `{"t":%d,"lat":50.4501,"lon":30.5234,"acc":5}`, noon.UnixMilli()), 10*time.Second); err != nil {
		t.Fatal(err)
	}

	conn, err := net.Dial("tcp", r.server.MQTTAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// MQTT 3.1.1 by hand: CONNECT with a clean session, then PUBLISH at QoS 0.
	text := func(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }
	packet := func(kind byte, body []byte) []byte {
		p := []byte{kind}
		for n := len(body); ; {
			b := byte(n & 0x7f)
			if n >>= 7; n > 0 {
				p = append(p, b|0x80)
				continue
			}
			return append(append(p, b), body...)
		}
	}
	connect := append(append(text("MQTT"), 4, 2, 0, 60), text("phone")...)
	publish := append(text("ping/shop/mqtt"), fmt.Sprintf(`{"t":%d,"lat":50.4420,"lon":30.5206,"acc":5}`, noon.UnixMilli())...)
	if _, err := conn.Write(packet(0x10, connect)); err != nil {
		t.Fatal(err)
	}
	ack := make([]byte, 4)
	if _, err := io.ReadFull(bufio.NewReader(conn), ack); err != nil || ack[0] != 0x20 || ack[3] != 0 {
		t.Fatalf("CONNACK %x, err %v", ack, err)
	}
	if _, err := conn.Write(packet(0x30, publish)); err != nil {
		t.Fatal(err)
	}
	r.await("a push for each transport", func() bool { return len(r.provider.pushes()) == 2 })
}
