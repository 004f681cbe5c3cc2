package stream

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/internal/failpoint"
	"footfall/journey"
	"footfall/reach"
	"footfall/receipt"
	"footfall/stream/wire"
	"footfall/track"
)

// How an entry becomes a claim, a delivery and an event:
//
//	worker.ping          a partition's goroutine finds a transition and adds an input to its group of effects
//	  └─ db.Submit       the ledger's one writer takes the groups of all partitions into a transaction
//	      └─ settle      runs here, and once more when the transaction has to
//	          └─ settlePing
//	              ├─ inquiry.ask        a campaign's answer; its claim and delivery (inquiry.go)
//	              ├─ appendTransition   the event's row (events.go)
//	              └─ inquiry.keep       the decision, for explain and reports
//	  └─ settled         after the commit: counters; the outbox is woken, and by its own hook the relay of events
//
// Nothing of it is seen before the commit, and all of it after.

// settler turns effects into ledger rows. Its settle runs on the ledger's writer goroutine, one group after the
// other in commit order; that is where two devices of one person, owned by different partitions, meet.
type settler struct {
	campaigns func() *campaign.Set
	caps      []campaign.Cap // Config.Caps
	lane      func(app string, p *audience.Profile) (lane string, ok bool)
	inApp     string // Config.InApp
	events    *eventLog
	keep      time.Duration // how long decisions are kept
	keys      *receipt.Keyring
	keepFacts time.Duration // how long what became of a message is kept
	keepCodes time.Duration // how long the code of a message stands for it
	reports   time.Duration // how long the facts of reports are kept
	// How long visits and customer events are kept.
	keepVisits, keepEvents time.Duration
	keepSketches           time.Duration // of who came where; 0: none are made
	count                  *counters
	onPush                 func()                            // deliveries were committed
	confirm                func(tx *db.Tx, mid string) error // the phone has the message
	here                   func(device string) bool          // its app is there
	journeys               func() *journeySet
	fences                 func() *fences.Set // for the pushes of journeys
	wakes                  *wakes
	members                *members // not used while no journey waits for a segment
	vouchers               bool     // codes are taken from pools; a rehearsal has none, and goes on as if there were enough
	log                    *slog.Logger
	consents               *consents

	room *[]byte // for the decision at hand; of the writer goroutine. nil: none is kept
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
	came       []reach.Entry
	consents   map[string]int64
	hastened   int // deliveries that were made due
}

func newTally() tally {
	return tally{kinds: map[string]int64{}, refused: map[string]int64{}, receipts: map[string]int64{}, funnel: map[funnelKey]int64{}, consents: map[string]int64{}}
}

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
	t := newTally()
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
	if err := reach.Put(tx, t.came, s.keepSketches); err != nil {
		return err
	}
	t.came = nil // it is kept no longer than the transaction
	if err := addFunnels(tx, t.funnel); err != nil {
		return err
	}
	e.tally = t
	if t.deliveries+t.moved > 0 {
		failpoint.Here(failpoint.Settling)
	}
	return tx.Set(progressKey(e.partition), e.mark.encode())
}

