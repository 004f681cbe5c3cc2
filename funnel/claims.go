package funnel

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"footfall/internal/db"
	"footfall/receipt"
)

// Claimed is one claim of a campaign, or with [ClaimsQuery.Held] an entry that was held, and what has become of it. Times are
// Unix ms; 0: it has not.
type Claimed struct {
	At     int64  `json:"at"`  // of the entry
	Day    Day    `json:"day"` // on the store's clock
	ID     string `json:"id"`  // of the decision
	Person string `json:"person,omitempty"`
	Device string `json:"device"` // that it came by
	Fence  string `json:"fence,omitempty"`
	Kind   string `json:"kind"` // enter, exit, dwell, crossed, campaign_began, announcement, journey
	// Variant is the arm of the experiment.
	Variant string `json:"variant,omitempty"`
	MID     string `json:"mid,omitempty"` // of the push; "" for the holdout, and for a held one
	// State is how the push ended (accepted, failed, expired, cancelled, dead, suppressed), owed while it is on its way,
	// holdout for a claim that was not to be pushed, held for an entry without a claim. Reason says why, when there is more to say.
	State     string `json:"state"`
	Reason    string `json:"reason,omitempty"`
	Accepted  int64  `json:"accepted,omitzero"`
	Delivered int64  `json:"delivered,omitzero"` // the first word of the phone about it
	Opened    int64  `json:"opened,omitzero"`
	Converted int64  `json:"converted,omitzero"`
}

// ClaimsQuery asks for the claims of one campaign from a day to another on the stores' clocks.
type ClaimsQuery struct {
	Campaign string `json:"campaign"`
	From     Day    `json:"from"`
	To       Day    `json:"to"`
	Held     bool   `json:"held,omitzero"` // the entries that were held, too
	// AfterAt and AfterID name the last claim of the page before; the zero values ask for the first page.
	AfterAt int64  `json:"after_at,omitzero"`
	AfterID string `json:"after_id,omitempty"`
}

// ClaimsPage is a part of the answer, by time. Ask again after the last one until there are no more.
type ClaimsPage struct {
	Claims []Claimed `json:"claims"`
	More   bool      `json:"more,omitzero"`
}

// claimsPage is how many claims one page has at most: with half a kilobyte each it fits into a NATS message.
const claimsPage = 1000

// Claims lists a page of claims, out of the facts of reports: for as long as these are kept, which is longer than the ledger
// keeps the claims themselves. It reads the entries of the days, held ones too, up to the end of the page.
func Claims(ctx context.Context, tx *db.Tx, q ClaimsQuery) (page ClaimsPage, err error) {
	days := Query{From: q.From, To: q.To}
	if err := days.Check(); err != nil {
		return page, err
	}
	if q.Campaign == "" {
		return page, fmt.Errorf("%w: whose claims? name a campaign", ErrQuery)
	}
	page.Claims = []Claimed{}
	n := 0
	err = eachEntry(tx, q.Campaign, max(q.From.begins(), q.AfterAt), q.To.ends(), func(e *Entry) error {
		if n++; n&0xfff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		day := DayOf(e.At, e.OffsetMin)
		switch {
		case day < q.From || day > q.To, e.At == q.AfterAt && e.ID <= q.AfterID, e.MID == "" && e.Reason != HeldOut && !q.Held:
			return nil
		case len(page.Claims) == claimsPage:
			page.More = true
			return errPageFull
		}
		c, err := claimedBy(tx, e, day)
		page.Claims = append(page.Claims, c)
		return err
	})
	if err == errPageFull {
		err = nil
	}
	return page, err
}

// errPageFull ends a scan, and is never seen.
var errPageFull = errors.New("funnel: the page is full")

func claimedBy(tx *db.Tx, e *Entry, day Day) (c Claimed, err error) {
	c = Claimed{At: e.At, Day: day, ID: e.ID, Device: e.Device, Fence: e.Fence, Kind: e.Kind, Variant: e.Variant, MID: e.MID, State: "held", Reason: e.Reason}
	if person, is := strings.CutPrefix(e.Subject, "p:"); is {
		c.Person = person
	}
	if e.MID == "" {
		if e.Reason == HeldOut {
			c.State, c.Reason = HeldOut, ""
		}
		return c, nil
	}
	o, ended, err := OutcomeOf(tx, e.MID)
	if err != nil {
		return c, err
	}
	c.State, c.Reason = "owed", ""
	if ended {
		c.State = o.State
		if o.State == Accepted {
			c.Accepted = o.At
		} else {
			c.Reason = o.Reason
		}
	}
	first := func(to *int64, at int64) {
		if *to == 0 || at < *to {
			*to = at
		}
	}
	for _, mid := range e.MIDs() {
		facts, err := receipt.Facts(tx, mid)
		if err != nil {
			return c, err
		}
		for _, f := range facts {
			switch f.Ev {
			case receipt.Converted:
				first(&c.Converted, f.At)
				continue
			case receipt.Opened, receipt.Action:
				first(&c.Opened, f.At)
			}
			first(&c.Delivered, f.At)
		}
	}
	return c, nil
}
