package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/journey"
	"footfall/outbox"
	"footfall/push"
	"footfall/stream/wire"
	"footfall/track"
)

// A journey's webhook step calls a system of the owner's. The call is a delivery like a push: written with the run that
// owes it, signed, tried again until it is taken or worth nothing any more, and sent again by an operator like others.
//
//	step ──▶ delivery with its body ──▶ outbox ──▶ POST ──▶ accepted, or another end ──▶ counted, and the run that waits moves on
//
// It is no push: it needs no token and no consent, and reports of pushes do not count it.

const callProvider = "call"

// CallLane is the lane of the calls to a system that journeys name. Config.Providers says what serves it.
func CallLane(system string) string { return outbox.LaneName(callProvider, system, push.EnvProd) }

// isCall reports whether a delivery is a call and not a push.
func isCall(d *outbox.Delivery) bool { return strings.HasPrefix(d.Lane, callProvider+"/") }

// checkCalls says which systems a journey calls that nothing serves.
func (g *Gateway) checkCalls(list []*journey.Journey) error {
	var errs []error
	for _, j := range list {
		for _, system := range j.Calls() {
			if g.cfg.Providers[CallLane(system)] == nil {
				errs = append(errs, fmt.Errorf("%s:%d: journey %s calls %q, which the configuration does not know: add webhooks: {%s: {url: …, secret_file: …}}", j.File, j.Line, j.ID, system, system))
			}
		}
	}
	return errors.Join(errs...)
}

// RunCall is the body of a call whose step has none of its own. Times are Unix ms.
type RunCall struct {
	Journey string         `json:"journey"`
	Step    string         `json:"step"`
	App     string         `json:"app"`
	Device  string         `json:"device"`
	Person  string         `json:"person,omitempty"`
	Fence   string         `json:"fence,omitempty"` // at which the person entered
	Entered int64          `json:"entered"`
	At      int64          `json:"at"`
	Entry   map[string]any `json:"entry,omitempty"` // what the person entered by
}

// journeyCall owes the call of a step.
func (s *settler) journeyCall(tx *db.Tx, j *journey.Journey, subject string, run *journey.Run, step string, p *audience.Profile, t *tally) (out CampaignDecision, err error) {
	call, ok := j.CallAt(step)
	if !ok {
		return out, fmt.Errorf("step %s is no webhook", step)
	}
	now := tx.Now()
	key := dedupe.Key{Campaign: j.ID, Subject: subject, Scope: step, Period: runPeriod(run)}
	mid := key.MessageID(run.Fence, 0)
	body, problem := s.callBody(j, call, run, step, p, mid, now)
	cause, err := json.Marshal(deliveryContext{Journey: j.Revision, Step: step, Call: body})
	if err != nil {
		return out, err
	}
	out = CampaignDecision{
		Campaign: j.ID, Revision: j.Revision, Outcome: campaign.Propose, MID: mid, ExpiresAt: now.Add(call.TTL).UnixMilli(), Call: call.To,
		Checks: []campaign.Check{{Rule: "webhook", OK: problem == "", Detail: fmt.Sprintf("step %s calls %s with %d bytes", step, call.To, len(body))}},
	}
	if problem != "" {
		out.Checks[0].Detail = fmt.Sprintf("step %s cannot call %s: %s", step, call.To, problem)
	}
	t.deliveries++
	return out, outbox.Enqueue(tx, &outbox.Delivery{
		MID: mid, App: appOf(track.DeviceID(run.Device)), Device: run.Device, Person: p.Person, Campaign: j.ID, Fence: run.Fence, Lane: CallLane(call.To),
		CreatedAt: now.UnixMilli(), FixedAt: now.UnixMilli(), NextAt: now.UnixMilli(), ExpiresAt: out.ExpiresAt, Context: cause,
	})
}

