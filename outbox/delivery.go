package outbox

import (
	"encoding/json"
	"errors"
	"fmt"

	"footfall/dedupe"
)

// State of a delivery; the package comment draws the arrows.
type State string

// The states. From StateAccepted on they are final.
const (
	StatePending    State = "pending"
	StateSending    State = "sending"
	StateRetryWait  State = "retry_wait"
	StateInDoubt    State = "in_doubt"
	StateAccepted   State = "accepted"
	StateFailed     State = "failed"
	StateExpired    State = "expired"
	StateCancelled  State = "cancelled"
	StateDead       State = "dead"
	StateSuppressed State = "suppressed"
)

// States lists every state, for metrics and exhaustive tests. The slice is
// fresh.
func States() []State {
	return []State{StatePending, StateSending, StateRetryWait, StateInDoubt, StateAccepted,
		StateFailed, StateExpired, StateCancelled, StateDead, StateSuppressed}
}

// Final reports whether nothing more happens to a delivery in this state.
func (s State) Final() bool {
	switch s {
	case StateAccepted, StateFailed, StateExpired, StateCancelled, StateDead, StateSuppressed:
		return true
	}
	return false
}

// OnDoubt says what to do when nobody knows whether a request was acted on.
type OnDoubt string

const (
	// Resend sends it again under the same message id. The default.
	Resend OnDoubt = "resend"
	// Drop ends the delivery as failed and keeps the claim.
	Drop OnDoubt = "drop"
)

// Delivery is one push to one token. Times are Unix milliseconds.
type Delivery struct {
	// MID is the message id of the claim, and the key of the row.
	MID      string `json:"mid"`
	App      string `json:"app"`
	Device   string `json:"device"`
	Person   string `json:"person,omitempty"`
	Campaign string `json:"campaign"`
	Fence    string `json:"fence,omitempty"`
	// Claim is the slot that this delivery uses. The zero Key: none.
	Claim dedupe.Key `json:"claim,omitzero"`
	// Lane selects the provider; see LaneName.
	Lane string `json:"lane"`
	// OnDoubt overrides Config.OnDoubt when it is not empty.
	OnDoubt OnDoubt `json:"on_doubt,omitempty"`

	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Attempts counts requests that may have reached the provider.
	Attempts int `json:"attempts,omitempty"`
	// Redos counts tries that certainly did not.
	Redos int `json:"redos,omitempty"`
	// Doubt is set for good once one attempt's outcome was unknown.
	Doubt bool `json:"doubt,omitempty"`

	CreatedAt int64 `json:"created_at"`
	// FixedAt is when the position was measured that led to this.
	FixedAt int64 `json:"fixed_at,omitempty"`
	// NextAt is when the row is due; in StateSending, when its lease runs out.
	NextAt int64 `json:"next_at,omitempty"`
	// ExpiresAt is when the message loses its worth. Required.
	ExpiresAt int64 `json:"expires_at"`
	UpdatedAt int64 `json:"updated_at"`

	// Context is what Config.Compose needs to render the message.
	Context    json.RawMessage `json:"context,omitempty"`
	ProviderID string          `json:"provider_id,omitempty"`
}

// LaneName names the lane of a provider, an app and an environment.
func LaneName(provider, app, env string) string { return provider + "/" + app + "/" + env }

// rowVersion begins every stored delivery; JSON follows, so that fields can be
// added without a new version.
const rowVersion = 1

var errRow = errors.New("outbox: unreadable delivery")

func (d *Delivery) encode() ([]byte, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("outbox: encode delivery %s: %w", d.MID, err)
	}
	return append([]byte{rowVersion}, b...), nil
}

func decode(b []byte) (Delivery, error) {
	if len(b) == 0 || b[0] != rowVersion {
		return Delivery{}, errRow
	}
	var d Delivery
	if err := json.Unmarshal(b[1:], &d); err != nil {
		return Delivery{}, fmt.Errorf("%w: %w", errRow, err)
	}
	return d, nil
}