// settled counts what a committed group did and wakes those who go on with it.
func (s *settler) settled(e *effects) {
	if e.tally.deliveries+e.tally.moved > 0 {
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
	for what, n := range e.tally.consents {
		s.count.consents.add(what, n)
	}
	if e.tally.deliveries+e.tally.hastened > 0 {
		s.onPush()
	}
}

// settlePing decides about the transitions of one ping, about campaigns that began while its device was inside, and keeps
// why a fix near a fence made no transition.
func (s *settler) settlePing(tx *db.Tx, in *input, t *tally) error {
	if isCanary(in.device) {
		return s.settleCanary(tx, in)
	}
	profile, err := profileOf(tx, in.device)
	if err != nil {
		return err
	}
	q := s.inquire(tx, in, &profile, profile.Subject(), t)
	maps.Copy(q.claimed, in.claimed)
	t.claimed = q.claimed
	set := s.campaigns()

	answers, err := q.askAll(in.transitions, func(tr *track.Transition) []*campaign.Campaign { return set.For(nil, tr) })
	if err != nil {
		return err
	}
	for i := range in.transitions {
		if err := q.settleTransition(&in.transitions[i], answers[answerKey(&in.transitions[i])]); err != nil {
			return err
		}
	}
	prev, now := time.UnixMilli(in.prevFixedAt), time.UnixMilli(in.fix.FixedAt)
	answers, err = q.askAll(in.begun, func(tr *track.Transition) []*campaign.Campaign { return set.Starting(nil, tr.Fence, prev, now) })
	if err != nil {
		return err
	}
	for i := range in.begun {
		d := decisionOf(in, &in.begun[i], kindBegun)
		d.Campaigns = answers[answerKey(&in.begun[i])]
		if err := q.keep(&d, clockOf(&in.begun[i])); err != nil {
			return err
		}
	}
	for i := range in.notes {
		d := noteDecision(in, &in.notes[i])
		if err := s.putDecision(tx, &d); err != nil {
			return err
		}
	}
	return nil
}

// askAll puts transitions of one ping to the campaigns that of names, in the order of campaign.Pick, so that of several
// fences entered at once the right one gets the push, and each campaign pushes once at most. The answers are by
// answerKey.
func (q *inquiry) askAll(trs []track.Transition, of func(*track.Transition) []*campaign.Campaign) (map[fences.ID][]CampaignDecision, error) {
	answers := map[fences.ID][]CampaignDecision{}
	for _, tr := range campaign.Pick(trs) {
		for _, c := range of(&tr) {
			answer, err := q.ask(c, &tr)
			if err != nil {
				return nil, err
			}
			answers[answerKey(&tr)] = append(answers[answerKey(&tr)], answer)
		}
	}
	return answers, nil
}

// answerKey tells the transitions of one ping apart: one ping makes at most one of a kind per fence.
func answerKey(tr *track.Transition) fences.ID {
	return fences.ID(tr.Kind.String()) + "\x00" + tr.FenceID
}

// settleTransition writes what became of one transition: the visit, who came, its event, the decision, and what it moves on in
// journeys.
func (q *inquiry) settleTransition(tr *track.Transition, answers []CampaignDecision) error {
	d := decisionOf(q.in, tr, tr.Kind.String())
	d.Campaigns = answers
	q.t.kinds[d.Kind]++
	if tr.Kind == track.Enter {
		q.t.funnel[funnelKey{"", "entered"}]++
		if len(answers) == 0 {
			q.t.funnel[funnelKey{"", "no_campaign"}]++
		}
	}
	if tr.Kind == track.Enter || tr.Kind == track.Exit {
		if err := q.s.changing(q.tx, q.profile, journey.ChangedVisits, ""); err != nil {
			return err
		}
	}
	if err := q.s.keepVisit(q.tx, q.in.device, tr); err != nil {
		return err
	}
	if err := appendTransition(q.tx, q.s.events, &d, q.in.at); err != nil {
		return err
	}
	if err := q.keep(&d, clockOf(tr)); err != nil {
		return err
	}
	q.s.keepReach(q.in, tr, q.profile, q.t)
	return q.s.journeyTransition(q.tx, q.profile, q.in, tr, q.t)
}

// kindBegun is the kind of the decision about a campaign that began while the device was inside.
const kindBegun = "campaign_began"

// keep keeps a decision, for explain and for reports, and tells EVENTS which campaigns held their push. at is the place
// of the clock that reports count its day by.
func (q *inquiry) keep(d *Decision, at *time.Location) error {
	for i := range d.Campaigns {
		if c := &d.Campaigns[i]; c.Outcome != campaign.Propose {
			if err := appendHeld(q.tx, q.s.events, d, c, q.profile.Person, q.in.at); err != nil {
				return err
			}
		}
	}
	if err := q.s.putDecision(q.tx, d); err != nil {
		return err
	}
	return q.s.keepEntries(q.tx, d, at, q.profile)
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

func appOf(id track.DeviceID) string {
	app, _, _ := wire.SplitDevice(id)
	return app
}
