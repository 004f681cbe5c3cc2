package campaign

import (
	"time"

	"footfall/audience"
	"footfall/dedupe"
	"footfall/track"
)

// Input is all that a decision depends on.
type Input struct {
	Tr      *track.Transition
	Profile *audience.Profile // never nil; the zero profile of an unregistered device carries its Device
	Now     time.Time         // receive time of the ping that caused Tr
}

// Outcome is what Decide says.
type Outcome string

const (
	Propose Outcome = "propose" // claim Key and send
	Held    Outcome = "held"    // no push; Reason says why
)

// Reason names why. The set is closed: see [Reasons].
type Reason string

const (
	Eligible       Reason = "eligible"
	NotSelected    Reason = "not_selected"
	Disabled       Reason = "disabled"
	Paused         Reason = "paused"
	Untrusted      Reason = "untrusted"
	FenceEdit      Reason = "fence_edit"
	InitialOff     Reason = "initial_off"
	LowConfidence  Reason = "low_confidence"
	NotStarted     Reason = "not_started"
	Ended          Reason = "ended"
	WindowClosed   Reason = "window_closed"
	Stale          Reason = "stale"
	Expired        Reason = "expired"
	OptedOut       Reason = "opted_out"
	NoToken        Reason = "no_token"
	Overlap        Reason = "overlap"
	AlreadyClaimed Reason = "already_claimed"
)

// Check is one rung of the ladder that explain prints.
type Check struct {
	Rule   string `json:"rule"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Decision is the answer of one campaign about one transition.
type Decision struct {
	Campaign   string
	Outcome    Outcome
	Reason     Reason
	Checks     []Check
	Key        dedupe.Key
	Period     dedupe.Period
	PeriodEnds time.Time
	ExpiresAt  time.Time
}

// Decide is pure.
func (c *Campaign) Decide(in Input, explain bool) Decision { return Decision{} }

// Pick orders transitions of one fix: the first gets the push.
func Pick(trs []track.Transition) []track.Transition { return trs }
