package forecast

import (
	"context"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/funnel"
	"footfall/track"
)

// Sketches know who came, not how often, nor what others have sent them. Visits and pushes do, of each person: a sample
// of people who fit the audience is led through the entries of their last weeks once more (campaign.Rerun), with and
// without the condition on visits and the caps over all campaigns, and the forecast is lessened by the ratio.

const (
	// sampled bounds the people of a sample; 10,000 make a share of one half exact to 1 %, 95 times out of 100.
	sampled = 10_000
	// leastSample is how many entries a ratio needs.
	leastSample = 30
	// sampleDays are those whose entries count, and warmDays those before them, whose entries only claim and fill caps.
	sampleDays = 28
	warmDays   = 31
)

// rerunShares are what remains after the two rules, of the entries before them.
type rerunShares struct {
	people, entries int     // who have come, and how often it would have led to a push without the two rules
	visits, caps    float64 // shares that remain, one after the other
	spread          float64 // standard error of their product, relative to it
	days            int     // whose entries count
}

// rerun samples what visits and caps over all campaigns take off; nil when the campaign has neither.
func (m *forecaster) rerun(ctx context.Context, devices int) (*rerunShares, error) {
	longest := time.Duration(-1) // of the caps over all campaigns
	for _, l := range m.sharedCaps() {
		longest = max(longest, l.Per, 24*time.Hour)
	}
	counted := m.c.Trigger.Visits != (campaign.Visits{})
	if longest < 0 && !counted {
		return nil, nil
	}
	to := time.UnixMilli(int64(m.q.AsOf) * dayMS)
	from := to.AddDate(0, 0, -sampleDays)
	if longest >= 0 { // what others sent before that is forgotten
		if first := m.Now.Add(longest - dedupe.KeepSends); first.After(from) {
			from = first
		}
	}
	s := rerunSample{forecaster: m, from: from.UnixMilli(), to: to.UnixMilli(), warm: from.AddDate(0, 0, -warmDays).UnixMilli(), counted: counted, shared: longest >= 0}
	every := uint64(max(1, (devices+sampled-1)/sampled))
	_, _, err := audience.SweepProfiles(ctx, m.Tx, "", math.MaxInt, func(p *audience.Profile) error {
		if h := fnv.New64a(); every > 1 {
			_, _ = h.Write([]byte(p.Subject())) // never fails
			if h.Sum64()%every != 0 {
				return nil
			}
		}
		return s.take(p)
	})
	if err != nil {
		return nil, err
	}
	out := s.shares()
	out.days = max(0, int(to.Sub(from).Hours()+12)/24)
	return out, nil
}

// rerunSample adds up people.
type rerunSample struct {
	*forecaster
	from, to, warm  int64
	counted, shared bool
	people          []rerunCount
}

// rerunCount is how many pushes the entries of one person would have led to: under once_per and the campaign's own caps
// alone, with visits as well, and with everything.
type rerunCount struct{ plain, visits, all float64 }

// take adds the person, when this is the first of their devices and somebody whom a push may go to.
func (s *rerunSample) take(p *audience.Profile) error {
	if !p.MayPush() {
		return nil
	}
	if p.Person != "" {
		devices, err := audience.DevicesOf(s.Tx, p.Person)
		if err != nil || len(devices) > 0 && devices[0] != p.Device {
			return err
		}
	}
	visits, err := audience.VisitsOf(s.Tx, p)
	if err != nil || len(visits) == 0 || visits[len(visits)-1].At < s.from {
		return err
	}
	if s.c.Audience != nil {
		if _, fits, err := audience.Fits(s.Tx, s.c.Audience, p, s.Now.UnixMilli()); err != nil || !fits {
			return err
		}
	}
	var others []dedupe.Send
	if s.shared {
		sends, err := dedupe.Sends(s.Tx, p.Subject())
		if err != nil {
			return err
		}
		others = slices.DeleteFunc(sends, func(o dedupe.Send) bool { return o.Campaign == s.c.ID || o.At.UnixMilli() >= s.to })
	}
	runs := [3]*campaign.Rerun{s.c.Rerun(others, false, false), s.c.Rerun(others, true, false), s.c.Rerun(others, true, true)}
	var n [3]float64
	for i := range visits {
		v := &visits[i]
		if v.At < s.warm || v.At >= s.to {
			continue
		}
		tr, ok := s.entry(v)
		if !ok {
			continue
		}
		in := campaign.Input{Tr: tr, Profile: p, Now: time.UnixMilli(v.At), Visits: visits, Caps: s.Caps}
		for k, r := range runs {
			if r.Enter(in) && v.At >= s.from {
				n[k]++
			}
		}
	}
	if n[0] > 0 {
		s.people = append(s.people, rerunCount{n[0], n[1], n[2]})
	}
	return nil
}

// entry makes the entry of a visit again; false when the trigger is not for it, or at that hour of the week the window is shut.
func (s *rerunSample) entry(v *audience.Visit) (*track.Transition, bool) {
	f, ok := s.Fences.Lookup(fences.ID(v.Fence))
	if !ok || !s.c.Trigger.Fences.Has(f.ID, f.Tags) {
		return nil, false
	}
	at := time.UnixMilli(v.At).In(f.Location)
	_, seconds := at.Zone()
	since := funnel.DayOf(v.At, seconds/60) - s.q.From
	for day, hours := range s.open[f.Location] {
		if (int(since)-day)%7 == 0 && hours[at.Hour()] == open {
			return &track.Transition{Kind: track.Enter, FenceID: f.ID, Fence: f, At: v.At, ConfirmedAt: v.At, EnteredAt: v.At, Confidence: 3, Fix: track.Fix{FixedAt: v.At, ReceivedAt: v.At}}, true
		}
	}
	return nil, false
}

// shares are the ratios of sums over people, and the standard error of that of all rules (Cochran, Sampling Techniques,
// 1977, section 6.3: people are drawn, not entries).
func (s *rerunSample) shares() *rerunShares {
	var sum rerunCount
	for _, p := range s.people {
		sum.plain, sum.visits, sum.all = sum.plain+p.plain, sum.visits+p.visits, sum.all+p.all
	}
	out := &rerunShares{people: len(s.people), entries: int(sum.plain), visits: 1, caps: 1}
	if out.entries < leastSample {
		return out
	}
	out.visits = sum.visits / sum.plain
	if sum.visits > 0 {
		out.caps = sum.all / sum.visits
	}
	if sum.all > 0 {
		ratio, squares := sum.all/sum.plain, 0.0
		for _, p := range s.people {
			d := p.all - ratio*p.plain
			squares += d * d
		}
		n := float64(len(s.people))
		out.spread = math.Sqrt(squares*n/(n-1)) / sum.plain / ratio
	}
	return out
}

// enough says that the shares are worth something.
func (r *rerunShares) enough() bool { return r.entries >= leastSample }
