package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"footfall/audience"
	"footfall/internal/db"
	"footfall/journey"
	"footfall/outbox"
	"footfall/stream/wire"
	"footfall/track"
)

// JourneyView is what is known of a journey.
type JourneyView struct {
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"`
	Revision string `json:"revision,omitempty"` // of those who enter now; "" when it is not in the files
	State    string `json:"state"`              // running, paused, stopped, or gone: not in the files, takes nobody in
	// Counts: entered, goal, ended.REASON, held.REASON, step.ID.BRANCH, and of webhook steps step.ID.called and call.ID.STATE.
	Counts map[string]int64 `json:"counts"`
	// Waiting is who is under way: entered, and not ended.
	Waiting int64 `json:"waiting"`
	// Steps, Where and Experiments are of one journey that is asked about.
	Steps       []string                 `json:"steps,omitempty"`
	Where       map[string]int64         `json:"where,omitempty"`       // waiting, by step; of the first Looked
	Looked      int64                    `json:"looked,omitempty"`      //
	Versions    map[string]int64         `json:"versions,omitempty"`    // likewise, by revision
	Experiments map[string][]journey.Arm `json:"experiments,omitempty"` //
	Winners     map[string]string        `json:"winners,omitempty"`     // of experiments that are decided
	Run         *journey.Run             `json:"run,omitempty"`         // of the person that is asked about
	Subject     string                   `json:"subject,omitempty"`     // of Run
}

// JourneyRequest asks about one journey, and about one device's person in it.
type JourneyRequest struct {
	Journey string `json:"journey"`
	Device  string `json:"device,omitempty"` // <app>.<device>
}

// JourneyAnswer is what was done about a journey.
type JourneyAnswer struct {
	Journey   string `json:"journey"`
	Changed   bool   `json:"changed"`             // false: it was so already
	Cancelled int    `json:"cancelled,omitempty"` // pushes and calls that were owed
	Ended     int    `json:"ended,omitempty"`     // runs
	Resumed   int    `json:"resumed,omitempty"`   // waits that were over meanwhile, or go on
	Migrated  int    `json:"migrated,omitempty"`
	Left      int    `json:"left,omitempty"` // runs that stay as they are: under this version already, or at a step that it does not have
	// Gone are messages that the provider has taken, and that nobody can call back: the newest thousand at most. GoneCalls are
	// likewise those that another system has taken.
	Gone      []string `json:"gone,omitempty"`
	GoneCalls []string `json:"gone_calls,omitempty"`
}

// JourneyEnter puts somebody into a journey that takes people in by API.
type JourneyEnter struct {
	Journey string         `json:"journey"`
	App     string         `json:"app"`
	Device  string         `json:"device"`
	ID      string         `json:"id"` // of this request; the same again has no effect, for 8 days
	Props   map[string]any `json:"props,omitempty"`
}

// JourneyEntered says whether they are in it, or why not.
type JourneyEntered struct {
	Entered bool   `json:"entered"`
	Reason  string `json:"reason,omitempty"`
}

func stateOf(s *journeySet, id string) string {
	switch st := s.states[id]; {
	case st.StoppedAt != 0:
		return "stopped"
	case st.PausedAt != 0:
		return "paused"
	case s.active[id] == nil:
		return "gone"
	}
	return "running"
}

// JourneyViews lists every journey that is in the files or that somebody may still be in.
func (g *Gateway) JourneyViews() (views []JourneyView, err error) {
	set := g.journeys.set.Load()
	err = g.cfg.DB.View(func(tx *db.Tx) error {
		for _, id := range set.ids() {
			v, err := viewJourney(tx, set, id)
			if err != nil {
				return err
			}
			views = append(views, v)
		}
		return nil
	})
	return views, err
}

func viewJourney(tx *db.Tx, set *journeySet, id string) (v JourneyView, err error) {
	v = JourneyView{ID: id, State: stateOf(set, id)}
	if j := set.active[id]; j != nil {
		v.Name, v.Revision = j.Name, j.Revision
	}
	if v.Counts, err = journey.Counts(tx, id); err != nil {
		return v, err
	}
	v.Waiting = v.Counts["entered"]
	for name, n := range v.Counts {
		if strings.HasPrefix(name, "ended.") {
			v.Waiting -= n
		}
	}
	return v, nil
}

// showMost bounds the runs that a view looks at.
const showMost = 200_000

