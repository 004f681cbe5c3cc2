package stream

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/push"
	"footfall/reach"
	"footfall/receipt"
	"footfall/stream/natsd"
	"footfall/stream/wire"
	"footfall/track"
)

// Config is what a Gateway is made of. DB and Server are opened by the caller, who closes them after Run.
type Config struct {
	Server *natsd.Server
	DB     *db.DB
	Rules  track.Rules // track.DefaultRules() when zero
	Ingest IngestConfig
	Log    LogConfig
	Events EventsConfig

	// Checkpoint is how often the presence of changed devices is written. Default 30 s. It bounds how much of
	// the log a start after a crash reads again, and must be well below Log.MaxAge.
	Checkpoint time.Duration
	// Decisions is how long the records behind explain are kept. Default 7 days.
	Decisions time.Duration
	// Reports is how long the facts are kept that reports are made of, counted from when they happened. Default
	// funnel.KeepFacts.
	Reports time.Duration
	// Visits and CustomerEvents are how long those are kept for audiences, counted from when they happened. Defaults
	// audience.KeepVisits and audience.KeepEvents.
	Visits, CustomerEvents time.Duration
	// Sketches is how long it is kept how many came to each fence in each hour, for forecasts. Default reach.Keep.
	Sketches time.Duration

	// Caps hold the pushes of all campaigns together (campaign.ParseCaps); those of exempt campaigns are outside.
	Caps []campaign.Cap

	// Providers by lane, and the lane of a device's pushes; ok is false when nothing serves its platform.
	Providers map[string]push.Provider
	Lane      func(app string, p *audience.Profile) (lane string, ok bool)
	// InApp is the lane of what the app itself gets and no push service; its provider is among Providers. Empty: there is none.
	InApp string
	// Outbox carries the delivery settings; DB, Providers, Compose, OnOutcome, Another, Arrived, Now and Logger are filled in.
	Outbox outbox.Config

	// Receipts signs the messages and checks what comes back. Default: a secret of this run alone, with which
	// receipts of messages that an earlier run sent are refused.
	Receipts *receipt.Keyring

	// Now is the clock that stamps receive times and judges expiry. Default time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Gateway is the whole path from subscription to push. New, SetFences and SetCampaigns, then Run once.
// SetFences, SetCampaigns, Explain and Status are safe for concurrent use, before, while and after it runs.
type Gateway struct {
	cfg        Config
	nc         *nats.Conn // intake and answers
	jsc        *nats.Conn // log and events
	js         jetstream.JetStream
	count      counters
	collector  *collector
	logs       [Partitions]inputLog // once restored
	workers    [Partitions]*worker
	settler    *settler
	events     *eventLog
	outbox     *outbox.Outbox
	retired    *retired
	nearFlood  *floodGuard // of the goroutine that tells devices which fences are near
	hereFlood  *floodGuard // of the goroutine that hears which devices are there
	ready      chan struct{}
	restored   atomic.Bool  // the workers are there
	counting   atomic.Bool  // an audience is being counted
	rounds     atomic.Int64 // how often schedules were looked at, for tests
	swept      atomic.Int64 // how often nothing was left to find out about segments, for tests
	reporting  atomic.Bool  // a report is being made
	forgetting sync.Mutex   // somebody is being erased

	fences    atomic.Pointer[fences.Set]
	campaigns atomic.Pointer[campaign.Set]
	journeys  journeys
	wakes     *wakes
	members   *members
	segments  atomic.Pointer[audience.Segments] // for questions; campaigns have theirs built in
	stops     struct {
		sync.Mutex
		given   *campaign.Set     // as SetCampaigns had it
		stopped map[string]bool   // by an operator
		ending  map[string]string // id -> why: what they owe is to be cancelled
		wake    chan struct{}     // capacity 1: a second wake-up adds nothing
	}
	catalogue struct {
		sync.Mutex
		*fences.Catalogue
		version uint32 // of the stored form
	}
}

// New connects to the server, reads what the ledger remembers, and leaves everything ready to Run. There are no
// fences and no campaigns yet. On error nothing is left open.
func New(cfg Config) (_ *Gateway, err error) {
	if cfg.Rules == (track.Rules{}) {
		cfg.Rules = track.DefaultRules()
	}
	if err := cfg.Rules.Validate(); err != nil {
		return nil, err
	}
	if err := cfg.Ingest.Positions.Validate(); err != nil {
		return nil, err
	}
	cfg.Checkpoint = cmp.Or(cfg.Checkpoint, 30*time.Second)
	cfg.Decisions = cmp.Or(cfg.Decisions, 7*24*time.Hour)
	cfg.Reports = cmp.Or(cfg.Reports, funnel.KeepFacts)
	cfg.Visits, cfg.CustomerEvents = cmp.Or(cfg.Visits, audience.KeepVisits), cmp.Or(cfg.CustomerEvents, audience.KeepEvents)
	cfg.Sketches = cmp.Or(cfg.Sketches, reach.Keep)
	cfg.Log.MaxAge = cmp.Or(cfg.Log.MaxAge, 15*time.Minute)
	cfg.Log.MaxBytes = cmp.Or(cfg.Log.MaxBytes, 256<<20)
	cfg.Events.MaxAge = cmp.Or(cfg.Events.MaxAge, 7*24*time.Hour)
	cfg.Events.MaxBytes = cmp.Or(cfg.Events.MaxBytes, 1<<30)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Receipts == nil {
		secret := make([]byte, 32)
		_, _ = rand.Read(secret) // does not fail
		if cfg.Receipts, err = receipt.NewKeyring(receipt.Secrets{secret}); err != nil {
			return nil, err
		}
	}
	cfg.Outbox.KeepFinished = cmp.Or(cfg.Outbox.KeepFinished, 7*24*time.Hour)
	if cfg.Log.MaxAge < 2*cfg.Checkpoint {
		return nil, fmt.Errorf("stream: log.max_age (%s) must be at least twice the checkpoint interval (%s), or a crash could lose presence", cfg.Log.MaxAge, cfg.Checkpoint)
	}
	g := &Gateway{cfg: cfg, ready: make(chan struct{}), retired: newRetired(), nearFlood: newFloodGuard(nearQuestions, 60_000), hereFlood: newFloodGuard(hereWords, 60_000)}
	defer func() {
		if err != nil {
			g.disconnect()
		}
	}()
	// What the ledger remembers of fences, so that a restart is not an edit.
	if g.catalogue.Catalogue, g.catalogue.version, err = loadCatalogue(cfg.DB); err != nil {
		return nil, err
	}
	empty, err := fences.NewSet(nil, nil)
	if err != nil {
		return nil, err
	}
	g.fences.Store(empty)
	none, err := campaign.NewSet(nil)
	if err != nil {
		return nil, err
	}
	g.campaigns.Store(none)
	g.stops.given, g.stops.ending, g.stops.wake = none, map[string]string{}, make(chan struct{}, 1)
	if g.stops.stopped, err = loadStopped(cfg.DB); err != nil {
		return nil, err
	}
	known, err := loadJourneys(cfg.DB, cfg.Logger)
	if err != nil {
		return nil, err
	}
	g.journeys.set.Store(known)
	g.wakes = newWakes()
	if g.members, err = loadMembers(cfg.DB, cfg.Now()); err != nil {
		return nil, err
	}
	if g.events, err = openEventLog(cfg.DB, &g.count, cfg.Now); err != nil {
		return nil, err
	}
	g.events.room = maxHanded
	oc := cfg.Outbox
	oc.DB, oc.Providers, oc.Now, oc.Logger = cfg.DB, cfg.Providers, cfg.Now, cfg.Logger
	oc.Compose, oc.OnOutcome, oc.Another, oc.Arrived = g.compose, g.outcome, g.anotherToken, arrived
	if g.outbox, err = outbox.New(oc); err != nil {
		return nil, err
	}
	g.settler = &settler{
		campaigns: g.campaigns.Load, caps: cfg.Caps, lane: cfg.Lane, inApp: cfg.InApp, events: g.events, keep: cfg.Decisions,
		keys: cfg.Receipts, keepFacts: max(cfg.Outbox.KeepFinished, cfg.Reports), keepCodes: cfg.Outbox.KeepFinished, reports: cfg.Reports, keepVisits: cfg.Visits, keepEvents: cfg.CustomerEvents, keepSketches: cfg.Sketches, room: new([]byte), count: &g.count, onPush: g.outbox.Notify, confirm: g.outbox.Confirm, here: g.outbox.Here, log: cfg.Logger,
	}
	g.settler.journeys, g.settler.fences, g.settler.wakes, g.settler.members, g.settler.vouchers = g.journeys.set.Load, g.fences.Load, g.wakes, g.members, true
	g.settler.consents = newConsents()
	if g.nc, err = cfg.Server.Connect("intake", g.onAsyncError()); err != nil {
		return nil, err
	}
	if g.jsc, err = cfg.Server.Connect("log"); err != nil {
		return nil, err
	}
	if g.js, err = jetstream.New(g.jsc, jetstream.WithPublishAsyncMaxPending(relayBatch*2)); err != nil {
		return nil, fmt.Errorf("stream: JetStream: %w", err)
	}
	g.collector = newCollector(cfg.Ingest, cfg.Server, g.nc, cfg.Rules, cfg.Now, cfg.Logger, &g.count)
	g.collector.full = diskGuard(cfg.DB, cfg.Logger)
	g.collector.keys = cfg.Receipts
	g.collector.consents = g.settler.consents
	return g, nil
}

// diskGuard says "disk_full" while the ledger has no room to write, so that the door closes before EVENTS and the input
// log on the same disk run into the wall: the NATS server does not recover a stream whose write has failed until it is
// started again. It asks the file system at most once a second.
func diskGuard(d *db.DB, log *slog.Logger) func() string {
	var asked time.Time
	var reason string
	return func() string {
		if now := time.Now(); now.Sub(asked) > time.Second {
			asked = now
			was := reason
			if reason = ""; !d.Room() {
				reason = "disk_full"
			}
			switch {
			case reason != "" && was == "":
				log.Error("the disk is nearly full: input is answered busy until there is room")
			case reason == "" && was != "":
				log.Info("there is room on the disk again")
			}
		}
		return reason
	}
}

// onAsyncError keeps the client library from printing; dropped messages are counted by the collector.
func (g *Gateway) onAsyncError() nats.Option {
	warn := rateLimited(10*time.Second, func(err error) { g.cfg.Logger.Warn("nats client", "err", err) })
	return nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if !errors.Is(err, nats.ErrSlowConsumer) {
			warn(err)
		}
	})
}

