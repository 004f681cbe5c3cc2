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
//	        Enqueue
//	           │
//	           ▼       lease (synced)          accepted
//	        pending ──────────────▶ sending ──────────────▶ ACCEPTED    claim committed
//	           ▲                     │ │ │
//	           │ handed back unsent  │ │ └─ answer unknown, ──▶ in_doubt ─┐
//	           │ (breaker, shutdown) │ │    or lease ran out              │ same message id,
//	           └─────────────────────┘ │                                  │ after the back-off
//	                                   ├─ try again ──▶ retry_wait ───────┤
//	                                   │                                  ▼
//	                                   │                               sending …
//	                                   ├─ refused for good ──▶ FAILED      claim released *
//	                                   ├─ Compose says no  ──▶ SUPPRESSED  claim released *
//	                                   └─ attempts used up ──▶ DEAD        claim kept
//
//	from any state but sending in this process, and the capital ones:
//	    expiry passed, or the next attempt would come too late ──▶ EXPIRED    claim released *
//	    CancelCampaign                                         ──▶ CANCELLED  claim released *
//
//	* unless the delivery was ever in doubt: then the phone may have shown it,
//	  and the claim is kept. DEAD keeps it because an operator may send it again.
//
// The states in capitals are final: the row is kept for Config.KeepFinished
// and then vanishes. A row in any other state has no time to live; it ends as
// one of the final states, with a reason, and is counted.
//
// # What a crash does
//
// A row is leased, durably, before its request is made. After a crash the
// leased rows, and only those, may have been sent: when the lease runs out they
// become in_doubt and are sent again under the same message id, which the
// phone, the provider's collapse id and the SDK use to show one. That is the
// only case in which a request is repeated although the first may have been
// acted on, and Config.OnDoubt can turn it off.
//
// # Lanes
//
// A lane is (provider, app, environment). Each has its own workers, token
// bucket, breaker and pause, so that trouble at one provider stays there:
//
//   - the bucket empty, the breaker open or the lane held (429): rows wait
//     where they are; no attempt is spent, only their expiry runs;
//   - credentials refused: the lane pauses with an alarm, and one row at a time
//     finds out whether they work again;
//   - one device with too many messages: its rows are put off, others pass.
//
// Memory does not grow with the backlog: a lane holds what it is sending, and
// everything else stays in the ready index, ordered by (lane, next_at).
package outbox
