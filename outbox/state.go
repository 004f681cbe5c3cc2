package outbox

import (
	"errors"
	"fmt"
	"slices"
)

// State of a delivery; docs/delivery.md draws the arrows.
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

// none is the state of a delivery that is not there: before Enqueue and after
// Purge.
const none State = ""

// arrows is the whole life of a delivery: what may follow each state. A change
// that is not here is refused before it is written (errIllegal).
var arrows = map[State][]State{
	none: {StatePending}, // Enqueue

	// Waiting. The arrow to itself puts a row off that would be one too many for
	// its device; accepted is what the phone's own word makes of it (Confirm).
	StatePending:   {StatePending, StateSending, StateExpired, StateCancelled, StateAccepted},
	StateRetryWait: {StateRetryWait, StateSending, StateExpired, StateCancelled, StateAccepted},
	StateInDoubt:   {StateInDoubt, StateSending, StateExpired, StateCancelled, StateAccepted},

	// Leased. Back to what it was when nothing was sent; to pending also when
	// another token is to be tried; cancelled when its campaign is over by the
	// time it is composed. No row is stored as this: a lease says it.
	StateSending: {StatePending, StateRetryWait, StateInDoubt, StateAccepted, StateFailed,
		StateExpired, StateCancelled, StateDead, StateSuppressed},

	// Final. An operator may send some again, or remove any.
	StateDead:       {StatePending, none},
	StateFailed:     {StatePending, none},
	StateSuppressed: {StatePending, none},
	StateAccepted:   {none},
	StateExpired:    {none},
	StateCancelled:  {none},
}

// errIllegal: a change that the table of arrows does not have; a mistake of
// this package.
var errIllegal = errors.New("outbox: no such change of state")

// follow refuses what the table does not have.
func follow(from, to State) error {
	if !slices.Contains(arrows[from], to) {
		return fmt.Errorf("%w: %q to %q", errIllegal, from, to)
	}
	return nil
}

// States lists every state, for metrics and exhaustive tests. The slice is
// fresh.
func States() []State {
	return []State{StatePending, StateSending, StateRetryWait, StateInDoubt, StateAccepted,
		StateFailed, StateExpired, StateCancelled, StateDead, StateSuppressed}
}

// Final reports whether nothing more happens to a delivery in this state by
// itself.
func (s State) Final() bool {
	switch s {
	case StateAccepted, StateFailed, StateExpired, StateCancelled, StateDead, StateSuppressed:
		return true
	}
	return false
}
