package funnel

import (
	"context"
	"maps"
	"slices"

	"footfall/receipt"
)

// Models say to which push a conversion is credited. None is the truth; they bracket it.
var Models = []struct{ Name, Says string }{
	{"code", "the push whose code was shown, or whose phone reported it"},
	{"last_opened", "the push that the person opened last before it"},
	{"last_sent", "the push that the person was sent last before it"},
	{"influenced", "every campaign that the person was sent a push of before it"},
}

// Credit is what one model credits to a campaign: conversions that happened on the days of the report, within the window
// after the push. Values are summed by currency; "" is that of values without one.
type Credit struct {
	Model       string             `json:"model"`
	Says        string             `json:"says"`
	Conversions int64              `json:"conversions"`
	People      int64              `json:"people"`
	Value       map[string]float64 `json:"value,omitempty"`

	last string // subject counted last: they come one after the other
}

// conversion is one thing that a person did; by is the push that it names, -1 for none.
type conversion struct {
	Goal
	by int
}

// follow reads what every subject did, credits it, and fills the sides of the comparison with the holdout.
func (r *Report) follow(ctx context.Context, who People, people map[string]*person, builders map[string]*builder) error {
	n := 0
	for _, subject := range slices.Sorted(maps.Keys(people)) { // in one order, so that sums of values are the same
		p := people[subject]
		if n++; n&0x3ff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if len(p.pushes) == 0 && len(p.drawn) == 0 {
			continue
		}
		goals, err := who.Goals(subject, r.Goal, r.From.begins())
		if err != nil {
			return err
		}
		for id, d := range p.drawn {
			arm := builders[id].arms[d.holdout]
			arm.People++
			for _, g := range goals { // of events alone: whoever was held out has no code to show
				if g.At >= d.at && g.At <= d.at+r.WithinMS {
					arm.Converted++
					break
				}
			}
		}
		all, err := r.conversions(who, subject, p, goals)
		if err != nil {
			return err
		}
		for i := range all {
			r.creditAll(builders, subject, p, &all[i])
		}
	}
	return nil
}

// conversions joins what a person did with what their pushes are known to have led to: a purchase that the app reports
// and that shows a code is both, and one.
func (r *Report) conversions(who People, subject string, p *person, goals []Goal) ([]conversion, error) {
	out := make([]conversion, len(goals))
	at := map[string]int{}
	for i, g := range goals {
		out[i] = conversion{g, -1}
		at[g.ID] = i
	}
	for i := range p.pushes {
		for _, f := range p.pushes[i].converted {
			ids, err := who.GoalIDs(subject, r.Goal, f.Ref)
			if err != nil {
				return nil, err
			}
			known := -1
			for _, id := range append(ids, f.Ref) {
				if k, ok := at[id]; ok {
					known = k
				}
			}
			if known < 0 {
				known = len(out)
				out = append(out, conversion{Goal: goalOf(&f)})
				at[f.Ref] = known // the same receipt about two pushes is one purchase
			}
			out[known].by = i
		}
	}
	return out, nil
}

func goalOf(f *receipt.Fact) Goal {
	return Goal{ID: f.Ref, At: f.At, Value: f.Value, Currency: f.Currency}
}

// creditAll credits one conversion under every model.
func (r *Report) creditAll(builders map[string]*builder, subject string, p *person, c *conversion) {
	give := func(model string, s *sent) {
		b := builders[s.campaign]
		if day := DayOf(c.At, s.offset); b == nil || day < r.From || day > r.To {
			return
		}
		k := b.credit[model]
		k.Conversions++
		if k.last != subject {
			k.last = subject
			k.People++
		}
		if c.Value != 0 {
			if k.Value == nil {
				k.Value = map[string]float64{}
			}
			k.Value[c.Currency] += c.Value
		}
	}
	within := func(from int64) bool { return from > 0 && c.At >= from && c.At-from <= r.WithinMS }
	var lastSent, lastOpened *sent
	influenced := map[string]*sent{}
	for i := range p.pushes {
		s := &p.pushes[i]
		if within(s.at) {
			if lastSent == nil || s.at >= lastSent.at {
				lastSent = s
			}
			if old := influenced[s.campaign]; old == nil || s.at >= old.at {
				influenced[s.campaign] = s
			}
		}
		if within(s.opened) && (lastOpened == nil || s.opened >= lastOpened.opened) {
			lastOpened = s
		}
	}
	if c.by >= 0 && within(p.pushes[c.by].madeAt) {
		give("code", &p.pushes[c.by])
	}
	if lastOpened != nil {
		give("last_opened", lastOpened)
	}
	if lastSent != nil {
		give("last_sent", lastSent)
	}
	for _, s := range influenced {
		give("influenced", s)
	}
}
