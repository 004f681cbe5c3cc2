package fences

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watch loads path (a file or a folder, see Load), hands the result to apply,
// and does so again after every change of content until ctx ends; then it
// returns nil.
//
// apply decides: it may refuse a result, for one because of HasErrors, and keep
// what it has; Watch says so in the log with the error and goes on. When the
// path disappears or cannot be read, apply is not called: the last version
// stays in use and the log says so. The error of the first load or of the first
// apply ends Watch and is returned, so that a start with bad fences fails.
//
// Changes are seen through the file system's events on the folder, which covers
// editors that save by renaming and volumes that swap a link, and by looking at
// sizes and times every Options.Poll where there are no events. Changes are
// gathered for Options.Debounce, ten times that at most, before they are read.
// Writing the same content again is not a change. apply is called from the
// goroutine that called Watch, never concurrently. log may be nil.
func Watch(ctx context.Context, path string, o Options, apply func([]Fence, []Finding) error, log *slog.Logger) error {
	o = o.withDefaults()
	w := &watcher{path: path, o: o, apply: apply, log: orDiscard(log)}
	// Listen before the first load: a change in between must not be lost.
	events, err := fsnotify.NewWatcher()
	if err != nil {
		if o.Poll < 0 {
			return fmt.Errorf("fences: watch %s: %w", path, err)
		}
		w.log.Warn("no file events; looking for changes instead", "path", path, "every", o.Poll, "err", err)
		events = noEvents()
	} else {
		defer events.Close()
		w.events = events
	}
	w.listen()
	if err := w.load(); err != nil {
		return err
	}
	return w.run(ctx, events)
}

// noEvents is a watcher whose nil channels never deliver.
func noEvents() *fsnotify.Watcher { return &fsnotify.Watcher{} }

type watcher struct {
	path   string
	o      Options
	apply  func([]Fence, []Finding) error
	log    *slog.Logger
	events *fsnotify.Watcher // nil without events

	looks   signature // of the files when they were last read
	content [sha256.Size]byte
	trouble string // the last reading error said, so that it is said once
}

// signature tells without reading whether files may have changed.
type signature [sha256.Size]byte

// run waits for changes and loads after them.
func (w *watcher) run(ctx context.Context, events *fsnotify.Watcher) error {
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	defer quiet.Stop()
	var since time.Time // of the first change not yet read; zero: none
	var poll <-chan time.Time
	if w.o.Poll > 0 {
		t := time.NewTicker(w.o.Poll)
		defer t.Stop()
		poll = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-events.Events:
			if !open {
				return errors.New("fences: file events ended")
			}
			now := time.Now()
			if since.IsZero() {
				since = now
			}
			quiet.Reset(min(w.o.Debounce, 10*w.o.Debounce-now.Sub(since)))
		case err := <-events.Errors:
			// Events may have been lost: look for oneself.
			w.log.Warn("file events", "path", w.path, "err", err)
			since = time.Now()
			quiet.Reset(w.o.Debounce)
		case <-quiet.C:
			since = time.Time{}
			w.change()
		case <-poll:
			w.listen() // again, in case the folder was replaced
			w.change()
		}
	}
}

// listen asks for the events of the folder, and of the folder that links lead to.
func (w *watcher) listen() {
	if w.events == nil {
		return
	}
	for _, p := range [2]string{w.path, resolved(w.path)} {
		if info, err := os.Stat(p); err != nil || !info.IsDir() {
			p = filepath.Dir(p)
		}
		if err := w.events.Add(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			w.log.Warn("no file events for the folder", "path", p, "err", err)
		}
	}
}

func resolved(path string) string {
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	return path
}

// change loads when the files look different, and says what became of it.
func (w *watcher) change() {
	if s, err := look(w.path); err == nil && s == w.looks && w.trouble == "" {
		return
	}
	if err := w.load(); err != nil {
		_, refused := errors.AsType[*refusedError](err)
		if msg := err.Error(); refused || msg != w.trouble {
			w.trouble = msg
			if refused { // said; nothing to try again until the content changes
				w.trouble = ""
			}
			w.log.Warn("fences were not changed; the last good version stays in use", "path", w.path, "err", err)
		}
		return
	}
	if w.trouble != "" {
		w.trouble = ""
		w.log.Info("fences can be read again", "path", w.path)
	}
}

// load reads the files and hands them to apply unless nothing has changed.
func (w *watcher) load() error {
	looks, err := look(w.path)
	if err != nil {
		return err
	}
	files, err := list(w.path)
	if err != nil {
		return err
	}
	texts, err := readAll(files, w.o.MaxBytes)
	if err != nil {
		return err
	}
	h := sha256.New()
	for _, t := range texts {
		writeField(h, []byte(t.file))
		writeField(h, t.data)
		if t.finding != nil {
			writeField(h, []byte(t.finding.Message))
		}
	}
	content := [sha256.Size]byte(h.Sum(nil))
	w.looks = looks
	if content == w.content {
		return nil
	}
	fs, findings := parseAll(w.path, texts, w.o)
	w.content = content
	if err := w.apply(fs, findings); err != nil {
		return &refusedError{w.path, err}
	}
	return nil
}

// refusedError is what apply said to a result.
type refusedError struct {
	path string
	err  error
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("fences: %s not applied: %v", e.path, e.err)
}
func (e *refusedError) Unwrap() error { return e.err }

// look returns the signature of the files at path.
func look(path string) (signature, error) {
	files, err := list(path)
	if err != nil {
		return signature{}, err
	}
	h := sha256.New()
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return signature{}, fmt.Errorf("fences: %w", err)
		}
		writeField(h, []byte(f))
		fmt.Fprintf(h, "%d %d %s", info.Size(), info.ModTime().UnixNano(), resolved(f))
	}
	return signature(h.Sum(nil)), nil
}