// ShowJourney tells about one journey, or about a person in it.
func (g *Gateway) ShowJourney(ctx context.Context, q JourneyRequest) (v JourneyView, err error) {
	if err := journeyDevice(&q); err != nil {
		return v, err
	}
	set := g.journeys.set.Load()
	if !set.known(q.Journey) {
		return v, fmt.Errorf("%w: %q", ErrNoJourney, q.Journey)
	}
	err = g.cfg.DB.View(func(tx *db.Tx) error {
		if v, err = viewJourney(tx, set, q.Journey); err != nil {
			return err
		}
		if q.Device != "" {
			return v.person(tx, q)
		}
		if j := set.newest(q.Journey); j != nil {
			v.Steps = j.Describe()
			v.Experiments = j.Experiments(func(name string) int64 { return v.Counts[name] })
			for step, arms := range v.Experiments {
				if name := j.Winner(step, arms); name != "" {
					if v.Winners == nil {
						v.Winners = map[string]string{}
					}
					v.Winners[step] = name
				}
			}
		}
		v.Where, v.Versions = map[string]int64{}, map[string]int64{}
		return journey.Runs(tx, q.Journey, "", func(_ string, r *journey.Run) (bool, error) {
			if v.Looked++; r.Active() {
				v.Where[r.At]++
				v.Versions[r.Revision]++
			}
			return v.Looked < showMost && ctx.Err() == nil, nil
		})
	})
	return v, err
}

// person fills in the run of a device's person.
func (v *JourneyView) person(tx *db.Tx, q JourneyRequest) error {
	p, ok, err := audience.Get(tx, q.Device)
	if err != nil {
		return err
	}
	if !ok {
		p.Device = q.Device
	}
	v.Subject = p.Subject()
	r, err := journey.Get(tx, q.Journey, v.Subject)
	if err == nil && r.Entered != 0 {
		v.Run = &r
	}
	return err
}

// EnterJourney puts somebody into a journey. What it answers is durable.
func (g *Gateway) EnterJourney(ctx context.Context, q JourneyEnter) (a JourneyEntered, err error) {
	id, err := wire.JoinDevice(q.App, q.Device)
	if err != nil {
		return a, fmt.Errorf("%w: %w", ErrQuery, err)
	}
	if q.ID == "" || len(q.ID) > 128 {
		return a, fmt.Errorf("%w: id: 1 to 128 bytes that name this request, so that it may be repeated", ErrQuery)
	}
	var t tally
	err = g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		t, a = tally{funnel: map[funnelKey]int64{}}, JourneyEntered{}
		set := g.journeys.set.Load()
		j := set.active[q.Journey]
		switch {
		case j == nil:
			return fmt.Errorf("%w: %q", ErrNoJourney, q.Journey)
		case !j.API:
			return fmt.Errorf("%w: journey %s takes nobody in by API; its entry needs api: true", ErrQuery, j.ID)
		}
		cause := decisionID(id, "journey.enter."+j.ID, "", 0) + " " + q.ID
		seen := seenSpace.Key([]byte(cause))
		if _, err := tx.Get(seen); !errors.Is(err, db.ErrNotFound) {
			a.Reason = "repeated"
			return err
		}
		p, err := profileOf(tx, id)
		if err != nil {
			return err
		}
		run, err := journey.Get(tx, j.ID, p.Subject())
		if err != nil {
			return err
		}
		what := journey.Input{Kind: journey.Enter, ID: cause, At: tx.Now().UnixMilli(), Props: q.Props}
		if a.Reason, err = g.settler.enter(tx, set, j, &p, &run, &what, nil, &t); err != nil {
			return err
		}
		a.Entered = a.Reason == ""
		return tx.SetUntil(seen, nil, tx.Now().Add(seenFor))
	})
	if err == nil && t.deliveries > 0 {
		g.outbox.Notify()
	}
	return a, err
}

// PauseJourney lets nobody move on, nor in, until ResumeJourney. What happens to those who wait is remembered; pushes
// that have been decided go out.
func (g *Gateway) PauseJourney(ctx context.Context, id string) (a JourneyAnswer, err error) {
	a.Journey = id
	a.Changed, err = g.setState(ctx, id, func(st *journeyState) {
		if st.PausedAt == 0 {
			st.PausedAt = g.cfg.Now().UnixMilli()
		}
	})
	if err == nil && a.Changed {
		g.cfg.Logger.Info("journey paused by an operator", "journey", id)
	}
	return a, err
}

// opsPage bounds what one transaction of an order does.
const opsPage = 256

// ResumeJourney undoes PauseJourney: waits that were over meanwhile end now, the others when they are.
func (g *Gateway) ResumeJourney(ctx context.Context, id string) (a JourneyAnswer, err error) {
	a.Journey = id
	if a.Changed, err = g.setState(ctx, id, func(st *journeyState) { st.PausedAt = 0 }); err != nil {
		return a, err
	}
	// Also when it was not paused: a resume that was cut off is finished so.
	for {
		var list []journey.Wake
		err := g.cfg.DB.Update(ctx, func(tx *db.Tx) (err error) {
			list, err = journey.Unpark(tx, id, opsPage)
			return err
		})
		for _, w := range list {
			if err == nil {
				g.wakes.note(journey.Shard(w.Subject), w.Due)
			}
		}
		if a.Resumed += len(list); err != nil || len(list) < opsPage {
			g.cfg.Logger.Info("journey resumed by an operator", "journey", id, "waits", a.Resumed)
			return a, err
		}
	}
}

