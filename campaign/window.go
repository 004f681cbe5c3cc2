package campaign

import (
	"fmt"
	"strings"
	"time"

	"footfall/dedupe"
)

const alwaysOpen = "always open"

// Window is when a campaign may send. The zero Window is always open.
//
// It is half-open: From is inside, To is not; an opening hour is inside, a
// closing hour is not. Days and Hours are read on the wall clock of the zone,
// so a day with a clock change is 23 or 25 hours long and an hour that the
// clock skips cannot be met. A span that passes midnight belongs to the day on
// which it opens: days [sat] with 22:00-06:00 covers the small hours of Sunday
// and not those of Saturday.
type Window struct {
	From, To Moment
	Zone     string // IANA name, or "" for the zone of the store
	Days     Days   // 0: every day
	Hours    []Span // none: all day
	// Closed is what becomes of a push while the window is closed, and HoldFor
	// how long it may wait for the next opening; 0 with Drop.
	Closed  Closed
	HoldFor time.Duration
	// Endless: the file says that there is no end (to: never), so a check does
	// not ask for one.
	Endless bool

	loc *time.Location // of Zone; nil for the store's
}

// Closed is what becomes of a push that is not to go out now.
type Closed string

// The ways.
const (
	Drop           Closed = "drop"             // it is not sent (default)
	Hold           Closed = "hold"             // it waits
	NotifyIfInside Closed = "notify_if_inside" // it waits, and goes out if the device is still in the fence
)

// DefaultHoldFor is how long a push waits at most when the file does not say.
// It cannot be longer than claims outlive their period.
const (
	DefaultHoldFor = 24 * time.Hour
	maxHoldFor     = 48 * time.Hour
)

// Moment is an end of a window: an instant when it was written with an offset
// (2026-11-28T10:00+02:00), else a reading of the wall clock, which is another
// instant in each store's zone. The zero Moment is "not given".
type Moment struct {
	// Wall holds the reading; as UTC when it is a wall clock reading.
	Wall time.Time
	// Zoned: Wall is an instant.
	Zoned bool
}

// IsZero reports whether the moment was not given.
func (m Moment) IsZero() bool { return m.Wall.IsZero() }

// In is the instant in a zone. A reading that the clock skips or shows twice is
// resolved as time.Date does it.
func (m Moment) In(loc *time.Location) time.Time {
	if m.Zoned {
		return m.Wall
	}
	w := m.Wall
	return time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), 0, loc)
}

// String is the moment as it would be written in a file.
func (m Moment) String() string {
	switch {
	case m.IsZero():
		return ""
	case m.Zoned:
		return m.Wall.Format(time.RFC3339)
	default:
		return m.Wall.Format("2006-01-02T15:04:05")
	}
}

// MarshalText writes String.
func (m Moment) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Days is a set of week days, bit n for time.Weekday(n).
type Days uint8

// Has reports whether d is in the set; every day is in the empty set.
func (s Days) Has(d time.Weekday) bool { return s == 0 || s&(1<<d) != 0 }

var dayNames = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// String lists the days from Monday on: "mon,tue". The empty set is "every day".
func (s Days) String() string {
	if s == 0 {
		return "every day"
	}
	return strings.Join(s.names(), ",")
}

// names lists the days from Monday on.
func (s Days) names() (list []string) {
	for i := range 7 {
		if d := (i + 1) % 7; s&(1<<d) != 0 {
			list = append(list, dayNames[d])
		}
	}
	return list
}

// Span is a part of the day in minutes from 00:00, [Open, Close). Close is up to
// 1440; a Close that is not after Open is on the next day.
type Span struct{ Open, Close int }

// has reports whether a minute of the day is in the span.
func (s Span) has(minute int) bool {
	if s.Open < s.Close {
		return s.Open <= minute && minute < s.Close
	}
	return minute >= s.Open || minute < s.Close
}

// String is the span as it is written: "22:00-06:00".
func (s Span) String() string {
	return fmt.Sprintf("%02d:%02d-%02d:%02d", s.Open/60, s.Open%60, s.Close/60, s.Close%60)
}