// SetFences makes fs the active fences. The new set is built beside the old one, the catalogue is made durable,
// and then one pointer is swapped: no ping waits, and every batch sees one set from start to end. On error the
// old set stays.
func (g *Gateway) SetFences(ctx context.Context, fs []fences.Fence) (*fences.Set, error) {
	g.catalogue.Lock()
	defer g.catalogue.Unlock()
	before, err := g.catalogue.MarshalBinary()
	if err != nil {
		return nil, err
	}
	next := new(fences.Catalogue)
	if err := next.UnmarshalBinary(before); err != nil {
		return nil, err
	}
	set, err := fences.NewSet(fs, next)
	if err != nil {
		return nil, err
	}
	row, err := next.MarshalBinary()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(row, before) {
		if err := storeCatalogue(ctx, g.cfg.DB, row, g.catalogue.version+1); err != nil {
			return nil, fmt.Errorf("stream: keep the fence catalogue: %w", err)
		}
		g.catalogue.version++
	}
	g.catalogue.Catalogue = next
	g.fences.Store(set)
	return set, nil
}

// Fences is the active set.
func (g *Gateway) Fences() *fences.Set { return g.fences.Load() }

// Campaigns is the active set.
func (g *Gateway) Campaigns() *campaign.Set { return g.campaigns.Load() }

