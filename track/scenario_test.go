package track_test

import (
	"testing"

	"footfall/internal/simulate"
)

// TestScenarios plays testdata/scenarios: one file per rule of the semantics of
// a ping. Each case runs as written, with a restart before every input, and
// with every input delivered twice.
func TestScenarios(t *testing.T) { simulate.Run(t, "testdata/scenarios") }
