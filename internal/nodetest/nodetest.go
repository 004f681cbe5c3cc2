// Package nodetest gives tests the Node programs that they drive: clients that
// we did not write, from npm, at the versions and checksums of the lock file
// beside the test.
package nodetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// App returns a folder from which the scripts, files beside the test, can be
// run with the packages of the test's package-lock.json. It skips the test when
// this machine has no Node or cannot install them, except under CI (the
// variable CI is set), where that is a failure.
func App(t *testing.T, scripts ...string) (dir string) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			Unavailable(t, "%s is not installed", tool)
		}
	}
	modules, err := modules(t.Context())
	if err != nil {
		Unavailable(t, "the packages could not be installed: %v", err)
	}
	// Node looks for modules beside the script's real path, so scripts are copied to where they are linked.
	dir = t.TempDir()
	for _, name := range scripts {
		script, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), script, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Run executes a script in the folder of App and decodes the JSON that it
// prints into got. env adds to the environment.
func Run(t *testing.T, dir string, env []string, got any, script string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	node := exec.CommandContext(ctx, "node", append([]string{script}, args...)...)
	node.Dir, node.Env = dir, append(os.Environ(), env...)
	out, err := node.Output()
	if err != nil {
		text := ""
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			text = string(exit.Stderr)
		}
		t.Fatalf("node %s: %v\n%s%s", script, err, out, text)
	}
	if err := json.Unmarshal(out, got); err != nil {
		t.Fatalf("%s printed %q: %v", script, out, err)
	}
}

// Unavailable skips the test because something from outside is not there, or
// fails it under CI.
func Unavailable(t *testing.T, format string, v ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, v...)
	}
	t.Skipf(format+"; this is not tried", v...)
}

// modules returns the node_modules folder to use: the one beside the test, else one in the user's cache folder,
// which is made when it is not there. The cache's name holds a hash of the lock file, so a new version of a
// package gets a new folder, and it appears under its name only when it is complete.
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
	home := filepath.Join(cache, "footfall", "npm-"+hex.EncodeToString(sum[:6]))
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