// SetSegments makes segments known to questions about audiences. Campaigns carry the segments that they were read with.
func (g *Gateway) SetSegments(s *audience.Segments) { g.segments.Store(s) }

// Ready is closed when the gateway listens to devices.
func (g *Gateway) Ready() <-chan struct{} { return g.ready }

// Run serves until ctx ends, then stops in the order intake, in flight, outbox, relay. What is not finished by
// then is in the log or in the ledger and goes on at the next start.
func (g *Gateway) Run(ctx context.Context) (err error) {
	defer g.disconnect()
	if err := ensureEvents(ctx, g.js, g.cfg.Events); err != nil {
		return err
	}
	place, err := own(ctx, g.js, g.cfg.DB)
	if err != nil {
		return err
	}
	base := context.WithoutCancel(ctx) // the stages are stopped one after the other, not by ctx
	defer func() {
		patience, cancel := context.WithTimeout(base, time.Second)
		defer cancel()
		place.release(patience)
	}()
	logs, closeLogs, err := g.openLogs(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLogs()) }()
	g.logs = logs
	created, from, err := g.restore(ctx)
	if err != nil {
		return err
	}

	// From here on each stage is started and its stop deferred, so that whatever ends this function, they stop in
	// the opposite order, each one waited for.
	fail := make(chan error, Partitions+3) // a worker, the outbox, the intake and the owner say at most one thing each
	defer func() {
		close(fail)
		for e := range fail {
			err = errors.Join(err, e)
		}
	}()
	defer start(base, g.returnTokens)()
	defer start(base, func(ctx context.Context) { g.events.relay(ctx, g.cfg.DB, g.js, g.cfg.Logger) })()
	defer start(base, func(ctx context.Context) {
		if err := g.outbox.Run(ctx); err != nil && ctx.Err() == nil {
			fail <- fmt.Errorf("outbox: %w", err)
		}
	})()
	defer start(base, g.endCampaigns)()
	defer start(base, g.announce, g.runTimers, g.runMembers, g.runRetire, g.runErasures)()
	var work []func(context.Context)
	for p, w := range g.workers {
		a := g.collector.appends[p]
		a.log = logs[p]
		a.feed = newFeed(logs[p], from[p], w.in, a.lastStored, g.cfg.Now, g.cfg.Logger)
		work = append(work,
			func(ctx context.Context) { a.feed.run(ctx, created[p]) },
			func(ctx context.Context) {
				if err := w.run(ctx); err != nil {
					fail <- err
				}
			})
	}
	defer start(base, work...)()
	svc, err := g.serveQueries(g.nc)
	if err != nil {
		return fmt.Errorf("stream: queries: %w", err)
	}
	defer svc.Stop()
	if err := g.nc.FlushTimeout(10 * time.Second); err != nil { // whoever is told that we are ready may ask at once
		return fmt.Errorf("stream: queries: %w", err)
	}
	stopIntake := start(ctx,
		func(ctx context.Context) {
			if err := g.collector.run(ctx, intakePatience); err != nil {
				fail <- err
			}
		},
		func(ctx context.Context) {
			if err := place.hold(ctx); err != nil {
				fail <- err
			}
		})
	select {
	case <-g.collector.ready:
		close(g.ready)
		select {
		case <-ctx.Done():
		case err = <-fail:
		}
	case <-ctx.Done():
	case err = <-fail:
	}
	stopIntake()
	patience, cancel := context.WithTimeout(base, settlePatience)
	defer cancel()
	_ = g.Settle(patience) // what is not through by then waits in the log
	return err
}

