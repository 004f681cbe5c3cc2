package campaign

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"footfall/internal/dice"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// windowOf parses the lines of a window as a file has them.
func windowOf(t testing.TB, lines string) *Window {
	t.Helper()
	return &mustParse(t, smallFile+"window: {"+lines+"}\n").Window
}

// open lists the whole minutes of a local day at which the window is open, as
// spans, by asking for every minute of the day that exists.
func open(w *Window, loc *time.Location, day string) string {
	begin, err := time.ParseInLocation("2006-01-02", day, loc)
	if err != nil {
		panic(err)
	}
	end := time.Date(begin.Year(), begin.Month(), begin.Day()+1, 0, 0, 0, 0, loc)
	spans, was := "", false
	for t := begin; !t.After(end); t = t.Add(time.Minute) {
		is := t.Before(end) && w.Check(t, loc) == ""
		if is && !was {
			spans += t.Format(" 15:04")
		}
		if !is && was {
			last := t.Format("15:04")
			if t.Equal(end) {
				last = "24:00"
			}
			spans += "-" + last
		}
		was = is
	}
	if spans == "" {
		return "closed"
	}
	return spans[1:]
}

// TestWindowHoursInKyiv is the golden table for the fault of the hosted
// predecessor: it took times of day as milliseconds of 1970, when Kyiv was at
// UTC+3. There "0900/2000" was open 08:00-19:00 in winter, "2200/0600" never,
// and "0200/0500" at about 02:00-04:00 in winter.
func TestWindowHoursInKyiv(t *testing.T) {
	kyiv := zone(t, "Europe/Kyiv")
	for _, tt := range []struct{ hours, day, want string }{
		{"09:00-20:00", "2019-01-15", "09:00-20:00"},
		{"09:00-20:00", "2019-07-15", "09:00-20:00"},
		{"22:00-06:00", "2019-01-15", "00:00-06:00 22:00-24:00"},
		{"22:00-06:00", "2019-07-15", "00:00-06:00 22:00-24:00"},
		{"02:00-05:00", "2019-01-15", "02:00-05:00"},
		{"02:00-05:00", "2019-07-15", "02:00-05:00"},
		{"00:00-24:00", "2019-01-15", "00:00-24:00"},
		{"20:00-24:00", "2019-01-15", "20:00-24:00"},
		// The clock goes from 03:00 to 04:00 on 2026-03-29 and from 04:00 back to
		// 03:00 on 2026-10-25.
		{"02:00-05:00", "2026-03-29", "02:00-05:00"},
		{"03:00-04:00", "2026-03-29", "closed"},
		{"03:30-05:00", "2026-03-29", "04:00-05:00"},
		{"02:00-05:00", "2026-10-25", "02:00-05:00"},
		{"03:30-03:45", "2026-10-25", "03:30-03:45 03:30-03:45"},
		{"22:00-03:30", "2026-10-25", "00:00-03:30 03:00-03:30 22:00-24:00"},
	} {
		w := windowOf(t, fmt.Sprintf("hours: %q", tt.hours))
		if got := open(w, kyiv, tt.day); got != tt.want {
			t.Errorf("hours %s on %s: open %s, want %s", tt.hours, tt.day, got, tt.want)
		}
	}
}

func TestWindowDays(t *testing.T) {
	kyiv := zone(t, "Europe/Kyiv")
	// 2026-11-28 is a Saturday.
	for _, tt := range []struct{ lines, day, want string }{
		{"days: [sat]", "2026-11-28", "00:00-24:00"},
		{"days: [sat]", "2026-11-29", "closed"},
		{"days: mon-fri", "2026-11-27", "00:00-24:00"},
		{"days: mon-fri", "2026-11-28", "closed"},
		{"days: [sat], hours: \"10:00-21:00\"", "2026-11-28", "10:00-21:00"},
		{"days: [sat], hours: \"10:00-21:00\"", "2026-11-27", "closed"},
		// Overnight belongs to the day on which it opens.
		{"days: [sat], hours: \"22:00-06:00\"", "2026-11-28", "22:00-24:00"},
		{"days: [sat], hours: \"22:00-06:00\"", "2026-11-29", "00:00-06:00"},
		{"days: [sat, sun], hours: \"22:00-06:00\"", "2026-11-29", "00:00-06:00 22:00-24:00"},
		{"days: [sun], hours: \"22:00-06:00\"", "2026-11-30", "00:00-06:00"},
		{"hours: [\"09:00-12:00\", \"13:00-18:00\"]", "2026-11-28", "09:00-12:00 13:00-18:00"},
		{"hours: [\"09:00-12:00\", \"12:00-18:00\"]", "2026-11-28", "09:00-18:00"},
	} {
		if got := open(windowOf(t, tt.lines), kyiv, tt.day); got != tt.want {
			t.Errorf("%s on %s: open %s, want %s", tt.lines, tt.day, got, tt.want)
		}
	}
}

