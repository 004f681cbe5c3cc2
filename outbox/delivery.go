package outbox

import (
	"cmp"
	"encoding/json"

	"footfall/dedupe"
)

// OnDoubt says what to do when nobody knows whether a request was acted on.
type OnDoubt string

const (
	// Resend sends it again under the same message id. The default.
	Resend OnDoubt = "resend"
	// Drop ends the delivery as failed and keeps the claim.
	Drop OnDoubt = "drop"
)

// Delivery is one push to one person. Times are Unix milliseconds.
type Delivery struct {
	// MID is the message id of the claim, and the key of the row.
	MID string `json:"mid"`
	App string `json:"app"`
	// Device is whose token is used now; see Config.Another.
	Device   string `json:"device"`
	Person   string `json:"person,omitempty"`
	Campaign string `json:"campaign"`
	Fence    string `json:"fence,omitempty"`
	// Claim is the slot that this delivery uses. The zero Key: none.
	Claim dedupe.Key `json:"claim,omitzero"`
	// Lane selects the provider; see LaneName.
	Lane string `json:"lane"`
	// Env is the environment to send to when it is not the one that the device
	// has named: it was found by trying.
	Env string `json:"env,omitempty"`
	// Lead and Copies are of a message that goes to several devices of a person,
	// a row for each: Lead is the message id of the claim, which the first of
	// them has, and Copies how many there are, this one among them. "" and 0: it
	// goes to one. See copies.go.
	Lead   string `json:"lead,omitempty"`
	Copies int    `json:"copies,omitempty"`
	// Bulk marks one of many that are sent at once, an announcement. They give
	// way to the others: see the package comment.
	Bulk bool `json:"bulk,omitempty"`
	// OnDoubt overrides Config.OnDoubt when it is not empty.
	OnDoubt OnDoubt `json:"on_doubt,omitempty"`

	// State is StateSending in what Get and List return while a lease says so; no
	// row is stored with it.
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Attempts counts requests that may have reached the provider.
	Attempts int `json:"attempts,omitempty"`
	// Redos counts tries that certainly did not.
	Redos int `json:"redos,omitempty"`
	// Redrives counts how often an operator sent it again.
	Redrives int `json:"redrives,omitempty"`
	// Doubt is set for good once one attempt's outcome was unknown.
	Doubt bool `json:"doubt,omitempty"`
	// Tried are the routes whose token was refused, the latest last.
	Tried []Route `json:"tried,omitempty"`

	CreatedAt int64 `json:"created_at"`
	// FixedAt is when the position was measured that led to this.
	FixedAt int64 `json:"fixed_at,omitempty"`
	// NextAt is when the row is due; in StateSending, when it was.
	NextAt int64 `json:"next_at,omitempty"`
	// ExpiresAt is when the message loses its worth. Required.
	ExpiresAt int64 `json:"expires_at"`
	UpdatedAt int64 `json:"updated_at"`
	// FirstAt is when the first try began, 0 while there was none.
	FirstAt int64 `json:"first_at,omitempty"`

	// Context is what Config.Compose needs to render the message.
	Context    json.RawMessage `json:"context,omitempty"`
	ProviderID string          `json:"provider_id,omitempty"`

	step int // how often the row was changed
}

// Route is one way to a person: whose token, through which lane.
type Route struct {
	Device string `json:"device"`
	Lane   string `json:"lane"`
	Env    string `json:"env,omitempty"`
}

// Route is the way that the delivery takes now.
func (d *Delivery) Route() Route { return Route{d.Device, d.Lane, d.Env} }

// asLeased is d while it is being sent, since at.
func (d Delivery) asLeased(at int64) Delivery {
	d.State, d.UpdatedAt, d.FirstAt = StateSending, at, cmp.Or(d.FirstAt, at)
	return d
}

// maxRoutes bounds how many tokens one delivery tries.
const maxRoutes = 8

// LaneName names the lane of a provider, an app and an environment.
func LaneName(provider, app, env string) string { return provider + "/" + app + "/" + env }
