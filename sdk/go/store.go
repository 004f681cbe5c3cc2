package footfall

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// maxShown is how many message ids are remembered as shown.
const maxShown = 1000

// State is what a Store has kept.
type State struct {
	Items []Item   // in the order of their ids
	Shown []string // mids of messages that the person has seen, oldest first
}

// Store keeps an outbox over a restart. A Client calls it from one goroutine at a time.
type Store interface {
	Load() (State, error)
	// Put keeps an item. When it returns, a crash of the program must not lose it.
	Put(Item) error
	// Delete forgets items. One that comes back after a crash is sent again, which has no effect.
	Delete(ids []uint64) error
	// PutShown keeps the mid of a message that was shown.
	PutShown(mid string) error
	Close() error
}

// memory is the Store of a client that has none: nothing outlives the program.
type memory struct{}

func (memory) Load() (State, error)  { return State{}, nil }
func (memory) Put(Item) error        { return nil }
func (memory) Delete([]uint64) error { return nil }
func (memory) PutShown(string) error { return nil }
func (memory) Close() error          { return nil }

// FileStore is a Store in one file: a journal of JSON lines, written anew when most of it is about things that are
// gone. One program at a time may use it.
type FileStore struct {
	mu    sync.Mutex
	path  string
	f     *os.File
	state State
	lines int
}

// line is one entry of the journal.
type line struct {
	Put    *Item    `json:"put,omitempty"`
	Delete []uint64 `json:"delete,omitempty"`
	Shown  string   `json:"shown,omitempty"`
}

// OpenFileStore opens the file at path, which is made when it is not there. A last line that a crash has cut off is
// ignored; any other that cannot be read is an error.
func OpenFileStore(path string) (*FileStore, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("footfall: outbox: %w", err)
	}
	s := &FileStore{path: path, f: f}
	if err := s.read(); err != nil {
		f.Close()
		return nil, err
	}
	return s, s.rewrite() // also takes a cut line away
}

func (s *FileStore) read() error {
	r := bufio.NewReader(s.f)
	for n := 1; ; n++ {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // without a line end it was never whole
		}
		if err != nil {
			return fmt.Errorf("footfall: outbox: %w", err)
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return fmt.Errorf("footfall: outbox: %s:%d: %w", s.path, n, err)
		}
		s.apply(l)
	}
}

func (s *FileStore) apply(l line) {
	s.lines++
	if l.Put != nil {
		s.state.Items = append(s.state.Items, *l.Put)
	}
	if len(l.Delete) > 0 {
		gone := make(map[uint64]bool, len(l.Delete))
		for _, id := range l.Delete {
			gone[id] = true
		}
		s.state.Items = slices.DeleteFunc(s.state.Items, func(it Item) bool { return gone[it.ID] })
	}
	if l.Shown != "" {
		s.state.Shown = append(s.state.Shown, l.Shown)
		s.state.Shown = s.state.Shown[max(0, len(s.state.Shown)-maxShown):]
	}
}

// Load implements Store.
func (s *FileStore) Load() (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return State{slices.Clone(s.state.Items), slices.Clone(s.state.Shown)}, nil
}

// Put implements Store. It is one write to the file: a crash of the program loses nothing, one of the machine the last
// seconds.
func (s *FileStore) Put(it Item) error { return s.write(line{Put: &it}) }

// Delete implements Store.
func (s *FileStore) Delete(ids []uint64) error { return s.write(line{Delete: ids}) }

// PutShown implements Store.
func (s *FileStore) PutShown(mid string) error { return s.write(line{Shown: mid}) }

func (s *FileStore) write(l line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := compact(l)
	if err != nil {
		return err
	}
	if _, err := s.f.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("footfall: outbox: %w", err)
	}
	if s.apply(l); s.lines > 1000 && s.lines > 4*(len(s.state.Items)+len(s.state.Shown)) {
		return s.rewrite()
	}
	return nil
}

// rewrite replaces the file by one that holds only what is there, in one step.
func (s *FileStore) rewrite() error {
	next, err := os.OpenFile(s.path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("footfall: outbox: %w", err)
	}
	w := bufio.NewWriter(next)
	s.lines = 0
	put := func(l line) {
		text, e := compact(l)
		_, e2 := w.Write(append(text, '\n'))
		err = errors.Join(err, e, e2)
		s.lines++
	}
	for i := range s.state.Items {
		put(line{Put: &s.state.Items[i]})
	}
	for _, mid := range s.state.Shown {
		put(line{Shown: mid})
	}
	if err = errors.Join(err, w.Flush(), next.Sync()); err == nil {
		err = os.Rename(next.Name(), s.path)
	}
	if err != nil {
		next.Close()
		return fmt.Errorf("footfall: outbox: %w", err)
	}
	s.f.Close()
	s.f = next
	return nil
}

// Close implements Store.
func (s *FileStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.f.Close()
}
