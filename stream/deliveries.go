package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/voucher"
)

// What an operator may ask about deliveries and do to them. The functions work on the ledger, so that they serve a
// running gateway and the directory of one that is not running.

// OutboxQuery selects deliveries. Empty fields select all.
type OutboxQuery struct {
	State    outbox.State `json:"state,omitempty"`
	Lane     string       `json:"lane,omitempty"`
	Campaign string       `json:"campaign,omitempty"`
	Device   string       `json:"device,omitempty"` // <app>.<device>
	Limit    int          `json:"limit,omitempty"`  // 0 and more than outboxMost: outboxMost
}

// outboxMost bounds one answer, which has to fit into a NATS message.
const outboxMost = 1000

func (q *OutboxQuery) check() error {
	if q.Limit < 0 {
		return fmt.Errorf("%w: limit %d is negative", ErrQuery, q.Limit)
	}
	if q.Limit == 0 || q.Limit > outboxMost {
		q.Limit = outboxMost
	}
	if q.State == "" {
		return nil
	}
	for _, s := range outbox.States() {
		if s == q.State {
			return nil
		}
	}
	return fmt.Errorf("%w: %q is no state; there are %v", ErrQuery, q.State, outbox.States())
}

// OutboxPage is some deliveries; More says that there are others.
type OutboxPage struct {
	Deliveries []outbox.Delivery `json:"deliveries"`
	More       bool              `json:"more,omitempty"`
}

// ListDeliveries answers q. Without a state it reads rows until it has enough, with one the index of the state.
func ListDeliveries(d *db.DB, q OutboxQuery) (page OutboxPage, err error) {
	if err := q.check(); err != nil {
		return page, err
	}
	page.Deliveries = []outbox.Delivery{}
	f := outbox.Filter{State: q.State, Lane: q.Lane, Campaign: q.Campaign, Device: q.Device}
	err = d.View(func(tx *db.Tx) error {
		return outbox.List(tx, f, func(row *outbox.Delivery) bool {
			if page.More = len(page.Deliveries) == q.Limit; page.More {
				return false
			}
			row.Context = nil // for the renderer, not for people; a page would be twice as long
			page.Deliveries = append(page.Deliveries, *row)
			return true
		})
	})
	return page, err
}

// DeliveryView is one delivery with the claim it stands for.
type DeliveryView struct {
	outbox.Delivery
	// ClaimState is "reserved", "committed" or "released", and ClaimHolder the message that has the claim; empty
	// when there is none or it is past its period.
	ClaimState  string `json:"claim_state,omitempty"`
	ClaimHolder string `json:"claim_holder,omitempty"`
}

// ShowDelivery returns a delivery, or outbox.ErrUnknown.
func ShowDelivery(d *db.DB, mid string) (v DeliveryView, err error) {
	err = d.View(func(tx *db.Tx) error {
		row, found, err := outbox.Get(tx, mid)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("%w: %s", outbox.ErrUnknown, mid)
		}
		v.Delivery = row
		if row.Claim == (dedupe.Key{}) {
			return nil
		}
		c, found, err := dedupe.Get(tx, row.Claim)
		if found {
			v.ClaimState, v.ClaimHolder = c.State.String(), c.MID
		}
		return err
	})
	return v, err
}

// OutboxOrder says which deliveries are to be sent again or removed: those named, or those that a query selects.
type OutboxOrder struct {
	MIDs  []string     `json:"mids,omitempty"`
	Query *OutboxQuery `json:"query,omitempty"`
}

// OutboxResult is what was done, and for each message that was refused why. More says that the query selects
// others: give the order again.
type OutboxResult struct {
	Done    []string          `json:"done"`
	Refused map[string]string `json:"refused,omitempty"`
	More    bool              `json:"more,omitempty"`
}

// RetryDeliveries puts deliveries back into their queues; see outbox.Redrive for what is refused. After an error a
// part may be done.
func RetryDeliveries(ctx context.Context, d *db.DB, order OutboxOrder) (OutboxResult, error) {
	return order.carryOut(ctx, d, func(tx *db.Tx, mid string) error {
		old, row, err := outbox.Redrive(tx, mid)
		if err != nil {
			return err
		}
		if isCall(&row) {
			return countCall(tx, &old, &row)
		}
		if err := noteOutcome(tx, &old, &row, 0); err != nil {
			return err
		}
		if err := voucher.Retake(tx, row.Message(), row.App, row.Campaign); err != nil {
			return err
		}
		return recordOutcome(tx, nil, &old, &row) // on its way again: no event, one outcome less
	})
}

