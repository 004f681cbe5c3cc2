// Package dedupe keeps the promise that a person hears of a campaign at most
// once per period: it owns claim keys, periods and the claims themselves.
//
// A claim is the durable record that a subject has used a campaign's slot for
// a period. It is written in the transaction that also writes the delivery, so
// the two are never apart:
//
//	            Reserve                Commit (the provider accepted)
//	(no claim) ─────────▶ Reserved ──────────────────────────────▶ Committed
//	                       │    ▲                                      ▲
//	               Release │    │ Reserve: next release counter,       │ Commit by the
//	                       ▼    │ so another message id                │ same message id
//	                      Released ────────────────────────────────────┘
//
// Committed is final. A claim is released only when nothing can have reached
// the subject (a dead token, expired before it was sent, cancelled); the next
// Reserve wins again and gets another message id, because the id of the failed
// delivery stays taken. A release in error is repaired by the provider's
// acceptance: Commit by the same id takes a released claim back, unless someone
// has reserved it since.
//
// Claims vanish 48 h after their period has ended ([KeepAfterEnd]); those of a
// period that never ends stay.
//
// All functions work inside the transaction that they are given and use no
// clock of their own.
package dedupe
