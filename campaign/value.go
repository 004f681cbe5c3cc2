package campaign

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// parseDuration reads 15m, 1h30m, 24h, 7d or the ISO 8601 forms PT15M, P7D,
// P1W. Years and months have no fixed length and are refused. The hint says
// what to write instead.
func parseDuration(s string) (d time.Duration, hint string, ok bool) {
	const forms = "write 15m, 24h, 7d or PT15M, P7D"
	if strings.HasPrefix(s, "P") || strings.HasPrefix(s, "p") {
		d, ok := parseISODuration(strings.ToUpper(s))
		if !ok && strings.ContainsAny(s, "Yy") {
			return 0, "years and months differ in length; write days", false
		}
		return d, forms, ok
	}
	if n, err := strconv.Atoi(s); err == nil {
		return 0, fmt.Sprintf("a unit is missing: %ds, %dm or %dh?", n, n, n), false
	}
	// time.ParseDuration knows no day; a leading count of days is ours.
	if days, rest, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, forms, false
		}
		d = time.Duration(n) * 24 * time.Hour
		if rest == "" {
			return d, "", true
		}
		s = rest
	}
	more, err := time.ParseDuration(s)
	if err != nil || more < 0 {
		return 0, forms, false
	}
	return d + more, "", true
}

// formatDuration writes what parseDuration reads, in the largest unit that is
// exact: 15m, 24h, 7d.
func formatDuration(d time.Duration) string {
	switch {
	case d >= 48*time.Hour && d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	default:
		return d.String()
	}
}

// parseShare reads 10% or 12.5%, to the hundredth of a percent.
func parseShare(s string) (Share, bool) {
	text, found := strings.CutSuffix(strings.TrimSpace(s), "%")
	if !found {
		return 0, false
	}
	whole, part, _ := strings.Cut(strings.TrimSpace(text), ".")
	if len(part) > 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(whole+part+"00"[len(part):], 10, 16)
	return Share(n), err == nil && n <= 10_000 && whole != ""
}

// parseISODuration reads the subset PnW or PnDTnHnMnS of ISO 8601, upper case.
func parseISODuration(s string) (time.Duration, bool) {
	date, clock, hasClock := strings.Cut(s[1:], "T")
	if date == "" && clock == "" || hasClock && clock == "" {
		return 0, false
	}
	var total time.Duration
	take := func(s, units string, sizes []time.Duration) bool {
		for s != "" {
			i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
			if i < 1 || i > 6 {
				return false
			}
			u := strings.IndexByte(units, s[i])
			if u < 0 {
				return false
			}
			n, _ := strconv.Atoi(s[:i]) // at most six digits
			total += time.Duration(n) * sizes[u]
			// Units come in order and once each.
			s, units, sizes = s[i+1:], units[u+1:], sizes[u+1:]
		}
		return true
	}
	const day = 24 * time.Hour
	ok := take(date, "WD", []time.Duration{7 * day, day}) &&
		take(clock, "HMS", []time.Duration{time.Hour, time.Minute, time.Second})
	return total, ok
}

// parseMoment reads 2026-11-28T10:00, with seconds or an offset if wanted. A
// date alone means 00:00, which is right for a start and, half-open as windows
// are, one day short of what people mean by an end; hence end.
func parseMoment(s string, end bool) (m Moment, hint string, ok bool) {
	const forms = "write 2026-11-28T10:00, which is read in the window's zone"
	if t, err := time.Parse("2006-01-02", s); err == nil {
		if end {
			next := t.AddDate(0, 0, 1).Format("2006-01-02")
			return Moment{}, fmt.Sprintf("write %sT00:00 to include that day, %sT00:00 to leave it out", next, s), false
		}
		return Moment{Wall: t}, "", true
	}
	if date, isMidnight := strings.CutSuffix(s, "T24:00"); isMidnight {
		if t, err := time.Parse("2006-01-02", date); err == nil {
			return Moment{Wall: t.AddDate(0, 0, 1)}, "", true
		}
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return Moment{Wall: t}, "", true
		}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return Moment{Wall: t, Zoned: true}, "", true
		}
	}
	if _, isClock := parseClock(s, false); isClock {
		return Moment{}, "write the date as well, 2026-11-28T" + s, false
	}
	return Moment{}, forms, false
}

