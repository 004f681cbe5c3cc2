// Package citrus is the "Citrus day": one day of a retailer's campaign as input for the whole gateway, with what
// has to come of it. It is the acceptance scenario of the product; its tests run the day through NATS, the log,
// the ledger, the outbox and the fakes of both push services.
//
// The day is 28 November 2026, a Saturday, in Kyiv. Ten stores have a fence of 200 m each. Whoever comes to one of
// them between 10:00 and 21:00 gets one notice, once in the whole day whatever the number of stores and visits.
// 76,000 phones report positions. 2,600 people (groups G1 to G7) have a notice coming; 1,200 (N1 to N7) come near
// one and must not get it, each for a reason of its own; 72,200 stay far away.
//
// [New] makes the day from a seed: the same seed, the same bytes. It is pure: no clock, no files, no network. Each
// [Person] carries a [Want], so that a run is checked person by person and not by sums. The sums follow from it:
//
//	group  people  entries each  notices each  held
//	G1      1,900             1             1
//	G2        300             3             1  600 already_claimed
//	G3        150             2             1  130 already_claimed, 20 overlap
//	G4        100             1             1
//	G5         80             1             1  40 not_started
//	G6         50             1             1
//	G7         20             1             1
//	N2        200             1             0  100 not_started, 100 ended
//	N3        150             1             0  150 stale
//	N6        150             1             0  150 opted_out
//	N1, N4, N5, N7, far       0             0
//
// That is 3,850 entries by 3,100 people. 2,560 entries push. The other 1,290 are 730 + 20 of people who have their
// notice already, 240 outside the campaign's hours, 150 seen too late and 150 of people who refuse pushes. Of the
// 240, 40 are people of G5 who came before 10:00 and stay: their notice comes without another entry, when the
// campaign begins. So 2,600 people have one notice each; 2,600 of 76,000 is 3.42 %.
package citrus
