package watch

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// started runs Files and returns a channel with one value per load, and the log.
func started(t *testing.T, cfg Config, result func(text string) error) (loads chan string, log *lockedBuffer) {
	t.Helper()
	loads, log = make(chan string, 100), new(lockedBuffer)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Files(ctx, cfg, func() error {
			data, err := os.ReadFile(cfg.Path)
			if err != nil {
				return err
			}
			loads <- string(data)
			return result(string(data))
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Files returned %v", err)
		}
	})
	return loads, log
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func next(t *testing.T, loads chan string, want string) {
	t.Helper()
	for {
		select {
		case got := <-loads:
			if got == want {
				return
			}
		case <-time.After(time.Minute):
			t.Fatalf("waited 20 s for %q to be loaded", want)
		}
	}
}

// TestRefusalIsSaidOnce edits a file so that loading fails, twice in the same way, and then mends it.
func TestRefusalIsSaidOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	write(t, path, "good")
	loads, log := started(t, Config{Path: path, Debounce: 10 * time.Millisecond, Poll: -1}, func(text string) error {
		if strings.HasPrefix(text, "bad") {
			return errors.New("refused")
		}
		return nil
	})
	next(t, loads, "good")
	write(t, path, "bad")
	next(t, loads, "bad")
	write(t, path, "bad again")
	next(t, loads, "bad again")
	write(t, path, "better now")
	next(t, loads, "better now")
	deadline := time.Now().Add(time.Minute)
	for !strings.Contains(log.String(), "in use again") && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if n := strings.Count(log.String(), "refused"); n != 1 || !strings.Contains(log.String(), "in use again") {
		t.Errorf("said %d times, log:\n%s", n, log)
	}
}

// TestRenameAndPoll replaces the file as editors do, and finds a change by looking when there are no events.
func TestRenameAndPoll(t *testing.T) {
	for _, tt := range []struct {
		name           string
		debounce, poll time.Duration
	}{{"events", 10 * time.Millisecond, -1}, {"poll", time.Hour, 20 * time.Millisecond}} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "c.yaml")
			write(t, path, "one")
			loads, _ := started(t, Config{Path: path, Debounce: tt.debounce, Poll: tt.poll}, func(string) error { return nil })
			next(t, loads, "one")
			write(t, filepath.Join(dir, ".new"), "two, longer")
			if err := os.Rename(filepath.Join(dir, ".new"), path); err != nil {
				t.Fatal(err)
			}
			next(t, loads, "two, longer")
		})
	}
}

// TestFilesThatAreNotThere: editors leave locks that are links to nowhere and files that come and go. They stop
// nothing, and what appears where one pointed is seen.
func TestFilesThatAreNotThere(t *testing.T) {
	dir, target := t.TempDir(), filepath.Join(t.TempDir(), "target.yaml")
	write(t, filepath.Join(dir, "a.yaml"), "a")
	for link, to := range map[string]string{".#a.yaml": "me@host.1234:56", "b.yaml": target, "#a.yaml#": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	vanished := func() ([]string, error) {
		return []string{filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml"), filepath.Join(dir, "gone.yaml")}, nil
	}
	for name, list := range map[string]func() ([]string, error){"every file": nil, "a list": vanished} {
		loads := make(chan string, 100)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- Files(ctx, Config{Path: dir, List: list, Debounce: 5 * time.Millisecond, Poll: 10 * time.Millisecond}, func() error {
				got := "b is not there"
				if b, err := os.ReadFile(filepath.Join(dir, "b.yaml")); err == nil {
					got = string(b)
				}
				loads <- got
				return nil
			})
		}()
		select {
		case err := <-ended:
			t.Fatalf("%s: Files returned %v", name, err)
		case got := <-loads:
			if got != "b is not there" {
				t.Errorf("%s: first load got %q", name, got)
			}
		}
		write(t, target, "b appeared")
		next(t, loads, "b appeared")
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: Files returned %v", name, err)
		}
		if err := os.Remove(target); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHiddenFilesAreNoChange: a swap file beside the one that is edited loads nothing.
func TestHiddenFilesAreNoChange(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), "a")
	w := &watcher{cfg: Config{Path: dir}}
	before, err := w.look()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, ".a.yaml.swp"), "swap")
	if after, err := w.look(); err != nil || after != before {
		t.Errorf("a hidden file is a change (%v)", err)
	}
	write(t, filepath.Join(dir, "b.yaml"), "b")
	if after, err := w.look(); err != nil || after == before {
		t.Errorf("a new file is no change (%v)", err)
	}
	// A hidden file that is itself what is watched counts.
	hidden := filepath.Join(dir, ".a.yaml.swp")
	w.cfg.Path = hidden
	if before, err = w.look(); err != nil {
		t.Fatal(err)
	}
	write(t, hidden, "longer than it was")
	if after, err := w.look(); err != nil || after == before {
		t.Errorf("a change of the watched file is none (%v)", err)
	}
}

// TestStartFails: the first load's error, and a path that is not there, are the caller's to handle.
func TestStartFails(t *testing.T) {
	if err := Files(t.Context(), Config{Path: filepath.Join(t.TempDir(), "none")}, func() error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
	refused := errors.New("refused")
	if err := Files(t.Context(), Config{Path: t.TempDir()}, func() error { return refused }); !errors.Is(err, refused) {
		t.Errorf("got %v, want the load's error", err)
	}
}
