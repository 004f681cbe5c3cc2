package natsd

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// What clients publish, over whichever transport, is compared with no subject of the JetStream domain: see dropMappings.
func TestNoMappings(t *testing.T) {
	s, err := Start(Config{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", WebSocket: "127.0.0.1:0", MQTT: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	ws, err := nats.Connect(s.WebSocketURL())
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	dialMQTT(t, s.MQTTAddr(), "", "", 0).publish("ping/shop/mqtt", "{}")
	all, err := s.ns.Accountz(&server.AccountzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(all.Account.Mappings); n != 0 {
		t.Errorf("%d subject mappings: %v", n, all.Account.Mappings)
	}
}
