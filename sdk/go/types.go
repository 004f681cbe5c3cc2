package footfall

import (
	"encoding/json"
	"time"
)

// Ping is one position. Lat and Lng are degrees WGS84; Lng is called lon on the wire.
type Ping struct {
	At        time.Time // when it was measured; zero: now
	Lat, Lng  float64
	AccuracyM float64  // radius of 68 %, metres; 0: unknown
	SpeedMPS  *float64 // nil: unknown
	Source    string   // "stream" (default), "foreground", "significant"; see docs/protocol.md, Sources
	Mock      bool     // the system says that it is simulated
}

type wirePing struct {
	T    int64    `json:"t"`
	Lat  float64  `json:"lat"`
	Lon  float64  `json:"lon"`
	Acc  float64  `json:"acc,omitempty"`
	Spd  *float64 `json:"spd,omitempty"`
	Src  string   `json:"src,omitempty"`
	Mock bool     `json:"mock,omitempty"`
}

// Device is what an app says of itself. Only what is set is sent; what was sent before stays. Delete names members to
// forget: "user", "token", "tags", …
type Device struct {
	User     string         `json:"user,omitempty"`
	Platform string         `json:"platform,omitempty"`  // ios, android, web or hms
	Token    string         `json:"token,omitempty"`     // of the push service
	Env      string         `json:"env,omitempty"`       // prod or sandbox, of Apple
	Locale   string         `json:"locale,omitempty"`    // uk-UA
	Zone     string         `json:"zone,omitempty"`      // Europe/Kyiv
	Tags     map[string]any `json:"tags,omitempty"`      // a tag that is nil is forgotten
	UserTags map[string]any `json:"user_tags,omitempty"` // see Client.SetTags
	Consent  *Consent       `json:"consent,omitempty"`
	SDK      string         `json:"sdk,omitempty"`
	OS       string         `json:"os,omitempty"`
	Delete   []string       `json:"-"`
}

// Consent is what the person has agreed to; nil says nothing, and leaves what was said before. With Location false the client
// drops the positions that wait and sends none, and the gateway erases where the device has been, until it is true, or Delete
// names "consent": what was never said is allowed.
type Consent struct {
	Location *bool `json:"location,omitempty"`
	Push     *bool `json:"push,omitempty"`
}

func (d Device) payload() ([]byte, error) {
	if len(d.Delete) == 0 {
		return compact(d)
	}
	text, err := compact(d)
	if err != nil {
		return nil, err
	}
	m := map[string]any{}
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	for _, name := range d.Delete {
		m[name] = nil
	}
	return compact(m)
}

// Push names a message, as it came with the push or on down: what receipts are made of.
type Push struct {
	MID string `json:"mid"`
	Key string `json:"k"`
}

// Receipt is what became of a push. Ev is one of the constants.
type Receipt struct {
	Push
	Ev       string
	At       time.Time // zero: now
	Ref      string    // tells several of one Ev apart, such as two orders
	Action   string    // which button
	Value    float64   // of a conversion, in whole units of Currency
	Currency string    // ISO 4217
}

// What can become of a push.
const (
	Delivered = "delivered"
	Displayed = "displayed"
	Opened    = "opened"
	Action    = "action"
	Dismissed = "dismissed"
	Converted = "converted"
)

type wireReceipt struct {
	MID      string  `json:"mid"`
	Key      string  `json:"k"`
	Ev       string  `json:"ev"`
	T        int64   `json:"t"`
	Ref      string  `json:"ref,omitempty"`
	Action   string  `json:"action,omitempty"`
	Value    float64 `json:"value,omitempty"`
	Currency string  `json:"currency,omitempty"`
}

// Message is what the gateway says to a device that is connected, on down.<app>.<device>.
type Message struct {
	Push
	Type     string            `json:"type"` // "push"
	V        int               `json:"v"`
	Campaign string            `json:"campaign"`
	Fence    string            `json:"fence"`
	Silent   bool              `json:"silent"` // show nothing; do what Data asks for
	Title    string            `json:"title"`
	Subtitle string            `json:"subtitle"`
	Body     string            `json:"body"`
	Image    string            `json:"image"`
	Link     string            `json:"link"`
	Sound    string            `json:"sound"`
	Thread   string            `json:"thread"`
	Category string            `json:"category"`
	Data     map[string]string `json:"data"`
	Collapse string            `json:"collapse"`
	Expires  int64             `json:"expires"` // Unix ms; 0: now or never
}

// parseMessage reads a message; ok is false for what a client of this version does not answer.
func parseMessage(data []byte) (m Message, ok bool) {
	err := json.Unmarshal(data, &m)
	return m, err == nil && m.Type == "push" && m.V >= 1 && m.MID != ""
}

// Nearby is what Nearest answers.
type Nearby struct {
	Fences []NearFence `json:"fences"`
	// OthersM: no fence that is not in the list is nearer, in metres. Nil: all are in it.
	OthersM  *float64 `json:"others_m"`
	Revision string   `json:"revision"` // of the gateway's fences
}

// NearFence is a fence as the phone's own system watches it: a circle.
type NearFence struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	Lat       float64 `json:"lat"`
	Lng       float64 `json:"lon"`
	RadiusM   float64 `json:"radius_m"`
	DistanceM float64 `json:"distance_m"` // of the circle; negative inside
	// Around: the circle is drawn around a polygon. On entering it send a position, and no transition.
	Around bool `json:"around"`
}
