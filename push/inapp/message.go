package inapp

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"
)

// MaxPayload is the limit of a payload in bytes of JSON: that of the other
// channels, so that a campaign which fits one fits all.
const MaxPayload = 4096

// TypePush is the Type of a Message.
const TypePush = "push"

// Message is the payload: one notification, rendered. Members that are empty
// are left out. Devices ignore members that they do not know.
type Message struct {
	// Type tells a push from what else comes on the subject. Devices do not
	// answer types that they do not know.
	Type string `json:"type"`
	// V is the version of this format, 1.
	V int `json:"v"`
	// MID is the message id. The device shows one mid once, whatever channel
	// brought it, and reports receipts with it.
	MID string `json:"mid"`

	Campaign string `json:"campaign,omitempty"`
	Fence    string `json:"fence,omitempty"`

	// Silent: show nothing; the app does what Data asks for.
	Silent   bool              `json:"silent,omitempty"`
	Title    string            `json:"title,omitempty"`
	Subtitle string            `json:"subtitle,omitempty"`
	Body     string            `json:"body,omitempty"`
	Image    string            `json:"image,omitempty"`
	Link     string            `json:"link,omitempty"`
	Sound    string            `json:"sound"`
	Thread   string            `json:"thread,omitempty"`
	Category string            `json:"category,omitempty"`
	Data     map[string]string `json:"data,omitempty"`

	Alt     string        `json:"alt,omitempty"` // of the image
	Actions []push.Action `json:"actions,omitempty"`
	Badge   *int          `json:"badge,omitempty"`
	// Importance is "passive", "time_sensitive" or "critical"; absent: active.
	Importance push.Importance `json:"importance,omitempty"`

	// Collapse replaces what is shown with the same one.
	Collapse string `json:"collapse"`
	// Expires is when the message loses its worth, Unix milliseconds; the device
	// shows nothing after it. Absent: show at once or not at all.
	Expires int64 `json:"expires,omitempty"`
	// Key is returned with every receipt.
	Key string `json:"k,omitempty"`
}

var (
	errTooLarge = errors.New("payload is over 4096 bytes even without subtitle and data")
	errNothing  = errors.New("neither title nor body")
)

// compose builds the payload of n. One that is over MaxPayload is built once
// more without subtitle and data; what the campaign says stays.
func compose(n *push.Notification) (data []byte, reduced bool, err error) {
	if !n.Silent && n.Title == "" && n.Body == "" {
		return nil, false, errNothing
	}
	m := message(n)
	data, err = exchange.PlainJSON(m)
	if err == nil && len(data) > MaxPayload {
		reduced, m.Subtitle, m.Data = true, "", nil
		data, err = exchange.PlainJSON(m)
	}
	if err == nil && len(data) > MaxPayload {
		return nil, false, errTooLarge
	}
	return data, reduced, err
}

// message is n with all that it says.
func message(n *push.Notification) Message {
	m := Message{
		Type: TypePush, V: 1, MID: n.MID, Campaign: n.Campaign, Fence: n.Fence,
		Silent: n.Silent, Title: n.Title, Subtitle: n.Subtitle, Body: n.Body, Image: n.Image, Link: n.Link,
		Sound: n.Sound, Thread: n.Thread, Category: n.Category, Data: n.Data,
		Alt: n.Alt, Actions: n.Actions, Badge: n.Badge, Importance: n.Importance,
		Collapse: exchange.CollapseID(n), Key: n.ReceiptKey,
	}
	if m.Sound == "" {
		m.Sound = "default"
	}
	if !n.ExpiresAt.IsZero() {
		m.Expires = n.ExpiresAt.UnixMilli()
	}
	return m
}

// Measure returns the size of n, which need not fit.
func Measure(n *push.Notification) (s push.Size, err error) {
	s.Limit = MaxPayload
	m := message(n)
	full, err := exchange.PlainJSON(m)
	if err != nil {
		return s, fmt.Errorf("inapp: %w", err)
	}
	m.Subtitle, m.Data = "", nil
	less, err := exchange.PlainJSON(m)
	s.Full, s.Less = len(full), len(less)
	return s, err
}

// Preview returns what would be sent of n, and whether subtitle and data had to
// be left out to keep the limit. It is what a campaign is checked with before it
// is saved.
func Preview(n *push.Notification) (payload []byte, reduced bool, err error) {
	if payload, reduced, err = compose(n); err != nil {
		return nil, false, fmt.Errorf("inapp: %w", err)
	}
	return payload, reduced, nil
}

// Parse reads a payload, for devices written in Go. It reports whether it is a
// push; other types on the subject are for other code.
func Parse(data []byte) (m *Message, ok bool) {
	m = new(Message)
	if json.Unmarshal(data, m) != nil || m.Type != TypePush || m.V < 1 || m.MID == "" {
		return nil, false
	}
	return m, true
}

// Expired reports whether m has lost its worth at now. The zero Expires is
// "at once": only the receiver knows what that is.
func (m *Message) Expired(now time.Time) bool {
	return m.Expires != 0 && now.UnixMilli() >= m.Expires
}
