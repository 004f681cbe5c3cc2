package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/internal/dice"
	"footfall/push"
)

// Whatever class of answer comes to whatever row, what follows is an arrow of
// the table.
func TestEveryAnswerFollowsAnArrow(t *testing.T) {
	const now = 1_000_000
	for _, class := range append(push.Classes(), "from the future") {
		for _, sent := range []bool{false, true} {
			for _, onDoubt := range []OnDoubt{Resend, Drop} {
				for attempts := range 9 {
					for _, left := range []int64{-1, 4_000, 900_000} {
						for _, doubt := range []bool{false, true} {
							d := Delivery{MID: "m", State: StateSending, Attempts: attempts, ExpiresAt: now + left, Doubt: doubt}
							out := push.Outcome{Class: class, Sent: sent}
							got, claim := next(d, actionFor(class, sent), out, now, 0.5, policy{8, onDoubt})
							if err := follow(StateSending, got.State); err != nil {
								t.Errorf("%s sent=%v after %d attempts: %v", class, sent, attempts, err)
							}
							if claim == claimRelease && got.Doubt {
								t.Errorf("%s: the claim is released after doubt", class)
							}
							if claim != claimKeep && !got.State.Final() {
								t.Errorf("%s: the claim is settled and the row is %s", class, got.State)
							}
						}
					}
				}
			}
		}
	}
}

// The table knows every state, and a final one leads nowhere by itself.
func TestArrowsAreComplete(t *testing.T) {
	for _, s := range States() {
		to, ok := arrows[s]
		if !ok {
			t.Errorf("no arrows from %s", s)
		}
		if _, ok := codeOf[s]; ok == (s == StateSending) { // which a lease says
			t.Errorf("%s can be stored: %v", s, ok)
		}
		for _, next := range to {
			if s.Final() && next != StatePending && next != none {
				t.Errorf("final %s leads to %s", s, next)
			}
		}
	}
	if follow(StateAccepted, StatePending) == nil || follow(StateCancelled, StatePending) == nil || follow(StateExpired, StatePending) == nil {
		t.Error("what was accepted, cancelled or expired can be sent again")
	}
}

// A change that the table does not have is refused before anything is
// written.
func TestIllegalChangeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		mid := r.enter("a")
		row := r.row(mid)
		c := &change{old: &row, new: row, claim: claimCommit}
		c.new.State = StateDead // never sent
		made, err := r.out.recordAll(context.Background(), []*change{c})
		if len(made) != 0 || err != nil || !errors.Is(c.refused, errIllegal) {
			t.Errorf("%d made, %v, refused %v", len(made), err, c.refused)
		}
		r.want(mid, StatePending, dedupe.Reserved)
		r.check()
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestRowsRoundTrip(t *testing.T) {
	seed := dice.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	stored := slices.DeleteFunc(States(), func(s State) bool { return s == StateSending })
	text := func() string { return strings.Repeat("ж\x00", rng.IntN(4)) + fmt.Sprint(rng.IntN(1000)) }
	for range 2000 {
		d := Delivery{MID: text(), App: text(), Device: text(), Person: text(), Campaign: text(), Fence: text(), Lane: text(), Env: text(),
			OnDoubt: Drop, State: stored[rng.IntN(len(stored))], step: rng.Int(), Reason: text(), Attempts: rng.IntN(9), Redos: rng.IntN(1000), Redrives: rng.IntN(3),
			Doubt: rng.IntN(2) == 0, Bulk: rng.IntN(2) == 0, CreatedAt: rng.Int64(), FixedAt: -rng.Int64(), NextAt: rng.Int64N(99),
			ExpiresAt: rng.Int64(), UpdatedAt: rng.Int64(), FirstAt: rng.Int64N(3), ProviderID: text()}
		if rng.IntN(2) == 0 {
			d.Claim = dedupe.Key{Campaign: text(), Subject: text(), Scope: text(), Period: text()}
			d.Context = []byte(text())
		}
		for range rng.IntN(maxRoutes + 1) {
			d.Tried = append(d.Tried, Route{text(), text(), text()})
		}
		b, err := d.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(b)
		if err != nil {
			t.Fatalf("%+v: %v", d, err)
		}
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", d) {
			t.Fatalf("got %+v, want %+v", got, d)
		}
		for cut := range b { // never a panic, never a row out of half of one
			if _, err := decode(b[:cut]); err == nil {
				t.Fatalf("%d of %d bytes were read as a row", cut, len(b))
			}
		}
	}
	if _, err := decode([]byte{rowVersion - 1, 1, 0}); !errors.Is(err, errRow) || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("version 3: %v", err)
	}
}

