package stream

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"footfall/audience"
	"footfall/internal/db"
	"footfall/stream/wire"
	"footfall/track"
)

// The requests a running gateway answers over NATS. They are a micro service named "footfall", so
// `nats micro info footfall` lists them.
const (
	ExplainSubject  = "footfall.v1.explain"
	StatsSubject    = "footfall.v1.stats"
	AudienceSubject = "footfall.v1.audience"
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
		group.AddEndpoint("audience", micro.HandlerFunc(g.answerAudience)),
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

// AudienceRequest asks how many fit a rule.
type AudienceRequest struct {
	Rule   string `json:"rule"`
	Sample int    `json:"sample,omitzero"` // list so many of them, at most 1000
}

// maxSample bounds an answer.
const maxSample = 1000

// audiencePatience bounds a count: the ledger cannot tidy up behind a reader that takes for ever.
const audiencePatience = time.Minute

// answerAudience counts on a goroutine of its own, so that other questions are answered meanwhile; one count at a
// time, because each reads all profiles.
func (g *Gateway) answerAudience(r micro.Request) {
	var q AudienceRequest
	if err := json.Unmarshal(r.Data(), &q); err != nil {
		_ = r.Error("400", "the request is not JSON: "+err.Error(), nil)
		return
	}
	rule, err := audience.ParseRule(q.Rule)
	if err != nil {
		_ = r.Error("400", err.Error(), nil)
		return
	}
	if !g.counting.CompareAndSwap(false, true) {
		_ = r.Error("429", "another audience is being counted; ask again", nil)
		return
	}
	go func() {
		defer g.counting.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), audiencePatience)
		defer cancel()
		var c audience.Count
		err := g.cfg.DB.View(func(tx *db.Tx) (err error) {
			c, err = audience.CountRule(ctx, tx, rule, g.cfg.Now(), min(max(q.Sample, 0), maxSample))
			return err
		})
		if err != nil {
			_ = r.Error("500", err.Error(), nil)
			return
		}
		_ = r.RespondJSON(c)
	}()
}
