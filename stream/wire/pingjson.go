package wire

import (
	"encoding/binary"
	"math/bits"
)

// json decodes the whole payload; false: d.fail says why it is refused.
func (d *decoder) json() bool {
	switch d.peek() {
	case '{':
		if !d.record() {
			return false
		}
	case '[':
		if !d.enter() {
			return false
		}
		for first := true; d.more(first, ']'); first = false {
			if d.n == MaxPings {
				d.fail = errTooMany
				return false
			}
			if !d.record() {
				return false
			}
		}
		if d.fail != nil {
			return false
		}
	default:
		return d.bad()
	}
	return d.end()
}

// record decodes one element. What is not an object is refused alone, like any other bad record.
func (d *decoder) record() bool {
	var f fields
	if d.peek() != '{' {
		if !d.skip() {
			return false
		}
		f.refuse(CodeBadType, "the record is not a JSON object")
	} else if d.mode == modeOwnTracks {
		return d.ownTracksRecord()
	} else if !d.pingObject(&f) {
		return false
	}
	d.take(&f)
	return true
}

func (d *decoder) pingObject(f *fields) bool {
	if !d.enter() {
		return false
	}
	some, all := d.usualMembers(f)
	if all {
		return true
	}
	for first := !some; d.more(first, '}'); first = false {
		key, ok := d.key()
		if !ok {
			return false
		}
		switch string(key) {
		case "t":
			ok = d.number(f, fT, &f.t, "t must be a number")
		case "lat":
			ok = d.number(f, fLat, &f.lat, "lat must be a number")
		case "lon":
			ok = d.number(f, fLon, &f.lon, "lon must be a number")
		case "acc":
			ok = d.number(f, fAcc, &f.acc, "acc must be a number")
		case "spd":
			ok = d.number(f, fSpd, &f.spd, "spd must be a number")
		case "crs":
			ok = d.number(f, fCrs, &f.crs, "crs must be a number")
		case "alt":
			ok = d.number(f, fAlt, &f.alt, "alt must be a number")
		case "age_ms":
			ok = d.number(f, fAge, &f.age, "age_ms must be a number")
		case "mock":
			ok = d.boolean(f, fMock, &f.mock, "mock must be true or false")
		case "src":
			var name []byte
			if ok = d.text(f, fSrc, &name, "src must be text"); ok && f.code == "" {
				if f.src, ok = sourceOf(name); !ok {
					f.refuse(CodeBadSource, reasonSource)
					ok = true
				}
			}
		case "fence":
			ok = d.text(f, fFence, &f.fence, "fence must be text")
		case "device":
			if d.mode == modeFeed {
				ok = d.text(f, fDevice, &f.device, "device must be text")
			} else {
				ok = d.skip() // the subject names the device
			}
		default:
			ok = d.skip()
		}
		if !ok {
			return false
		}
	}
	return d.fail == nil
}

// The first six bytes of the usual members as little-endian numbers; four for t.
const (
	member4T   = '"' | 't'<<8 | '"'<<16 | ':'<<24
	member6Lat = '"' | 'l'<<8 | 'a'<<16 | 't'<<24 | '"'<<32 | ':'<<40
	member6Lon = '"' | 'l'<<8 | 'o'<<16 | 'n'<<24 | '"'<<32 | ':'<<40
	member6Acc = '"' | 'a'<<8 | 'c'<<16 | 'c'<<24 | '"'<<32 | ':'<<40
	member6Spd = '"' | 's'<<8 | 'p'<<16 | 'd'<<24 | '"'<<32 | ':'<<40
	member6Crs = '"' | 'c'<<8 | 'r'<<16 | 's'<<24 | '"'<<32 | ':'<<40
	member6Alt = '"' | 'a'<<8 | 'l'<<16 | 't'<<24 | '"'<<32 | ':'<<40
	member6Src = '"' | 's'<<8 | 'r'<<16 | 'c'<<24 | '"'<<32 | ':'<<40
)

// usualMembers reads the members of a ping as encoders write them: a known name in full, a colon, a plain number or
// "stream", a comma or the end, no space. It stands right behind the brace. It stops before the first member that is otherwise, or
// comes twice, with nothing of it read: some says that the scanner stands behind a member then, all that it has read the
// whole object. The plain twin is the loop behind it in pingObject, which takes nearly twice as many instructions.
func (d *decoder) usualMembers(f *fields) (some, all bool) {
	b, i := d.b, d.i
	for i+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[i:])
		var v *float64
		var bit uint32
		j := i + 6
		switch w & (1<<48 - 1) {
		case member6Lat:
			v, bit = &f.lat, fLat
		case member6Lon:
			v, bit = &f.lon, fLon
		case member6Acc:
			v, bit = &f.acc, fAcc
		case member6Spd:
			v, bit = &f.spd, fSpd
		case member6Crs:
			v, bit = &f.crs, fCrs
		case member6Alt:
			v, bit = &f.alt, fAlt
		case member6Src:
			const stream = `"stream"`
			if len(b)-j <= len(stream) || string(b[j:j+len(stream)]) != stream {
				return some, false
			}
			bit, j = fSrc, j+len(stream)
		default:
			if w&(1<<32-1) != member4T {
				return some, false
			}
			v, bit, j = &f.t, fT, i+4
		}
		if f.seen&bit != 0 {
			return some, false
		}
		if v != nil {
			var n uint
			if len(b)-j >= numberLen {
				*v, n = usualNumber((*[numberLen]byte)(b[j:]), bit == fT)
			} else {
				var end [numberLen]byte
				copy(end[:], b[j:])
				*v, n = usualNumber(&end, false)
			}
			if n == 0 {
				return some, false
			}
			j += int(n)
		}
		if j >= len(b) {
			return some, false
		}
		switch b[j] {
		case ',':
			f.seen |= bit
			d.i, i, some = j, j+1, true
		case '}':
			f.seen |= bit
			d.i = j + 1
			d.depth--
			return true, true
		default:
			// What was written to *v is read again.
			return some, false
		}
	}
	return some, false
}

