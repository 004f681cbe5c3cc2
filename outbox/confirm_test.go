package outbox

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/push"
)

// What the phone has reported is accepted and not sent again: in doubt, waiting
// for another try, left by a crash, about to expire or to be cancelled, and
// while its request is still on the way.
func TestConfirm(t *testing.T) {
	doubt := push.Outcome{Class: push.InDoubt, Reason: "lost", Sent: true}
	later := push.Outcome{Class: push.InDoubt, Reason: "lost", Sent: true, RetryAfter: 5 * time.Minute}
	retry := push.Outcome{Class: push.Retry, Status: 503, Sent: true, RetryAfter: 5 * time.Minute}
	reported := map[string]bool{}
	inRig(t, func(c *Config) {
		c.Arrived = func(_ *db.Tx, mid string) (bool, error) { return reported[mid], nil } // on the writer goroutine
	}, func(r *rig) {
		report := func(mid string) {
			t.Helper()
			if err := r.db.Update(context.Background(), func(tx *db.Tx) error {
				reported[mid] = true
				return r.out.Confirm(tx, mid)
			}); err != nil {
				t.Fatal(err)
			}
		}
		r.prov.script["doubt"] = []push.Outcome{later}
		r.prov.script["retry"] = []push.Outcome{retry}
		r.prov.script["flying"] = []push.Outcome{doubt}
		r.prov.script["fine"] = []push.Outcome{{Class: push.TokenDead, Sent: true}}
		r.prov.latency = time.Second
		inDoubt, waiting, flying, gone := r.enter("doubt"), r.enter("retry"), r.enter("flying"), r.enter("fine")
		time.Sleep(500 * time.Millisecond)
		report(flying)
		if d := r.row(flying); d.State != StateSending {
			t.Errorf("in flight: %s", d.State)
		}
		time.Sleep(time.Second)
		r.want(inDoubt, StateInDoubt, dedupe.Reserved)
		r.want(waiting, StateRetryWait, dedupe.Reserved)
		for _, mid := range []string{inDoubt, waiting, gone, "unknown"} {
			report(mid)
		}
		time.Sleep(time.Hour)
		for _, mid := range []string{inDoubt, waiting, flying} {
			if d := r.want(mid, StateAccepted, dedupe.Committed); d.Reason != reasonReported {
				t.Errorf("row %+v", d)
			}
		}
		r.want(gone, StateFailed, dedupe.Released) // final before the report
		if n := len(r.prov.log()); n != 4 {
			t.Errorf("%d requests, want 4", n)
		}
		if s := r.out.Stats(); s.Finals[StateAccepted] != 3 || s.Doubts != 1 {
			t.Errorf("stats %+v", s)
		}
	})
	synctest.Test(t, func(t *testing.T) { // left by a crash, and reported while the gateway was down
		r := newRig(t, func(c *Config) {
			c.Arrived = func(*db.Tx, string) (bool, error) { return true, nil }
		})
		left, cancelled := r.enter("a"), r.enter("b", func(d *Delivery) { d.Campaign = "stopped" })
		r.leave(left)
		r.leave(cancelled)
		if n, err := r.out.CancelCampaign(context.Background(), "stopped", "by hand"); n != 0 || err != nil {
			t.Errorf("cancelled %d, %v", n, err)
		}
		r.run()
		time.Sleep(time.Second)
		for _, mid := range []string{left, cancelled} {
			if d := r.want(mid, StateAccepted, dedupe.Committed); d.Attempts != 1 {
				t.Errorf("row %+v", d)
			}
		}
		if n := len(r.prov.log()); n != 0 {
			t.Errorf("%d requests", n)
		}
		r.stop()
		r.check()
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
}
