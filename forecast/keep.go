package forecast

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"footfall/fences"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/reach"
)

// keptSpace: campaign, when it was made -> kept, for as long after its last day as reports are kept.
var keptSpace = db.Register(0x5c, "forecasts", 1)

// kept is what a forecast said before its days began. Times are Unix ms.
type kept struct {
	MadeAt   int64          `json:"made_at"`
	From     funnel.Day     `json:"from"`
	To       funnel.Day     `json:"to"`
	Expected reach.Expected `json:"expected"`
}

// maxKept bounds what is kept of one campaign; the oldest goes first. maxCompared bounds what one report compares: each of
// them asks for a report of its days.
const (
	maxKept     = 50
	maxCompared = 10
)

// Keep remembers those of f that have an interval, until keep after their last day, and lists them in f.Kept. It refuses with an
// ErrQuery what is made when its days have begun at some store of set: that is no forecast.
func Keep(ctx context.Context, d *db.DB, f *Forecast, set *fences.Set, keep time.Duration, now time.Time) error {
	today := funnel.DayOf(now.UnixMilli(), 0)
	for i := range set.Len() {
		if loc := set.At(int32(i)).Location; loc != nil {
			_, seconds := now.In(loc).Zone()
			today = max(today, funnel.DayOf(now.UnixMilli(), seconds/60))
		}
	}
	if f.From <= today || f.AsOf < today-1 {
		return fmt.Errorf("%w: a forecast is kept before its days begin: from %s on, as of today", ErrQuery, today+1)
	}
	return d.Update(ctx, func(tx *db.Tx) error {
		f.Kept = nil
		for _, c := range f.Campaigns {
			if !c.Enough {
				continue
			}
			val, err := json.Marshal(kept{now.UnixMilli(), f.From, f.To, c.Total})
			if err != nil {
				return err
			}
			key := keptSpace.Key([]byte(c.Campaign), binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli())))
			if err := tx.SetUntil(key, val, time.UnixMilli(int64(f.To+2)*dayMS).Add(keep)); err != nil {
				return err
			}
			f.Kept = append(f.Kept, c.Campaign)
			_, keys, err := keptOf(tx, c.Campaign)
			if err != nil {
				return err
			}
			for len(keys) > maxKept {
				if err := tx.Delete(keys[0]); err != nil {
					return err
				}
				keys = keys[1:]
			}
		}
		return nil
	})
}

// keptOf reads the kept forecasts of a campaign, the oldest first.
func keptOf(tx *db.Tx, campaign string) (list []kept, keys [][]byte, err error) {
	err = tx.Scan(keptSpace.Key([]byte(campaign)), nil, func(key, val []byte) (bool, error) {
		var k kept
		if err := json.Unmarshal(val, &k); err != nil {
			return false, fmt.Errorf("forecast: what is kept of %s: %w", campaign, err)
		}
		list, keys = append(list, k), append(keys, append([]byte(nil), key...))
		return true, nil
	})
	return list, keys, err
}

// Compare adds to a report the kept forecasts of its campaigns whose days are among its own, the newest ones, and how far
// they were from what came once their days are over.
func Compare(ctx context.Context, tx *db.Tx, who funnel.People, r *funnel.Report, now time.Time) error {
	left := maxCompared
	for _, c := range r.Campaigns {
		list, _, err := keptOf(tx, c.ID)
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
				if claimed, _, over, err = claimedOn(ctx, tx, who, c.ID, k.From, k.To, now); err != nil {
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
