// Package watch notices that configuration files have changed: a file or a folder, edited in place, replaced by
// renaming, or swapped as a link the way orchestrators mount volumes.
package watch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Config says what to watch.
type Config struct {
	Path string // a file, or a folder
	// List names the files at Path that count; nil: the file itself, or every file of the folder whose name does
	// not begin with a dot. What is listed and then not there, such as a link that leads nowhere, counts as absent.
	List func() ([]string, error)
	// Debounce gathers changes that follow one another, ten times that at most. Default 100 ms.
	Debounce time.Duration
	// Poll is how often sizes and times are looked at, for file systems without events. Default 5 s; negative: never.
	Poll   time.Duration
	Logger *slog.Logger // nil: none
}

// Files calls load at once and then after every change until ctx ends, always from the calling goroutine. The
// error of the first load ends it and is returned; a later one is logged, once as long as it stays the same, and
// load is called again with the next change. When the path cannot be looked at, load is not called and the log
// says so. load itself decides whether the content differs from what it has.
func Files(ctx context.Context, cfg Config, load func() error) error {
	cfg.Debounce = cmp.Or(cfg.Debounce, 100*time.Millisecond)
	cfg.Poll = cmp.Or(cfg.Poll, 5*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	w := &watcher{cfg: cfg, load: load}
	events, err := fsnotify.NewWatcher()
	if err != nil {
		if cfg.Poll < 0 {
			return fmt.Errorf("watch: %s: %w", cfg.Path, err)
		}
		cfg.Logger.Warn("no file events; looking for changes instead", "path", cfg.Path, "every", cfg.Poll, "err", err)
		events = &fsnotify.Watcher{} // its nil channels never deliver
	} else {
		defer events.Close()
		w.events = events
	}
	// Listen and look before the first load: a change in between must not be lost.
	w.listen()
	if w.seen, err = w.look(); err != nil {
		return err
	}
	if err := load(); err != nil {
		return err
	}
	return w.run(ctx, events)
}

type watcher struct {
	cfg     Config
	load    func() error
	events  *fsnotify.Watcher // nil without events
	seen    signature         // of the files when they were last loaded
	trouble string            // the last error said, so that it is said once
}

// signature tells without reading whether files may have changed.
type signature [sha256.Size]byte

func (w *watcher) run(ctx context.Context, events *fsnotify.Watcher) error {
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	defer quiet.Stop()
	var poll <-chan time.Time
	if w.cfg.Poll > 0 {
		t := time.NewTicker(w.cfg.Poll)
		defer t.Stop()
		poll = t.C
	}
	var since time.Time // of the first change not yet loaded; zero: none
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-events.Events:
			if !open {
				return errors.New("watch: file events ended")
			}
			if since.IsZero() {
				since = time.Now()
			}
			quiet.Reset(min(w.cfg.Debounce, max(10*w.cfg.Debounce-time.Since(since), 0)))
		case err := <-events.Errors: // events may have been lost: look for oneself
			w.cfg.Logger.Warn("file events", "path", w.cfg.Path, "err", err)
			quiet.Reset(w.cfg.Debounce)
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
	for _, p := range [2]string{w.cfg.Path, resolved(w.cfg.Path)} {
		if info, err := os.Stat(p); err != nil || !info.IsDir() {
			p = filepath.Dir(p)
		}
		if err := w.events.Add(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			w.cfg.Logger.Warn("no file events for the folder", "path", p, "err", err)
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
	now, err := w.look()
	if err == nil {
		if now == w.seen {
			return
		}
		w.seen = now
		err = w.load()
	}
	switch {
	case err == nil && w.trouble != "":
		w.trouble = ""
		w.cfg.Logger.Info("files are in use again", "path", w.cfg.Path)
	case err != nil && err.Error() != w.trouble:
		w.trouble = err.Error()
		w.cfg.Logger.Warn("the last good version stays in use", "path", w.cfg.Path, "err", err)
	}
}

// look returns the signature of the files.
func (w *watcher) look() (signature, error) {
	list := w.cfg.List
	if list == nil {
		list = w.list
	}
	files, err := list()
	if err != nil {
		return signature{}, err
	}
	h := sha256.New()
	for _, f := range files {
		info, err := os.Stat(f)
		if errors.Is(err, os.ErrNotExist) && f != w.cfg.Path {
			continue // removed since it was listed, or a link that leads nowhere, as some editors' locks are
		}
		if err != nil {
			return signature{}, fmt.Errorf("watch: %w", err)
		}
		fmt.Fprintf(h, "%q %d %d %q\n", f, info.Size(), info.ModTime().UnixNano(), resolved(f))
	}
	return signature(h.Sum(nil)), nil
}

func (w *watcher) list() ([]string, error) {
	info, err := os.Stat(w.cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	if !info.IsDir() {
		return []string{w.cfg.Path}, nil
	}
	entries, err := os.ReadDir(w.cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(w.cfg.Path, e.Name()))
		}
	}
	return files, nil
}
