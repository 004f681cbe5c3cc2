package db

import (
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// snapshots hands out the state of the last commit that is on disk. While the next one is on its way there, Views go on
// with the one before: nobody waits for a disk in order to read, and nobody reads what a power cut may take back. One
// Badger transaction serves all Views of a state, which a read-only one allows.
type snapshots struct {
	// discard tells Badger, whose compaction may drop what was overwritten or deleted, that nobody reads an older version.
	discard func(version uint64)

	mu   sync.Mutex
	live []*snapshot // by version, ascending; the last one is the latest, the first one has users
}

type snapshot struct {
	txn     *badger.Txn
	version uint64
	users   int // guarded by snapshots.mu; being the latest counts as one
}

// snapshotAt is the state as of a version that is on disk.
func (d *DB) snapshotAt(version uint64) *snapshot {
	return &snapshot{txn: d.bdb.NewTransactionAt(version, false), version: version, users: 1}
}

// take returns the latest snapshot, to be given back with drop.
func (s *snapshots) take() *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	latest := s.live[len(s.live)-1]
	latest.users++
	return latest
}

func (s *snapshots) drop(old *snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(old)
}

// release ends one use of a snapshot. mu is held, so that what Badger is told does not go back.
func (s *snapshots) release(old *snapshot) {
	if old.users--; old.users > 0 {
		return
	}
	old.txn.Discard()
	n := 0
	for n < len(s.live) && s.live[n].users == 0 {
		n++
	}
	if n == 0 {
		return // an older one is still read
	}
	s.live = slices.Delete(s.live, 0, n)
	if len(s.live) > 0 {
		s.discard(s.live[0].version)
	}
}

// replace makes next the latest; nil: there is none from now on.
func (s *snapshots) replace(next *snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var old *snapshot
	if n := len(s.live); n > 0 {
		old = s.live[n-1]
	}
	if next != nil {
		s.live = append(s.live, next)
	}
	if old != nil {
		s.release(old)
	} else if next != nil {
		s.discard(next.version)
	}
}
