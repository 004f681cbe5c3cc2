package wire

import "footfall/track"

// defaultInternSlots is the size of the interner that a BatchReader makes for itself: 8,192 names, 128 KiB of slots.
const defaultInternSlots = 1 << 13

// Interner returns the same string for the same device bytes, so that reading a record allocates only
// when a device is met for the first time. It is a direct-mapped cache: a name whose slot is taken by another
// replaces it and costs one allocation of its length, so memory is bounded whatever is sent. Size it
// near the number of devices that one worker sees in a few minutes. Not safe for concurrent use.
type Interner struct {
	slots []track.DeviceID
	mask  uint32
}

// NewInterner returns an interner of slots names, rounded up to a power of two; at least 64.
func NewInterner(slots int) *Interner {
	n := 64
	for n < slots && n < 1<<24 {
		n <<= 1
	}
	return &Interner{slots: make([]track.DeviceID, n), mask: uint32(n - 1)}
}

// Device returns id as a DeviceID. id is not retained.
func (in *Interner) Device(id []byte) track.DeviceID {
	h := uint32(fnvOffset32)
	for _, c := range id {
		h = (h ^ uint32(c)) * fnvPrime32
	}
	// The low bits of FNV-1a are its weakest, and all names of one partition agree in some of them.
	slot := &in.slots[(h^h>>15)*0x9E3779B1>>8&in.mask]
	if string(*slot) != string(id) {
		*slot = track.DeviceID(id)
	}
	return *slot
}

// Join returns app + "." + device as a DeviceID. Both must be tokens; neither is retained.
func (in *Interner) Join(app string, device []byte) track.DeviceID {
	var buf [2*MaxToken + 1]byte
	b := append(buf[:0], app...)
	b = append(b, '.')
	return in.Device(append(b, device...))
}
