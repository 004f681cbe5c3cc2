package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/internal/db"
	"footfall/journey"
	"footfall/track"
)

// An announcement goes out to everybody in a campaign's audience when its schedule has come. One goroutine goes over all
// profiles, a page at a time; each page's claims, deliveries and decisions are written in one transaction with how far
// the plan has come. So a crash between two pages repeats nobody and leaves nobody out; whom a page reaches twice all
// the same, for an edit or a second device, is stopped by the claim.
//
//	due ──▶ running ── page by page ──▶ done
//	           │ campaign paused: waits; stopped or gone: stays where it is, and goes on when it is started again
//	           └── the schedule no longer has the date ──▶ never looked at again

// planSpace: campaign, date -> plan.
var planSpace = db.Register(0x40, "stream.plans", 1)

// plan is how far one occurrence has come. Times are Unix ms.
type plan struct {
	Began int64  `json:"began"`
	After string `json:"after,omitempty"` // the last device that was looked at
	Done  int64  `json:"done,omitempty"`  // when it ended
	Fit   int64  `json:"fit,omitempty"`   // devices that fitted the audience
}

func planKey(campaignID, date string) []byte {
	return planSpace.Key([]byte(campaignID), []byte(date))
}

const (
	// announceEvery is how often schedules are looked at, and announceRest how often it is looked whether there are any.
	announceEvery = 250 * time.Millisecond
	announceRest  = time.Second
	// announceFit bounds the people of one page: they are settled on the ledger's writer, which entries wait for
	// meanwhile, a few milliseconds.
	announceFit = 64
	// announceLook bounds the profiles that one page reads beside the writer.
	announceLook = 20_000
	// planBack is how long ago an occurrence may have begun that is still under way, and keepPlans how long it is
	// remembered: longer than it could begin again.
	planBack  = 30 * 24 * time.Hour
	keepPlans = 90 * 24 * time.Hour
)

func loadPlan(tx *db.Tx, campaignID, date string) (p plan, found bool, err error) {
	val, err := tx.Get(planKey(campaignID, date))
	if errors.Is(err, db.ErrNotFound) {
		return p, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("stream: plan of %s: %w", campaignID, err)
	}
	if err := json.Unmarshal(val, &p); err != nil {
		return p, false, fmt.Errorf("stream: plan of %s is damaged: %w", campaignID, err)
	}
	return p, true, nil
}

func putPlan(tx *db.Tx, campaignID, date string, p plan) error {
	val, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("stream: plan: %w", err)
	}
	return tx.SetUntil(planKey(campaignID, date), val, tx.Now().Add(keepPlans))
}

// announcer works off the schedules of campaigns. For a single goroutine.
type announcer struct {
	g     *Gateway
	fit   int
	rests map[string]time.Time // campaign, date -> when its pace allows the next page, by the real clock
	over  map[string]bool      // those that need not be looked at again
}

// announce serves schedules until ctx ends.
func (g *Gateway) announce(ctx context.Context) {
	a := announcer{g: g, fit: announceFit, rests: map[string]time.Time{}, over: map[string]bool{}}
	for ctx.Err() == nil {
		rest := announceRest
		list := g.sweeps()
		if len(list) > 0 {
			rest = announceEvery
		}
		busy := a.round(ctx, list)
		g.rounds.Add(1)
		if busy {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest):
		}
	}
}

// sweep is something that is due for everybody who fits a rule.
type sweep struct {
	id       string // of the campaign or journey
	schedule *campaign.Schedule
	rule     *audience.Rule
	// settle does what is due for a page of devices, on the ledger's writer, with what is active at that moment; ok is
	// false when nothing is due any more. The tally says how much was done.
	settle func(tx *db.Tx, date string, began time.Time, devices []string) (t tally, ok bool, err error)
}

// sweeps lists what has a schedule.
func (g *Gateway) sweeps() (list []sweep) {
	for _, c := range g.Campaigns().Scheduled() {
		if !c.Enabled || c.Paused {
			continue
		}
		list = append(list, sweep{c.ID, c.Trigger.Schedule, c.Audience, func(tx *db.Tx, date string, began time.Time, devices []string) (tally, bool, error) {
			c, ok := g.Campaigns().Find(c.ID)
			if !ok || !c.Enabled || c.Paused || c.Trigger.Schedule == nil {
				return tally{}, false, nil
			}
			t, err := g.settler.announce(tx, c, date, began, devices)
			return t, true, err
		}})
	}
	set := g.journeys.set.Load()
	for _, id := range slices.Sorted(maps.Keys(set.active)) {
		j := set.active[id]
		if st := set.states[id]; j.Schedule == nil || st != (journeyState{}) {
			continue
		}
		list = append(list, sweep{id, j.Schedule, j.Audience, func(tx *db.Tx, date string, began time.Time, devices []string) (tally, bool, error) {
			set := g.journeys.set.Load()
			j := set.active[id]
			if j == nil || j.Schedule == nil || set.states[id] != (journeyState{}) {
				return tally{}, false, nil
			}
			t, err := g.settler.enterAll(tx, set, j, date, began, devices)
			return t, true, err
		}})
	}
	return list
}

// round does one page of each plan that is due. It reports whether there is more to do at once.
func (a *announcer) round(ctx context.Context, list []sweep) (busy bool) {
	now := a.g.cfg.Now()
	for _, s := range list {
		for _, o := range s.schedule.Due(now, planBack) {
			if ctx.Err() != nil {
				return false
			}
			more, err := a.page(ctx, &s, o, now)
			if err != nil && ctx.Err() == nil {
				a.g.cfg.Logger.Error("a schedule cannot go on; trying again", "id", s.id, "date", o.Date, "err", err)
				more = false
			}
			busy = busy || more
		}
	}
	return busy
}

