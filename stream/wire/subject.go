package wire

import (
	"errors"
	"strings"

	"footfall/track"
)

// Subjects to subscribe to, and the name of the output stream. "…All" match every app and device.
const (
	PingAll            = "ping.*.*"
	EventAll           = "event.*.*"
	DeviceAll          = "device.*.*"
	ReceiptAll         = "receipt.*.*"
	DownAll            = "down.*.*"
	FeedAll            = "feed.*"
	OwnTracksAll       = "owntracks.*.*"
	OwnTracksEventsAll = "owntracks.*.*.event" // OwnTracks sends transitions here
	LogAll             = "log.*"
	EventsStream       = "EVENTS"
	EventsAll          = "ev.>"
)

// MaxPartitions bounds the numbers in log subjects: they have two digits.
const MaxPartitions = 100

// ErrSubject is returned for a subject that is not one of the protocol.
var ErrSubject = errors.New("wire: not a Footfall subject")

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

var classNames = [...]string{ClassPing: "ping", ClassEvent: "event", ClassDevice: "device",
	ClassReceipt: "receipt", ClassDown: "down", ClassFeed: "feed", ClassOwnTracks: "owntracks"}

// String is the first token of the class's subjects.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return ""
}

// Subject is a parsed device-side subject. App and Device share the memory of the parsed string.
// For ClassFeed Device is empty; for ClassOwnTracks App is the OwnTracks user (see OwnTracksDevice).
type Subject struct {
	Class  Class
	App    string
	Device string
}

// ParseSubject takes a device-side subject apart without allocating. ErrSubject: unknown first
// token or wrong number of tokens; ErrToken: an app, device or user that is no token. OwnTracks' ".event" (transitions)
// parses like the position subject; its other subtopics (waypoints, cmd, dump, …) are ErrSubject.
func ParseSubject(s string) (Subject, error) {
	first, rest, ok := strings.Cut(s, ".")
	if !ok {
		return Subject{}, ErrSubject
	}
	var c Class
	switch first {
	case "ping":
		c = ClassPing
	case "event":
		c = ClassEvent
	case "device":
		c = ClassDevice
	case "receipt":
		c = ClassReceipt
	case "down":
		c = ClassDown
	case "feed":
		if strings.IndexByte(rest, '.') >= 0 {
			return Subject{}, ErrSubject
		}
		if !ValidToken(rest) {
			return Subject{}, ErrToken
		}
		return Subject{Class: ClassFeed, App: rest}, nil
	case "owntracks":
		c = ClassOwnTracks
		rest = strings.TrimSuffix(rest, ".event")
	default:
		return Subject{}, ErrSubject
	}
	app, device, ok := strings.Cut(rest, ".")
	if !ok || strings.IndexByte(device, '.') >= 0 {
		return Subject{}, ErrSubject
	}
	if !ValidToken(app) || !ValidToken(device) {
		return Subject{}, ErrToken
	}
	return Subject{Class: c, App: app, Device: device}, nil
}

// DeviceSubject builds the subject of a device: DeviceSubject(ClassPing, "shop.d1") is "ping.shop.d1".
// It returns "" for ClassFeed and ClassOwnTracks, which are not subjects of one of our devices. id must be valid.
func DeviceSubject(c Class, id track.DeviceID) string {
	if c < ClassPing || c > ClassDown {
		return ""
	}
	return classNames[c] + "." + string(id)
}

// FeedSubject is feed.<app>.
func FeedSubject(app string) string { return "feed." + app }

// LogStream is the name of the stream of partition n, LOG_00 to LOG_99. It panics outside 0..MaxPartitions-1.
func LogStream(n int) string { return "LOG_" + twoDigits(n) }

// LogSubject is the one subject of that stream, log.00 to log.99. It panics outside 0..MaxPartitions-1.
func LogSubject(n int) string { return "log." + twoDigits(n) }

func twoDigits(n int) string {
	if n < 0 || n >= MaxPartitions {
		panic("wire: partition out of range")
	}
	return string([]byte{byte('0' + n/10), byte('0' + n%10)})
}

// ParseLogSubject is the inverse of LogSubject; anything else is ErrSubject. It does not allocate.
func ParseLogSubject(s string) (n int, err error) {
	d, ok := strings.CutPrefix(s, "log.")
	if !ok || len(d) != 2 || d[0] < '0' || d[0] > '9' || d[1] < '0' || d[1] > '9' {
		return 0, ErrSubject
	}
	return int(d[0]-'0')*10 + int(d[1]-'0'), nil
}

// TransitionSubject is where a transition is published: ev.<app>.<kind>.<fence>, the fence id
// through EncodeID. kind is enter, exit, dwell or crossed.
func TransitionSubject(app, kind, fence string) string {
	return "ev." + app + "." + kind + "." + EncodeID(fence)
}

// PushSubject is where the outcome of a push is published: ev.<app>.push.<campaign>.<outcome>, the
// campaign id through EncodeID.
func PushSubject(app, campaign, outcome string) string {
	return "ev." + app + ".push." + EncodeID(campaign) + "." + outcome
}

// JourneySubject is where what a step of a journey emits is published.
func JourneySubject(app, journey, name string) string {
	return "ev." + app + ".journey." + EncodeID(journey) + "." + name
}

// Event is a parsed subject of the EVENTS stream. Fields share the memory of the parsed string.
type Event struct {
	App     string
	Kind    string // enter, exit, dwell, crossed or push
	ID      string // fence (push: campaign), still encoded: see DecodeID
	Outcome string // of a push; else ""
}

// ParseEvent takes a subject of the EVENTS stream apart without allocating. It accepts any Kind that is
// a token, so that a reader of an older version passes new kinds by; anything else is ErrSubject.
func ParseEvent(s string) (Event, error) {
	s, ok := strings.CutPrefix(s, "ev.")
	if !ok {
		return Event{}, ErrSubject
	}
	var e Event
	e.App, s, _ = strings.Cut(s, ".")
	e.Kind, s, _ = strings.Cut(s, ".")
	if e.Kind == "push" {
		e.ID, e.Outcome, _ = strings.Cut(s, ".")
		if !ValidToken(e.Outcome) {
			return Event{}, ErrSubject
		}
	} else {
		e.ID = s
	}
	if !ValidToken(e.App) || !ValidToken(e.Kind) || !encodedToken(e.ID) {
		return Event{}, ErrSubject
	}
	return e, nil
}

// encodedToken reports whether s has only the bytes that EncodeID writes.
func encodedToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !tokenByte[s[i]] && s[i] != '=' {
			return false
		}
	}
	return s != ""
}
