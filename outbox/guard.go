package outbox

import (
	"sync"
	"time"
)

const (
	// guardWindow is the time over which the guard judges, in guardParts.
	guardWindow = 10 * time.Minute
	guardParts  = 10
	// guardLeast: with fewer answers in the window the share is taken of this
	// many, so that a few dead tokens in a quiet hour are no alarm.
	guardLeast = 200
	// guardShare of dead tokens is more than a day brings by itself.
	guardShare = 0.2
	// foreignShare of tokens that belong to another sender is alarming.
	foreignShare = 0.01
)

// guard watches how many tokens a provider declares dead. A wrong environment,
// project or key makes every token look dead; what such an answer says about a
// token is then not believed. Safe for concurrent use.
type guard struct {
	mu    sync.Mutex
	parts [guardParts]struct {
		slot                   int64 // number of the part since 1970
		answers, dead, strange int
	}
}

// verdict is what a guard thinks of its lane.
type verdict struct {
	answers, dead, strange int
	distrust               bool // dead tokens are not to be believed
	foreign                bool // too many tokens of another sender
}

func (g *guard) judge(slot int64) (v verdict) {
	for i := range g.parts {
		if p := &g.parts[i]; p.slot > slot-guardParts && p.slot <= slot {
			v.answers, v.dead, v.strange = v.answers+p.answers, v.dead+p.dead, v.strange+p.strange
		}
	}
	of := float64(max(v.answers, guardLeast))
	v.distrust = float64(v.dead) > guardShare*of
	v.foreign = float64(v.strange) > foreignShare*of
	return v
}

func guardSlot(now time.Time) int64 {
	return now.UnixMilli() / (guardWindow / guardParts).Milliseconds()
}

// add counts one answer about a token and returns the judgement with it.
func (g *guard) add(now time.Time, dead, foreign bool) verdict {
	slot := guardSlot(now)
	g.mu.Lock()
	defer g.mu.Unlock()
	p := &g.parts[uint64(slot)%guardParts]
	if p.slot != slot {
		p.slot, p.answers, p.dead, p.strange = slot, 0, 0, 0
	}
	p.answers++
	if dead {
		p.dead++
	}
	if foreign {
		p.strange++
	}
	return g.judge(slot)
}

// now returns the judgement at this time.
func (g *guard) now(now time.Time) verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.judge(guardSlot(now))
}

// forget begins a new window.
func (g *guard) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.parts[:])
}
