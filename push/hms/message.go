package hms

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"
)

const (
	// MaxMessage is Huawei's limit in bytes of the message without the token.
	MaxMessage = 4096
	// maxToken bounds a push token. Real ones are some 130 characters.
	maxToken = 1024
	// maxTTL is the most that Push Kit stores.
	maxTTL = 15 * 24 * time.Hour
)

var (
	errTooLarge = errors.New("message is over 4096 bytes even without subtitle and data")
	errNothing  = errors.New("neither title nor body")
	errReserved = errors.New("data has a reserved key (g)")
)

// The shape of a request. Fields are in the order of the JSON.
type (
	request struct {
		Message message `json:"message"`
	}
	message struct {
		Data    string   `json:"data,omitempty"`
		Android android  `json:"android"`
		Token   []string `json:"token,omitempty"`
	}
	android struct {
		// CollapseKey -1 keeps every message for a phone that is offline: what is
		// stored is told apart by campaigns, which 1 to 100 are too few for. A
		// second copy of one is replaced on the phone, by Tag.
		CollapseKey  int           `json:"collapse_key"`
		Urgency      string        `json:"urgency,omitempty"`
		Category     string        `json:"category,omitempty"`
		TTL          string        `json:"ttl"`
		Notification *notification `json:"notification,omitempty"`
	}
	notification struct {
		Title        string `json:"title,omitempty"`
		Body         string `json:"body,omitempty"`
		Image        string `json:"image,omitempty"`
		Sound        string `json:"sound,omitempty"`
		DefaultSound bool   `json:"default_sound"`
		Importance   string `json:"importance,omitempty"`
		Tag          string `json:"tag"`
		ChannelID    string `json:"channel_id,omitempty"`
		Summary      string `json:"notify_summary,omitempty"`
		Color        string `json:"color,omitempty"`
		Icon         string `json:"icon,omitempty"`
		Visibility   string `json:"visibility,omitempty"`
		Badge        *badge `json:"badge,omitempty"`
		Click        click  `json:"click_action"`
	}
	badge struct {
		Set int `json:"set_num"`
	}
	click struct {
		Type   int    `json:"type"`
		Intent string `json:"intent,omitempty"`
		URL    string `json:"url,omitempty"`
	}
)

// What a tap does, ClickAction.type.
const (
	clickIntent = 1
	clickURL    = 2
	clickApp    = 3
)

// compose builds the body of a request. One that is over MaxMessage is built
// once more without subtitle and data; what the campaign says stays.
func compose(n *push.Notification, category, channel string, now time.Time) (body []byte, reduced bool, err error) {
	if _, taken := n.Data["g"]; taken {
		return nil, false, errReserved
	}
	if !n.Silent && n.Title == "" && n.Body == "" {
		return nil, false, errNothing
	}
	r, err := build(n, category, channel, n.Subtitle, n.Data, now)
	if err != nil {
		return nil, false, err
	}
	// The whole body is counted, of which Huawei counts a part.
	size, err := encode(r, n)
	if err == nil && len(size) > MaxMessage {
		reduced = true
		if r, err = build(n, category, channel, "", nil, now); err != nil {
			return nil, false, err
		}
		size, err = encode(r, n)
	}
	switch {
	case err != nil:
		return nil, false, err
	case len(size) > MaxMessage:
		return nil, false, errTooLarge
	}
	r.Message.Token = []string{n.Token}
	body, err = encode(r, n)
	return body, reduced, err
}

// encode is the body of r with the notification's Raw in its message.
func encode(r *request, n *push.Notification) ([]byte, error) {
	if len(n.Raw) == 0 {
		return exchange.PlainJSON(r)
	}
	message, err := exchange.MergeRaw(push.HMS, r.Message, n.Raw)
	if err != nil {
		return nil, err
	}
	return exchange.PlainJSON(map[string]any{"message": message})
}

// previewAhead is how long before its expiry a preview is made: for the time to
// live in it.
const previewAhead = 15 * time.Minute

