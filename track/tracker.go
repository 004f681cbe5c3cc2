package track

import "footfall/fences"

// Tracker holds the state of the devices of one partition.
type Tracker struct{ rules Rules }

// New returns an empty tracker.
func New(r Rules) *Tracker { return &Tracker{rules: r} }

// Apply takes one fix.
func (t *Tracker) Apply(set *fences.Set, id DeviceID, f Fix, pos uint64, res *Result) { res.reset() }

// Encode appends the presence row of a device.
func (t *Tracker) Encode(dst []byte, id DeviceID) ([]byte, bool) { return dst, false }

// Restore sets the state of a device from a row.
func (t *Tracker) Restore(id DeviceID, row []byte) error { return nil }

// Dirty appends the devices that changed since MarkClean.
func (t *Tracker) Dirty(dst []DeviceID) []DeviceID { return dst }

// MarkClean says that the device's row is stored.
func (t *Tracker) MarkClean(id DeviceID) {}

// Forget erases a device.
func (t *Tracker) Forget(id DeviceID) {}

// Len returns the number of devices.
func (t *Tracker) Len() int { return 0 }

// Presence returns what is known about a device.
func (t *Tracker) Presence(id DeviceID) (Presence, bool) { return Presence{}, false }

// Presence is what a tracker knows about one device.
type Presence struct {
	LastFixedAt int64 // Unix ms of the last accepted input, 0 when none
	LastPos     uint64
	// Position of the last accepted fix that had one.
	HasPosition bool
	PositionAt  int64
	Lat, Lng    float64
	AccuracyM   float32
	Inside      []InsideFence
	Pending     []PendingFence
	Quarantined *Fix // the fix not yet believed, nil when none
}

// InsideFence is a fence the device is in.
type InsideFence struct {
	FenceID fences.ID
	Since   int64 // Unix ms
	Dwelled bool
	Unknown bool // silent for PresenceTTL and not confirmed since
}

// PendingFence is a fence whose min stay is running.
type PendingFence struct {
	FenceID fences.ID
	Since   int64 // Unix ms
}
