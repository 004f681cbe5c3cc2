package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"
)

// screen prints lines and, on a terminal, keeps a status line below them. Elsewhere the status is an ordinary line
// from time to time, so that logs stay readable.
type screen struct {
	mu     sync.Mutex
	w      io.Writer
	tty    bool
	width  int
	status string
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		s.tty = true
		s.width, _, _ = term.GetSize(int(f.Fd()))
	}
	return s
}

func (s *screen) printf(format string, v ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(s.w, format+"\n", v...)
	s.draw()
}

// line prints one line, cut to the window on a terminal.
func (s *screen) line(format string, v ...any) {
	s.printf("%s", s.cut(fmt.Sprintf(format, v...)))
}

// cut shortens a line so that it does not wrap; elsewhere than on a terminal it stays whole.
func (s *screen) cut(text string) string {
	if !s.tty || s.width <= 0 || utf8.RuneCountInString(text) < s.width {
		return text
	}
	return string([]rune(text)[:s.width-2]) + "…"
}

// setStatus replaces the status line; on anything but a terminal it does nothing.
func (s *screen) setStatus(text string) {
	if !s.tty {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.status = text
	s.draw()
}

func (s *screen) erase() {
	if s.tty && s.status != "" {
		fmt.Fprint(s.w, "\r\x1b[K")
	}
}

func (s *screen) draw() {
	if !s.tty || s.status == "" {
		return
	}
	fmt.Fprint(s.w, s.cut(s.status)) // of a line that wraps only the last part could be erased
}

// Write lets a logger print through the screen.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	n, err := s.w.Write(p)
	s.draw()
	return n, err
}
