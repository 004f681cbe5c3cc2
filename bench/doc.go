// Package bench compares the hot path with what a user would pick instead. It has no
// code of its own, only tests and benchmarks:
//
//	go test -bench . ./bench
//
// Every benchmark runs its subject and its peers in turn, in short rounds within one
// process, and reports the median over the rounds of the ratio of their times, named
// "x" and the peer: such a figure stays put on a machine whose clock and caches are
// shared with others, where nanoseconds do not. Before anything is timed, subject and
// peers must give the same answers.
//
// budget.txt holds ceilings on allocations and on instructions, which noise does not
// move; TestBudget enforces them, the instructions where valgrind is installed.
// compare.sh judges a change by benchstat over interleaved runs of two commits.
package bench
