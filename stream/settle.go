package stream

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/internal/failpoint"
	"footfall/outbox"
	"footfall/receipt"
	"footfall/stream/wire"
	"footfall/track"
)

// settler turns effects into ledger rows. Its settle runs on the ledger's writer goroutine, one group after the
// other in commit order; that is where two devices of one person, owned by different partitions, meet.
type settler struct {
	campaigns func() *campaign.Set
	lane      func(app string, p *audience.Profile) (lane string, ok bool)
	events    *eventLog
	keep      time.Duration // how long decisions are kept
	keys      *receipt.Keyring
	keepFacts time.Duration // how long what became of a message is kept
	keepCodes time.Duration // how long the code of a message stands for it
	reports   time.Duration // how long the facts of reports are kept
	// How long visits and customer events are kept.
	keepVisits, keepEvents time.Duration
	count                  *counters
	onPush                 func()                            // deliveries were committed
	confirm                func(tx *db.Tx, mid string) error // the phone has the message
	journeys               func() *journeySet
	fences                 func() *fences.Set // for the pushes of journeys
	wakes                  *wakes
	log                    *slog.Logger

	row []byte // room for the decision at hand
}

// tally is what one settling run did; it counts only when the run is committed.
type tally struct {
	deliveries int
	moved      int // runs of journeys that were begun or moved on
	kinds      map[string]int64
	refused    map[string]int64
	receipts   map[string]int64
	funnel     map[funnelKey]int64
	claimed    map[string]fences.ID // by the last ping: campaign -> fence
}

type funnelKey struct{ campaign, outcome string }

// A settleError is a failure of settling itself rather than of the commit: the same input may fail again.
type settleError struct{ err error }

func (e *settleError) Error() string { return e.err.Error() }
func (e *settleError) Unwrap() error { return e.err }

// settle writes the effects of one stretch of a partition's log: profiles, claims, deliveries, decisions, events,
// presence and the partition's progress. It may run more than once, also for input that a crash cut off half-way,
// and comes to the same result.
func (s *settler) settle(tx *db.Tx, e *effects) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
		if err != nil && !errors.Is(err, db.ErrTooBig) {
			err = &settleError{err}
		}
	}()
	t := tally{kinds: map[string]int64{}, refused: map[string]int64{}, receipts: map[string]int64{}, funnel: map[funnelKey]int64{}}
	for i := range e.inputs {
		in := &e.inputs[i]
		var err error
		switch in.kind {
		case wire.KindPing:
			err = s.settlePing(tx, in, &t)
		case wire.KindDevice:
			err = s.settleDevice(tx, in, &t)
		case wire.KindEvent:
			err = s.settleEvent(tx, in, &t)
		case wire.KindReceipt:
			err = s.settleReceipt(tx, in, &t)
		}
		if err == nil && in.row != nil {
			err = tx.Set(presenceKey(in.device), in.row)
		}
		if err != nil {
			return fmt.Errorf("settle %s at %d: %w", in.device, in.pos.seq(), err)
		}
	}
	for k, n := range t.funnel {
		if err := addFunnel(tx, k, n); err != nil {
			return err
		}
	}
	e.tally = t
	if t.deliveries > 0 {
		failpoint.Here(failpoint.Settling)
	}
	return tx.Set(progressKey(e.partition), e.mark.encode())
}

// settled counts what a committed group did and wakes those who go on with it.
func (s *settler) settled(e *effects) {
	if e.tally.deliveries > 0 {
		failpoint.Here(failpoint.Committed)
	}
	for kind, n := range e.tally.kinds {
		s.count.kinds.add(kind, n)
	}
	for reason, n := range e.tally.refused {
		s.count.refused.add(reason, n)
	}
	for what, n := range e.tally.receipts {
		s.count.receipts.add(what, n)
	}
	for i := range e.inputs {
		if in := &e.inputs[i]; in.claimed != nil { // what the next part of the same ping must know
			maps.Copy(in.claimed, e.tally.claimed)
		}
	}
	if e.tally.deliveries > 0 {
		s.onPush()
	}
}