// callBody is what a call says: what its step writes, or what is known of the run. With a problem there is none.
func (s *settler) callBody(j *journey.Journey, call *journey.Call, run *journey.Run, step string, p *audience.Profile, mid string, now time.Time) (body json.RawMessage, problem string) {
	var err error
	if call.Body == nil {
		app, device, _ := wire.SplitDevice(track.DeviceID(run.Device))
		body, err = json.Marshal(RunCall{
			Journey: j.ID, Step: step, App: app, Device: device, Person: p.Person, Fence: run.Fence, Entered: run.Entered, At: now.UnixMilli(), Entry: run.Entry,
		})
	} else {
		tr := &track.Transition{At: now.UnixMilli(), FenceID: fences.ID(run.Fence)}
		if s.fences != nil {
			tr.Fence, _ = s.fences().Lookup(tr.FenceID)
		}
		rc := campaign.NewContext(call.Body.Context(), campaign.Input{Tr: tr, Profile: p, Now: now}, now)
		rc.Message, rc.Entry = map[string]any{"id": mid}, run.Entry
		body, err = call.Body.Fill(rc)
	}
	if err != nil {
		return nil, err.Error()
	}
	return body, ""
}

// composeCall is what a call sends. That its journey is gone or edited is no reason to keep it back; a stop is.
func (g *Gateway) composeCall(d *outbox.Delivery, dc *deliveryContext) (*push.Notification, outbox.Suppress) {
	switch {
	case g.journeys.set.Load().states[d.Campaign].StoppedAt != 0:
		return nil, outbox.CampaignOver
	case len(dc.Call) == 0 || string(dc.Call) == "null":
		return nil, suppressTemplate
	}
	_, device, _ := wire.SplitDevice(track.DeviceID(d.Device))
	return &push.Notification{ // each step's text is judged by itself
		MID: d.MID, App: d.App, Device: device, Campaign: d.Campaign + " " + dc.Step, Revision: dc.Journey, ExpiresAt: time.UnixMilli(d.ExpiresAt), Call: dc.Call,
	}, ""
}

// callEnded counts how a call has ended, and moves on the run that waits for it.
func (g *Gateway) callEnded(tx *db.Tx, old, d *outbox.Delivery) error {
	if err := countCall(tx, old, d); err != nil || !d.State.Final() {
		return err
	}
	if g.journeys.set.Load().states[d.Campaign].StoppedAt != 0 {
		return nil // StopJourney ends the runs, and says how many
	}
	var cause deliveryContext
	if err := json.Unmarshal(d.Context, &cause); err != nil {
		return fmt.Errorf("stream: context of call %s: %w", d.MID, err)
	}
	p, err := profileOf(tx, track.DeviceID(d.Device))
	if err != nil {
		return err
	}
	what := journey.Input{
		Kind: journey.Answered, ID: "answered " + d.MID, At: tx.Now().UnixMilli(), Step: cause.Step, SentAt: d.CreatedAt, OK: d.State == outbox.StateAccepted,
	}
	t := tally{funnel: map[funnelKey]int64{}}
	if err := g.settler.moveAll(tx, []string{d.Campaign}, &p, &what, nil, &t); err != nil {
		return err
	}
	if t.deliveries > 0 {
		tx.AfterCommit(g.outbox.Notify)
	}
	return nil
}

// countCall counts a call under the final state that it has come to, in its journey, and takes it out again when it leaves
// that state: an operator has sent it once more.
func countCall(tx *db.Tx, old, d *outbox.Delivery) error {
	var cause deliveryContext
	if err := json.Unmarshal(d.Context, &cause); err != nil {
		return fmt.Errorf("stream: context of call %s: %w", d.MID, err)
	}
	for _, c := range []struct {
		row *outbox.Delivery
		n   int64
	}{{old, -1}, {d, 1}} {
		if c.row.State.Final() {
			if err := journey.AddCount(tx, d.Campaign, "call."+cause.Step+"."+string(c.row.State), c.n); err != nil {
				return err
			}
		}
	}
	return nil
}
