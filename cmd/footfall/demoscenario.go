package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/audience"
	"footfall/internal/citrus"
	"footfall/internal/db"
	"footfall/internal/perekrestok"
	"footfall/internal/say"
	"footfall/internal/stage"
	"footfall/push/fake"
	"footfall/receipt"
)

// A scenario is one of the case studies, played to a gateway in this process on a clock of its own.
type scenario struct {
	title        string
	about        string
	clock        time.Time // where the clock stands at first
	begins, ends time.Time // what is worth seeing
	zone         string
	prepare      func(*stage.Settings)
	// play leads everybody through the days, and reports after each step.
	play   func(ctx context.Context, g *stage.Gateway, ph *stage.Phones, b *board) error
	gauges func(f map[string]map[string]int64) []gauge
	// figures are the case study's own beside those of the ledger.
	figures func(ctx context.Context, g *stage.Gateway) ([]figure, error)
	look    []lookFurther
}

// lookFurther is a command that goes on from the end of a scenario, and what it shows; live ones ask a running gateway.
type lookFurther struct {
	command, shows string
	live           bool
}

// figure is one line of the comparison at the end.
type figure struct{ name, study, ours string }

// runScenario plays one and prints what came of it. On a terminal the gateway stays for questions until Ctrl-C.
func (c *demoCmd) runScenario(e *env, s *scenario) (err error) {
	ctx := e.ctx
	if c.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.For)
		defer cancel()
	}
	out := newScreen(e.out)
	out.printf("%s\n", out.wrap(s.about))
	dir := c.Data
	if dir == "" {
		if dir, err = os.MkdirTemp("", "footfall-demo-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
	} else if _, err := os.Stat(dir); err == nil {
		return usage("--data %s is there already; a scenario begins on an empty ledger", dir)
	}
	zone, err := time.LoadLocation(s.zone)
	if err != nil {
		return err
	}
	var clock stage.Clock
	clock.Forward(s.clock)
	ph, err := stage.StartPhones(clock.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ph.Close()) }()
	set := ph.Settings(dir)
	set.Listen = c.Listen
	if set.Listen == "" {
		set.Listen = freeAddress("127.0.0.1:4222")
	}
	s.prepare(set)
	g, err := stage.Open(set, &clock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	b := &board{out: out, title: s.title, begins: s.begins, ends: s.ends, zone: zone}
	if out.tty {
		b.pace = c.Pace
	}
	began := time.Now()
	if err := s.play(ctx, g, ph, b); err != nil {
		if ctx.Err() != nil {
			out.printf("Stopped at %s of the scenario.", clock.Now().In(zone).Format("Mon 2 Jan 15:04"))
			return nil
		}
		return err
	}
	took := time.Since(began)
	fs, err := s.figures(ctx, g)
	if err != nil {
		return err
	}
	out.printf("\n%-38s %16s %16s", "", "case study", "this run")
	for _, f := range fs {
		out.printf("  %-36s %16s %16s", f.name, f.study, f.ours)
	}
	out.printf("\nPlayed in %s. The figures of this run are read from the ledger and its reports.", took.Round(time.Second))
	switch {
	case out.tty && ctx.Err() == nil:
		out.printf("The gateway is still there. Look further from another terminal:")
		s.further(out, g.Server.ClientURL(), "--server")
		out.printf("Ctrl-C ends it.")
		<-ctx.Done()
	case c.Data != "":
		out.printf("Look further:")
		s.further(out, c.Data, "--data")
	default:
		out.printf("%s", out.wrap("On a terminal the gateway stays, for explain and report; with --data DIR its ledger does."))
	}
	return nil
}

// further prints where to look; flag and where say at what.
func (s *scenario) further(out *screen, where, flag string) {
	if where == nats.DefaultURL {
		where, flag = "", ""
	}
	for _, l := range s.look {
		if l.live && flag == "--data" {
			continue
		}
		out.printf("  %s", strings.TrimRight(fmt.Sprintf("footfall %s %s %s", l.command, flag, where), " "))
		out.printf("      %s", l.shows)
	}
}

// countIn is one number of a campaign in the funnel.
func countIn(f map[string]map[string]int64, campaign, name string) int64 { return f[campaign][name] }

// draw shows the funnel of a step, when a drawing is due or last.
func (s *scenario) draw(b *board, g *stage.Gateway, now time.Time, state string) {
	if b.due(now) || !now.Before(s.ends) {
		b.draw(now, state, s.gauges(g.Status().Funnel))
	}
}

// keepPace makes the days take as long as they are meant to be seen; ctx ends that.
func (b *board) keepPace(ctx context.Context, now time.Time) {
	part := now.Sub(b.begins).Seconds() / b.ends.Sub(b.begins).Seconds()
	if ahead := time.Duration(part*float64(b.pace)) - time.Since(b.began); ahead > 0 && !b.began.IsZero() {
		select {
		case <-time.After(ahead):
		case <-ctx.Done():
		}
	}
}