// settleDevice merges a registration into the profile. The collector has checked the payload; what still fails
// here (a limit of the merged profile) is counted and changes nothing.
func (s *settler) settleDevice(tx *db.Tx, in *input, t *tally) error {
	p, err := profileOf(tx, in.device)
	if err != nil {
		return err
	}
	before := p
	if err := p.Merge(in.payload, in.receivedAt); err != nil {
		if errors.Is(err, audience.ErrPatch) {
			t.refused["device_profile"]++
			return nil
		}
		return err
	}
	if err := noteSubscription(tx, &before, &p, in.receivedAt, s.reports); err != nil {
		return err
	}
	return audience.Put(tx, &p)
}

// settleEvent publishes a customer event on EVENTS as it came, with who sent it, and credits the message whose code it
// names.
func (s *settler) settleEvent(tx *db.Tx, in *input, t *tally) error {
	app, device, _ := wire.SplitDevice(in.device)
	var ev struct {
		Name, ID string
		T        float64
		Props    map[string]json.RawMessage
	}
	if err := json.Unmarshal(in.payload, &ev); err != nil {
		return nil // checked by the collector; a foreign writer of the log is not worth stopping for
	}
	// A repeat has no effect: it is known by the sender's id, or without one by being the same to the letter.
	id := eventID(in.device, ev.Name, cmp.Or(ev.ID, string(in.payload)))
	seen := seenSpace.Key([]byte(id))
	if _, err := tx.Get(seen); !errors.Is(err, db.ErrNotFound) {
		return err
	}
	if err := tx.SetUntil(seen, nil, tx.Now().Add(seenFor)); err != nil {
		return err
	}
	err := s.events.append(tx, id, wire.TransitionSubject(app, "event", ev.Name), map[string]any{
		"id": id, "app": app, "device": device, "received_at": in.receivedAt, "event": json.RawMessage(in.payload),
	})
	if err != nil {
		return err
	}
	if err := s.keepEvent(tx, in, id, ev.Name, int64(ev.T), ev.Props); err != nil {
		return err
	}
	if err := s.journeyEvent(tx, in, id, ev.Name, min(cmp.Or(int64(ev.T), in.receivedAt), in.receivedAt), ev.Props, t); err != nil {
		return err
	}
	return s.creditCode(tx, app, in, receipt.Fact{
		Ev: receipt.Converted, Ref: cmp.Or(ev.ID, id), At: int64(ev.T), Value: numberOf(ev.Props["value"]), Currency: textOf(ev.Props["currency"]), Via: "code",
	}, textOf(ev.Props["code"]), t)
}

// eventID names a customer event by who sent it and the sender's own id of it.
func eventID(device track.DeviceID, name, own string) string {
	return decisionID(device, "event."+name, fences.ID(own), 0)
}

// seenFor is how long an event is known again: longer than an SDK keeps what it could not send.
const seenFor = 8 * 24 * time.Hour

func profileOf(tx *db.Tx, id track.DeviceID) (audience.Profile, error) {
	p, ok, err := audience.Get(tx, string(id))
	if err == nil && !ok {
		p = audience.Profile{Device: string(id)}
	}
	return p, err
}

