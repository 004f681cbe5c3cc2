package stream

import (
	"time"

	"footfall/audience"
	"footfall/campaign"
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
