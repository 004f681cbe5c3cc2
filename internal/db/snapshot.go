package db

import (
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// snapshots hands out the state of the last commit that is on disk. While the next one is on its way there, Views go on
// with the one before: nobody waits for a disk in order to read, and nobody reads what a power cut may take back. One
// Badger transaction serves all Views of a state, which a read-only one allows.
type snapshots struct {
	mu     sync.Mutex
	latest *snapshot
}

type snapshot struct {
	txn   *badger.Txn
	users int // guarded by snapshots.mu; the one that is latest counts as one
}

// take returns the latest snapshot, to be given back with drop.
func (s *snapshots) take() *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest.users++
	return s.latest
}

func (s *snapshots) drop(old *snapshot) {
	s.mu.Lock()
	old.users--
	last := old.users == 0
	s.mu.Unlock()
	if last {
		old.txn.Discard()
	}
}

// replace makes txn the latest; nil: there is none from now on.
func (s *snapshots) replace(txn *badger.Txn) {
	s.mu.Lock()
	old := s.latest
	s.latest = nil
	if txn != nil {
		s.latest = &snapshot{txn: txn, users: 1}
	}
	s.mu.Unlock()
	if old != nil {
		s.drop(old)
	}
}
