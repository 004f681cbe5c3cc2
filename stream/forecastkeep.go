package stream

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"footfall/funnel"
	"footfall/internal/db"
	"footfall/reach"
)

// forecastSpace: campaign, when it was made -> keptForecast, for as long after its last day as reports are kept.
var forecastSpace = db.Register(0x5c, "forecasts", 1)

// keptForecast is what a forecast said before its days began. Times are Unix ms.
type keptForecast struct {
	MadeAt   int64          `json:"made_at"`
	From     funnel.Day     `json:"from"`
	To       funnel.Day     `json:"to"`
	Expected reach.Expected `json:"expected"`
}

// maxForecasts bounds what is kept of one campaign; the oldest goes first. maxCompared bounds what one report compares: each of
// them asks for a report of its days.
const (
	maxForecasts = 50
	maxCompared  = 10
)

// keepForecast remembers those of f that have an interval. One that is made when its days have begun at some store is no forecast.
func (g *Gateway) keepForecast(ctx context.Context, f *Forecast, q ForecastRequest) error {
	now := g.cfg.Now()
	set, today := g.fences.Load(), funnel.DayOf(now.UnixMilli(), 0)
	for i := range set.Len() {
		if loc := set.At(int32(i)).Location; loc != nil {
			_, seconds := now.In(loc).Zone()
			today = max(today, funnel.DayOf(now.UnixMilli(), seconds/60))
		}
	}
	if q.From <= today || q.AsOf < today-1 {
		return fmt.Errorf("%w: a forecast is kept before its days begin: from %s on, as of today", ErrQuery, today+1)
	}
	return g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		f.Kept = nil
		for _, c := range f.Campaigns {
			if !c.Enough {
				continue
			}
			val, err := json.Marshal(keptForecast{now.UnixMilli(), q.From, q.To, c.Total})
			if err != nil {
				return err
			}
			until := time.UnixMilli(int64(q.To+2) * 86_400_000).Add(g.cfg.Reports)
			key := forecastSpace.Key([]byte(c.Campaign), binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli())))
			if err := tx.SetUntil(key, val, until); err != nil {
				return err
			}
			f.Kept = append(f.Kept, c.Campaign)
			_, keys, err := forecastsOf(tx, c.Campaign)
			if err != nil {
				return err
			}
			for len(keys) > maxForecasts {
				if err := tx.Delete(keys[0]); err != nil {
					return err
				}
				keys = keys[1:]
			}
		}
		return nil
	})
}

// forecastsOf reads the kept forecasts of a campaign, the oldest first.
func forecastsOf(tx *db.Tx, campaign string) (list []keptForecast, keys [][]byte, err error) {
	err = tx.Scan(forecastSpace.Key([]byte(campaign)), nil, func(key, val []byte) (bool, error) {
		var k keptForecast
		if err := json.Unmarshal(val, &k); err != nil {
			return false, fmt.Errorf("stream: forecast of %s: %w", campaign, err)
		}
		list, keys = append(list, k), append(keys, append([]byte(nil), key...))
		return true, nil
	})
	return list, keys, err
}

// reportForecasts adds to a report the kept forecasts of its campaigns whose days are among its own, the newest ones, and how far
// they were from what came once their days are over.
func reportForecasts(ctx context.Context, tx *db.Tx, r *funnel.Report, now time.Time) error {
	left := maxCompared
	for _, c := range r.Campaigns {
		list, _, err := forecastsOf(tx, c.ID)
		if err != nil {
			return err
		}
		for i := len(list) - 1; i >= 0 && left > 0; i-- {
			k := list[i]
			if k.From < r.From || k.To > r.To {
				continue
			}
			left--
			f := funnel.Forecast{MadeAt: k.MadeAt, From: k.From, To: k.To, Mean: k.Expected.Mean, Low: k.Expected.Low, High: k.Expected.High}
			claimed, over := c.Total.Claimed, k.From == r.From && k.To == r.To && funnel.DayOf(now.UnixMilli(), -12*60) > k.To
			if !over {
				if claimed, _, over, err = claimedOn(ctx, tx, c.ID, k.From, k.To, now); err != nil {
					return err
				}
			}
			if over {
				a := compared(&k.Expected, claimed)
				f.Claimed, f.Error, f.Inside = new(a.Claimed), a.Error, a.Inside
			}
			c.Forecasts = append(c.Forecasts, f)
		}
	}
	return nil
}
