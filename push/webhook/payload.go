package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"
)

// TypePush is the Type of an Event that asks to send a push.
const TypePush = "push.send"

// MaxPush is the limit of the push object in bytes of JSON. It is that of
// Apple and Google, so that a bridge is not given what it cannot pass on.
const MaxPush = 4096

// Event is the body of a request.
type Event struct {
	// ID is the message id, as in the header webhook-id. A re-send has the same
	// one: a receiver that remembers ids for a day shows nothing twice.
	ID string `json:"id"`
	// Type is TypePush. Receivers answer 2xx to types that they do not know.
	Type string `json:"type"`
	// CreatedAt is when this request was made. A re-send has a later one.
	CreatedAt time.Time `json:"created_at"`
	Push      Push      `json:"push"`
}

// Push is one notification to one device, already rendered. Members that are
// empty are left out.
type Push struct {
	// App and Device are the names under which the device talks to the gateway.
	App    string `json:"app,omitempty"`
	Device string `json:"device,omitempty"`
	// Platform is "ios", "android", "web" or "hms".
	Platform string `json:"platform,omitempty"`
	// Env is "prod" or "sandbox" (Apple), absent for the former.
	Env string `json:"env,omitempty"`
	// Token is the device's push token, only if the gateway is told to give it.
	Token string `json:"token,omitempty"`

	Campaign string `json:"campaign,omitempty"`
	Fence    string `json:"fence,omitempty"`

	// Silent: show nothing, wake the app. Title and body may be absent then.
	Silent   bool   `json:"silent,omitempty"`
	Title    string `json:"title,omitempty"`
	Subtitle string `json:"subtitle,omitempty"`
	Body     string `json:"body,omitempty"`
	// Image is an https URL; Link a deep link or an https URL.
	Image string `json:"image,omitempty"`
	Link  string `json:"link,omitempty"`
	// Sound is a file in the app; "default" is the system's, "none" is no sound.
	Sound    string            `json:"sound"`
	Thread   string            `json:"thread,omitempty"`
	Category string            `json:"category,omitempty"`
	Data     map[string]string `json:"data,omitempty"`
	// Alt describes the image. Actions are the buttons, Badge the number on the
	// icon, Importance "passive", "time_sensitive" or "critical" (absent: active),
	// Relevance 0 to 1. Style ("display" or "data"), Channel, Color, Icon and
	// Visibility are for Android, Sticky for browsers.
	Alt     string        `json:"alt,omitempty"`
	Actions []push.Action `json:"actions,omitempty"`
	Badge   *int          `json:"badge,omitempty"`
	// Counted: Badge is the number of this device's unread pushes, to be left out
	// for phones that count by themselves (Android).
	Counted    bool            `json:"badge_counted,omitempty"`
	Importance push.Importance `json:"importance,omitempty"`
	Relevance  float64         `json:"relevance,omitempty"`
	Style      string          `json:"style,omitempty"`
	Channel    string          `json:"channel,omitempty"`
	Color      string          `json:"color,omitempty"`
	Icon       string          `json:"icon,omitempty"`
	Visibility string          `json:"visibility,omitempty"`
	Sticky     bool            `json:"sticky,omitempty"`
	// Raw is what the campaign adds to the payload of Platform, in that
	// platform's own words: a bridge merges it into what it builds.
	Raw json.RawMessage `json:"raw,omitempty"`

	// CollapseID is at most 64 characters and replaces an earlier notification
	// with the same one: apns-collapse-id, Android tag, Web Push topic.
	CollapseID string `json:"collapse_id"`
	// ExpiresAt is when the notification loses its worth: do not show it later,
	// and tell the push service. Absent: deliver now or never.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	// ReceiptKey is returned by the app with every receipt, "k" of the payload.
	ReceiptKey string `json:"receipt_key,omitempty"`
}

var (
	errTooLarge = errors.New("push object is over 4096 bytes even without subtitle and data")
	errNothing  = errors.New("neither title nor body")
)

// compose builds the body. A push that is over MaxPush is built once more
// without subtitle and data; what the campaign says stays.
func compose(n *push.Notification, token bool, now time.Time) (body []byte, reduced bool, err error) {
	if !n.Silent && n.Title == "" && n.Body == "" {
		return nil, false, errNothing
	}
	if len(n.Raw) > 0 {
		if _, err := push.MergeRaw(n.Platform, nil, n.Raw); err != nil {
			return nil, false, err
		}
	}
	w := pushOf(n, token)
	size, err := exchange.PlainJSON(w)
	if err == nil && len(size) > MaxPush {
		reduced, w.Subtitle, w.Data = true, "", nil
		size, err = exchange.PlainJSON(w)
	}
	switch {
	case err != nil:
		return nil, false, err
	case len(size) > MaxPush:
		return nil, false, errTooLarge
	}
	body, err = exchange.PlainJSON(Event{ID: n.MID, Type: TypePush, CreatedAt: now.UTC().Truncate(time.Millisecond), Push: w})
	return body, reduced, err
}

// pushOf is n with all that it says.
func pushOf(n *push.Notification, token bool) Push {
	w := Push{
		App: n.App, Device: n.Device, Platform: string(n.Platform), Env: n.Env,
		Campaign: n.Campaign, Fence: n.Fence,
		Silent: n.Silent, Title: n.Title, Subtitle: n.Subtitle, Body: n.Body,
		Image: n.Image, Link: n.Link, Sound: n.Sound, Thread: n.Thread, Category: n.Category, Data: n.Data,
		Alt: n.Alt, Actions: n.Actions, Badge: n.Badge, Counted: n.Counted, Importance: n.Importance, Relevance: n.Relevance, Style: n.Style,
		Channel: n.Channel, Color: n.Color, Icon: n.Icon, Visibility: n.Visibility, Sticky: n.Sticky, Raw: n.Raw,
		CollapseID: exchange.CollapseID(n), ReceiptKey: n.ReceiptKey,
	}
	if w.Sound == "" {
		w.Sound = "default"
	}
	if token {
		w.Token = n.Token
	}
	if !n.ExpiresAt.IsZero() {
		at := n.ExpiresAt.UTC().Truncate(time.Millisecond)
		w.ExpiresAt = &at
	}
	return w
}

// Measure returns the size of n, which need not fit, without its token.
func Measure(n *push.Notification) (s push.Size, err error) {
	s.Limit = MaxPush
	w := pushOf(n, false)
	full, err := exchange.PlainJSON(w)
	if err != nil {
		return s, fmt.Errorf("webhook: %w", err)
	}
	w.Subtitle, w.Data = "", nil
	less, err := exchange.PlainJSON(w)
	s.Full, s.Less = len(full), len(less)
	return s, err
}

// Preview returns what would be sent of n, before any encryption, and whether
// subtitle and data had to be left out to keep the limit. It is what a campaign
// is checked with before it is saved.
func Preview(n *push.Notification) (payload []byte, reduced bool, err error) {
	if payload, reduced, err = compose(n, false, time.Time{}); err != nil {
		return nil, false, fmt.Errorf("webhook: %w", err)
	}
	return payload, reduced, nil
}

// Parse reads a body. Call it after Verify. Members that it does not know are
// ignored: later versions of the gateway may add some.
func Parse(body []byte) (*Event, error) {
	var e Event
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, errors.New("webhook: the body is not an event")
	}
	if e.ID == "" || e.Type == "" {
		return nil, errors.New("webhook: the event has no id or no type")
	}
	return &e, nil
}
