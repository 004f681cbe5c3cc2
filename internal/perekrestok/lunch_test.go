package perekrestok

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/internal/db"
	"footfall/internal/stage"
	"footfall/journey"
	"footfall/push/fake"
)

// TestLunch plays the case study through the whole gateway and checks every person, and the figures of the case study.
// While the journey is paused the gateway is stopped and started again.
//
// The ordinary form has a tenth of the people; FOOTFALL_LONG=1 runs all 23,200.
func TestLunch(t *testing.T) {
	if testing.Short() {
		t.Skip("plays five days")
	}
	part := 10
	if os.Getenv("FOOTFALL_LONG") == "1" {
		part = 1
	}
	day, err := New(Config{Seed: 4, Part: part})
	if err != nil {
		t.Fatal(err)
	}
	p, ph, set, clock := newPlay(t, day)
	open := func() *stage.Gateway {
		g, err := stage.Open(set, clock)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Attach(g); err != nil {
			t.Fatal(err)
		}
		return g
	}
	until := func(at time.Time) {
		if err := p.Until(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	g := open()
	until(PausedFrom.Add(70 * time.Minute)) // 13:40 in Moscow, the pause goes on
	if !p.Paused() {
		t.Fatal("the journey is not paused")
	}
	p.Detach()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g = open()
	until(p.Ends())
	day.check(t, g, ph.Book)
	if err := p.WeekLater(); err != nil {
		t.Fatal(err)
	}
	f, err := Read(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	p.Detach()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d people, %d messages, in %v", len(day.People), len(day.Messages), time.Since(began).Round(100*time.Millisecond))
	f.check(t, day)
}

// newPlay makes a day's play with the phones for it, which end with the test, and settings for gateways by one clock.
func newPlay(t *testing.T, day *Day) (*Play, *stage.Phones, *stage.Settings, *stage.Clock) {
	t.Helper()
	clock := new(stage.Clock)
	clock.Forward(begins)
	ph, err := stage.StartPhones(clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ph.Close() })
	set := ph.Settings(t.TempDir())
	set.Campaigns = Journey
	p := NewPlay(day)
	p.Watch(ph)
	return p, ph, set, clock
}

// TestSameInputSamePushes plays the same input twice, to gateways whose clocks go in other steps and one of which is stopped and
// started between: every push has the same message id. What lets people in is named by the input, and no clock.
func TestSameInputSamePushes(t *testing.T) {
	if testing.Short() {
		t.Skip("plays two days twice")
	}
	day, err := New(Config{Seed: 5, Part: 100})
	if err != nil {
		t.Fatal(err)
	}
	play := func(step time.Duration, stops ...time.Time) map[string]string {
		p, ph, set, clock := newPlay(t, day)
		p.Step = step
		for _, until := range append(stops, PausedFrom.Add(28*time.Hour)) {
			g, err := stage.Open(set, clock)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(p.Attach(g), p.Until(t.Context(), until)); err != nil {
				t.Fatal(err)
			}
			p.Detach()
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
		}
		mids := map[string]string{}
		for i := range day.People {
			for _, s := range ph.Book.Shown(day.People[i].Token) {
				mids[day.People[i].Device] += s.MID + " "
			}
		}
		return mids
	}
	first := play(StepLength)
	if len(first) < day.of(PerArm) {
		t.Errorf("%d phones show something, want %d at least", len(first), day.of(PerArm))
	}
	if d := cmp.Diff(first, play(17*time.Minute, firstView.Add(5*time.Hour), PausedFrom.Add(-time.Hour))); d != "" {
		t.Errorf("message ids by phone (-once +again):\n%s", d)
	}
}

// check compares everybody's run and screen with what has to come of them.
func (d *Day) check(t *testing.T, g *stage.Gateway, book *fake.PhoneBook) {
	t.Helper()
	wrong := 0
	fail := func(p *Person, format string, v ...any) {
		if wrong++; wrong <= 20 {
			t.Errorf("%s %s (%s): %s", p.Group, p.Device, p.zone, fmt.Sprintf(format, v...))
		}
	}
	err := g.DB.View(func(tx *db.Tx) error {
		for i := range d.People {
			p := &d.People[i]
			r, err := journey.Get(tx, JourneyID, p.Subject)
			if err != nil {
				return err
			}
			arm := map[Group]string{Offer: "discount", Control: "control"}[p.Group]
			if r.N != 1 || r.Active() || r.Why != p.Want.Why || r.Goal != p.Want.Goal || r.Arms[OfferStep] != arm {
				fail(p, "run %+v, want %+v", r, p.Want)
			}
			shown := book.Shown(p.Token)
			switch {
			case !p.Want.Push && len(shown) == 0:
			case !p.Want.Push || len(shown) != 1 || shown[0].Replaced != 0:
				fail(p, "%d notices %+v, want %v", len(shown), shown, p.Want.Push)
			default:
				s := &shown[0]
				if s.At.Before(p.Want.LunchAt) || s.At.After(p.Want.LunchAt.Add(StepLength)) {
					fail(p, "shown at %v, want %v", s.At, p.Want.LunchAt)
				}
				if !strings.Contains(s.Body, p.Category) || !strings.HasSuffix(s.Image, p.Category+".jpg") {
					fail(p, "shows %q and %q, looked at %s", s.Body, s.Image, p.Category)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if wrong > 20 {
		t.Errorf("%d people in all", wrong)
	}
}

// check compares the figures with those of the case study.
func (f *Figures) check(t *testing.T, d *Day) {
	t.Helper()
	count := func(n int) int64 { return int64(d.of(n)) }
	arms := []journey.Arm{f.Control, f.Offer}
	want := []journey.Arm{{Name: "control", People: count(PerArm), Goals: 88}, {Name: "discount", People: count(PerArm), Goals: count(OfferGoals), Better: 1}}
	if d.part > 1 {
		want[0].Goals = 9
	}
	if !cmp.Equal(arms, want) {
		t.Errorf("arms %+v, want %+v", arms, want)
	}
	text := fmt.Sprintf("%.1f %% against %.2f %%, %.0fx", 100*f.Offer.Rate(), 100*f.Control.Rate(), f.Times)
	t.Log(text)
	if d.part == 1 && text != "16.7 % against 0.88 %, 19x" {
		t.Errorf("%s, want 16.7 %% against 0.88 %%, 19x", text)
	}
	for name, want := range map[string]int64{
		"entered": int64(len(d.People)), "step.bought.bought": count(Buyers), "step.4.no": count(Refused),
		"goal": want[0].Goals + want[1].Goals + count(Baskets), "ended." + journey.WhyGoal: want[0].Goals + want[1].Goals + count(Baskets),
		"ended." + journey.WhyExit: count(Buyers) + count(Refused),
	} {
		if f.Counts[name] != want {
			t.Errorf("%s is %d, want %d", name, f.Counts[name], want)
		}
	}
	c := &f.Report.Total
	if c.Claimed != count(PerArm) || c.Accepted != count(PerArm) || c.Delivered != count(PerArm) || c.Opened != count(OfferOpens) {
		t.Errorf("report: %+v", c.Counts)
	}
	rates := map[string]string{}
	for _, r := range slices.Concat(f.Report.Rates, f.Report.Cohort) {
		rates[r.Name] = fmt.Sprintf("%d/%d", r.Part, r.Whole)
		t.Logf("%-22s %6.2f %%  %d of %d: %s", r.Name, 100*r.Rate, r.Part, r.Whole, r.Says)
	}
	for name, want := range map[string]string{
		"CTR of pushed": fmt.Sprintf("%d/%d", count(OfferOpens), count(PerArm)),
		"D1 churn":      fmt.Sprintf("%d/%d", count(OfferLeave), count(PerArm)), "D7 churn": fmt.Sprintf("%d/%d", count(OfferLeave), count(PerArm)),
	} {
		if rates[name] != want {
			t.Errorf("%s is %s, want %s", name, rates[name], want)
		}
	}
	for _, k := range f.Report.Attribution { // whoever fills the basket has opened the push
		if k.Model == "code" { // nothing is shown at a till
			continue
		}
		if k.Conversions != count(OfferGoals) || k.People != count(OfferGoals) {
			t.Errorf("report: %d conversions of %d people are credited to %s, want %d", k.Conversions, k.People, k.Model, count(OfferGoals))
		}
	}
	left := int64(0)
	for _, g := range f.Growth.Days {
		for _, n := range g.Left {
			left += n
		}
	}
	if joined, want := f.Growth.Days[0].Joined, int64(len(d.People))-count(Refused); joined != want || left != count(OfferLeave) {
		t.Errorf("%d subscribers joined and %d left, want %d and %d", joined, left, want, count(OfferLeave))
	}
}
