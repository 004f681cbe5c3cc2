package wire

import (
	"unicode/utf8"

	"footfall/track"
)

// Limits of protocol version 1.
const (
	MaxPings       = 1000      // records in one ping, feed or OwnTracks payload
	MaxPingPayload = 256 << 10 // bytes of such a payload
	MaxPayload     = 16 << 10  // bytes of an event, device or receipt payload
	MaxDepth       = 32        // nesting of JSON objects and arrays
	MaxFence       = 256       // bytes of a fence id
)

// Ranges of the fields of a ping. They are wide on purpose: they catch a wrong unit or a broken encoder,
// not an improbable journey.
const (
	minTimeMS    = 1e11 // 1973-03-03 in ms, the year 5138 in seconds: below it t is in seconds
	maxTimeMS    = 1e14 // the year 5138 in ms, 1973 in µs: from it on t is in µs or ns
	maxAgeMS     = 10 * 366 * 24 * 3600 * 1000
	maxAccuracyM = 40_075_017 // the Earth's equator, WGS84, in metres
	maxSpeedMPS  = 100_000    // nothing that carries a phone
)

// DecodePings appends the fixes of a ping.<app>.<device> payload to dst: a JSON object, a JSON
// array of up to MaxPings objects, or a protobuf footfall.v1.PingBatch. The first byte tells which: '{', '[' and
// JSON white space begin JSON, every other byte protobuf (docs/protocol/footfall.proto keeps those tags free).
//
// Bad records come back as PingErrors, in order; the good ones are appended, in order. With a non-nil error, a
// *PayloadError, nothing was appended. FixedAt is t, or receivedMS - age_ms when t is absent;
// ReceivedAt is receivedMS; an absent speed or a negative one is -1. Fence is kept for os_* sources only. crs and alt are
// checked and dropped. The caller still has to ask track.CheckFix.
//
// payload is not retained. No allocation when dst has room and all records are good, but for the
// fence id of os_* sources and for text with escapes.
func DecodePings(dst []track.Fix, payload []byte, receivedMS int64) ([]track.Fix, []PingError, error) {
	d := decoder{fixes: dst, received: receivedMS}
	var err error
	if len(payload) > 0 && len(payload) <= MaxPingPayload && payload[0] == '{' {
		// Fast path: one ping as phones write it, 170 instructions less than by way of decode.
		var f fields
		end, some, all := f.usual(payload, 1)
		if all && end == len(payload) {
			if f.judge(receivedMS); f.code == "" {
				dst = append(dst, track.Fix{})
				f.fill(&dst[len(dst)-1], receivedMS)
				return dst, nil, nil
			}
		}
		err = d.restOf(payload, &f, end, some, all)
	} else {
		err = d.decode(payload)
	}
	if err != nil {
		return dst, nil, err
	}
	return d.fixes, d.errs, nil
}

// DecodeFeed appends one record of KindPing per good ping of a feed.<app> payload to dst. The payload
// is as in DecodePings, with `device` in each ping naming a device of app (a token). app must be a
// token. Device ids come from names; see Interner for the cost.
func DecodeFeed(dst []Record, names *Interner, app string, payload []byte, receivedMS int64) ([]Record, []PingError, error) {
	d := decoder{mode: modeFeed, recs: dst, names: names, app: app, received: receivedMS}
	if err := d.decode(payload); err != nil {
		return dst, nil, err
	}
	return d.recs, d.errs, nil
}

type mode uint8

const (
	modePing mode = iota
	modeFeed
	modeOwnTracks
)

// decoder is the state of one call; it lives on the caller's stack.
type decoder struct {
	scanner
	mode     mode
	received int64
	n        int // records seen
	errs     []PingError

	fixes []track.Fix // modePing, modeOwnTracks
	recs  []Record    // modeFeed
	names *Interner
	app   string
}

// decode returns a *PayloadError or nil.
func (d *decoder) decode(payload []byte) error {
	switch {
	case len(payload) == 0:
		return errEmpty
	case len(payload) > MaxPingPayload:
		return errTooLarge
	}
	switch payload[0] {
	case '{', '[', ' ', '\t', '\n', '\r':
		d.b = payload
		if !d.json() {
			return d.fail
		}
	case 0xEF:
		// The first byte of a UTF-8 byte order mark, and of no protobuf message (wire type 7).
		return errBOM
	default:
		if d.mode == modeOwnTracks {
			return errJSON
		}
		if err := d.proto(payload); err != nil {
			return err
		}
	}
	if d.n == 0 {
		return errEmpty
	}
	return nil
}

// restOf goes on with a payload that is one object, from end, to which fields.usual has read it. It returns a *PayloadError or nil.
func (d *decoder) restOf(payload []byte, f *fields, end int, some, all bool) error {
	d.b, d.i = payload, end
	if !all {
		d.depth = 1
		if !d.members(f, !some) {
			return d.fail
		}
	}
	d.take(f)
	if !d.end() {
		return d.fail
	}
	return nil
}

// Bits of fields.seen, one per known field.
const (
	fT = 1 << iota
	fLat
	fLon
	fAcc
	fSpd
	fCrs
	fAlt
	fSrc
	fMock
	fAge
	fFence
	fDevice
)

// fields is what one record said, before it is judged.
type fields struct {
	seen                       uint32
	t, age, lat, lon, acc, spd float64
	crs, alt                   float64
	src                        track.Source
	mock                       bool
	fence, device              []byte // views into the payload
	code                       Code   // the first refusal, "" if none so far
	reason                     string
}

// refuse notes why the record is refused; the first reason stands.
func (f *fields) refuse(c Code, reason string) {
	if f.code == "" {
		f.code, f.reason = c, reason
	}
}