// parseClock reads 09:00 as minutes from midnight; 24:00 only as an end.
func parseClock(s string, end bool) (int, bool) {
	hh, mm, found := strings.Cut(s, ":")
	if !found || len(mm) != 2 || len(hh) < 1 || len(hh) > 2 {
		return 0, false
	}
	h, err1 := strconv.ParseUint(hh, 10, 8)
	m, err2 := strconv.ParseUint(mm, 10, 8)
	if err1 != nil || err2 != nil || m > 59 || h > 24 || h == 24 && (m != 0 || !end) {
		return 0, false
	}
	return int(h*60 + m), true
}

// parseSpan reads 10:00-21:00. off is the byte at which the fault is.
func parseSpan(s string) (sp Span, off int, problem, hint string) {
	if len(s) == 9 && s[4] == '/' && strings.Trim(s[:4]+s[5:], "0123456789") == "" {
		return Span{}, 0, "is in another notation", fmt.Sprintf("write %s:%s-%s:%s", s[:2], s[2:4], s[5:7], s[7:])
	}
	from, to, found := strings.Cut(s, "-")
	if !found {
		return Span{}, 0, "is not a span of hours", "write 10:00-21:00"
	}
	open, ok := parseClock(strings.TrimSpace(from), false)
	if !ok {
		return Span{}, 0, fmt.Sprintf("begins with %q, which is not a time of day", from), "00:00 to 23:59"
	}
	end := strings.TrimSpace(to)
	off = len(from) + 1 + strings.Index(to, end)
	shut, ok := parseClock(end, true)
	if !ok {
		return Span{}, off, fmt.Sprintf("ends with %q, which is not a time of day", to), "00:00 to 24:00"
	}
	if open == shut {
		return Span{}, off, "is empty: it closes when it opens", "for the whole day write 00:00-24:00 or leave hours out"
	}
	return Span{open, shut}, 0, "", ""
}

// parseDays reads one day or a range such as mon-fri or sat-mon.
func parseDays(s string) (Days, bool) {
	from, to, isRange := strings.Cut(strings.ToLower(s), "-")
	a, ok := dayNumber(from)
	if !ok {
		return 0, false
	}
	if !isRange {
		return 1 << a, true
	}
	b, ok := dayNumber(to)
	if !ok {
		return 0, false
	}
	set := Days(1 << b)
	for d := a; d != b; d = (d + 1) % 7 {
		set |= 1 << d
	}
	return set, true
}

var longDays = [7]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

func dayNumber(s string) (int, bool) {
	for i := range 7 {
		if s == dayNames[i] || s == longDays[i] {
			return i, true
		}
	}
	return 0, false
}

// zones caches loaded zones, so that a decision in a person's own zone costs a
// map read. Only names that exist are kept, so it cannot grow past the database.
var zones sync.Map // string -> *time.Location

// Zone is a time zone by its IANA name, each read from the disk once; ok is
// false when there is none of the name.
func Zone(name string) (loc *time.Location, ok bool) { return loadZone(name) }

// loadZone is time.LoadLocation without "" and "Local", which would mean the
// zone of the machine.
func loadZone(name string) (*time.Location, bool) {
	if loc, ok := zones.Load(name); ok {
		return loc.(*time.Location), true
	}
	if name == "" || name == "Local" {
		return nil, false
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, false
	}
	zones.Store(name, loc)
	return loc, true
}

// zoneHint names a zone that may have been meant. Most mistakes are a missing
// region or an old spelling.
func zoneHint(name string) string {
	if n := nearest(name, commonZones); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	for _, z := range commonZones {
		if _, city, _ := strings.Cut(z, "/"); strings.EqualFold(city, name) {
			return fmt.Sprintf("did you mean %q?", z)
		}
	}
	return "store, or an IANA name such as Europe/Kyiv"
}

var commonZones = []string{
	"Europe/Kyiv", "Europe/Warsaw", "Europe/Berlin", "Europe/London", "Europe/Paris", "Europe/Madrid", "Europe/Rome",
	"Europe/Prague", "Europe/Bucharest", "Europe/Istanbul", "Europe/Lisbon", "Europe/Vienna", "Europe/Athens",
	"Asia/Tashkent", "Asia/Almaty", "Asia/Tbilisi", "Asia/Dubai", "Asia/Singapore", "Asia/Tokyo", "Asia/Kolkata",
	"America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Sao_Paulo",
	"Australia/Sydney", "UTC",
}
