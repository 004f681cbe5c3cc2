// Package db is the ledger's storage: one Badger directory, opened once per
// gateway, with a registry of key spaces and a group commit.
//
// # Writing
//
// One goroutine writes. It takes the queued fns in order and runs each against
// one snapshot plus the writes of the fns before it; a fn that fails leaves
// nothing behind and does not disturb its neighbours. What the group has
// written is then committed as one Badger transaction with one fsync, and only
// then does each caller hear of it. While the disk syncs, the next group
// gathers, so a busy gateway pays one fsync for hundreds of claims and an idle
// one pays no waiting. Because there is one writer there are no conflicts:
// what a fn reads is what is true when it commits.
//
// The writer numbers the commits (Badger's managed mode) rather than have each
// transaction wait for Badger's goroutines, and tells Badger the oldest number
// that a View still reads: what was overwritten before it may be compacted away.
//
// # What survives
//
// On Linux the writer syncs the one write-ahead file that holds a commit. Badger's
// own SyncWrites would flush the disk twice, the second time for a value log that
// stays empty because no value reaches its threshold. Until a commit is synced
// Views read what was before it: nobody acts on what a power cut may take back,
// and nobody waits for the disk in order to read.
//
// An acknowledged Update survives kill -9 and, unless Config.NoSync is set,
// loss of power. Each fn is atomic: after a crash all of its writes are there
// or none. A fn that was not yet acknowledged may be there or not.
//
// # A full disk
//
// Badger writes through memory maps: on a file system without room that is not
// an error but a signal that ends the process, and a write-ahead file that
// cannot be created leaves it unusable. So each commit first asks the file
// system how much is left, and refuses with ErrDiskFull while that is below
// Config.MinFree, which is sized for the flushes and compactions that Badger
// still owes. Reading goes on, and writing resumes by itself. Should another
// process take the last bytes within an instant, the gateway dies and starts
// again without having lost anything it acknowledged.
//
// Any other error of a commit leaves Badger's memory and its disk in
// disagreement about whether the group happened. The DB then stops writing
// (ErrBroken); reopening replays the write-ahead file, which knows.
package db