// take judges a record and appends it, or its refusal, to the result.
func (d *decoder) take(f *fields) {
	index := d.n
	d.n++
	if d.mode == modeFeed {
		if !validToken(f.device) {
			f.refuse(CodeBadDevice, "device must be 1 to 64 of A-Z a-z 0-9 _ -")
		}
		if f.judge(d.received); f.code == "" {
			d.recs = append(d.recs, Record{Kind: KindPing, Device: d.names.Join(d.app, f.device), ReceivedAt: d.received})
			f.fill(&d.recs[len(d.recs)-1].Fix, d.received)
			return
		}
	} else if f.judge(d.received); f.code == "" {
		d.fixes = append(d.fixes, track.Fix{})
		f.fill(&d.fixes[len(d.fixes)-1], d.received)
		return
	}
	d.errs = append(d.errs, PingError{Index: index, Code: f.code, Reason: f.reason})
}

// judge checks ranges and what must be there. Comparisons are written so that NaN, which
// protobuf can carry, fails them.
func (f *fields) judge(received int64) {
	if f.code != "" {
		return
	}
	switch {
	case f.seen&fT != 0:
		checkTime(f, f.t)
	case f.seen&fAge == 0:
		f.refuse(CodeMissingTime, "one of t and age_ms is required")
	}
	if f.src > track.SourceOSDwell { // protobuf: an enum value of the future
		f.refuse(CodeBadSource, reasonSource)
	}
	if f.seen&fAge != 0 && !(f.age >= 0 && f.age <= maxAgeMS) {
		f.refuse(CodeOutOfRange, "age_ms must be 0 or more, and under ten years")
	}
	switch f.seen & (fLat | fLon) {
	case fLat | fLon:
		if !(f.lat >= -90 && f.lat <= 90) {
			f.refuse(CodeOutOfRange, "lat must be -90 to 90")
		}
		if !(f.lon >= -180 && f.lon <= 180) {
			f.refuse(CodeOutOfRange, "lon must be -180 to 180")
		}
	case 0:
		if !f.src.OS() {
			f.refuse(CodeMissingPosition, "lat and lon are required")
		} else if f.seen&fFence == 0 {
			f.refuse(CodeMissingFence, "an os_ ping needs fence, or lat and lon, or both")
		}
	default:
		f.refuse(CodeMissingPosition, "lat and lon are only valid together")
	}
	if f.seen&fAcc != 0 {
		if f.acc < 0 {
			f.refuse(CodeNegativeAccuracy, "acc is negative: the platform marks the position invalid")
		} else if !(f.acc <= maxAccuracyM) {
			f.refuse(CodeOutOfRange, "acc must be 0 to 40075017 metres")
		}
	}
	if f.seen&fSpd != 0 && !(f.spd >= -maxSpeedMPS && f.spd <= maxSpeedMPS) {
		f.refuse(CodeOutOfRange, "spd must be metres a second, at most 100000")
	}
	if f.seen&(fCrs|fAlt) != 0 && (notFinite(f.crs) || notFinite(f.alt)) {
		f.refuse(CodeOutOfRange, "crs and alt must be finite")
	}
	if f.seen&fFence != 0 && (len(f.fence) == 0 || len(f.fence) > MaxFence || !utf8.Valid(f.fence)) {
		f.refuse(CodeBadFence, "fence must be 1 to 256 bytes of UTF-8")
	}
}

// notFinite: a difference of infinities, or with NaN, is NaN.
func notFinite(v float64) bool { return v-v != 0 }

// checkTime refuses a t that is not Unix milliseconds, with a hint at what it looks like.
func checkTime(f *fields, t float64) {
	switch {
	case t >= minTimeMS && t < maxTimeMS:
	case t > 0 && t < minTimeMS:
		f.refuse(CodeTimeUnit, "t looks like seconds; send Unix milliseconds (multiply by 1000)")
	case t >= maxTimeMS && t <= 1e20:
		f.refuse(CodeTimeUnit, "t looks like microseconds or nanoseconds; send Unix milliseconds")
	default:
		f.refuse(CodeOutOfRange, "t must be Unix milliseconds")
	}
}

// fill writes a judged record.
func (f *fields) fill(x *track.Fix, received int64) {
	x.ReceivedAt = received
	if f.seen&fT != 0 {
		x.FixedAt = int64(f.t) // a fraction of a millisecond is cut off
	} else {
		x.FixedAt = received - int64(f.age)
	}
	if f.seen&fLat != 0 {
		x.HasPosition, x.Lat, x.Lng = true, f.lat, f.lon
	}
	x.AccuracyM = float32(f.acc)
	x.SpeedMPS = -1
	if f.seen&fSpd != 0 && f.spd >= 0 {
		x.SpeedMPS = float32(f.spd)
	}
	x.Source = f.src
	x.Mock = f.mock
	if f.seen&fFence != 0 && f.src.OS() {
		x.Fence = string(f.fence)
	}
}

const reasonSource = "src must be stream, foreground, significant, os_enter, os_exit or os_dwell"

// sourceOf is track.ParseSource without a string to allocate; "" is not a name on the wire.
func sourceOf(name []byte) (track.Source, bool) {
	switch string(name) {
	case "stream":
		return track.SourceStream, true
	case "foreground":
		return track.SourceForeground, true
	case "significant":
		return track.SourceSignificant, true
	case "os_enter":
		return track.SourceOSEnter, true
	case "os_exit":
		return track.SourceOSExit, true
	case "os_dwell":
		return track.SourceOSDwell, true
	}
	return 0, false
}
