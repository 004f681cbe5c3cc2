package stream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/journey"
	"footfall/outbox"
	"footfall/stream/wire"
	"footfall/track"
)

// People go through journeys on the ledger's writer: what moves them, an event, a transition or a timer, is settled
// together with their run, the pushes, tags and events that come of it, and the timer of the wait that follows.

// journeyStateSpace: journey -> journeyState.
var journeyStateSpace = db.Register(0x46, "stream.journeys", 1)

// journeyState is what an operator has said about a journey; it holds through restarts. Times are Unix ms.
type journeyState struct {
	PausedAt  int64 `json:"paused_at,omitempty"`
	StoppedAt int64 `json:"stopped_at,omitempty"`
}

// journeySet is what is known of journeys. It is immutable; an edit makes another.
type journeySet struct {
	active   map[string]*journey.Journey    // of the files: they take people in
	versions map[[2]string]*journey.Journey // id, revision: all that runs may be under
	states   map[string]journeyState

	byEvent      map[string][]string // what any version listens to -> journeys, in order
	onTransition []string
	watches      []*watching // segments that are waited for, in order
}

// journeys holds the set, and serialises its edits.
type journeys struct {
	mu  sync.Mutex
	set atomic.Pointer[journeySet]
}

// index finds who listens to what.
func (s *journeySet) index() {
	s.byEvent, s.onTransition = map[string][]string{}, nil
	for key, j := range s.versions {
		for _, name := range j.Events() {
			s.byEvent[name] = append(s.byEvent[name], key[0])
		}
		if j.Transitions() {
			s.onTransition = append(s.onTransition, key[0])
		}
	}
	for name, ids := range s.byEvent {
		slices.Sort(ids)
		s.byEvent[name] = slices.Compact(ids)
	}
	slices.Sort(s.onTransition)
	s.onTransition = slices.Compact(s.onTransition)
	s.indexWatches()
}

// indexWatches finds the segments that are waited for: by runs of any version, and by those who may enter.
func (s *journeySet) indexWatches() {
	byID := map[string]*watching{}
	for _, j := range s.versions {
		for _, w := range j.Watches(s.active[j.ID] == j) {
			if byID[w.ID] == nil {
				byID[w.ID] = &watching{Watch: w}
			}
			byID[w.ID].ids = append(byID[w.ID].ids, j.ID)
		}
	}
	s.watches = nil
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		w := byID[id]
		slices.Sort(w.ids)
		w.ids = slices.Compact(w.ids)
		s.watches = append(s.watches, w)
	}
}

// known reports whether there is anything of a journey.
func (s *journeySet) known(id string) bool {
	if s.active[id] != nil {
		return true
	}
	for key := range s.versions {
		if key[0] == id {
			return true
		}
	}
	return false
}

