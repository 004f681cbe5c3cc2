package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"footfall/audience"
	"footfall/fences"
	"footfall/forecast"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/stream/wire"
	"footfall/track"
	"footfall/voucher"
)

// The requests a running gateway answers over NATS. They are a micro service named "footfall", so
// `nats micro info footfall` lists them.
const (
	ExplainSubject  = "footfall.v1.explain"
	WhatIfSubject   = "footfall.v1.whatif" // WhatIfRequest -> WhatIf
	PastsSubject    = "footfall.v1.pasts"  // PastQuery -> Pasts
	LogSubject      = "footfall.v1.log"    // LogQuery -> batches of the input log; see ReadRecording
	StatsSubject    = "footfall.v1.stats"
	AudienceSubject = "footfall.v1.audience"

	OutboxListSubject   = "footfall.v1.outbox.list"   // OutboxQuery -> OutboxPage
	OutboxShowSubject   = "footfall.v1.outbox.show"   // NameRequest -> DeliveryView
	OutboxRetrySubject  = "footfall.v1.outbox.retry"  // OutboxOrder -> OutboxResult
	OutboxPurgeSubject  = "footfall.v1.outbox.purge"  // OutboxOrder -> OutboxResult
	OutboxLanesSubject  = "footfall.v1.outbox.lanes"  // nothing -> []LaneView
	OutboxResumeSubject = "footfall.v1.outbox.resume" // NameRequest -> NameAnswer

	ReportSubject   = "footfall.v1.report"   // funnel.Query -> funnel.Report
	ClaimsSubject   = "footfall.v1.claims"   // funnel.ClaimsQuery -> funnel.ClaimsPage
	ForecastSubject = "footfall.v1.forecast" // forecast.Request -> forecast.Forecast
	ForgetSubject   = "footfall.v1.forget"   // Someone -> Forgotten
	ExportSubject   = "footfall.v1.export"   // ExportRequest -> Export

	CampaignStopSubject  = "footfall.v1.campaign.stop"  // NameRequest -> NameAnswer
	CampaignStartSubject = "footfall.v1.campaign.start" // NameRequest -> NameAnswer

	VoucherListSubject  = "footfall.v1.voucher.list"  // nothing -> []VoucherAnswer
	VoucherAddSubject   = "footfall.v1.voucher.add"   // VoucherRequest -> VoucherAnswer
	VoucherCodesSubject = "footfall.v1.voucher.codes" // VoucherRequest -> VoucherCodes
	VoucherDropSubject  = "footfall.v1.voucher.drop"  // VoucherRequest -> VoucherDropped

	TagSetSubject = "footfall.v1.tag.set" // TagRequest -> TagAnswer
	TagGetSubject = "footfall.v1.tag.get" // TagRow without tags -> Tags

	JourneyListSubject    = "footfall.v1.journey.list"    // nothing -> []JourneyView
	JourneyShowSubject    = "footfall.v1.journey.show"    // JourneyRequest -> JourneyView
	JourneyEnterSubject   = "footfall.v1.journey.enter"   // JourneyEnter -> JourneyEntered
	JourneyPauseSubject   = "footfall.v1.journey.pause"   // NameRequest -> JourneyAnswer
	JourneyResumeSubject  = "footfall.v1.journey.resume"  // NameRequest -> JourneyAnswer
	JourneyStopSubject    = "footfall.v1.journey.stop"    // NameRequest -> JourneyAnswer
	JourneyStartSubject   = "footfall.v1.journey.start"   // NameRequest -> JourneyAnswer
	JourneyMigrateSubject = "footfall.v1.journey.migrate" // NameRequest -> JourneyAnswer
)

// NameRequest names one thing: a message id, a lane, a campaign.
type NameRequest struct {
	Name string `json:"name"`
}

// NameAnswer says what was done about it.
type NameAnswer struct {
	Name      string `json:"name"`
	Cancelled int    `json:"cancelled,omitempty"` // pushes that a stopped campaign owed
	Changed   bool   `json:"changed"`             // false: it was so already
}

