package track

import "footfall/fences"

// Presence is what a Tracker knows about one device, for people and tools.
// Times are Unix milliseconds of event time. Positions are rounded to 1e-7
// degrees.
type Presence struct {
	LastFixedAt int64  // of the last accepted input, with or without a position
	LastPos     uint64 // log position of the last input of any verdict
	Seen        bool   // an input was accepted; LastFixedAt means something
	Withdrawn   bool   // positions are not to be used, and nothing else is known: see Tracker.Withdraw

	// The last accepted position.
	HasPosition bool
	PositionAt  int64
	Lat, Lng    float64
	AccuracyM   float32 // metres, 0 = unknown

	// The fences the device is at, each list ordered by fence id.
	Inside  []InsideFence
	Pending []PendingFence

	Quarantined *QuarantinedFix // nil when no fix is in doubt
}

// InsideFence is a fence that the device is in.
type InsideFence struct {
	FenceID fences.ID
	Since   int64 // of the first fix inside
	Dwelled bool  // the dwell transition of this visit has been made
	Unknown bool  // silent for PresenceTTL and not seen inside since
	// AwaySince is the first fix clearly outside, while the min away is running; else 0.
	AwaySince int64 `json:",omitempty"`
}

// PendingFence is a fence in which the min stay is running, or whose every fix
// so far was too vague to enter.
type PendingFence struct {
	FenceID fences.ID
	Since   int64 // of the first fix inside
	Vague   bool  // waiting for a better accuracy rather than for the min stay
	// Reason is of the enter to come.
	Reason Reason `json:",omitempty"`
}

// QuarantinedFix is a position that implied an implausible speed and waits for
// a fix that agrees.
type QuarantinedFix struct {
	FixedAt   int64
	Lat, Lng  float64
	AccuracyM float32
}

// Presence returns what is known about a device. It copies; false means that
// the device is not known.
func (t *Tracker) Presence(id DeviceID) (Presence, bool) {
	i, ok := t.table.findID(id)
	if !ok {
		return Presence{}, false
	}
	d := &t.asked
	t.table.load(i, d)
	p := Presence{LastPos: d.pos, Seen: d.seen, Withdrawn: d.withdrawn}
	if p.Seen {
		p.LastFixedAt = d.lastAt
	}
	if d.posLag != noPosition {
		at := d.place.point()
		p.HasPosition, p.PositionAt = true, d.lastAt-int64(d.posLag)
		p.Lat, p.Lng, p.AccuracyM = at.Lat, at.Lng, d.place.acc
	}
	for _, v := range d.visits {
		id := t.names.ids[v.fence]
		switch v.state {
		case stateInside, stateUnknown:
			in := InsideFence{FenceID: id, Since: v.since, Dwelled: v.flags&visitDwelled != 0, Unknown: v.state == stateUnknown}
			if v.flags&visitAway != 0 {
				in.AwaySince = v.seenAt
			}
			p.Inside = append(p.Inside, in)
		default:
			p.Pending = append(p.Pending, PendingFence{FenceID: id, Since: v.since, Vague: v.state == stateNear, Reason: v.reason})
		}
	}
	if d.hasQ {
		at := d.q.point()
		p.Quarantined = &QuarantinedFix{FixedAt: d.q.at, Lat: at.Lat, Lng: at.Lng, AccuracyM: d.q.acc}
	}
	return p, true
}
