package funnel

import (
	"fmt"
	"time"
)

// Day is a calendar date: the number of days since 1970-01-01. It prints, and is written, as 2006-01-02.
type Day int32

const dayMS = 24 * 60 * 60 * 1000

// DayOf is the date on a clock that is offsetMin minutes ahead of UTC, at a time in Unix ms.
func DayOf(ms int64, offsetMin int) Day {
	local := ms + int64(offsetMin)*60_000
	d := local / dayMS
	if local%dayMS < 0 {
		d--
	}
	return Day(d)
}

// hourOf is the hour, 0 to 23, on such a clock.
func hourOf(ms int64, offsetMin int) int {
	local := ms + int64(offsetMin)*60_000
	return int((local - int64(DayOf(ms, offsetMin))*dayMS) / 3_600_000)
}

// ParseDay reads 2006-01-02.
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a date such as 2026-11-28", s)
	}
	return DayOf(t.UnixMilli(), 0), nil
}

// String is 2006-01-02.
func (d Day) String() string { return time.UnixMilli(d.beginsUTC()).UTC().Format(time.DateOnly) }

// beginsUTC is when the date begins in UTC, Unix ms.
func (d Day) beginsUTC() int64 { return int64(d) * dayMS }

// Clocks on Earth are between 12 hours behind and 14 ahead of UTC; begins and ends enclose the date on all of them.
func (d Day) begins() int64 { return d.beginsUTC() - 14*3_600_000 }
func (d Day) ends() int64   { return d.beginsUTC() + dayMS + 12*3_600_000 }

// MarshalText writes the date.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads it.
func (d *Day) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDay(string(b))
	return err
}
