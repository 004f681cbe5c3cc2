package fences

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"

	"footfall/internal/watch"
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
	w := &watcher{path: path, o: o, apply: apply}
	cfg := watch.Config{Path: path, List: func() ([]string, error) { return list(path) }, Debounce: o.Debounce, Poll: o.Poll, Logger: log}
	return watch.Files(ctx, cfg, w.load)
}

type watcher struct {
	path    string
	o       Options
	apply   func([]Fence, []Finding) error
	content [sha256.Size]byte // of the files when they were last read
}

// load reads the files and hands them to apply unless nothing has changed.
func (w *watcher) load() error {
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
	if content == w.content {
		return nil
	}
	fs, findings := parseAll(w.path, texts, w.o)
	w.content = content
	if err := w.apply(fs, findings); err != nil {
		return fmt.Errorf("fences: %s not applied: %w", w.path, err)
	}
	return nil
}
