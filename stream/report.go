package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/forecast"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/reach"
	"footfall/track"
)

// keepEntries notes a decision for reports: one row for each campaign that was asked, or one when nobody was asked about
// somebody who came in. at is the place of the clock that its day and hour are read from; nil is UTC.
func (s *settler) keepEntries(tx *db.Tx, d *Decision, at *time.Location, p *audience.Profile) error {
	e := funnel.Entry{
		At: d.At, ID: d.ID, Kind: d.Kind, Fence: string(d.Fence), Device: d.Device, Subject: p.Subject(), Platform: p.Platform,
		Source: d.Fix.Source, Lead: d.Kind != kindAnnouncement && d.Kind != kindJourney, FixedAt: max(d.At, d.ConfirmedAt), ReceivedAt: d.ReceivedAt, DecidedAt: tx.Now().UnixMilli(),
	}
	if at != nil {
		_, seconds := time.UnixMilli(d.At).In(at).Zone()
		e.OffsetMin = seconds / 60
	}
	if len(d.Campaigns) == 0 && d.Kind == track.Enter.String() {
		return funnel.PutEntry(tx, &e, s.reports)
	}
	for i := range d.Campaigns {
		c := &d.Campaigns[i]
		e.Campaign, e.Variant, e.MID, e.Devices, e.SendAt, e.Reason = c.Campaign, c.Variant, c.MID, c.Devices, c.SendAt, ""
		if c.MID == "" {
			e.Reason = string(c.Reason)
		}
		if err := funnel.PutEntry(tx, &e, s.reports); err != nil {
			return err
		}
		e.Lead = false
	}
	return nil
}

// keepReach notes who came in, to be added to the sketches once for the whole stretch. An edit of a fence is nobody's
// coming, and what arrives too late for a push of an ordinary campaign is not counted either.
func (s *settler) keepReach(in *input, tr *track.Transition, p *audience.Profile, t *tally) {
	if s.keepSketches == 0 || tr.Kind != track.Enter || tr.Reason&(track.FenceCreated|track.FenceChanged) != 0 ||
		in.receivedAt-in.fix.FixedAt > campaign.DefaultMaxAge.Milliseconds() {
		return
	}
	loc := clockOf(tr)
	if loc == nil {
		loc = time.UTC
	}
	at := time.UnixMilli(tr.At).In(loc)
	_, seconds := at.Zone()
	t.came = append(t.came, reach.Entry{Fence: string(tr.FenceID), Day: int32(funnel.DayOf(tr.At, seconds/60)), Hour: at.Hour(), Subject: p.Subject()})
}

// clockOf is the clock of a transition's store.
func clockOf(tr *track.Transition) *time.Location {
	if tr.Fence == nil {
		return nil
	}
	return tr.Fence.Location
}

// noteOutcome keeps how a message ended, and takes it back when it is on its way again. One to several devices has one
// outcome, that of the row that speaks for it.
func noteOutcome(tx *db.Tx, old, d *outbox.Delivery, keep time.Duration) error {
	others, err := outbox.Others(tx, d)
	if err != nil {
		return err
	}
	speaks := outbox.Speaks(append([]outbox.Delivery{*d}, others...))
	if !speaks.State.Final() {
		if old.State.Final() {
			return funnel.DropOutcome(tx, d.Message())
		}
		return nil
	}
	o := funnel.Outcome{State: string(speaks.State), Reason: speaks.Reason, Asked: speaks.Attempts > 0, At: speaks.UpdatedAt}
	if speaks.MID != d.MID {
		stored, found, err := funnel.OutcomeOf(tx, d.Message())
		if err != nil {
			return err
		}
		if found && stored.State == o.State {
			o = stored // with its times
		}
	} else if old.State == outbox.StateSending {
		if o.Leased = old.UpdatedAt; old.FirstAt != o.Leased {
			o.First = old.FirstAt
		}
	}
	if d.Copies > 0 {
		o.Took = 0
		for _, row := range append(others, *d) {
			if row.State == outbox.StateAccepted {
				o.Took++
			}
		}
	}
	return funnel.PutOutcome(tx, d.Message(), &o, keep)
}

// noteSubscription keeps that a device can be pushed to from now on, or no longer.
func noteSubscription(tx *db.Tx, before, after *audience.Profile, at int64, keep time.Duration) error {
	was, is := before.Reachable() && before.MayPush(), after.Reachable() && after.MayPush()
	if was == is {
		return nil
	}
	c := funnel.Change{At: at, Device: after.Device, Joined: is}
	switch {
	case is && before.Reachable():
		c.Why = "opted_in"
	case is:
		c.Why = "registered"
	case !after.MayPush():
		c.Why = "opted_out"
	case after.TokenDead:
		c.Why = "token_dead"
	default:
		c.Why = "token_removed"
	}
	return funnel.PutChange(tx, &c, keep)
}

// ErrBusy: another question of the kind is being answered.
var ErrBusy = errors.New("stream: another report is being made; ask again")