// settlePing decides about the transitions of one ping. Campaigns see them in the order of campaign.Pick, so
// that of several fences entered at once the right one gets the push, and each campaign pushes once at most.
func (s *settler) settlePing(tx *db.Tx, in *input, t *tally) error {
	profile, err := profileOf(tx, in.device)
	if err != nil {
		return err
	}
	set := s.campaigns()
	claimed := maps.Clone(in.claimed) // campaign -> fence that took this ping's push
	if claimed == nil {
		claimed = map[string]fences.ID{}
	}
	t.claimed = claimed
	past := history{subject: profile.Subject()}
	answers := map[fences.ID][]CampaignDecision{}
	ask := func(trs []track.Transition, of func(*track.Transition) []*campaign.Campaign) error {
		for _, tr := range campaign.Pick(trs) {
			for _, c := range of(&tr) {
				answer, err := s.ask(tx, c, in, &tr, &profile, &past, claimed, t)
				if err != nil {
					return err
				}
				key := answerKey(&tr)
				answers[key] = append(answers[key], answer)
			}
		}
		return nil
	}
	if err := ask(in.transitions, func(tr *track.Transition) []*campaign.Campaign { return set.For(nil, tr) }); err != nil {
		return err
	}
	for i := range in.transitions {
		d := decisionOf(in, &in.transitions[i], in.transitions[i].Kind.String())
		d.Campaigns = answers[answerKey(&in.transitions[i])]
		t.kinds[d.Kind]++
		if err := s.keepVisit(tx, in.device, &in.transitions[i]); err != nil {
			return err
		}
		if in.transitions[i].Kind == track.Enter {
			t.funnel[funnelKey{"", "entered"}]++
			if len(d.Campaigns) == 0 {
				t.funnel[funnelKey{"", "no_campaign"}]++
			}
		}
		if err := appendTransition(tx, s.events, &d, in.at); err != nil {
			return err
		}
		if err := s.record(tx, &d, in, &profile); err != nil {
			return err
		}
		if err := s.keepEntries(tx, &d, clockOf(&in.transitions[i]), &profile); err != nil {
			return err
		}
		if err := s.journeyTransition(tx, &profile, in, &in.transitions[i], t); err != nil {
			return err
		}
	}
	clear(answers)
	prev, now := time.UnixMilli(in.prevFixedAt), time.UnixMilli(in.fix.FixedAt)
	err = ask(in.begun, func(tr *track.Transition) []*campaign.Campaign { return set.Starting(nil, tr.Fence, prev, now) })
	if err != nil {
		return err
	}
	for i := range in.begun {
		d := decisionOf(in, &in.begun[i], kindBegun)
		d.Campaigns = answers[answerKey(&in.begun[i])]
		if err := s.record(tx, &d, in, &profile); err != nil {
			return err
		}
		if err := s.keepEntries(tx, &d, clockOf(&in.begun[i]), &profile); err != nil {
			return err
		}
	}
	for i := range in.notes {
		d := noteDecision(in, &in.notes[i])
		if err := s.record(tx, &d, in, &profile); err != nil {
			return err
		}
	}
	return nil
}

// keepEvent remembers what a person did, for audiences. A time ahead of the gateway's is taken for now.
func (s *settler) keepEvent(tx *db.Tx, in *input, id, name string, at int64, props map[string]json.RawMessage) error {
	var body []byte
	if len(props) > 0 {
		var err error
		if body, err = json.Marshal(props); err != nil {
			return err
		}
	}
	return audience.PutEvent(tx, string(in.device), id, name, min(cmp.Or(at, in.receivedAt), in.receivedAt), body, s.keepEvents)
}

// keepVisit remembers who came where and for how long. An edit of a fence is no visit.
func (s *settler) keepVisit(tx *db.Tx, device track.DeviceID, tr *track.Transition) error {
	switch {
	case tr.Kind == track.Enter && tr.Fence != nil && tr.Reason&(track.FenceCreated|track.FenceChanged) == 0:
		return audience.PutVisit(tx, &audience.Visit{Device: string(device), Fence: string(tr.FenceID), Tags: tr.Fence.Tags, At: cmp.Or(tr.EnteredAt, tr.At)}, s.keepVisits)
	case tr.Kind == track.Exit:
		return audience.EndVisit(tx, string(device), string(tr.FenceID), tr.EnteredAt, tr.At, s.keepVisits)
	}
	return nil
}

// history is what the ledger remembers of one subject, read when the first campaign asks.
type history struct {
	subject                           string
	sends                             []dedupe.Send
	visits                            []audience.Visit
	events                            []audience.Event
	haveSends, haveVisits, haveEvents bool
}

func (h *history) read(tx *db.Tx, p *audience.Profile, needs campaign.Needs) (err error) {
	if needs.Sends && !h.haveSends {
		if h.sends, err = dedupe.Sends(tx, h.subject); err != nil {
			return err
		}
		h.haveSends = true
	}
	if needs.Visits && !h.haveVisits {
		if h.visits, err = audience.VisitsOf(tx, p); err != nil {
			return err
		}
		h.haveVisits = true
	}
	if needs.Events && !h.haveEvents {
		if h.events, err = audience.EventsOf(tx, p); err != nil {
			return err
		}
		h.haveEvents = true
	}
	return nil
}

