package citrus

import (
	"testing"
	"time"

	"footfall/internal/stage"
)

// killedDay is variant v1: the gateway runs in a process of its own, which gets SIGKILL in three steps in a row from
// 14:00 on, so that the people of G7 are among those whom it hits.
//
// A copy of the files of a live gateway would not do: it is not made in one instant, so a copied ledger could be
// older or younger than the copied log, which no kill can bring about. SIGKILL is what is promised to be survived,
// and the fakes, which live in this process, keep what was pushed before it.
//
// The kills find the gateway in three different states: a round of requests published and nothing awaited; a part
// of a round answered; everything answered, and decisions and pushes on their way. After each the gateway starts
// again on the same files, 40 seconds later by its clock, which is when the lease of a push that was under way has
// run out. Phones then repeat what was not answered; those of G7 repeat all of the step, as phones do that died with
// the answer unread. The way of a doubtful push is timed by the clock too, so while such pushes are owed the clock
// creeps on.
func killedDay(t *testing.T, day *Day) *result {
	t.Helper()
	var clock stage.Clock // of the phones; it follows the gateway's
	clock.Forward(day.Begins)
	ph, dir := newPhones(t, clock.Now), t.TempDir()
	set := settings(ph, dir)
	start := func(at time.Time) *child {
		c, err := startChild(set, at, clock.Forward)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := start(day.Begins)
	defer func() { c.kill() }()
	p := newPlayer(t, c, 3*time.Minute)
	p.reporter = NewReporter(day, ph)
	kills, unanswered, repeated := 0, 0, 0
	for _, ms := range stage.Steps(day.Messages, p.step) {
		if kills == 3 || ms[0].SendAt.Before(killsFrom) {
			p.play(ms)
			continue
		}
		p.clockTo(p.end(&ms[0]))
		all := stage.Rounds(ms)
		stopAt := []int{0, len(all[0]) / 4, len(ms) + 1}[kills]
		var left []Message
		sent := 0
		for _, round := range all {
			var err error
			left, err = p.s.Send(round, func(answered int) bool { return answered >= stopAt })
			if err != nil {
				t.Fatal(err)
			}
			sent++
			if len(left) > 0 {
				break
			}
		}
		c.kill()
		p.nc.Close()
		kills++
		unanswered += len(left)
		c = start(p.end(&ms[0]).Add(40 * time.Second))
		p.h = c
		p.attach()
		// Each phone goes on where it was: G7 from the step's beginning, the others with what was not answered.
		again := map[int]bool{}
		for _, m := range left {
			again[m.Person] = true
		}
		for i, round := range all {
			var due []Message
			for _, m := range round {
				g7 := day.People[m.Person].Group == G7
				if i >= sent || g7 || i == sent-1 && again[m.Person] {
					due = append(due, m)
				}
				if i < sent && g7 {
					repeated++
				}
			}
			p.send(due)
		}
		p.drain(10 * time.Millisecond)
	}
	t.Logf("%d kills; %d messages were without an answer, %d of G7 were sent again although answered or not", kills, unanswered, repeated)
	if kills != 3 || unanswered == 0 || repeated == 0 {
		t.Errorf("the kills have hit nothing")
	}
	r := p.finish(day, ph, dir, true)
	t.Logf("notices that were sent more than once: %d", ph.Book.Stats().Replaced)
	return r
}

var killsFrom = clock(14, 0)