// StopJourney ends everybody's run, cancels the pushes that are owed, and takes nobody in until StartJourney, through
// restarts. After an error the journey is stopped, and the rest ends when it would have moved on, or with another order.
func (g *Gateway) StopJourney(ctx context.Context, id string) (a JourneyAnswer, err error) {
	a.Journey = id
	a.Changed, err = g.setState(ctx, id, func(st *journeyState) {
		if st.StoppedAt == 0 {
			st.StoppedAt = g.cfg.Now().UnixMilli()
		}
	})
	if err != nil {
		return a, err
	}
	defer g.outbox.HoldCampaign(id)()
	if a.Cancelled, err = g.cancel(ctx, id, "stopped by an operator"); err != nil {
		return a, err
	}
	if a.Ended, err = g.endRuns(ctx, id); err != nil {
		return a, err
	}
	err = g.cfg.DB.View(func(tx *db.Tx) error {
		return outbox.List(tx, outbox.Filter{State: outbox.StateAccepted, Campaign: id}, func(d *outbox.Delivery) bool {
			list := &a.Gone
			if isCall(d) {
				list = &a.GoneCalls
			}
			if len(*list) == outboxMost {
				*list = (*list)[1:]
			}
			*list = append(*list, d.MID)
			return true
		})
	})
	g.cfg.Logger.Info("journey stopped by an operator", "journey", id, "cancelled", a.Cancelled, "ended", a.Ended)
	return a, err
}

// endRuns stops every run of a journey that is under way.
func (g *Gateway) endRuns(ctx context.Context, id string) (n int, err error) {
	n, _, err = g.eachRun(ctx, id, func(tx *db.Tx, subject string, r *journey.Run) (bool, error) {
		return g.settler.proceed(tx, g.journeys.set.Load(), id, subject, r, &journey.Input{}, &tally{funnel: map[funnelKey]int64{}})
	})
	return n, err
}

// eachRun calls fn for every run of a journey that is under way, a page in a transaction, and counts those that it has
// changed and those that it has left.
func (g *Gateway) eachRun(ctx context.Context, id string, fn func(*db.Tx, string, *journey.Run) (bool, error)) (n, left int, err error) {
	for after, more := "", true; more; {
		changed, kept, last := 0, 0, after
		err := g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
			changed, kept, last, more = 0, 0, after, false
			seen := 0
			return journey.Runs(tx, id, after, func(subject string, r *journey.Run) (bool, error) {
				seen++
				if last, more = subject, seen == opsPage; r.Active() {
					did, err := fn(tx, subject, r)
					if err != nil {
						return false, err
					}
					if did {
						changed++
					} else {
						kept++
					}
				}
				return !more, nil
			})
		})
		if err != nil {
			return n, left, err
		}
		n, left, after = n+changed, left+kept, last
	}
	return n, left, nil
}

// StartJourney undoes StopJourney: people may enter again. Those who were in it do not come back.
func (g *Gateway) StartJourney(ctx context.Context, id string) (a JourneyAnswer, err error) {
	a.Journey = id
	if stateOf(g.journeys.set.Load(), id) == "stopped" { // what a stop that was cut off has left is not to go on
		if a.Ended, err = g.endRuns(ctx, id); err != nil {
			return a, err
		}
	}
	a.Changed, err = g.setState(ctx, id, func(st *journeyState) { st.StoppedAt = 0 })
	return a, err
}

// MigrateJourney moves everybody who can be moved to the version that is in the files.
func (g *Gateway) MigrateJourney(ctx context.Context, id string) (a JourneyAnswer, err error) {
	a.Journey = id
	a.Migrated, a.Left, err = g.eachRun(ctx, id, func(tx *db.Tx, subject string, r *journey.Run) (bool, error) {
		set := g.journeys.set.Load()
		to, from := set.active[id], set.versions[[2]string{id, r.Revision}]
		if to == nil {
			return false, fmt.Errorf("%w: %q is not in the files", ErrNoJourney, id)
		}
		if from == nil {
			return false, nil
		}
		next, ok := to.Migrate(*r, from)
		if !ok {
			return false, nil
		}
		return true, to.Put(tx, subject, r, &next)
	})
	a.Changed = a.Migrated > 0
	return a, err
}

// journeyDevice checks the device of a request.
func journeyDevice(q *JourneyRequest) error {
	if q.Device == "" {
		return nil
	}
	if _, _, ok := wire.SplitDevice(track.DeviceID(q.Device)); !ok {
		return fmt.Errorf("%w: %q is no APP.DEVICE", ErrQuery, q.Device)
	}
	return nil
}
