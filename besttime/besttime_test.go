package besttime

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"footfall/internal/db"
	"footfall/internal/dice"
)

func kyiv(t testing.TB) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation("Europe/Kyiv")
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// of are hours with so many opens each, at a time.
func of(at time.Time, n map[int]float64) Hours {
	h := Hours{At: at, Local: true}
	for hour, v := range n {
		h.N[hour] = v
	}
	return h
}

func TestPick(t *testing.T) {
	loc := kyiv(t)
	day := func(hour, minute int) time.Time { return time.Date(2026, 11, 28, hour, minute, 0, 0, loc) }
	now := day(8, 0)
	lunch := [3]time.Time{day(12, 0), day(15, 0), day(13, 0)} // from, to, default
	late := of(now, map[int]float64{20: 50})
	for _, tt := range []struct {
		name    string
		window  [3]time.Time
		sources []Source
		hour    int // in which it is
		minute  int // -1: any, by the id
		why     string
	}{
		{"nobody is known", lunch, nil, 13, 0, "the default, 13:00"},
		{"too little of the person", lunch, []Source{{"the person", of(now, map[int]float64{14: 2}), 3}}, 13, 0, "the person: 2.0 opens, and 3 are asked for; the default"},
		{"the person", lunch, []Source{{"the person", of(now, map[int]float64{14: 3, 9: 1}), 3}}, 14, -1, "the person: 75 % of 4.0 opens are from 14 to 15"},
		{"only at other hours", lunch, []Source{{"the person", late, 3}, {"all", of(now, map[int]float64{12: 40}), 30}}, 12, -1, "the person: 50.0 opens, none in these hours; all: 100 %"},
		{"equal: the first", lunch, []Source{{"the person", of(now, map[int]float64{12: 2, 14: 2}), 3}}, 12, -1, "the person"},
		{"neighbours count half", lunch, []Source{{"the person", of(now, map[int]float64{12: 3, 13: 2, 14: 2}), 3}}, 13, -1, "the person"},
		{"decayed", lunch, []Source{{"the person", of(now.Add(-HalfLife), map[int]float64{14: 5}), 3}}, 13, 0, "2.5 opens"},
		{"a part of an hour", [3]time.Time{day(12, 30), day(12, 31), day(12, 0)}, []Source{{"the person", of(now, map[int]float64{12: 9}), 3}}, 12, 30, "the person"},
		{"the default is not in it", [3]time.Time{day(14, 10), day(15, 0), day(13, 0)}, nil, 14, 10, "the default, 14:10"},
		{"UTC hours of a phone that names no zone", lunch, []Source{{"the person", Hours{At: now, N: [24]float64{12: 5}}, 3}}, 14, -1, "from 14 to 15"},
	} {
		c := Pick(tt.window[0], tt.window[1], tt.window[2], loc, "p:u1", now, tt.sources)
		local := c.At.In(loc)
		if c.At.Before(tt.window[0]) || !c.At.Before(tt.window[1]) || local.Hour() != tt.hour || tt.minute >= 0 && local.Minute() != tt.minute || !strings.Contains(c.Why, tt.why) {
			t.Errorf("%s: %s, %s; want %02d:%d, %q", tt.name, local.Format("15:04:05"), c.Why, tt.hour, tt.minute, tt.why)
		}
		if again := Pick(tt.window[0], tt.window[1], tt.window[2], loc, "p:u1", now, tt.sources); again != c {
			t.Errorf("%s: %v, and then %v", tt.name, c, again)
		}
	}
}

