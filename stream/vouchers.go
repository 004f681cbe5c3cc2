package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
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
	case p.Free > 0:
		return "", nil
	default:
		why = fmt.Sprintf("pool %s is empty: all of its %d codes are given or redeemed", p.Name, p.Total())
	}
	_, stands, err := dedupe.Standing(tx, dec.Key, dec.Period, time.UnixMilli(tr.At))
	if stands {
		why = ""
	}
	return why, err
}

// takeVoucher reserves the code of a push that has been claimed, and warns when its pool runs low. A pool that is empty is
// no error here: the push goes without.
func (s *settler) takeVoucher(tx *db.Tx, c *campaign.Campaign, mid, app string) (campaign.Check, error) {
	pool := c.Push.Voucher.Pool
	check := campaign.Check{Rule: "voucher"}
	_, p, err := voucher.Reserve(tx, pool, mid, app, c.ID)
	switch {
	case errors.Is(err, voucher.ErrEmpty), errors.Is(err, voucher.ErrNoPool):
		check.Detail = fmt.Sprintf("pool %s has no code left; sent without", pool)
		return check, nil
	case err != nil:
		return check, err
	}
	check.OK, check.Detail = true, fmt.Sprintf("a code of pool %s, which has %d left", pool, p.Free)
	if p.Free == 0 || p.Free == p.Mark() {
		tx.AfterCommit(func() {
			s.log.Warn("a pool of vouchers runs out", "pool", p.Name, "free", p.Free, "of", p.Total(), "campaign", c.ID)
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
func (s *settler) redeem(tx *db.Tx, in *input, f receipt.Fact, typed string, t *tally) (done bool, err error) {
	if typed == "" || !s.vouchers {
		return false, nil
	}
	c, what, err := voucher.Redeem(tx, typed)
	switch {
	case err != nil || what == voucher.Unknown:
		return false, err
	case what == voucher.Used:
		t.receipts[voucherUsed]++
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

// VoucherRequest asks about pools, or changes one.
type VoucherRequest struct {
	Pool  string   `json:"pool,omitempty"`
	Codes []string `json:"codes,omitempty"` // to add, at most voucher.MaxPage
	Check bool     `json:"check,omitempty"` // say what would be wrong, and change nothing
	Low   *int64   `json:"low,omitempty"`   // how few free codes are an alarm; 0: a tenth. nil leaves it
	// Fill draws codes until the pool has had so many, MaxPage at a time: ask again until Added is 0.
	Fill   int64  `json:"fill,omitempty"`
	Length int    `json:"length,omitempty"` // of codes that are drawn; 0: voucher.DefaultLength
	After  uint64 `json:"after,omitempty"`  // of a list of codes: the slot that it begins with
}

// VoucherAnswer is how a pool stands after a change.
type VoucherAnswer struct {
	voucher.Pool
	Added int    `json:"added"`
	Alarm string `json:"alarm,omitempty"`
}

// VoucherCodes is a page of a pool's codes.
type VoucherCodes struct {
	Codes []voucher.Code `json:"codes"`
	Next  uint64         `json:"next,omitempty"` // where the following page begins; 0: this was the last
}

// AddVouchers puts codes into a pool, or draws them. What it answers is durable. All codes of the request are added, or none.
func (g *Gateway) AddVouchers(ctx context.Context, q VoucherRequest) (a VoucherAnswer, err error) {
	switch {
	case !voucher.ValidPool(q.Pool):
		return a, fmt.Errorf("%w: %q cannot be the name of a pool: 1 to 64 of A-Z a-z 0-9 _ -", ErrQuery, q.Pool)
	case len(q.Codes) > voucher.MaxPage:
		return a, fmt.Errorf("%w: %d codes; at most %d in one request", ErrQuery, len(q.Codes), voucher.MaxPage)
	case q.Fill < 0 || q.Fill > voucher.MaxCodes || q.Fill > 0 && len(q.Codes) > 0:
		return a, fmt.Errorf("%w: fill %d: up to %d, and not with codes", ErrQuery, q.Fill, voucher.MaxCodes)
	case q.Length != 0 && (q.Length < 8 || q.Length > 32):
		return a, fmt.Errorf("%w: a code of %d characters; from 8 to 32", ErrQuery, q.Length)
	}
	low := int64(-1)
	if q.Low != nil {
		low = max(*q.Low, 0)
	}
	change := func(tx *db.Tx) error {
		codes := q.Codes
		if q.Fill > 0 {
			p, err := voucher.Get(tx, q.Pool)
			if err != nil && !errors.Is(err, voucher.ErrNoPool) {
				return err
			}
			if codes, err = drawCodes(tx, min(q.Fill-p.Total(), voucher.MaxPage), q.Length); err != nil {
				return err
			}
		}
		p, added, err := voucher.Add(tx, q.Pool, codes, low)
		if errors.Is(err, voucher.ErrTaken) || errors.Is(err, voucher.ErrFull) {
			err = fmt.Errorf("%w: %w", ErrQuery, err)
		}
		a = VoucherAnswer{Pool: p, Added: added, Alarm: p.Alarm()}
		return err
	}
	if q.Check {
		err = g.cfg.DB.View(func(tx *db.Tx) error {
			p, fresh, err := voucher.Check(tx, q.Pool, q.Codes)
			a = VoucherAnswer{Pool: p, Added: fresh, Alarm: p.Alarm()}
			if err != nil { // on one line: an answer's header has no more
				err = fmt.Errorf("%w: %s", ErrQuery, strings.ReplaceAll(strings.ReplaceAll(err.Error(), "voucher: ", ""), "\n", "; "))
			}
			return err
		})
		return a, err
	}
	if err = g.cfg.DB.Update(ctx, change); err == nil && a.Added > 0 {
		g.cfg.Logger.Info("vouchers were added", "pool", q.Pool, "added", a.Added, "free", a.Free)
	}
	return a, err
}

// drawCodes makes n codes that no pool has.
func drawCodes(tx *db.Tx, n int64, length int) (codes []string, err error) {
	if length == 0 {
		length = voucher.DefaultLength
	}
	letters := big.NewInt(int64(len(voucher.Alphabet)))
	seen := map[string]bool{}
	for int64(len(codes)) < n {
		code := make([]byte, length)
		for i := range code {
			k, err := rand.Int(rand.Reader, letters)
			if err != nil {
				return nil, fmt.Errorf("stream: draw a code: %w", err)
			}
			code[i] = voucher.Alphabet[k.Int64()]
		}
		_, taken, err := voucher.Find(tx, string(code))
		if err != nil {
			return nil, err
		}
		if !taken && !seen[string(code)] {
			seen[string(code)] = true
			codes = append(codes, string(code))
		}
	}
	return codes, nil
}

// VoucherPools lists the pools.
func (g *Gateway) VoucherPools() (list []VoucherAnswer, err error) {
	err = g.cfg.DB.View(func(tx *db.Tx) error {
		pools, err := voucher.Pools(tx)
		for _, p := range pools {
			list = append(list, VoucherAnswer{Pool: p, Alarm: p.Alarm()})
		}
		return err
	})
	return list, err
}

// ListVouchers lists a pool's codes, a page at a time.
func (g *Gateway) ListVouchers(q VoucherRequest) (a VoucherCodes, err error) {
	err = g.cfg.DB.View(func(tx *db.Tx) (err error) {
		a.Codes, a.Next, err = voucher.Page(tx, q.Pool, q.After, voucher.MaxPage)
		return err
	})
	return a, err
}
