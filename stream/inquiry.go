package stream

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/receipt"
	"footfall/track"
)

// An inquiry puts what has happened to one person to the campaigns. Each answers by itself (campaign.Decide); what it
// proposes is settled here, against what the ledger holds and what this inquiry has settled before:
//
//	Decide ──▶ held                                                  not for this person, not now
//	   │
//	proposes ─▶ another fence of the same position has it? ─▶ held   overlap
//	   │
//	a provider for the platform, or in-app? ── no ─▶ held                       no_token
//	   │
//	a voucher, when it must not go without ── none left ─▶ held       no_voucher
//	   │
//	the claim ── somebody has it ─▶ held                             already_claimed
//	   │ won, or won by this input in a run that was cut off
//	in the holdout? ── yes ─▶ held, and the claim is used up         holdout
//	   │
//	a delivery is owed, in the same transaction
//
// It belongs to one run of one transaction.
type inquiry struct {
	s       *settler
	tx      *db.Tx
	in      *input
	profile *audience.Profile
	past    history
	claimed map[string]fences.ID // campaign -> fence that took the input's push
	t       *tally

	otherDevices []audience.Profile // see others
	haveOthers   bool
}

// inquire begins an inquiry in which nothing is claimed yet, about a subject that is not always the profile's own.
func (s *settler) inquire(tx *db.Tx, in *input, p *audience.Profile, subject string, t *tally) *inquiry {
	return &inquiry{s: s, tx: tx, in: in, profile: p, past: history{subject: subject}, claimed: map[string]fences.ID{}, t: t}
}

// ask gets one campaign's answer about one transition and settles its claim.
func (q *inquiry) ask(c *campaign.Campaign, tr *track.Transition) (CampaignDecision, error) {
	if err := q.past.read(q.tx, q.profile, c.Needs(q.s.caps)); err != nil {
		return CampaignDecision{}, err
	}
	other, err := q.instead(c)
	if err != nil {
		return CampaignDecision{}, err
	}
	to := cmp.Or(other, q.profile)
	dec := c.Decide(campaign.Input{
		Tr: tr, Profile: q.profile, To: other, Now: time.UnixMilli(q.in.receivedAt), Sends: q.past.sends, Visits: q.past.visits, Events: q.past.events,
		Caps: q.s.caps,
	}, true)
	if j := q.in.journey; j != nil {
		dec.Key, dec.Period, dec.PeriodEnds = j.key, dedupe.Period{Kind: dedupe.PeriodEver}, time.UnixMilli(q.in.receivedAt)
	}
	out := CampaignDecision{Campaign: c.ID, Revision: c.Revision(), Outcome: dec.Outcome, Reason: dec.Reason, Checks: dec.Checks, Variant: dec.Variant}
	if dec.Outcome != campaign.Propose {
		return out, q.refused(&out, &dec, tr)
	}
	if other, ok := q.claimed[c.ID]; ok {
		q.hold(&out, campaign.Overlap, "overlap", fmt.Sprintf("the same position also entered %s, which comes first", other))
		return out, nil
	}
	lane, why := q.lane(c, to)
	if lane == "" {
		q.hold(&out, campaign.NoToken, "provider", why)
		return out, nil
	}
	takes := !dec.HeldOut && q.s.vouchers && c.TakesVoucher(dec.Variant)
	if takes && !c.Push.Voucher.Optional {
		if why, err := noVoucher(q.tx, c, &dec, tr); err != nil {
			return out, err
		} else if why != "" {
			q.hold(&out, campaign.NoVoucher, "voucher", why)
			return out, nil
		}
	}
	out.Claim = string(dec.Key.Bytes())
	claim, won, err := dedupe.Reserve(q.tx, dec.Key, dec.Period, dedupe.Claim{At: time.UnixMilli(tr.At), PeriodEnds: dec.PeriodEnds, Fence: string(tr.FenceID)})
	if err != nil {
		return out, err
	}
	if !won {
		own, err := ownClaim(q.tx, claim, q.in, tr, dec.HeldOut)
		if err != nil {
			return out, err
		}
		if !own {
			q.hold(&out, campaign.AlreadyClaimed, "settled", standing(claim, tr.Fence))
			return out, nil
		}
	}
	out.Checks = append(out.Checks, campaign.Check{Rule: "settled", OK: true, Detail: "first of its period"})
	q.claimed[c.ID] = tr.FenceID
	counted := "claimed"
	if dec.HeldOut { // the claim is used up, so that each is counted once, and no delivery is owed for it
		counted = "held." + string(campaign.HeldOut)
		out.Outcome, out.Reason = campaign.Held, campaign.HeldOut
		err = dedupe.Commit(q.tx, dec.Key, claim.MID)
	} else {
		if takes {
			check, err := q.s.takeVoucher(q.tx, c, claim.MID, appOf(q.in.device))
			if err != nil {
				return out, err
			}
			out.Checks = append(out.Checks, check)
		}
		var devices []heardOf
		var check campaign.Check
		if devices, check, err = q.choose(c, to, lane); err != nil {
			return out, err
		}
		if check.Rule != "" {
			out.Checks = append(out.Checks, check)
		}
		err = q.owe(&out, c, &dec, tr, claim, devices, won)
	}
	if err == nil && won { // else it was counted by the run that won it
		q.t.funnel[funnelKey{c.ID, counted}]++
	}
	return out, err
}

