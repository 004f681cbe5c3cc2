package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/push"
)

// With thousands pending and some in flight: when CancelCampaign returns,
// nothing more is sent, every claim that was not used is free, and another
// campaign has not noticed.
func TestCancelCampaign(t *testing.T) {
	rows := 10_000
	if testing.Short() {
		rows = 1000
	}
	inRig(t, func(c *Config) { c.Workers = 8 }, func(r *rig) {
		r.prov.latency = 2 * time.Second
		var mids []string
		for i := range rows {
			mids = append(mids, r.enter(fmt.Sprint("d", i)))
		}
		keep := r.enter("keep", func(d *Delivery) { d.Campaign = "other" })
		time.Sleep(3 * time.Second) // 8 accepted, 8 in flight
		n, err := r.out.CancelCampaign(context.Background(), "c", "stopped by hand")
		if err != nil {
			t.Fatal(err)
		}
		count := func() (sent int) {
			for _, s := range r.prov.log() {
				if s.device != "keep" {
					sent++
				}
			}
			return sent
		}
		sent := count()
		time.Sleep(20 * time.Minute)
		if now := count(); now != sent {
			t.Errorf("%d requests after the campaign was cancelled", now-sent)
		}
		if n+sent != rows || sent > 24 {
			t.Errorf("%d cancelled, %d sent", n, sent)
		}
		states := map[State]int{}
		for _, mid := range mids {
			d := r.row(mid)
			states[d.State]++
			if d.State == StateCancelled {
				r.want(mid, StateCancelled, dedupe.Released)
			}
		}
		if states[StateCancelled] != n || states[StateAccepted] != sent {
			t.Errorf("states %v", states)
		}
		r.want(keep, StateAccepted, dedupe.Committed)
		if n, err := r.out.CancelCampaign(context.Background(), "c", "again"); n != 0 || err != nil {
			t.Errorf("second time: %d, %v", n, err)
		}
	})
}

// A row in flight that would be tried again is cancelled instead, and the
// wait for it obeys the context.
func TestCancelWaitsForRequestsInFlight(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.prov.latency = 5 * time.Second
		r.prov.script["a"] = []push.Outcome{{Class: push.Retry, Status: 503, Sent: true}}
		mid := r.enter("a")
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := r.out.CancelCampaign(ctx, "c", "r"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a short context: %v", err)
		}
		if n, err := r.out.CancelCampaign(context.Background(), "c", "r"); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if took := time.Since(r.start); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("took %v", took)
		}
		r.want(mid, StateCancelled, dedupe.Released)
		time.Sleep(time.Minute)
		if n := len(r.prov.log()); n != 1 {
			t.Errorf("sent %d times", n)
		}
	})
}

// A bad index entry is taken out; the lane goes on, and what was stored stays
// under its message id. A row is sent from its own place alone.
func TestBadIndexEntries(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		now := time.Now().UnixMilli()
		garbled := dueKey(&Delivery{Lane: testLane, NextAt: now - 5, MID: "garbled"})
		strayed, err := (&Delivery{MID: "strayed", State: StatePending, Lane: testLane, NextAt: now - 4, ExpiresAt: now + 60_000}).encode()
		if err != nil {
			t.Fatal(err)
		}
		err = r.db.Update(context.Background(), func(tx *db.Tx) error {
			return errors.Join(
				tx.Set(dueKey(&Delivery{Lane: testLane, NextAt: now - 5, MID: "orphan"}), nil),
				tx.Set(ready.Key(byDue, []byte(testLane), []byte{}), nil),
				tx.Set(ready.Key(byDue, []byte("no/such/lane"), []byte{0}), nil),
				tx.Set(ready.Key(bulkDue), nil),
				tx.Set(garbled, []byte{rowVersion, '{'}),
				tx.Set(rowKey("garbled"), placeOf(garbled)),
				tx.Set(dueKey(&Delivery{Lane: testLane, NextAt: now - 5, MID: "strayed"}), strayed))
		})
		if err != nil {
			t.Fatal(err)
		}
		mid := r.enter("a")
		synctest.Wait()
		r.want(mid, StateAccepted, dedupe.Committed)
		time.Sleep(2 * sweepEvery)
		if n := len(r.prov.log()); n != 1 {
			t.Errorf("sent %d times", n)
		}
		if err := r.db.Update(context.Background(), func(tx *db.Tx) error {
			if val, err := tx.Get(rowKey("garbled")); err != nil || !bytes.Equal(val, []byte{rowVersion, '{'}) {
				t.Errorf("the garbled row is kept as % x, %v", val, err)
			}
			return tx.Delete(rowKey("garbled"))
		}); err != nil {
			t.Fatal(err)
		}
	})
}
