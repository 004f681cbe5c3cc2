package dedupe

import (
	"testing"
	"time"

	"footfall/internal/db"
)

// TestSends: a send counts from the claim on, in order of time and for its subject alone; a release takes it back,
// and the provider's late acceptance restores it.
func TestSends(t *testing.T) {
	now := day0
	d := open(t, func() time.Time { return now })
	send := func(p Period, subject string, at time.Time, keep time.Duration) (Key, Claim) {
		k, c, won := reserve(t, d, p, subject, at)
		if !won {
			t.Fatalf("%s at %s: not won", subject, at)
		}
		for range 2 {
			update(t, d, func(tx *db.Tx) error { return RecordSend(tx, k, c, false, keep) })
		}
		return k, c
	}
	list := func(subject string) (times []time.Duration) {
		t.Helper()
		err := d.View(func(tx *db.Tx) error {
			all, err := Sends(tx, subject)
			for _, s := range all {
				times = append(times, s.At.Sub(day0))
				if s.Campaign != "c" {
					t.Errorf("of campaign %q", s.Campaign)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return times
	}
	every := Period{Kind: PeriodNone}
	k, c := send(every, "p:1", day0.Add(time.Hour), 0)
	send(every, "p:1", day0, 24*time.Hour) // late
	send(every, "p:11", day0, 0)
	if got := list("p:1"); len(got) != 2 || got[0] != 0 || got[1] != time.Hour {
		t.Errorf("sends %v", got)
	}
	update(t, d, func(tx *db.Tx) error { return Release(tx, k, c.MID, "token_dead") })
	if got := list("p:1"); len(got) != 1 {
		t.Errorf("after a release: %v", got)
	}
	update(t, d, func(tx *db.Tx) error { return Commit(tx, k, c.MID) })
	if got := list("p:1"); len(got) != 2 {
		t.Errorf("taken back: %v", got)
	}
	now = day0.Add(24 * time.Hour)
	if got := list("p:1"); len(got) != 1 || got[0] != time.Hour {
		t.Errorf("a day later: %v", got)
	}
	if got := list("p:2"); got != nil {
		t.Errorf("of nobody: %v", got)
	}
}

// Standing says beforehand what Reserve will answer.
func TestStandingAgreesWithReserve(t *testing.T) {
	for _, p := range []Period{{}, {Kind: PeriodRolling, Rolling: 2 * time.Hour}, {Kind: PeriodEver}, {Kind: PeriodNone}} {
		d := open(t, func() time.Time { return day0 })
		k0, _, _ := reserve(t, d, p, "p:1", day0)
		for _, released := range []bool{false, true} {
			if released && p.Kind != PeriodNone {
				holder := load1(t, d, k0)
				update(t, d, func(tx *db.Tx) error { return Release(tx, k0, holder.MID, "x") })
			}
			for _, at := range []time.Time{day0.Add(time.Hour), day0.Add(2 * time.Hour), day0.Add(time.Minute)} {
				k, want := key(p, "p:1", at)
				var stands, won bool
				err := d.Update(t.Context(), func(tx *db.Tx) (err error) {
					if _, stands, err = Standing(tx, k, p, at); err != nil {
						return err
					}
					_, won, err = Reserve(tx, k, p, want)
					return err
				})
				if err != nil || stands == won {
					t.Errorf("%v at +%v: stands %v, won %v, %v", p.Kind, at.Sub(day0), stands, won, err)
				}
			}
		}
	}
}
