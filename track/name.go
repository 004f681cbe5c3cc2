package track

import "encoding/binary"

// A Form says how the packed name of a device is written. Names are most of what is kept of
// a device and of what a log record takes, and nearly all are hexadecimal digits or UUIDs: packed, 16 digits take
// 8 bytes, which is one word to hash and compare. The values are stored in the log: they never change.
//
//	1-64     1-64 digits of 0-9a-f, 4 bits each
//	65-128   1-64 of A-Za-z0-9-_, 6 bits each
//	129, 130 a UUID with dashes, lower case or upper case; 16 bytes
//	131      anything else: the bytes as they are
//	132      the same, and there is no app: the bytes are the whole DeviceID
//
// Digit i of a name is at bit 4i (6i) of the little-endian number that its bytes are; bits beyond the last digit count for
// nothing. Every DeviceID has one packed form, the first of those that can hold it; Pack makes it and Unpack is its
// inverse.
type Form uint8

const (
	formText      Form = 64 // + number of characters
	formUUID      Form = 129
	formUUIDUpper Form = 130
	formRaw       Form = 131
	formWhole     Form = 132
	formEnd       Form = 133
)

// shape of a form's payload.
type formShape struct {
	bytes uint8     // length; 0 when the length is not in the form
	masks [2]uint64 // of the first two words: zero beyond the last digit
}

var formShapes = func() (t [256]formShape) {
	shape := func(bits int) formShape {
		s := formShape{bytes: uint8((bits + 7) / 8)}
		if bits <= 128 {
			s.masks = [2]uint64{1<<min(bits, 64) - 1, 1<<max(bits-64, 0) - 1}
		}
		return s
	}
	for n := 1; n <= 64; n++ {
		t[n], t[int(formText)+n] = shape(4*n), shape(6*n)
	}
	t[formUUID], t[formUUIDUpper] = shape(128), shape(128)
	return t
}()

// Valid reports whether f is a form that this version knows.
func (f Form) Valid() bool { return f > 0 && f < formEnd }

// Bytes is how long a packed name of this form is; 0 when that is not in the form but
// written before the name.
func (f Form) Bytes() int { return int(formShapes[f].bytes) }

// Masks are the bits that count in the first and second eight bytes of a name of this form, as little-endian numbers: none where it
// has no digits any more, and none when it is not Short.
func (f Form) Masks() [2]uint64 { return formShapes[f].masks }

// Short reports whether packed names of this form are of known length and at most 16 bytes: two words.
func (f Form) Short() bool { return formShapes[f].bytes-1 < 16 }

// App is the part of the id before the first dot, "" when it has none or Pack finds that it does not name an app.
func (id DeviceID) App() string {
	app, _ := id.cut()
	return app
}

// cut is the app and the name; both are empty when the id names no app.
func (id DeviceID) cut() (app, name string) {
	for i := range len(id) {
		if id[i] == '.' {
			if i == 0 || i == len(id)-1 {
				return "", ""
			}
			return string(id[:i]), string(id[i+1:])
		}
	}
	return "", ""
}

// of is the name when the app is this one, which is not empty: 40 instructions less than to look for the dot.
func (id DeviceID) of(app string) (name string, ok bool) {
	n := len(app)
	if n == 0 || len(id) < n+2 || id[n] != '.' || string(id[:n]) != app {
		return "", false
	}
	return string(id[n+1:]), true
}

// character classes of names
const (
	charHex   = 1 << iota // 0-9a-f
	charUpper             // 0-9A-F
	charText              // A-Za-z0-9-_
)

const (
	textChars  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	hexChars   = "0123456789abcdef"
	upperChars = "0123456789ABCDEF"
)

type charInfo struct{ class, hex, text uint8 }

var chars = func() (t [256]charInfo) {
	for i := range len(textChars) {
		t[textChars[i]].text = uint8(i)
		t[textChars[i]].class |= charText
	}
	for i := range 16 {
		t[hexChars[i]].hex, t[upperChars[i]].hex = uint8(i), uint8(i)
		t[hexChars[i]].class |= charHex
		t[upperChars[i]].class |= charUpper
	}
	return t
}()

// Pack appends the packed name of a device, which is its id without the app, to dst. It allocates only to grow dst.
func Pack(dst []byte, id DeviceID) ([]byte, Form) {
	_, name := id.cut()
	return packName(dst, id, name)
}

