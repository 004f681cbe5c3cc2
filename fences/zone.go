package fences

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones must load on machines without a zone database
)

// location loads a time zone by its IANA name, nil when it is none.
func (l *loader) location(name string) *time.Location {
	loc, known := l.zones[name]
	if known {
		return loc
	}
	if name != "" && name != "Local" && len(name) < 64 {
		if z, err := time.LoadLocation(name); err == nil {
			loc = z
		}
	}
	if len(l.zones) < 10_000 { // a document may make up names without end
		l.zones[name] = loc
	}
	return loc
}

// meantAsZone tells a mistyped time zone from text of another meaning: the
// first part of an IANA name, or an offset.
var meantAsZone = regexp.MustCompile(`^(Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Europe|Indian|Pacific|Etc|US|Canada|Brazil|Mexico|Chile)/|^(UTC|GMT|Z$|[+-]\d)`)

// applyZone reads the fence's time zone. Text that is plainly a zone but no
// known one is an error, because the wrong zone moves the business day; text of
// another meaning (a tariff zone, a quarter) is kept and not used.
func (p *parser) applyZone(f *rawFeature, fence *Fence) {
	fence.Zone, fence.Location = p.l.o.DefaultZone, p.l.zone
	v, c, ok := p.given(f, propZone)
	if !ok {
		return
	}
	if c != '"' {
		p.notUsed("zone", v, "zone is %s, not the IANA name of a time zone; %s is used", kind(c), fence.Zone)
		return
	}
	name := p.text(v)
	if loc := p.l.location(name); loc != nil {
		fence.Zone, fence.Location = name, loc
		return
	}
	if meantAsZone.MatchString(name) {
		p.badProperty(v, "zone", nil, "%q is not a time zone; write an IANA name such as Europe/Kyiv", clip(name))
		return
	}
	p.notUsed("zone", v, "zone %q is not the IANA name of a time zone; %s is used", clip(name), fence.Zone)
}

var errDuration = errors.New("not a time span")

var isoDuration = regexp.MustCompile(`^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)

// parseDuration reads a Go duration ("1h30m") or an ISO 8601 one in weeks, days,
// hours, minutes and seconds ("PT1H30M"). A week is 7 days and a day 24 hours;
// years and months have no fixed length and are refused.
func parseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, "P") {
		return time.ParseDuration(s)
	}
	m := isoDuration.FindStringSubmatch(s)
	if m == nil || strings.HasSuffix(s, "T") || s == "P" {
		return 0, errDuration
	}
	var d float64
	for i, unit := range []time.Duration{7 * 24 * time.Hour, 24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m[i+1] == "" {
			continue
		}
		x, err := strconv.ParseFloat(m[i+1], 64)
		if err != nil {
			return 0, err
		}
		d += x * float64(unit)
	}
	if d > float64(maxStay)*1000 {
		d = float64(maxStay) * 1000
	}
	return time.Duration(d), nil
}
