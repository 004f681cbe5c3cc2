package wire

import "footfall/track"

// Limits of protocol version 1.
const (
	MaxPings       = 1000      // records in one ping or feed payload
	MaxPingPayload = 256 << 10 // bytes of a ping, feed or OwnTracks payload
	MaxPayload     = 16 << 10  // bytes of an event, device or receipt payload
	MaxDepth       = 32        // nesting of JSON
	MaxFence       = 256       // bytes of a fence id
)

// DecodePings appends the fixes of a ping.<app>.<device> payload to dst.
func DecodePings(dst []track.Fix, payload []byte, receivedMS int64) ([]track.Fix, []PingError, error) {
	return dst, nil, nil
}

// DecodeFeed appends one record per ping of a feed.<app> payload to dst.
func DecodeFeed(dst []Record, names *Interner, app string, payload []byte, receivedMS int64) ([]Record, []PingError, error) {
	return dst, nil, nil
}

// DecodeOwnTracks appends the fixes of an OwnTracks message (or an array of them) to dst. Message types
// without a position come back as a PingError with CodeIgnored.
func DecodeOwnTracks(dst []track.Fix, payload []byte, receivedMS int64) ([]track.Fix, []PingError, error) {
	return dst, nil, nil
}

// CheckPayload checks the envelope of an event, device or receipt payload.
func CheckPayload(k Kind, payload []byte) error { return nil }
