package stream

import (
	"strings"
	"sync"
)

// Refusal is the last thing a device sent that the collector did not accept. It holds no position.
type Refusal struct {
	Reason string `json:"reason"`
	At     int64  `json:"at"`
	Count  int    `json:"count"`
}

// refusalBook remembers the last refusal of recent devices, so that "why did nothing happen" has an answer
// even for input that never reached the log. It is bounded: two generations of at most half the capacity each,
// the older one forgotten when the newer is full. Safe for concurrent use.
type refusalBook struct {
	mu       sync.Mutex
	half     int
	new, old map[string]*Refusal
}

func newRefusalBook(capacity int) *refusalBook {
	return &refusalBook{half: capacity / 2, new: map[string]*Refusal{}, old: map[string]*Refusal{}}
}

// add notes a refusal. The device may be a view of a message: the book keeps a copy.
func (b *refusalBook) add(device, reason string, atMS int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.new[device]
	if r == nil {
		if r = b.old[device]; r == nil {
			r = new(Refusal)
		}
		if len(b.new) >= b.half {
			b.old, b.new = b.new, make(map[string]*Refusal, b.half)
		}
		b.new[strings.Clone(device)] = r // only here: assigning to a key that is there would replace it with the view
	}
	if r.Reason != reason {
		r.Count = 0
	}
	r.Reason, r.At = reason, atMS
	r.Count++
}

func (b *refusalBook) forget(device string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.new, device)
	delete(b.old, device)
}

func (b *refusalBook) last(device string) (Refusal, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.new[device]
	if r == nil {
		r = b.old[device]
	}
	if r == nil {
		return Refusal{}, false
	}
	return *r, true
}