// lane is the way to a device for a campaign's push; without one, why says what is missing.
func (q *inquiry) lane(c *campaign.Campaign, to *audience.Profile) (lane, why string) {
	if c.Push.InsideApp(to) {
		return q.s.inApp, "this gateway sends nothing to apps (push.inapp_wait is 0)"
	}
	lane, ok := q.s.lane(appOf(q.in.device), to)
	if !ok {
		return "", fmt.Sprintf("no push provider is configured for platform %q", to.Platform)
	}
	return lane, ""
}

// hold ends an answer with a reason that the campaign itself could not know.
func (q *inquiry) hold(out *CampaignDecision, reason campaign.Reason, rule, detail string) {
	out.Outcome, out.Reason = campaign.Held, reason
	out.Checks = append(out.Checks, campaign.Check{Rule: rule, OK: false, Detail: detail})
	q.t.funnel[funnelKey{out.Campaign, "held." + string(reason)}]++
}

// refused counts what the campaign held by itself. A cap that was reached by the push which this subject already has for
// the period says that instead.
func (q *inquiry) refused(out *CampaignDecision, dec *campaign.Decision, tr *track.Transition) error {
	if dec.Reason == campaign.Capped || dec.Reason == campaign.GatewayCap {
		claim, stands, err := dedupe.Standing(q.tx, dec.Key, dec.Period, time.UnixMilli(tr.At))
		if err != nil {
			return err
		}
		if stands {
			q.hold(out, campaign.AlreadyClaimed, "settled", standing(claim, tr.Fence))
			return nil
		}
	}
	q.t.funnel[funnelKey{out.Campaign, "held." + string(dec.Reason)}]++
	return nil
}

