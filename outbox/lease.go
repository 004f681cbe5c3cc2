package outbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"footfall/internal/db"
	"footfall/internal/row"
)

// leases holds one record for each batch of rows that is being sent, under a
// number of its own: when, and then message id and step of each row. It is
// written before the first request is made and removed some time after the last
// row has an outcome. What it says of a row holds while the row has the step
// that it had then: every outcome is another step.
var leases = db.Register(0x10, "delivery leases", 1)

// lease is one batch of rows that this process sends.
type lease struct {
	key  []byte
	open atomic.Int32 // rows without a recorded outcome
}

// since is when a row was leased, and as what.
type since struct {
	at   int64
	step int
}

// leasedRows is what all leases say, by message id.
type leasedRows map[string]since

// seen is d, which is not final, as it is to be seen: sending, if it is leased.
func (l leasedRows) seen(d Delivery) Delivery {
	if s, ok := l[d.MID]; ok && s.step == d.step {
		return d.asLeased(s.at)
	}
	return d
}

// readLeases reads all leases. They are few: what the lanes hold, and the last
// ones before.
func readLeases(tx *db.Tx) (leasedRows, error) {
	all := leasedRows{}
	err := tx.Scan(leases.Prefix(), nil, func(key, val []byte) (bool, error) {
		r := row.NewReader(val)
		at := r.Varint()
		for n := r.Count(); n > 0; n-- {
			mid, step := r.Text(), int(r.Uvarint())
			if s, ok := all[mid]; !ok || s.step < step {
				all[mid] = since{at, step}
			}
		}
		if !r.OK() {
			return false, fmt.Errorf("outbox: unreadable lease % x", key)
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// writeLease makes it durable, in one record, that rows are being sent, and
// returns those that are: a row that has changed since it was read is refused.
// After an error none is.
func (o *Outbox) writeLease(ctx context.Context, cs []*change) (made []*change, err error) {
	le := &lease{key: leases.Key(binary.BigEndian.AppendUint64(nil, o.leaseID.Add(1)))}
	spent := o.takeSpent()
	err = o.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		made = made[:0]
		var list []byte
		for _, c := range cs {
			c.refused = nil
			val, err := tx.Get(rowKey(c.old.MID))
			if err != nil && !errors.Is(err, db.ErrNotFound) {
				return fmt.Errorf("outbox: read delivery: %w", err)
			}
			if step, final, ok := stepOf(val); !ok || final || step != c.old.step {
				c.refused = errStale
				continue
			}
			if o.walked != nil {
				o.walked(c.old.State, StateSending)
			}
			made = append(made, c)
			list = row.AppendString(list, c.old.MID)
			list = binary.AppendUvarint(list, uint64(c.old.step))
		}
		for _, key := range spent {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		if len(made) == 0 {
			return nil
		}
		val := binary.AppendVarint(make([]byte, 0, 16+len(list)), cs[0].new.UpdatedAt)
		val = binary.AppendUvarint(val, uint64(len(made)))
		return tx.Set(le.key, append(val, list...))
	})
	if err != nil {
		o.spend(spent...)
		return nil, err
	}
	le.open.Store(int32(len(made)))
	for _, c := range cs {
		if c.made = c.refused == nil; c.made {
			c.lease = le
		}
		o.recorded(c)
	}
	return made, nil
}

// spend keeps the keys of leases whose rows all have their outcome, until the
// next lease is written.
func (o *Outbox) spend(keys ...[]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spent = append(o.spent, keys...)
}

func (o *Outbox) takeSpent() [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	keys := o.spent
	o.spent = nil
	return keys
}

// recover makes in doubt what a dead process had leased: it may have been sent.
// It does so once, before this process leases anything; after an error call it
// again.
func (o *Outbox) recover(ctx context.Context) error {
	o.recovering.Lock()
	defer o.recovering.Unlock()
	if o.recoveredAll {
		return nil
	}
	var left []*change
	var keys [][]byte
	err := o.cfg.DB.View(func(tx *db.Tx) error {
		all, err := readLeases(tx)
		if err != nil {
			return err
		}
		for mid, s := range all {
			d, found, err := read(tx, mid)
			if err != nil {
				o.cfg.Logger.Error("a leased delivery cannot be read", "mid", mid, "err", err)
				continue
			}
			if found && !d.State.Final() && d.step == s.step {
				left = append(left, o.leftBehind(d.asLeased(s.at)))
			}
		}
		return tx.Scan(leases.Prefix(), nil, func(key, _ []byte) (bool, error) {
			keys = append(keys, append([]byte(nil), key...))
			return true, nil
		})
	})
	if err != nil {
		return fmt.Errorf("outbox: what was being sent: %w", err)
	}
	for len(left) > 0 {
		n := min(len(left), recordBatch)
		if _, err := o.recordAll(ctx, left[:n]); err != nil {
			return fmt.Errorf("outbox: what was being sent: %w", err)
		}
		left = left[n:]
	}
	if len(keys) > 0 {
		if err := o.cfg.DB.Update(ctx, func(tx *db.Tx) error {
			for _, key := range keys {
				if err := tx.Delete(key); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return fmt.Errorf("outbox: remove leases: %w", err)
		}
	}
	o.recoveredAll = true
	return nil
}

// recoverUntil is recover, tried until ctx ends: false when it has.
func (o *Outbox) recoverUntil(ctx context.Context) bool {
	for {
		err := o.recover(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		o.cfg.Logger.Error("nothing is sent before it is known what was being sent", "err", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Second):
		}
	}
}