// numberLen is more than a usual number takes: a sign, 15 digits, a point, and what shows that it ends.
const numberLen = 20

// usualNumber reads the number that p begins with when it has no exponent and at most 15 digits, which float64 holds exactly, as it
// does the power of ten; n is its length, 0 for any other. long says that eight digits before the point are likely.
func usualNumber(p *[numberLen]byte, long bool) (v float64, n uint) {
	const last = numberLen - 2
	var k uint
	if p[0] == '-' {
		k = 1
	}
	start, mant := k, uint64(0)
	if long {
		if w := binary.LittleEndian.Uint64(p[k : k+8]); eightDigits(w) {
			mant = parseEight(w ^ eightZeros)
			k += 8
		}
	}
	for ; k < last; k++ {
		c := p[k] - '0'
		if c > 9 {
			break
		}
		mant = mant*10 + uint64(c)
	}
	digits := k - start
	if digits == 0 || digits > 1 && p[start] == '0' {
		return 0, 0
	}
	frac := uint(0)
	if k < last && p[k] == '.' {
		k++
		from := k
		if k <= numberLen-8 && p[k+3]-'0' <= 9 { // for fewer digits the loop is quicker
			w := binary.LittleEndian.Uint64(p[k:k+8]) ^ eightZeros
			// The first byte that is no digit: 0xf0 and 0x06 carry into its upper half, what is behind it does not matter.
			frac = uint(bits.TrailingZeros64((w|(w+0x0606060606060606))&0xf0f0f0f0f0f0f0f0)) / 8
			mant = mant*tens[frac&15] + parseEight(w<<(64-8*frac))
			k += frac
		}
		for ; k < last; k++ {
			c := p[k] - '0'
			if c > 9 {
				break
			}
			mant = mant*10 + uint64(c)
		}
		if frac = k - from; frac == 0 {
			return 0, 0
		}
	}
	if digits+frac > 15 { // then mant may have wrapped, too, or the number goes on behind p
		return 0, 0
	}
	v = float64(int64(mant)) / pow10[frac&15]
	if p[0] == '-' {
		v = -v
	}
	return v, k
}

// tens are the powers of ten that eight digits or fewer shift by.
var tens = [16]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

// eightDigits reports whether all bytes of w are digits.
func eightDigits(w uint64) bool {
	const high = 0xf0f0f0f0f0f0f0f0
	return w&high == eightZeros && (w+0x0606060606060606)&high == eightZeros
}

// eightZeros is eight digits 0.
const eightZeros = 0x3030303030303030

// parseEight is the number that eight digits of values 0 to 9 are, the first of them in the lowest byte: pairs, then fours, then all.
func parseEight(w uint64) uint64 {
	w = w*10 + w>>8
	return (w&0x000000ff000000ff*(100+1000000<<32) + w>>16&0x000000ff000000ff*(1+10000<<32)) >> 32
}

// once notes that the field occurs and refuses a second occurrence.
func (f *fields) once(bit uint32) {
	if f.seen&bit != 0 {
		f.refuse(CodeDuplicateField, "a field occurs twice")
	}
	f.seen |= bit
}

// number reads a member's value into *v. A value of another type refuses the record, not the payload.
func (d *decoder) number(f *fields, bit uint32, v *float64, reason string) (ok bool) {
	f.once(bit)
	if c := d.peek(); c != '-' && (c < '0' || c > '9') {
		f.refuse(CodeBadType, reason)
		return d.skip()
	}
	*v, ok = d.num()
	return ok
}

func (d *decoder) boolean(f *fields, bit uint32, v *bool, reason string) bool {
	f.once(bit)
	switch d.peek() {
	case 't':
		*v = true
		return d.word("true")
	case 'f':
		*v = false
		return d.word("false")
	}
	f.refuse(CodeBadType, reason)
	return d.skip()
}

// text reads a string: a view into the payload, or a copy when it had escapes.
func (d *decoder) text(f *fields, bit uint32, v *[]byte, reason string) bool {
	f.once(bit)
	if d.peek() != '"' {
		f.refuse(CodeBadType, reason)
		return d.skip()
	}
	raw, plain, ok := d.str()
	if !ok {
		return false
	}
	if plain {
		*v = raw[1 : len(raw)-1]
	} else {
		*v = unquote(raw)
	}
	return true
}