// owe writes the deliveries for a claim that was won, one for each device, with what renders them and what caps and tills
// will know the message by. Those of a claim that was won in a run that was cut off are there: all of them, or none would be.
func (q *inquiry) owe(out *CampaignDecision, c *campaign.Campaign, dec *campaign.Decision, tr *track.Transition, claim dedupe.Claim, devices []heardOf, won bool) error {
	app := appOf(q.in.device)
	out.MID, out.ExpiresAt = claim.MID, dec.ExpiresAt.UnixMilli()
	code := q.s.keys.Code(app, claim.MID)
	if err := receipt.PutCode(q.tx, app, code, claim.MID, q.s.keepCodes); err != nil {
		return err
	}
	cause := deliveryContext{
		Code: code, Kind: tr.Kind, At: tr.At, EnteredAt: tr.EnteredAt, DistanceM: tr.CenterDistanceM, AccuracyM: tr.Fix.AccuracyM, Reason: tr.Reason,
		Variant: dec.Variant, IfInside: dec.IfInside,
	}
	if devices[0].Device != q.profile.Device || len(devices) > 1 {
		cause.By = q.profile.Device
	}
	cause.Counted = c.TemplateOf(dec.Variant).BadgeInc
	if j := q.in.journey; j != nil {
		cause.Journey, cause.Step, cause.Entry = j.revision, j.step, j.entry
	}
	if c.TemplateOf(dec.Variant).Collapse.Source != "" {
		at := q.tx.Now()
		rc := campaign.NewContext(c, campaign.Input{Tr: tr, Profile: q.profile, Now: at}, at)
		rc.SetVariant(dec.Variant)
		rc.Message, rc.Entry = map[string]any{"id": claim.MID, "code": code}, cause.Entry
		key, fault := c.Collapse(rc)
		if cause.Collapse = key; fault != "" {
			q.tx.AfterCommit(func() { q.s.count.collapses.add(string(fault), 1) })
			out.Checks = append(out.Checks, campaign.Check{Rule: "collapse", OK: true, Detail: "cannot be filled (" + string(fault) + "): the push replaces no other"})
		}
	}
	context, err := json.Marshal(cause)
	if err != nil {
		return err
	}
	now := q.tx.Now().UnixMilli()
	due := now
	if !dec.SendAt.IsZero() {
		out.SendAt = dec.SendAt.UnixMilli()
		due = max(due, out.SendAt)
	}
	row := outbox.Delivery{
		App: app, Person: q.profile.Person, Campaign: c.ID, Fence: string(tr.FenceID), Claim: dec.Key, CreatedAt: now, FixedAt: tr.At, NextAt: due,
		ExpiresAt: out.ExpiresAt, Context: context, Bulk: c.Trigger.Schedule != nil,
	}
	if !won {
		first, _, err := outbox.Get(q.tx, claim.MID)
		if err != nil {
			return err
		}
		out.Devices, devices = first.Copies, nil
	}
	if len(devices) > 1 {
		row.Lead, row.Copies, out.Devices = claim.MID, len(devices), len(devices)
	}
	for n := range devices {
		row.MID, row.Device, row.Lane = dedupe.CopyID(claim.MID, n), devices[n].Device, devices[n].lane
		if err := outbox.Enqueue(q.tx, &row); err != nil {
			return err
		}
	}
	if err := dedupe.RecordSend(q.tx, dec.Key, claim, c.Exempt, c.KeepSends()); err != nil {
		return err
	}
	q.past.haveSends = false // the next campaign's caps count this one
	q.t.deliveries++
	return nil
}

// ownClaim reports whether a standing claim was won by this very entry, in a run that was cut off before the rest
// of its ping was settled. That of a subject in the holdout has no delivery.
func ownClaim(tx *db.Tx, c dedupe.Claim, in *input, tr *track.Transition, heldOut bool) (bool, error) {
	if c.Fence != string(tr.FenceID) || c.At.UnixMilli() != tr.At || heldOut {
		return heldOut && c.Fence == string(tr.FenceID) && c.At.UnixMilli() == tr.At, nil
	}
	d, ok, err := outbox.Get(tx, c.MID)
	if err != nil || !ok || d.Device == string(in.device) {
		return ok, err
	}
	return cameBy(&d) == string(in.device), nil
}

// standing says who has the claim, in the fence's own time.
func standing(c dedupe.Claim, f *fences.Fence) string {
	loc := time.UTC
	if f != nil {
		loc = f.Location
	}
	return fmt.Sprintf("taken at %s at %s, until %s", c.At.In(loc).Format("2006-01-02 15:04:05"), c.Fence, c.PeriodEnds.In(loc).Format("2006-01-02 15:04 MST"))
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
