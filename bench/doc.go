// Package bench compares the hot path with what a user would pick instead:
//
//	go test -bench . ./bench
//
// prints every figure and, at the end, a table of them with their goals; docs/performance.md
// says what was measured and tried. Packages
// measure (the rounds, the table) and world (fences and devices) are for the benchmarks
// here and in the folders below; peers is a module of its own, for the other libraries.
//
// Every benchmark runs its subject and its peers in turn, in short rounds within one
// process, and reports the median over the rounds of the ratio of their times, named
// "x" and the peer: such a figure stays put on a machine whose clock and caches are
// shared with others, where nanoseconds do not. Before anything is timed, subject and
// peers must give the same answers.
//
// budget.txt holds ceilings on allocations and on instructions, which noise does not
// move; TestBudgetDoesNotAllocate and TestBudgetInstructions enforce them, the latter
// where valgrind is installed. compare.sh judges a change by benchstat over interleaved
// runs of two commits.
package bench
