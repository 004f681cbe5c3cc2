package simulate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// builtins are the statements about fences, devices and fixes.
var builtins map[string]Verb

func init() {
	// Set here and not above: the statements' functions refer to builtins
	// through World.
	builtins = map[string]Verb{
		"rules": doRules, "zone": doZone, "start": doStart,
		"fence": doFence, "remove": doRemove,
		"at": doAt, "again": doAgain, "replay": doReplay, "restart": doRestart, "forget": doForget,
		"inside": doInside, "pending": doPending,
	}
}

// doRules is: rules [default|plain] [name=value...]
func doRules(w *World, l *Line) error {
	if w.Tracker != nil {
		return l.Errorf("rules: must come before the first input")
	}
	switch {
	case l.Flag("plain"):
		w.Rules = track.PlainRules()
	case l.Flag("default"):
		w.Rules = track.DefaultRules()
	}
	r := &w.Rules
	for _, d := range []struct {
		name string
		to   *time.Duration
	}{
		{"future_tolerance", &r.FutureTolerance}, {"future_limit", &r.FutureLimit}, {"max_age", &r.MaxAge},
		{"presence_ttl", &r.PresenceTTL}, {"min_stay", &r.MinStay}, {"min_away", &r.MinAway}, {"dwell", &r.Dwell}, {"crossed_max_gap", &r.CrossedMaxGap},
	} {
		if err := l.duration(d.name, d.to); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		name string
		to   *float64
	}{
		{"max_speed", &r.MaxSpeedMPS}, {"enter_accuracy", &r.EnterAccuracyM}, {"enter_accuracy_ratio", &r.EnterAccuracyRatio},
		{"exit_margin", &r.ExitMarginM}, {"exit_margin_ratio", &r.ExitMarginRatio},
		{"exit_accuracy_cap", &r.ExitAccuracyCapM}, {"exit_blind", &r.ExitBlindM},
	} {
		if err := l.number(m.name, m.to); err != nil {
			return err
		}
	}
	for _, s := range []struct {
		name string
		to   *bool
	}{
		{"allow_null_island", &r.AllowNullIsland}, {"allow_mock", &r.AllowMock}, {"infer_exit", &r.InferExit},
		{"buffer_entries", &r.BufferEntries}, {"crossed", &r.Crossed}, {"initial", &r.Initial},
	} {
		if err := l.onOff(s.name, s.to); err != nil {
			return err
		}
	}
	return l.Done(0)
}

// doZone is: zone IANA-NAME
func doZone(w *World, l *Line) error {
	if len(l.Args) == 0 {
		return l.Errorf("zone: give the name of a time zone")
	}
	loc, err := time.LoadLocation(l.Args[0])
	if err != nil {
		return l.Errorf("zone: %w", err)
	}
	w.Zone = loc
	return l.Done(1)
}

// doStart is: start DATE-TIME
func doStart(w *World, l *Line) error {
	if w.last != nil {
		return l.Errorf("start: must come before the first input")
	}
	if len(l.Args) == 0 {
		return l.Errorf("start: give a date and time such as 2026-11-28T10:00")
	}
	at, err := parseClock(l.Args[0], w.Zone)
	if err != nil {
		return l.Errorf("start: %w", err)
	}
	w.Start, w.Now = at, at
	return l.Done(1)
}

