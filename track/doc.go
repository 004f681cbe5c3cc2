// Package track turns position fixes into transitions.
//
// A [Tracker] holds the state of the devices of one partition: where each was
// last seen and which fences it is in. [Tracker.Apply] takes one [Fix] and the
// current set of fences and answers what the fix means: the device entered a
// fence, left one, has dwelt in one, passed through one, or nothing of the kind
// and why.
//
// The package is a state machine and nothing else. It reads no clock, disk or
// network; every time in it is event time taken from the fixes, so the same
// fixes in the same order always give the same transitions. A Tracker belongs
// to one goroutine and takes no locks.
//
// # What happens to a fix
//
//	      log position applied already?   CheckFix          older than the last fix?
//	input ───────────▶ Replayed ─────no──▶ Refused ──no──────────▶ Late ──no──▶ ...
//
//	     same time as the last fix?        implied speed implausible?
//	... ─▶ Duplicate, SameTime ──no──▶ Quarantined until the next agrees ──no──▶ Accepted
//
// Only an accepted fix changes presence or makes a transition.
//
// # What happens to one device at one fence
//
//	             fix inside, accuracy good             stayed min stay
//	(outside) ───────────────────────────▶ pending ──────────────────────▶ inside
//	    ▲  │                                  │          enter                │ │
//	    │  │ no min stay: enter               │ clearly outside               │ │ dwell, once
//	    │  └──────────────────────────────────┼─────────────────────────────▶│ ◀┘
//	    │◀────────────────────────────────────┘                               │
//	    │◀────────────────────────────── exit: clearly outside ───────────────┤
//	    │                                                                     │ silent for PresenceTTL
//	    │◀─────────────── clearly outside ── unknown ◀────────────────────────┘
//	                                            │ fix inside
//	                                            └──────────▶ enter, Resumed
//
// A fix inside whose accuracy is too poor to enter leaves the device outside; it
// is remembered only so that its note is made once and so that a fence drawn
// around the device meanwhile is still told from a visit.
//
// Clearly outside means beyond the fence's edge by more than the exit margin
// and the (capped) accuracy of the fix; see [Rules]. Exits are tested on the
// device's own list of fences, never through an index.
package track
