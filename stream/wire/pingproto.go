package wire

import (
	"encoding/binary"
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
		if n := d.protoUsual(b); n > 0 {
			b = b[n:]
			continue
		}
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

// The tags of a usual ping.
const (
	tagPings = protoPings<<3 | byte(protowire.BytesType)
	tagT     = protoT<<3 | byte(protowire.VarintType)
	tagLat   = protoLat<<3 | byte(protowire.Fixed64Type)
	tagLon   = protoLon<<3 | byte(protowire.Fixed64Type)
	tagAcc   = protoAcc<<3 | byte(protowire.Fixed32Type)
	tagSpd   = protoSpd<<3 | byte(protowire.Fixed32Type)
	tagCrs   = protoCrs<<3 | byte(protowire.Fixed32Type)
	tagAlt   = protoAlt<<3 | byte(protowire.Fixed32Type)
	tagSrc   = protoSrc<<3 | byte(protowire.VarintType)
)

const (
	// protoHead is how long tag and length of a usual ping are, and its t, lat, lon and acc.
	protoHead = 2 + 7 + 9 + 9 + 5
	// A varint of six bytes, which Unix milliseconds from 1971 to 2109 take, and the tag after it.
	protoTimeMask = 0x00ff_8080_8080_8080
	protoTimeIs   = uint64(tagLat)<<48 | 0x80_8080_8080
)

// protoUsual takes the ping at the beginning of b when it is good and as encoders write it: the fields in ascending order, t, lat, lon
// and acc, and perhaps spd, crs, alt and a src that is no os_*. It returns the length of the ping, and 0 for any other: that says
// nothing about it. The plain twin is the rest of proto; it takes four times the instructions.
func (d *decoder) protoUsual(b []byte) int {
	if len(b) < protoHead || d.mode == modeFeed || d.n == MaxPings {
		return 0
	}
	h := (*[protoHead]byte)(b)
	end := 2 + int(h[1])
	times := binary.LittleEndian.Uint64(h[3:])
	if h[0] != tagPings || h[1] > 127 || end < protoHead || end > len(b) || // one byte of length
		h[2] != tagT || times&protoTimeMask != protoTimeIs || h[18] != tagLon || h[27] != tagAcc {
		return 0
	}
	t := times&0x7f | times>>1&(0x7f<<7) | times>>2&(0x7f<<14) | times>>3&(0x7f<<21) | times>>4&(0x7f<<28) | times>>5&(0x7f<<35)
	lat := math.Float64frombits(binary.LittleEndian.Uint64(h[10:]))
	lon := math.Float64frombits(binary.LittleEndian.Uint64(h[19:]))
	acc := math.Float32frombits(binary.LittleEndian.Uint32(h[28:]))
	spd, src := float32(-1), track.SourceStream
	rest := b[protoHead:end]
	if len(rest) >= 5 && rest[0] == tagSpd {
		spd = math.Float32frombits(binary.LittleEndian.Uint32(rest[1:]))
		rest = rest[5:]
	}
	for _, tag := range [...]byte{tagCrs, tagAlt} {
		if len(rest) >= 5 && rest[0] == tag {
			if notFinite(float64(math.Float32frombits(binary.LittleEndian.Uint32(rest[1:])))) {
				return 0
			}
			rest = rest[5:]
		}
	}
	if len(rest) == 2 && rest[0] == tagSrc && rest[1] <= byte(track.SourceSignificant) {
		src, rest = track.Source(rest[1]), nil
	}
	// What judge asks, but that NaN fails here too.
	if len(rest) > 0 || t < minTimeMS || !(math.Abs(lat) <= 90 && math.Abs(lon) <= 180) ||
		!(acc >= 0 && float64(acc) <= maxAccuracyM) || !(spd >= -maxSpeedMPS && spd <= maxSpeedMPS) {
		return 0
	}
	if spd < 0 {
		spd = -1
	}
	d.n++
	d.fixes = append(d.fixes, track.Fix{
		FixedAt: int64(t), ReceivedAt: d.received, HasPosition: true, Lat: lat, Lng: lon, AccuracyM: acc, SpeedMPS: spd, Source: src,
	})
	return end
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
