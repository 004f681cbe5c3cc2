package outbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"footfall/internal/db"
	"footfall/push"
)

// countProvider accepts at once.
type countProvider struct{ n atomic.Int64 }

func (*countProvider) Name() string { return "count" }
func (*countProvider) Close() error { return nil }
func (p *countProvider) Send(context.Context, *push.Notification) push.Outcome {
	p.n.Add(1)
	return push.Outcome{Class: push.Accepted, Sent: true}
}

// TestBacklogCostsNoTime, in fake time: with whatever is pending the first request is made at once, the outbox never holds more of it
// than its lanes have room for, and all of it goes out as fast as its workers can.
func TestBacklogCostsNoTime(t *testing.T) {
	const rows, perSecond, workers = 4000, 1000, 50
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		now := time.Now()
		for i := 0; i < rows; i += 500 {
			if err := r.db.Update(t.Context(), func(tx *db.Tx) error {
				for j := i; j < i+500; j++ {
					if err := Enqueue(tx, &Delivery{MID: fmt.Sprintf("m%08d", j), App: "app", Device: fmt.Sprint("d", j), Campaign: "c", Lane: testLane,
						CreatedAt: now.UnixMilli() - int64(j%1000), ExpiresAt: now.Add(time.Hour).UnixMilli()}); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		var held atomic.Int64
		r.prov.latency = 100 * time.Millisecond // 500 a second: the workers are what bounds it
		r.prov.fallback = func(*push.Notification) push.Outcome {
			r.out.mu.Lock()
			held.Store(max(held.Load(), int64(len(r.out.inFlight)))) // one at a time: the provider's lock is held
			r.out.mu.Unlock()
			return push.Outcome{Class: push.Accepted, Sent: true}
		}
		r.out = r.newOutbox(func(c *Config) { c.Rate, c.Burst, c.Workers = perSecond, 100, workers })
		r.run()
		synctest.Wait()
		if sent := r.prov.log(); len(sent) == 0 || !sent[0].at.Equal(now) {
			t.Errorf("%d requests at once", len(sent))
		}
		time.Sleep(rows/(10*workers)*time.Second + 3*time.Second)
		r.stop()
		sent := r.prov.log()
		if len(sent) != rows || r.out.Stats().Finals[StateAccepted] != rows {
			t.Errorf("%d requests in %v, want %d", len(sent), time.Since(now), rows)
		}
		if room := int64(heldPerWorker * workers); held.Load() > room {
			t.Errorf("%d rows held, there is room for %d", held.Load(), room)
		}
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A million rows on a real disk, by its clock.
func TestBacklog(t *testing.T) {
	if os.Getenv("FOOTFALL_LONG") == "" {
		t.Skip("set FOOTFALL_LONG=1 for a million rows; TestBacklogCostsNoTime says the same of fewer, in fake time")
	}
	const n = 1_000_000
	dir := t.TempDir()
	cfg := db.Config{Dir: dir, NoSync: true, MinFree: 1}
	d, err := db.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	begun := now
	for i := 0; i < n; i += 500 {
		if err := d.Update(t.Context(), func(tx *db.Tx) error {
			for j := i; j < i+500; j++ {
				if err := Enqueue(tx, &Delivery{MID: fmt.Sprintf("m%08d", j), App: "app", Device: fmt.Sprint("d", j),
					Campaign: fmt.Sprint("c", j%10), Lane: testLane, CreatedAt: now.UnixMilli() - 60_000 + int64(j%1000),
					ExpiresAt: now.Add(time.Hour).UnixMilli(), Context: []byte(`{"store":"Kyiv 7","distance_m":12.5}`)}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	filled := time.Since(begun)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	begun = time.Now()
	if d, err = db.Open(cfg); err != nil {
		t.Fatal(err)
	}
	p := &countProvider{}
	o, err := New(Config{DB: d, Providers: map[string]push.Provider{testLane: p}, Rate: 1e6,
		Compose: func(_ *db.Tx, d *Delivery) (*push.Notification, Suppress) {
			return &push.Notification{MID: d.MID}, ""
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- o.Run(ctx) }()
	for p.n.Load() == 0 {
		time.Sleep(time.Millisecond) // real disk, real time
	}
	first := time.Since(begun)
	if first > 5*time.Second {
		t.Errorf("the first request was made %v after opening", first)
	}
	// What is in use after a collection: what the backlog could pile up. Most of
	// it is Badger's, which compacts at this rate.
	var peak uint64
	for p.n.Load() < 50_000 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
		time.Sleep(10 * time.Millisecond) // at 20,000 a second there must be some left to cancel
	}
	rate := float64(p.n.Load()) / time.Since(begun).Seconds()
	begun = time.Now()
	cancelled, err := o.CancelCampaign(ctx, "c1", "enough")
	if err != nil {
		t.Error(err)
	}
	cancelTook := time.Since(begun)
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	finals := o.Stats().Finals
	if finals[StateAccepted] != p.n.Load() || finals[StateCancelled] != int64(cancelled) || cancelled == 0 {
		t.Errorf("%d requests, %d cancelled, %v", p.n.Load(), cancelled, finals)
	}
	// A million rows alone are 600 MB. What is in use is the table builders of
	// Badger's compactions: each takes twice its table's size at once, and some
	// ten work on a compaction. 140 MB of 167 in a profile; 146 MB and 300 MB in
	// two runs, by the level that was being compacted; the outbox has less than 5.
	if peak > 400<<20 {
		t.Errorf("heap grew to %d MiB", peak>>20)
	}
	t.Logf("%d rows: filled in %v, first request %v after open, %.0f/s, live heap %d MiB, cancelled %d in %v",
		n, filled, first, rate, peak>>20, cancelled, cancelTook)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// On a real disk and in real time: an entry that comes while thousands of
// announcements wait is sent before nearly all of them. What is counted is how
// many pass it, which does not depend on how fast the machine is.
func TestEntriesPassAnnouncements(t *testing.T) {
	const announcements, entries = 5000, 20
	d, err := db.Open(db.Config{Dir: t.TempDir(), MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan int64, entries) // announcements sent before each entry
	begun := make(chan struct{})
	var bulk atomic.Int64
	p := providerFunc(func(n *push.Notification) push.Outcome {
		if n.Campaign == "news" {
			if bulk.Add(1) == 1 {
				close(begun)
			}
		} else {
			sent <- bulk.Load()
		}
		return push.Outcome{Class: push.Accepted, Sent: true}
	})
	o, err := New(Config{DB: d, Providers: map[string]push.Provider{testLane: p}, Workers: 16, Rate: 1e6,
		Compose: func(_ *db.Tx, d *Delivery) (*push.Notification, Suppress) {
			return &push.Notification{MID: d.MID, Campaign: d.Campaign}, ""
		}})
	if err != nil {
		t.Fatal(err)
	}
	enqueue := func(campaign string, n int) {
		t.Helper()
		now := time.Now()
		if err := d.Update(t.Context(), func(tx *db.Tx) error {
			for i := range n {
				id := fmt.Sprint(campaign, i)
				if err := Enqueue(tx, &Delivery{MID: id, App: "app", Device: id, Campaign: campaign, Lane: testLane, Bulk: campaign == "news",
					CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(time.Hour).UnixMilli()}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		o.Notify()
	}
	enqueue("news", announcements)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- o.Run(ctx) }()
	<-begun
	var passed []int64
	for i := range entries {
		before := bulk.Load()
		enqueue(fmt.Sprint("entry", i, "-"), 1)
		select {
		case at := <-sent:
			passed = append(passed, at-before)
		case <-time.After(time.Minute):
			t.Fatal("the entry is not sent")
		}
	}
	left := announcements - bulk.Load()
	cancel()
	if err := errors.Join(<-ran, d.Close()); err != nil {
		t.Error(err)
	}
	t.Logf("announcements that passed each entry: %v; %d were left", passed, left)
	if most := slices.Max(passed); most > announcements/20 {
		t.Errorf("%d announcements were sent before an entry", most)
	}
	if left == 0 {
		t.Error("no announcements are left: they did not compete")
	}
}

// providerFunc is a provider that answers at once.
type providerFunc func(*push.Notification) push.Outcome

func (providerFunc) Name() string { return "func" }
func (providerFunc) Close() error { return nil }
func (f providerFunc) Send(_ context.Context, n *push.Notification) push.Outcome {
	return f(n)
}
