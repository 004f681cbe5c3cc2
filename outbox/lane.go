package outbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"footfall/internal/latency"
	"footfall/push"
)

// latencyBounds are the upper bounds of the buckets of every latency, in seconds: from a provider next door to a row that waited out an
// outage.
var latencyBounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900}

// lane sends the rows of one (provider, app, environment). Its two queues, for
// entries and for announcements, share everything here.
type lane struct {
	o        *Outbox
	name     string
	provider push.Provider
	gov      *governor
	breaker  *gobreaker.TwoStepCircuitBreaker[struct{}]
	pacer    *pacer
	guard    guard
	entries  *queue
	bulk     *queue
	jobs     chan *change // leased, not begun; has room for all that may be held

	request, accepted *latency.Counter // one attempt; enqueued to accepted

	// mu guards what follows. Never call the breaker with mu held: its callback
	// takes mu.
	mu       sync.Mutex
	workers  int // goroutines that send
	flying   int // requests that have begun and not ended
	heldTill time.Time
	rests    time.Time // the breaker is open until then
	rested   bool      // what has gathered in the bucket is to be lost
	probing  bool      // one request at a time, until one is answered well
	lost     time.Time // the last time that a request got no answer
	alarms   alarms
	texts    texts
	refused  int // calls that were refused in a row
	classes  map[push.Class]int64
	finals   map[State]int64
	unknown  int64
	puzzled  time.Time // the last answer that no table knows
}

// puzzledFor is how long the alarm about an unknown answer lasts.
const puzzledFor = 10 * time.Minute

// lostTogether is within what requests without an answer count as one failure.
const lostTogether = 200 * time.Millisecond

// Results that the breaker is told of.
var (
	errLaneBad     = errors.New("outbox: failure of the lane")
	errLaneNeutral = errors.New("outbox: says nothing about the lane")
)

func newLane(o *Outbox, name string, p push.Provider) *lane {
	l := &lane{
		request: latency.NewCounter(latencyBounds), accepted: latency.NewCounter(latencyBounds),
		o: o, name: name, provider: p,
		gov:     newGovernor(o.cfg.rate(name)),
		pacer:   newPacer(o.cfg.DeviceEvery, o.cfg.DeviceBurst),
		jobs:    make(chan *change, heldPerWorker*o.cfg.Workers),
		alarms:  alarms{},
		texts:   texts{},
		classes: make(map[push.Class]int64),
		finals:  make(map[State]int64),
	}
	l.entries = newQueue(l, false, heldPerWorker*o.cfg.Workers)
	// Announcements leave room among the workers, so that an entry finds one.
	l.bulk = newQueue(l, true, max(1, o.cfg.Workers/2))
	l.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         name,
		Interval:     10 * time.Second,
		BucketPeriod: time.Second,
		Timeout:      o.cfg.BreakerPause,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			answered := c.TotalSuccesses + c.TotalFailures // those in flight say nothing yet
			return answered >= 20 && 2*c.TotalFailures >= answered
		},
		IsExcluded:    func(err error) bool { return errors.Is(err, errLaneNeutral) },
		OnStateChange: l.breakerChanged,
	})
	return l
}

func (l *lane) breakerChanged(_ string, from, to gobreaker.State) {
	log := l.o.cfg.Logger
	l.mu.Lock()
	switch to {
	case gobreaker.StateOpen:
		l.rests = time.Now().Add(l.o.cfg.BreakerPause + time.Millisecond)
		if l.alarms.raise(l.name, AlarmProvider, "half of the answers are failures; the lane rests and probes", time.Now()) {
			log.Error("provider fails; the lane rests and probes", "lane", l.name, "pause", l.o.cfg.BreakerPause)
		}
	case gobreaker.StateClosed:
		if l.alarms.end(AlarmProvider) {
			log.Info("provider answers again", "lane", l.name)
		}
	}
	l.mu.Unlock()
	if to == gobreaker.StateClosed {
		l.gov.slower() // everybody who waited comes at once
	}
	l.poke()
}

// queueOf is the queue that feeds d.
func (l *lane) queueOf(d *Delivery) *queue {
	if d.Bulk {
		return l.bulk
	}
	return l.entries
}

// poke wakes both queues.
func (l *lane) poke() {
	l.entries.poke()
	l.bulk.poke()
}