// PurgeDeliveries removes final deliveries. What they counted stays counted. After an error a part may be done.
func PurgeDeliveries(ctx context.Context, d *db.DB, order OutboxOrder) (OutboxResult, error) {
	return order.carryOut(ctx, d, func(tx *db.Tx, mid string) error {
		d, err := outbox.Purge(tx, mid)
		if err == nil && d.State == outbox.StateDead && !d.Doubt { // its claim is free again, and so is its code
			var all bool
			if all, err = outbox.OthersFailed(tx, &d); err == nil && all {
				_, err = voucher.GiveBack(tx, d.Message())
			}
		}
		return err
	})
}

// carryOut does one thing to each delivery of the order, each in a transaction of its own.
func (o OutboxOrder) carryOut(ctx context.Context, d *db.DB, do func(*db.Tx, string) error) (r OutboxResult, err error) {
	r = OutboxResult{Done: []string{}, Refused: map[string]string{}}
	mids := o.MIDs
	switch {
	case len(mids) > 0 && o.Query != nil:
		return r, fmt.Errorf("%w: message ids or a selection, not both", ErrQuery)
	case len(mids) > outboxMost:
		return r, fmt.Errorf("%w: %d message ids; at most %d at once", ErrQuery, len(mids), outboxMost)
	case o.Query != nil:
		if !o.Query.State.Final() {
			return r, fmt.Errorf("%w: name a final state, such as dead", ErrQuery)
		}
		page, err := ListDeliveries(d, *o.Query)
		if err != nil {
			return r, err
		}
		for i := range page.Deliveries {
			mids = append(mids, page.Deliveries[i].MID)
		}
		r.More = page.More
	case len(mids) == 0:
		return r, fmt.Errorf("%w: name message ids or a state", ErrQuery)
	}
	for _, mid := range mids {
		err := d.Update(ctx, func(tx *db.Tx) error { return do(tx, mid) })
		switch {
		case err == nil:
			r.Done = append(r.Done, mid)
		case refusal(err):
			r.Refused[mid] = err.Error()
		default:
			return r, err
		}
	}
	return r, nil
}

// refusal reports whether err says something about one delivery rather than about the ledger.
func refusal(err error) bool {
	for _, known := range []error{outbox.ErrUnknown, outbox.ErrNotFinal, outbox.ErrNoRetry, outbox.ErrLate, outbox.ErrSlotTaken, dedupe.ErrCommitted} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// LaneView is one lane with what waits in it.
type LaneView struct {
	Name string `json:"name"`
	outbox.LaneStats
	Backlog Backlog `json:"backlog"`
}

// Backlog is what waits in a lane.
type Backlog struct {
	Rows int64 `json:"rows"` // not final; counted up to backlogMost
	// OldestS is for how many seconds the oldest row has been due; 0 when none is.
	OldestS float64 `json:"oldest_s"`
}

// backlogMost bounds what is counted of a backlog: beyond it the figure only says "a lot".
const backlogMost = 100_000

// LaneViews reports on every lane. Counting what waits takes up to a tenth of a second per lane.
func (g *Gateway) LaneViews() (views []LaneView, err error) {
	stats := g.outbox.Stats()
	err = g.cfg.DB.View(func(tx *db.Tx) error {
		for _, name := range g.outbox.Lanes() {
			v := LaneView{Name: name, LaneStats: stats.Lanes[name]}
			n, err := outbox.Backlog(tx, name, backlogMost)
			if err != nil {
				return err
			}
			due, found, err := outbox.OldestDue(tx, name)
			if err != nil {
				return err
			}
			v.Backlog.Rows = int64(n)
			if found {
				v.Backlog.OldestS = max(0, g.cfg.Now().Sub(time.UnixMilli(due)).Seconds())
			}
			views = append(views, v)
		}
		return nil
	})
	return views, err
}