// Check says whether the window is open at the instant t for a store in the zone
// (nil: UTC): "" when it is, else NotStarted, Ended or WindowClosed. It does
// not allocate.
func (w *Window) Check(t time.Time, store *time.Location) Reason {
	loc := w.location(store)
	if !w.From.IsZero() && t.Before(w.From.In(loc)) {
		return NotStarted
	}
	if !w.To.IsZero() && !t.Before(w.To.In(loc)) {
		return Ended
	}
	if w.Days == 0 && len(w.Hours) == 0 {
		return ""
	}
	local := t.In(loc)
	today := local.Weekday()
	if len(w.Hours) == 0 {
		if w.Days.Has(today) {
			return ""
		}
		return WindowClosed
	}
	yesterday := (today + 6) % 7
	minute := local.Hour()*60 + local.Minute()
	for _, s := range w.Hours {
		switch {
		case s.Open < s.Close:
			if s.Open <= minute && minute < s.Close && w.Days.Has(today) {
				return ""
			}
		case minute >= s.Open:
			if w.Days.Has(today) {
				return ""
			}
		case minute < s.Close:
			if w.Days.Has(yesterday) {
				return ""
			}
		}
	}
	return WindowClosed
}

// NextOpen returns the first instant at or after t at which the window is open;
// false when it never is again, or not within 9 days (a window of one day a
// week, across a change of the clock). A window that has not begun may open
// later than that: the search starts at From. An hour that the clock
// skips opens when the clock has passed it.
func (w *Window) NextOpen(t time.Time, store *time.Location) (time.Time, bool) {
	loc := w.location(store)
	if !w.From.IsZero() {
		if from := w.From.In(loc); t.Before(from) {
			t = from
		}
	}
	switch w.Check(t, store) {
	case "":
		return t, true
	case Ended:
		return time.Time{}, false
	}
	// Closed by days or hours: it opens at an opening hour, or with a day, or
	// where the clock is put back into an hour that is open.
	opens := w.Hours
	if len(opens) == 0 {
		opens = []Span{{}}
	}
	best := time.Time{}
	try := func(at time.Time) {
		if at.After(t) && (best.IsZero() || at.Before(best)) && w.Check(at, store) == "" {
			best = at
		}
	}
	// The only change of the clock that the search can meet, or the one whose
	// repeated hour t is in.
	_, change := t.Add(-3 * time.Hour).In(loc).ZoneBounds()
	if change.IsZero() || change.Sub(t) > 9*24*time.Hour {
		change = time.Time{}
	} else {
		try(change)
	}
	year, month, day := t.In(loc).Date()
	for d := range 10 {
		if midnight := dedupe.FirstAt(year, month, day+d, 0, loc); !best.IsZero() && midnight.After(best) {
			break
		}
		for _, s := range opens {
			at := dedupe.FirstAt(year, month, day+d, time.Duration(s.Open)*time.Minute, loc)
			try(at)
			if at.Before(change) {
				_, before := at.In(loc).Zone()
				_, after := change.In(loc).Zone()
				try(at.Add(time.Duration(before-after) * time.Second)) // the same reading again
			}
		}
	}
	return best, !best.IsZero()
}

func (w *Window) location(store *time.Location) *time.Location {
	switch {
	case w.loc != nil:
		return w.loc
	case store != nil:
		return store
	default:
		return time.UTC
	}
}

// String describes the window for explain: "from 2026-11-28T10:00:00, sat,
// 10:00-21:00, store time".
func (w *Window) String() string {
	var parts []string
	if !w.From.IsZero() {
		parts = append(parts, "from "+w.From.String())
	}
	if !w.To.IsZero() {
		parts = append(parts, "to "+w.To.String())
	}
	if w.Days != 0 {
		parts = append(parts, w.Days.String())
	}
	for _, s := range w.Hours {
		parts = append(parts, s.String())
	}
	if len(parts) == 0 {
		return alwaysOpen
	}
	if w.Zone == "" {
		return strings.Join(parts, ", ") + ", store time"
	}
	return strings.Join(parts, ", ") + ", " + w.Zone
}