// kindBegun is the kind of the decision about a campaign that began while the device was inside.
const kindBegun = "campaign_began"

// record keeps a decision and tells EVENTS which campaigns held their push.
func (s *settler) record(tx *db.Tx, d *Decision, in *input, p *audience.Profile) error {
	for i := range d.Campaigns {
		if c := &d.Campaigns[i]; c.Outcome != campaign.Propose {
			if err := appendHeld(tx, s.events, d, c, p.Person, in.at); err != nil {
				return err
			}
		}
	}
	return s.putDecision(tx, d)
}

// answerKey tells the transitions of one ping apart: one ping makes at most one of a kind per fence.
func answerKey(tr *track.Transition) fences.ID {
	return fences.ID(tr.Kind.String()) + "\x00" + tr.FenceID
}

// ask gets one campaign's decision about one transition and settles its claim.
func (s *settler) ask(tx *db.Tx, c *campaign.Campaign, in *input, tr *track.Transition, p *audience.Profile, past *history, claimed map[string]fences.ID, t *tally) (CampaignDecision, error) {
	if err := past.read(tx, p, c.Needs()); err != nil {
		return CampaignDecision{}, err
	}
	dec := c.Decide(campaign.Input{Tr: tr, Profile: p, Now: time.UnixMilli(in.receivedAt), Sends: past.sends, Visits: past.visits, Events: past.events}, true)
	if in.journey != nil {
		dec.Key, dec.Period, dec.PeriodEnds = in.journey.key, dedupe.Period{Kind: dedupe.PeriodEver}, time.UnixMilli(in.receivedAt)
	}
	out := CampaignDecision{Campaign: c.ID, Revision: c.Revision(), Outcome: dec.Outcome, Reason: dec.Reason, Checks: dec.Checks, Variant: dec.Variant}
	hold := func(reason campaign.Reason, rule, detail string) (CampaignDecision, error) {
		out.Outcome, out.Reason = campaign.Held, reason
		out.Checks = append(out.Checks, campaign.Check{Rule: rule, OK: false, Detail: detail})
		t.funnel[funnelKey{c.ID, "held." + string(reason)}]++
		return out, nil
	}
	if dec.Reason == campaign.Capped { // by the push that this subject already has for the period: say that instead
		claim, stands, err := dedupe.Standing(tx, dec.Key, dec.Period, time.UnixMilli(tr.At))
		if err != nil {
			return out, err
		}
		if stands {
			return hold(campaign.AlreadyClaimed, "settled", standing(claim, tr.Fence))
		}
	}
	if dec.Outcome != campaign.Propose {
		t.funnel[funnelKey{c.ID, "held." + string(dec.Reason)}]++
		return out, nil
	}
	if other, ok := claimed[c.ID]; ok {
		return hold(campaign.Overlap, "overlap", fmt.Sprintf("the same position also entered %s, which comes first", other))
	}
	lane, ok := s.lane(appOf(in.device), p)
	if !ok {
		return hold(campaign.NoToken, "provider", fmt.Sprintf("no push provider is configured for platform %q", p.Platform))
	}
	out.Claim = string(dec.Key.Bytes())
	claim, won, err := dedupe.Reserve(tx, dec.Key, dec.Period, dedupe.Claim{
		At: time.UnixMilli(tr.At), PeriodEnds: dec.PeriodEnds, Fence: string(tr.FenceID),
	})
	if err != nil {
		return out, err
	}
	own := false
	if !won {
		if own, err = ownClaim(tx, claim, in, tr, dec.HeldOut); err != nil {
			return out, err
		}
	}
	if !won && !own {
		return hold(campaign.AlreadyClaimed, "settled", standing(claim, tr.Fence))
	}
	out.Checks = append(out.Checks, campaign.Check{Rule: "settled", OK: true, Detail: "first of its period"})
	claimed[c.ID] = tr.FenceID
	if dec.HeldOut { // the claim is used up, so that each is counted once, and no delivery is owed for it
		out.Outcome, out.Reason = campaign.Held, campaign.HeldOut
		if won {
			t.funnel[funnelKey{c.ID, "held." + string(campaign.HeldOut)}]++
		}
		return out, dedupe.Commit(tx, dec.Key, claim.MID)
	}
	out.MID, out.ExpiresAt = claim.MID, dec.ExpiresAt.UnixMilli()
	code := s.keys.Code(appOf(in.device), claim.MID)
	if err := receipt.PutCode(tx, appOf(in.device), code, claim.MID, s.keepCodes); err != nil {
		return out, err
	}
	cause := deliveryContext{
		Code: code, Kind: tr.Kind, At: tr.At, EnteredAt: tr.EnteredAt, DistanceM: tr.CenterDistanceM, AccuracyM: tr.Fix.AccuracyM, Reason: tr.Reason,
		Variant: dec.Variant, IfInside: dec.IfInside,
	}
	if in.journey != nil {
		cause.Journey, cause.Step, cause.Entry = in.journey.revision, in.journey.step, in.journey.entry
	}
	context, err := json.Marshal(cause)
	if err != nil {
		return out, err
	}
	due := tx.Now().UnixMilli()
	if !dec.SendAt.IsZero() {
		out.SendAt = dec.SendAt.UnixMilli()
		due = max(due, out.SendAt)
	}
	err = outbox.Enqueue(tx, &outbox.Delivery{
		MID: claim.MID, App: appOf(in.device), Device: string(in.device), Person: p.Person, Campaign: c.ID, Fence: string(tr.FenceID),
		Claim: dec.Key, Lane: lane, CreatedAt: tx.Now().UnixMilli(), FixedAt: tr.At, NextAt: due,
		ExpiresAt: dec.ExpiresAt.UnixMilli(), Context: context, Bulk: c.Trigger.Schedule != nil,
	})
	if err == nil {
		err = dedupe.RecordSend(tx, dec.Key, claim, c.KeepSends())
	}
	if err != nil {
		return out, err
	}
	past.haveSends = false // the next campaign's caps count this one
	t.deliveries++
	if won {
		t.funnel[funnelKey{c.ID, "claimed"}]++
	}
	return out, nil
}

