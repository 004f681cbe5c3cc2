// Package besttime learns at which hour of the day somebody opens pushes, and picks the hour of a window at which the next
// one has the best chance. It has no clock.
//
// Each open adds one to its hour, by the clock on the wall where the phone is, and what is older counts less: half after
// [HalfLife]. With fewer than [MinPerson] opens, the hours of everybody who opened pushes of the same campaign or
// journey are asked, then those of the whole app, each with at least [MinAudience], and then the default.
package besttime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"strings"
	"time"

	"footfall/internal/db"
)

// hourSpace: kind, name -> Hours.
var hourSpace = db.Register(0x54, "open hours", 1)

// Whose hours a row has.
const (
	Person   = "s" // by audience.Profile.Subject
	Campaign = "c" // or journey, by id
	App      = "a"
)

const (
	HalfLife    = 30 * 24 * time.Hour
	MinPerson   = 2.5 // three, of which the oldest are some weeks old
	MinAudience = 30.0
	// Keep is how long a row is kept after the last open: by then an open counts for 1/64.
	Keep = 6 * HalfLife
)

// Hours is how often pushes were opened in each hour of the day. The zero Hours is of nobody.
type Hours struct {
	At    time.Time   // to which the weights have decayed
	Local bool        // hours of the wall clock; else UTC, because the phone named no zone
	N     [24]float64 // opens; what is older counts less
}

// Add counts an open, whenever it comes to be known. loc is the phone's zone, nil when it names none: such an open is not
// added to hours that are those of the wall clock already.
func (h *Hours) Add(at time.Time, loc *time.Location) {
	if loc == nil {
		if h.Local {
			return
		}
		loc = time.UTC
	} else if !h.Local {
		*h = h.in(loc, at)
	}
	weight := 1.0
	if at.After(h.At) {
		h.decay(at)
	} else {
		weight = left(h.At.Sub(at))
	}
	h.N[at.In(loc).Hour()] += weight
}

// left is what an open of that age counts.
func left(age time.Duration) float64 { return math.Exp2(-float64(age) / float64(HalfLife)) }

func (h *Hours) decay(to time.Time) {
	if !h.At.IsZero() && to.After(h.At) {
		f := left(to.Sub(h.At))
		for i := range h.N {
			h.N[i] *= f
		}
	}
	h.At = to
}

// in are the hours by the clock of loc. Hours of UTC move by its offset at a time, to the nearest hour.
func (h Hours) in(loc *time.Location, at time.Time) Hours {
	if h.Local {
		return h
	}
	_, seconds := at.In(loc).Zone()
	shift := int(math.Round(float64(seconds) / 3600))
	out := Hours{At: h.At, Local: true}
	for i, n := range h.N {
		out.N[((i+shift)%24+24)%24] = n
	}
	return out
}

// Total is how many opens there are, by what they count at a time.
func (h Hours) Total(at time.Time) float64 {
	sum := 0.0
	for _, n := range h.N {
		sum += n
	}
	if at.After(h.At) {
		sum *= left(at.Sub(h.At))
	}
	return sum
}

const codecVersion = 1

// scale is the unit in which weights are stored: a thousandth of an open.
const scale = 1000

func (h *Hours) encode() []byte {
	b := []byte{codecVersion, 0}
	if h.Local {
		b[1] = 1
	}
	b = binary.AppendVarint(b, h.At.UnixMilli())
	for _, n := range h.N {
		b = binary.AppendUvarint(b, uint64(math.Round(n*scale)))
	}
	return b
}

func decode(b []byte) (h Hours, err error) {
	bad := errors.New("besttime: damaged row")
	if len(b) < 2 || b[0] != codecVersion {
		return h, bad
	}
	h.Local = b[1] == 1
	b = b[2:]
	at, n := binary.Varint(b)
	if n <= 0 {
		return h, bad
	}
	h.At = time.UnixMilli(at)
	for i := range h.N {
		b = b[n:]
		var v uint64
		if v, n = binary.Uvarint(b); n <= 0 {
			return h, bad
		}
		h.N[i] = float64(v) / scale
	}
	return h, nil
}

// Key is the row of somebody's hours.
func Key(kind, name string) []byte { return hourSpace.Key([]byte(kind), []byte(name)) }

