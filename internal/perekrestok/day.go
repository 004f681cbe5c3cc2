package perekrestok

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"footfall/internal/stage"
	"footfall/journey"
)

// Group is what somebody does.
type Group string

// The groups; doc.go has the table of what comes of each.
const (
	Offer     Group = "offer"
	Control   Group = "control"
	Buyer     Group = "buyer"
	Basket    Group = "basket"
	Unreached Group = "unreached"
)

// How many people of each kind there are, and what the offered and the control do.
const (
	PerArm      = 10_000
	OfferGoals  = 1_670
	OfferOpens  = 2_500
	OfferLeave  = 60
	OtherBuys   = 200
	Twice       = 100
	ControlGoal = 88
	Buyers      = 2_500
	Baskets     = 300
	Refused     = 400
)

// App is the app that all phones run.
const App = "perekrestok"

// JourneyID names the journey.
const JourneyID = "lunch"

// OfferStep is the step at which the arms part.
const OfferStep = "offer"

// Journey is the file of the scenario.
const Journey = `journey: lunch
name: Looked and did not buy
zone: Europe/Moscow
entry: {event: product_view}
window: {from: 2026-11-25T00:00, to: 2026-11-26T00:00}
reentry: {after: 7d}
goal: {event: add_to_basket}
steps:
  - id: bought
    wait_for:
      up_to: 24h
      branches:
        bought: {event: purchase, same: [category], then: [{exit: bought}]}
  - tag: {abandoned: {entry: category}}
  - wait: {at: "13:00", days: every, zone: device, fallback: Europe/Moscow}
  - reachable: {no: [{exit: unreached}]}
  - id: offer
    experiment:
      arms:
        control: {share: 50%}
        discount: {share: 50%, then: [{push: {template: reminder, ttl: 4h}}]}
  - id: answer
    wait: 48h
templates:
  reminder:
    default_locale: ru
    required: [entry.category]
    image: https://cdn.perekrestok.example/{{ entry.category | url_encode }}.jpg
    link: perekrestok://category/{{ entry.category | url_encode }}
    locales:
      ru: {title: Что на обед?, body: "Скидка 10% на {{ entry.category }} до 15:00"}
      en: {title: What is for lunch?, body: "10% off {{ tags.abandoned }} until 15:00"}
`

// Zone is where the shop's own clock stands.
const Zone = "Europe/Moscow"

// Moscow is three hours ahead of UTC all year.
var (
	begins      = time.Date(2026, 11, 25, 5, 30, 0, 0, time.UTC)  // 08:30 on the first day
	firstView   = time.Date(2026, 11, 25, 6, 30, 0, 0, time.UTC)  // 09:30
	lastView    = time.Date(2026, 11, 25, 17, 0, 0, 0, time.UTC)  // 20:00
	PausedFrom  = time.Date(2026, 11, 26, 9, 30, 0, 0, time.UTC)  // 12:30 on the second day
	PausedUntil = time.Date(2026, 11, 26, 11, 30, 0, 0, time.UTC) // 14:30
	ends        = time.Date(2026, 11, 29, 21, 0, 0, 0, time.UTC)  // everybody has left the journey
)

// StepLength is how far the clock goes at a time.
const StepLength = 10 * time.Minute

// zones are those of the phones; the last says nothing.
var zones = []string{Zone, Zone, Zone, "Europe/Samara", "Asia/Yekaterinburg", "Europe/Kaliningrad", ""}

var categories = []string{"coffee", "cheese", "fish", "bread", "fruit", "wine"}

// Person is one person with one phone.
type Person struct {
	Group    Group
	Device   string // the device part of the subjects
	Subject  string // as the gateway names whoever is signed in on it
	Platform string // "ios" or "android", half and half
	Token    string
	Category string // that they look at
	zone     string
	Want     Want
}

// Want is what has to come of one person's days.
type Want struct {
	// LunchAt is the end of the last wait, to within a step; zero for who does not come that far.
	LunchAt time.Time
	Push    bool
	Goal    bool
	Opens   bool
	Leaves  bool   // refuses pushes after this one
	Why     string // the run ended
}

// Config says which days to make.
type Config struct {
	Seed uint64
	// Part divides the number of people: 1, or 0, for the full size. The rates stay nearly the same.
	Part int
}

// Day is the input of the scenario.
type Day struct {
	People   []Person
	Messages []stage.Message // in the order in which they are sent
	part     int
}

// New makes the days. In which arm a person is follows from their ids alone, so ids are tried until there are enough
// people of each kind.
func New(cfg Config) (*Day, error) {
	js, err := journey.Parse("journey.yaml", []byte(Journey))
	if err != nil {
		return nil, err
	}
	d := &Day{part: max(cfg.Part, 1)}
	want := map[Group]int{Offer: d.of(PerArm), Control: d.of(PerArm)}
	for i := 0; want[Offer]+want[Control] > 0; i++ {
		g := Control
		if arm, ok := js[0].Arm(OfferStep, subject(i)); !ok {
			return nil, fmt.Errorf("perekrestok: step %s is no experiment", OfferStep)
		} else if arm != "control" {
			g = Offer
		}
		if want[g] == 0 {
			continue
		}
		d.add(cfg.Seed, i, g, d.of(PerArm)-want[g])
		want[g]--
	}
	// The others never come to the experiment, or not to be reached there, so their arms do not matter.
	next := 1_000_000
	for _, other := range []struct {
		group  Group
		people int
	}{{Buyer, d.of(Buyers)}, {Basket, d.of(Baskets)}, {Unreached, d.of(Refused)}} {
		for i := range other.people {
			d.add(cfg.Seed, next, other.group, i)
			next++
		}
	}
	slices.SortStableFunc(d.Messages, func(a, b stage.Message) int {
		return cmp.Or(a.SendAt.Compare(b.SendAt), cmp.Compare(a.Person, b.Person))
	})
	return d, nil
}

