package dedupe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/internal/db"
	"footfall/internal/dice"
)

var (
	day0  = time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)
	dayly = Period{Kind: PeriodDay}
)

func open(t testing.TB, now func() time.Time) *db.DB {
	t.Helper()
	d, err := db.Open(db.Config{InMemory: true, NoCompaction: true, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func update(t testing.TB, d *db.DB, fn func(tx *db.Tx) error) {
	t.Helper()
	if err := d.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// key returns the key of a claim at an instant, as a campaign would make it.
func key(p Period, subject string, at time.Time) (Key, Claim) {
	id, ends := p.At(at, time.UTC)
	return Key{Campaign: "c", Subject: subject, Period: id}, Claim{At: at, PeriodEnds: ends, Fence: "f"}
}

// reserve tries at an instant and returns the standing or new claim.
func reserve(t testing.TB, d *db.DB, p Period, subject string, at time.Time) (Key, Claim, bool) {
	t.Helper()
	k, c := key(p, subject, at)
	var got Claim
	var won bool
	update(t, d, func(tx *db.Tx) (err error) {
		got, won, err = Reserve(tx, k, p, c)
		return err
	})
	return k, got, won
}

func TestLifeOfAClaim(t *testing.T) {
	d := open(t, func() time.Time { return day0 })
	k, first, won := reserve(t, d, dayly, "d:1", day0)
	if !won || first.State != Reserved || !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(first.MID) {
		t.Fatalf("first: %v %+v", won, first)
	}
	if _, standing, won := reserve(t, d, dayly, "d:1", day0.Add(time.Hour)); won || !cmp.Equal(standing, first) {
		t.Errorf("second: %v %+v", won, standing)
	}
	step := func(want error, name string, fn func(tx *db.Tx) error) {
		t.Helper()
		if err := d.Update(t.Context(), fn); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	other := k
	other.Subject = "d:2"
	step(ErrNotHolder, "commit by another", func(tx *db.Tx) error { return Commit(tx, k, "x") })
	step(ErrNotHolder, "release by another", func(tx *db.Tx) error { return Release(tx, k, "x", "r") })
	step(ErrNoClaim, "commit of nothing", func(tx *db.Tx) error { return Commit(tx, other, first.MID) })
	step(ErrNoClaim, "release of nothing", func(tx *db.Tx) error { return Release(tx, other, first.MID, "r") })

	step(nil, "release", func(tx *db.Tx) error { return Release(tx, k, first.MID, "token_dead") })
	step(nil, "release again", func(tx *db.Tx) error { return Release(tx, k, first.MID, "cancelled") })
	if got := load1(t, d, k); got.State != Released || got.Reason != "token_dead" {
		t.Errorf("released: %+v", got)
	}
	_, second, won := reserve(t, d, dayly, "d:1", day0.Add(2*time.Hour))
	if !won || second.Releases != 1 || second.MID == first.MID || second.Reason != "" {
		t.Fatalf("after a release: %v %+v", won, second)
	}
	step(ErrNotHolder, "commit by the released message, too late", func(tx *db.Tx) error { return Commit(tx, k, first.MID) })
	step(ErrNotHolder, "release by the released message", func(tx *db.Tx) error { return Release(tx, k, first.MID, "r") })
	step(nil, "commit", func(tx *db.Tx) error { return Commit(tx, k, second.MID) })
	step(nil, "commit again", func(tx *db.Tx) error { return Commit(tx, k, second.MID) })
	step(ErrCommitted, "release after commit", func(tx *db.Tx) error { return Release(tx, k, second.MID, "r") })
	if _, standing, won := reserve(t, d, dayly, "d:1", day0.Add(3*time.Hour)); won || standing.State != Committed {
		t.Errorf("after commit: %v %+v", won, standing)
	}
	// The provider's word is the stronger one: a released claim is taken back.
	k3, third, _ := reserve(t, d, dayly, "d:3", day0)
	step(nil, "release", func(tx *db.Tx) error { return Release(tx, k3, third.MID, "r") })
	step(nil, "commit of the released", func(tx *db.Tx) error { return Commit(tx, k3, third.MID) })
	if got := load1(t, d, k3); got.State != Committed || got.Reason != "" {
		t.Errorf("taken back: %+v", got)
	}
}

func load1(t testing.TB, d *db.DB, k Key) Claim {
	t.Helper()
	var got Claim
	if err := d.View(func(tx *db.Tx) error {
		c, found, err := Get(tx, k)
		if got = c; !found && err == nil {
			err = ErrNoClaim
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// Rows outlive their period by 48 h, to the millisecond; those without end stay.
func TestClaimsVanish(t *testing.T) {
	now := day0
	d := open(t, func() time.Time { return now })
	rolling := Period{Kind: PeriodRolling, Rolling: 30 * time.Hour}
	gone := map[Key]time.Time{}
	for _, p := range []Period{dayly, rolling, {Kind: PeriodNone}, {Kind: PeriodEver}} {
		k, c, won := reserve(t, d, p, "d:1", day0)
		if !won {
			t.Fatalf("%v lost", p.Kind)
		}
		update(t, d, func(tx *db.Tx) error { return Commit(tx, k, c.MID) })
		if !c.PeriodEnds.IsZero() {
			gone[k] = c.PeriodEnds.Add(48 * time.Hour)
		}
	}
	if len(gone) != 3 {
		t.Fatalf("claims with an end: %v", gone)
	}
	for k, at := range gone {
		for _, probe := range []struct {
			at   time.Time
			want bool
		}{{at.Add(-time.Millisecond), true}, {at, false}} {
			now = probe.at
			if err := d.View(func(tx *db.Tx) error {
				_, found, err := Get(tx, k)
				if found != probe.want {
					t.Errorf("%v at %v: found %v", k, probe.at, found)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	now = day0.AddDate(70, 0, 0)
	if _, _, won := reserve(t, d, Period{Kind: PeriodEver}, "d:1", now); won {
		t.Error("once ever was won again after 70 years")
	}
}

// A rolling period counts from the claim, not from midnight, and its messages
// never share an id, even when the earlier row is long gone.
func TestRolling(t *testing.T) {
	now := day0
	d := open(t, func() time.Time { return now })
	p := Period{Kind: PeriodRolling, Rolling: 24 * time.Hour}
	mids := map[string]bool{}
	for _, step := range []struct {
		after time.Duration
		won   bool
	}{
		{0, true}, {12 * time.Hour, false}, {24*time.Hour - time.Millisecond, false}, {24 * time.Hour, true},
		{23 * time.Hour, false} /* late */, {47 * time.Hour, false}, {49 * time.Hour, true}, {30 * 24 * time.Hour, true},
	} {
		now = day0.Add(step.after)
		_, c, won := reserve(t, d, p, "d:1", now)
		if won != step.won {
			t.Errorf("after %v: won %v", step.after, won)
		}
		if won && mids[c.MID] {
			t.Errorf("after %v: message id %s again", step.after, c.MID)
		}
		mids[c.MID] = true
	}
}

func TestNoneAlwaysWins(t *testing.T) {
	d := open(t, func() time.Time { return day0 })
	p := Period{Kind: PeriodNone}
	mids := map[string]Key{}
	for i := range 30 {
		k, c, won := reserve(t, d, p, "d:1", day0.Add(time.Duration(i/3)*time.Millisecond)) // three at once
		if !won {
			t.Fatalf("claim %d lost", i)
		}
		mids[c.MID] = k
	}
	if len(mids) != 30 {
		t.Fatalf("%d message ids", len(mids))
	}
	n := 0
	for mid, k := range mids {
		update(t, d, func(tx *db.Tx) error {
			if n++; n%2 == 0 {
				return Release(tx, k, mid, "r")
			}
			return Commit(tx, k, mid)
		})
	}
	states := map[State]int{}
	if err := d.View(func(tx *db.Tx) error {
		return Scan(tx, "c", "", func(k Key, c Claim) bool {
			states[c.State]++
			if mids[c.MID] != k {
				t.Errorf("%s is under %v", c.MID, k)
			}
			return true
		})
	}); err != nil {
		t.Fatal(err)
	}
	if states[Committed] != 15 || states[Released] != 15 {
		t.Errorf("states %v", states)
	}
}

// The bytes of ids are part of the stored data: a change would let a person
// hear twice after an upgrade.
func TestMessageIDIsStable(t *testing.T) {
	k := Key{Campaign: "kyiv", Subject: "p:42", Period: "2026-11-28"}
	if got, want := k.MessageID("store-7", 0), "b24be0fe-291a-855e-8862-1a98e8849b43"; got != want {
		t.Errorf("id %s, want %s", got, want)
	}
	seen := map[string]string{}
	for _, k := range []Key{k, {"kyiv", "p:42", "", "2026-11-29"}, {"kyiv", "p:4", "2", "2026-11-28"}, {"kyi", "vp:42", "", "2026-11-28"}, {"kyiv", "p:42", "2026-11-28", ""}} {
		for _, fence := range []string{"store-7", "store-", ""} {
			for releases := range 12 {
				id, what := k.MessageID(fence, releases), fmt.Sprint(k, fence, releases)
				if seen[id] != "" {
					t.Errorf("%s and %s share %s", seen[id], what, id)
				}
				seen[id] = what
			}
		}
	}
}

func TestKeyBytesRoundTrip(t *testing.T) {
	for _, k := range []Key{{}, {"c", "p:x", "fence 1", "ever"}, {"\x00\x01", "\xff\x00", "", "a\x00b"}} {
		got, err := ParseKey(k.Bytes())
		if err != nil || got != k {
			t.Errorf("%q: %q, %v", k, got, err)
		}
	}
	for _, b := range [][]byte{nil, {4}, {5, 'a', 0, 1}, {4, 'a', 0, 1}} {
		if _, err := ParseKey(b); !errors.Is(err, ErrKeyBytes) {
			t.Errorf("% x: %v", b, err)
		}
	}
}

// N goroutines race for few keys with random steps; the group commit orders
// them. At no time do two messages hold one key, and the end agrees with a map
// that was changed in the same transactions.
func TestAtMostOneHolder(t *testing.T) {
	seed := dice.Seed(t)
	rounds := 300
	if os.Getenv("FOOTFALL_LONG") != "" {
		rounds = 20_000
	}
	d := open(t, func() time.Time { return day0 })
	type slot struct {
		state    State
		mid      string
		releases int
	}
	var mu sync.Mutex
	model := map[Key]slot{}
	winners := map[Key]int{} // messages that hold the key: 0 or 1
	var wg sync.WaitGroup
	for g := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, g))
		wg.Go(func() {
			var mine []struct {
				k   Key
				mid string
			}
			for range rounds {
				at := day0.Add(time.Duration(rng.IntN(72)) * time.Hour)
				k, c := key(dayly, fmt.Sprint("p:", rng.IntN(3)), at)
				op, pick := rng.IntN(4), 0
				if len(mine) == 0 {
					op = 0
				} else {
					pick = rng.IntN(len(mine))
				}
				fail := rng.IntN(8) == 0
				rollback := errors.New("roll back")
				var won bool
				var got Claim
				err := d.Update(context.Background(), func(tx *db.Tx) (err error) {
					mu.Lock()
					defer mu.Unlock()
					m := model[k]
					switch op {
					case 0, 1:
						if got, won, err = Reserve(tx, k, dayly, c); err != nil {
							return err
						}
						if want := m.state == 0 || m.state == Released; won != want {
							t.Errorf("%v: won %v, the model says %v", k, won, want)
						}
						if fail {
							return rollback
						}
						if won {
							if winners[k]++; winners[k] > 1 {
								t.Errorf("%v has %d holders", k, winners[k])
							}
							if m.state == Released {
								m.releases++
							}
							model[k] = slot{Reserved, got.MID, m.releases}
						}
					case 2:
						k, m = mine[pick].k, model[mine[pick].k]
						err := Commit(tx, k, mine[pick].mid)
						if ok := m.mid == mine[pick].mid; (err == nil) != ok {
							t.Errorf("%v: commit: %v, the model has %+v", k, err, m)
						}
						if fail {
							return rollback
						}
						if err == nil {
							if m.state == Released {
								winners[k]++
							}
							m.state = Committed
							model[k] = m
						}
					case 3:
						k, m = mine[pick].k, model[mine[pick].k]
						err := Release(tx, k, mine[pick].mid, "r")
						if ok := m.mid == mine[pick].mid && m.state != Committed; (err == nil) != ok {
							t.Errorf("%v: release: %v, the model has %+v", k, err, m)
						}
						if fail {
							return rollback
						}
						if err == nil {
							if m.state == Reserved {
								winners[k]--
							}
							m.state = Released
							model[k] = m
						}
					}
					return nil
				})
				if err != nil && !errors.Is(err, rollback) {
					t.Error(err)
				}
				if err == nil && won && op <= 1 {
					mine = append(mine, struct {
						k   Key
						mid string
					}{k, got.MID})
				}
			}
		})
	}
	wg.Wait()
	stored := map[Key]slot{}
	if err := d.View(func(tx *db.Tx) error {
		return Scan(tx, "c", "", func(k Key, c Claim) bool {
			stored[k] = slot{c.State, c.MID, c.Releases}
			return true
		})
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(model, stored, cmp.AllowUnexported(slot{})); diff != "" {
		t.Errorf("model and store (-model +store):\n%s", diff)
	}
}

// The proof for one campaign and day is one range in the order of subjects,
// free of other campaigns whose names begin alike.
func TestScanIsTheProof(t *testing.T) {
	d := open(t, func() time.Time { return day0 })
	for _, campaign := range []string{"a", "ab", "a\x00"} {
		for day := range 2 {
			for _, subject := range []string{"p:2", "p:1", "d:9"} {
				k, c := key(dayly, subject, day0.AddDate(0, 0, day))
				k.Campaign = campaign
				update(t, d, func(tx *db.Tx) error {
					_, _, err := Reserve(tx, k, dayly, c)
					return err
				})
			}
		}
	}
	list := func(campaign, period string, stop int) (got []string) {
		if err := d.View(func(tx *db.Tx) error {
			return Scan(tx, campaign, period, func(k Key, c Claim) bool {
				got = append(got, k.Campaign+" "+k.Period+" "+k.Subject)
				return len(got) != stop
			})
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if diff := cmp.Diff([]string{"a 2026-11-28 d:9", "a 2026-11-28 p:1", "a 2026-11-28 p:2"}, list("a", "2026-11-28", 0)); diff != "" {
		t.Error(diff)
	}
	if got := list("a", "", 0); len(got) != 6 {
		t.Errorf("all days: %q", got)
	}
	if got := list("ab", "", 2); len(got) != 2 {
		t.Errorf("stopped: %q", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(Claim{State: Reserved, MID: "m", At: day0, PeriodEnds: day0, Fence: "f", Releases: 3}))
	f.Add(encode(Claim{State: Released, At: day0, Reason: "token_dead"}))
	f.Add([]byte{1, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(encode(c))
		if err != nil || !cmp.Equal(c, again) {
			t.Errorf("% x: %+v, then %+v, %v", b, c, again, err)
		}
	})
}
