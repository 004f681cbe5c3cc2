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
	end, some, all := f.usual(d.b, d.i)
	if d.i = end; all {
		d.depth--
		return true
	}
	return d.members(f, !some)
}

// members reads the members of a ping from here on, whatever they are. first says that none was read.
func (d *decoder) members(f *fields, first bool) bool {
	for ; d.more(first, '}'); first = false {
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

// usualMember is a member that encoders usually write: its name in quotes and the colon, as a little-endian number.
type usualMember struct {
	name, mask uint64
}

// usualMembers are members in the order in which SDKs write them. The bit of each in fields.seen is 1 << its place here.
var usualMembers = func() (t [8]usualMember) {
	for i, name := range [8]string{"t", "lat", "lon", "acc", "spd", "crs", "alt", "src"} {
		var b [8]byte
		n := copy(b[:], `"`+name+`":`)
		t[i] = usualMember{binary.LittleEndian.Uint64(b[:]), 1<<(8*n) - 1}
	}
	return t
}()

const (
	placeT   = 0
	placeSrc = 7

	// memberLen is more than a usual member takes: 6 bytes of name, and numberLen.
	memberLen = 6 + numberLen
)

// usual reads the members of a ping as encoders write them: a known name in full, a colon, a plain number or
// "stream", a comma or the end, no space. i is right behind the brace. It stops before the first member that is otherwise, or
// comes twice, with nothing of it read: some says that end is behind a member then, all that it is behind
// the whole object. The plain twin is members, which takes more than twice as many instructions.
//
// After each member the one that follows it in usualMembers is looked for first: 30 instructions less for each than a switch.
func (f *fields) usual(b []byte, i int) (end int, some, all bool) {
	var v [8]float64
	seen, next := uint32(0), uint(0)
members:
	for {
		var p *[memberLen]byte
		if rest := b[i:]; len(rest) >= memberLen {
			p = (*[memberLen]byte)(rest)
		} else {
			p = new([memberLen]byte) // on the stack; zeros, which end everything
			copy(p[:], rest)
		}
		w := binary.LittleEndian.Uint64(p[:8])
		k := next & 7
		if m := &usualMembers[k]; (w^m.name)&m.mask != 0 {
			for k = 0; ; k++ {
				if k == 8 {
					break members
				}
				if m := &usualMembers[k]; (w^m.name)&m.mask == 0 {
					break
				}
			}
		}
		if seen>>(k&31)&1 != 0 {
			break
		}
		n := uint(14)
		if k != placeSrc {
			at := uint(6)
			if k == placeT {
				at = 4
			}
			if v[k&7], n = usualNumber((*[numberLen]byte)(p[at:])); n == 0 {
				break
			}
			n += at
		} else if binary.LittleEndian.Uint64(p[6:14]) != stream8 {
			break
		}
		if n >= memberLen {
			break
		}
		if c := p[n]; c != ',' {
			if all = c == '}'; all {
				seen |= 1 << (k & 31)
				i += int(n) + 1
			}
			break
		}
		seen |= 1 << (k & 31)
		i += int(n) + 1
		next = k + 1
	}
	if seen != 0 && !all {
		i-- // to the comma
	}
	// A value whose bit is not set is read again, or its record is refused.
	f.t, f.lat, f.lon, f.acc, f.spd, f.crs, f.alt = v[0], v[1], v[2], v[3], v[4], v[5], v[6]
	f.seen = seen
	return i, seen != 0, all
}

// stream8 is "stream" with its quotes as a little-endian number.
const stream8 = '"' | 's'<<8 | 't'<<16 | 'r'<<24 | 'e'<<32 | 'a'<<40 | 'm'<<48 | '"'<<56

// numberLen is more than a usual number takes: a sign, 15 digits, a point, and what shows that it ends.
const numberLen = 20

// usualNumber reads the number that p begins with when it has no exponent and at most 15 digits, which float64 holds exactly, as it
// does the power of ten; n is its length, 0 for any other. It reads eight bytes at once, where a loop over digits takes twice as many
// instructions for a ping's numbers: those of up to seven bytes, point included, from one word, others from two.
func usualNumber(p *[numberLen]byte) (v float64, n uint) {
	neg := p[0] == '-'
	w := binary.LittleEndian.Uint64(p[:8])
	if neg {
		n, w = 1, binary.LittleEndian.Uint64(p[1:9])
	}
	x := w ^ eightZeros
	stop := noDigits(x)
	digits := firstByte(stop) // before the point
	if digits == 0 || x&0xff == 0 && digits > 1 {
		return 0, 0
	}
	n += digits
	var mant uint64
	frac := uint(0)
	switch {
	case digits == 8:
		// Eight digits, and up to seven more: a time.
		y := binary.LittleEndian.Uint64(p[n&15:][:8]) ^ eightZeros
		more := firstByte(noDigits(y))
		if n += more; more == 8 || p[n] == '.' {
			return 0, 0
		}
		mant = parseEight(x)*tens[more&15] + parseEight(y<<((56-8*more)&63)<<8) // more may be 0
	case byte(w>>(8*digits&63)) != '.':
		mant = firstDigits(x, digits)
	default:
		n++
		low := uint64(1)<<(8*digits&63) - 1
		if stop &^= low<<8 | 0xff; stop != 0 {
			// All of it is in x: close the gap that the point leaves.
			frac = firstByte(stop) - digits - 1
			mant = firstDigits(x&low|x>>8&^low, digits+frac)
		} else {
			y := binary.LittleEndian.Uint64(p[n&15:][:8]) ^ eightZeros
			frac = firstByte(noDigits(y))
			mant = firstDigits(x, digits)*tens[frac&15] + firstDigits(y, frac)
			if frac == 8 {
				for c := p[n+frac] - '0'; c <= 9; c = p[n+frac] - '0' {
					if mant = mant*10 + uint64(c); digits+frac == 15 {
						return 0, 0
					}
					frac++
				}
			}
		}
		if frac == 0 {
			return 0, 0
		}
		n += frac
	}
	v = float64(int64(mant)) / pow10[frac&15]
	if neg {
		v = -v
	}
	return v, n
}

// noDigits marks the bytes of x that are no values of digits, 0 to 9, by any of their upper four bits. Above the first of them it may be
// wrong only in that it marks digits behind it.
func noDigits(x uint64) uint64 { return (x | (x + 0x0606060606060606)) & 0xf0f0f0f0f0f0f0f0 }

// firstByte is the number of the lowest byte that is not 0; 8 when there is none.
func firstByte(marks uint64) uint { return uint(bits.TrailingZeros64(marks)) / 8 }

// firstDigits is the number that the first n bytes of x, up to 8 values of digits, are; n is not 0.
func firstDigits(x uint64, n uint) uint64 { return parseEight(x << ((64 - 8*n) & 63)) }

// tens are the powers of ten that eight digits or fewer shift by.
var tens = [16]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

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