// page takes one plan a page further. more says that another page may follow at once.
func (a *announcer) page(ctx context.Context, s *sweep, o campaign.Occurrence, now time.Time) (more bool, err error) {
	name := s.id + " " + o.Date
	if rest, ok := a.rests[name]; a.over[name] || ok && time.Now().Before(rest) {
		return false, nil
	}
	delete(a.rests, name)
	var p plan
	var found bool
	var page audience.Page
	err = a.g.cfg.DB.View(func(tx *db.Tx) error {
		if p, found, err = loadPlan(tx, s.id, o.Date); err != nil || p.Done != 0 {
			return err
		}
		if !found && !s.schedule.MayBegin(o, now) {
			return nil
		}
		page, err = audience.Sweep(ctx, tx, s.rule, now, p.After, a.fit, announceLook)
		return err
	})
	if missed := !found && page.Looked == 0 && !page.End; err != nil || missed || p.Done != 0 {
		a.over[name] = err == nil
		return false, err
	}
	next := p
	if !found {
		next.Began = now.UnixMilli()
		a.g.cfg.Logger.Info("a schedule has come", "id", s.id, "date", o.Date)
	}
	next.After, next.Fit = page.Last, p.Fit+int64(len(page.Devices))
	if page.End {
		next.Done = now.UnixMilli()
	}
	var t tally
	ok := false
	err = a.g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		ok = false
		if now, _, err := loadPlan(tx, s.id, o.Date); err != nil || now != p {
			return err
		}
		if t, ok, err = s.settle(tx, o.Date, time.UnixMilli(next.Began), page.Devices); err != nil || !ok {
			return err
		}
		return putPlan(tx, s.id, o.Date, next)
	})
	if err != nil || !ok {
		return false, err
	}
	if t.deliveries > 0 {
		a.g.outbox.Notify()
	}
	if page.End {
		a.g.cfg.Logger.Info("a schedule has been worked off", "id", s.id, "date", o.Date, "fit", next.Fit)
		return false, nil
	}
	if did := max(t.deliveries, t.moved); s.schedule.PerMinute > 0 && did > 0 {
		a.rests[name] = time.Now().Add(time.Duration(did) * time.Minute / time.Duration(s.schedule.PerMinute))
		return false, nil
	}
	return true, nil
}

// enterAll lets some people into a journey whose schedule has come.
func (s *settler) enterAll(tx *db.Tx, set *journeySet, j *journey.Journey, date string, began time.Time, devices []string) (t tally, err error) {
	t = tally{funnel: map[funnelKey]int64{}}
	for _, id := range devices {
		p, found, err := audience.Get(tx, id)
		if err != nil {
			return t, err
		}
		planned, _, ok := j.Schedule.Planned(date, p.Zone)
		if !found || !ok {
			continue // erased, or the schedule was edited, while the page was read
		}
		run, err := journey.Get(tx, j.ID, p.Subject())
		if err != nil {
			return t, err
		}
		what := journey.Input{Kind: journey.Enter, ID: "schedule " + date, At: planned.UnixMilli()}
		if began.Sub(planned) > campaign.Late || run.Cause == what.ID && run.N > 0 && run.Ended != 0 {
			continue // too late by the person's own clock; or it has been through, by way of another device
		}
		if _, err := s.enter(tx, set, j, &p, &run, &what, nil, &t); err != nil {
			return t, err
		}
	}
	return t, nil
}

// kindAnnouncement is the kind of the decision about one person and one occurrence.
const kindAnnouncement = "announcement"

// announce decides about some devices for one occurrence, and settles what it decides.
func (s *settler) announce(tx *db.Tx, c *campaign.Campaign, date string, began time.Time, devices []string) (t tally, err error) {
	t = tally{funnel: map[funnelKey]int64{}}
	for _, id := range devices {
		p, found, err := audience.Get(tx, id)
		if err != nil {
			return t, err
		}
		planned, loc, ok := c.Trigger.Schedule.Planned(date, p.Zone)
		if !found || !ok {
			continue // erased, or the schedule was edited, while the page was read
		}
		var best campaign.Check
		if c.Trigger.Schedule.Best != nil {
			if planned, best, err = s.bestOn(tx, c, date, &p); err != nil {
				return t, err
			}
		}
		tr := c.Trigger.Schedule.Transition(planned, began)
		in := input{device: track.DeviceID(id), receivedAt: tx.Now().UnixMilli(), transitions: []track.Transition{*tr}}
		answer, err := s.inquire(tx, &in, &p, p.Subject(), &t).ask(c, tr)
		if err != nil {
			return t, err
		}
		if best.Rule != "" {
			answer.Checks = append(answer.Checks, best)
		}
		d := Decision{
			ID: decisionID(in.device, kindAnnouncement+"."+c.ID, "", tr.At), Device: id, Kind: kindAnnouncement, At: tr.At,
			ReceivedAt: in.receivedAt, Campaigns: []CampaignDecision{answer},
		}
		if err := errors.Join(s.putDecision(tx, &d), s.keepEntries(tx, &d, loc, &p)); err != nil {
			return t, err
		}
	}
	return t, addFunnels(tx, t.funnel)
}
