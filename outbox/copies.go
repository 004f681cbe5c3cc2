package outbox

import (
	"cmp"
	"slices"

	"footfall/dedupe"
	"footfall/internal/db"
)

// A message to several devices of one person is a row for each of them, under
// one claim. The rows go their ways apart: each has its own token, attempts,
// outcome and receipts. What they share is settled by all of them together:
// the claim is committed by the first that is accepted, and released by the
// last that fails, when none was accepted, none is dead (it may be sent again)
// and none was ever in doubt.

// MaxCopies is how many devices one message goes to at most.
const MaxCopies = 8

// Message is the message id of the claim that the row stands for.
func (d *Delivery) Message() string { return cmp.Or(d.Lead, d.MID) }

// MIDs are the message ids of the rows of d's message, its own among them, the
// first one first.
func (d *Delivery) MIDs() []string {
	if d.Copies == 0 {
		return []string{d.MID}
	}
	out := make([]string, d.Copies)
	for n := range out {
		out[n] = dedupe.CopyID(d.Lead, n)
	}
	return out
}

// Others reads the other rows of d's message. Those that are no longer kept are
// left out.
func Others(tx *db.Tx, d *Delivery) (out []Delivery, err error) {
	if d.Copies == 0 {
		return nil, nil
	}
	for _, mid := range d.MIDs() {
		if mid == d.MID {
			continue
		}
		o, found, err := Get(tx, mid)
		if err != nil {
			return nil, err
		}
		if found {
			out = append(out, o)
		}
	}
	return out, nil
}

// OthersFailed reports whether it is certain that the other rows of d's message
// have reached nobody and will not. A dead row may be sent again, so it has not
// failed; one that is no longer kept has been given up.
func OthersFailed(tx *db.Tx, d *Delivery) (bool, error) {
	others, err := Others(tx, d)
	return !slices.ContainsFunc(others, func(o Delivery) bool { return !o.failed() }), err
}

func (d *Delivery) failed() bool {
	return d.State.Final() && d.State != StateAccepted && d.State != StateDead && !d.Doubt
}

// Speaks returns the row that says what became of a message: an accepted one,
// the first of several, else one that is still on its way, else the one that
// came furthest. rows is not empty; the first of equals counts.
func Speaks(rows []Delivery) *Delivery {
	rank := func(d *Delivery) int {
		switch {
		case d.State == StateAccepted:
			return 0
		case !d.State.Final():
			return 1
		case d.State == StateDead:
			return 2
		case d.Attempts > 0:
			return 3
		}
		return 4
	}
	best := &rows[0]
	for i := range rows {
		d := &rows[i]
		order := cmp.Compare(rank(d), rank(best))
		if order == 0 && d.State == StateAccepted {
			order = cmp.Compare(d.UpdatedAt, best.UpdatedAt)
		}
		if order < 0 {
			best = d
		}
	}
	return best
}
