// Package outbox delivers: it keeps each notification that is owed, sends it
// through the provider of its lane, and settles the claim it stands for.
//
// A delivery is one push to one token. It is written by [Enqueue] in the
// transaction that also writes the claim, and each later change is written in
// the transaction that also settles the claim and tells the owner
// (Config.OnOutcome). So there is never a claim without a delivery, nor an
// outcome that only half happened.
//
// # Life of a delivery
//
//	            Enqueue                  answered: accepted ──▶ ACCEPTED    claim committed
//	               │                     │
//	               ▼       lease         │
//	            pending ───────────▶ sending ── refused for good ──▶ FAILED      claim released *
//	               ▲                 │ │ │ └── Compose says no ────▶ SUPPRESSED  claim released *
//	               │                 │ │ └──── attempts used up ───▶ DEAD        claim kept
//	  handed back  │                 │ │
//	  unsent, or ──┴─────────────────┘ ├─ try again ───▶ retry_wait ──┐
//	  another token                    └─ answer lost ─▶ in_doubt ────┴─▶ sending …
//
//	from pending, retry_wait, in_doubt, and what a crash left sending:
//	    expiry passed, or the next attempt would come too late ──▶ EXPIRED    claim released *
//	    CancelCampaign                                         ──▶ CANCELLED  claim released *
//
//	* unless the delivery was ever in doubt: then the phone may have shown it,
//	  and the claim is kept. DEAD keeps it because an operator may send it again.
//
// The table is in state.go, the drawing with all arrows in docs/delivery.md.
// The states in capitals are final: the row is kept for Config.KeepFinished
// and then vanishes. A row in any other state has no time to live; it ends as
// one of the final states, with a reason, and is counted. An operator may send
// a dead, failed or suppressed one again ([Redrive]) while it is worth
// something and its claim is free, or remove it ([Purge]).
//
// # What a crash does
//
// A row is leased, durably, before its request is made: one record names a whole
// batch, and the rows are written again only with their outcomes. After a crash
// the leased rows, and only those, may have been sent: the next start finds them
// in doubt and sends them again under the same message id, which the phone,
// the provider's collapse id and the SDK use to show one, unless the phone has
// reported the message meanwhile ([Outbox.Confirm]). That is the only case
// in which a request is repeated although the first may have been acted on, and
// Config.OnDoubt can turn it off. A lease has no end: the database belongs to
// one process at a time, so what is leased and not in flight here was leased by
// a dead one.
//
// # Lanes
//
// A lane is (provider, app, environment). Each has its own workers, token
// bucket, breaker and pause, so that trouble at one provider stays there:
//
//   - the bucket empty, the breaker open or the lane held (429): rows wait
//     where they are; no attempt is spent, only their expiry runs;
//   - asked for less (429, 503): the rate is halved, at most once a second, and
//     comes back by a twentieth of the full rate per second; what gathered in
//     the bucket during a rest is lost, so that its end is no burst;
//   - credentials refused: the lane pauses with an alarm, and one row at a time
//     finds out whether they work again;
//   - one device with too many messages: its rows are put off, others pass;
//   - too many tokens called dead: none is believed ([Outbox.TrustsTokens]);
//   - a campaign's text refused again and again: its rows are suppressed until
//     the text changes ([TextRefused]);
//   - a journey's calls refused again and again: the lane pauses as with
//     credentials, and what waits is kept.
//
// A lane has two queues. Announcements (Delivery.Bulk) hold at most half of the
// workers, leave half of a burst of the bucket alone, and get a tenth of the
// rate while others wait, so that a hundred thousand of them do not delay an
// entry.
//
// Memory does not grow with the backlog: a lane holds what it has leased, and
// everything else stays in the ready index, ordered by (lane, next_at).
package outbox
