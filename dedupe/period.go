package dedupe

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// PeriodKind says how long one claim lasts.
type PeriodKind uint8

const (
	// PeriodDay: a calendar day in a time zone, which may have 23 or 25 hours.
	PeriodDay PeriodKind = iota
	// PeriodRolling: a fixed time from the claim on.
	PeriodRolling
	// PeriodEver: once per campaign.
	PeriodEver
	// PeriodNone: no limit; every claim wins.
	PeriodNone
)

// String returns "day", "rolling", "ever" or "none".
func (k PeriodKind) String() string {
	switch k {
	case PeriodDay:
		return "day"
	case PeriodRolling:
		return "rolling"
	case PeriodEver:
		return "ever"
	case PeriodNone:
		return "none"
	}
	return "PeriodKind(" + strconv.Itoa(int(k)) + ")"
}

// DayZone says whose calendar a PeriodDay follows. The caller of Period.At
// resolves it to a location.
type DayZone uint8

const (
	// DayStore: the time zone of the fence's store.
	DayStore DayZone = iota
	// DayUser: the time zone that the device record names.
	DayUser
	// DayCampaign: one zone for the whole campaign.
	DayCampaign
)

// String returns "store", "user" or "campaign".
func (z DayZone) String() string {
	switch z {
	case DayStore:
		return "store"
	case DayUser:
		return "user"
	case DayCampaign:
		return "campaign"
	}
	return "DayZone(" + strconv.Itoa(int(z)) + ")"
}

// Period is the rule by which time is cut into periods. The zero value is the
// calendar day of the store, from midnight.
type Period struct {
	Kind PeriodKind
	Zone DayZone // PeriodDay: whose calendar
	// DayStart is the time on the wall clock, 0 to 24 h, at which a day begins.
	// With 4 h, 03:59 still belongs to the day before. PeriodDay only.
	DayStart time.Duration
	// Rolling is how long a claim of PeriodRolling lasts.
	Rolling time.Duration
}

// Validate reports a period that At cannot cut time with.
func (p Period) Validate() error {
	switch p.Kind {
	case PeriodDay:
		if p.DayStart < 0 || p.DayStart > 24*time.Hour {
			return fmt.Errorf("dedupe: day start %v is not within 0 and 24 h", p.DayStart)
		}
		if p.Zone > DayCampaign {
			return fmt.Errorf("dedupe: unknown day zone %d", p.Zone)
		}
	case PeriodRolling:
		if p.Rolling <= 0 {
			return fmt.Errorf("dedupe: rolling period %v is not positive", p.Rolling)
		}
	case PeriodEver, PeriodNone:
	default:
		return fmt.Errorf("dedupe: unknown period kind %d", p.Kind)
	}
	return nil
}

// nonePrefix begins the ids of PeriodNone.
const nonePrefix = "none@"

// At returns the id of the period that t is in, and when that period ends:
//
//	PeriodDay      "2026-11-28", and the next day's start in loc
//	PeriodRolling  "rolling", and t + Rolling: when a claim made at t ends
//	PeriodEver     "ever", and the zero time: never
//	PeriodNone     "none@" and t in Unix ms, and t
//
// A day runs from the first instant at which the wall clock of loc reads the
// date and DayStart or later, to that of the next date. So days have 23 or 25
// hours around a change of the clock; where midnight does not exist the day
// begins with the change; where it comes twice the first one counts, and the
// repeated hour does not start a second day. A date that a zone left out
// (Samoa, 2011-12-30) is never returned. loc nil is UTC; other kinds ignore it.
func (p Period) At(t time.Time, loc *time.Location) (id string, ends time.Time) {
	switch p.Kind {
	case PeriodRolling:
		return "rolling", t.Add(p.Rolling)
	case PeriodEver:
		return "ever", time.Time{}
	case PeriodNone:
		return nonePrefix + strconv.FormatInt(t.UnixMilli(), 10), t
	}
	if loc == nil {
		loc = time.UTC
	}
	// The wall date of t is at most one day off the period's: DayStart shifts
	// it back, a repeated midnight forward.
	year, month, day := t.In(loc).Date()
	start := func(d int) time.Time { return FirstAt(year, month, day+d, p.DayStart, loc) }
	d := 1
	ends = start(d + 1)
	for {
		begin := start(d)
		if !begin.After(t) && begin.Before(ends) {
			break
		}
		ends = begin
		d--
	}
	date := time.Date(year, month, day+d, 0, 0, 0, 0, time.UTC)
	return date.Format(time.DateOnly), ends
}

// FirstAt returns the first instant at which the wall clock of loc reads the
// given date and time of day, or later. day may lie outside its month, as in
// time.Date, which does not promise which side of a gap or of a repeated hour
// it picks; hence this walk over the zone's transitions.
func FirstAt(year int, month time.Month, day int, after time.Duration, loc *time.Location) time.Time {
	wall := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Add(after) // as if loc were UTC
	// No offset exceeds 16 h, so the clock has not reached wall here yet, and
	// has 26 h later at the latest.
	at := wall.Add(-26 * time.Hour)
	for {
		local := at.In(loc)
		_, offset := local.Zone()
		reached := wall.Add(-time.Duration(offset) * time.Second)
		if reached.Before(at) {
			reached = at // the change of the clock jumped over it
		}
		_, next := local.ZoneBounds()
		if next.IsZero() || reached.Before(next) {
			return reached
		}
		at = next
	}
}

// isNone reports whether a period id is one of PeriodNone.
func isNone(period string) bool { return strings.HasPrefix(period, nonePrefix) }
