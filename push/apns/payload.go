package apns

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"footfall/push"
	"footfall/push/internal/exchange"
)

// MaxPayload is Apple's limit for alerts and background pushes, in bytes of
// the JSON as it goes out, that is after escaping.
const MaxPayload = 4096

// Errors of compose.
var (
	errTooLarge = errors.New("payload is over 4096 bytes even without subtitle and data")
	errNothing  = errors.New("neither title nor body")
	errReserved = errors.New("data has a reserved key (aps, g)")
)

// The shape of the payload. Fields are in the order of the JSON.
type (
	aps struct {
		Alert             *alert  `json:"alert,omitempty"`
		Badge             *int    `json:"badge,omitempty"`
		Sound             any     `json:"sound,omitempty"` // a name, or criticalSound
		ThreadID          string  `json:"thread-id,omitempty"`
		Category          string  `json:"category,omitempty"`
		InterruptionLevel string  `json:"interruption-level,omitempty"`
		RelevanceScore    float64 `json:"relevance-score,omitempty"`
		MutableContent    int     `json:"mutable-content,omitempty"`
		ContentAvailable  int     `json:"content-available,omitempty"`
	}
	alert struct {
		Title    string `json:"title,omitempty"`
		Subtitle string `json:"subtitle,omitempty"`
		Body     string `json:"body,omitempty"`
	}
	criticalSound struct {
		Critical int     `json:"critical"`
		Name     string  `json:"name"`
		Volume   float64 `json:"volume"`
	}
)

// form is what the app's configuration adds to every notification.
type form struct {
	category string // of notifications without their own
	critical bool   // the app has Apple's entitlement for critical alerts
}

// compose builds the payload of n. One that is over MaxPayload is built once
// more without subtitle and data, which reduced reports; what the campaign says
// stays.
func compose(n *push.Notification, f form) (payload []byte, reduced bool, err error) {
	for k := range n.Data {
		if k == "aps" || k == "g" {
			return nil, false, errReserved
		}
	}
	if !n.Silent && n.Title == "" && n.Body == "" {
		return nil, false, errNothing
	}
	payload, err = encode(n, f, n.Subtitle, n.Data)
	if err == nil && len(payload) > MaxPayload {
		reduced = true
		payload, err = encode(n, f, "", nil)
	}
	if err == nil && len(payload) > MaxPayload {
		return nil, false, errTooLarge
	}
	return payload, reduced, err
}

// Preview returns what would be sent of n, before any encryption, and whether
// subtitle and data had to be left out to keep the limit. It is what a campaign
// is checked with before it is saved.
func Preview(n *push.Notification) (payload []byte, reduced bool, err error) {
	if payload, reduced, err = compose(n, form{}); err != nil {
		return nil, false, fmt.Errorf("apns: %w", err)
	}
	return payload, reduced, nil
}

// Measure returns the size of n, which need not fit.
func Measure(n *push.Notification) (s push.Size, err error) {
	s.Limit = MaxPayload
	full, err := encode(n, form{}, n.Subtitle, n.Data)
	if err != nil {
		return s, fmt.Errorf("apns: %w", err)
	}
	less, err := encode(n, form{}, "", nil)
	s.Full, s.Less = len(full), len(less)
	return s, err
}

func encode(n *push.Notification, f form, subtitle string, data map[string]string) ([]byte, error) {
	a := aps{Badge: n.Badge}
	if n.Silent {
		a.ContentAvailable = 1
	} else {
		a.Alert = &alert{Title: n.Title, Subtitle: subtitle, Body: n.Body}
		a.ThreadID = n.Thread
		a.Category = cmp.Or(n.Category, f.category)
		a.RelevanceScore = n.Relevance
		a.MutableContent = 1 // the extension fetches the image and reports the receipt
		a.InterruptionLevel = level(n.Importance, f)
		a.Sound = sound(n, f)
	}
	if len(data) == 0 && len(n.Raw) == 0 { // the usual one: the same JSON at half the cost
		return json.Marshal(struct {
			APS     *aps             `json:"aps"`
			Gateway exchange.Gateway `json:"g"`
		}{&a, exchange.NewGateway(n)})
	}
	root := make(map[string]any, len(data)+2)
	for k, v := range data {
		root[k] = v
	}
	root["aps"] = a
	root["g"] = exchange.NewGateway(n)
	if len(n.Raw) == 0 {
		return json.Marshal(root)
	}
	merged, err := exchange.MergeRaw(push.IOS, root, n.Raw)
	if err != nil {
		return nil, err
	}
	return json.Marshal(merged)
}

// level is Apple's word for an importance.
func level(i push.Importance, f form) string {
	switch {
	case i == push.Passive:
		return "passive"
	case i == push.Critical && f.critical:
		return "critical"
	case i == push.Critical, i == push.TimeSensitive:
		return "time-sensitive"
	}
	return "active"
}

// sound is nil for none. The object that makes a sound critical appears with
// the entitlement only.
func sound(n *push.Notification, f form) any {
	if n.Sound == "none" {
		return nil
	}
	name := cmp.Or(n.Sound, "default")
	if n.Importance == push.Critical && f.critical {
		return criticalSound{1, name, 1}
	}
	return name
}
