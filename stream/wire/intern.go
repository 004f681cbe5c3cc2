package wire

import "footfall/track"

// defaultInternSlots is the size of the interner that a BatchReader makes for itself: 8,192 names, 128 KiB of slots.
const defaultInternSlots = 1 << 13

// internWays is how many slots a name can be in. With one, a hundred devices in 8,192 slots already collide and
// two of them evict each other for ever; with four that takes five names of one set.
const internWays = 4

// Interner returns the same string for the same device bytes, so that reading a record allocates only
// when a device is met for the first time. It is a set-associative cache: a name that finds its four slots
// taken drives out the oldest and costs one allocation of its length, so memory is bounded whatever is sent. Size it
// at about twice the number of devices that one worker sees in a few minutes. Not safe for concurrent use.
type Interner struct {
	sets [][internWays]track.DeviceID
	mask uint32
}

// NewInterner returns an interner of slots names, rounded up to a power of two; at least 64.
func NewInterner(slots int) *Interner {
	n := 64
	for n < slots && n < 1<<24 {
		n <<= 1
	}
	n /= internWays
	return &Interner{sets: make([][internWays]track.DeviceID, n), mask: uint32(n - 1)}
}

// Device returns id as a DeviceID. id is not retained.
func (in *Interner) Device(id []byte) track.DeviceID {
	h := uint32(fnvOffset32)
	for _, c := range id {
		h = (h ^ uint32(c)) * fnvPrime32
	}
	// The names that one worker sees share their partition and so the low bits of (nearly) this hash: mix.
	set := &in.sets[(h^h>>15)*0x9E3779B1>>8&in.mask]
	for i := range set {
		if string(set[i]) == string(id) {
			return set[i]
		}
	}
	copy(set[1:], set[:internWays-1])
	set[0] = track.DeviceID(id)
	return set[0]
}

// Join returns app + "." + device as a DeviceID. Both must be tokens; neither is retained.
func (in *Interner) Join(app string, device []byte) track.DeviceID {
	var buf [2*MaxToken + 1]byte
	b := append(buf[:0], app...)
	b = append(b, '.')
	return in.Device(append(b, device...))
}