// report answers for the running gateway, one report at a time: each may read much of the ledger.
func (g *Gateway) report(ctx context.Context, q funnel.Query) (any, error) {
	if !g.reporting.CompareAndSwap(false, true) {
		return nil, ErrBusy
	}
	defer g.reporting.Store(false)
	r, err := Report(ctx, g.cfg.DB, q, g.cfg.Now())
	if _, known := g.Campaigns().Find(q.Campaign); errors.Is(err, ErrNoCampaign) && known {
		err = nil // it has not been asked yet
	}
	return r, err
}

// Report makes a report from a ledger, as of now. It returns ErrNoCampaign, and an empty report, when the campaign has no
// entry in the ledger, and funnel.ErrQuery.
func Report(ctx context.Context, d *db.DB, q funnel.Query, now time.Time) (r *funnel.Report, err error) {
	err = d.View(func(tx *db.Tx) error {
		if r, err = funnel.Make(ctx, tx, people{tx}, q, now.UnixMilli()); err != nil {
			return err
		}
		if err := errors.Join(reportVouchers(tx, r), forecast.Compare(ctx, tx, people{tx}, r, now)); err != nil || q.Campaign == "" {
			return err
		}
		return knownCampaign(tx, q.Campaign)
	})
	return r, err
}

// Claims lists a page of a campaign's claims from a ledger. It returns ErrNoCampaign when there are no entries of it, and
// funnel.ErrQuery.
func Claims(ctx context.Context, d *db.DB, q funnel.ClaimsQuery) (page funnel.ClaimsPage, err error) {
	err = d.View(func(tx *db.Tx) error {
		if page, err = funnel.Claims(ctx, tx, q); err != nil || len(page.Claims) > 0 || q.AfterAt != 0 {
			return err
		}
		return knownCampaign(tx, q.Campaign)
	})
	return page, err
}

// knownCampaign returns ErrNoCampaign, with the names that there are, for a campaign without entries.
func knownCampaign(tx *db.Tx, id string) error {
	known, err := funnel.Campaigns(tx)
	if err == nil && !slices.Contains(known, id) {
		err = fmt.Errorf("%w: %q; there are entries of %s", ErrNoCampaign, id, strings.Join(known, ", "))
	}
	return err
}

// forecast answers for the running gateway, with its fences, and one at a time with reports.
func (g *Gateway) forecast(ctx context.Context, q forecast.Request) (any, error) {
	if !g.reporting.CompareAndSwap(false, true) {
		return nil, ErrBusy
	}
	defer g.reporting.Store(false)
	lib, err := campaign.ParseLibrary("request", []byte(q.Campaigns))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrQuery, err)
	}
	set, now := g.fences.Load(), g.cfg.Now()
	f, err := Forecast(ctx, g.cfg.DB, lib.Campaigns, set, g.cfg.Caps, q, now)
	if err == nil && q.Keep {
		err = forecast.Keep(ctx, g.cfg.DB, f, set, g.cfg.Reports, now)
	}
	return f, err
}

// Forecast makes a forecast from a ledger, as of now; caps are Config.Caps. See forecast.Basis.Make.
func Forecast(ctx context.Context, d *db.DB, campaigns []*campaign.Campaign, set *fences.Set, caps []campaign.Cap, q forecast.Request, now time.Time) (f *forecast.Forecast, err error) {
	err = d.View(func(tx *db.Tx) error {
		b := forecast.Basis{Tx: tx, People: people{tx}, Fences: set, Caps: caps, Now: now}
		f, err = b.Make(ctx, campaigns, q)
		return err
	})
	return f, err
}

// people tells funnel what the ledger remembers of subjects.
type people struct{ tx *db.Tx }

// profileOfSubject is enough of a profile to find the history of a subject.
func profileOfSubject(subject string) *audience.Profile {
	if person, ok := strings.CutPrefix(subject, "p:"); ok {
		return &audience.Profile{Person: person}
	}
	return &audience.Profile{Device: strings.TrimPrefix(subject, "d:")}
}

func (p people) Goals(subject, name string, from int64) (out []funnel.Goal, err error) {
	events, err := audience.EventsOf(p.tx, profileOfSubject(subject))
	for i := range events {
		e := &events[i]
		if e.Name != name || e.At < from {
			continue
		}
		g := funnel.Goal{ID: e.ID, At: e.At}
		g.Value, _ = e.Props["value"].(float64)
		g.Currency, _ = e.Props["currency"].(string)
		out = append(out, g)
	}
	return out, err
}

func (p people) GoalIDs(subject, name, own string) ([]string, error) {
	prof := profileOfSubject(subject)
	devices := []string{prof.Device}
	if prof.Person != "" {
		var err error
		if devices, err = audience.DevicesOf(p.tx, prof.Person); err != nil {
			return nil, err
		}
	}
	ids := make([]string, len(devices))
	for i, device := range devices {
		ids[i] = eventID(track.DeviceID(device), name, own)
	}
	return ids, nil
}

func (p people) Visits(subject string, from int64) (out []int64, err error) {
	visits, err := audience.VisitsOf(p.tx, profileOfSubject(subject))
	for i := range visits {
		if visits[i].At >= from {
			out = append(out, visits[i].At)
		}
	}
	return out, err
}

func (p people) Subscribers(ctx context.Context) (n int64, err error) {
	err = audience.Each(ctx, p.tx, func(q *audience.Profile) error {
		if q.Reachable() && q.MayPush() {
			n++
		}
		return nil
	})
	return n, err
}