// start runs the parts of one stage and returns what stops them and waits for their end.
func start(ctx context.Context, parts ...func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, part := range parts {
		running.Go(func() { part(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

const (
	// intakePatience bounds how long a stopping collector takes to store what had arrived.
	intakePatience = 5 * time.Second
	// settlePatience bounds how long a stopping gateway works off its log.
	settlePatience = 2 * time.Second
)

func (g *Gateway) disconnect() {
	for _, nc := range []*nats.Conn{g.nc, g.jsc} {
		if nc != nil {
			nc.Close()
		}
	}
}

// restore makes the workers and fills their trackers with the stored presence. It returns the sequence from
// which each log is read, and when each was created.
func (g *Gateway) restore(ctx context.Context) (created [Partitions]int64, from [Partitions]uint64, err error) {
	var marks [Partitions]progress
	for p, log := range g.logs {
		now, err := log.state(ctx)
		if err != nil {
			return created, from, fmt.Errorf("stream: %s: %w", log.name(), err)
		}
		created[p] = now.created
		err = g.cfg.DB.View(func(tx *db.Tx) (err error) {
			marks[p], err = loadProgress(tx, p)
			return err
		})
		if err != nil {
			return created, from, err
		}
		var mark progress
		if mark, from[p] = resumeAt(marks[p], now, p, g.cfg.Logger, &g.count); mark != marks[p] {
			if err := g.cfg.DB.Update(ctx, func(tx *db.Tx) error { return tx.Set(progressKey(p), mark.encode()) }); err != nil {
				return created, from, fmt.Errorf("stream: keep the progress of %s: %w", log.name(), err)
			}
		}
		w := newWorker(p, g.cfg.Rules, mark, from[p])
		w.fences, w.settler, w.db, w.log, w.now, w.count, w.checkpoint = g.fences.Load, g.settler, g.cfg.DB, g.cfg.Logger, g.cfg.Now, &g.count, g.cfg.Checkpoint
		g.workers[p] = w
	}
	err = g.cfg.DB.View(func(tx *db.Tx) error {
		return tx.Scan(presenceSpace.Prefix(), nil, func(key, row []byte) (bool, error) {
			parts, ok := presenceSpace.Split(key)
			if !ok || len(parts) != 1 {
				return false, fmt.Errorf("stream: presence key %x", key)
			}
			id := track.DeviceID(parts[0])
			if err := g.workers[wire.Partition(id, Partitions)].tracker.Restore(id, row); err != nil {
				return false, fmt.Errorf("stream: presence of %s: %w", id, err)
			}
			if track.Withdrawn(row) {
				g.settler.consents.set(id, true)
			}
			return true, nil
		})
	})
	if err == nil {
		err = g.withdrawStored(ctx)
	}
	if err == nil {
		g.restored.Store(true)
	}
	return created, from, err
}

// Settle returns when everything that had arrived when it was called has been stored, decided and committed, or
// with ctx's error. Pushes may still be on their way.
func (g *Gateway) Settle(ctx context.Context) error {
	if g.restored.Load() {
		if err := g.collector.intake.sync(ctx); err != nil {
			return err
		}
	}
	for seen := 0; ; {
		// A message is in nobody's hands for an instant while it is taken from the inbox, so one look is
		// not enough.
		if !g.settledNow() {
			seen = 0
		} else if seen++; seen == 3 {
			return nil
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *Gateway) settledNow() bool {
	if !g.restored.Load() {
		return false
	}
	if !g.collector.door.idle() {
		return false
	}
	for p, a := range g.collector.appends {
		stored, idle := a.state()
		if !idle || g.workers[p].settledSeq.Load() < stored {
			return false
		}
	}
	return true
}

// ResumeLane ends the pause of a delivery lane at once, for credentials or an account that have been mended. It
// reports whether there is such a lane.
func (g *Gateway) ResumeLane(lane string) bool { return g.outbox.Resume(lane) }

// Status is what the gateway says about itself.
type Status struct {
	Stats     Stats                       `json:"stats"`
	Funnel    map[string]map[string]int64 `json:"funnel"`
	Outbox    outbox.Stats                `json:"outbox"`
	Fences    int                         `json:"fences"`
	FencesRev string                      `json:"fences_revision"`
	Campaigns int                         `json:"campaigns"`
	Vouchers  []VoucherAnswer             `json:"vouchers,omitempty"`
	Settled   bool                        `json:"settled"` // everything that had arrived is decided and committed
}

// LedgerStages says where the time of the ledger's commits goes, since it was opened.
func (g *Gateway) LedgerStages() []db.Stage { return g.cfg.DB.Stages() }

// Status takes a snapshot. The counters are of this run; the funnel is of the ledger.
func (g *Gateway) Status() Status {
	s := Status{Stats: g.count.snapshot(), Outbox: g.outbox.Stats(), Fences: g.Fences().Len(), FencesRev: g.Fences().Revision(), Campaigns: g.Campaigns().Len(), Settled: g.settledNow()}
	s.Stats.Withdrawn = g.settler.consents.n.Load()
	err := g.cfg.DB.View(func(tx *db.Tx) (err error) {
		if s.Funnel, err = Funnel(tx); err != nil {
			return err
		}
		if s.Vouchers, err = voucherAnswers(tx); err != nil {
			return err
		}
		s.Stats.EventsOwed, err = g.events.owed(tx)
		return err
	})
	if err != nil {
		g.cfg.Logger.Error("the ledger's counts could not be read", "err", err)
	}
	return s
}
