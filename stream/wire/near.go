package wire

import (
	"encoding/json"
	"math"
)

// NearAll is where devices ask which fences are near, each on near.<app>.<device>. It is a question: nothing of it is stored.
const NearAll = "near.*.*"

// How many fences an answer lists: as many as iOS watches for an app unless the device says otherwise, and at most as many
// as Android does.
const (
	DefaultNear = 20
	MaxNear     = 100
)

// NearRequest is the question. A position is in degrees.
type NearRequest struct {
	Lat, Lon float64
	N        int
}

var (
	errNearSize     = &PayloadError{CodeTooLarge, "over 1024 bytes"}
	errNearJSON     = &PayloadError{CodeMalformed, "not a JSON object such as {\"lat\":50.4501,\"lon\":30.5234,\"n\":20}"}
	errNearPosition = &PayloadError{CodeMissingPosition, "lat or lon is missing"}
	errNearRange    = &PayloadError{CodeOutOfRange, "lat must be -90 to 90 and lon -180 to 180"}
	errNearN        = &PayloadError{CodeOutOfRange, "n must be 1 to 100"}
)

// DecodeNear reads a question. Unknown members are ignored. The error is a *PayloadError.
func DecodeNear(payload []byte) (NearRequest, error) {
	if len(payload) > 1024 {
		return NearRequest{}, errNearSize
	}
	var q struct {
		Lat, Lon *float64
		N        *int
	}
	switch err := json.Unmarshal(payload, &q); {
	case err != nil:
		return NearRequest{}, errNearJSON
	case q.Lat == nil || q.Lon == nil:
		return NearRequest{}, errNearPosition
	case math.Abs(*q.Lat) > 90 || math.Abs(*q.Lon) > 180:
		return NearRequest{}, errNearRange
	case q.N == nil:
		return NearRequest{*q.Lat, *q.Lon, DefaultNear}, nil
	case *q.N < 1 || *q.N > MaxNear:
		return NearRequest{}, errNearN
	}
	return NearRequest{*q.Lat, *q.Lon, *q.N}, nil
}

// NearReply is the answer: the fences, the nearest first.
type NearReply struct {
	OK     bool        `json:"ok"`
	Fences []NearFence `json:"fences"`
	// OthersM: no fence that is not listed is nearer, in metres, and whoever goes less far comes into none of them. Absent: all
	// are listed.
	OthersM *float64 `json:"others_m,omitempty"`
	// Revision of the fences: another one means that they have been edited.
	Revision string `json:"revision"`
}

// NearFence is a fence as a phone's own system watches it: a circle.
type NearFence struct {
	ID      string  `json:"id"`
	Name    string  `json:"name,omitempty"`
	Lat     float64 `json:"lat"`
	Lon     float64 `json:"lon"`
	RadiusM float64 `json:"radius_m"`
	// DistanceM is how far the circle is, negative inside.
	DistanceM float64 `json:"distance_m"`
	// Around: the circle is drawn around a polygon; to be in it is not yet to be in the fence.
	Around bool `json:"around,omitempty"`
}
