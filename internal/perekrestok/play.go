package perekrestok

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"footfall/funnel"
	"footfall/internal/db"
	"footfall/internal/stage"
	"footfall/journey"
	"footfall/push/fake"
	"footfall/receipt"
	"footfall/stream"
)

// Play leads the people of a day through a gateway: what they do, what their phones report of the push, and the pause.
// It is for one goroutine.
type Play struct {
	Day *Day
	// Step is how far the clock goes at a time: StepLength, on which Person.Want stands.
	Step time.Duration
	// OnStep is called after each step, with the time of the day; OnShow when a phone shows the push. Both may be nil.
	OnStep func(now time.Time)
	OnShow func(p *Person, s fake.Shown)

	player  *stage.Player
	byToken map[string]int
	now     time.Time
	next    int             // in Day.Messages
	due     []stage.Message // of phones
	paused  bool

	mu    sync.Mutex
	shown []fake.Shown // since the last step
}

// NewPlay makes the play of a day.
func NewPlay(d *Day) *Play {
	p := &Play{Day: d, Step: StepLength, byToken: map[string]int{}, now: begins}
	for i := range d.People {
		p.byToken[d.People[i].Token] = i
	}
	return p
}

// Watch looks at what phones show from here on.
func (p *Play) Watch(ph *stage.Phones) {
	ph.Book.OnShow(func(s fake.Shown) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.shown = append(p.shown, s)
	})
}

// Begins and Ends are when the first phone registers, and when everybody is through.
func (p *Play) Begins() time.Time { return begins }

// Ends is when the play is over.
func (p *Play) Ends() time.Time { return ends }

// Attach plays to a gateway from here on.
func (p *Play) Attach(g *stage.Gateway) (err error) {
	p.player, err = stage.Attach(g)
	return err
}

// Detach disconnects the phones from the gateway.
func (p *Play) Detach() { p.player.Close() }

// Until plays on until a time; ctx ends it earlier, between two steps.
func (p *Play) Until(ctx context.Context, to time.Time) error {
	for p.now.Before(to) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.now = p.now.Add(p.Step)
		if err := p.pause(ctx); err != nil {
			return err
		}
		if err := p.player.Play(p.now, p.ready()); err != nil {
			return err
		}
		p.hear()
		if p.OnStep != nil {
			p.OnStep(p.now)
		}
	}
	return nil
}

// WeekLater moves the clock on by eight days, so that a report can say who has come and gone within seven.
func (p *Play) WeekLater() error { return p.player.Play(p.now.Add(8*24*time.Hour), nil) }

// pause pauses and resumes the journey when it is time.
func (p *Play) pause(ctx context.Context) (err error) {
	should := !p.now.Before(PausedFrom) && p.now.Before(PausedUntil)
	if should == p.paused {
		return nil
	}
	if should {
		_, err = p.player.G.PauseJourney(ctx, JourneyID)
	} else {
		p.player.G.Clock.Forward(p.now)
		_, err = p.player.G.ResumeJourney(ctx, JourneyID)
	}
	p.paused = should
	return err
}

// Paused reports whether the journey is paused.
func (p *Play) Paused() bool { return p.paused }

// ready takes out what is sent in the step that ends now.
func (p *Play) ready() (out []stage.Message) {
	first := p.next
	for p.next < len(p.Day.Messages) && p.Day.Messages[p.next].SendAt.Before(p.now) {
		p.next++
	}
	out = slices.Clone(p.Day.Messages[first:p.next])
	p.due = slices.DeleteFunc(p.due, func(m stage.Message) bool {
		if !m.SendAt.Before(p.now) {
			return false
		}
		out = append(out, m)
		return true
	})
	return out
}

// hear plans what phones say of the pushes that have come up.
func (p *Play) hear() {
	p.mu.Lock()
	shown := p.shown
	p.shown = nil
	p.mu.Unlock()
	for i := range shown {
		s := &shown[i]
		n, ok := p.byToken[s.Token]
		if !ok {
			continue
		}
		who := &p.Day.People[n]
		say := func(class string, after time.Duration, v map[string]any) {
			p.due = append(p.due, stage.Message{SendAt: p.now.Add(after), Person: n, Subject: class + "." + App + "." + who.Device, Payload: encode(v)})
		}
		receipted := func(after time.Duration, ev string) {
			say("receipt", after, map[string]any{"mid": s.MID, "k": s.Key, "ev": ev, "t": s.At.Add(after).UnixMilli()})
		}
		receipted(0, receipt.Delivered)
		if who.Want.Opens {
			receipted(4*time.Minute, receipt.Opened)
		}
		if who.Want.Leaves {
			say("device", 3*time.Hour, map[string]any{"consent": map[string]bool{"push": false}})
		}
		if p.OnShow != nil {
			p.OnShow(who, *s)
		}
	}
}

// Counts are those of the journey so far.
func Counts(g *stage.Gateway) (counts map[string]int64, err error) {
	err = g.DB.View(func(tx *db.Tx) (err error) {
		counts, err = journey.Counts(tx, JourneyID)
		return err
	})
	return counts, err
}

// Figures are those of the case study, as the gateway's ledger holds them.
type Figures struct {
	Offer, Control journey.Arm
	Times          float64          // how many times as often the offered reach the goal
	Counts         map[string]int64 // of the journey
	Report         *funnel.Campaign // of its pushes
	Growth         *funnel.Growth   // of those who can be pushed to
}

// Read reads the figures from a running gateway.
func Read(ctx context.Context, g *stage.Gateway) (f Figures, err error) {
	v, err := g.ShowJourney(ctx, stream.JourneyRequest{Journey: JourneyID})
	if err != nil {
		return f, err
	}
	f.Counts = v.Counts
	for _, arm := range v.Experiments[OfferStep] {
		if arm.Name == "control" {
			f.Control = arm
		} else {
			f.Offer = arm
		}
	}
	if r := f.Control.Rate(); r > 0 {
		f.Times = f.Offer.Rate() / r
	}
	day := func(t time.Time) funnel.Day { return funnel.DayOf(t.UnixMilli(), 0) }
	// Of all campaigns, because only such a report says how the subscribers changed.
	r, err := stream.Report(ctx, g.DB, funnel.Query{From: day(begins), To: day(ends), Goal: "add_to_basket"}, g.Clock.Now())
	if err != nil {
		return f, err
	}
	for _, c := range r.Campaigns {
		if c.ID == JourneyID {
			f.Report = c
		}
	}
	if f.Report == nil {
		return f, fmt.Errorf("perekrestok: the report has nothing of %s", JourneyID)
	}
	f.Growth = r.Growth
	return f, nil
}
