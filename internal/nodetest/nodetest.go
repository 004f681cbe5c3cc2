package clienttest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// app is a folder from which publish.mjs can be run: the script with the client's modules beside it. It skips the
// test when this machine has no Node or cannot install the client, except under CI, where that is a failure.
func app(t *testing.T) (dir string) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			unavailable(t, "%s is not installed", tool)
		}
	}
	modules, err := modules(t.Context())
	if err != nil {
		unavailable(t, "the client could not be installed: %v", err)
	}
	// Node looks for modules beside the script's real path, so the script is copied to where they are linked.
	dir = t.TempDir()
	script, err := os.ReadFile("publish.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "publish.mjs"), script, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func unavailable(t *testing.T, format string, v ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, v...)
	}
	t.Skipf(format+"; the Node client is not tried", v...)
}

// modules returns the node_modules folder to use: the one beside the test, else one in the user's cache folder,
// which is made when it is not there. The cache's name holds a hash of the lock file, so a new version of the
// client gets a new folder, and it appears under its name only when it is complete.
func modules(ctx context.Context) (string, error) {
	here, err := filepath.Abs("node_modules")
	if err != nil {
		return "", err
	}
	if installed(here) {
		return here, nil
	}
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(lock)
	home := filepath.Join(cache, "footfall", "clienttest-"+hex.EncodeToString(sum[:6]))
	done := filepath.Join(home, "node_modules")
	if installed(done) {
		return done, nil
	}
	if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(home), "install-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(work, name), b, 0o600); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = work
	npm.WaitDelay = 5 * time.Second
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	// Another test process may have been first; its folder is as good.
	if err := os.Rename(work, home); err != nil && !installed(done) {
		return "", err
	}
	return done, nil
}

// installed reports whether npm finished there: it writes the hidden lock file last.
func installed(modules string) bool {
	_, err := os.Stat(filepath.Join(modules, ".package-lock.json"))
	return !errors.Is(err, fs.ErrNotExist)
}