// Preview returns what would be sent of n, before any encryption, and whether
// subtitle and data had to be left out to keep the limit. It is what a campaign
// is checked with before it is saved.
func Preview(n *push.Notification) (payload []byte, reduced bool, err error) {
	if payload, reduced, err = compose(n, "", "", n.ExpiresAt.Add(-previewAhead)); err != nil {
		return nil, false, fmt.Errorf("hms: %w", err)
	}
	return payload, reduced, nil
}

// Measure returns the size of n, which need not fit.
func Measure(n *push.Notification) (s push.Size, err error) {
	s.Limit = MaxMessage
	now := n.ExpiresAt.Add(-previewAhead)
	for _, x := range []struct {
		size     *int
		subtitle string
		data     map[string]string
	}{{&s.Full, n.Subtitle, n.Data}, {&s.Less, "", nil}} {
		r, err := build(n, "", "", x.subtitle, x.data, now)
		if err != nil {
			return s, fmt.Errorf("hms: %w", err)
		}
		body, err := encode(r, n)
		if err != nil {
			return s, fmt.Errorf("hms: %w", err)
		}
		*x.size = len(body)
	}
	return s, nil
}

func build(n *push.Notification, category, channel, subtitle string, extra map[string]string, now time.Time) (*request, error) {
	data := make(map[string]any, len(extra)+1)
	for k, v := range extra {
		data[k] = v
	}
	data["g"] = exchange.NewGateway(n)
	text, err := exchange.PlainJSON(data)
	if err != nil {
		return nil, err
	}
	m := message{
		Data:    string(text),
		Android: android{CollapseKey: -1, Category: category, TTL: ttl(n.ExpiresAt, now)},
	}
	if n.Silent {
		m.Android.Urgency = "NORMAL" // HIGH needs a right of its own
		return &request{m}, nil
	}
	x := &notification{
		Title: n.Title, Body: n.Body, Image: n.Image, DefaultSound: true, Summary: subtitle,
		Tag: exchange.CollapseID(n), ChannelID: cmp.Or(n.Channel, channel), Click: clickFor(n.Link),
	}
	// Both are required.
	switch {
	case x.Title == "":
		x.Title, x.Body = x.Body, " "
	case x.Body == "":
		x.Body = " "
	}
	switch n.Sound {
	case "", "default":
	case "none":
		x.Importance = "LOW" // neither sound nor vibration
	default:
		x.Sound, x.DefaultSound = "/raw/"+n.Sound, false
	}
	x.Color, x.Icon, x.Visibility = n.Color, n.Icon, strings.ToUpper(n.Visibility)
	if n.Badge != nil {
		x.Badge = &badge{*n.Badge}
	}
	if n.Importance == push.Passive {
		x.Importance = "LOW"
	}
	m.Android.Notification = x
	return &request{m}, nil
}

// clickFor opens an https link in the browser, a deep link as an Android
// intent for whoever takes its scheme, and else the app.
func clickFor(link string) click {
	u, err := url.Parse(link)
	switch {
	case err != nil || u.Scheme == "" || strings.ContainsAny(link, "\r\n;"):
		return click{Type: clickApp}
	case u.Scheme == "https":
		return click{Type: clickURL, URL: link}
	case u.Scheme == "http", u.Opaque != "", u.Scheme == "intent", u.Scheme == "javascript", u.Scheme == "file", u.Scheme == "content":
		return click{Type: clickApp}
	}
	rest, _, _ := strings.Cut(link[len(u.Scheme)+1:], "#")
	return click{Type: clickIntent, Intent: "intent:" + rest + "#Intent;scheme=" + u.Scheme + ";launchFlags=0x4000000;end"}
}

// ttl is the time left in whole seconds, at least one: what Huawei makes of
// zero is not documented. No expiry is "now or never", so one second as well.
func ttl(expires, now time.Time) string {
	d := time.Second
	if !expires.IsZero() {
		d = min(max(expires.Sub(now), time.Second), maxTTL)
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}
