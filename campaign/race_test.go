//go:build race

package campaign

// raceEnabled: the race detector makes everything some ten times slower, so
// times say nothing.
const raceEnabled = true