// ids lists the journeys of which there is anything, in order.
func (s *journeySet) ids() (list []string) {
	for key := range s.versions {
		list = append(list, key[0])
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// newest is the version that takes people in, else one of those that are kept.
func (s *journeySet) newest(id string) *journey.Journey {
	if j := s.active[id]; j != nil {
		return j
	}
	for _, key := range slices.SortedFunc(maps.Keys(s.versions), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		if key[0] == id {
			return s.versions[key]
		}
	}
	return nil
}

// loadJourneys reads the versions and states that the ledger keeps.
func loadJourneys(d *db.DB, log *slog.Logger) (*journeySet, error) {
	s := &journeySet{active: map[string]*journey.Journey{}, versions: map[[2]string]*journey.Journey{}, states: map[string]journeyState{}}
	err := d.View(func(tx *db.Tx) error {
		list, problems, err := journey.Load(tx)
		if err != nil {
			return err
		}
		for _, p := range problems {
			log.Error("who is in this version of a journey waits until a program reads it", "err", p)
		}
		for _, j := range list {
			s.versions[[2]string{j.ID, j.Revision}] = j
		}
		return tx.Scan(journeyStateSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
			parts, ok := journeyStateSpace.Split(key)
			var st journeyState
			if err := json.Unmarshal(val, &st); !ok || len(parts) != 1 || err != nil {
				return false, fmt.Errorf("stream: damaged state of a journey % x", key)
			}
			s.states[string(parts[0])] = st
			return true, nil
		})
	})
	s.index()
	return s, err
}

// SetJourneys makes the journeys of the files those that take people in. Who is in one that is gone, or was edited, goes
// on under the version by which they entered. The versions are durable when it returns. An error changes nothing: a journey
// may call a system that Config.Providers has no lane for.
func (g *Gateway) SetJourneys(ctx context.Context, list []*journey.Journey) error {
	if err := g.checkCalls(list); err != nil {
		return err
	}
	g.journeys.mu.Lock()
	defer g.journeys.mu.Unlock()
	old := g.journeys.set.Load()
	next := &journeySet{active: map[string]*journey.Journey{}, versions: maps.Clone(old.versions), states: old.states}
	var fresh []*journey.Journey
	for _, j := range list {
		next.active[j.ID] = j
		key := [2]string{j.ID, j.Revision}
		if next.versions[key] == nil {
			fresh = append(fresh, j)
		}
		next.versions[key] = j
	}
	back, err := g.unused(next)
	if err != nil {
		return err
	}
	if len(fresh)+len(back) > 0 {
		err := g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
			for _, j := range fresh {
				if err := j.Store(tx); err != nil {
					return err
				}
			}
			for _, j := range back {
				if err := journey.DropUsed(tx, j.ID, j.Revision); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("stream: keep the versions of journeys: %w", err)
		}
	}
	next.index()
	g.journeys.set.Store(next)
	g.members.poke()
	return nil
}

// unused lists the journeys of the files of which it is noted that they are not.
func (g *Gateway) unused(set *journeySet) (back []*journey.Journey, err error) {
	err = g.cfg.DB.View(func(tx *db.Tx) error {
		used, err := journey.LastUsed(tx)
		for key := range used {
			if j := set.active[key[0]]; j != nil && j.Revision == key[1] {
				back = append(back, j)
			}
		}
		return err
	})
	return back, err
}

// setState keeps what an operator says about a journey. It reports whether that is a change.
func (g *Gateway) setState(ctx context.Context, id string, change func(*journeyState)) (bool, error) {
	g.journeys.mu.Lock()
	defer g.journeys.mu.Unlock()
	old := g.journeys.set.Load()
	if !old.known(id) {
		return false, fmt.Errorf("%w: %q", ErrNoJourney, id)
	}
	st := old.states[id]
	change(&st)
	if st == old.states[id] {
		return false, nil
	}
	val, err := json.Marshal(st)
	if err != nil {
		return false, err
	}
	if err := g.cfg.DB.Update(ctx, func(tx *db.Tx) error { return tx.Set(journeyStateSpace.Key([]byte(id)), val) }); err != nil {
		return false, fmt.Errorf("stream: keep the state of journey %s: %w", id, err)
	}
	next := *old
	next.states = maps.Clone(old.states)
	next.states[id] = st
	g.journeys.set.Store(&next)
	return true, nil
}

// ErrNoJourney: there is no journey with this id.
var ErrNoJourney = errors.New("stream: no such journey")

// journeyEvent moves on everybody whom a customer event concerns.
func (s *settler) journeyEvent(tx *db.Tx, in *input, id, name string, at int64, props map[string]json.RawMessage, t *tally) error {
	ids := s.journeys().byEvent[name]
	if len(ids) == 0 {
		return nil
	}
	p, err := profileOf(tx, in.device)
	if err != nil {
		return err
	}
	what := journey.Input{Kind: journey.Event, ID: id, At: at, Name: name, Props: map[string]any{}}
	for k, raw := range props {
		var v any
		if json.Unmarshal(raw, &v) == nil {
			what.Props[k] = v
		}
	}
	return s.moveAll(tx, ids, &p, &what, nil, t)
}

// journeyTransition does so for a transition. What only an edit has made, and what a phone marks as simulated, is none.
func (s *settler) journeyTransition(tx *db.Tx, p *audience.Profile, in *input, tr *track.Transition, t *tally) error {
	ids := s.journeys().onTransition
	if len(ids) == 0 || tr.Fence == nil || tr.Fix.Mock || tr.Reason&(track.FenceCreated|track.FenceChanged|track.FenceDeleted|track.Stale) != 0 {
		return nil
	}
	what := journey.Input{
		Kind: journey.Transition, ID: decisionID(in.device, tr.Kind.String(), tr.FenceID, tr.At), At: tr.At,
		Transition: tr.Kind, Fence: string(tr.FenceID), Tags: tr.Fence.Tags,
	}
	return s.moveAll(tx, ids, p, &what, tr.Fence.Location, t)
}

// journeyOpened tells a journey that its push has been opened, at a time in Unix ms.
func (s *settler) journeyOpened(tx *db.Tx, d *outbox.Delivery, at int64, t *tally) error {
	var cause deliveryContext
	if len(d.Context) == 0 || json.Unmarshal(d.Context, &cause) != nil || cause.Step == "" {
		return nil
	}
	p, err := profileOf(tx, track.DeviceID(d.Device))
	if err != nil {
		return err
	}
	what := journey.Input{Kind: journey.Opened, ID: "opened " + d.MID, At: at, Step: cause.Step, SentAt: d.CreatedAt}
	return s.moveAll(tx, []string{d.Campaign}, &p, &what, nil, t)
}

// journeySignedIn gives the runs of a device to the person who has signed in on it.
func (s *settler) journeySignedIn(tx *db.Tx, before, p *audience.Profile, t *tally) error {
	from, to := before.Subject(), p.Subject()
	if from == to || before.Person != "" {
		return nil
	}
	set := s.journeys()
	now := tx.Now().UnixMilli()
	for _, id := range set.ids() {
		run, err := journey.Get(tx, id, from)
		if err != nil {
			return err
		}
		j := set.versions[[2]string{id, run.Revision}]
		if !run.Active() || j == nil {
			continue
		}
		was, err := journey.Get(tx, id, to)
		if err != nil {
			return err
		}
		next, effects, carried := j.Join(run, was, now)
		for i := range effects {
			if err := journey.AddCount(tx, id, effects[i].Name, 1); err != nil {
				return err
			}
		}
		t.moved++
		if !carried {
			if err := j.Put(tx, from, &run, &next); err != nil {
				return err
			}
			continue
		}
		if err := j.Carry(tx, from, to, &run, &was, &next); err != nil {
			return err
		}
		if due := next.Due; due != 0 {
			tx.AfterCommit(func() { s.wakes.note(journey.Shard(to), due) })
		}
	}
	return nil
}

func (s *settler) moveAll(tx *db.Tx, ids []string, p *audience.Profile, what *journey.Input, store *time.Location, t *tally) error {
	for _, id := range ids {
		if err := s.move(tx, id, p, what, store, t); err != nil {
			return fmt.Errorf("journey %s: %w", id, err)
		}
	}
	return nil
}

// move puts what happens to a person into one journey: it moves their run on, or lets them in.
func (s *settler) move(tx *db.Tx, id string, p *audience.Profile, what *journey.Input, store *time.Location, t *tally) error {
	set := s.journeys()
	subject := p.Subject()
	run, err := journey.Get(tx, id, subject)
	if err != nil {
		return err
	}
	if run.Active() {
		_, err := s.proceed(tx, set, id, subject, &run, what, t)
		return err
	}
	j := set.active[id]
	if j == nil || !j.EnteredBy(what) || run.Cause == what.ID { // the last: the same input, settled again
		return nil
	}
	_, err = s.enter(tx, set, j, p, &run, what, store, t)
	return err
}

// enter lets a person into a journey, or says why not.
func (s *settler) enter(tx *db.Tx, set *journeySet, j *journey.Journey, p *audience.Profile, run *journey.Run, what *journey.Input, store *time.Location, t *tally) (why string, err error) {
	now := tx.Now()
	f, err := s.facts(tx, set, j, p, p.Subject())
	if err != nil {
		return "", err
	}
	f.Store = store
	why = j.Admit(run, f, now)
	if why == "" && set.states[j.ID].StoppedAt != 0 {
		why = "stopped"
	}
	if why != "" {
		return why, journey.AddCount(tx, j.ID, "held."+why, 1)
	}
	in := *what
	in.Kind = journey.Enter
	if what.Kind != journey.Enter { // only a schedule lets people in later
		in.At = min(in.At, now.UnixMilli())
	}
	next, effects, changed := j.Step(*run, in, *f, now.UnixMilli())
	if !changed {
		return "active", nil
	}
	t.moved++
	return "", s.apply(tx, j, p.Subject(), run, &next, effects, f.Profile, t)
}

// proceed moves a run that is under way. It reports whether that changed anything.
func (s *settler) proceed(tx *db.Tx, set *journeySet, id, subject string, run *journey.Run, what *journey.Input, t *tally) (changed bool, err error) {
	j := set.versions[[2]string{id, run.Revision}]
	if j == nil { // it has been logged at the start
		return false, nil
	}
	now := tx.Now().UnixMilli()
	if set.states[id].StoppedAt != 0 {
		next, effects := j.Stop(*run, journey.WhyStopped, now)
		t.moved++
		return true, s.apply(tx, j, subject, run, &next, effects, nil, t)
	}
	p, err := profileOf(tx, track.DeviceID(run.Device))
	if err != nil {
		return false, err
	}
	f, err := s.facts(tx, set, j, &p, subject)
	if err != nil {
		return false, err
	}
	next, effects, changed := j.Step(*run, *what, *f, now)
	if !changed {
		return false, nil
	}
	t.moved++
	return true, s.apply(tx, j, subject, run, &next, effects, &p, t)
}

// facts reads what the steps of a journey may ask.
func (s *settler) facts(tx *db.Tx, set *journeySet, j *journey.Journey, p *audience.Profile, subject string) (*journey.Facts, error) {
	past := history{subject: subject}
	if err := past.read(tx, p, j.Needs()); err != nil {
		return nil, err
	}
	return &journey.Facts{
		Profile: p, Events: past.events, Visits: past.visits, Hold: set.states[j.ID].PausedAt != 0,
		BestTime: func(sched *campaign.Schedule) (time.Time, string) { return s.bestNext(tx, sched, j.ID, p) },
		Winner: func(step string) string {
			return j.Winner(step, j.Arms(step, func(name string) int64 {
				n, err := journey.CountOf(tx, j.ID, name)
				if err != nil {
					s.log.Error("an experiment's counts cannot be read", "journey", j.ID, "err", err)
				}
				return n
			}))
		},
	}, nil
}

// apply writes what a step has made of a run, and what it wants done.
func (s *settler) apply(tx *db.Tx, j *journey.Journey, subject string, old, run *journey.Run, effects []journey.Effect, p *audience.Profile, t *tally) error {
	counts := map[string]int64{}
	var pushes []CampaignDecision // and calls
	for i := range effects {
		e := &effects[i]
		var err error
		switch e.Kind {
		case journey.Count:
			counts[e.Name]++
		case journey.SetTag:
			err = s.setTag(tx, p, e, counts)
		case journey.Emit:
			err = s.emit(tx, j, subject, run, e)
		case journey.Push:
			var d CampaignDecision
			if d, err = s.journeyPush(tx, j, subject, run, e.Step, p, t); err == nil {
				pushes = append(pushes, d)
				if d.Outcome == campaign.Held {
					run.Note(e.Step, "held: "+string(d.Reason))
				}
			}
		case journey.Webhook:
			var d CampaignDecision
			if d, err = s.journeyCall(tx, j, subject, run, e.Step, p, t); err == nil {
				pushes = append(pushes, d)
			}
		}
		if err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if err := journey.AddCount(tx, j.ID, name, counts[name]); err != nil {
			return err
		}
	}
	if len(pushes) > 0 {
		now := tx.Now().UnixMilli()
		d := Decision{
			ID: decisionID(track.DeviceID(run.Device), kindJourney+"."+j.ID+"."+run.At, fences.ID(run.By+" "+run.Cause), 0), Device: run.Device, Kind: kindJourney,
			Fence: fences.ID(run.Fence), At: now, ReceivedAt: now, Campaigns: pushes,
		}
		if err := s.putDecision(tx, &d); err != nil {
			return err
		}
	}
	if err := j.Put(tx, subject, old, run); err != nil {
		return err
	}
	if run.Due != 0 && run.Due != old.Due {
		due := run.Due
		tx.AfterCommit(func() { s.wakes.note(journey.Shard(subject), due) })
	}
	return nil
}

// kindJourney is the kind of the decision about the pushes of a journey.
const kindJourney = "journey"

// setTag tags the person, or the device while nobody is signed in on it, as an update from the app would.
func (s *settler) setTag(tx *db.Tx, p *audience.Profile, e *journey.Effect, counts map[string]int64) error {
	patch, err := json.Marshal(map[string]any{"user_tags": map[string]any{e.Name: e.Value}})
	if err != nil {
		return err
	}
	before := *p
	made, err := audience.Update(tx, p, patch, tx.Now().UnixMilli())
	if err != nil {
		if errors.Is(err, audience.ErrPatch) { // too many tags, or a name that a tag cannot have
			counts["tag_refused"]++
			return nil
		}
		return err
	}
	if made.Changed {
		if err := s.changing(tx, &before, journey.ChangedProfile, ""); err != nil {
			return err
		}
	}
	return audience.Put(tx, p)
}

// JourneyEvent is the payload of ev.<app>.journey.<journey>.<name>: what a step emits.
type JourneyEvent struct {
	ID      string         `json:"id"`
	App     string         `json:"app"`
	Device  string         `json:"device"`
	Journey string         `json:"journey"`
	Name    string         `json:"name"`
	Step    string         `json:"step"`
	At      int64          `json:"at"`
	Entered int64          `json:"entered"`
	Entry   map[string]any `json:"entry,omitempty"` // properties of the event that the person entered by
}

func (s *settler) emit(tx *db.Tx, j *journey.Journey, subject string, run *journey.Run, e *journey.Effect) error {
	app, device, _ := wire.SplitDevice(track.DeviceID(run.Device))
	id := decisionID(track.DeviceID(subject), "journey."+j.ID+"."+e.Step, fences.ID(run.By), 0)
	return s.events.append(tx, id, wire.JourneySubject(app, j.ID, e.Name), JourneyEvent{
		ID: id, App: app, Device: device, Journey: j.ID, Name: e.Name, Step: e.Step, At: tx.Now().UnixMilli(), Entered: run.Entered, Entry: run.Entry,
	})
}

// runPeriod is the period of claims of a run: one for each way through a journey.
func runPeriod(run *journey.Run) string { return "run " + run.By }

// journeyCause is what a push owes to a journey's step.
type journeyCause struct {
	key      dedupe.Key // of its claim: one for each run and step
	revision string
	step     string
	entry    map[string]any
}

// journeyPush decides about the push of a step, and settles what it decides.
func (s *settler) journeyPush(tx *db.Tx, j *journey.Journey, subject string, run *journey.Run, step string, p *audience.Profile, t *tally) (CampaignDecision, error) {
	c, ok := j.PushAt(step)
	if !ok {
		return CampaignDecision{}, fmt.Errorf("step %s is no push", step)
	}
	now := tx.Now()
	tr := &track.Transition{At: now.UnixMilli(), ConfirmedAt: now.UnixMilli(), FenceID: fences.ID(run.Fence)}
	if s.fences != nil {
		tr.Fence, _ = s.fences().Lookup(tr.FenceID)
	}
	in := input{device: track.DeviceID(p.Device), receivedAt: now.UnixMilli(), transitions: []track.Transition{*tr}, journey: &journeyCause{
		key:      dedupe.Key{Campaign: j.ID, Subject: subject, Scope: step, Period: runPeriod(run)},
		revision: j.Revision, step: step, entry: run.Entry,
	}}
	funnel := t.funnel
	defer func() { t.funnel = funnel }()
	t.funnel = map[funnelKey]int64{}
	d, err := s.inquire(tx, &in, p, subject, t).ask(c, tr)
	if err != nil {
		return d, err
	}
	for i := range d.Checks {
		if d.Checks[i].Rule == "trigger" {
			d.Checks[i].Detail = "step " + step + " of the journey"
		}
	}
	if err := addFunnels(tx, t.funnel); err != nil { // at once: not every caller adds a tally's funnel
		return d, err
	}
	of := Decision{
		ID: decisionID(track.DeviceID(subject), "journey."+j.ID+"."+step, fences.ID(run.By), 0), Device: p.Device, Kind: "journey",
		Fence: tr.FenceID, At: tr.At, ReceivedAt: in.receivedAt, Campaigns: []CampaignDecision{d},
	}
	return d, s.keepEntries(tx, &of, cmp.Or(clockOf(tr), j.Zone()), p)
}

// fire lets a timer end its wait.
func (s *settler) fire(tx *db.Tx, w journey.Wake, t *tally) error {
	set := s.journeys()
	run, err := journey.Get(tx, w.Journey, w.Subject)
	if err != nil {
		return err
	}
	if !run.Active() || run.Due != w.Due {
		return journey.Drop(tx, w)
	}
	st := set.states[w.Journey]
	if st.PausedAt != 0 && st.StoppedAt == 0 || set.versions[[2]string{w.Journey, run.Revision}] == nil {
		return journey.Park(tx, w)
	}
	changed, err := s.proceed(tx, set, w.Journey, w.Subject, &run, &journey.Input{Kind: journey.Timer, At: w.Due}, t)
	if err == nil && !changed {
		return journey.Drop(tx, w)
	}
	return err
}

// journeyCampaign finds the push step that a delivery was made by.
func (g *Gateway) journeyCampaign(d *outbox.Delivery, dc *deliveryContext) (*campaign.Campaign, bool) {
	set := g.journeys.set.Load()
	j := set.versions[[2]string{d.Campaign, dc.Journey}]
	if j == nil || set.states[d.Campaign].StoppedAt != 0 {
		return nil, false
	}
	return j.PushAt(dc.Step)
}
