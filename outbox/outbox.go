package outbox

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// Outbox sends what Enqueue has written. Safe for concurrent use.
type Outbox struct {
	cfg   Config
	lanes map[string]*lane

	mu       sync.Mutex
	changed  sync.Cond           // inFlight has lost a row
	inFlight map[string]struct{} // message ids leased by this process
	stopping map[string]int      // campaigns that CancelCampaign is clearing
	here     map[string]struct{} // devices that have come, see Here
	came     map[string]string   // message ids in flight whose device has come meanwhile -> the device
	counts   counts
	spent    [][]byte // keys of leases that say nothing any more

	hereWake     chan struct{}
	leaseID      atomic.Uint64          // the number of the last lease
	memory       atomic.Pointer[memory] // of cfg.DB; nil before the first lease
	recovering   sync.Mutex
	recoveredAll bool // what a dead process had leased; guarded by recovering

	// outcomes wait to be recorded; there is room for all that lanes may hold,
	// so that a worker never waits for the disk.
	outcomes chan *change

	walked func(from, to State) // for tests: each arrow that is taken
}

// New checks cfg and makes an outbox. It reads nothing: opening costs the same
// with a million rows as with none. Nothing is sent before Run.
func New(cfg Config) (*Outbox, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	o := &Outbox{
		cfg:      cfg,
		lanes:    make(map[string]*lane, len(cfg.Providers)),
		inFlight: make(map[string]struct{}),
		stopping: make(map[string]int),
		here:     make(map[string]struct{}),
		came:     make(map[string]string),
		hereWake: make(chan struct{}, 1),
		counts:   counts{finals: make(map[State]int64), suppressed: make(map[string]int64)},
		outcomes: make(chan *change, heldPerWorker*cfg.Workers*max(1, len(cfg.Providers))),
	}
	o.changed.L = &o.mu
	o.leaseID.Store(rand.Uint64())
	for name, p := range cfg.Providers {
		o.lanes[name] = newLane(o, name, p)
	}
	return o, nil
}

// Run, which is called once, sends until ctx ends, then starts nothing new, waits for the requests in
// flight and records their outcomes, and returns nil. That takes as long as
// Config.AttemptTimeout at most, unless the database refuses to write.
func (o *Outbox) Run(ctx context.Context) error {
	if !o.recoverUntil(ctx) {
		return nil
	}
	var sending, recording sync.WaitGroup
	recording.Go(func() { o.recordOutcomes(ctx) })
	for _, l := range o.lanes {
		sending.Go(func() { l.run(ctx) })
	}
	sending.Go(func() { o.expireRows(ctx) })
	sending.Go(func() { o.seeHere(ctx) })
	sending.Wait()
	close(o.outcomes)
	recording.Wait()
	return nil
}

// Notify says that rows have been enqueued. It never blocks; without it they
// are found within pollEvery.
func (o *Outbox) Notify() {
	for _, l := range o.lanes {
		l.poke()
	}
}

// Resume ends a lane's pause or hold at once and begins a new judgement of its
// tokens, for an operator who has mended the cause. It reports whether there is
// such a lane.
func (o *Outbox) Resume(lane string) bool {
	l, ok := o.lanes[lane]
	if ok {
		l.resume()
	}
	return ok
}

// TrustsTokens reports whether a token that a lane's provider calls dead may be
// deleted: not while so many are that something else must be wrong.
func (o *Outbox) TrustsTokens(lane string) bool {
	l, ok := o.lanes[lane]
	return ok && !l.guard.now(o.cfg.Now()).distrust
}

// Lanes lists the names of the lanes in order.
func (o *Outbox) Lanes() []string { return slices.Sorted(maps.Keys(o.lanes)) }

// take marks a row as in flight; false when it is already.
func (o *Outbox) take(mid string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, dup := o.inFlight[mid]; dup {
		return false
	}
	o.inFlight[mid] = struct{}{}
	return true
}

func (o *Outbox) taken(mid string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.inFlight[mid]
	return ok
}

// drop undoes take.
func (o *Outbox) drop(mid string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.inFlight, mid)
	if device, ok := o.came[mid]; ok {
		delete(o.came, mid)
		o.here[device] = struct{}{}
		o.pokeHere()
	}
	o.changed.Broadcast()
}

// counts are totals since New, guarded by Outbox.mu.
type counts struct {
	finals                              map[State]int64
	suppressed                          map[string]int64 // by reason
	doubts, stale, hookFails, claimOdds int64
	damaged                             int64 // leases
}

// Stats is a snapshot for health and metrics.
type Stats struct {
	// Finals counts rows by the final state they came to.
	Finals map[State]int64
	// Suppressed counts rows by the reason that Compose gave.
	Suppressed map[string]int64
	// Doubts counts outcomes that nobody knows, including leases that a crash
	// left behind.
	Doubts int64
	// Stale counts outcomes for rows that were no longer being sent.
	Stale int64
	// HookErrors counts changes written without OnOutcome; see Config.
	HookErrors int64
	// ClaimErrors counts claims that were not there to be settled.
	ClaimErrors int64
	// Damaged counts records of what was being sent that could not be read at
	// the start.
	Damaged int64
	Lanes   map[string]LaneStats
}

// Stats returns the current figures. The maps are fresh.
func (o *Outbox) Stats() Stats {
	o.mu.Lock()
	s := Stats{
		Finals: maps.Clone(o.counts.finals), Suppressed: maps.Clone(o.counts.suppressed),
		Doubts: o.counts.doubts, Stale: o.counts.stale,
		HookErrors: o.counts.hookFails, ClaimErrors: o.counts.claimOdds, Damaged: o.counts.damaged,
		Lanes: make(map[string]LaneStats, len(o.lanes)),
	}
	o.mu.Unlock()
	for name, l := range o.lanes {
		s.Lanes[name] = l.stats()
	}
	return s
}

// count adds to the totals.
func (o *Outbox) count(f func(*counts)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f(&o.counts)
}