func FuzzRow(f *testing.F) {
	d := Delivery{MID: "m", State: StatePending, Tried: []Route{{"d", "l", "e"}}, Claim: dedupe.Key{Campaign: "c", Subject: "s", Period: "p"}}
	b, err := d.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{rowVersion - 1, '{', '}'})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decode(b)
		step, final, ok := stepOf(b)
		glance(b) // of anything
		if err != nil {
			return
		}
		if !ok || step != d.step || final != d.State.Final() {
			t.Fatalf("%+v has step %d, final %v, %v", d, step, final, ok)
		}
		if expiresAt, campaign := glance(b); expiresAt != d.ExpiresAt || string(campaign) != d.Campaign {
			t.Fatalf("%+v at a glance expires at %d, of campaign %q", d, expiresAt, campaign)
		}
		again, err := d.encode()
		if err != nil {
			t.Fatal(err)
		}
		if e, err := decode(again); err != nil || fmt.Sprintf("%+v", e) != fmt.Sprintf("%+v", d) {
			t.Fatalf("%+v became %+v, %v", d, e, err)
		}
	})
}

// Whatever providers answer, whatever is cancelled, sent again and left by
// crashes: every claim that was ever won ends in exactly one counted outcome
// with a reason, no row is left on its way, and every arrow of the table that
// rows follow by themselves is walked.
func TestEveryClaimEndsInOneOutcome(t *testing.T) {
	base := dice.Seed(t)
	seen := map[[2]State]bool{}
	least, most := uint64(20), uint64(200) // chance decides in which round an arrow is walked
	if testing.Short() {
		least = 8
	}
	for i := range most {
		if left := unwalked(seen); i >= least && len(left) == 0 {
			t.Logf("every arrow walked after %d rounds", i)
			return
		}
		synctest.Test(t, func(t *testing.T) { oneLife(t, base+i, seen) })
		if t.Failed() {
			t.Fatalf("seed %d", base+i)
		}
	}
	for _, arrow := range unwalked(seen) {
		t.Errorf("no round walked from %s to %s", arrow[0], arrow[1])
	}
}

// unwalked lists the arrows that rows follow by themselves and that are not in
// seen.
func unwalked(seen map[[2]State]bool) (left [][2]State) {
	for from, all := range arrows {
		for _, to := range all {
			byHand := from == none || to == none || from.Final()
			if !byHand && !seen[[2]State{from, to}] {
				left = append(left, [2]State{from, to})
			}
		}
	}
	return left
}

