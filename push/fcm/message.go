package fcm

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
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
	errImage    = errors.New("the image is not a URL")
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
// more without subtitle and data, which reduced reports; what the campaign says
// stays.
func compose(n *push.Notification, style Style, channel string, now time.Time) (m *messaging.Message, reduced bool, err error) {
	for k := range n.Data {
		if k == "g" || k == "aps" || k == "from" || k == "message_type" || k == "collapse_key" ||
			strings.HasPrefix(k, "gcm") || strings.HasPrefix(k, "google") {
			return nil, false, errReserved
		}
	}
	if !n.Silent && n.Title == "" && n.Body == "" {
		return nil, false, errNothing
	}
	style = styleOf(n, style)
	if n.Image != "" && !n.Silent && (style == Display || n.Platform == push.IOS) {
		if _, err := url.ParseRequestURI(n.Image); err != nil { // Google refuses the whole message for it
			return nil, false, errImage
		}
	}
	add, err := rawOf(n, style)
	if err != nil {
		return nil, false, err
	}
	if n.Channel != "" {
		channel = n.Channel
	}
	if m, err = build(n, style, channel, n.Subtitle, n.Data, now); err != nil {
		return nil, false, err
	}
	bytes, err := size(m, &add)
	if err == nil && bytes > MaxMessage {
		reduced = true
		if m, err = build(n, style, channel, "", nil, now); err == nil {
			bytes, err = size(m, &add)
		}
	}
	switch {
	case err != nil:
		return nil, false, err
	case bytes > MaxMessage:
		return nil, false, errTooLarge
	}
	m.Token = n.Token
	return m, reduced, nil
}

// styleOf is how n is shown where the provider is set to style.
func styleOf(n *push.Notification, style Style) Style {
	if n.Style != "" {
		return Style(n.Style)
	}
	return style
}

// previewAhead is how long before its expiry a preview is made: for the time to
// live in it.
const previewAhead = 15 * time.Minute

// Preview returns what would be sent of n, before any encryption, and whether
// subtitle and data had to be left out to keep the limit. It is what a campaign
// is checked with before it is saved. style is Config.Style.
func Preview(n *push.Notification, style Style) (message []byte, reduced bool, err error) {
	m, reduced, err := compose(n, style, "", n.ExpiresAt.Add(-previewAhead))
	if err == nil {
		message, err = written(m, n, style)
	}
	if err != nil {
		return nil, false, fmt.Errorf("fcm: %w", err)
	}
	return message, reduced, nil
}

// Measure returns the size of n, which need not fit. style is Config.Style.
func Measure(n *push.Notification, style Style) (s push.Size, err error) {
	s.Limit = MaxMessage
	style = styleOf(n, style)
	now := n.ExpiresAt.Add(-previewAhead)
	add, err := rawOf(n, style)
	if err == nil {
		s.Full, err = measure(n, style, n.Subtitle, n.Data, now, &add)
	}
	if err == nil {
		s.Less, err = measure(n, style, "", nil, now, &add)
	}
	if err != nil {
		return s, fmt.Errorf("fcm: %w", err)
	}
	return s, nil
}

func measure(n *push.Notification, style Style, subtitle string, data map[string]string, now time.Time, add *raw) (int, error) {
	m, err := build(n, style, n.Channel, subtitle, data, now)
	if err != nil {
		return 0, err
	}
	return size(m, add)
}

// request is the body of the request for n.
func request(n *push.Notification, style Style, channel string, now time.Time) ([]byte, error) {
	m, _, err := compose(n, style, channel, now)
	if err != nil {
		return nil, err
	}
	text, err := written(m, n, style)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]byte(`{"message":`), text, []byte("}")), nil
}

// written is m as it goes out.
func written(m *messaging.Message, n *push.Notification, style Style) ([]byte, error) {
	add, err := rawOf(n, styleOf(n, style))
	if err != nil || len(add.add) == 0 {
		return json.Marshal(m) // in the order of the fields
	}
	object, err := add.message(m)
	if err != nil {
		return nil, err
	}
	return json.Marshal(object)
}

