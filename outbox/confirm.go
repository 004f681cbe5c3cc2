package outbox

import (
	"footfall/internal/db"
	"footfall/push"
)

// reasonReported is the reason of a delivery that the phone's word has settled.
const reasonReported = "the phone has reported it"

// Confirm settles a delivery whose phone says that it has the message: one that
// waits, in doubt or to be tried again, becomes accepted and is not sent once
// more. It is called in the transaction that stores the report, so that
// Config.Arrived knows of it from then on: that is how one that is being sent
// is settled, by its outcome. Final and unknown ones stay as they are.
func (o *Outbox) Confirm(tx *db.Tx, mid string) error {
	d, found, err := read(tx, mid)
	if err != nil || !found || d.State.Final() || o.taken(mid) {
		return err
	}
	c := &change{old: &d, new: confirmed(d), claim: claimCommit, tell: true,
		outcome: push.Outcome{Class: push.Accepted, Reason: reasonReported}}
	c.new.UpdatedAt = o.nowMS()
	if err := o.apply(tx, c); err != nil {
		return err
	}
	tx.AfterCommit(func() { o.recorded(c) })
	return nil
}

// confirmed is d as its phone's word settles it.
func confirmed(d Delivery) Delivery {
	d.State, d.Reason, d.NextAt = StateAccepted, reasonReported, 0
	d.Attempts = max(d.Attempts, 1) // a crash spends none, but one has arrived
	return d
}
