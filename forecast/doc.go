// Package forecast says what draft campaigns will bring: how many pushes on each day to come, and in all, with an interval
// and with what each rule of the campaign takes off.
//
// It looks at three pasts of the ledger. Sketches (package reach) know how many different people came to each fence in each
// hour of past weeks, and so what is left of them in the campaign's window, for its once_per and for its own caps (weeks).
// Profiles know which part of the registered devices fits the audience and can be reached now. And the visits and pushes of
// a sample of these people say what conditions on visits and caps over all campaigns take off, by the campaign's own rules
// (sample). What is not taken off is said in words.
//
// A forecast that is kept before its days begin (Keep) stands in the reports of these days beside what came (Compare).
//
// Nothing here has a clock: it is as of the time that the caller says.
package forecast
