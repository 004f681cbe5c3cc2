// Package load makes load for a running gateway and knows what has to come of it.
//
// A [Plan] is made before anything is sent: every message with its send time, every position, and, by a geometry
// and a rule book of its own, every transition and push that the gateway owes. The same configuration and seed
// make the same plan. [Run] sends it on its planned times, whether or not the gateway keeps up (an open loop), over
// ordinary NATS connections, and follows each entry through the events that the gateway publishes and the pushes
// that a fake provider accepts. Latencies count from the planned time, so a stall of the sender or of the gateway
// is in the figures of everything that waited behind it.
//
// The package is a client: it knows docs/protocol.md and docs/guarantees.md and imports none of the code it judges.
package load
