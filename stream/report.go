package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/forecast"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/track"
	"footfall/voucher"
)

// report answers for the running gateway, one report at a time: each may read much of the ledger.
func (g *Gateway) report(ctx context.Context, q funnel.Query) (any, error) {
	if !g.reporting.CompareAndSwap(false, true) {
		return nil, ErrBusy
	}
	defer g.reporting.Store(false)
	r, err := Report(ctx, g.cfg.DB, q, g.cfg.Now())
	if _, known := g.Campaigns().Find(q.Campaign); errors.Is(err, ErrNoCampaign) && known {
		err = nil // it has not been asked yet
	}
	return r, err
}

// Report makes a report from a ledger, as of now. It returns ErrNoCampaign, and an empty report, when the campaign has no
// entry in the ledger, and funnel.ErrQuery.
func Report(ctx context.Context, d *db.DB, q funnel.Query, now time.Time) (r *funnel.Report, err error) {
	err = d.View(func(tx *db.Tx) error {
		if r, err = funnel.Make(ctx, tx, people{tx}, q, now.UnixMilli()); err != nil {
			return err
		}
		if err := errors.Join(reportVouchers(tx, r), forecast.Compare(ctx, tx, people{tx}, r, now)); err != nil || q.Campaign == "" {
			return err
		}
		return knownCampaign(tx, q.Campaign)
	})
	return r, err
}

// Claims lists a page of a campaign's claims from a ledger. It returns ErrNoCampaign when there are no entries of it, and
// funnel.ErrQuery.
func Claims(ctx context.Context, d *db.DB, q funnel.ClaimsQuery) (page funnel.ClaimsPage, err error) {
	err = d.View(func(tx *db.Tx) error {
		if page, err = funnel.Claims(ctx, tx, q); err != nil || len(page.Claims) > 0 || q.AfterAt != 0 {
			return err
		}
		return knownCampaign(tx, q.Campaign)
	})
	return page, err
}

// knownCampaign returns ErrNoCampaign, with the names that there are, for a campaign without entries.
func knownCampaign(tx *db.Tx, id string) error {
	known, err := funnel.Campaigns(tx)
	if err == nil && !slices.Contains(known, id) {
		err = fmt.Errorf("%w: %q; there are entries of %s", ErrNoCampaign, id, strings.Join(known, ", "))
	}
	return err
}

// forecast answers for the running gateway, with its fences, and one at a time with reports.
func (g *Gateway) forecast(ctx context.Context, q forecast.Request) (any, error) {
	if !g.reporting.CompareAndSwap(false, true) {
		return nil, ErrBusy
	}
	defer g.reporting.Store(false)
	lib, err := campaign.ParseLibrary("request", []byte(q.Campaigns))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrQuery, err)
	}
	set, now := g.fences.Load(), g.cfg.Now()
	f, err := Forecast(ctx, g.cfg.DB, lib.Campaigns, set, g.cfg.Caps, q, now)
	if err == nil && q.Keep {
		err = forecast.Keep(ctx, g.cfg.DB, f, set, g.cfg.Reports, now)
	}
	return f, err
}

// Forecast makes a forecast from a ledger, as of now; caps are Config.Caps. See forecast.Basis.Make.
func Forecast(ctx context.Context, d *db.DB, campaigns []*campaign.Campaign, set *fences.Set, caps []campaign.Cap, q forecast.Request, now time.Time) (f *forecast.Forecast, err error) {
	err = d.View(func(tx *db.Tx) error {
		b := forecast.Basis{Tx: tx, People: people{tx}, Fences: set, Caps: caps, Now: now}
		f, err = b.Make(ctx, campaigns, q)
		return err
	})
	return f, err
}

// reportVouchers adds to a report how the pools stand that its campaigns have given codes of.
func reportVouchers(tx *db.Tx, r *funnel.Report) error {
	pools, err := voucher.Pools(tx)
	if err != nil {
		return err
	}
	for _, c := range r.Campaigns {
		for i := range pools {
			p := &pools[i]
			own, gave := p.By[c.ID]
			if !gave {
				continue
			}
			v := funnel.Vouchers{
				Pool: p.Name, PutIn: p.Total(), Issued: own.Given + own.Redeemed, Redeemed: own.Redeemed, Purchases: own.Purchases, Ungiven: p.Ungiven,
				Left: p.Left(r.MadeAt), Expires: p.Expires,
			}
			v.Expired = p.Free - v.Left
			v.Others = v.PutIn - v.Issued - v.Ungiven - p.Free
			c.Vouchers = append(c.Vouchers, v)
		}
	}
	return nil
}

// people tells funnel what the ledger remembers of subjects.
type people struct{ tx *db.Tx }

// profileOfSubject is enough of a profile to find the history of a subject.
func profileOfSubject(subject string) *audience.Profile {
	if person, ok := strings.CutPrefix(subject, "p:"); ok {
		return &audience.Profile{Person: person}
	}
	return &audience.Profile{Device: strings.TrimPrefix(subject, "d:")}
}

func (p people) Goals(subject, name string, from int64) (out []funnel.Goal, err error) {
	events, err := audience.EventsOf(p.tx, profileOfSubject(subject))
	for i := range events {
		e := &events[i]
		if e.Name != name || e.At < from {
			continue
		}
		g := funnel.Goal{ID: e.ID, At: e.At}
		g.Value, _ = e.Props["value"].(float64)
		g.Currency, _ = e.Props["currency"].(string)
		out = append(out, g)
	}
	return out, err
}

func (p people) GoalIDs(subject, name, own string) ([]string, error) {
	prof := profileOfSubject(subject)
	devices := []string{prof.Device}
	if prof.Person != "" {
		var err error
		if devices, err = audience.DevicesOf(p.tx, prof.Person); err != nil {
			return nil, err
		}
	}
	ids := make([]string, len(devices))
	for i, device := range devices {
		ids[i] = eventID(track.DeviceID(device), name, own)
	}
	return ids, nil
}

func (p people) Visits(subject string, from int64) (out []int64, err error) {
	visits, err := audience.VisitsOf(p.tx, profileOfSubject(subject))
	for i := range visits {
		if visits[i].At >= from {
			out = append(out, visits[i].At)
		}
	}
	return out, err
}

func (p people) Subscribers(ctx context.Context) (n int64, err error) {
	err = audience.Each(ctx, p.tx, func(q *audience.Profile) error {
		if q.Reachable() && q.MayPush() {
			n++
		}
		return nil
	})
	return n, err
}
