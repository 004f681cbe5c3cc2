package outbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
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

// damagedLeases keeps, for Config.KeepFinished, leases that could not be read.
var damagedLeases = db.Register(0x19, "damaged delivery leases", 1)

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
// ones before. One that cannot be read says nothing: recover sees to it.
func readLeases(tx *db.Tx) (leasedRows, error) {
	all := leasedRows{}
	err := tx.Scan(leases.Prefix(), nil, func(_, val []byte) (bool, error) {
		all.add(val)
		return true, nil
	})
	return all, err
}

// add adds what one lease says; ok is false, and nothing added, when it cannot
// be read.
func (l leasedRows) add(val []byte) (ok bool) {
	r := row.NewReader(val)
	at := r.Varint()
	one := leasedRows{}
	for n := r.Count(); n > 0; n-- {
		mid, step := r.Text(), int(r.Uvarint())
		one[mid] = since{at, step}
	}
	if !r.OK() {
		return false
	}
	for mid, s := range one {
		if had, ok := l[mid]; !ok || had.step < s.step {
			l[mid] = s
		}
	}
	return true
}

// writeLease makes it durable, in one record, that rows are being sent, and
// returns those that are: a row that has changed since it was read is refused.
// asOf is what lookedAt returned before they were read. After an error none is.
func (o *Outbox) writeLease(ctx context.Context, cs []*change, asOf uint64) (made []*change, err error) {
	le := &lease{key: leases.Key(binary.BigEndian.AppendUint64(nil, o.leaseID.Add(1)))}
	spent := o.takeSpent()
	err = o.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		made = made[:0]
		list := make([]byte, 0, 40*len(cs)) // a message id is a UUID
		m := memoryOf(tx)
		o.memory.Store(m)
		same := asOf != 0 && asOf == 1+m.touches.Load()
		for _, c := range cs {
			c.refused = nil
			if !same {
				val, err := stored(tx, c.old.MID)
				if err != nil && !errors.Is(err, errNoEntry) {
					return err
				}
				if step, final, ok := stepOf(val); !ok || final || step != c.old.step {
					c.refused = errStale
					continue
				}
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
		} else {
			o.recorded(c)
		}
	}
	return made, nil
}

// lookedAt marks the beginning of a look at rows that may be leased; 0: they have
// to be read again then.
func (o *Outbox) lookedAt() uint64 {
	if m := o.memory.Load(); m != nil {
		return 1 + m.touches.Load()
	}
	return 0
}

// front is that of a lane's queue; nil before this process has leased anything, when a
// queue is read from its beginning.
func (o *Outbox) front(of queueName) *front {
	if m := o.memory.Load(); m != nil {
		return m.front(of)
	}
	return nil
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
	all := leasedRows{}
	var keys, damaged [][]byte
	err := o.cfg.DB.View(func(tx *db.Tx) error {
		err := tx.Scan(leases.Prefix(), nil, func(key, val []byte) (bool, error) {
			keys = append(keys, bytes.Clone(key))
			if !all.add(val) {
				damaged = append(damaged, bytes.Clone(key))
			}
			return true, nil
		})
		if err == nil && len(damaged) > 0 {
			err = o.suspect(tx, all)
		}
		return err
	})
	if err == nil {
		err = o.leaveInDoubt(ctx, all)
	}
	if err != nil {
		return fmt.Errorf("outbox: what was being sent: %w", err)
	}
	if err := o.removeLeases(ctx, keys, damaged); err != nil {
		return fmt.Errorf("outbox: remove leases: %w", err)
	}
	if len(damaged) > 0 {
		o.count(func(c *counts) { c.damaged += int64(len(damaged)) })
		o.cfg.Logger.Error("records of what was being sent cannot be read; whatever was due is taken for sent and in doubt", "records", len(damaged), "deliveries", len(all))
	}
	o.recoveredAll = true
	return nil
}

// suspect adds to all, for leases that cannot be read, every row that is due:
// each of them may have been sent, and only rows that were due were leased.
func (o *Outbox) suspect(tx *db.Tx, all leasedRows) error {
	now := o.nowMS()
	for _, queue := range queues {
		err := tx.Scan(ready.Key(queue), nil, func(key, val []byte) (bool, error) {
			d, err := readDue(key, val)
			if err != nil || d.NextAt > now {
				return true, nil // a bad entry is the queue's to discard
			}
			if _, named := all[d.MID]; !named {
				all[d.MID] = since{d.UpdatedAt, d.step}
			}
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leaveInDoubt settles the rows of leases that a dead process has left.
func (o *Outbox) leaveInDoubt(ctx context.Context, all leasedRows) error {
	for mids := range slices.Chunk(slices.Collect(maps.Keys(all)), recordBatch) {
		var left []*change
		err := o.cfg.DB.View(func(tx *db.Tx) error {
			for _, mid := range mids {
				d, found, err := read(tx, mid)
				if err != nil {
					o.cfg.Logger.Error("a leased delivery cannot be read", "mid", mid, "err", err)
					continue
				}
				if found && !d.State.Final() && d.step == all[mid].step {
					d = d.asLeased(all[mid].at)
					left = append(left, o.leftBehind(&d))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if _, err := o.recordAll(ctx, left); err != nil {
			return err
		}
	}
	return nil
}

// removeLeases removes leases that say nothing any more; the damaged ones of
// them are put aside.
func (o *Outbox) removeLeases(ctx context.Context, keys, damaged [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	return o.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		for _, key := range damaged {
			val, err := tx.Get(key)
			if err == nil {
				err = tx.SetUntil(damagedLeases.Key(key), val, tx.Now().Add(o.cfg.KeepFinished))
			}
			if err != nil && !errors.Is(err, db.ErrNotFound) {
				return err
			}
		}
		for _, key := range keys {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
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
