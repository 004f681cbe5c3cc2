package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"footfall/campaign"
	"footfall/internal/db"
	"footfall/journey"
	"footfall/outbox"
	"footfall/voucher"
)

// VoucherRequest asks about pools, or changes one.
type VoucherRequest struct {
	Pool  string   `json:"pool,omitempty"`
	Codes []string `json:"codes,omitempty"` // to add, at most voucher.MaxPage
	Check bool     `json:"check,omitempty"` // say what would be wrong, and change nothing
	// Low, Expires (Unix ms) and Life (ms) change the terms of a pool, see voucher.Terms; nil leaves one as it is. Without Codes
	// and Fill there must be such a pool.
	Low     *int64 `json:"low,omitempty"`
	Expires *int64 `json:"expires,omitempty"`
	Life    *int64 `json:"life,omitempty"`
	// Fill draws codes until the pool has had so many, MaxPage at a time: ask again until Added is 0.
	Fill   int64  `json:"fill,omitempty"`
	Length int    `json:"length,omitempty"` // of codes that are drawn; 0: voucher.DefaultLength
	After  uint64 `json:"after,omitempty"`  // of a list of codes: the slot that it begins with
	Force  bool   `json:"force,omitempty"`  // of a drop: although people have codes that still work
}

// VoucherAnswer is how a pool stands after a change.
type VoucherAnswer struct {
	voucher.Pool
	Added  int    `json:"added"`
	Left   int64  `json:"left"` // codes that can still be given: none of a pool that has expired
	Alarm  string `json:"alarm,omitempty"`
	Advice string `json:"advice,omitempty"` // what the alarm is about, and what to do
}

// VoucherDropped says how far a drop has come: ask again until Left, in codes, is 0.
type VoucherDropped struct {
	Left int64 `json:"left"`
}

// VoucherCodes is a page of a pool's codes.
type VoucherCodes struct {
	Pool  voucher.Pool   `json:"pool"`
	At    int64          `json:"at"` // Unix ms of the gateway, by which codes have expired or not
	Codes []voucher.Code `json:"codes"`
	Next  uint64         `json:"next,omitempty"` // where the following page begins; 0: this was the last
}

func voucherAnswer(p *voucher.Pool, added int, now int64) VoucherAnswer {
	return VoucherAnswer{Pool: *p, Added: added, Left: p.Left(now), Alarm: p.Alarm(now), Advice: p.Advice(now)}
}

// check refuses what makes no sense, with an ErrQuery.
func (q *VoucherRequest) check() error {
	switch {
	case !voucher.ValidPool(q.Pool):
		return fmt.Errorf("%w: %q cannot be the name of a pool: 1 to 64 of A-Z a-z 0-9 _ -", ErrQuery, q.Pool)
	case len(q.Codes) > voucher.MaxPage:
		return fmt.Errorf("%w: %d codes; at most %d in one request", ErrQuery, len(q.Codes), voucher.MaxPage)
	case q.Fill < 0 || q.Fill > voucher.MaxCodes || q.Fill > 0 && len(q.Codes) > 0:
		return fmt.Errorf("%w: fill %d: up to %d, and not with codes", ErrQuery, q.Fill, voucher.MaxCodes)
	case q.Length != 0 && (q.Length < 8 || q.Length > 32):
		return fmt.Errorf("%w: a code of %d characters; from 8 to 32", ErrQuery, q.Length)
	case q.Low != nil && *q.Low < 0, q.Expires != nil && *q.Expires < 0, q.Life != nil && *q.Life < 0:
		return fmt.Errorf("%w: low, expires and life are 0 or more", ErrQuery)
	}
	return nil
}