// ExplainRequest asks about one device.
type ExplainRequest struct {
	App    string `json:"app"`
	Device string `json:"device"`
	From   int64  `json:"from,omitzero"`   // Unix ms, 0: as far back as kept
	To     int64  `json:"to,omitzero"`     // Unix ms, 0: now
	Fence  string `json:"fence,omitempty"` // say also how near the device has come to this one
	// Closest: when there are no decisions, say how near the device has come to any fence. Like Fence it has the log of the device's
	// partition read, which takes up to seconds.
	Closest bool `json:"closest,omitzero"`
}

// ErrQuery: a question that makes no sense; the text says why.
var ErrQuery = errors.New("stream: bad query")

// ErrBusy: another question of the kind is being answered.
var ErrBusy = errors.New("stream: another report is being made; ask again")

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
		svc.AddEndpoint("near", micro.HandlerFunc(g.answerNear), micro.WithEndpointSubject(wire.NearAll)),
		svc.AddEndpoint("here", micro.HandlerFunc(g.answerHere), micro.WithEndpointSubject(wire.HereAll)),
		group.AddEndpoint("explain", micro.HandlerFunc(g.answerExplain)),
		group.AddEndpoint("whatif", answerWithin(queryPatience, func(ctx context.Context, q WhatIfRequest) (any, error) { return g.WhatIf(ctx, q) })),
		group.AddEndpoint("log", micro.HandlerFunc(g.answerLog)),
		group.AddEndpoint("pasts", answer(g.pasts)),
		group.AddEndpoint("audience", micro.HandlerFunc(g.answerAudience)),
		group.AddEndpoint("outbox-list", answer(func(_ context.Context, q OutboxQuery) (any, error) { return ListDeliveries(g.cfg.DB, q) }), micro.WithEndpointSubject("outbox.list")),
		group.AddEndpoint("outbox-show", answer(func(_ context.Context, q NameRequest) (any, error) { return ShowDelivery(g.cfg.DB, q.Name) }), micro.WithEndpointSubject("outbox.show")),
		group.AddEndpoint("outbox-retry", answer(g.retryDeliveries), micro.WithEndpointSubject("outbox.retry")),
		group.AddEndpoint("outbox-purge", answer(func(ctx context.Context, o OutboxOrder) (any, error) { return PurgeDeliveries(ctx, g.cfg.DB, o) }), micro.WithEndpointSubject("outbox.purge")),
		group.AddEndpoint("outbox-lanes", answer(func(context.Context, struct{}) (any, error) { return g.LaneViews() }), micro.WithEndpointSubject("outbox.lanes")),
		group.AddEndpoint("outbox-resume", answer(g.resumeLane), micro.WithEndpointSubject("outbox.resume")),
		group.AddEndpoint("campaign-stop", answer(g.stopCampaign), micro.WithEndpointSubject("campaign.stop")),
		group.AddEndpoint("campaign-start", answer(g.startCampaign), micro.WithEndpointSubject("campaign.start")),
		group.AddEndpoint("report", answer(g.report)),
		group.AddEndpoint("claims", answer(func(ctx context.Context, q funnel.ClaimsQuery) (any, error) { return Claims(ctx, g.cfg.DB, q) })),
		group.AddEndpoint("forecast", answer(g.forecast)),
		group.AddEndpoint("forget", answerWithin(ForgetPatience, g.forget)),
		group.AddEndpoint("export", answer(g.export)),
		group.AddEndpoint("journey-list", answer(func(context.Context, struct{}) (any, error) { return g.JourneyViews() }), micro.WithEndpointSubject("journey.list")),
		group.AddEndpoint("journey-show", answer(func(ctx context.Context, q JourneyRequest) (any, error) { return g.ShowJourney(ctx, q) }), micro.WithEndpointSubject("journey.show")),
		group.AddEndpoint("journey-enter", answer(func(ctx context.Context, q JourneyEnter) (any, error) { return g.EnterJourney(ctx, q) }), micro.WithEndpointSubject("journey.enter")),
		group.AddEndpoint("journey-pause", order(g.PauseJourney), micro.WithEndpointSubject("journey.pause")),
		group.AddEndpoint("journey-resume", order(g.ResumeJourney), micro.WithEndpointSubject("journey.resume")),
		group.AddEndpoint("journey-stop", order(g.StopJourney), micro.WithEndpointSubject("journey.stop")),
		group.AddEndpoint("journey-start", order(g.StartJourney), micro.WithEndpointSubject("journey.start")),
		group.AddEndpoint("journey-migrate", order(g.MigrateJourney), micro.WithEndpointSubject("journey.migrate")),
		group.AddEndpoint("voucher-list", answer(func(context.Context, struct{}) (any, error) { return g.VoucherPools() }), micro.WithEndpointSubject("voucher.list")),
		group.AddEndpoint("voucher-add", answer(func(ctx context.Context, q VoucherRequest) (any, error) { return g.AddVouchers(ctx, q) }), micro.WithEndpointSubject("voucher.add")),
		group.AddEndpoint("voucher-drop", answer(func(ctx context.Context, q VoucherRequest) (any, error) { return g.DropVouchers(ctx, q) }), micro.WithEndpointSubject("voucher.drop")),
		group.AddEndpoint("voucher-codes", answer(func(_ context.Context, q VoucherRequest) (any, error) { return g.ListVouchers(q) }), micro.WithEndpointSubject("voucher.codes")),
		group.AddEndpoint("tag-set", answer(func(ctx context.Context, q TagRequest) (any, error) { return g.SetTags(ctx, q) }), micro.WithEndpointSubject("tag.set")),
		group.AddEndpoint("tag-get", answer(g.tags), micro.WithEndpointSubject("tag.get")),
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
	var e Explanation
	if q.Closest || q.Fence != "" {
		e, err = g.ExplainNear(ctx, track.DeviceID(id), q.From, q.To, fences.ID(q.Fence))
	} else {
		e, err = g.Explain(ctx, track.DeviceID(id), q.From, q.To)
	}
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

