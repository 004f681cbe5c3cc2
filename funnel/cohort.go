package funnel

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"footfall/internal/db"
)

// cohort is one person to whom a campaign's push came, by the first of them in the report.
type cohort struct {
	device string
	at     int64
	day    Day
	offset int
}

// returns says how many of those who were pushed came again, and how many can no longer be pushed to. Only people whose
// time is over by now are in the divisor.
func returns(people map[string]cohort, who People, changes map[string][]Change, now int64) ([]Rate, error) {
	var out []Rate
	for _, days := range []int{1, 7} {
		var came, over, left, gone int64
		for subject, c := range people {
			midnight := (c.day + 1).beginsUTC() - int64(c.offset)*60_000 // after the day of the push, on the store's clock
			if now >= midnight+int64(days)*dayMS {
				over++
				visits, err := who.Visits(subject, midnight)
				if err != nil {
					return nil, err
				}
				if slices.ContainsFunc(visits, func(at int64) bool {
					return at < midnight+int64(days)*dayMS
				}) {
					came++
				}
			}
			if end := c.at + int64(days)*dayMS; now >= end {
				gone++
				if slices.ContainsFunc(changes[c.device], func(ch Change) bool { return !ch.Joined && ch.At >= c.at && ch.At <= end }) {
					left++
				}
			}
		}
		span := "the next day"
		if days > 1 {
			span = fmt.Sprintf("the next %d days", days)
		}
		out = append(out,
			rate(fmt.Sprintf("D%d retention", days), came, over, "came again on "+span+", of people pushed whose time is over"),
			rate(fmt.Sprintf("D%d churn", days), left, gone, fmt.Sprintf("unreachable or opted out within %d h, of people pushed whose time is over", 24*days)))
	}
	return out, nil
}

// Growth is how the number of devices that can be pushed to has changed, by day in UTC.
type Growth struct {
	Start int64       `json:"start"` // when the first day began
	End   int64       `json:"end"`   // when the last one ended, or now
	Days  []GrowthDay `json:"days"`
}

// GrowthDay is one day of Growth. Left has the reasons.
type GrowthDay struct {
	Day    Day              `json:"day"`
	Joined int64            `json:"joined"`
	Left   map[string]int64 `json:"left,omitempty"`
	End    int64            `json:"end"` // devices at its end
}

// changes reads the subscriptions that began or ended since the first day, by device.
func (r *Report) changes(tx *db.Tx) (map[string][]Change, error) {
	out := map[string][]Change{}
	err := eachChange(tx, r.From.begins(), func(c *Change) error {
		out[c.Device] = append(out[c.Device], *c)
		return nil
	})
	return out, err
}

// growth counts back from the number of devices now.
func (r *Report) growth(ctx context.Context, who People, changes map[string][]Change) (*Growth, error) {
	now, err := who.Subscribers(ctx)
	if err != nil {
		return nil, err
	}
	days := map[Day]*GrowthDay{}
	for d := r.From; d <= r.To; d++ {
		days[d] = &GrowthDay{Day: d, Left: map[string]int64{}}
	}
	later := int64(0) // net change after the last day
	for _, cs := range changes {
		for _, c := range cs {
			switch d := DayOf(c.At, 0); {
			case d > r.To && c.Joined:
				later++
			case d > r.To:
				later--
			case d < r.From:
			case c.Joined:
				days[d].Joined++
			default:
				days[d].Left[c.Why]++
			}
		}
	}
	g := &Growth{End: now - later}
	end := g.End
	for _, d := range slices.Backward(slices.Sorted(maps.Keys(days))) {
		day := days[d]
		day.End = end
		end -= day.Joined
		for _, n := range day.Left {
			end += n
		}
		g.Days = append(g.Days, *day)
	}
	slices.Reverse(g.Days)
	g.Start = end
	return g, nil
}