func oneLife(t *testing.T, seed uint64, seen map[[2]State]bool) {
	rng := rand.New(rand.NewPCG(seed, 2))
	var mu sync.Mutex
	counted := map[string]map[State]int{} // mid -> outcome -> times, as the ledger's counts
	reported := map[string]bool{}         // by the phone
	classes := push.Classes()
	change := func(c *Config) {
		c.DeviceBurst, c.MaxAttempts = 1, 2
		compose := c.Compose
		c.Compose = func(tx *db.Tx, d *Delivery) (*push.Notification, Suppress) {
			if strings.HasPrefix(d.Device, "no") {
				return nil, "no_token"
			}
			if strings.HasPrefix(d.Device, "over") {
				return nil, CampaignOver
			}
			return compose(tx, d)
		}
		c.Another = func(_ *db.Tx, d *Delivery, _ push.Outcome) (Route, bool, error) {
			return Route{Device: d.Device + "'", Lane: testLane}, strings.HasPrefix(d.Device, "two"), nil
		}
		c.Arrived = func(_ *db.Tx, mid string) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			return reported[mid], nil
		}
		c.OnOutcome = func(_ *db.Tx, old, d *Delivery, _ push.Outcome) error {
			mu.Lock()
			defer mu.Unlock()
			if counted[d.MID] == nil {
				counted[d.MID] = map[State]int{}
			}
			if old.State.Final() {
				counted[d.MID][old.State]--
			}
			if d.State.Final() {
				counted[d.MID][d.State]++
			}
			return nil
		}
	}
	r := newRig(t, change)
	walked := func(from, to State) { // on the writer goroutine
		mu.Lock()
		defer mu.Unlock()
		seen[[2]State{from, to}] = true
	}
	r.out.walked = walked
	r.prov.latency = 300 * time.Millisecond
	rng2 := rand.New(rand.NewPCG(seed, 3)) // under the provider's lock
	r.prov.fallback = func(*push.Notification) push.Outcome {
		c := classes[rng2.IntN(len(classes))]
		if rng2.IntN(2) == 0 {
			c = push.Accepted
		}
		if c == push.Auth && rng2.IntN(3) > 0 {
			c = push.Retry
		}
		return push.Outcome{Class: c, Status: 200, Reason: "scripted", Sent: c != push.RetryNow && rng2.IntN(5) > 0, RetryAfter: time.Duration(rng2.IntN(3)) * time.Second}
	}
	mids := map[string]bool{}
	r.run()
	for i := range 150 {
		kind := []string{"d", "d", "d", "no", "over", "two"}[rng.IntN(6)]
		mid := r.enter(fmt.Sprint(kind, rng.IntN(60)), func(d *Delivery) {
			d.Campaign = fmt.Sprint("c", i%4)
			d.Bulk = rng.IntN(4) == 0
			d.ExpiresAt = d.CreatedAt + int64(rng.IntN(120_000)) + 2_000
			if rng.IntN(5) == 0 {
				d.OnDoubt = Drop
			}
		})
		if mid != "" {
			mids[mid] = true
		}
		time.Sleep(time.Duration(rng.IntN(700)) * time.Millisecond)
		switch rng.IntN(12) {
		case 3: // phones report what they have
			for mid := range mids {
				if d := r.row(mid); rng.IntN(3) > 0 || d.Attempts == 0 && d.Redrives == 0 && !d.Doubt {
					continue
				}
				if err := r.db.Update(context.Background(), func(tx *db.Tx) error {
					mu.Lock()
					reported[mid] = true
					mu.Unlock()
					return r.out.Confirm(tx, mid)
				}); err != nil {
					t.Fatal(err)
				}
			}
		case 0:
			if _, err := r.out.CancelCampaign(context.Background(), fmt.Sprint("c", rng.IntN(4)), "stopped"); err != nil {
				t.Fatal(err)
			}
		case 1: // a crash: rows stay leased, and another outbox goes on
			r.stop()
			for mid := range mids {
				if d := r.row(mid); (d.State == StatePending || d.State == StateRetryWait || d.State == StateInDoubt) && rng.IntN(2) == 0 {
					r.leave(mid)
				}
			}
			r.out = r.newOutbox(change)
			r.out.walked = walked
			if rng.IntN(2) == 0 {
				if _, err := r.out.CancelCampaign(context.Background(), fmt.Sprint("c", rng.IntN(4)), "stopped while down"); err != nil {
					t.Fatal(err)
				}
			}
			if rng.IntN(3) == 0 {
				time.Sleep(time.Minute) // some expire while it is down
			}
			r.run()
		case 2:
			for mid := range mids {
				d := r.row(mid)
				if follow(d.State, StatePending) != nil || !d.State.Final() {
					continue
				}
				err := r.db.Update(context.Background(), func(tx *db.Tx) error {
					old, d, err := Redrive(tx, mid)
					if err != nil {
						return err
					}
					return r.out.cfg.OnOutcome(tx, &old, &d, push.Outcome{})
				})
				if err != nil && !errors.Is(err, ErrLate) && !errors.Is(err, ErrSlotTaken) {
					t.Fatal(err)
				}
			}
			r.out.Notify()
		}
	}
	time.Sleep(3 * time.Minute) // the longest life is two
	r.stop()
	r.check()
	for mid := range mids {
		d := r.row(mid)
		if !d.State.Final() || d.Reason == "" {
			t.Errorf("%s ends as %s (%q)", mid, d.State, d.Reason)
		}
		n := 0
		for state, times := range counted[mid] {
			n += times
			if times != 0 && state != d.State {
				t.Errorf("%s is %s and was counted as %s", mid, d.State, state)
			}
		}
		if n != 1 {
			t.Errorf("%s (%s) has %d outcomes: %v", mid, d.State, n, counted[mid])
		}
	}
	if s := r.out.Stats(); s.HookErrors+s.ClaimErrors > 0 {
		t.Errorf("stats %+v", s)
	}
	if err := r.db.Close(); err != nil {
		t.Error(err)
	}
}

