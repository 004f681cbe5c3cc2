package outbox

import (
	"bytes"
	"context"
	"time"

	"footfall/internal/db"
	"footfall/push"
)

const (
	sweepEvery = time.Second
	// sweepPage bounds the rows that one step of a sweep holds.
	sweepPage = 512
	// sweepBack is how far before the last sweep the next one begins, for rows
	// that were enqueued with little time left, and sweepAll how often one begins
	// at the very start: see queue.collect. What lies between consists of deleted
	// entries, which a sweep has to wade through every second.
	sweepBack = 5 * time.Second
	sweepAll  = 10 * time.Minute
)

// expireRows ends rows whose time is up while their lane cannot: it is paused,
// its breaker is open, it has too much to do, or there is no such lane.
func (o *Outbox) expireRows(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var last int64 // up to here everything has been swept
	var all time.Time
	for {
		var from []byte
		full := time.Since(all) >= sweepAll
		if !full {
			from = ready.Key(byExpiry, ms(last-sweepBack.Milliseconds()))
		}
		begun, now := time.Now(), o.nowMS()
		switch err := o.sweep(ctx, from, now); {
		case err != nil && ctx.Err() == nil:
			o.cfg.Logger.Error("expired rows cannot be settled", "err", err)
		case err == nil:
			if last = now; full {
				all = begun
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweep ends the rows with an expiry up to now. Those in flight have their
// answer coming and are left alone; those that another process has leased may
// have been sent.
func (o *Outbox) sweep(ctx context.Context, from []byte, now int64) error {
	for {
		var page []*change
		var orphans [][]byte
		var cause error
		more := false
		err := o.cfg.DB.View(func(tx *db.Tx) error {
			// Beyond now lie the entries of all that was delivered within its time: deleted, and no row among them.
			return tx.ScanRange(ready.Key(byExpiry), from, ready.Key(byExpiry, ms(now+1)), func(key, _ []byte) (bool, error) {
				mid, err := parseExpiry(key)
				if err == nil && o.taken(mid) {
					return true, nil
				}
				var d Delivery
				if err == nil {
					var found bool
					if d, found, err = Get(tx, mid); err == nil && (!found || d.State.Final()) {
						err = errNoRow
					}
				}
				if err != nil {
					orphans = append(orphans, bytes.Clone(key))
					cause = err
					from, more = db.After(key), len(orphans) == sweepPage
					return !more, nil
				}
				reason := "waited too long in lane " + d.Lane
				if o.lanes[d.Lane] == nil {
					reason = "there is no lane " + d.Lane
				}
				page = append(page, o.final(d, StateExpired, reason, push.Expired, d.State == StateSending))
				if len(page) == sweepPage {
					from, more = db.After(key), true
				}
				return !more, nil
			})
		})
		if err != nil {
			return err
		}
		if err := o.discard(ctx, orphans, cause); err != nil {
			return err
		}
		if _, err := o.recordAll(ctx, page); err != nil {
			return err
		}
		if !more || ctx.Err() != nil {
			return nil
		}
	}
}
