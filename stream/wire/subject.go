package wire

import (
	"errors"

	"footfall/track"
)

// MaxToken is the longest app or device token, in bytes.
const MaxToken = 64

// Subjects to subscribe to. PingAll and its like match every app and device.
const (
	PingAll            = "ping.*.*"
	EventAll           = "event.*.*"
	DeviceAll          = "device.*.*"
	ReceiptAll         = "receipt.*.*"
	DownAll            = "down.*.*"
	FeedAll            = "feed.*"
	OwnTracksAll       = "owntracks.*.*"
	OwnTracksEventsAll = "owntracks.*.*.event" // transitions come here
	LogAll             = "log.*"
	EventsStream       = "EVENTS"
	EventsAll          = "ev.>"
)

// ErrSubject is returned for a subject that is not one of the protocol.
var ErrSubject = errors.New("wire: not a Footfall subject")

// ErrToken is returned for an app, device or user that is not [A-Za-z0-9_-]{1,64}.
var ErrToken = errors.New("wire: an app and a device are 1 to 64 of A-Z a-z 0-9 _ -")

// Class is what a subject carries: its first token.
type Class uint8

// The classes of device-side subjects. The zero value is none of them.
const (
	ClassPing Class = iota + 1
	ClassEvent
	ClassDevice
	ClassReceipt
	ClassDown
	ClassFeed
	ClassOwnTracks
)

// Subject is a parsed device-side subject. App and Device share the memory of the parsed string.
// For ClassFeed Device is empty; for ClassOwnTracks App is the OwnTracks user (see OwnTracksDevice).
type Subject struct {
	Class  Class
	App    string
	Device string
}

// ParseSubject takes a device-side subject apart without allocating. It returns ErrSubject or ErrToken.
func ParseSubject(s string) (Subject, error) { return Subject{}, ErrSubject }

// DeviceSubject builds the subject of a device: DeviceSubject(ClassPing, "shop.d1") is "ping.shop.d1".
// It returns "" for ClassFeed and ClassOwnTracks, which are not subjects of a device.
func DeviceSubject(c Class, id track.DeviceID) string { return "" }

// FeedSubject is feed.<app>.
func FeedSubject(app string) string { return "feed." + app }

// LogStream is the name of partition n's stream, LOG_00 to LOG_99.
func LogStream(n int) string { return "" }

// LogSubject is the subject that partition n's stream stores, log.00 to log.99.
func LogSubject(n int) string { return "" }

// ParseLogSubject is the inverse of LogSubject.
func ParseLogSubject(s string) (n int, err error) { return 0, ErrSubject }

// TransitionSubject is where a transition is published: ev.<app>.<kind>.<fence>, the fence id
// through EncodeID. kind is enter, exit, dwell or crossed.
func TransitionSubject(app, kind, fence string) string { return "" }

// PushSubject is where the outcome of a push is published: ev.<app>.push.<campaign>.<outcome>, the
// campaign id through EncodeID.
func PushSubject(app, campaign, outcome string) string { return "" }

// Event is a parsed subject of the EVENTS stream. Fields share the memory of the parsed string.
type Event struct {
	App  string
	Kind string // enter, exit, dwell, crossed, push
	ID   string // fence or campaign, still encoded: see DecodeID
	Tail string // outcome of a push, else ""
}

// ParseEvent takes a subject of the EVENTS stream apart without allocating.
func ParseEvent(s string) (Event, error) { return Event{}, ErrSubject }

// ValidToken reports whether s is an app or device token: [A-Za-z0-9_-]{1,64}.
func ValidToken(s string) bool { return false }

// EncodeID makes a subject token of any fence or campaign id, reversibly: bytes outside
// [A-Za-z0-9_-] become =XX (upper-case hex), the empty id becomes "=". A legal token is its own encoding.
func EncodeID(id string) string { return id }

// DecodeID is the inverse of EncodeID. It allocates only when something was encoded.
func DecodeID(token string) (string, error) { return token, nil }

// JoinDevice makes a device id of two tokens, or returns ErrToken.
func JoinDevice(app, device string) (track.DeviceID, error) { return "", ErrToken }

// SplitDevice takes a device id apart without allocating.
func SplitDevice(id track.DeviceID) (app, device string, ok bool) { return "", "", false }

// OwnTracksDevice is the device id of an OwnTracks user's device in app. It is reversible, so two
// OwnTracks users never share a device: every "_" of the user is doubled, then "_-", then the device.
func OwnTracksDevice(app, user, device string) (track.DeviceID, error) { return "", ErrToken }

// Partition is FNV-1a 32 of app then device, without separator, modulo n.
func Partition(id track.DeviceID, n int) int { return 0 }
