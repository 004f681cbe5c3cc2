package webpush

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
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
	Background bool              `json:"background,omitempty"`
	Title      string            `json:"title,omitempty"`
	Subtitle   string            `json:"subtitle,omitempty"`
	Body       string            `json:"body,omitempty"`
	Image      string            `json:"image,omitempty"`
	Silent     bool              `json:"silent,omitempty"` // without sound
	Tag        string            `json:"tag"`
	Thread     string            `json:"thread,omitempty"`
	Category   string            `json:"category,omitempty"`
	Data       map[string]string `json:"data,omitempty"`
	// Expires is when the message loses its worth, Unix milliseconds.
	Expires int64   `json:"expires,omitempty"`
	G       Gateway `json:"g"`
}

// Gateway is our own object, the same on all platforms: what the page needs to
// follow the link and to report the receipt.
type Gateway struct {
	V        int    `json:"v"`
	MID      string `json:"mid"`
	Campaign string `json:"c,omitempty"`
	Fence    string `json:"f,omitempty"`
	Link     string `json:"link,omitempty"`
	Key      string `json:"k,omitempty"`
}

var (
	errTooLarge = errors.New("message is over 4096 encrypted bytes even without subtitle and data")
	errNothing  = errors.New("neither title nor body")
)

// compose builds the text of n. One that does not fit is built once more
// without subtitle and data; what the campaign says stays.
func compose(n *push.Notification) ([]byte, error) {
	if !n.Silent && n.Title == "" && n.Body == "" {
		return nil, errNothing
	}
	m := Message{
		Background: n.Silent, Title: n.Title, Subtitle: n.Subtitle, Body: n.Body, Image: n.Image,
		Silent: n.Sound == "none", Tag: exchange.CollapseID(n), Thread: n.Thread, Category: n.Category, Data: n.Data,
		G: Gateway{1, n.MID, n.Campaign, n.Fence, n.Link, n.ReceiptKey},
	}
	if !n.ExpiresAt.IsZero() {
		m.Expires = n.ExpiresAt.UnixMilli()
	}
	text, err := plainJSON(m)
	if err == nil && len(text) > maxText {
		m.Subtitle, m.Data = "", nil
		text, err = plainJSON(m)
	}
	if err == nil && len(text) > maxText {
		return nil, errTooLarge
	}
	return text, err
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

// plainJSON encodes without HTML escapes, which would make an & six bytes.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
