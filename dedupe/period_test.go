package dedupe

import (
	"math/rand/v2"
	"testing"
	"time"
	_ "time/tzdata" // the tables, also where the system has none
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// Days of every awkward length. from and ends are instants; the day is also
// asked at its first and last millisecond.
func TestDays(t *testing.T) {
	const rfc = time.RFC3339
	for _, tc := range []struct {
		name, zone string
		start      time.Duration
		id         string
		from, ends string
		hours      float64
	}{
		{"plain", "Europe/Kyiv", 0, "2026-11-28", "2026-11-27T22:00:00Z", "2026-11-28T22:00:00Z", 24},
		{"spring", "Europe/Kyiv", 0, "2026-03-29", "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z", 23},
		{"autumn", "Europe/Kyiv", 0, "2026-10-25", "2026-10-24T21:00:00Z", "2026-10-25T22:00:00Z", 25},
		{"spring, from 04:00", "Europe/Kyiv", 4 * time.Hour, "2026-03-28", "2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z", 23},
		{"after it, from 04:00", "Europe/Kyiv", 4 * time.Hour, "2026-03-29", "2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z", 24},
		{"autumn, from 04:00", "Europe/Kyiv", 4 * time.Hour, "2026-10-25", "2026-10-25T02:00:00Z", "2026-10-26T02:00:00Z", 24},
		{"start within the gap 03-04", "Europe/Kyiv", 3*time.Hour + 30*time.Minute, "2026-03-29", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", 23.5},
		{"start comes twice, the first counts", "Europe/Kyiv", 3*time.Hour + 30*time.Minute, "2026-10-25", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z", 25},
		{"no summer time", "Asia/Tashkent", 0, "2026-07-01", "2026-06-30T19:00:00Z", "2026-07-01T19:00:00Z", 24},
		{"midnight does not exist", "America/Asuncion", 0, "2023-10-01", "2023-10-01T04:00:00Z", "2023-10-02T03:00:00Z", 23},
		{"midnight repeats the hour before", "America/Asuncion", 0, "2024-03-23", "2024-03-23T03:00:00Z", "2024-03-24T04:00:00Z", 25},
		{"Cairo, gap at midnight", "Africa/Cairo", 0, "2024-04-26", "2024-04-25T22:00:00Z", "2024-04-26T21:00:00Z", 23},
		{"Sao Paulo, gap at midnight", "America/Sao_Paulo", 0, "2018-11-04", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z", 23},
		{"Sao Paulo, 25 h", "America/Sao_Paulo", 0, "2018-02-17", "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z", 25},
		{"midnight comes twice", "America/Havana", 0, "2024-11-03", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z", 25},
		{"date reached, left and reached again", "America/St_Johns", 0, "2006-10-29", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z", 25},
		{"half an hour", "Australia/Lord_Howe", 0, "2026-04-05", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z", 24.5},
		{"+14", "Pacific/Kiritimati", 0, "2026-01-01", "2025-12-31T10:00:00Z", "2026-01-01T10:00:00Z", 24},
		{"-11", "Pacific/Pago_Pago", 0, "2026-01-01", "2026-01-01T11:00:00Z", "2026-01-02T11:00:00Z", 24},
		{"-12", "Etc/GMT+12", 0, "2026-01-01", "2026-01-01T12:00:00Z", "2026-01-02T12:00:00Z", 24},
		{"before the skipped date", "Pacific/Apia", 0, "2011-12-29", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", 24},
		{"after the skipped date", "Pacific/Apia", 0, "2011-12-31", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z", 24},
		{"from 24:00", "UTC", 24 * time.Hour, "2026-05-01", "2026-05-02T00:00:00Z", "2026-05-03T00:00:00Z", 24},
		{"over the end of a year", "Europe/Kyiv", 4 * time.Hour, "2026-12-31", "2026-12-31T02:00:00Z", "2027-01-01T02:00:00Z", 24},
	} {
		t.Run(tc.name, func(t *testing.T) {
			loc := zone(t, tc.zone)
			p := Period{Kind: PeriodDay, DayStart: tc.start}
			from, _ := time.Parse(rfc, tc.from)
			ends, _ := time.Parse(rfc, tc.ends)
			if got := ends.Sub(from).Hours(); got != tc.hours {
				t.Fatalf("the table is wrong: %v hours", got)
			}
			for _, at := range []time.Time{from, from.Add(ends.Sub(from) / 2), ends.Add(-time.Millisecond)} {
				id, e := p.At(at, loc)
				if id != tc.id || !e.Equal(ends) {
					t.Errorf("at %s: %s until %s, want %s until %s", at.UTC().Format(rfc), id, e.UTC().Format(rfc), tc.id, tc.ends)
				}
			}
			if id, _ := p.At(from.Add(-time.Millisecond), loc); id >= tc.id {
				t.Errorf("a millisecond before: %s", id)
			}
			if id, _ := p.At(ends, loc); id <= tc.id {
				t.Errorf("at its end: %s", id)
			}
		})
	}
}

// In every zone and for every day start, days follow each other without gap
// or overlap, in rising order, and last between 22 and 26 h (zones that
// crossed the date line apart); the wall clock agrees with the date unless the hour is repeated.
func TestDaysTileTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	zones := []string{"Europe/Kyiv", "Asia/Tashkent", "America/Asuncion", "Africa/Cairo", "America/Sao_Paulo", "America/Havana",
		"America/St_Johns", "Australia/Lord_Howe", "Pacific/Kiritimati", "Pacific/Apia", "Asia/Gaza", "Africa/Casablanca",
		"Antarctica/Troll", "Asia/Tehran", "Europe/Lisbon", "Etc/GMT+12", "Etc/GMT-14", "UTC"}
	for _, name := range zones {
		loc := zone(t, name)
		for range 6 {
			p := Period{Kind: PeriodDay, DayStart: time.Duration(rng.Int64N(25)) * time.Hour}
			at := time.Unix(rng.Int64N(2_000_000_000), 0)
			id, ends := p.At(at, loc)
			for range 800 {
				if !ends.After(at) {
					t.Fatalf("%s +%v: %s ends at %v, asked at %v", name, p.DayStart, id, ends, at)
				}
				inside := at.Add(time.Duration(rng.Int64N(int64(ends.Sub(at)))))
				if got, e := p.At(inside, loc); got != id || !e.Equal(ends) {
					t.Fatalf("%s +%v: at %v %s until %v, the day is %s until %v", name, p.DayStart, inside, got, e, id, ends)
				}
				next, nextEnds := p.At(ends, loc)
				if next <= id {
					t.Fatalf("%s +%v: %s follows %s at %v", name, p.DayStart, next, id, ends)
				}
				shifted := name == "Pacific/Apia" || name == "Pacific/Kiritimati" // crossed the date line
				if h := nextEnds.Sub(ends).Hours(); (h < 22 || h > 26) && !shifted {
					t.Fatalf("%s +%v: %s has %v hours", name, p.DayStart, next, h)
				}
				at, id, ends = ends, next, nextEnds
			}
		}
	}
}

func TestOtherPeriods(t *testing.T) {
	at := time.UnixMilli(1_764_300_000_123)
	for _, tc := range []struct {
		p    Period
		id   string
		ends time.Time
	}{
		{Period{Kind: PeriodRolling, Rolling: 24 * time.Hour}, "rolling", at.Add(24 * time.Hour)},
		{Period{Kind: PeriodEver}, "ever", time.Time{}},
		{Period{Kind: PeriodNone}, "none@1764300000123", at},
	} {
		if id, ends := tc.p.At(at, nil); id != tc.id || !ends.Equal(tc.ends) {
			t.Errorf("%v: %s, %v", tc.p.Kind, id, ends)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, bad := range []Period{
		{DayStart: -1}, {DayStart: 24*time.Hour + 1}, {Zone: 9}, {Kind: PeriodRolling}, {Kind: PeriodRolling, Rolling: -time.Hour}, {Kind: 9},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	for _, good := range []Period{{}, {DayStart: 24 * time.Hour}, {Kind: PeriodRolling, Rolling: 1}, {Kind: PeriodEver}, {Kind: PeriodNone}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}

func BenchmarkPeriodAt(b *testing.B) {
	loc := zone(b, "Europe/Kyiv")
	at := time.UnixMilli(1_764_300_000_123)
	b.ReportAllocs()
	for b.Loop() {
		if id, _ := (Period{}).At(at, loc); id != "2025-11-28" {
			b.Fatal(id)
		}
	}
}
