package stream

import (
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"

	"footfall/geo"
	"footfall/stream/wire"
)

// nearQuestions is how often a device may ask in a minute. A phone on its way through a city asks once in some minutes.
const nearQuestions = 60

// answerNear tells a device which fences are near, for its system to watch: a phone watches 20 of them, and there may be
// thousands. What it says of its place is used for the answer and kept nowhere.
func (g *Gateway) answerNear(r micro.Request) {
	_ = r.Respond(g.near(r.Subject(), r.Data()))
}

// near runs on the one goroutine of the endpoint.
func (g *Gateway) near(subject string, payload []byte) []byte {
	app, device, _ := strings.Cut(strings.TrimPrefix(subject, "near."), ".")
	id, err := wire.JoinDevice(app, device)
	if err != nil {
		return wire.AppendError(nil, err)
	}
	if ok, retryMS := g.nearFlood.allow(string(id), len(payload), g.cfg.Now().UnixMilli()); !ok {
		g.count.dropped.add("flood", 1)
		return wire.AppendBusy(nil, time.Duration(retryMS)*time.Millisecond)
	}
	if g.settler.consents.refuses(id) {
		g.count.refused.add(string(noConsent.Code), 1)
		return wire.AppendError(nil, noConsent)
	}
	q, err := wire.DecodeNear(payload)
	if err != nil {
		return wire.AppendError(nil, err)
	}
	set := g.Fences()
	list, others := set.Nearest(geo.Point{Lat: q.Lat, Lng: q.Lon}, q.N)
	answer := wire.NearReply{OK: true, Revision: set.Revision(), Fences: make([]wire.NearFence, len(list))}
	for i, n := range list {
		answer.Fences[i] = wire.NearFence{
			ID: string(n.Fence.ID), Name: n.Fence.Name, Lat: n.Center.Lat, Lon: n.Center.Lng,
			RadiusM: math.Ceil(n.RadiusM*10) / 10, DistanceM: math.Round(n.DistanceM*10) / 10, Around: n.Around,
		}
	}
	if !math.IsInf(others, 1) {
		m := math.Floor(others*10) / 10 // never more than is true
		answer.OthersM = &m
	}
	data, err := json.Marshal(answer)
	if err != nil {
		return wire.AppendError(nil, err)
	}
	return data
}
