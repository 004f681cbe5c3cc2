package apns

import (
	"encoding/json"
	"errors"

	"footfall/push"
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
		Alert             *alert `json:"alert,omitempty"`
		Sound             string `json:"sound,omitempty"`
		ThreadID          string `json:"thread-id,omitempty"`
		Category          string `json:"category,omitempty"`
		InterruptionLevel string `json:"interruption-level,omitempty"`
		MutableContent    int    `json:"mutable-content,omitempty"`
		ContentAvailable  int    `json:"content-available,omitempty"`
	}
	alert struct {
		Title    string `json:"title,omitempty"`
		Subtitle string `json:"subtitle,omitempty"`
		Body     string `json:"body,omitempty"`
	}
	// gateway is our own object, named g: what the SDK needs to draw the image,
	// follow the link and report the receipt.
	gateway struct {
		V        int    `json:"v"`
		MID      string `json:"mid"`
		Campaign string `json:"c,omitempty"`
		Fence    string `json:"f,omitempty"`
		Image    string `json:"img,omitempty"`
		Link     string `json:"link,omitempty"`
		Key      string `json:"k,omitempty"`
	}
)

// compose builds the payload of n. One that is over MaxPayload is built once
// more without subtitle and data; what the campaign says stays.
func compose(n *push.Notification, category string) ([]byte, error) {
	for k := range n.Data {
		if k == "aps" || k == "g" {
			return nil, errReserved
		}
	}
	if !n.Silent && n.Title == "" && n.Body == "" {
		return nil, errNothing
	}
	data, err := encode(n, category, n.Subtitle, n.Data)
	if err == nil && len(data) > MaxPayload {
		data, err = encode(n, category, "", nil)
	}
	if err == nil && len(data) > MaxPayload {
		return nil, errTooLarge
	}
	return data, err
}

func encode(n *push.Notification, category, subtitle string, data map[string]string) ([]byte, error) {
	var a aps
	if n.Silent {
		a.ContentAvailable = 1
	} else {
		a = aps{
			Alert:             &alert{Title: n.Title, Subtitle: subtitle, Body: n.Body},
			ThreadID:          n.Thread,
			Category:          category,
			InterruptionLevel: "active",
			MutableContent:    1, // the extension fetches the image and reports the receipt
		}
		switch n.Sound {
		case "none":
		case "":
			a.Sound = "default"
		default:
			a.Sound = n.Sound
		}
	}
	root := make(map[string]any, len(data)+2)
	for k, v := range data {
		root[k] = v
	}
	root["aps"] = a
	root["g"] = gateway{1, n.MID, n.Campaign, n.Fence, n.Image, n.Link, n.ReceiptKey}
	return json.Marshal(root)
}