// ownClaim reports whether a standing claim was won by this very entry, in a run that was cut off before the rest
// of its ping was settled. That of a subject in the holdout has no delivery.
func ownClaim(tx *db.Tx, c dedupe.Claim, in *input, tr *track.Transition, heldOut bool) (bool, error) {
	if c.Fence != string(tr.FenceID) || c.At.UnixMilli() != tr.At || heldOut {
		return heldOut && c.Fence == string(tr.FenceID) && c.At.UnixMilli() == tr.At, nil
	}
	d, ok, err := outbox.Get(tx, c.MID)
	return ok && d.Device == string(in.device), err
}

// standing says who has the claim, in the fence's own time.
func standing(c dedupe.Claim, f *fences.Fence) string {
	loc := time.UTC
	if f != nil {
		loc = f.Location
	}
	return fmt.Sprintf("taken at %s at %s, until %s", c.At.In(loc).Format("2006-01-02 15:04:05"), c.Fence, c.PeriodEnds.In(loc).Format("2006-01-02 15:04 MST"))
}

func appOf(id track.DeviceID) string {
	app, _, _ := wire.SplitDevice(id)
	return app
}

// addFunnel adds to a stored count.
func addFunnel(tx *db.Tx, k funnelKey, n int64) error {
	key := funnelSpace.Key([]byte(k.campaign), []byte(k.outcome))
	old, err := tx.Get(key)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	v, _ := binary.Uvarint(old)
	return tx.Set(key, binary.AppendUvarint(nil, v+uint64(n)))
}

// Funnel reads the stored counts: campaign -> outcome -> count. The campaign "" counts entries as such.
func Funnel(tx *db.Tx) (map[string]map[string]int64, error) {
	out := map[string]map[string]int64{}
	err := tx.Scan(funnelSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
		parts, ok := funnelSpace.Split(key)
		if !ok || len(parts) != 2 {
			return false, fmt.Errorf("stream: funnel key %x", key)
		}
		c := string(parts[0])
		if out[c] == nil {
			out[c] = map[string]int64{}
		}
		v, _ := binary.Uvarint(val)
		out[c][string(parts[1])] = int64(v)
		return true, nil
	})
	return out, err
}
