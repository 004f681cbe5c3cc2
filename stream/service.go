package stream

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"footfall/stream/wire"
	"footfall/track"
)

// The requests a running gateway answers over NATS. They are a micro service named "footfall", so
// `nats micro info footfall` lists them.
const (
	ExplainSubject = "footfall.v1.explain"
	StatsSubject   = "footfall.v1.stats"
)

// ExplainRequest asks about one device.
type ExplainRequest struct {
	App    string `json:"app"`
	Device string `json:"device"`
	From   int64  `json:"from,omitzero"` // Unix ms, 0: as far back as kept
	To     int64  `json:"to,omitzero"`   // Unix ms, 0: now
}

// queryPatience bounds how long a person's question may take of a busy gateway.
const queryPatience = 5 * time.Second

func (g *Gateway) serveQueries(nc *nats.Conn) (micro.Service, error) {
	svc, err := micro.AddService(nc, micro.Config{
		Name: "footfall", Version: "1.0.0", Description: "questions to a running Footfall gateway",
	})
	if err != nil {
		return nil, err
	}
	group := svc.AddGroup("footfall.v1")
	err = errors.Join(
		group.AddEndpoint("explain", micro.HandlerFunc(g.answerExplain)),
		group.AddEndpoint("stats", micro.HandlerFunc(func(r micro.Request) { _ = r.RespondJSON(g.Status()) })),
	)
	return svc, err
}

func (g *Gateway) answerExplain(r micro.Request) {
	var q ExplainRequest
	if err := json.Unmarshal(r.Data(), &q); err != nil {
		_ = r.Error("400", "the request is not JSON: "+err.Error(), nil)
		return
	}
	id, err := wire.JoinDevice(q.App, q.Device)
	if err != nil {
		_ = r.Error("400", err.Error(), nil)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), queryPatience)
	defer cancel()
	e, err := g.Explain(ctx, track.DeviceID(id), q.From, q.To)
	switch {
	case errors.Is(err, ErrUnknownDevice):
		_ = r.Error("404", err.Error(), nil)
	case err != nil:
		_ = r.Error("500", err.Error(), nil)
	default:
		if err := r.RespondJSON(e); err != nil {
			_ = r.Error("500", "the answer could not be sent ("+err.Error()+"); ask about a shorter time", nil)
		}
	}
}
