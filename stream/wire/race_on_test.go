//go:build race

package wire

import "testing"

func skipUnderRace(t *testing.T) {
	t.Helper()
	t.Skip("the race detector allocates; the plain test run checks this")
}
