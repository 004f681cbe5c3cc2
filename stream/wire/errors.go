package wire

import "strconv"

// Code names why a payload, or one record in it, was refused. The set is closed and is part of the
// protocol: SDKs branch on it and metrics use it as a label. Codes never change meaning; new ones may come.
type Code string

// The codes of refusals. Those marked (payload) concern a whole message: nothing of it was taken.
// The others concern one record: the rest of the array was taken. An event, device or receipt payload is one
// object and is refused whole with either.
const (
	CodeTooLarge         Code = "too_large"         // (payload) over the size limit of its kind
	CodeTooMany          Code = "too_many"          // (payload) more than MaxPings records
	CodeTooDeep          Code = "too_deep"          // (payload) JSON nested deeper than MaxDepth
	CodeEmpty            Code = "empty"             // (payload) no bytes, or an array of nothing
	CodeMalformed        Code = "malformed"         // (payload) neither valid JSON nor a valid protobuf message
	CodeBadSubject       Code = "bad_subject"       // (payload) the subject is not one of the protocol
	CodeBadType          Code = "bad_type"          // a field, or the record itself, has the wrong JSON type (null included)
	CodeDuplicateField   Code = "duplicate_field"   // a known field occurs twice: parsers disagree about which one counts
	CodeMissingPosition  Code = "missing_position"  // lat or lon absent
	CodeMissingTime      Code = "missing_time"      // neither t nor age_ms
	CodeMissingFence     Code = "missing_fence"     // an os_* ping with neither fence nor position says nothing
	CodeMissingField     Code = "missing_field"     // a required field of an event or a receipt is absent
	CodeOutOfRange       Code = "out_of_range"      // not finite, or outside the field's range
	CodeNegativeAccuracy Code = "negative_accuracy" // platforms mark an invalid fix this way
	CodeTimeUnit         Code = "time_unit"         // t is not in milliseconds; the reason says what it looks like
	CodeBadSource        Code = "bad_source"        // src is not one of the known names
	CodeBadFence         Code = "bad_fence"         // fence is empty, too long, or not UTF-8
	CodeBadDevice        Code = "bad_device"        // feed only: device absent or not a token
	CodeBadValue         Code = "bad_value"         // a text field holds a value outside its set
	CodeBadKey           Code = "bad_key"           // a receipt whose k is not the one of the message: forged, or mixed up
	CodeInternal         Code = "internal"          // (payload) a fault of the gateway; sending it again does not help
	CodeNoPositions      Code = "no_positions"      // privacy.positions is none, and the ping is no transition of a phone's own
	CodeNoConsent        Code = "no_consent"        // the person has withdrawn the consent to the device's positions
	CodeIgnored          Code = "ignored"           // OwnTracks only: a message type that carries no position; not an error
)

// PingError says why one record of a payload was refused. The other records of the payload stand.
type PingError struct {
	Index  int    // position in the array, from 0; 0 for a single object
	Code   Code   // for programs
	Reason string // for people; constant text, never an echo of the sender's data
}

// Error implements error.
func (e *PingError) Error() string {
	return "wire: record " + strconv.Itoa(e.Index) + ": " + string(e.Code) + ": " + e.Reason
}

// IndexOf returns the position in the payload, from 0, of the i-th record that a decoder accepted, given the
// refusals of the same call: for naming in a reply a record that a later check refuses. It looks
// through refused, which must be as the decoder returned it.
func IndexOf(refused []PingError, i int) int {
	for k := range refused {
		if refused[k].Index > i {
			break
		}
		i++
	}
	return i
}

// PayloadError says why a whole payload was refused: nothing of it was taken. Values are shared and
// must not be modified.
type PayloadError struct {
	Code   Code
	Reason string
}

// Error implements error.
func (e *PayloadError) Error() string { return "wire: " + string(e.Code) + ": " + e.Reason }

// Payload errors are values, not built per message: a flood of garbage must not become garbage of ours.
var (
	errTooLarge   = &PayloadError{CodeTooLarge, "over 262144 bytes"}
	errTooLarge16 = &PayloadError{CodeTooLarge, "over 16384 bytes"}
	errTooMany    = &PayloadError{CodeTooMany, "over 1000 records in one payload; send several"}
	errTooDeep    = &PayloadError{CodeTooDeep, "JSON nested deeper than 32"}
	errEmpty      = &PayloadError{CodeEmpty, "no record in the payload"}
	errJSON       = &PayloadError{CodeMalformed, "not valid JSON"}
	errBOM        = &PayloadError{CodeMalformed, "JSON must not start with a byte order mark"}
	errProto      = &PayloadError{CodeMalformed, "neither a JSON object or array nor a footfall.v1.PingBatch"}
	errNotObject  = &PayloadError{CodeBadType, "payload is not a JSON object"}
	errBadSubject = &PayloadError{CodeBadSubject, "not a subject of the protocol, or app or device is not 1 to 64 of A-Z a-z 0-9 _ -"}
	errInternal   = &PayloadError{CodeInternal, "the gateway could not handle this message; its log says why"}
)