// AudienceRequest asks how many fit a rule, which may name segments, or a segment.
type AudienceRequest struct {
	Rule    string `json:"rule,omitempty"`
	Segment string `json:"segment,omitempty"` // instead of a rule
	Sample  int    `json:"sample,omitzero"`   // list so many of them, at most 1000
}

func (q *AudienceRequest) rule() string {
	if q.Segment != "" {
		return fmt.Sprintf("segment(%q)", q.Segment)
	}
	return q.Rule
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
	rule, err := g.segments.Load().Parse(q.rule())
	if err != nil {
		_ = r.Error("400", err.Error(), nil)
		return
	}
	if !g.counting.CompareAndSwap(false, true) {
		_ = r.Error("429", "another audience is being counted; ask again", nil)
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), audiencePatience)
		defer cancel()
		var c audience.Count
		err := g.cfg.DB.View(func(tx *db.Tx) (err error) {
			c, err = audience.CountRule(ctx, tx, rule, g.cfg.Now(), min(max(q.Sample, 0), maxSample))
			return err
		})
		g.counting.Store(false) // before the answer: whoever has it may ask the next thing
		if err != nil {
			_ = r.Error("500", err.Error(), nil)
			return
		}
		_ = r.RespondJSON(c)
	}()
}

// orderPatience bounds how long an order may take: a campaign's stop waits for requests in flight.
const orderPatience = 30 * time.Second

// answer serves one kind of request: JSON in, JSON out, an error with a code like HTTP's. Each request has a
// goroutine of its own, so that a slow one holds up nobody; clients wait, so there are few.
func answer[Q any](fn func(context.Context, Q) (any, error)) micro.Handler {
	return answerWithin(orderPatience, fn)
}