// surely is how sure something is, which it never is quite.
func surely(p float64) string {
	if p > 0.9999 {
		return "> 99.99 %"
	}
	return fmt.Sprintf("%.2f %%", 100*p)
}

// devices counts the phones that the ledger knows.
func devices(ctx context.Context, g *stage.Gateway) (n int64, err error) {
	err = g.DB.View(func(tx *db.Tx) error {
		return audience.Each(ctx, tx, func(*audience.Profile) error {
			n++
			return nil
		})
	})
	return n, err
}

// news lets a board tell of some of the notices that come up, not more than it can show.
type news struct {
	mu   sync.Mutex
	last time.Time
}

func (n *news) tell(b *board, zone string, s fake.Shown) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.last) < 400*time.Millisecond {
		return
	}
	n.last = time.Now()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return
	}
	b.tell("%s  %-4s │ %s │ %s", s.At.In(loc).Format("15:04"), s.Service, strings.TrimSuffix(s.Title+" · "+s.Subtitle, " · "), s.Body)
}

// citrusScenario is the first case study: the stores' day. part divides those who stay far away.
func citrusScenario(part int) *scenario {
	day := citrus.New(citrus.Config{Seed: 18, FarAway: citrus.FarInFull / part})
	s := &scenario{
		title: "Citrus: one day at ten stores in Kyiv", zone: citrus.Zone, clock: day.Begins, begins: citrus.Opens.Add(-time.Hour),
		about:   fmt.Sprintf(`The Citrus day, 28 November 2026: ten stores in Kyiv with a fence of 200 m each, %s phones with location on. Whoever comes between 10:00 and 21:00 gets one push, once in the day. Some come three times, some to two stores, some jump about the edge, some are seen too late or pass by; one in three of those who got the push opens it and buys. Everything goes over NATS into the gateway, its log and ledger, and out to fakes of APNs and FCM.`, say.Thousands(int64(len(day.People)))),
		prepare: func(set *stage.Settings) { set.Fences, set.Campaigns = citrus.Fences(), citrus.Campaign },
	}
	s.ends = day.Messages[len(day.Messages)-1].SendAt.Add(citrus.StepLength)
	s.gauges = func(f map[string]map[string]int64) []gauge {
		n := func(name string) int64 { return countIn(f, citrus.CampaignID, name) }
		held := int64(0)
		for name, count := range f[citrus.CampaignID] {
			if strings.HasPrefix(name, "held.") {
				held += count
			}
		}
		return []gauge{
			{name: "entries", n: f[""]["entered"], most: 3850},
			{name: "held back", n: held, most: 3850},
			{name: "pushed", n: n("push.accepted"), most: 3850},
			{name: "opened", n: n(receipt.Opened), most: 3850},
			{name: "bought", n: n(receipt.Converted), most: 3850},
		}
	}
	s.play = func(ctx context.Context, g *stage.Gateway, ph *stage.Phones, b *board) error {
		var told news
		ph.Book.OnShow(func(shown fake.Shown) { told.tell(b, s.zone, shown) })
		p, err := stage.Attach(g)
		if err != nil {
			return err
		}
		defer p.Close()
		err = day.Play(ctx, p, ph, func(now time.Time) {
			s.draw(b, g, now, "")
			b.keepPace(ctx, now)
		})
		if err == nil {
			b.draw(g.Clock.Now(), "", s.gauges(g.Status().Funnel))
		}
		return err
	}
	s.figures = func(ctx context.Context, g *stage.Gateway) ([]figure, error) {
		c, err := citrus.Read(ctx, g)
		if err != nil {
			return nil, err
		}
		all, err := devices(ctx, g)
		t := &c.Total
		return []figure{
			{"people with location on", "76,000", say.Thousands(all)},
			{"came and were pushed", "2,600", say.Thousands(t.Accepted)},
			{"  of those with location on", "3.42 %", say.Percent(t.Accepted, all, 2)},
			{"opened", "976", say.Thousands(t.Opened)},
			{"bought", "924", say.Thousands(t.Converted)},
			{"  of those pushed", "35.5 %", say.Percent(t.Converted, t.Accepted, 1)},
			{"  of those who opened", "94.67 %", say.Percent(t.Converted, t.Opened, 2)},
			{"second pushes to anybody that day", "-", say.Thousands(t.Accepted - t.Reached)},
		}, err
	}
	person := func(g citrus.Group) string {
		for i := range day.People {
			if day.People[i].Group == g {
				return citrus.App + "." + day.People[i].Device
			}
		}
		return ""
	}
	s.look = []lookFurther{
		{"explain " + person(citrus.N1), "passed the door: how many metres were missing", false},
		{"explain " + person(citrus.G2), "three visits, one push: what every rule said", false},
		{"campaign report " + citrus.CampaignID + " --day 2026-11-28 --by fence", "the funnel of the day, store by store, with every divisor named", false},
	}
	return s
}

