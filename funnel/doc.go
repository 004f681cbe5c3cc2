// Package funnel says what campaigns achieved: how many entries led to a push, what became of each push, who came
// again, who bought, who left, and how late it all was.
//
// # Facts, not counters
//
// A report is computed from rows that the gateway writes in the transactions of the things themselves: an [Entry] for
// each transition that a campaign was asked about, an [Outcome] when its push has come to its end, a [Change] when a
// device can be pushed to or no longer. Receipts and customer events are read where they are kept. Nothing is counted
// ahead, so a report of a past day can be asked for again, with another window or another model, and comes to the same.
//
// # Sums
//
// Every entry has exactly one outcome, and every sum is over entries:
//
//	entered   = claimed + held, by reason
//	claimed   = accepted + not sent, by state + still owed
//	entered   = the sum of the outcomes, each entry under the furthest thing that is known of it
//	the total = the sum of the groups of a breakdown
//
// sent is how many a provider was asked about at all. delivered, displayed, opened and converted are of the claimed ones;
// a conversion proves nothing but itself (package receipt), so converted may exceed opened.
//
// # Days
//
// The day and the hour of an entry are those on the store's clock when it happened; they are stored with it, so that
// a later change of the fence's zone moves nothing. A conversion has the day on the clock of the store whose push is
// credited. Subscribers have no store: their days are those of UTC.
package funnel