func TestWindowEnds(t *testing.T) {
	kyiv, tashkent := zone(t, "Europe/Kyiv"), zone(t, "Asia/Tashkent")
	store := windowOf(t, "from: 2026-11-28T10:00, to: 2026-11-28T21:00")
	fixed := windowOf(t, "from: 2026-11-28T10:00, to: 2026-11-28T21:00, zone: Europe/Kyiv")
	at := func(loc *time.Location, h, m, s int) time.Time { return time.Date(2026, 11, 28, h, m, s, 0, loc) }
	for _, tt := range []struct {
		name string
		w    *Window
		t    time.Time
		loc  *time.Location
		want Reason
	}{
		{"just before", store, at(kyiv, 10, 0, 0).Add(-time.Millisecond), kyiv, NotStarted},
		{"the start is in", store, at(kyiv, 10, 0, 0), kyiv, ""},
		{"the last moment", store, at(kyiv, 21, 0, 0).Add(-time.Millisecond), kyiv, ""},
		{"the end is out", store, at(kyiv, 21, 0, 0), kyiv, Ended},
		{"the store's own morning", store, at(tashkent, 10, 0, 0), tashkent, ""},
		{"the store's own evening", store, at(tashkent, 21, 0, 0), tashkent, Ended},
		{"a fixed zone is not the store's", fixed, at(tashkent, 10, 0, 0), tashkent, NotStarted},
		{"a fixed zone", fixed, at(kyiv, 10, 0, 0), tashkent, ""},
		{"no zone at all is UTC", store, at(time.UTC, 10, 0, 0), nil, ""},
		{"the zero window", &Window{}, at(kyiv, 3, 0, 0), kyiv, ""},
	} {
		if got := tt.w.Check(tt.t, tt.loc); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestWindowAgainstMinutes compares Check with a plain list of open minutes for
// random hours, days, zones and times.
func TestWindowAgainstMinutes(t *testing.T) {
	zones := []*time.Location{zone(t, "Europe/Kyiv"), zone(t, "Asia/Kathmandu"), zone(t, "America/St_Johns"), zone(t, "Australia/Lord_Howe"), time.UTC}
	seed := dice.Seed(t)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 3000 {
		var w Window
		w.Days = Days(rnd.UintN(128))
		for range rnd.IntN(3) {
			a, b := rnd.IntN(1440), rnd.IntN(1440)+1
			if a != b {
				w.Hours = append(w.Hours, Span{a, b})
			}
		}
		// weekMinutes[d][m]: open at minute m of weekday d.
		var week [7][1440]bool
		hours := w.Hours
		if len(hours) == 0 {
			hours = []Span{{0, 1440}}
		}
		for d := range 7 {
			if w.Days != 0 && w.Days&(1<<d) == 0 {
				continue
			}
			for _, s := range hours {
				shut := s.Close
				if shut <= s.Open {
					shut += 1440
				}
				for m := s.Open; m < shut; m++ {
					week[(d+m/1440)%7][m%1440] = true
				}
			}
		}
		loc := zones[rnd.IntN(len(zones))]
		at := time.Unix(1_780_000_000+rnd.Int64N(2*365*86400), rnd.Int64N(1e9)).In(loc)
		want := week[at.Weekday()][at.Hour()*60+at.Minute()]
		if got := w.Check(at, loc) == ""; got != want {
			t.Fatalf("%s at %s: open %v, want %v", w.String(), at, got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"15m": 15 * time.Minute, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "90s": 90 * time.Second,
		"PT15M": 15 * time.Minute, "PT24H": 24 * time.Hour, "P7D": 168 * time.Hour, "P1DT2H3M4S": 26*time.Hour + 3*time.Minute + 4*time.Second, "P2W": 336 * time.Hour,
	} {
		if got, _, ok := parseDuration(s); !ok || got != want {
			t.Errorf("%q: %v %v, want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "15", "m", "-5m", "d", "1.5d", "P", "PT", "P1M", "P1Y", "PT1D", "P1H", "PT1S1M", "P1D1D", "P99999999D", "1d-2h", "15 m", "PT5"} {
		if d, _, ok := parseDuration(s); ok {
			t.Errorf("%q: accepted as %v", s, d)
		}
	}
}