// perekrestokScenario is the second case study: the reminder at lunch. part divides the people.
func perekrestokScenario(part int) (*scenario, error) {
	day, err := perekrestok.New(perekrestok.Config{Seed: 4, Part: part})
	if err != nil {
		return nil, err
	}
	s := &scenario{
		title: "Perekrestok: looked, did not buy, and lunch", zone: perekrestok.Zone,
		about: fmt.Sprintf(`The Perekrestok lunch, 25 to 29 November 2026: %s people look at a product. Who has not bought from its category 24 hours later is tagged, waits for 13:00 on their own clock and gets a discount, or, as the control, nothing. The goal is the basket. The journey is paused on the second day from 12:30 to 14:30, across the end of most waits: nobody is lost.`,
			say.Thousands(int64(len(day.People)))),
		prepare: func(set *stage.Settings) { set.Campaigns = perekrestok.Journey },
	}
	p := perekrestok.NewPlay(day)
	s.clock, s.begins, s.ends = p.Begins(), p.Begins(), p.Ends()
	var counts map[string]int64
	people := int64(len(day.People))
	s.gauges = func(f map[string]map[string]int64) []gauge {
		return []gauge{
			{name: "looked", n: counts["entered"], most: people},
			{name: "bought by themselves", n: counts["step.bought.bought"], most: people},
			{name: "drawn as control", n: counts["arm.offer.control"], most: people},
			{name: "pushed at lunch", n: countIn(f, perekrestok.JourneyID, "push.accepted"), most: people},
			{name: "opened", n: countIn(f, perekrestok.JourneyID, receipt.Opened), most: people},
			{name: "basket, pushed", n: counts["goal.offer.discount"], most: people},
			{name: "basket, control", n: counts["goal.offer.control"], most: people},
		}
	}
	s.play = func(ctx context.Context, g *stage.Gateway, ph *stage.Phones, b *board) error {
		var told news
		p.Watch(ph)
		if err := p.Attach(g); err != nil {
			return err
		}
		defer p.Detach()
		p.OnShow = func(_ *perekrestok.Person, shown fake.Shown) { told.tell(b, s.zone, shown) }
		p.OnStep = func(now time.Time) {
			b.keepPace(ctx, now)
			if !b.due(now) && now.Before(s.ends) {
				return
			}
			if c, err := perekrestok.Counts(g); err == nil {
				counts = c
			}
			state := ""
			if p.Paused() {
				state = "paused"
			}
			s.draw(b, g, now, state)
		}
		if err := p.Until(ctx, s.ends); err != nil {
			return err
		}
		return p.WeekLater()
	}
	s.figures = func(ctx context.Context, g *stage.Gateway) ([]figure, error) {
		f, err := perekrestok.Read(ctx, g)
		if err != nil {
			return nil, err
		}
		out := []figure{
			{"reminded", "10,000", say.Thousands(f.Offer.People)},
			{"  put something into the basket", "1,670", say.Thousands(f.Offer.Goals)},
			{"  of those reminded", "16.7 %", say.Percent(f.Offer.Goals, f.Offer.People, 1)},
			{"control, not reminded", "10,000", say.Thousands(f.Control.People)},
			{"  put something into the basket", "88", say.Thousands(f.Control.Goals)},
			{"  of the control", "0.88 %", say.Percent(f.Control.Goals, f.Control.People, 2)},
			{"times as many", "19×", say.Times(math.Round(f.Times))},
			{"sure that it is no chance", "-", surely(f.Offer.Better)},
		}
		for _, r := range f.Report.Rates {
			if strings.HasPrefix(r.Name, "CTR") {
				out = append(out, figure{r.Name, "-", say.Percent(r.Part, r.Whole, 2)})
			}
		}
		for _, r := range f.Report.Cohort {
			if strings.HasSuffix(r.Name, "churn") {
				out = append(out, figure{r.Name, "-", say.Percent(r.Part, r.Whole, 2)})
			}
		}
		return out, nil
	}
	first := perekrestok.App + "." + day.People[0].Device
	s.look = []lookFurther{
		{"journey show " + perekrestok.JourneyID, "the steps, who went where, and the experiment", true},
		{"journey show " + perekrestok.JourneyID + " --device " + first, "one person's way", true},
		{"explain " + first, "why that person got a push, or none", false},
		{"campaign report " + perekrestok.JourneyID + " --from 2026-11-25 --to 2026-11-29 --goal add_to_basket", "the funnel of the reminder", false},
	}
	return s, nil
}
