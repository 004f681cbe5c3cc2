package natsd

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// mqttClient speaks MQTT 3.1.1 by hand: a clean session and QoS 0.
type mqttClient struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// dialMQTT connects, with a user and a password unless user is empty, and wants the server's code of the answer:
// 0 lets in, 5 does not.
func dialMQTT(t *testing.T, addr, user, password string, want byte) *mqttClient {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	m := &mqttClient{t: t, conn: conn, in: bufio.NewReader(conn)}
	const cleanSession, withLogin = 0x02, 0xc0
	flags, login := byte(cleanSession), []byte(nil)
	if user != "" {
		flags, login = cleanSession|withLogin, append(mqttText(user), mqttText(password)...)
	}
	m.write(0x10, append(append(append(mqttText("MQTT"), 4, flags, 0, 60), mqttText("phone")...), login...))
	ack := make([]byte, 4)
	if _, err := io.ReadFull(m.in, ack); err != nil || ack[0] != 0x20 || ack[3] != want {
		t.Fatalf("CONNACK %x, err %v; want the code %d", ack, err, want)
	}
	return m
}

func mqttText(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// write sends one packet.
func (m *mqttClient) write(kind byte, body []byte) {
	m.t.Helper()
	if _, err := m.conn.Write(append(binary.AppendUvarint([]byte{kind}, uint64(len(body))), body...)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mqttClient) publish(topic, payload string) {
	m.t.Helper()
	m.write(0x30, append(mqttText(topic), payload...))
}

// subscribe returns the code of the server's answer: the QoS that is granted, or 0x80.
func (m *mqttClient) subscribe(topic string) byte {
	m.t.Helper()
	m.write(0x82, append(append([]byte{0, 1}, mqttText(topic)...), 0))
	ack := make([]byte, 5)
	if _, err := io.ReadFull(m.in, ack); err != nil || ack[0] != 0x90 {
		m.t.Fatalf("SUBACK %x, err %v", ack, err)
	}
	return ack[4]
}
