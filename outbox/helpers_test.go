package outbox

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/push"
)

const testLane = "fake/app/prod"

// sentPush is one request as the fake provider saw it.
type sentPush struct {
	mid, device string
	at          time.Time
}

// fakeProvider answers by script: answers for a device in turn, else the
// default. It remembers what it was asked and how many at once.
type fakeProvider struct {
	mu       sync.Mutex
	script   map[string][]push.Outcome // by device
	fallback func(n *push.Notification) push.Outcome
	latency  time.Duration
	delay    func() time.Duration // instead of latency; called with mu held
	sent     []sentPush
	flying   int
	most     int
}

func (p *fakeProvider) Name() string { return "fake" }
func (p *fakeProvider) Close() error { return nil }

func (p *fakeProvider) Send(ctx context.Context, n *push.Notification) push.Outcome {
	p.mu.Lock()
	p.sent = append(p.sent, sentPush{n.MID, n.Device, time.Now()})
	p.flying++
	p.most = max(p.most, p.flying)
	out := push.Outcome{Class: push.Accepted, Status: 200, ProviderID: "id-" + n.MID, Sent: true}
	if p.fallback != nil {
		out = p.fallback(n)
	}
	if s := p.script[n.Device]; len(s) > 0 {
		out, p.script[n.Device] = s[0], s[1:]
	}
	latency := p.latency
	if p.delay != nil {
		latency = p.delay()
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.flying--
		p.mu.Unlock()
	}()
	if latency <= 0 {
		// Not as time.After(0): Go 1.26.8 runs a timer that is due within the select itself, and under -race two of one
		// bubble that do so at once crash the race detector (timer.unlockAndRun shares the bubble's context).
		return out
	}
	select {
	case <-time.After(latency):
		return out
	case <-ctx.Done():
		return push.Outcome{Class: push.InDoubt, Reason: "deadline", Sent: true}
	}
}

func (p *fakeProvider) log() []sentPush {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]sentPush(nil), p.sent...)
}

// to lists when a device was sent to, as time since start.
func (p *fakeProvider) to(device string, start time.Time) (at []time.Duration) {
	for _, s := range p.log() {
		if s.device == device {
			at = append(at, s.at.Sub(start))
		}
	}
	return at
}

// rig is an outbox over an in-memory ledger, in fake time.
type rig struct {
	t     *testing.T
	db    *db.DB
	prov  *fakeProvider
	out   *Outbox
	start time.Time
	stop  func() // ends Run and waits

	mu       sync.Mutex
	outcomes []string // of OnOutcome: "mid state class"
}

// inRig runs fn in fake time with an outbox that is running.
func inRig(t *testing.T, change func(*Config), fn func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change)
		r.run()
		fn(r)
		r.stop()
		r.check()
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	d, err := db.Open(db.Config{InMemory: true, NoCompaction: true})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, db: d, prov: &fakeProvider{script: map[string][]push.Outcome{}}, start: time.Now()}
	r.out = r.newOutbox(change)
	return r
}

func (r *rig) newOutbox(change func(*Config)) *Outbox {
	cfg := Config{
		DB:        r.db,
		Providers: map[string]push.Provider{testLane: r.prov},
		Compose: func(_ *db.Tx, d *Delivery) (*push.Notification, Suppress) {
			return &push.Notification{MID: d.MID, App: d.App, Device: d.Device, ExpiresAt: time.UnixMilli(d.ExpiresAt)}, ""
		},
		OnOutcome: func(_ *db.Tx, _, d *Delivery, o push.Outcome) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.outcomes = append(r.outcomes, fmt.Sprint(d.MID, " ", d.State, " ", o.Class))
			return nil
		},
		Logger: slog.New(slog.NewTextHandler(r.t.Output(), nil)),
	}
	if change != nil {
		change(&cfg)
	}
	o, err := New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

// run starts the outbox; r.stop ends it.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.out.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
}

