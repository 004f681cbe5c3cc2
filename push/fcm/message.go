package fcm

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"

	"firebase.google.com/go/v4/messaging"
)

// MaxMessage is Google's limit in bytes; see size.
const MaxMessage = 4096

// maxTTL is Google's limit of storage.
const maxTTL = 28 * 24 * time.Hour

var (
	errTooLarge = errors.New("message is over 4096 bytes even without subtitle and data")
	errNothing  = errors.New("neither title nor body")
	errReserved = errors.New("data has a reserved key (g, from, message_type, collapse_key, gcm*, google*)")
)

// Style says who draws the notification on Android.
type Style string

const (
	// Display: the system draws it, no code is needed in the app, and a
	// duplicate replaces its first copy by tag.
	Display Style = "display"
	// DataOnly: the app's SDK draws it, drops an exact duplicate and can report
	// that it was delivered.
	DataOnly Style = "data"
)

// compose builds the message of n. One that is over MaxMessage is built once
// more without subtitle and data; what the campaign says stays.
func compose(n *push.Notification, style Style, channel string, now time.Time) (*messaging.Message, error) {
	for k := range n.Data {
		if k == "g" || k == "from" || k == "message_type" || k == "collapse_key" ||
			strings.HasPrefix(k, "gcm") || strings.HasPrefix(k, "google") {
			return nil, errReserved
		}
	}
	if !n.Silent && n.Title == "" && n.Body == "" {
		return nil, errNothing
	}
	m, err := build(n, style, channel, n.Subtitle, n.Data, now)
	if err != nil {
		return nil, err
	}
	if size(m) > MaxMessage {
		if m, err = build(n, style, channel, "", nil, now); err != nil {
			return nil, err
		}
		if size(m) > MaxMessage {
			return nil, errTooLarge
		}
	}
	m.Token = n.Token
	return m, nil
}

func build(n *push.Notification, style Style, channel, subtitle string, extra map[string]string, now time.Time) (*messaging.Message, error) {
	g, err := plainJSON(struct {
		V        int    `json:"v"`
		MID      string `json:"mid"`
		Campaign string `json:"c,omitempty"`
		Fence    string `json:"f,omitempty"`
		Image    string `json:"img,omitempty"`
		Link     string `json:"link,omitempty"`
		Key      string `json:"k,omitempty"`
	}{1, n.MID, n.Campaign, n.Fence, n.Image, n.Link, n.ReceiptKey})
	if err != nil {
		return nil, err
	}
	data := make(map[string]string, len(extra)+4)
	for k, v := range extra {
		data[k] = v
	}
	set := func(k, v string) {
		if v != "" {
			data[k] = v
		}
	}
	data["g"] = string(g)
	set("link", n.Link)

	m := &messaging.Message{
		Data: data,
		Android: &messaging.AndroidConfig{
			// Google stores at most four keys per device, so the key is the
			// campaign's slot; it is the tag that stands for the message.
			CollapseKey: n.Campaign,
			Priority:    "high",
			TTL:         new(ttl(n.ExpiresAt, now)),
		},
	}
	if label(n.Campaign) {
		m.FCMOptions = &messaging.FCMOptions{AnalyticsLabel: n.Campaign}
	}
	switch {
	case n.Silent:
		// High priority must always end in something visible, else Google demotes it.
		m.Android.Priority = "normal"
	case style == DataOnly:
		set("title", n.Title)
		set("subtitle", subtitle)
		set("body", n.Body)
		set("image", n.Image)
		set("category", n.Category)
		set("thread", n.Thread)
		set("sound", sound(n))
		set("channel", channel)
		set("tag", exchange.CollapseID(n))
	default:
		set("subtitle", subtitle) // Android has none; the app may have a use for it
		set("category", n.Category)
		m.Notification = &messaging.Notification{Title: n.Title, Body: n.Body, ImageURL: n.Image}
		m.Android.Notification = &messaging.AndroidNotification{
			Tag:       exchange.CollapseID(n),
			ChannelID: channel,
			Sound:     sound(n),
		}
	}
	return m, nil
}

func sound(n *push.Notification) string {
	switch n.Sound {
	case "":
		return "default"
	case "none":
		return ""
	}
	return n.Sound
}

// ttl is the time left in whole seconds. Zero, also for no expiry, is "now or
// never".
func ttl(expires, now time.Time) time.Duration {
	if expires.IsZero() {
		return 0
	}
	return min(max(expires.Sub(now), 0), maxTTL).Truncate(time.Second)
}

// label reports whether Google takes s as an analytics label.
func label(s string) bool {
	return s != "" && len(s) <= 50 &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~%") == ""
}

// size is what travels to the phone, as Google counts it: names and decoded
// values. fieldCost is our reserve for what else may be counted.
func size(m *messaging.Message) int {
	n := 0
	add := func(name, value string) {
		if value != "" {
			n += len(name) + len(value) + fieldCost
		}
	}
	for k, v := range m.Data {
		add(k, v)
	}
	if x := m.Notification; x != nil {
		add("title", x.Title)
		add("body", x.Body)
		add("image", x.ImageURL)
	}
	if a := m.Android; a != nil {
		add("collapse_key", a.CollapseKey)
		if x := a.Notification; x != nil {
			add("tag", x.Tag)
			add("channel_id", x.ChannelID)
			add("sound", x.Sound)
		}
	}
	return n
}

const fieldCost = 6 // quotes, colon, comma

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
