package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/receipt"
	"footfall/stream/wire"
	"footfall/track"
)

// RehearsalConfig says what a rehearsal decides with.
type RehearsalConfig struct {
	Rules     track.Rules
	Fences    *fences.Set
	Campaigns *campaign.Set
	Caps      []campaign.Cap // Config.Caps
	// Past is how things stood with a device before its first record; nil for one that is not known. Without the
	// function each device is registered with a push token and nothing else: a person who can be reached.
	Past func(track.DeviceID) *Past
	// Logger gets what goes wrong inside. nil: none.
	Logger *slog.Logger
}

// A Rehearsal decides about recorded positions what a gateway would have decided: with the gateway's own worker,
// campaigns and claims, in a ledger of its own in memory. The clock is that of the positions. Nothing is sent, and
// nothing outside changes; a push that is owed counts as accepted, so its claim stands. For a single goroutine.
type Rehearsal struct {
	cfg     RehearsalConfig
	db      *db.DB
	worker  *worker
	known   map[track.DeviceID]*Past
	met     map[track.DeviceID]bool // had a record; true: a ping
	pasts   [][]*Past               // of persons, to be written before the batch is decided
	batch   []byte
	records int
	seq     uint64
	nowMS   int64
}

// NewRehearsal returns a rehearsal that has seen nothing. Close it.
func NewRehearsal(cfg RehearsalConfig) (_ *Rehearsal, err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Past == nil {
		cfg.Past = func(id track.DeviceID) *Past {
			return &Past{Device: string(id), Registration: json.RawMessage(`{"platform":"ios","token":"rehearsal"}`)}
		}
	}
	r := &Rehearsal{cfg: cfg, known: map[track.DeviceID]*Past{}, met: map[track.DeviceID]bool{}}
	now := func() time.Time { return time.UnixMilli(r.nowMS) }
	if r.db, err = db.Open(db.Config{InMemory: true, Logger: cfg.Logger, Now: now}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = r.db.Close()
		}
	}()
	r.worker, err = newLoneWorker(r.db, rulebook{&cfg.Rules, cfg.Fences, cfg.Campaigns, cfg.Caps}, now, cfg.Logger)
	return r, err
}

// newLoneWorker returns a worker that decides without a gateway around it: nothing is sent, every platform has a provider,
// and nobody will report anything.
func newLoneWorker(d *db.DB, book rulebook, now func() time.Time, log *slog.Logger) (*worker, error) {
	count := new(counters)
	events, err := openEventLog(d, count, now)
	if err != nil {
		return nil, err
	}
	keys, err := receipt.NewKeyring(receipt.Secrets{randomBytes(32)})
	if err != nil {
		return nil, err
	}
	w := newWorker(0, *book.rules, progress{}, 1)
	w.fences, w.db, w.log, w.now, w.count = func() *fences.Set { return book.fences }, d, log, now, count
	w.settler = &settler{
		room:      new([]byte),
		campaigns: func() *campaign.Set { return book.campaigns },
		caps:      book.caps,
		lane:      func(string, *audience.Profile) (string, bool) { return "rehearsal", true },
		inApp:     "rehearsal",
		events:    events, count: count, log: log, onPush: func() {}, here: func(string) bool { return true },
		keys: keys, keepFacts: keepAll, keepCodes: keepAll, keep: keepAll, reports: keepAll, keepVisits: audience.KeepVisits, keepEvents: audience.KeepEvents,
	}
	w.settler.journeys, w.settler.wakes, w.settler.consents = func() *journeySet { return &journeySet{} }, newWakes(), newConsents()
	return w, nil
}

// keepAll is longer than any recording.
const keepAll = 100 * 365 * 24 * time.Hour