// TestPickStaysInTheWindow: whatever is known and wherever the window is, across changes of the clock too.
func TestPickStaysInTheWindow(t *testing.T) {
	seed := dice.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	zones := []*time.Location{kyiv(t), time.UTC}
	for _, name := range []string{"Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"} {
		if loc, err := time.LoadLocation(name); err == nil {
			zones = append(zones, loc)
		}
	}
	for range 5000 {
		loc := zones[rng.IntN(len(zones))]
		from := time.Date(2026, 1, 1, 0, rng.IntN(366*24*60), rng.IntN(60), 0, time.UTC)
		to := from.Add(time.Duration(1+rng.IntN(24*3600)) * time.Second)
		h := Hours{At: from.Add(-time.Hour), Local: rng.IntN(2) == 0}
		for i := range h.N {
			h.N[i] = float64(rng.IntN(4))
		}
		c := Pick(from, to, from.Add(time.Duration(rng.IntN(48)-24)*time.Hour), loc, "d:shop.a", from, []Source{{"x", h, MinPerson}})
		if c.At.Before(from) || !c.At.Before(to) {
			t.Fatalf("%s to %s in %s: %s", from, to, loc, c.At)
		}
	}
}

// TestHoursInAnyOrder: opens count the same in whatever order they come to be known, and half as much a half-life later.
func TestHoursInAnyOrder(t *testing.T) {
	loc := kyiv(t)
	base := time.Date(2026, 10, 20, 11, 30, 0, 0, loc) // the clock changes on the 25th
	opens := []time.Time{base, base.AddDate(0, 0, 1), base.AddDate(0, 0, 9), base.Add(5 * time.Hour), base.AddDate(0, 1, 0)}
	var a, b Hours
	for i := range opens {
		a.Add(opens[i], loc)
		b.Add(opens[len(opens)-1-i], loc)
	}
	if !a.At.Equal(b.At) {
		t.Errorf("%v, %v", a.At, b.At)
	}
	for i := range a.N {
		if math.Abs(a.N[i]-b.N[i]) > 1e-9 || a.N[i] > 0 != (i == 11 || i == 16) {
			t.Errorf("hour %d: %v and %v", i, a.N[i], b.N[i])
		}
	}
	if now, later := a.Total(a.At), a.Total(a.At.Add(HalfLife)); math.Abs(later-now/2) > 1e-9 {
		t.Errorf("%v, and a half-life later %v", now, later)
	}
}

// TestHoursOfUTC: opens of a phone without a zone are kept in UTC, move when it names one, and then others without are passed over.
func TestHoursOfUTC(t *testing.T) {
	loc := kyiv(t)
	at := time.Date(2026, 11, 28, 12, 30, 0, 0, loc)
	var h Hours
	h.Add(at, nil)
	if h.Local || h.N[10] != 1 {
		t.Fatalf("%+v", h)
	}
	h.Add(at, loc)
	h.Add(at, nil)
	if !h.Local || h.N[12] != 2 || h.N[10] != 0 {
		t.Errorf("%+v", h)
	}
}

// TestRowIsBounded: a row of somebody who opens all day for years is small, and is what was stored.
func TestRowIsBounded(t *testing.T) {
	d, err := db.Open(db.Config{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	err = d.Update(t.Context(), func(tx *db.Tx) error {
		at = tx.Now().Add(-time.Hour)
		for i := range 3000 {
			if err := Learn(tx, "p:u1", "news", "shop", at.Add(time.Duration(i)*time.Second), time.UTC); err != nil {
				return err
			}
		}
		if err := Learn(tx, "p:u2", "news", "shop", at, nil); err != nil {
			return err
		}
		row, err := tx.Get(Key(Person, "p:u1"))
		if len(row) > 128 {
			t.Errorf("%d bytes", len(row))
		}
		h, err2 := Load(tx, Person, "p:u1")
		if n := h.Total(h.At); err2 != nil || math.Abs(n-3000) > 5 || !h.Local {
			t.Errorf("%v opens, %v", n, err2)
		}
		if h, _ := Load(tx, App, "shop"); math.Abs(h.Total(h.At)-3000) > 5 {
			t.Errorf("app %v", h.Total(h.At))
		}
		if none, err := Load(tx, Campaign, "other"); err != nil || !none.At.IsZero() {
			t.Errorf("%+v, %v", none, err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, {2, 0}, {1, 1}, {1, 1, 2, 3}} {
		if _, err := decode(bad); err == nil {
			t.Errorf("% x was read", bad)
		}
	}
}
