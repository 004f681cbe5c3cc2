//go:build !failpoint

package failpoint

// Here ends the process when the point is the chosen one.
func Here(string) {}

// Soon ends it a moment later, while the caller waits for something.
func Soon(string) {}
