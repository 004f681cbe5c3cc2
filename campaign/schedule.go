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
	// Best: at the hour of these at which the person opens most; Clock, and the time of Once, are where they begin. nil:
	// at Clock.
	Best *Best `json:",omitzero"`
	// PerMinute bounds how many pushes become due in a minute; 0 is as fast as they are sent.
	PerMinute int

	loc *time.Location // of Zone
}

// Best is the hours of one day among which the best one is chosen for each person. Minutes from midnight.
type Best struct {
	From, To int // half-open
	Default  int // when nothing is known of when people open
}

// BestHours are those of a campaign that names none, and DefaultHour is when nothing is known.
var BestHours = Best{From: 9 * 60, To: 21 * 60, Default: 12 * 60}

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
		if s.Best != nil { // as long as the best hour may still come
			last = last.Add(max(0, time.Duration(s.Best.To-s.Best.From)*time.Minute-Late))
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

// Span is the window of a schedule with Best on a date, for somebody whose phone names the zone (or none), and the time of
// its default; otherwise as Planned, which is where it begins.
func (s *Schedule) Span(date, zone string) (from, to, otherwise time.Time, loc *time.Location, ok bool) {
	if from, loc, ok = s.Planned(date, zone); !ok {
		return from, to, otherwise, loc, false
	}
	return from, s.on(from, s.Best.To, loc), s.on(from, s.Best.Default, loc), loc, true
}

// on is when a time of day comes on the day of t.
func (s *Schedule) on(t time.Time, minutes int, loc *time.Location) time.Time {
	year, month, day := t.In(loc).Date()
	return dedupe.FirstAt(year, month, day, time.Duration(minutes)*time.Minute, loc)
}

// NextSpan is the first window of a schedule with Best that is not over at t; from is not before t.
func (s *Schedule) NextSpan(t time.Time, zone string) (from, to, otherwise time.Time, loc *time.Location) {
	_, loc, _ = s.Planned("2000-01-01", zone)
	year, month, day := t.In(loc).Date()
	for d := range 10 {
		date := time.Date(year, month, day+d, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
		var ok bool
		if from, to, otherwise, loc, ok = s.Span(date, zone); ok && to.After(t) {
			if from.Before(t) {
				from = t
			}
			return from, to, otherwise, loc
		}
	}
	return t, t.Add(time.Minute), t, loc // Once, and over
}

// tooLate reports whether somebody is left out for whom it was due at: the gateway began too late, or with Best the window
// is over.
func (s *Schedule) tooLate(at, began, now time.Time, loc *time.Location) bool {
	if s.Best != nil {
		return !now.Before(s.on(at, s.Best.To, loc))
	}
	return began.Sub(at) > Late
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
	switch {
	case s.Best != nil && !s.Once.IsZero():
		return fmt.Sprintf("on %s at the best time, %s, %s", s.Once.Wall.Format(time.DateOnly), s.Best.span(), zone)
	case s.Best != nil:
		return fmt.Sprintf("%s at the best time, %s, %s", s.Days, s.Best.span(), zone)
	case !s.Once.IsZero():
		return fmt.Sprintf("at %s, %s", s.Once, zone)
	}
	return fmt.Sprintf("%s at %02d:%02d, %s", s.Days, s.Clock/60, s.Clock%60, zone)
}

var scheduleKeys = []string{"at", "on", "days", "between", "default", "zone", "fallback", "per_minute"}

// bestTime is what stands under at when each person's best hour is meant.
const bestTime = "best_time"

// span is the window as it is written: 12:00-15:00.
func (b *Best) span() string { return (&Span{Open: b.From, Close: b.To}).String() }

// best reads the members that belong to at: best_time. always says that it is for any day.
func (s *source) best(f field, out *Schedule, on, days, between, otherwise field, always bool) {
	b := BestHours
	if between.val != nil {
		v, _ := s.text(between)
		sp, off, problem, hint := parseSpan(v)
		switch {
		case problem != "":
			s.fail(s.inside(between.val, v, off), CodeHours, hint, "between: %q %s", v, problem)
			return
		case sp.Close <= sp.Open:
			s.fail(where(between.val), CodeHours, "write 18:00-24:00", "between: %q passes midnight, and a best time is one of a single day", v)
			return
		}
		b.From, b.To = sp.Open, sp.Close
		if b.Default < b.From || b.Default >= b.To {
			b.Default = b.From
		}
	}
	if otherwise.val != nil {
		v, _ := s.text(otherwise)
		minutes, isClock := parseClock(v, false)
		if !isClock || minutes < b.From || minutes >= b.To {
			s.fail(where(otherwise.val), CodeHours, "a time of day in "+b.span(), "default: %q is no time in %s", v, b.span())
			return
		}
		b.Default = minutes
	}
	out.Best, out.Clock = &b, b.From
	switch {
	case on.val != nil && days.val != nil:
		s.fail(on.key, CodeConflict, "remove one of them", "on is one day, and days are others")
	case on.val != nil:
		v, _ := s.text(on)
		day, err := time.Parse(time.DateOnly, v)
		if err != nil {
			s.fail(where(on.val), CodeDate, "such as on: 2026-11-28", "on: %q is not a date", v)
			return
		}
		out.Once, out.Clock = Moment{Wall: day.Add(time.Duration(b.From) * time.Minute)}, 0
	case days.val == nil && !always:
		s.fail(f.key, CodeMissing, "days: every, or on: 2026-11-28", "%s says no day", f.name)
	}
}

const maxPerMinute = 1_000_000

// schedule reads when something goes out: {at: 2026-11-21T12:00, zone: Europe/Kyiv} or {days: [mon-fri], at: "12:30",
// zone: device, fallback: Europe/Kyiv}.
func (s *source) schedule(f field) *Schedule { return s.scheduleWith(f, nil, false) }

// scheduleWith passes over some keys; with onlyClock it reads only whose clock counts.
func (s *source) scheduleWith(f field, others []string, onlyClock bool) *Schedule {
	out := new(Schedule)
	var at, on, days, between, otherwise, zone, fallback field
	before := len(s.errs)
	ok := s.keys(f.val, f.name, append(slices.Clone(scheduleKeys), others...), nil, func(k field) {
		switch k.name {
		case "at":
			at = k
		case "on":
			on = k
		case "between":
			between = k
		case "default":
			otherwise = k
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
	best := false
	if n, isText := at.val.(*ast.StringNode); isText && n.Value == bestTime && !onlyClock {
		best = true
	}
	for _, k := range []field{on, between, otherwise} {
		if k.val != nil && !best {
			s.fail(k.key, CodeConflict, "write at: best_time, or remove it", "%s belongs to at: best_time", k.name)
			return out
		}
	}
	switch {
	case onlyClock:
	case best:
		s.best(f, out, on, days, between, otherwise, others != nil)
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
	days := func() {
		if s.Days == 0 {
			m.add("days", "every")
		} else {
			m.add("days", s.Days.names())
		}
	}
	switch {
	case s.Best != nil:
		if s.Once.IsZero() {
			days()
		} else {
			m.add("on", s.Once.Wall.Format(time.DateOnly))
		}
		m.add("at", bestTime)
		m.add("between", s.Best.span())
		m.add("default", fmt.Sprintf("%02d:%02d", s.Best.Default/60, s.Best.Default%60))
	case s.Once.IsZero():
		days()
		m.add("at", fmt.Sprintf("%02d:%02d", s.Clock/60, s.Clock%60))
	default:
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