// Dead, failed and suppressed deliveries can be sent again while they are worth
// it and their claim is free, under the same message id; others are refused
// with a reason that can be told apart.
func TestRedriveAndPurge(t *testing.T) {
	inRig(t, func(c *Config) {
		c.MaxAttempts = 2
		compose := c.Compose
		c.Compose = func(tx *db.Tx, d *Delivery) (*push.Notification, Suppress) {
			if d.Device == "mute" && d.Redrives == 0 {
				return nil, "opted_out"
			}
			return compose(tx, d)
		}
	}, func(r *rig) {
		down := push.Outcome{Class: push.Retry, Status: 500, Sent: true}
		r.prov.script["dead"] = []push.Outcome{down, down}
		r.prov.script["late"] = []push.Outcome{down, down}
		r.prov.script["purged"] = []push.Outcome{down, down}
		r.prov.script["gone"] = []push.Outcome{{Class: push.TokenDead, Sent: true}}
		r.prov.script["again"] = []push.Outcome{{Class: push.TokenDead, Sent: true}}
		dead, late, gone, mute := r.enter("dead", expires(time.Hour)), r.enter("late", expires(time.Minute)), r.enter("gone"), r.enter("mute")
		taken, fine, purged := r.enter("again"), r.enter("fine"), r.enter("purged", expires(time.Hour))
		time.Sleep(10 * time.Second)
		if r.enter("again") == "" { // the next entry takes the free slot
			t.Fatal("the slot of a dead token is not free")
		}
		time.Sleep(time.Minute)
		redrive := func(mid string) error {
			return r.db.Update(context.Background(), func(tx *db.Tx) error {
				_, _, err := Redrive(tx, mid)
				return err
			})
		}
		if err := r.db.Update(context.Background(), func(tx *db.Tx) error {
			_, _, err := Redrive(tx, dead)
			if err == nil {
				_, _, err = Redrive(tx, dead)
			}
			return err
		}); !errors.Is(err, ErrNotFinal) {
			t.Errorf("twice: %v", err)
		}
		for mid, want := range map[string]error{dead: nil, gone: nil, mute: nil, late: ErrLate, taken: ErrSlotTaken, fine: ErrNoRetry, "x": ErrUnknown} {
			if err := redrive(mid); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", mid, err, want)
			}
		}
		r.check()
		r.out.Notify()
		time.Sleep(time.Second)
		for _, mid := range []string{dead, gone, mute} {
			if d := r.want(mid, StateAccepted, dedupe.Committed); d.Redrives != 1 {
				t.Errorf("row %+v", d)
			}
		}
		if n := len(r.prov.to("dead", r.start)); n != 3 {
			t.Errorf("sent %d times", n)
		}
		claim := r.row(purged).Claim
		purge := func(mid string) (err error) {
			return r.db.Update(context.Background(), func(tx *db.Tx) error {
				_, err := Purge(tx, mid)
				return err
			})
		}
		waiting := r.enter("waiting", func(d *Delivery) { d.NextAt = d.CreatedAt + 60_000 })
		for mid, want := range map[string]error{purged: nil, fine: nil, "x": ErrUnknown, waiting: ErrNotFinal} {
			if err := purge(mid); !errors.Is(err, want) {
				t.Errorf("purge %s: %v, want %v", mid, err, want)
			}
		}
		if err := r.db.View(func(tx *db.Tx) error {
			c, _, err := dedupe.Get(tx, claim)
			if c.State != dedupe.Released {
				t.Errorf("the claim of a purged dead delivery is %v", c.State)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		r.check()
	})
}

// A refused token is not the end when the person has another one: it is sent
// there under the same message id. After doubt it is not, because the first
// phone may have shown it.
func TestAnotherToken(t *testing.T) {
	inRig(t, func(c *Config) {
		c.Another = func(_ *db.Tx, d *Delivery, o push.Outcome) (Route, bool, error) {
			to := map[string]string{"a": "b", "b": "c", "loop": "loop", "x": "y"}[d.Device]
			return Route{Device: to, Lane: testLane}, to != "" && o.Class == push.TokenDead, nil
		}
	}, func(r *rig) {
		dead := push.Outcome{Class: push.TokenDead, Sent: true}
		r.prov.script["a"], r.prov.script["b"] = []push.Outcome{dead}, []push.Outcome{dead}
		r.prov.script["loop"] = []push.Outcome{dead}
		r.prov.script["x"] = []push.Outcome{{Class: push.InDoubt, Sent: true}, dead}
		a, loop, x := r.enter("a"), r.enter("loop"), r.enter("x")
		time.Sleep(20 * time.Second)
		d := r.want(a, StateAccepted, dedupe.Committed)
		if d.Device != "c" || !slices.Equal(d.Tried, []Route{{"a", testLane, ""}, {"b", testLane, ""}}) {
			t.Errorf("row %+v", d)
		}
		for _, s := range r.prov.log() {
			if (s.device == "b" || s.device == "c") && s.mid != a {
				t.Errorf("sent to %s as %s", s.device, s.mid)
			}
		}
		r.want(loop, StateFailed, dedupe.Released)
		r.want(x, StateFailed, dedupe.Reserved)
	})
}
