package citrus

import (
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/internal/stage"
)

// farAway is how many people stay far away: 2,000, and all 72,200 with FOOTFALL_LONG=1. The groups near the stores
// have their full size in both.
func farAway() int {
	if os.Getenv("FOOTFALL_LONG") == "1" {
		return FarInFull
	}
	return 2_000
}

// newPhones starts the fakes for a test.
func newPhones(t testing.TB, now func() time.Time) *stage.Phones {
	t.Helper()
	ph, err := stage.StartPhones(now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ph.Close() })
	return ph
}

// settings are those of a gateway in dir that plays the day.
func settings(ph *stage.Phones, dir string) *stage.Settings {
	s := ph.Settings(dir)
	s.Fences, s.Campaigns = Fences(), Campaign
	return s
}

// player plays a day into a host, step by step: the clock goes to the end of the step, everything in it is published
// and answered, then decided, then pushed. Nothing of it is left when the clock moves on, so that ages and expiries
// are judged by the time of the day and not by how fast the machine is.
type player struct {
	t    *testing.T
	h    host
	nc   *nats.Conn
	s    *stage.Sender
	step time.Duration

	reporter *Reporter // nil: the phones say nothing of their notices
}

func newPlayer(t *testing.T, h host, step time.Duration) *player {
	t.Helper()
	p := &player{t: t, h: h, step: step}
	p.attach()
	return p
}

// attach connects the phones to the host.
func (p *player) attach() {
	p.t.Helper()
	var err error
	if p.nc, err = p.h.connect(); err != nil {
		p.t.Fatal(err)
	}
	old := p.s
	if p.s, err = stage.NewSender(p.nc); err != nil {
		p.t.Fatal(err)
	}
	if old != nil {
		p.s.Sent, p.s.Resent = old.Sent, old.Resent
	}
}

// end is when the step of a message is over.
func (p *player) end(m *Message) time.Time { return m.SendAt.Truncate(p.step).Add(p.step) }

func (p *player) clockTo(now time.Time) {
	p.t.Helper()
	if err := p.h.clockTo(now); err != nil {
		p.t.Fatal(err)
	}
}

func (p *player) send(round []Message) {
	p.t.Helper()
	if _, err := p.s.Send(round, nil); err != nil {
		p.t.Fatal(err)
	}
}

func (p *player) drain(nudge time.Duration) {
	p.t.Helper()
	if err := p.h.drain(nudge); err != nil {
		p.t.Fatal(err)
	}
}

func (p *player) play(ms []Message) {
	p.t.Helper()
	p.clockTo(p.end(&ms[0]))
	for _, round := range stage.Rounds(ms) {
		p.send(round)
	}
	p.drain(0)
	p.report(p.end(&ms[0]))
}

// finish reads everything that came of the day and stops the gateway. live asks the running gateway about every
// person too.
func (p *player) finish(day *Day, ph *stage.Phones, dir string, live bool) *result {
	p.t.Helper()
	p.evening(p.end(&day.Messages[len(day.Messages)-1]))
	r := &result{day: day, step: p.step, resent: p.s.Resent}
	var err error
	if r.stats, err = p.h.status(); err != nil {
		p.t.Fatal(err)
	}
	if r.events, err = readEvents(p.nc); err != nil {
		p.t.Fatal(err)
	}
	if live {
		if r.live, err = askAll(p.nc, day); err != nil {
			p.t.Fatal(err)
		}
	}
	p.nc.Close()
	if err := p.h.close(); err != nil {
		p.t.Fatal(err)
	}
	last := day.Messages[len(day.Messages)-1].SendAt.Add(p.step).Add(3 * time.Hour) // when the last purchase has come
	if err := r.readStored(dir, ph.Book, func() time.Time { return last }); err != nil {
		p.t.Fatal(err)
	}
	return r
}

// plainDay is the day as it comes, on a gateway in this process. It also returns the log, for the replay.
func plainDay(t *testing.T, day *Day) (*result, recording) {
	t.Helper()
	var clock stage.Clock
	clock.Forward(day.Begins)
	ph, dir := newPhones(t, clock.Now), t.TempDir()
	set := settings(ph, dir)
	set.LogInJetStream = true
	g, err := stage.Open(set, &clock)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayer(t, inProcess{g}, 3*time.Minute)
	p.reporter = NewReporter(day, ph)
	for _, ms := range stage.Steps(day.Messages, p.step) {
		p.play(ms)
	}
	p.evening(p.end(&day.Messages[len(day.Messages)-1]))
	rec, err := record(p.nc)
	if err != nil {
		t.Fatal(err)
	}
	if p.s.Resent > 0 {
		t.Logf("%d of %d messages were sent again", p.s.Resent, p.s.Sent)
	}
	r := p.finish(day, ph, dir, true)
	forgetOne(t, r, set, &clock)
	return r, rec
}