// resume forgets what holds the lane back, and its alarms: an operator says
// that their cause is mended. The next answers tell.
func (l *lane) resume() {
	l.mu.Lock()
	l.heldTill = time.Time{}
	clear(l.alarms)
	clear(l.texts)
	l.refused = min(l.refused, callRefusals-1) // one more, and it pauses again
	l.mu.Unlock()
	l.guard.forget()
	l.poke()
}

// run sends until ctx ends and then waits for what it has started.
func (l *lane) run(ctx context.Context) {
	var jobs, feeders sync.WaitGroup
	for _, q := range []*queue{l.entries, l.bulk} {
		feeders.Go(func() { q.run(ctx, &jobs) })
	}
	feeders.Wait()
	jobs.Wait()
}

// begin hands leased rows to the workers and sees to it that there are enough.
func (l *lane) begin(ctx context.Context, leased []*change, jobs *sync.WaitGroup) {
	for _, c := range leased {
		l.jobs <- c // has room for all that the queues may hold
		l.mu.Lock()
		more := l.workers < l.o.cfg.Workers
		if more {
			l.workers++
		}
		l.mu.Unlock()
		if more {
			jobs.Go(func() { l.work(ctx) })
		}
	}
}

// work sends what is leased until there is nothing left.
func (l *lane) work(ctx context.Context) {
	for {
		select {
		case c := <-l.jobs:
			l.send(ctx, c)
			continue
		default:
		}
		l.mu.Lock()
		if len(l.jobs) > 0 { // came in since
			l.mu.Unlock()
			continue
		}
		l.workers--
		l.mu.Unlock()
		return
	}
}

// open returns how many rows may be in flight at once, 0 with the time until
// it is worth asking again.
func (l *lane) open() (slots int, wait time.Duration) {
	state := l.breaker.State()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	until := l.heldTill
	if state == gobreaker.StateOpen {
		for _, t := range []time.Time{l.rests, now.Add(time.Millisecond)} {
			if t.After(until) {
				until = t
			}
		}
	}
	switch {
	case until.After(now):
		l.rested = true
		return 0, until.Sub(now)
	case l.probing || state == gobreaker.StateHalfOpen:
		l.rested = true
		return 1, 0
	case l.rested:
		l.rested = false
		l.gov.empty()
	}
	return heldPerWorker * l.o.cfg.Workers, 0
}

// heldPerWorker: for each row that is being sent one is ready, the lease of one
// is being written, and the outcome of one.
const heldPerWorker = 4

// enter reports whether a request may begin now; one that was leased before
// the lane was held may not. leave ends what enter has begun.
func (l *lane) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heldTill.After(time.Now()) || l.probing && l.flying > 0 {
		return false
	}
	l.flying++
	return true
}

func (l *lane) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flying--
}

// held counts the rows that the lane has leased and not yet settled.
func (l *lane) held() int { return int(l.entries.held.Load() + l.bulk.held.Load()) }

// hold lets nothing begin before d has passed. mu is held.
func (l *lane) hold(d time.Duration) {
	if till := time.Now().Add(d); till.After(l.heldTill) {
		l.heldTill = till
	}
}

// observe applies what an answer says about the lane and returns what the
// breaker is to be told.
func (l *lane) observe(out push.Outcome) error {
	act := actionFor(out.Class, out.Sent)
	if act.slow || out.Status == 503 {
		l.gov.slower()
	}
	now := l.o.cfg.Now()
	said := l.guard.now(now)
	if act.token {
		dead := out.Class == push.TokenDead || out.Class == push.TokenBad
		said = l.guard.add(now, dead, out.Class == push.TokenForeign)
	}
	log := l.o.cfg.Logger
	l.mu.Lock()
	defer l.mu.Unlock()
	l.classes[out.Class]++
	if out.Unknown {
		l.puzzled = time.Now()
		l.alarms.raise(l.name, AlarmUnknown, fmt.Sprintf("the provider does not document its answer %q (%d)", out.Reason, out.Status), l.puzzled)
		if l.unknown++; l.unknown&(l.unknown-1) == 0 { // the first, and ever fewer: a proxy's pages may be many
			log.Warn("the provider answered in a way that it does not document", "lane", l.name, "status", out.Status,
				"reason", out.Reason, "class", string(out.Class), "so_far", l.unknown)
		}
	}
	l.judge(said)
	switch act.lane {
	case laneGood:
		l.well()
		return nil
	case laneCalls:
		return l.callRefused(out)
	case laneBad:
		if out.Status == 0 && out.Sent {
			// A connection that dies takes all its requests along. That is one failure, not dozens: the next
			// connection may be sound, and a lane that rested would keep owed pushes from it.
			before := l.lost
			if l.lost = time.Now(); l.lost.Sub(before) < lostTogether {
				return errLaneNeutral
			}
		}
		return errLaneBad
	case laneHold:
		l.hold(delayFor(delayLane, &Delivery{}, out.RetryAfter, 0))
		log.Warn("provider asks for less; the lane waits", "lane", l.name, "reason", out.Reason, "until", l.heldTill)
	case lanePause:
		l.hold(max(l.o.cfg.AuthPause, out.RetryAfter))
		l.probing = true
		if l.alarms.raise(l.name, AlarmCredentials, fmt.Sprintf("credentials refused: %s (%d)", out.Reason, out.Status), time.Now()) {
			log.Error("credentials refused; the lane pauses", "lane", l.name, "status", out.Status, "reason", out.Reason)
		}
		return errLaneBad
	case laneAlarm:
		if l.alarms.raise(l.name, AlarmConfiguration, fmt.Sprintf("configuration refused: %s (%d)", out.Reason, out.Status), time.Now()) {
			log.Error("provider says that the configuration is wrong", "lane", l.name, "status", out.Status, "reason", out.Reason)
		}
	}
	return errLaneNeutral
}

