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
