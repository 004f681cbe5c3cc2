package fake

import (
	"maps"
	"sync"
	"time"
)

// Bounds of what a fake remembers about its callers.
const (
	maxMIDs    = 1_000_000 // message ids counted
	maxMIDLen  = 128       // longer ones are not counted
	maxReasons = 256       // distinct reasons counted
)

// tally counts accepted pushes by message id and answers by reason. Safe for
// concurrent use.
type tally struct {
	mu      sync.Mutex
	mids    map[string]int
	reasons map[string]int64
}

func (t *tally) accepted(mid string) {
	if mid == "" || len(mid) > maxMIDLen {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mids == nil {
		t.mids = make(map[string]int)
	}
	if n, known := t.mids[mid]; known || len(t.mids) < maxMIDs {
		t.mids[mid] = n + 1
	}
}

func (t *tally) deliveries(mid string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mids[mid]
}

func (t *tally) reason(r string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reasons == nil {
		t.reasons = make(map[string]int64)
	}
	if _, known := t.reasons[r]; known || len(t.reasons) < maxReasons {
		t.reasons[r]++
	}
}

func (t *tally) byReason() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reasons == nil {
		return map[string]int64{}
	}
	return maps.Clone(t.reasons)
}

// tokens is what the service thinks of device tokens. Safe for concurrent use.
type tokens struct {
	mu sync.RWMutex
	m  map[string]tokenEntry
}

type tokenEntry struct {
	state TokenState
	since time.Time
}

func (t *tokens) set(token string, s TokenState, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s == TokenOK {
		delete(t.m, token)
		return
	}
	if t.m == nil {
		t.m = make(map[string]tokenEntry)
	}
	t.m[token] = tokenEntry{s, since}
}

func (t *tokens) get(token string) tokenEntry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.m[token]
}
