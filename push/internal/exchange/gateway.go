package exchange

import (
	"bytes"
	"encoding/json"

	"footfall/push"
)

// Gateway is our own object in a payload, named g, the same on all platforms:
// what the SDK needs to draw the image and the buttons, to follow the link and
// to report receipts.
type Gateway struct {
	V        int           `json:"v"`
	MID      string        `json:"mid"`
	Campaign string        `json:"c,omitempty"`
	Fence    string        `json:"f,omitempty"`
	Image    string        `json:"img,omitempty"`
	Alt      string        `json:"alt,omitempty"`
	Link     string        `json:"link,omitempty"`
	Actions  []push.Action `json:"act,omitempty"`
	Key      string        `json:"k,omitempty"`
}

// NewGateway returns the object for n.
func NewGateway(n *push.Notification) Gateway {
	return Gateway{1, n.MID, n.Campaign, n.Fence, n.Image, n.Alt, n.Link, n.Actions, n.ReceiptKey}
}

// PlainJSON encodes without HTML escapes, which would make an & six bytes.
func PlainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// MergeRaw adds a notification's Raw to what was built for p, in its JSON form.
func MergeRaw(p push.Platform, built any, raw json.RawMessage) (map[string]any, error) {
	text, err := PlainJSON(built)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var object map[string]any
	if err := dec.Decode(&object); err != nil {
		return nil, err
	}
	return push.MergeRaw(p, object, raw)
}

// WithRaw is the JSON of built, with a notification's Raw in it if it has one.
func WithRaw(p push.Platform, built any, raw json.RawMessage) ([]byte, error) {
	if len(raw) == 0 {
		return PlainJSON(built)
	}
	merged, err := MergeRaw(p, built, raw)
	if err != nil {
		return nil, err
	}
	return PlainJSON(merged)
}
