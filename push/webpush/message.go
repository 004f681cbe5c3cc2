package webpush

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"footfall/push"
	"footfall/push/internal/exchange"
)

// Message is the JSON that the service worker gets from event.data.json().
// Members that are empty are left out. It shows
//
//	registration.showNotification(m.title, {body: m.body, image: m.image,
//	    tag: m.tag, silent: m.silent, data: m})
//
// Tag makes a second copy of a message replace the first.
type Message struct {
	// Background: nothing is to be shown. Browsers allow that rarely, and some
	// show a notice of their own.
	Background bool   `json:"background,omitempty"`
	Title      string `json:"title,omitempty"`
	Subtitle   string `json:"subtitle,omitempty"`
	Body       string `json:"body,omitempty"`
	Image      string `json:"image,omitempty"`
	Silent     bool   `json:"silent,omitempty"` // without sound
	Tag        string `json:"tag"`
	Thread     string `json:"thread,omitempty"`
	Category   string `json:"category,omitempty"`
	// Actions are for showNotification; what a tap on one does is in g.
	Actions []Button `json:"actions,omitempty"`
	// Badge is for navigator.setAppBadge.
	Badge *int `json:"badge,omitempty"`
	// RequireInteraction is the option of that name.
	RequireInteraction bool              `json:"requireInteraction,omitempty"`
	Data               map[string]string `json:"data,omitempty"`
	// Expires is when the message loses its worth, Unix milliseconds.
	Expires int64            `json:"expires,omitempty"`
	G       exchange.Gateway `json:"g"`
	// What a campaign writes under web.raw stands beside these members: options
	// of showNotification that have none of their own, such as icon and vibrate.
}

// Button is one of showNotification's actions.
type Button struct {
	Action string `json:"action"`
	Title  string `json:"title"`
}

var (
	errTooLarge = errors.New("message is over 4096 encrypted bytes even without subtitle and data")
	errNothing  = errors.New("neither title nor body")
)

// compose builds the text of n. One that does not fit is built once more
// without subtitle and data; what the campaign says stays.
func compose(n *push.Notification) (text []byte, reduced bool, err error) {
	if !n.Silent && n.Title == "" && n.Body == "" {
		return nil, false, errNothing
	}
	m := message(n)
	text, err = exchange.WithRaw(push.Web, m, n.Raw)
	if err == nil && len(text) > maxText {
		reduced, m.Subtitle, m.Data = true, "", nil
		text, err = exchange.WithRaw(push.Web, m, n.Raw)
	}
	if err == nil && len(text) > maxText {
		return nil, false, errTooLarge
	}
	return text, reduced, err
}

// message is n with all that it says, but for Raw.
func message(n *push.Notification) Message {
	m := Message{
		Background: n.Silent, Title: n.Title, Subtitle: n.Subtitle, Body: n.Body, Image: n.Image,
		Silent: n.Sound == "none" || n.Importance == push.Passive, Tag: exchange.CollapseID(n), Thread: n.Thread, Category: n.Category, Data: n.Data,
		Badge: n.Badge, RequireInteraction: n.Sticky, G: exchange.NewGateway(n),
	}
	m.G.Image = "" // it is above
	for _, a := range n.Actions {
		m.Actions = append(m.Actions, Button{a.ID, a.Label})
	}
	if !n.ExpiresAt.IsZero() {
		m.Expires = n.ExpiresAt.UnixMilli()
	}
	return m
}

// Measure returns the size of n, which need not fit.
func Measure(n *push.Notification) (s push.Size, err error) {
	s.Limit = maxText
	m := message(n)
	full, err := exchange.WithRaw(push.Web, m, n.Raw)
	if err != nil {
		return s, fmt.Errorf("webpush: %w", err)
	}
	m.Subtitle, m.Data = "", nil
	less, err := exchange.WithRaw(push.Web, m, n.Raw)
	s.Full, s.Less = len(full), len(less)
	return s, err
}

// Preview returns what would be sent of n, before any encryption, and whether
// subtitle and data had to be left out to keep the limit. It is what a campaign
// is checked with before it is saved.
func Preview(n *push.Notification) (payload []byte, reduced bool, err error) {
	if payload, reduced, err = compose(n); err != nil {
		return nil, false, fmt.Errorf("webpush: %w", err)
	}
	return payload, reduced, nil
}

// urgency is the header of RFC 8030 section 5.3.
func urgency(n *push.Notification) string {
	switch {
	case n.Silent:
		return "low"
	case n.Importance == push.Passive:
		return "normal"
	}
	return "high"
}

// topic replaces an earlier message that the push service has not delivered
// yet: at most 32 characters of base64url (RFC 8030 section 5.4). A collapse
// id that is none is replaced by its hash.
func topic(n *push.Notification) string {
	id := exchange.CollapseID(n)
	if len(id) <= 32 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == "" {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
