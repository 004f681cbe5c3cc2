package wire

import "footfall/track"

// Bits of owntracks.seen beyond those of fields.
const (
	fType = fDevice << (iota + 1)
	fDesc
	fRid
	fEvent
)

// DecodeOwnTracks appends the fixes of an OwnTracks message, or of an array of up to MaxPings of them, to dst.
// Format: owntracks/booklet, docs/tech/json.md.
//
//   - location: tst (Unix seconds; a value that can only be milliseconds is taken as such), lat, lon, acc, vel (km/h),
//     cog, alt. Source stream.
//   - transition: event "enter" or "leave" becomes os_enter or os_exit; the fence is desc, else rid;
//     lat, lon, acc when there.
//   - every other _type comes back as a PingError with CodeIgnored: it is in order, there is nothing to
//     do. Encrypted messages are among them.
//
// null means absent, since the apps write it. For the rest as DecodePings.
func DecodeOwnTracks(dst []track.Fix, payload []byte, receivedMS int64) ([]track.Fix, []PingError, error) {
	d := decoder{mode: modeOwnTracks, fixes: dst, received: receivedMS}
	if err := d.decode(payload); err != nil {
		return dst, nil, err
	}
	return d.fixes, d.errs, nil
}

// ownTracksRecord decodes one message, whose '{' is next. _type may come last, so everything is read before
// anything is judged.
func (d *decoder) ownTracksRecord() bool {
	var f fields
	var typ, event, desc, rid []byte
	if !d.enter() {
		return false
	}
	for first := true; d.more(first, '}'); first = false {
		key, ok := d.key()
		if !ok {
			return false
		}
		if d.peek() == 'n' {
			if !d.word("null") {
				return false
			}
			continue
		}
		switch string(key) {
		case "_type":
			ok = d.text(&f, fType, &typ, "_type must be text")
		case "tst":
			ok = d.number(&f, fT, &f.t, "tst must be a number")
		case "lat":
			ok = d.number(&f, fLat, &f.lat, "lat must be a number")
		case "lon":
			ok = d.number(&f, fLon, &f.lon, "lon must be a number")
		case "acc":
			ok = d.number(&f, fAcc, &f.acc, "acc must be a number")
		case "vel":
			ok = d.number(&f, fSpd, &f.spd, "vel must be a number")
		case "cog":
			ok = d.number(&f, fCrs, &f.crs, "cog must be a number")
		case "alt":
			ok = d.number(&f, fAlt, &f.alt, "alt must be a number")
		case "event":
			ok = d.text(&f, fEvent, &event, "event must be text")
		case "desc":
			ok = d.text(&f, fDesc, &desc, "desc must be text")
		case "rid":
			ok = d.text(&f, fRid, &rid, "rid must be text")
		default:
			ok = d.skip()
		}
		if !ok {
			return false
		}
	}
	if d.fail != nil {
		return false
	}

	switch string(typ) {
	case "location":
	case "transition":
		switch string(event) {
		case "enter":
			f.src = track.SourceOSEnter
		case "leave":
			f.src = track.SourceOSExit
		default:
			f.refuse(CodeBadValue, "event must be enter or leave")
		}
		if f.fence = desc; len(desc) == 0 {
			f.fence = rid
		}
		if len(f.fence) != 0 {
			f.seen |= fFence
		}
	case "":
		f = fields{}
		f.refuse(CodeMissingField, "no _type: not an OwnTracks message")
	case "encrypted":
		f = fields{}
		f.refuse(CodeIgnored, "the message is encrypted; switch the app's payload encryption off")
	default:
		f = fields{}
		f.refuse(CodeIgnored, "this message type carries no position")
	}
	if f.seen&fT != 0 {
		if f.t < minTimeMS {
			f.t *= 1000
		}
	} else {
		f.refuse(CodeMissingTime, "tst is required")
	}
	f.spd /= 3.6
	d.take(&f)
	return true
}
