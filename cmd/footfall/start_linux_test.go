package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// unprivileged gives up root's right to write anywhere for the rest of the test. It acts on the thread, which ends
// with the test because it is never unlocked.
func unprivileged(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	runtime.LockOSThread()
	if err := syscall.Setfsuid(65534); err != nil {
		t.Skipf("cannot give up root's rights: %v", err)
	}
}

// TestStartWithoutWriteAccess: a data directory that may not be written is said plainly.
func TestStartWithoutWriteAccess(t *testing.T) {
	for _, tt := range []struct {
		name, data string // data is the directory below the one that may not be written
		says       string
	}{
		{"cannot be made", "data", "data_dir"},
		{"is read-only", ".", "make it writable"},
	} {
		dir := t.TempDir()
		if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o555)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
		t.Run(tt.name, func(t *testing.T) {
			unprivileged(t)
			code, out, errs := runCLI(t, "serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, tt.data))
			if code != exitFailed || !strings.Contains(errs, "permission denied") || !strings.Contains(errs, tt.says) {
				t.Errorf("exit code %d, want %d, \"permission denied\" and %q in:\n%s%s", code, exitFailed, tt.says, out, errs)
			}
		})
	}
}
