package stream

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"footfall/campaign"
	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/receipt"
	"footfall/track"
	"footfall/voucher"
)

// What the settler says of an event that names a voucher; the reasons of Stats.Receipts.
const (
	voucherRedeemed = "voucher_redeemed"
	voucherUsed     = "voucher_used"      // redeemed before: it credits nobody
	voucherNotGiven = "voucher_not_given" // nobody had it yet, and nobody will
	voucherExpired  = "voucher_expired"   // shown after its end: it credits nobody
)

// redeems reports whether an event of this name uses up the voucher that it names.
func redeems(event string) bool { return event == "purchase" || event == "redeem" }

// noVoucher says why there is no code for a push that must not go out without one; "" when there is one, and when the claim
// stands already: then that is the reason, or the push has its code.
func noVoucher(tx *db.Tx, c *campaign.Campaign, dec *campaign.Decision, tr *track.Transition) (why string, err error) {
	p, err := voucher.Get(tx, c.Push.Voucher.Pool)
	switch {
	case errors.Is(err, voucher.ErrNoPool):
		why = fmt.Sprintf("there is no pool %s; footfall voucher import makes it", c.Push.Voucher.Pool)
	case err != nil:
		return "", err
	case p.Left(tx.Now().UnixMilli()) > 0:
		return "", nil
	default:
		why = p.Advice(tx.Now().UnixMilli())
	}
	_, stands, err := dedupe.Standing(tx, dec.Key, dec.Period, time.UnixMilli(tr.At))
	if stands {
		why = ""
	}
	return why, err
}

// takeVoucher reserves the code of a push that has been claimed, and warns when its pool runs low. A pool that gives none is
// no error here: the push goes without.
func (s *settler) takeVoucher(tx *db.Tx, c *campaign.Campaign, mid, app string) (campaign.Check, error) {
	pool := c.Push.Voucher.Pool
	check := campaign.Check{Rule: "voucher"}
	_, p, err := voucher.Reserve(tx, pool, mid, app, c.ID)
	switch {
	case voucher.GivesNone(err):
		check.Detail = fmt.Sprintf("no code: %s; sent without", strings.TrimPrefix(err.Error(), "voucher: "))
		return check, nil
	case err != nil:
		return check, err
	}
	check.OK, check.Detail = true, fmt.Sprintf("a code of pool %s, which has %d left", pool, p.Free)
	if p.Free == 0 || p.Free == p.Mark() {
		advice := p.Advice(tx.Now().UnixMilli())
		tx.AfterCommit(func() {
			s.log.Warn("a pool of vouchers runs out", "pool", p.Name, "free", p.Free, "of", p.Total(), "campaign", c.ID, "do", advice)
		})
	}
	return check, nil
}

// returnVoucher gives the code of a push back that certainly reached nobody: it has ended without a provider having taken
// it, and no try was ever in doubt. A dead one keeps its code, as it keeps its claim.
func returnVoucher(tx *db.Tx, d *outbox.Delivery) error {
	if !d.State.Final() || d.State == outbox.StateAccepted || d.State == outbox.StateDead || d.Doubt {
		return nil
	}
	if all, err := outbox.OthersFailed(tx, d); err != nil || !all {
		return err
	}
	_, err := voucher.GiveBack(tx, d.Message())
	return err
}

// redeem uses up the voucher that an event names, and credits the push that it was given with. done is false when it is none.
// Whether it had expired is judged at the time of the event: tills send late.
func (s *settler) redeem(tx *db.Tx, in *input, event string, f receipt.Fact, typed string, t *tally) (done bool, err error) {
	if typed == "" || !s.vouchers {
		return false, nil
	}
	c, what, err := voucher.Redeem(tx, typed, min(cmp.Or(f.At, in.receivedAt), in.receivedAt), event == "purchase")
	switch {
	case err != nil || what == voucher.Unknown:
		return false, err
	case what == voucher.Used:
		t.receipts[voucherUsed]++
		return true, nil
	case what == voucher.Expired:
		t.receipts[voucherExpired]++
		return true, nil
	case c.Given == 0:
		t.receipts[voucherNotGiven]++
		return true, nil
	}
	t.receipts[voucherRedeemed]++
	if c.MID == "" { // whoever had it is forgotten
		return true, nil
	}
	if len(f.Currency) != 3 {
		f.Currency = ""
	}
	f.Via = "voucher"
	d, found, err := outbox.Get(tx, c.MID)
	if err != nil {
		return true, err
	}
	if !found { // reports remember the push for longer than the outbox does
		d = outbox.Delivery{MID: c.MID, App: c.App, Device: string(in.device), Campaign: c.Campaign, CreatedAt: c.Given}
	}
	return true, s.addFact(tx, &d, in, f, t)
}
