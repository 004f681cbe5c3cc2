package fences

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

// watched runs Watch on a path and hands what it applies to the test.
type watched struct {
	t       *testing.T
	applied chan []Fence
	log     *lockedBuffer
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

func follow(t *testing.T, path string, o Options) *watched {
	t.Helper()
	w := &watched{t: t, applied: make(chan []Fence, 100), log: new(lockedBuffer)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Watch(ctx, path, o, func(fs []Fence, findings []Finding) error {
			if HasErrors(findings) {
				return errors.New(findings[0].Message)
			}
			w.applied <- fs
			return nil
		}, slog.New(slog.NewTextHandler(w.log, nil)))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch returned %v", err)
		}
	})
	return w
}

// next waits for the next set applied and checks its only fence.
func (w *watched) next(id ID) {
	w.t.Helper()
	select {
	case fs := <-w.applied:
		if len(fs) != 1 || fs[0].ID != id {
			w.t.Fatalf("applied %v, want %s", fs, id)
		}
	case <-time.After(20 * time.Second):
		w.t.Fatalf("%s was not applied; log:\n%s", id, w.log)
	}
}

// logged waits for the log to say something.
func (w *watched) logged(what string) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(w.log.String(), what); {
		if time.Now().After(end) {
			w.t.Fatalf("the log does not say %q:\n%s", what, w.log)
		}
		select {
		case fs := <-w.applied:
			w.t.Fatalf("applied %v", fs)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// eventsOnly looks at files for itself so rarely that only events can explain a
// change being seen.
var eventsOnly = Options{Debounce: 20 * time.Millisecond, Poll: -1}

func TestWatchFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stores.geojson")
	write(t, file, circleAt("one", "[1,1]"))
	w := follow(t, file, eventsOnly)
	w.next("one")

	write(t, file, circleAt("two", "[1,1]"))
	w.next("two")

	// As editors save: write beside it, then rename.
	write(t, file+".tmp", circleAt("three", "[1,1]"))
	if err := os.Rename(file+".tmp", file); err != nil {
		t.Fatal(err)
	}
	w.next("three")

	// Broken: the last good version stays, and the log says so.
	write(t, file, "{")
	w.logged("last good version stays in use")
	write(t, file, circleAt("four", "[1,1]"))
	w.next("four")

	// Removed: likewise, and it may come back.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.logged("no such file")
	write(t, file, circleAt("five", "[1,1]"))
	w.next("five")
	if n := strings.Count(w.log.String(), "no such file"); n != 1 {
		t.Errorf("the log repeats itself:\n%s", w.log)
	}
}

// Several quick writes are one change: the last one counts.
func TestWatchGathersWrites(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stores.geojson")
	write(t, file, circleAt("one", "[1,1]"))
	w := follow(t, file, Options{Debounce: 500 * time.Millisecond, Poll: -1})
	w.next("one")
	for range 10 {
		write(t, file, circleAt("not-yet", "[1,1]"))
	}
	write(t, file, circleAt("last", "[1,1]"))
	w.next("last")
}

// A mounted volume changes by swapping the link that its files lead through.
func TestWatchSwappedLink(t *testing.T) {
	dir := t.TempDir()
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name+".new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(dir, ".."+v), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, ".."+v, "stores.geojson"), circleAt(v, "[1,1]"))
	}
	link("..v1", "..data")
	link(filepath.Join("..data", "stores.geojson"), "stores.geojson")
	byFile := follow(t, filepath.Join(dir, "stores.geojson"), eventsOnly)
	byFolder := follow(t, dir, eventsOnly)
	byFile.next("v1")
	byFolder.next("v1")
	link("..v2", "..data")
	byFile.next("v2")
	byFolder.next("v2")
}

// Looking from time to time finds the change when no event does in time.
func TestWatchPolls(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stores.geojson")
	write(t, file, circleAt("one", "[1,1]"))
	w := follow(t, file, Options{Poll: 20 * time.Millisecond, Debounce: time.Hour})
	w.next("one")
	write(t, file, circleAt("other", "[1,1]"))
	w.next("other")
}

// A start with nothing to start from fails at once.
func TestWatchFailsAtStart(t *testing.T) {
	dir := t.TempDir()
	if err := Watch(t.Context(), filepath.Join(dir, "none"), eventsOnly, func([]Fence, []Finding) error { return nil }, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	refused := errors.New("refused")
	write(t, filepath.Join(dir, "x.geojson"), "{")
	if err := Watch(t.Context(), dir, eventsOnly, func([]Fence, []Finding) error { return refused }, nil); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
}