// terms are those of p with what the request changes.
func (q *VoucherRequest) terms(p *voucher.Pool) *voucher.Terms {
	t := p.Terms
	for _, f := range []struct {
		to   *int64
		from *int64
	}{{&t.Low, q.Low}, {&t.Expires, q.Expires}, {&t.Life, q.Life}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	return &t
}

// AddVouchers puts codes into a pool, or draws them, and changes its terms. What it answers is durable. All codes of the
// request are added, or none.
func (g *Gateway) AddVouchers(ctx context.Context, q VoucherRequest) (a VoucherAnswer, err error) {
	if err := q.check(); err != nil {
		return a, err
	}
	change := func(tx *db.Tx) error {
		p, err := voucher.Get(tx, q.Pool)
		if err != nil && (!errors.Is(err, voucher.ErrNoPool) || len(q.Codes) == 0 && q.Fill == 0) {
			return err
		}
		codes := q.Codes
		if q.Fill > 0 {
			if codes, err = drawCodes(tx, min(q.Fill-p.Total(), voucher.MaxPage), q.Length); err != nil {
				return err
			}
		}
		p, added, err := voucher.Add(tx, q.Pool, codes, q.terms(&p))
		if errors.Is(err, voucher.ErrTaken) || errors.Is(err, voucher.ErrFull) || errors.Is(err, voucher.ErrDropping) {
			err = fmt.Errorf("%w: %w", ErrQuery, err)
		}
		a = voucherAnswer(&p, added, tx.Now().UnixMilli())
		return err
	}
	if q.Check {
		err = g.cfg.DB.View(func(tx *db.Tx) error {
			p, fresh, err := voucher.Check(tx, q.Pool, q.Codes)
			a = voucherAnswer(&p, fresh, tx.Now().UnixMilli())
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

// DropVouchers removes a pool with its codes, MaxPage at a time. It refuses, with an ErrQuery that says what to do, a pool that a
// campaign or journey gives codes of, one with pushes on their way, and, unless forced, one with codes that people may still show.
func (g *Gateway) DropVouchers(ctx context.Context, q VoucherRequest) (a VoucherDropped, err error) {
	var p voucher.Pool
	err = g.cfg.DB.View(func(tx *db.Tx) error {
		if p, err = voucher.Get(tx, q.Pool); err != nil || p.Dropping {
			return err
		}
		return g.mayDrop(tx, &p, q.Force)
	})
	if err != nil {
		return a, err
	}
	if err = g.cfg.DB.Update(ctx, func(tx *db.Tx) error { a.Left, err = voucher.Drop(tx, q.Pool, voucher.MaxPage); return err }); err == nil && a.Left == 0 {
		g.cfg.Logger.Info("a pool of vouchers was dropped", "pool", p.Name, "free", p.Free, "given", p.Given, "redeemed", p.Redeemed)
	}
	return a, err
}

// mayDrop says with an ErrQuery why a pool must stay.
func (g *Gateway) mayDrop(tx *db.Tx, p *voucher.Pool, force bool) error {
	now := tx.Now()
	if users := g.voucherUsers(tx, p.Name, now); len(users) > 0 {
		return fmt.Errorf("%w: pool %s stays: it is used by %s; stop or end them, or take the voucher out of their pushes", ErrQuery, p.Name, strings.Join(users, ", "))
	}
	onWay := 0
	var broken error
	err := outbox.List(tx, outbox.Filter{}, func(d *outbox.Delivery) bool {
		if !d.State.Final() {
			c, found, err := voucher.Of(tx, d.Message())
			if broken = err; found && c.Pool == p.Name {
				onWay++
			}
		}
		return broken == nil
	})
	switch {
	case err != nil || broken != nil:
		return errors.Join(err, broken)
	case onWay > 0:
		return fmt.Errorf("%w: pool %s stays: %d pushes with codes of it are on their way; footfall outbox list shows them, campaign stop cancels them", ErrQuery, p.Name, onWay)
	case p.Given > 0 && !p.Expired(now.UnixMilli()) && !force:
		return fmt.Errorf("%w: pool %s stays: people may still show %d codes that were given and not redeemed, and the till would not know them; wait until they have expired, or force it", ErrQuery, p.Name, p.Given)
	}
	return nil
}

// voucherUsers names the campaigns and journeys that may still give codes of a pool. A campaign whose window is over and one that an
// operator has stopped do not; one that is paused does.
func (g *Gateway) voucherUsers(tx *db.Tx, pool string, now time.Time) (users []string) {
	last := time.FixedZone("the last to see a day end", -12*60*60)
	for _, c := range g.Campaigns().All() {
		if c.Enabled && c.Push.Voucher != nil && c.Push.Voucher.Pool == pool {
			if _, open := c.Window.NextOpen(now, last); open {
				users = append(users, "campaign "+c.ID)
			}
		}
	}
	set := g.journeys.set.Load()
	for key, j := range set.versions {
		takes := slices.ContainsFunc(j.Pushes(), func(c *campaign.Campaign) bool { return c.Push.Voucher != nil && c.Push.Voucher.Pool == pool })
		name := "journey " + key[0]
		if !takes || set.states[key[0]].StoppedAt != 0 || slices.Contains(users, name) {
			continue
		}
		if set.active[key[0]] == j || g.underway(tx, key[0], key[1]) {
			users = append(users, name)
		}
	}
	slices.Sort(users)
	return users
}

// underway reports whether somebody is in a version of a journey. When it cannot be read, somebody may be.
func (g *Gateway) underway(tx *db.Tx, id, revision string) (some bool) {
	err := journey.RunsOf(tx, func(string, string) bool { return !some }, func(of, _ string, r *journey.Run) {
		some = some || of == id && r.Revision == revision && r.Active()
	})
	return some || err != nil
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
	err = g.cfg.DB.View(func(tx *db.Tx) (err error) { list, err = voucherAnswers(tx); return err })
	return list, err
}

func voucherAnswers(tx *db.Tx) (list []VoucherAnswer, err error) {
	pools, err := voucher.Pools(tx)
	for i := range pools {
		list = append(list, voucherAnswer(&pools[i], 0, tx.Now().UnixMilli()))
	}
	return list, err
}

// ListVouchers lists a pool's codes, a page at a time.
func (g *Gateway) ListVouchers(q VoucherRequest) (a VoucherCodes, err error) {
	err = g.cfg.DB.View(func(tx *db.Tx) (err error) {
		if a.Pool, err = voucher.Get(tx, q.Pool); err != nil {
			return err
		}
		a.At = tx.Now().UnixMilli()
		a.Codes, a.Next, err = voucher.Page(tx, q.Pool, q.After, voucher.MaxPage)
		return err
	})
	return a, err
}