// doFence is: fence ID circle LAT,LNG r=METRES [settings]
//
//	or: fence ID polygon LAT,LNG LAT,LNG ... [hole LAT,LNG ...] [and LAT,LNG ...] [settings]
//
// Rings are closed by themselves. A known id is replaced: that is an edit.
func doFence(w *World, l *Line) error {
	if len(l.Args) < 3 {
		return l.Errorf("fence: give an id, circle or polygon, and positions")
	}
	f := fences.Fence{ID: fences.ID(l.Args[0]), Location: w.Zone, Zone: w.Zone.String(), File: l.File, Line: l.No}
	var err error
	switch kind := l.Args[1]; kind {
	case "circle":
		var radius float64
		if err := l.number("r", &radius); err != nil {
			return err
		}
		center, err := parsePoint(l.Args[2])
		if err != nil {
			return l.Errorf("fence: %w", err)
		}
		if f.Shape, err = geo.NewCircle(center, radius); err != nil {
			return l.Errorf("fence: %w", err)
		}
		if len(l.Args) > 3 {
			return l.Errorf("fence: unexpected %q", l.Args[3])
		}
	case "polygon":
		polys, err := parsePolygons(l.Args[2:])
		if err != nil {
			return l.Errorf("fence: %w", err)
		}
		if f.Shape, err = geo.NewPolygons(polys); err != nil {
			return l.Errorf("fence: %w", err)
		}
	default:
		return l.Errorf("fence: %q is neither circle nor polygon", kind)
	}
	if name, ok := l.Field("name"); ok {
		f.Name = name
	}
	if tags, ok := l.Field("tags"); ok {
		f.Tags = strings.Split(tags, ",")
		slices.Sort(f.Tags)
	}
	if zone, ok := l.Field("zone"); ok {
		if f.Location, err = time.LoadLocation(zone); err != nil {
			return l.Errorf("fence: %w", err)
		}
		f.Zone = zone
	}
	var priority float64
	var initial bool
	_, hasInitial := l.Fields["initial"]
	for _, err := range []error{
		l.duration("min_stay", &f.MinStay), l.duration("min_away", &f.MinAway), l.duration("dwell", &f.Dwell), l.onOff("crossed", &f.Crossed),
		l.onOff("initial", &initial), l.number("exit_margin", &f.ExitMarginM), l.number("max_accuracy", &f.MaxAccuracyM),
		l.number("priority", &priority),
	} {
		if err != nil {
			return err
		}
	}
	f.Priority = int(priority)
	if hasInitial {
		f.Initial = new(initial)
	}
	if i := w.fence(f.ID); i >= 0 {
		w.fences[i] = f
	} else {
		w.fences = append(w.fences, f)
	}
	w.set = nil
	return l.Done(len(l.Args))
}

// doRemove is: remove FENCE
func doRemove(w *World, l *Line) error {
	if len(l.Args) == 0 {
		return l.Errorf("remove: name a fence")
	}
	i := w.fence(fences.ID(l.Args[0]))
	if i < 0 {
		return l.Errorf("remove: there is no fence %q", l.Args[0])
	}
	w.fences = slices.Delete(w.fences, i, i+1)
	w.set = nil
	return l.Done(1)
}

func (w *World) fence(id fences.ID) int {
	return slices.IndexFunc(w.fences, func(f fences.Fence) bool { return f.ID == id })
}

// doAt is: at TIME DEVICE PLACE [settings] [-> outcomes]
//
//	or: at TIME DEVICE os_enter|os_exit|os_dwell FENCE [PLACE] [settings] [-> outcomes]
func doAt(w *World, l *Line) error {
	fix := track.Fix{SpeedMPS: -1, HasPosition: true, Mock: l.Flag("mock")}
	if len(l.Args) < 3 {
		return l.Errorf("at: give a time, a device and a place")
	}
	at, err := w.ParseTime(l.Args[0])
	if err != nil {
		return l.Errorf("at: %w", err)
	}
	device := track.DeviceID(l.Args[1])
	rest := l.Args[2:]
	if src, err := track.ParseSource(rest[0]); err == nil && src.OS() {
		if len(rest) < 2 {
			return l.Errorf("at: %s names no fence", rest[0])
		}
		fix.Source, fix.Fence = src, rest[1]
		rest = rest[2:]
	}
	if src, ok := l.Field("src"); ok {
		if fix.Source, err = track.ParseSource(src); err != nil {
			return l.Errorf("at: %w", err)
		}
	}
	if len(rest) == 0 {
		fix.HasPosition = false
	} else {
		p, err := w.place(rest[0])
		if err != nil {
			return l.Errorf("at: %w", err)
		}
		fix.Lat, fix.Lng = p.Lat, p.Lng
		rest = rest[1:]
	}
	acc, speed := math.NaN(), -1.0
	if _, given := l.Fields["a"]; !given {
		acc = 5
	}
	var delay time.Duration
	for _, err := range []error{l.number("a", &acc), l.number("speed", &speed), l.duration("received", &delay)} {
		if err != nil {
			return err
		}
	}
	fix.AccuracyM, fix.SpeedMPS = float32(acc), float32(speed)
	fix.FixedAt, fix.ReceivedAt = at.UnixMilli(), at.Add(delay).UnixMilli()
	if err := l.Done(len(l.Args) - len(rest)); err != nil {
		return err
	}
	w.pos++
	return w.send(l, input{device, fix, w.pos})
}

