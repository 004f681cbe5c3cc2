//go:build !linux

package report

// hardware is told on Linux only.
func hardware() (cpu string, memoryMB int64) { return "", 0 }
