package outbox

import (
	"errors"
	"fmt"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
)

// Why a delivery cannot be sent again or removed. Nothing has been written
// when one of them comes back.
var (
	// ErrUnknown: there is no delivery with this message id, or no longer.
	ErrUnknown = errors.New("outbox: no such delivery")
	// ErrNotFinal: the delivery is still on its way.
	ErrNotFinal = errors.New("outbox: the delivery is still on its way")
	// ErrNoRetry: its state does not allow it (accepted, cancelled).
	ErrNoRetry = errors.New("outbox: cannot be sent again")
	// ErrLate: its expiry has passed, or is so near that no attempt is worth it.
	ErrLate = errors.New("outbox: the message is no longer worth sending")
	// ErrSlotTaken: its claim was released, and another message has it now.
	ErrSlotTaken = errors.New("outbox: another message has the claim")
)

// Redrive puts a dead, failed or suppressed delivery back into its queue, with
// its attempts counted anew and the same message id, and returns the row before
// and after. Its expiry stays. A claim that was released is taken back, if it is
// still free. The caller calls Outbox.Notify once the transaction has committed.
func Redrive(tx *db.Tx, mid string) (old, d Delivery, err error) {
	old, found, err := read(tx, mid)
	now := tx.Now().UnixMilli()
	switch {
	case err != nil:
		return old, d, err
	case !found:
		return old, d, fmt.Errorf("%w: %s", ErrUnknown, mid)
	case !old.State.Final():
		return old, d, fmt.Errorf("%w: %s is %s", ErrNotFinal, mid, old.State)
	case now >= old.ExpiresAt-expiryMargin.Milliseconds():
		return old, d, fmt.Errorf("%w: %s expired at %s", ErrLate, mid, time.UnixMilli(old.ExpiresAt).UTC().Format(time.RFC3339))
	case follow(old.State, StatePending) != nil:
		return old, d, fmt.Errorf("%w: %s is %s", ErrNoRetry, mid, old.State)
	}
	if old.Claim != (dedupe.Key{}) {
		err := dedupe.Retake(tx, old.Claim, old.Message())
		if errors.Is(err, dedupe.ErrNotHolder) || errors.Is(err, dedupe.ErrNoClaim) {
			return old, d, fmt.Errorf("%w: %s: %w", ErrSlotTaken, mid, err)
		}
		if err != nil {
			return old, d, err
		}
	}
	d = old
	d.State, d.Reason = StatePending, "sent again by hand; was "+string(old.State)+": "+old.Reason
	d.Attempts, d.Redos, d.NextAt, d.UpdatedAt = 0, 0, now, now
	d.Tried = nil
	d.Redrives++
	d.FirstAt = 0 // what came before the operator's word is another story
	touch(tx)
	return old, d, put(tx, &old, &d, 0)
}

// Hasten makes a delivery that waits for a later time due at at (Unix ms), so that
// Config.Compose is asked now what is to become of it, and reports whether it did.
// One that is due, is being sent or has an outcome stays as it is. The caller
// calls Outbox.Notify once the transaction has committed.
func Hasten(tx *db.Tx, mid string, at int64) (bool, error) {
	old, found, err := Get(tx, mid)
	if err != nil || !found || old.State.Final() || old.State == StateSending || old.NextAt <= at {
		return false, err
	}
	d := old
	d.NextAt = at
	touch(tx)
	return true, put(tx, &old, &d, 0)
}

// Purge removes a final delivery and returns it. The claim of a dead one, which
// was kept for a retry, is released unless the message was ever in doubt.
func Purge(tx *db.Tx, mid string) (Delivery, error) {
	d, found, err := read(tx, mid)
	switch {
	case err != nil:
		return d, err
	case !found:
		return d, fmt.Errorf("%w: %s", ErrUnknown, mid)
	case follow(d.State, none) != nil:
		return d, fmt.Errorf("%w: %s is %s", ErrNotFinal, mid, d.State)
	}
	if d.State == StateDead && !d.Doubt {
		if _, err := settleClaim(tx, &d, claimRelease); err != nil {
			return d, err
		}
	}
	_, err = remove(tx, &d)
	return d, err
}

// remove deletes a row and its entry in an index, and returns how many keys that
// were.
func remove(tx *db.Tx, d *Delivery) (n int, err error) {
	touch(tx)
	keys := [][]byte{rowKey(d.MID)}
	switch {
	case !d.State.Final():
		keys = append(keys, dueKey(d))
		if waits(d.Lane) {
			keys = append(keys, waitingKey(d))
		}
	case d.State != StateAccepted:
		keys = append(keys, finishedKey(d))
	}
	for _, key := range keys {
		err = errors.Join(err, tx.Delete(key))
	}
	return len(keys), err
}
