// Package stream is the gateway: everything between the NATS subjects that phones publish on and the outbox that
// sends. It owns the order in which things happen; what they mean is decided by the packages below it (track, campaign,
// journey, audience, dedupe), which have no clock, no goroutine and no network.
//
// # The way of a position
//
//	intake ─▶ door ─▶ collector ─▶ appender ─▶ inputLog        stored: a request is answered ok here
//	                                  │ the same batch, handed over
//	                                  ▼
//	                               worker ─▶ effects            one a partition; owns its devices' presence
//	                                  │ only what has an effect
//	                                  ▼
//	                               settler                      on the ledger's one writer: claims, deliveries,
//	                                  │                         decisions, events, the log's offset; one commit
//	                        ┌─────────┴─────────┐
//	                        ▼                   ▼
//	                     outbox              eventLog           pushes; ev.> in the stream EVENTS
//
// Each arrow is a bounded queue. The door answers busy when one is full, and says "flood" to a device that takes more
// than its share; past the door nothing is dropped, and what the ledger cannot take now waits in the log.
//
// # Who runs what
//
// Gateway.Run starts the stages from the back to the front and stops them from the front to the back. Of goroutines there
// are one for the intake, one that decodes, and for each of the [Partitions] one that appends, one that reads the log when
// the handing-over has been interrupted, and one worker. Everything that writes to the ledger is a function that the writer
// of internal/db runs; two devices of one person, owned by different workers, meet there and nowhere else. Beside the
// path run the outbox, the relay of events, the timers of journeys, the announcer, and the sweeps of segments and versions.
//
// # Where to look
//
// On the way, in its order:
//
//	taking in    intake (embedded server), library (external), door, flood, collector, positions, refusals
//	the log      appender, log, logreader, position, progress; files in package inputlog, payloads in package wire
//	deciding     worker, effects, settle, inquiry, decision, decisionrow; customer and receipts are the other kinds of input; canary: who is nobody
//	beside it    consent, devices, members, facts (for reports), besttime, badge, vouchers: what the settler writes with a decision
//	telling      events, encode, funnelcount, counters
//	sending      compose (a push is rendered when it is sent), retired (tokens that were called dead)
//
// Around it:
//
//	the whole    gateway (starts and stops), catalogue (of fences); streams, owner: what is kept in NATS, and whose it is; the server is package natsd
//	over time    announce (schedules), journeys, wakes (timers), calls (webhook steps), retire
//	asking       service (subjects of questions), explain, approach, whatif, report (with packages funnel and forecast); near, here (of devices)
//	ordering     deliveries, journeyops, voucherops, tags, stop: what an operator does; taghttp, receipthttp: over HTTP
//	rehearsing   recording (the log as it was), past (what the ledger knew), rehearsal (the same code, nothing sent)
//	privacy      export, forget
package stream
