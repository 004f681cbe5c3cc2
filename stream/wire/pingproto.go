package wire

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"footfall/track"
)

// Field numbers of docs/protocol/footfall.proto. In PingBatch 1, 4, 11 and 15 stay unused: with some wire type
// their tags are the bytes by which a payload is known to be JSON.
const (
	protoPings = 2 // PingBatch.pings

	protoT      = 1 // Ping
	protoLat    = 2
	protoLon    = 3
	protoAcc    = 4
	protoSpd    = 5
	protoCrs    = 6
	protoAlt    = 7
	protoSrc    = 8
	protoMock   = 9
	protoAge    = 10
	protoFence  = 11
	protoDevice = 12
)

// proto decodes a footfall.v1.PingBatch. As protobuf has it, unknown fields and known fields with
// another wire type are skipped and the last of several values of a field counts.
func (d *decoder) proto(b []byte) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num > protowire.MaxValidNumber {
			return errProto
		}
		b = b[n:]
		if num != protoPings || typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return errProto
			}
			b = b[n:]
			continue
		}
		msg, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errProto
		}
		b = b[n:]
		if d.n == MaxPings {
			return errTooMany
		}
		var f fields
		if !f.proto(msg) {
			return errProto
		}
		d.take(&f)
	}
	return nil
}

// proto reads one Ping; false when the message is malformed.
func (f *fields) proto(b []byte) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num > protowire.MaxValidNumber {
			return false
		}
		b = b[n:]
		switch typ {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return false
			}
			b = b[n:]
			f.protoVarint(num, v)
		case protowire.Fixed64Type:
			v, n := protowire.ConsumeFixed64(b)
			if n < 0 {
				return false
			}
			b = b[n:]
			switch num {
			case protoLat:
				f.lat = math.Float64frombits(v)
				f.seen |= fLat
			case protoLon:
				f.lon = math.Float64frombits(v)
				f.seen |= fLon
			}
		case protowire.Fixed32Type:
			v, n := protowire.ConsumeFixed32(b)
			if n < 0 {
				return false
			}
			b = b[n:]
			x := float64(math.Float32frombits(v))
			switch num {
			case protoAcc:
				f.acc = x
				f.seen |= fAcc
			case protoSpd:
				f.spd = x
				f.seen |= fSpd
			case protoCrs:
				f.crs = x
				f.seen |= fCrs
			case protoAlt:
				f.alt = x
				f.seen |= fAlt
			}
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return false
			}
			b = b[n:]
			switch num {
			case protoFence:
				f.fence = v
				f.seen |= fFence
			case protoDevice:
				f.device = v
				f.seen |= fDevice
			}
		default:
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return false
			}
			b = b[n:]
		}
	}
	// proto3 text without presence: an empty fence is an absent one.
	if len(f.fence) == 0 {
		f.seen &^= fFence
	}
	return true
}

func (f *fields) protoVarint(num protowire.Number, v uint64) {
	switch num {
	case protoT:
		f.t = float64(int64(v))
		f.seen |= fT
	case protoAge:
		f.age = float64(int64(v))
		f.seen |= fAge
	case protoMock:
		f.mock = v != 0
	case protoSrc:
		// An enum is an int32: the low 32 bits of the varint count. The last value counts, so a bad one
		// is only noted and may be overwritten.
		f.seen |= fSrc
		f.src = track.Source(255)
		if e := int32(v); e >= 0 && e <= int32(track.SourceOSDwell) {
			f.src = track.Source(e)
		}
	}
}
