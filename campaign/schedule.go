package campaign

import (
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"footfall/dedupe"
	"footfall/track"
)

// A Schedule is when something goes out to the whole audience of a campaign: once, or at a time of day on days of the
// week. One time that it goes out is an occurrence, at most one a day, and named by its date.
type Schedule struct {
	// Once is the one time, a reading of the wall clock or an instant. Zero when it recurs.
	Once Moment
	// Clock is the time of day in minutes from midnight, and Days the days on which it recurs.
	Clock int
	Days  Days
	// Device: each person's own wall clock, as far as the zone is known; else, and without one, that of Zone.
	Device bool
	Zone   string
	// PerMinute bounds how many pushes become due in a minute; 0 is as fast as they are sent.
	PerMinute int

	loc *time.Location // of Zone
}

// Late is how late an occurrence may begin, and how late a person may hear of one that began in time for others: a
// gateway that was down for longer leaves it out.
const Late = 6 * time.Hour

// An Occurrence is one time that a schedule has come.
type Occurrence struct {
	Date  string    // 2026-11-21, on the schedule's wall clock
	Begin time.Time // when the first people are due
}

// ahead and behind are how far the wall clocks of the world are from UTC: with each person's own, an occurrence is due
// first where the day begins first.
const (
	ahead  = 14 * time.Hour
	behind = 12 * time.Hour
)

// wall is the reading at which the occurrence of a date is due, as if the zone were UTC.
func (s *Schedule) wall(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, s.Clock, 0, 0, time.UTC)
}

// Due lists the occurrences that may begin at now, or may have begun up to back before: those whose first people were
// due by then, and whose last ones were not due more than [Late] ago. In order of date.
func (s *Schedule) Due(now time.Time, back time.Duration) (list []Occurrence) {
	try := func(wall time.Time) {
		o := Occurrence{Date: wall.Format(time.DateOnly), Begin: s.at(wall, s.loc)}
		last := o.Begin
		if s.Device && !s.Once.Zoned {
			o.Begin, last = wall.Add(-ahead), wall.Add(behind)
		}
		if !o.Begin.After(now) && now.Before(last.Add(Late+back)) {
			list = append(list, o)
		}
	}
	if !s.Once.IsZero() {
		wall := s.Once.Wall
		if s.Once.Zoned {
			local := wall.In(s.loc)
			wall = time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), local.Second(), 0, time.UTC)
		}
		try(wall)
		return list
	}
	year, month, day := now.In(s.loc).Date()
	for d := -int((back+Late)/(24*time.Hour)) - 2; d <= 1; d++ {
		if wall := s.wall(year, month, day+d); s.Days.Has(wall.Weekday()) {
			try(wall)
		}
	}
	return list
}

// MayBegin reports whether an occurrence of [Schedule.Due] may begin at now, rather than only go on.
func (s *Schedule) MayBegin(o Occurrence, now time.Time) bool {
	for _, due := range s.Due(now, 0) {
		if due == o {
			return true
		}
	}
	return false
}

// at is when a reading of the wall clock comes in a zone; one that the clock skips comes when the clock has passed it.
func (s *Schedule) at(wall time.Time, loc *time.Location) time.Time {
	if s.Once.Zoned {
		return s.Once.Wall
	}
	year, month, day := wall.Date()
	return dedupe.FirstAt(year, month, day, wall.Sub(time.Date(year, month, day, 0, 0, 0, 0, time.UTC)), loc)
}

// Planned is when the occurrence of a date is due for somebody whose phone names the zone (or none), and the zone that
// decided. ok is false for a date that the schedule does not have (any more).
func (s *Schedule) Planned(date, zone string) (at time.Time, loc *time.Location, ok bool) {
	day, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return at, nil, false
	}
	loc = s.loc
	if s.Device {
		if own, known := loadZone(zone); known {
			loc = own
		}
	}
	if s.Once.IsZero() {
		y, m, d := day.Date()
		return s.at(s.wall(y, m, d), loc), loc, s.Days.Has(day.Weekday())
	}
	wall := s.Once.Wall
	if s.Once.Zoned {
		wall = wall.In(s.loc)
	}
	return s.at(wall, loc), loc, wall.Format(time.DateOnly) == date
}

// Transition stands for the occurrence in the input of [Campaign.Decide]: planned is when it is due for the person, and
// began when the gateway began with it.
func (s *Schedule) Transition(planned, began time.Time) *track.Transition {
	return &track.Transition{At: planned.UnixMilli(), ConfirmedAt: began.UnixMilli()}
}