// doAgain is: again [-> outcomes]; the device sends its last input once more.
func doAgain(w *World, l *Line) error {
	if w.last == nil {
		return l.Errorf("again: nothing was sent yet")
	}
	if err := l.Done(0); err != nil {
		return err
	}
	w.pos++
	in := *w.last
	in.pos = w.pos
	return w.send(l, in)
}

// doReplay is: replay [-> outcomes]; the log delivers the last input once more.
func doReplay(w *World, l *Line) error {
	if w.last == nil {
		return l.Errorf("replay: nothing was sent yet")
	}
	if err := l.Done(0); err != nil {
		return err
	}
	return w.send(l, *w.last)
}

// doRestart is: restart
func doRestart(w *World, l *Line) error {
	if err := w.restart(); err != nil {
		return l.Errorf("restart: %w", err)
	}
	return l.Done(0)
}

// doForget is: forget DEVICE
func doForget(w *World, l *Line) error {
	if len(l.Args) == 0 || w.Tracker == nil {
		return l.Errorf("forget: name a device that has sent something")
	}
	w.Tracker.Forget(track.DeviceID(l.Args[0]))
	return l.Done(1)
}

// doInside is: inside DEVICE none|FENCE...
func doInside(w *World, l *Line) error {
	return w.presence(l, func(p track.Presence) (ids []string) {
		for _, f := range p.Inside {
			if !f.Unknown {
				ids = append(ids, string(f.FenceID))
			}
		}
		return ids
	})
}

// doPending is: pending DEVICE none|FENCE...
func doPending(w *World, l *Line) error {
	return w.presence(l, func(p track.Presence) (ids []string) {
		for _, f := range p.Pending {
			ids = append(ids, string(f.FenceID))
		}
		return ids
	})
}

func (w *World) presence(l *Line, pick func(track.Presence) []string) error {
	if len(l.Args) < 2 {
		return l.Errorf("%s: give a device, and fences or none", l.Verb)
	}
	var p track.Presence
	if w.Tracker != nil {
		p, _ = w.Tracker.Presence(track.DeviceID(l.Args[0]))
	}
	got := pick(p)
	want := slices.Clone(l.Args[1:])
	if slices.Equal(want, []string{"none"}) {
		want = nil
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return l.Errorf("%s %s: expected %v, got %v", l.Verb, l.Args[0], want, got)
	}
	return l.Done(len(l.Args))
}

// ParseTime reads a time of a scenario: a time since the start (90s, 1h5m), one
// since the last input (+10s), or a date and time in the zone of the case.
func (w *World) ParseTime(text string) (time.Time, error) {
	if strings.Contains(text, "T") {
		return parseClock(text, w.Zone)
	}
	d, err := time.ParseDuration(strings.TrimPrefix(text, "+"))
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time; write 90s, +10s or 2026-11-28T10:00", text)
	}
	if strings.HasPrefix(text, "+") {
		return w.Now.Add(d), nil
	}
	return w.Start.Add(d), nil
}

func parseClock(text string, loc *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(layout, text, loc); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date and time; write 2026-11-28T10:00", text)
}