// Record takes the next record in the order in which they were received. Its device must be of the form app.device
// (wire.JoinDevice). Receipts are left out: they are about pushes that were really sent.
func (r *Rehearsal) Record(ctx context.Context, rec *wire.Record) error {
	switch rec.Kind {
	case wire.KindReceipt:
		return nil
	case wire.KindPing:
		if track.CheckFix(new(rec.Fix), &r.cfg.Rules) != "" {
			return nil // the collector would have turned it away
		}
	}
	if pinged, met := r.met[rec.Device]; !met || !pinged && rec.Kind == wire.KindPing {
		r.begin(rec)
	}
	r.add(rec)
	if r.records < batchRecords {
		return nil
	}
	return r.Flush(ctx)
}

// Ping is Record for a position.
func (r *Rehearsal) Ping(ctx context.Context, id track.DeviceID, f track.Fix) error {
	return r.Record(ctx, &wire.Record{Kind: wire.KindPing, Device: id, Fix: f, ReceivedAt: f.ReceivedAt})
}

// begin makes a device known before its first record, and with it the others of its person, and before its first ping puts
// it where it was.
func (r *Rehearsal) begin(rec *wire.Record) {
	p, known := r.known[rec.Device]
	if !known {
		p = r.register(rec.Device, rec.ReceivedAt)
		if p != nil {
			group := []*Past{p}
			for _, other := range p.Devices {
				if _, known := r.known[track.DeviceID(other)]; !known {
					if q := r.register(track.DeviceID(other), rec.ReceivedAt); q != nil {
						group = append(group, q)
					}
				}
			}
			r.pasts = append(r.pasts, group)
		}
	}
	r.met[rec.Device] = rec.Kind == wire.KindPing
	if p != nil && p.Known && rec.Kind == wire.KindPing {
		r.worker.tracker.Assume(r.cfg.Fences, rec.Device, &rec.Fix, p.Inside, p.Pending)
	}
}

func (r *Rehearsal) register(id track.DeviceID, receivedAt int64) *Past {
	p := r.cfg.Past(id)
	if r.known[id] = p; p != nil {
		r.add(&wire.Record{Kind: wire.KindDevice, Device: id, ReceivedAt: receivedAt, Payload: p.Registration})
	}
	return p
}

func (r *Rehearsal) add(rec *wire.Record) {
	r.batch = wire.AppendRecord(r.batch, rec)
	r.records++
	r.nowMS = max(r.nowMS, rec.ReceivedAt)
}

// Flush decides about everything that Ping has taken.
func (r *Rehearsal) Flush(ctx context.Context) error {
	if r.records == 0 {
		return nil
	}
	if len(r.pasts) > 0 {
		err := r.db.Update(ctx, func(tx *db.Tx) error {
			for _, group := range r.pasts {
				if err := restorePast(tx, group); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("stream: rehearsal: what was before: %w", err)
		}
		r.pasts = r.pasts[:0]
	}
	r.seq++
	poisoned := Total(r.worker.count.poison.snapshot())
	r.worker.process(logMessage{seq: r.seq, data: wire.SealBatch(r.batch)})
	r.batch, r.records = r.batch[:0], 0
	if err := r.worker.flush(ctx); err != nil {
		return fmt.Errorf("stream: rehearsal: %w", err)
	}
	if n := Total(r.worker.count.poison.snapshot()) - poisoned; n > 0 {
		return fmt.Errorf("stream: rehearsal: %d records could not be processed", n)
	}
	return nil
}

// Devices is the number of devices that were seen.
func (r *Rehearsal) Devices() int { return len(r.met) }

// Verdicts counts what the tracker said of the positions, by name.
func (r *Rehearsal) Verdicts() map[string]int64 { return r.worker.count.verdicts.snapshot() }

// Decisions calls fn for every decision so far, by device and then by time, until it returns an error. Flush first.
// The decision is good until fn returns.
func (r *Rehearsal) Decisions(fn func(*Decision) error) error {
	return r.db.View(func(tx *db.Tx) error { return EachDecision(tx, fn) })
}

// Close gives up the ledger.
func (r *Rehearsal) Close() error { return r.db.Close() }
