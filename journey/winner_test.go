package journey

import (
	"math/rand/v2"
	"testing"
)

// TestWinner: the test of two proportions, against figures from tables, and when an experiment is decided.
func TestWinner(t *testing.T) {
	arms := []Arm{{Name: "c", People: 1000, Goals: 100}, {Name: "x", People: 1000, Goals: 130}}
	Compare(arms)
	if got := arms[1].Better; got < 0.981 || got > 0.983 { // z = 2.103
		t.Errorf("13 %% against 10 %% of 1000: %.4f, want 0.9823", got)
	}
	j := mustParse(t, "journey: j\nentry: {event: e}\nwindow: {to: never}\ngoal: {event: g}\nsteps: [{experiment: {arms: {c: {share: 20%}, x: {share: 40%}, y: {share: 40%}}, winner: {confidence: 95%, at_least: 1000}}}]\n")
	for _, tt := range []struct {
		c, x, y [2]int64
		want    string
	}{
		{[2]int64{1000, 100}, [2]int64{1000, 160}, [2]int64{1000, 120}, "x"},
		{[2]int64{1000, 100}, [2]int64{1000, 150}, [2]int64{1000, 120}, ""},  // enough for one look (0.9996), not for all that may come
		{[2]int64{999, 100}, [2]int64{1000, 160}, [2]int64{1000, 120}, ""},   // too few
		{[2]int64{1000, 100}, [2]int64{1000, 153}, [2]int64{1000, 100}, ""},  // enough alone, not among two
		{[2]int64{1000, 160}, [2]int64{1000, 100}, [2]int64{1000, 100}, "c"}, // nothing beats doing nothing
		{[2]int64{1000, 0}, [2]int64{1000, 0}, [2]int64{1000, 0}, ""},        //
		{[2]int64{1000, 100}, [2]int64{1000, 160}, [2]int64{1000, 170}, "y"}, //
		{[2]int64{1000, 160}, [2]int64{1000, 100}, [2]int64{1000, 155}, ""},  // one of them may be as good
	} {
		got := j.Winner("1", []Arm{{"c", tt.c[0], tt.c[1], 0}, {"x", tt.x[0], tt.x[1], 0}, {"y", tt.y[0], tt.y[1], 0}})
		if got != tt.want {
			t.Errorf("%v: %q, want %q", tt, got, tt.want)
		}
	}
}

// TestWinnerAmongEquals looks at experiments after each newcomer, as a running journey does, from the first look that counts up
// to 40 times as many people. Where no arm is better one is named in 5 of 100 at most; a test of one look, asked so often,
// names one in 20 or more. Where one is better it is found, and no other.
func TestWinnerAmongEquals(t *testing.T) {
	const (
		atLeast, most = 100, 4000 // people in each of two arms
		alpha         = 0.05
		trials        = 1000
	)
	rng := rand.New(rand.NewPCG(1, 0))
	// play returns by which arm, if any, an experiment is decided, and how many people each had until then.
	play := func(control, other float64, decided func(c, x *Arm) bool) (won int, people int64) {
		var arms [2]Arm
		rates := [2]float64{control, other}
		for n := int64(1); n <= most; n++ {
			for i := range arms {
				arms[i].People++
				if rng.Float64() < rates[i] {
					arms[i].Goals++
				}
			}
			if n < atLeast {
				continue
			}
			if decided(&arms[0], &arms[1]) {
				return 1, n
			}
		}
		return 0, most
	}
	always := func(c, x *Arm) bool { return beats(x, c, atLeast, alpha) }
	once := func(c, x *Arm) bool { return zScore(x, c) >= 1.645 }
	falsely, peeked := 0, 0
	for range trials {
		n, _ := play(0.2, 0.2, always)
		falsely += n
		n, _ = play(0.2, 0.2, once)
		peeked += n
	}
	t.Logf("no difference: %d of %d are decided, by a test of one look %d", falsely, trials, peeked)
	if falsely > alpha*trials {
		t.Errorf("%d of %d experiments without a difference have a winner, at most %.0f may", falsely, trials, alpha*trials)
	}
	if peeked < 4*alpha*trials {
		t.Errorf("%d of %d are decided by looking on and on: that was to be shown, and is what this test stands on", peeked, trials)
	}
	found, people := 0, int64(0)
	for range trials {
		n, m := play(0.2, 0.25, always)
		found, people = found+n, people+m
	}
	t.Logf("20 %% against 25 %%: %d of %d are found, after %d people an arm in the mean", found, trials, people/trials)
	if found < 95*trials/100 {
		t.Errorf("a difference of 20 %% and 25 %% is found in %d of %d with %d people an arm", found, trials, most)
	}
	wrong := 0
	for range trials {
		n, _ := play(0.25, 0.2, always)
		wrong += n
	}
	if wrong > falsely {
		t.Errorf("an arm that is worse wins %d times, one that is as good %d times", wrong, falsely)
	}
}