// String is "at 2026-11-21T12:00:00, Europe/Kyiv".
func (s *Schedule) String() string {
	zone := s.Zone
	if s.Device {
		zone = "each phone's own time, else " + s.Zone
	}
	if !s.Once.IsZero() {
		return fmt.Sprintf("at %s, %s", s.Once, zone)
	}
	return fmt.Sprintf("%s at %02d:%02d, %s", s.Days, s.Clock/60, s.Clock%60, zone)
}

var scheduleKeys = []string{"at", "days", "zone", "fallback", "per_minute"}

const maxPerMinute = 1_000_000

// schedule reads when something goes out: {at: 2026-11-21T12:00, zone: Europe/Kyiv} or {days: [mon-fri], at: "12:30",
// zone: device, fallback: Europe/Kyiv}.
func (s *source) schedule(f field) *Schedule { return s.scheduleWith(f, nil, false) }

// scheduleWith passes over some keys; with onlyClock it reads only whose clock counts.
func (s *source) scheduleWith(f field, others []string, onlyClock bool) *Schedule {
	out := new(Schedule)
	var at, days, zone, fallback field
	before := len(s.errs)
	ok := s.keys(f.val, f.name, append(slices.Clone(scheduleKeys), others...), nil, func(k field) {
		switch k.name {
		case "at":
			at = k
		case "days":
			days = k
			if v, isText := k.val.(*ast.StringNode); isText && v.Value == "every" {
				return
			}
			var w Window
			s.days(k, &w)
			out.Days = w.Days
		case "zone":
			zone = k
			if v, isText := k.val.(*ast.StringNode); isText && v.Value == "device" {
				out.Device = true
				return
			}
			out.Zone, out.loc = s.zone(k)
		case "fallback":
			fallback = k
			out.Zone, out.loc = s.zone(k)
		case "per_minute":
			out.PerMinute, _ = s.integer(k, 1, maxPerMinute)
		}
	})
	if !ok || len(s.errs) > before {
		return out
	}
	switch {
	case onlyClock:
	case at.val == nil:
		s.fail(f.key, CodeMissing, `at: 2026-11-21T12:00, or days: [mon-fri] with at: "12:00"`, "%s says no time", f.name)
	case days.val != nil:
		v, ok := s.text(at)
		minutes, isClock := parseClock(v, false)
		if ok && !isClock {
			s.fail(where(at.val), CodeHours, `with days, write the time of day: at: "12:00"`, "at: %q is not a time of day", v)
		}
		out.Clock = minutes
	default:
		v, _ := s.text(at)
		if _, isClock := parseClock(v, false); isClock {
			s.fail(where(at.val), CodeMissing, "add days: every, or days: [mon-fri]; or write the date as well", "at: %q names no day", v)
		} else if out.Once = s.moment(at, false); len(s.errs) == before && len(v) <= len(time.DateOnly) {
			s.fail(where(at.val), CodeDate, "write "+v+"T12:00", "at: %q has no time of day", v)
		}
	}
	switch {
	case out.Device && fallback.val == nil:
		s.fail(zone.key, CodeMissing, "fallback: Europe/Kyiv", "zone: device needs a zone for phones that name none")
	case !out.Device && fallback.val != nil:
		s.fail(fallback.key, CodeConflict, "remove it, or write zone: device", "fallback belongs to zone: device")
	case zone.val == nil:
		s.fail(f.key, CodeMissing, "zone: Europe/Kyiv, or zone: device with a fallback", "%s says no zone", f.name)
	case out.Device && out.Once.Zoned:
		s.fail(where(at.val), CodeConflict, "write it without an offset", "at is one instant for all, and zone: device asks for each person's own time")
	}
	return out
}

func (s *Schedule) document() yaml.MapSlice {
	var m members
	if s.Once.IsZero() {
		if s.Days == 0 {
			m.add("days", "every")
		} else {
			m.add("days", s.Days.names())
		}
		m.add("at", fmt.Sprintf("%02d:%02d", s.Clock/60, s.Clock%60))
	} else {
		m.add("at", s.Once.String())
	}
	if s.Device {
		m.add("zone", "device")
		m.add("fallback", s.Zone)
	} else {
		m.add("zone", s.Zone)
	}
	m.number("per_minute", s.PerMinute)
	return m.MapSlice
}
