package main

import (
	"cmp"
	"slices"
	"time"

	"footfall/campaign"
	"footfall/fences"
	"footfall/stream"
	"footfall/track"
)

// backtestReport is what the campaigns would have done. Times are Unix ms.
type backtestReport struct {
	// Log says that the recording is the gateway's own input log, received between ReceivedFrom and ReceivedTo; else it is a
	// trace.
	Log          bool                `json:"log"`
	ReceivedFrom int64               `json:"received_from,omitzero"`
	ReceivedTo   int64               `json:"received_to,omitzero"`
	Positions    int                 `json:"positions"`
	Devices      int                 `json:"devices"`
	Unreadable   int                 `json:"unreadable"`          // rows of a trace, batches of a log
	Withdrawn    int                 `json:"withdrawn,omitempty"` // positions of the log that are left out: consent to them has been withdrawn since
	From         int64               `json:"from"`                // the earliest fix time
	To           int64               `json:"to"`                  // the latest
	Fences       int                 `json:"fences"`
	Verdicts     map[string]int64    `json:"verdicts"`
	Entries      int                 `json:"entries"`
	Campaigns    []*campaignBacktest `json:"campaigns"`
	// Overlaps is how many people would have got pushes of more than one campaign on one day of the store.
	Overlaps int   `json:"overlaps"`
	Took     int64 `json:"took_ms"`
}

// campaignBacktest is the part of one campaign. Every transition that it was asked about is a push or is held for
// one reason.
type campaignBacktest struct {
	Campaign string `json:"campaign"`
	backtestCounts
	People  int              `json:"people"`
	Waiting int              `json:"waiting"` // of the pushes: for their window or the end of quiet hours
	Fences  []*fenceBacktest `json:"fences"`  // most pushes, now or then, first

	Held map[campaign.Reason]int `json:"held"`
}

// fenceBacktest is the part of one campaign and one fence.
type fenceBacktest struct {
	Fence fences.ID `json:"fence"`
	Name  string    `json:"name,omitempty"`
	backtestCounts
	Held map[campaign.Reason]int `json:"held"`
}

// backtestCounts add up: those of a campaign are the sums of those of its fences, and those of a day of its hours.
type backtestCounts struct {
	Asked  int     `json:"asked"`
	Pushes int     `json:"pushes"`
	Hours  [24]int `json:"hours"` // pushes by the hour of the entry in the store's zone
	// What a ledger remembers of the same time; nil when none was asked.
	Past *pastDifference `json:"past,omitempty"`
}

// pastDifference compares with the pushes that the gateway has decided on.
type pastDifference struct {
	Really     int     `json:"really"`      // pushes that the gateway decided on
	Both       int     `json:"both"`        // of these, the backtest has them too
	OnlyBefore int     `json:"only_before"` // the gateway's alone
	OnlyNow    int     `json:"only_now"`    // the backtest's alone
	Hours      [24]int `json:"hours"`       // of Really
}

func (p *pastDifference) count(hour int, both bool) {
	p.Really++
	p.Hours[hour]++
	if both {
		p.Both++
	} else {
		p.OnlyBefore++
	}
}

// backtestAnswer is what one campaign said about one transition, or has only said then.
type backtestAnswer struct {
	at       int64
	zone     *time.Location
	device   string
	person   string
	campaign string
	fence    fences.ID
	outcome  string // "push", "held", or "" for what happened then alone
	reason   campaign.Reason
	then     string // "push", "" for none, or "unknown" without a ledger
}

// took counts a position.
func (b *backtestReport) took(fixedAt int64) {
	if b.Positions++; b.Positions == 1 {
		b.From, b.To = fixedAt, fixedAt
	}
	b.From, b.To = min(b.From, fixedAt), max(b.To, fixedAt)
}

// backtestTally adds up the answers of a rehearsal.
type backtestTally struct {
	report    *backtestReport
	pasts     map[track.DeviceID]*stream.Past
	campaigns map[string]*campaignBacktest
	fences    map[fenceKey]*fenceBacktest
	people    map[string]map[string]bool    // campaign -> person
	days      map[personDay]map[string]bool // -> campaigns
	then      map[pushKey]bool              // pushes of the gateway; true: the rehearsal has them too
	held      map[pushKey]bool              // of then, those that the rehearsal holds
	answers   []backtestAnswer
}

type (
	fenceKey struct {
		campaign string
		fence    fences.ID
	}
	personDay struct{ who, day string }
	pushKey   struct{ decision, campaign string }
)