// enter claims a slot for the device and enqueues its delivery in the same
// transaction, as the ledger does. It returns the message id, "" if not won.
func (r *rig) enter(device string, change ...func(*Delivery)) (mid string) {
	r.t.Helper()
	now := time.Now()
	err := r.db.Update(context.Background(), func(tx *db.Tx) error {
		p := dedupe.Period{}
		id, ends := p.At(now, time.UTC)
		k := dedupe.Key{Campaign: "c", Subject: "d:" + device, Period: id}
		c, won, err := dedupe.Reserve(tx, k, p, dedupe.Claim{At: now, PeriodEnds: ends, Fence: "f"})
		if err != nil || !won {
			return err
		}
		mid = c.MID
		d := Delivery{MID: c.MID, App: "app", Device: device, Campaign: "c", Fence: "f", Claim: k, Lane: testLane,
			CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(15 * time.Minute).UnixMilli()}
		for _, f := range change {
			f(&d)
		}
		return Enqueue(tx, &d)
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.out.Notify()
	return mid
}

func expires(after time.Duration) func(*Delivery) {
	return func(d *Delivery) { d.ExpiresAt = d.CreatedAt + after.Milliseconds() }
}

func (r *rig) row(mid string) (d Delivery) {
	r.t.Helper()
	err := r.db.View(func(tx *db.Tx) error {
		got, found, err := Get(tx, mid)
		if d = got; !found && err == nil {
			err = fmt.Errorf("no delivery %s", mid)
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

// want checks a row's state and its claim's.
func (r *rig) want(mid string, state State, claim dedupe.State) Delivery {
	r.t.Helper()
	d := r.row(mid)
	if d.State != state {
		r.t.Errorf("%s is %s (%s), want %s", mid, d.State, d.Reason, state)
	}
	var c dedupe.Claim
	if err := r.db.View(func(tx *db.Tx) (err error) {
		c, _, err = dedupe.Get(tx, d.Claim)
		return err
	}); err != nil {
		r.t.Fatal(err)
	}
	if c.State != claim {
		r.t.Errorf("claim of %s is %v, want %v", mid, c.State, claim)
	}
	return d
}

// check verifies what must hold of the stored rows at any time: indexes and
// rows agree, claims and rows agree.
func (r *rig) check() {
	r.t.Helper()
	err := r.db.View(func(tx *db.Tx) error {
		open, due, away, wait := 0, 0, 0, 0
		err := List(tx, Filter{}, func(d *Delivery) bool {
			if d.State.Final() {
				if d.NextAt != 0 || d.Reason == "" {
					r.t.Errorf("final row %+v", d)
				}
				if _, err := tx.Get(finishedKey(d)); (err == nil) != (d.State != StateAccepted) {
					r.t.Errorf("%s %s in the finished index: %v", d.MID, d.State, err)
				}
			} else {
				open++
				if waits(d.Lane) {
					away++
					if _, err := tx.Get(waitingKey(d)); err != nil {
						r.t.Errorf("%s %s does not wait for its device: %v", d.MID, d.State, err)
					}
				}
				if place, err := tx.Get(rowKey(d.MID)); err != nil || !bytes.Equal(place, placeOf(dueKey(d))) {
					r.t.Errorf("%s %s has its place at %q, %v", d.MID, d.State, place, err)
				}
				if d.NextAt > d.ExpiresAt {
					r.t.Errorf("%s %s expires before it is due: %+v", d.MID, d.State, d)
				}
			}
			if d.Claim == (dedupe.Key{}) {
				return true
			}
			c, found, err := dedupe.Get(tx, d.Claim)
			if err != nil || !found {
				r.t.Errorf("%s has no claim: %v", d.MID, err)
				return true
			}
			var want dedupe.State
			switch {
			case d.State == StateAccepted:
				want = dedupe.Committed
			case !d.State.Final(), d.State == StateDead, d.Doubt:
				want = dedupe.Reserved
			default:
				want = dedupe.Released
			}
			if c.MID == d.MID && c.State != want {
				r.t.Errorf("%s %s (doubt %v) has a claim that is %v", d.MID, d.State, d.Doubt, c.State)
			}
			return true
		})
		if err != nil {
			return err
		}
		if err := tx.Scan(ready.Prefix(), nil, func(_, _ []byte) (bool, error) {
			due++
			return true, nil
		}); err != nil {
			return err
		}
		if err := tx.Scan(waiting.Prefix(), nil, func(_, _ []byte) (bool, error) {
			wait++
			return true, nil
		}); err != nil {
			return err
		}
		if wait != away {
			r.t.Errorf("%d open rows for apps, %d entries", away, wait)
		}
		if due != open {
			r.t.Errorf("%d open rows, %d due entries", open, due)
		}
		return nil
	})
	if err != nil {
		r.t.Error(err)
	}
}