// place reads a position: LAT,LNG or FENCE, FENCE+METRESm, FENCE+METRESm@BEARING,
// where the metres are counted on WGS84 from the fence's centre.
func (w *World) place(text string) (geo.Point, error) {
	name, offset, isOffset := strings.Cut(text, "+")
	i := w.fence(fences.ID(name))
	if i < 0 {
		p, err := parsePoint(text)
		if err != nil {
			return p, fmt.Errorf("%q is neither lat,lng nor a fence's id with +metres", text)
		}
		return p, nil
	}
	center := w.fences[i].Shape.Center()
	if !isOffset {
		return center, nil
	}
	dist, bearing, hasBearing := strings.Cut(offset, "@")
	dist, hasUnit := strings.CutSuffix(dist, "m")
	m, err := strconv.ParseFloat(dist, 64)
	if err != nil || !hasUnit {
		return center, fmt.Errorf("%q: write the distance as in %s+150m", text, name)
	}
	deg := 90.0
	if hasBearing {
		if deg, err = strconv.ParseFloat(bearing, 64); err != nil {
			return center, fmt.Errorf("%q: write the bearing in degrees as in %s+150m@90", text, name)
		}
	}
	return destination(center, m, deg)
}

// destination goes m metres from c in a direction, exact to the millimetre in
// distance; the bearing is that of a flat map around c.
func destination(c geo.Point, m, bearingDeg float64) (geo.Point, error) {
	if math.Abs(c.Lat) > 89 {
		return c, fmt.Errorf("so near a pole give the position itself")
	}
	sin, cos := math.Sincos(bearingDeg * math.Pi / 180)
	scale := m
	for range 20 {
		p := geo.Point{
			Lat: c.Lat + scale*cos/111_133,
			Lng: c.Lng + scale*sin/(111_320*math.Cos(c.Lat*math.Pi/180)),
		}
		p.Lng = math.Remainder(p.Lng, 360)
		got := geo.DistanceM(c, p)
		if math.Abs(got-m) < 1e-4 {
			return p, nil
		}
		scale *= m / got
	}
	return c, fmt.Errorf("cannot go %v m from there", m)
}

func parsePoint(text string) (geo.Point, error) {
	a, b, _ := strings.Cut(text, ",")
	lat, err1 := strconv.ParseFloat(a, 64)
	lng, err2 := strconv.ParseFloat(b, 64)
	if err1 != nil || err2 != nil {
		return geo.Point{}, fmt.Errorf("%q is no position; write lat,lng in degrees", text)
	}
	return geo.Point{Lat: lat, Lng: lng}, nil
}

func parsePolygons(words []string) ([]geo.Polygon, error) {
	polys := []geo.Polygon{{nil}}
	for _, word := range words {
		poly := &polys[len(polys)-1]
		switch word {
		case "hole":
			*poly = append(*poly, nil)
		case "and":
			polys = append(polys, geo.Polygon{nil})
		default:
			p, err := parsePoint(word)
			if err != nil {
				return nil, err
			}
			ring := &(*poly)[len(*poly)-1]
			*ring = append(*ring, p)
		}
	}
	for _, poly := range polys {
		for i, ring := range poly {
			if len(ring) > 0 && ring[0] != ring[len(ring)-1] {
				poly[i] = append(ring, ring[0])
			}
		}
	}
	return polys, nil
}

func (l *Line) duration(key string, to *time.Duration) error {
	text, ok := l.Field(key)
	if !ok {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return l.Errorf("%s: %s=%s is no duration; write 90s or 1h5m", l.Verb, key, text)
	}
	*to = d
	return nil
}

func (l *Line) number(key string, to *float64) error {
	text, ok := l.Field(key)
	if !ok {
		return nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return l.Errorf("%s: %s=%s is no number", l.Verb, key, text)
	}
	*to = v
	return nil
}

func (l *Line) onOff(key string, to *bool) error {
	text, ok := l.Field(key)
	if !ok {
		return nil
	}
	if text != "on" && text != "off" {
		return l.Errorf("%s: %s=%s; write on or off", l.Verb, key, text)
	}
	*to = text == "on"
	return nil
}