// of is a number of the full size's people, scaled.
func (d *Day) of(people int) int { return people / d.part }

func user(i int) string    { return fmt.Sprintf("guest-%07d", i) }
func subject(i int) string { return "p:" + user(i) }

// add plans the days of one person: the n-th of their group.
func (d *Day) add(seed uint64, id int, g Group, n int) {
	rng := rand.New(rand.NewPCG(seed, uint64(id)))
	p := Person{
		Group: g, Device: fmt.Sprintf("phone-%07d", id), Subject: subject(id), Platform: "ios", Category: categories[rng.IntN(len(categories))],
		zone: zones[rng.IntN(len(zones))],
	}
	sum := sha256.Sum256([]byte(fmt.Sprintf("perekrestok %d %d", seed, id)))
	p.Token = hex.EncodeToString(sum[:])
	if id%2 == 1 {
		p.Platform, p.Token = "android", "fcm-"+p.Token
	}
	person := len(d.People)
	say := func(at time.Time, class string, v any) {
		d.Messages = append(d.Messages, stage.Message{SendAt: at, Person: person, Subject: class + "." + App + "." + p.Device, Payload: encode(v)})
	}
	event := func(at time.Time, name, id, category string) {
		say(at, "event", map[string]any{"name": name, "id": id, "t": at.UnixMilli(), "props": map[string]any{"category": category}})
	}
	locale := "ru-RU"
	if n%5 == 4 {
		locale = "en"
	}
	device := map[string]any{
		"user": user(id), "platform": p.Platform, "token": p.Token, "locale": locale,
		"consent": map[string]bool{"push": g != Unreached},
	}
	if p.zone != "" {
		device["zone"] = p.zone
	}
	say(between(rng, begins, begins.Add(30*time.Minute)), "device", device)

	view := between(rng, firstView, lastView)
	event(view, "product_view", "view", p.Category)
	// The wait is as long as the gateway counts it: from the end of the step in which the view arrived.
	overAt := stepEnd(view).Add(24 * time.Hour)
	within := func() time.Time { return between(rng, view.Add(5*time.Minute), overAt.Add(-2*StepLength)) }
	p.Want.Why = journey.WhyFinished
	switch g {
	case Buyer:
		event(within(), "purchase", "buy", p.Category)
		p.Want.Why = journey.WhyExit
	case Basket:
		event(within(), "add_to_basket", "basket", p.Category)
		p.Want.Goal, p.Want.Why = true, journey.WhyGoal
	case Unreached:
		p.Want.Why = journey.WhyExit
	}
	if g == Buyer || g == Basket {
		d.People = append(d.People, p)
		return
	}
	p.Want.LunchAt = p.lunch(overAt)
	if g == Offer {
		p.Want.Push = true
		p.Want.Goal = spread(n, OfferGoals, d.part)
		p.Want.Opens = spread(n, OfferOpens, d.part)
		p.Want.Leaves = spread(n+1, OfferLeave, d.part) && !p.Want.Goal
		if n < d.of(OtherBuys) {
			event(within(), "purchase", "other", "nothing they looked at")
		}
		if n >= d.of(PerArm)-d.of(Twice) {
			event(view.Add(time.Second), "product_view", "view", p.Category)
		}
	}
	if g == Control {
		p.Want.Goal = spread(n, ControlGoal, d.part)
	}
	if p.Want.Goal {
		p.Want.Why = journey.WhyGoal
		event(p.Want.LunchAt.Add(time.Duration(20+rng.IntN(240))*time.Minute), "add_to_basket", "basket", p.Category)
	}
	d.People = append(d.People, p)
}

// spread says whether the n-th person of an arm is among the first count of a thorough shuffle, so that the kinds are
// spread evenly over an arm and the fewer are among the more.
func spread(n, count, part int) bool {
	return n*part*1009%PerArm < count // 1009 and 10,000 have no common divisor
}

// lunch is when somebody whose first wait ends at overAt goes on: at the next 13:00 of their clock, and not while the
// journey is paused.
func (p *Person) lunch(overAt time.Time) time.Time {
	if !overAt.Before(PausedFrom) && overAt.Before(PausedUntil) {
		overAt = PausedUntil
	}
	loc, err := time.LoadLocation(cmp.Or(p.zone, Zone))
	if err != nil {
		panic("perekrestok: " + err.Error()) // the zones are fixed: a test would have seen it
	}
	local := overAt.In(loc)
	at := time.Date(local.Year(), local.Month(), local.Day(), 13, 0, 0, 0, loc)
	if at.Before(local) {
		at = at.AddDate(0, 0, 1)
	}
	if !at.Before(PausedFrom) && at.Before(PausedUntil) {
		at = PausedUntil
	}
	return at
}

// stepEnd is the end of the step in which something is sent.
func stepEnd(at time.Time) time.Time { return at.Truncate(StepLength).Add(StepLength) }

// between draws a time to the millisecond.
func between(rng *rand.Rand, from, to time.Time) time.Time {
	return from.Add(time.Duration(rng.Int64N(to.Sub(from).Milliseconds())) * time.Millisecond)
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("perekrestok: a payload does not marshal: " + err.Error()) // strings and finite numbers only
	}
	return data
}
