package stream

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"

	"footfall/internal/db"
	"footfall/outbox"
	"footfall/stream/wire"
)

const (
	// hereWords is how often a device may say in a minute that it is there: at each connection, and when a person comes to the app.
	hereWords = 60
	// hereLater is when to say it again if too many have come at the same time.
	hereLater = time.Second
)

// answerHere hears that an app is connected and can show messages, and sees to it that what waits for it comes now. It says how
// many that are. Nothing of it is stored: the device says it again with its next connection.
func (g *Gateway) answerHere(r micro.Request) {
	answer := g.here(r.Subject(), r.Data())
	if r.Reply() != "" { // MQTT has no requests
		_ = r.Respond(answer)
	}
}

// here runs on the one goroutine of the endpoint.
func (g *Gateway) here(subject string, payload []byte) []byte {
	app, device, _ := strings.Cut(strings.TrimPrefix(subject, "here."), ".")
	id, err := wire.JoinDevice(app, device)
	if err != nil {
		return wire.AppendError(nil, err)
	}
	if ok, retryMS := g.hereFlood.allow(string(id), len(payload), g.cfg.Now().UnixMilli()); !ok {
		g.count.dropped.add("flood", 1)
		return wire.AppendBusy(nil, time.Duration(retryMS)*time.Millisecond)
	}
	n := 0
	if err := g.cfg.DB.View(func(tx *db.Tx) (err error) {
		n, err = outbox.Waiting(tx, string(id))
		return err
	}); err != nil {
		g.cfg.Logger.Error("what waits for an app cannot be read", "err", err)
		return wire.AppendBusy(nil, hereLater)
	}
	if n > 0 && !g.outbox.Here(string(id)) {
		return wire.AppendBusy(nil, hereLater)
	}
	data, err := json.Marshal(wire.HereReply{OK: true, N: n})
	if err != nil {
		return wire.AppendError(nil, err)
	}
	return data
}
