package outbox

import (
	"context"
	"fmt"
	"sync"

	"footfall/internal/db"
)

// CancelCampaign ends every delivery of a campaign that has no outcome yet and
// returns how many. When it returns without an error, nothing more of what was
// enqueued before the call will be sent: requests in flight have been waited
// for, and count by their own outcome. The claims of cancelled rows are
// released, unless a row is in doubt.
//
// Stop the campaign's decisions first; rows that are enqueued during the call
// may or may not be cancelled. After an error (ctx ended, the disk is full) a
// part has been cancelled; call it again.
func (o *Outbox) CancelCampaign(ctx context.Context, id, reason string) (n int, err error) {
	o.markStopping(id, +1)
	defer o.markStopping(id, -1)
	defer o.Notify() // rows handed back by the mark, in case of an error
	if err := o.recover(ctx); err != nil {
		return 0, fmt.Errorf("cancel campaign %s: %w", id, err)
	}
	for {
		cancelled, flying, err := o.cancelPass(ctx, id, reason)
		n += cancelled
		if err != nil {
			return n, fmt.Errorf("cancel campaign %s: %w", id, err)
		}
		if len(flying) > 0 {
			if err := o.waitFor(ctx, flying); err != nil {
				return n, fmt.Errorf("cancel campaign %s: %w", id, err)
			}
			continue // they may have come back unsent or to be tried again
		}
		if cancelled == 0 {
			return n, nil
		}
	}
}

// HoldCampaign lets nothing more of a campaign begin until release is called,
// for a caller that has something to do between that and CancelCampaign.
func (o *Outbox) HoldCampaign(id string) (release func()) {
	o.markStopping(id, +1)
	return sync.OnceFunc(func() {
		o.markStopping(id, -1)
		o.Notify()
	})
}

// cancelPass goes once over all rows that are not final. flying are those of
// the campaign that this process is sending.
func (o *Outbox) cancelPass(ctx context.Context, id, reason string) (n int, flying []string, err error) {
	for _, queue := range queues {
		m, f, err := o.cancelQueue(ctx, queue, id, reason)
		n, flying = n+m, append(flying, f...)
		if err != nil {
			return n, nil, err
		}
	}
	return n, flying, nil
}

func (o *Outbox) cancelQueue(ctx context.Context, queue []byte, id, reason string) (n int, flying []string, err error) {
	var from []byte
	for {
		var page []*change
		more := false
		err := o.cfg.DB.View(func(tx *db.Tx) error {
			return tx.Scan(ready.Key(queue), from, func(key, val []byte) (bool, error) {
				if _, campaign := glance(val); string(campaign) != id {
					return true, nil
				}
				d, err := readDue(key, val)
				if err != nil {
					return true, nil // its lane takes it out
				}
				if o.taken(d.MID) {
					flying = append(flying, d.MID)
					return true, nil
				}
				page = append(page, o.final(&d, StateCancelled, reason, "", false))
				if len(page) == sweepPage {
					from, more = db.After(key), true
				}
				return !more, nil
			})
		})
		if err != nil {
			return n, nil, err
		}
		made, err := o.recordAll(ctx, page)
		for _, c := range made {
			if c.result.State == StateCancelled { // not what a phone has reported meanwhile
				n++
			}
		}
		for _, c := range page {
			if c.refused != nil { // leased meanwhile, or ended
				flying = append(flying, c.old.MID)
			}
		}
		if err != nil {
			return n, nil, err
		}
		if err := context.Cause(ctx); err != nil {
			return n, nil, err
		}
		if !more {
			return n, flying, nil
		}
	}
}

// waitFor returns when none of the rows is in flight any more.
func (o *Outbox) waitFor(ctx context.Context, mids []string) error {
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.changed.Broadcast()
	})
	defer stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, mid := range mids {
		for {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if _, flying := o.inFlight[mid]; !flying {
				break
			}
			o.changed.Wait()
		}
	}
	return nil
}

// markStopping counts the CancelCampaign calls for a campaign.
func (o *Outbox) markStopping(id string, delta int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopping[id] += delta; o.stopping[id] == 0 {
		delete(o.stopping, id)
	}
}

func (o *Outbox) isStopping(campaign string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stopping[campaign] > 0
}