// judge raises and ends the alarms about tokens, and ends that about unknown
// answers. mu is held.
func (l *lane) judge(v verdict) {
	log, now := l.o.cfg.Logger, time.Now()
	switch {
	case v.distrust:
		text := fmt.Sprintf("%d of %d tokens were called dead within %v; none is deleted", v.dead, v.answers, guardWindow)
		if l.alarms.raise(l.name, AlarmTokens, text, now) {
			log.Error("too many tokens are called dead: deleting stops", "lane", l.name, "dead", v.dead, "answers", v.answers)
		}
	case l.alarms.end(AlarmTokens):
		log.Info("tokens that are called dead are deleted again", "lane", l.name, "dead", v.dead, "answers", v.answers)
	}
	if now.Sub(l.puzzled) >= puzzledFor && l.alarms.end(AlarmUnknown) {
		log.Info("no more answers that the provider does not document", "lane", l.name)
	}
	switch {
	case v.foreign:
		text := fmt.Sprintf("%d of %d tokens belong to another sender", v.strange, v.answers)
		if l.alarms.raise(l.name, AlarmForeign, text, now) {
			log.Error("tokens of another sender", "lane", l.name, "foreign", v.strange, "answers", v.answers)
		}
	case l.alarms.end(AlarmForeign):
		log.Info("no more tokens of another sender", "lane", l.name)
	}
}

// LaneStats is a snapshot of one lane.
type LaneStats struct {
	// InFlight counts rows that are leased: sending, or waiting for a worker or
	// for the disk.
	InFlight int
	// Rate is how many requests per second are allowed now, BaseRate when all is
	// well.
	Rate, BaseRate float64
	// Breaker is "closed", "half-open" or "open".
	Breaker string
	// HeldUntil is when a pause or a provider's 429 ends; zero: not held.
	HeldUntil time.Time
	// Alarms say what an operator has to mend, by kind; none is fine.
	Alarms []Alarm
	// Classes counts answers.
	Classes map[push.Class]int64
	// Finals counts rows that came to a final state in this lane.
	Finals map[State]int64
	// Request is the time of one attempt, Accepted that from enqueueing to the
	// provider's acceptance.
	Request, Accepted latency.Histogram
	// UnknownReasons counts answers that the provider does not document, the
	// metric push_unknown_reason; see push.Outcome.
	UnknownReasons int64
}

func (l *lane) stats() LaneStats {
	state := l.breaker.State().String()
	said := l.guard.now(l.o.cfg.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.judge(said) // time alone may have ended an alarm
	s := LaneStats{
		UnknownReasons: l.unknown,
		InFlight:       l.held(), Rate: l.gov.now(), BaseRate: l.gov.base, Breaker: state, Alarms: l.alarms.list(),
		Classes: make(map[push.Class]int64, len(l.classes)), Finals: make(map[State]int64, len(l.finals)),
		Request: l.request.Histogram(), Accepted: l.accepted.Histogram(),
	}
	if l.heldTill.After(time.Now()) {
		s.HeldUntil = l.heldTill
	}
	for c, n := range l.classes {
		s.Classes[c] = n
	}
	for state, n := range l.finals {
		s.Finals[state] = n
	}
	return s
}
