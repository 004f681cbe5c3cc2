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
	// sweepShare: sweeps may take this share of the time. They read the whole of
	// what waits, and wade through what has been deleted there.
	sweepShare = 50
)

// expireRows ends rows whose time is up while their lane cannot: it is paused,
// its breaker is open, it has too much to do, or there is no such lane. No row
// expires before it is due, so a lane that has caught up with what is due has
// none of them.
func (o *Outbox) expireRows(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		begun := time.Now()
		for _, r := range o.unattended() {
			if err := o.sweep(ctx, r.prefix, r.from, r.to); err != nil && ctx.Err() == nil {
				o.cfg.Logger.Error("expired rows cannot be settled", "err", err)
			}
		}
		timer.Reset(max(sweepEvery, sweepShare*time.Since(begun)))
	}
}

// keyRange is a part of the ready index.
type keyRange struct{ prefix, from, to []byte }

// unattended lists the parts of the ready index with due rows that no lane may
// be going to settle: those of lanes that have not caught up, and what lies
// between the lanes.
func (o *Outbox) unattended() (ranges []keyRange) {
	due := ms(o.nowMS() + 1)
	for _, queue := range queues {
		all := ready.Key(queue)
		from := all
		for _, name := range o.Lanes() {
			lane := duePrefix(queue, name)
			ranges = append(ranges, keyRange{all, from, lane})
			if q := o.lanes[name].queueOf(&Delivery{Bulk: bytes.Equal(queue, bulkDue)}); !q.caughtUp.Load() {
				ranges = append(ranges, keyRange{lane, lane, ready.Key(queue, []byte(name), due)})
			}
			from = pastPrefix(lane)
		}
		ranges = append(ranges, keyRange{all, from, pastPrefix(all)})
	}
	return ranges
}

// pastPrefix is the first key after all that begin with a key of the ready
// index, whose last byte is never the highest.
func pastPrefix(key []byte) []byte {
	past := bytes.Clone(key)
	past[len(past)-1]++
	return past
}

// sweep ends the rows of a part of the ready index that have expired. Those in
// flight have their answer coming and are left alone.
func (o *Outbox) sweep(ctx context.Context, prefix, from, to []byte) error {
	now := o.nowMS()
	for {
		var page []*change
		var bad []entry
		var cause error
		more := false
		err := o.cfg.DB.View(func(tx *db.Tx) error {
			return tx.ScanRange(prefix, from, to, func(key, val []byte) (bool, error) {
				if at, _ := glance(val); at > now {
					return true, nil
				}
				d, err := readDue(key, val)
				switch lane := o.lanes[d.Lane]; {
				case err == nil && o.taken(d.MID):
					return true, nil
				case err != nil:
					bad, cause = append(bad, cloneEntry(key, val)), err
				case lane == nil:
					page = append(page, o.final(&d, StateExpired, "there is no lane "+d.Lane, push.Expired, false))
				default:
					page = append(page, o.final(&d, StateExpired, late(&d), push.Expired, false))
				}
				if more = len(page)+len(bad) == sweepPage; more {
					from = db.After(key)
				}
				return !more, nil
			})
		})
		if err != nil {
			return err
		}
		if err := o.discard(ctx, bad, cause); err != nil {
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
