package forecast

import (
	"context"
	"math"
	"slices"
	"time"

	"footfall/funnel"
	"footfall/internal/db"
	"footfall/reach"
)

// actual sets beside the forecast what the report counted, of days that are over everywhere.
func (m *forecaster) actual(ctx context.Context) error {
	total, days, over, err := claimedOn(ctx, m.Tx, m.People, m.c.ID, m.q.From, m.q.To, m.Now)
	if err != nil || !over {
		return err
	}
	m.out.Actual = compared(&m.out.Total, total)
	for i := range m.out.Days {
		m.out.Days[i].Actual = new(days[m.out.Days[i].Day.String()])
	}
	return nil
}

// claimedOn counts what a campaign has claimed from a day to another, in all and by day; over is false while the last is not over
// everywhere, and when the campaign has never been asked about anything.
func claimedOn(ctx context.Context, tx *db.Tx, who funnel.People, id string, from, to funnel.Day, now time.Time) (total int64, days map[string]int64, over bool, err error) {
	if funnel.DayOf(now.UnixMilli(), -12*60) <= to {
		return 0, nil, false, nil
	}
	r, err := funnel.Make(ctx, tx, who, funnel.Query{Campaign: id, From: from, To: to}, now.UnixMilli())
	if err != nil {
		return 0, nil, false, err
	}
	known, err := funnel.Campaigns(tx)
	if err != nil || !slices.Contains(known, id) || len(r.Campaigns) == 0 {
		return 0, nil, false, err
	}
	days = map[string]int64{}
	for _, d := range r.Campaigns[0].ByDay {
		days[d.Key] = d.Claimed
	}
	return r.Campaigns[0].Total.Claimed, days, true, nil
}

// compared says how far a forecast was from what was claimed.
func compared(x *reach.Expected, claimed int64) *Actual {
	a := &Actual{Claimed: claimed}
	if claimed > 0 {
		a.Error = x.Mean/float64(claimed) - 1
	}
	a.Inside = x.Enough && math.Floor(x.Low) <= float64(claimed) && float64(claimed) <= math.Ceil(x.High)
	return a
}