// fill adds up what r has decided, beside what was decided then. Without pasts nothing is known of that.
func (b *backtestReport) fill(r *stream.Rehearsal, pasts map[track.DeviceID]*stream.Past) ([]backtestAnswer, error) {
	t := backtestTally{
		report: b, pasts: pasts, campaigns: map[string]*campaignBacktest{}, fences: map[fenceKey]*fenceBacktest{},
		people: map[string]map[string]bool{}, days: map[personDay]map[string]bool{}, then: map[pushKey]bool{}, held: map[pushKey]bool{},
	}
	for _, c := range b.Campaigns {
		c.Fences, c.Held = []*fenceBacktest{}, map[campaign.Reason]int{}
		t.campaigns[c.Campaign], t.people[c.Campaign] = c, map[string]bool{}
		if pasts != nil {
			c.Past = &pastDifference{}
		}
	}
	for _, p := range pasts {
		for i := range p.Pushes {
			t.then[pushKey{p.Pushes[i].Decision, p.Pushes[i].Campaign}] = false
		}
	}
	if err := r.Decisions(func(d *stream.Decision) error { t.decision(d); return nil }); err != nil {
		return nil, err
	}
	t.before()
	for _, c := range b.Campaigns {
		c.People = len(t.people[c.Campaign])
		slices.SortFunc(c.Fences, func(a, b *fenceBacktest) int {
			return cmp.Or(cmp.Compare(b.most(), a.most()), cmp.Compare(b.Asked, a.Asked), cmp.Compare(a.Fence, b.Fence))
		})
	}
	several := map[string]bool{}
	for day, cs := range t.days {
		if len(cs) > 1 {
			several[day.who] = true
		}
	}
	b.Overlaps = len(several)
	slices.SortStableFunc(t.answers, func(a, b backtestAnswer) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.device, b.device), cmp.Compare(a.campaign, b.campaign), cmp.Compare(a.fence, b.fence))
	})
	return t.answers, nil
}

// most is by what fences are ordered.
func (f *fenceBacktest) most() int {
	if f.Past != nil {
		return max(f.Pushes, f.Past.Really)
	}
	return f.Pushes
}

func (t *backtestTally) fence(c *campaignBacktest, id fences.ID, name string) *fenceBacktest {
	key := fenceKey{c.Campaign, id}
	f := t.fences[key]
	if f == nil {
		f = &fenceBacktest{Fence: id, Name: name, Held: map[campaign.Reason]int{}}
		if c.Past != nil {
			f.Past = &pastDifference{}
		}
		t.fences[key], c.Fences = f, append(c.Fences, f)
	}
	return f
}

func (t *backtestTally) person(device string) string {
	if p := t.pasts[track.DeviceID(device)]; p != nil {
		return p.Person
	}
	return ""
}

// decision adds what campaigns said about one transition.
func (t *backtestTally) decision(d *stream.Decision) {
	if d.Kind == track.Enter.String() {
		t.report.Entries++
	}
	person := t.person(d.Device)
	who := d.Device
	if person != "" {
		who = "person " + person
	}
	zone := cmp.Or(zoneOf(d, nil), time.UTC)
	when := time.UnixMilli(d.At).In(zone)
	for i := range d.Campaigns {
		answer := &d.Campaigns[i]
		c := t.campaigns[answer.Campaign]
		f := t.fence(c, d.Fence, d.FenceName)
		key := pushKey{d.ID, c.Campaign}
		_, then := t.then[key]
		a := backtestAnswer{at: d.At, zone: zone, device: d.Device, person: person, campaign: c.Campaign, fence: d.Fence, outcome: "held", reason: answer.Reason, then: "unknown"}
		if t.pasts != nil {
			if a.then = ""; then {
				a.then = "push"
			}
		}
		c.Asked++
		f.Asked++
		if answer.MID == "" {
			c.Held[answer.Reason]++
			f.Held[answer.Reason]++
			t.held[key] = then
			t.answers = append(t.answers, a)
			continue
		}
		a.outcome, a.reason = "push", ""
		t.answers = append(t.answers, a)
		for _, n := range []*backtestCounts{&c.backtestCounts, &f.backtestCounts} {
			n.Pushes++
			n.Hours[when.Hour()]++
			if n.Past != nil && !then {
				n.Past.OnlyNow++
			}
		}
		if then {
			t.then[key] = true
		}
		if answer.SendAt > d.ReceivedAt {
			c.Waiting++
		}
		t.people[c.Campaign][who] = true
		day := personDay{who, when.Format(time.DateOnly)}
		if t.days[day] == nil {
			t.days[day] = map[string]bool{}
		}
		t.days[day][c.Campaign] = true
	}
}

// before adds what the gateway has decided.
func (t *backtestTally) before() {
	for device, p := range t.pasts {
		for i := range p.Pushes {
			push := &p.Pushes[i]
			c := t.campaigns[push.Campaign]
			if c == nil {
				continue // of a campaign that is not among the drafts
			}
			zone := time.UTC
			if loc, err := time.LoadLocation(push.Zone); err == nil {
				zone = loc
			}
			hour := time.UnixMilli(push.At).In(zone).Hour()
			both := t.then[pushKey{push.Decision, push.Campaign}]
			f := t.fence(c, push.Fence, push.Name)
			c.Past.count(hour, both)
			f.Past.count(hour, both)
			if !both && !t.held[pushKey{push.Decision, push.Campaign}] {
				t.answers = append(t.answers, backtestAnswer{at: push.At, zone: zone, device: string(device), person: p.Person, campaign: push.Campaign, fence: push.Fence, then: "push"})
			}
		}
	}
}