// Load returns hours; the zero Hours when there are none.
func Load(tx *db.Tx, kind, name string) (h Hours, err error) {
	row, err := tx.Get(Key(kind, name))
	if errors.Is(err, db.ErrNotFound) {
		return h, nil
	}
	if err == nil {
		h, err = decode(row)
	}
	if err != nil {
		return h, fmt.Errorf("besttime: hours of %s %s: %w", kind, name, err)
	}
	return h, nil
}

// Learn counts an open for the person, and for the campaign and the app when the phone's zone is known (not nil).
func Learn(tx *db.Tx, subject, campaign, app string, at time.Time, loc *time.Location) error {
	for _, row := range []struct{ kind, name string }{{Person, subject}, {Campaign, campaign}, {App, app}} {
		if row.kind != Person && loc == nil {
			return nil
		}
		h, err := Load(tx, row.kind, row.name)
		if err != nil {
			return err
		}
		h.Add(at, loc)
		if err := tx.SetUntil(Key(row.kind, row.name), h.encode(), h.At.Add(Keep)); err != nil {
			return err
		}
	}
	return nil
}

// Learned is what is known of when pushes are opened: by the person, by everybody of the campaign or journey, and by everybody of
// the app.
type Learned struct{ Person, Campaign, App Hours }

// Pick is [Pick] by the first of them that knows enough. id names the campaign or journey.
func (l *Learned) Pick(from, to, fallback time.Time, loc *time.Location, subject, id string, now time.Time) Choice {
	return Pick(from, to, fallback, loc, subject, now, []Source{
		{Name: "the person", Hours: l.Person, Min: MinPerson},
		{Name: "everybody who opened " + id, Hours: l.Campaign, Min: MinAudience},
		{Name: "everybody in the app", Hours: l.App, Min: MinAudience},
	})
}

// Source is whose hours may decide.
type Source struct {
	Name  string // for people
	Hours Hours
	Min   float64 // opens, by what they count now
}

// Choice is when to send, and why then.
type Choice struct {
	At  time.Time
	Why string
}

// Pick chooses the time in [from, to), by the clock of loc: an hour by the first source that has enough, and in it a minute
// by the subject's id, so that not everybody is due at once; else fallback, or from when that is not in the window. An hour
// counts with half of each of its neighbours; of equal hours the first is taken.
func Pick(from, to, fallback time.Time, loc *time.Location, subject string, now time.Time, sources []Source) Choice {
	var passed []string
	for _, s := range sources {
		total := s.Hours.Total(now)
		if total < s.Min {
			passed = append(passed, fmt.Sprintf("%s: %.1f opens, and %g are asked for", s.Name, total, s.Min))
			continue
		}
		h := s.Hours.in(loc, now)
		most, sum, best := 0.0, 0.0, 0
		var begin, end time.Time
		for t := from; t.Before(to); {
			next := hourAfter(t, loc)
			if next.After(to) {
				next = to
			}
			hour := t.In(loc).Hour()
			sum += h.N[hour]
			if score := h.N[hour] + (h.N[(hour+1)%24]+h.N[(hour+23)%24])/2; score > most {
				most, best, begin, end = score, hour, t, next
			}
			t = next
		}
		if sum == 0 {
			passed = append(passed, fmt.Sprintf("%s: %.1f opens, none in these hours", s.Name, total))
			continue
		}
		share := h.N[best] / s.Hours.Total(s.Hours.At)
		why := fmt.Sprintf("%s: %.0f %% of %.1f opens are from %02d to %02d", s.Name, 100*share, total, best, (best+1)%24)
		return Choice{spread(begin, end, subject), strings.Join(append(passed, why), "; ")}
	}
	at := from
	if !fallback.Before(from) && fallback.Before(to) {
		at = fallback
	}
	return Choice{at, strings.Join(append(passed, "the default, "+at.In(loc).Format("15:04")), "; ")}
}

// hourAfter is when the next hour begins on the clock.
func hourAfter(t time.Time, loc *time.Location) time.Time {
	local := t.In(loc)
	past := time.Duration(local.Minute())*time.Minute + time.Duration(local.Second())*time.Second + time.Duration(local.Nanosecond())
	return t.Add(time.Hour - past)
}

// spread is a whole minute of [begin, end), drawn from the subject's id; begin when there is none.
func spread(begin, end time.Time, subject string) time.Time {
	minutes := uint32(end.Sub(begin) / time.Minute)
	if minutes == 0 {
		return begin
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(subject)) // does not fail
	return begin.Add(time.Duration(h.Sum32()%minutes) * time.Minute)
}
