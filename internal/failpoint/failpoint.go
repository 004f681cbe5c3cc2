// Package failpoint ends the process at a chosen place, as kill -9 would, so
// that a test can prove what a crash there does. In a normal build its
// functions are empty; the build tag failpoint gives them their effect.
package failpoint

// Points are the places at which a crash is of interest, in the order in which
// a position passes them on its way to a phone.
var Points = []string{
	Received,
	Stored,
	Settling,
	Committed,
	Leased,
	Sent,
	Answered,
	Recorded,
}

// The points.
const (
	Received  = "received"  // a message is in the collector, nothing is stored
	Stored    = "stored"    // the log has it, nobody has been answered
	Settling  = "settling"  // claims, deliveries and steps of journeys are decided, not committed
	Committed = "committed" // the ledger has them, the outbox does not know yet
	Leased    = "leased"    // a delivery is leased, its request not begun
	Sent      = "sent"      // the request is on its way, the answer is not
	Answered  = "answered"  // the provider has answered, nothing is recorded
	Recorded  = "recorded"  // the outcome is committed, its event not relayed
)