// packName is Pack for an id whose name is known.
func packName(dst []byte, id DeviceID, name string) ([]byte, Form) {
	if name == "" {
		return append(dst, id...), formWhole
	}
	form := formOf(name)
	switch {
	case form == formRaw:
		return append(dst, name...), form
	case form <= formText:
		return packHex(dst, name), form
	case form < formUUID:
		return packText(dst, name), form
	}
	dst = packHex(dst, name[:8])
	dst = packHex(dst, name[9:13])
	dst = packHex(dst, name[14:18])
	dst = packHex(dst, name[19:23])
	return packHex(dst, name[24:]), form
}

// formOf finds the first form that holds a name, which is not empty.
func formOf(name string) Form {
	if len(name) > 64 {
		return formRaw
	}
	rest := name
	for len(rest) >= 8 && eightHex(loadEight(rest)) {
		rest = rest[8:]
	}
	all := uint8(charHex | charText)
	for i := range len(rest) {
		all &= chars[rest[i]].class
	}
	switch {
	case all&charHex != 0:
		return Form(len(name))
	case all&charText == 0:
		return formRaw
	case len(name) != 36 || name[8] != '-' || name[13] != '-' || name[18] != '-' || name[23] != '-':
		return formText + Form(len(name))
	}
	all = charHex | charUpper
	for i := range len(name) {
		if i != 8 && i != 13 && i != 18 && i != 23 {
			all &= chars[name[i]].class
		}
	}
	switch {
	case all&charHex != 0:
		return formUUID
	case all&charUpper != 0:
		return formUUIDUpper
	}
	return formText + Form(len(name))
}

// loadEight is the first eight bytes of s, which has as many, as a little-endian number.
func loadEight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// eightHex reports whether all bytes of x are 0-9a-f. The sums carry into the high bit of a byte when it is at least the
// character that is meant, and never further, for bytes without a high bit.
func eightHex(x uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	digit := (x + ones*(0x80-'0')) &^ (x + ones*(0x7f-'9'))
	letter := (x + ones*(0x80-'a')) &^ (x + ones*(0x7f-'f'))
	return x&high == 0 && (digit|letter)&high == high
}

func packHex(dst []byte, name string) []byte {
	for ; len(name) >= 8; name = name[8:] {
		dst = binary.LittleEndian.AppendUint32(dst, packEight(loadEight(name)))
	}
	for i := 0; i < len(name); i += 2 {
		b := chars[name[i]].hex
		if i+1 < len(name) {
			b |= chars[name[i+1]].hex << 4
		}
		dst = append(dst, b)
	}
	return dst
}

// packEight is eight hexadecimal digits at once: a letter is 9 more than its low four bits.
func packEight(x uint64) uint32 {
	x = x&0x0f0f0f0f0f0f0f0f + x>>6&0x0101010101010101*9
	x = (x | x>>4) & 0x00ff00ff00ff00ff
	x = (x | x>>8) & 0x0000ffff0000ffff
	return uint32(x | x>>16)
}

func packText(dst []byte, name string) []byte {
	var acc, bits uint32
	for i := range len(name) {
		acc |= uint32(chars[name[i]].text) << bits
		if bits += 6; bits >= 8 {
			dst = append(dst, byte(acc))
			acc, bits = acc>>8, bits-8
		}
	}
	if bits > 0 {
		dst = append(dst, byte(acc))
	}
	return dst
}

// Unpack appends the DeviceID that Pack has packed, given its app. It may read packed names from anywhere: one that is too short
// counts as followed by zeros.
func Unpack(dst []byte, app string, form Form, packed []byte) []byte {
	if form == formWhole {
		return append(dst, packed...)
	}
	dst = append(dst, app...)
	dst = append(dst, '.')
	if form == formRaw {
		return append(dst, packed...)
	}
	digit := func(i, bits int) int {
		v := 0
		for k := range 2 {
			if at := i*bits/8 + k; at < len(packed) {
				v |= int(packed[at]) << (8 * k)
			}
		}
		return v >> (i * bits % 8) & (1<<bits - 1)
	}
	switch {
	case form <= formText:
		for i := range int(form) {
			dst = append(dst, hexChars[digit(i, 4)])
		}
	case form < formUUID:
		for i := range int(form - formText) {
			dst = append(dst, textChars[digit(i, 6)])
		}
	default:
		digits := hexChars
		if form == formUUIDUpper {
			digits = upperChars
		}
		for i := range 32 {
			if i == 8 || i == 12 || i == 16 || i == 20 {
				dst = append(dst, '-')
			}
			dst = append(dst, digits[digit(i, 4)])
		}
	}
	return dst
}