func build(n *push.Notification, style Style, channel, subtitle string, extra map[string]string, now time.Time) (*messaging.Message, error) {
	m := &messaging.Message{}
	if label(n.Campaign) {
		m.FCMOptions = &messaging.FCMOptions{AnalyticsLabel: n.Campaign}
	}
	if n.Platform == push.IOS {
		m.APNS = apple(n, subtitle, extra)
		return m, nil
	}
	g, err := exchange.PlainJSON(exchange.NewGateway(n))
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
	m.Data = data
	m.Android = &messaging.AndroidConfig{
		// Google stores at most four keys per device, so the key is the
		// campaign's slot; it is the tag that stands for the message.
		CollapseKey: n.Campaign,
		Priority:    "high",
		TTL:         new(ttl(n.ExpiresAt, now)),
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
		set("importance", string(n.Importance))
		set("color", n.Color)
		set("icon", n.Icon)
		set("visibility", n.Visibility)
		if n.Badge != nil && !n.Counted {
			set("badge", strconv.Itoa(*n.Badge))
		}
	default:
		set("subtitle", subtitle) // Android has none; the app may have a use for it
		set("category", n.Category)
		m.Notification = &messaging.Notification{Title: n.Title, Body: n.Body, ImageURL: n.Image}
		m.Android.Notification = &messaging.AndroidNotification{
			Tag:               exchange.CollapseID(n),
			ChannelID:         channel,
			Sound:             sound(n),
			Color:             n.Color,
			Icon:              n.Icon,
			NotificationCount: badge(n),
			Priority:          priorities[n.Importance],
			Visibility:        visibilities[n.Visibility],
		}
	}
	return m, nil
}

// What importance and visibility are called here; nothing for what is not set.
// From Android 8 on the channel decides about importance.
var (
	priorities = map[push.Importance]messaging.AndroidNotificationPriority{
		push.Passive: messaging.PriorityLow, push.Active: messaging.PriorityDefault,
		push.TimeSensitive: messaging.PriorityHigh, push.Critical: messaging.PriorityMax,
	}
	visibilities = map[string]messaging.AndroidNotificationVisibility{
		"private": messaging.VisibilityPrivate, "public": messaging.VisibilityPublic, "secret": messaging.VisibilitySecret,
	}
)

// apple is the message for an iPhone whose app holds a registration token of
// Google, which hands it on to APNs. Nothing is ever critical on this way.
func apple(n *push.Notification, subtitle string, data map[string]string) *messaging.APNSConfig {
	c := &messaging.APNSConfig{
		Headers: map[string]string{
			"apns-collapse-id": exchange.CollapseID(n), "apns-expiration": "0", "apns-priority": "10", "apns-push-type": "alert",
		},
		Payload: &messaging.APNSPayload{
			Aps:        &messaging.Aps{Badge: n.Badge},
			CustomData: map[string]any{"g": exchange.NewGateway(n)},
		},
	}
	for k, v := range data {
		c.Payload.CustomData[k] = v
	}
	if !n.ExpiresAt.IsZero() {
		c.Headers["apns-expiration"] = strconv.FormatInt(n.ExpiresAt.Unix(), 10)
	}
	if exchange.UUID(n.MID) {
		c.Headers["apns-id"] = n.MID
	}
	aps := c.Payload.Aps
	if n.Silent {
		c.Headers["apns-priority"], c.Headers["apns-push-type"] = "5", "background"
		aps.ContentAvailable = true
		return c
	}
	aps.Alert = &messaging.ApsAlert{Title: n.Title, SubTitle: subtitle, Body: n.Body}
	aps.ThreadID, aps.Category, aps.MutableContent = n.Thread, n.Category, true
	aps.Sound = sound(n)
	aps.CustomData = map[string]any{"interruption-level": "active"}
	switch n.Importance {
	case push.Passive:
		aps.CustomData["interruption-level"], c.Headers["apns-priority"] = "passive", "5"
	case push.TimeSensitive, push.Critical:
		aps.CustomData["interruption-level"] = "time-sensitive"
	}
	if n.Relevance != 0 {
		aps.CustomData["relevance-score"] = n.Relevance
	}
	if n.Image != "" {
		c.FCMOptions = &messaging.APNSFCMOptions{ImageURL: n.Image}
	}
	return c
}

// badge is the number that a launcher adds for the notification; nil is one, and
// it adds up what it shows.
func badge(n *push.Notification) *int {
	if n.Counted {
		return nil
	}
	return n.Badge
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
// values, and of what the campaign adds the JSON. fieldCost is our reserve for
// what else may be counted.
func size(m *messaging.Message, added *raw) (int, error) {
	n := len(added.add)
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
	if m.APNS != nil {
		// Apple's limit is of the JSON itself, which the SDK makes with HTML escapes.
		payload, err := json.Marshal(m.APNS.Payload)
		if err == nil && len(added.add) > 0 {
			payload, err = added.payload(payload)
		}
		return len(payload), err
	}
	if a := m.Android; a != nil {
		add("collapse_key", a.CollapseKey)
		if x := a.Notification; x != nil {
			add("tag", x.Tag)
			add("channel_id", x.ChannelID)
			add("sound", x.Sound)
		}
	}
	return n, nil
}

const fieldCost = 6 // quotes, colon, comma