func answerWithin[Q any](patience time.Duration, fn func(context.Context, Q) (any, error)) micro.Handler {
	return micro.HandlerFunc(func(r micro.Request) {
		go func() {
			var q Q
			if len(r.Data()) > 0 {
				if err := json.Unmarshal(r.Data(), &q); err != nil {
					_ = r.Error("400", "the request is not JSON: "+err.Error(), nil)
					return
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			v, err := fn(ctx, q)
			switch {
			case errors.Is(err, outbox.ErrUnknown), errors.Is(err, ErrNoCampaign), errors.Is(err, ErrNoJourney), errors.Is(err, ErrNoLane), errors.Is(err, voucher.ErrNoPool):
				_ = r.Error("404", err.Error(), nil)
			case errors.Is(err, ErrQuery), errors.Is(err, funnel.ErrQuery), errors.Is(err, forecast.ErrQuery):
				_ = r.Error("400", err.Error(), nil)
			case errors.Is(err, ErrBusy):
				_ = r.Error("429", err.Error(), nil)
			case err != nil:
				_ = r.Error("500", err.Error(), nil)
			default:
				if err := r.RespondJSON(v); err != nil {
					_ = r.Error("500", "the answer could not be sent ("+err.Error()+"); ask for less", nil)
				}
			}
		}()
	})
}

// ForgetPatience bounds one erasure, which reads the whole ledger and EVENTS.
const ForgetPatience = 10 * time.Minute

func (g *Gateway) forget(ctx context.Context, who Someone) (any, error) {
	f, err := g.Forget(ctx, who)
	if err == nil { // who it was is not for the log
		g.cfg.Logger.Info("somebody was forgotten", "devices", len(f.Devices), "person", f.Person != "")
	}
	return f, err
}

func (g *Gateway) export(_ context.Context, q ExportRequest) (any, error) {
	var x Export
	err := g.cfg.DB.View(func(tx *db.Tx) (err error) { x, err = ExportFrom(tx, g.cfg.Rules, q); return err })
	return x, err
}

// order serves an order about a journey.
func order(fn func(context.Context, string) (JourneyAnswer, error)) micro.Handler {
	return answer(func(ctx context.Context, q NameRequest) (any, error) { return fn(ctx, q.Name) })
}

func (g *Gateway) retryDeliveries(ctx context.Context, o OutboxOrder) (any, error) {
	r, err := RetryDeliveries(ctx, g.cfg.DB, o)
	if len(r.Done) > 0 {
		g.cfg.Logger.Info("deliveries are sent again by an operator", "n", len(r.Done))
		g.outbox.Notify()
	}
	return r, err
}

// ErrNoLane: there is no lane with this name.
var ErrNoLane = errors.New("stream: no such lane")

func (g *Gateway) resumeLane(_ context.Context, q NameRequest) (any, error) {
	if !g.outbox.Resume(q.Name) {
		return nil, fmt.Errorf("%w: %q; there are %s", ErrNoLane, q.Name, strings.Join(g.outbox.Lanes(), ", "))
	}
	g.cfg.Logger.Info("lane resumed by an operator", "lane", q.Name)
	return NameAnswer{Name: q.Name, Changed: true}, nil
}

func (g *Gateway) stopCampaign(ctx context.Context, q NameRequest) (any, error) {
	n, err := g.StopCampaign(ctx, q.Name)
	return NameAnswer{Name: q.Name, Cancelled: n, Changed: true}, err
}

func (g *Gateway) startCampaign(ctx context.Context, q NameRequest) (any, error) {
	was, err := g.StartCampaign(ctx, q.Name)
	if _, ok := g.Campaigns().Find(q.Name); err == nil && !ok && !was {
		err = fmt.Errorf("%w: %q", ErrNoCampaign, q.Name)
	}
	return NameAnswer{Name: q.Name, Changed: was}, err
}
