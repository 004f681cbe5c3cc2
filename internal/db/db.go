package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/ristretto/v2/z"
)

// Config says where the database is and how it behaves. The zero value of each
// field but Dir is usable.
type Config struct {
	// Dir is the database's directory; it is made when it is missing. One
	// process at a time may have it open for writing.
	Dir string
	// InMemory keeps everything in memory and needs no Dir. For tests and the
	// demo: nothing survives Close.
	InMemory bool
	// NoSync leaves fsync out. An acknowledged Update then survives kill -9 but
	// not a loss of power. Tests only.
	NoSync bool
	// NoCompaction starts no compactor. For tests in fake time, where a
	// compactor's ticker makes a fake day cost real seconds; small data only.
	NoCompaction bool
	// MinFree is how many bytes the file system must have left for a commit to
	// be tried; see the package comment. 0 means 256 MiB or an eighth of the
	// file system, whichever is less.
	MinFree int64
	// Logger gets Badger's warnings and errors and the disk's alarms. nil: none.
	Logger *slog.Logger
	// Now is the clock for expiries. nil: time.Now.
	Now func() time.Time
}

// Sizes of Badger's parts, chosen for a gateway that shares a small machine:
// measured at 50-130 MB resident under load and as fast as the defaults for
// our small values.
const (
	memTableSize = 16 << 20
	numMemTables = 3
	// blockCacheSize: none. Blocks are not compressed, so a read takes them from the mapped file, and Badger 4.9 counts one
	// in the cache at the length of the file behind it: 16 MiB held three, at a hit ratio of 0.07.
	blockCacheSize = 0
	indexCacheSize = 16 << 20
	// maxValue bounds a value below the 1 MiB from which Badger would keep it in
	// its value log, which therefore stays empty and needs no sync.
	maxValue = 1<<20 - 64
	// valueLogFileSize is for the value log's one empty file.
	valueLogFileSize = 64 << 20
)

// DB is an open database. Safe for concurrent use.
type DB struct {
	cfg   Config
	log   *slog.Logger
	bdb   *badger.DB
	owned [256]bool // prefixes that may be written: those of the registered spaces
	mode
	maxCount int64 // bounds of one Badger transaction
	maxSize  int64
	disk     *diskGuard
	local    map[any]any // of the writer goroutine; see Tx.Local
	queue    chan *request
	writer   sync.WaitGroup
	broken   atomic.Pointer[error]
	// version is that of the last commit. We number them ourselves (Badger's managed mode): there is one writer, and Badger's own
	// numbering has each transaction wait for one of its goroutines. Of the writer goroutine, once it runs.
	version uint64
	// commitTxn is Badger's CommitAt; a test makes it fail.
	commitTxn func(txn *badger.Txn, version uint64) error
	wal       *wal      // nil where nothing is synced
	durable   snapshots // what Views read
	groups    atomic.Int64
	stages    stages

	mu     sync.Mutex
	idle   sync.Cond // active has become 0
	active int       // Views running and Submits not yet queued
	closed bool
	done   chan struct{} // Close has finished
	err    error         // what it returned
}

// queueLen bounds the fns that wait for the writer. It is twice the largest
// group, so that the next group is complete when a commit returns; beyond it
// Submit blocks, which is how the writer slows its producers down.
const queueLen = 2 * maxGroup

// Open opens or creates the database of cfg. The error wraps ErrLocked,
// ErrNewerFormat, ErrOlderFormat, ErrForeign, ErrDiskFull or ErrReadOnly where one of those is
// the reason, names the directory and says what to do; the directory is then
// as it was.
func Open(cfg Config) (*DB, error) { return open(cfg, mode{files: cfg.Dir}) }

// OpenReadOnly opens the database of a stopped gateway for reading. Update and
// Submit return ErrReadOnly. Several readers may have it open at once, and the
// directory is left as it is.
//
// What a killed gateway has left cannot be read in place: its write-ahead files
// have to be replayed and cut off first. Up to 1 GiB of data are therefore
// copied into the folder for temporary files, and the copy is opened; Close
// removes it. With more, the error wraps ErrUnclean.
func OpenReadOnly(cfg Config) (*DB, error) {
	d, err := open(cfg, mode{readOnly: true, files: cfg.Dir})
	if errors.Is(err, ErrUnclean) {
		return openCopy(cfg)
	}
	return d, err
}

// mode says how a directory is opened.
type mode struct {
	readOnly bool   // Update and Submit are refused
	files    string // where Badger's files are: Config.Dir, or a private copy of it
}

// copied reports whether Badger works on a copy, which it may write.
func (d *DB) copied() bool { return d.files != d.cfg.Dir }

func open(cfg Config, m mode) (*DB, error) {
	cfg.MinFree = max(cfg.MinFree, 0)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &DB{
		cfg:       cfg,
		log:       cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
		mode:      m,
		local:     map[any]any{},
		queue:     make(chan *request, queueLen),
		done:      make(chan struct{}),
		stages:    newStages(),
		commitTxn: func(txn *badger.Txn, version uint64) error { return txn.CommitAt(version, nil) },
	}
	d.idle.L = &d.mu
	for p := range registered() {
		d.owned[p] = p != metaPrefix
	}
	opts, err := d.prepare()
	if err != nil {
		return nil, err
	}
	d.bdb, err = badger.OpenManaged(opts)
	for tries := 0; tries < numMemTables && err != nil && !opts.ReadOnly && strings.Contains(err.Error(), z.NewFile.Error()); tries++ {
		// A kill between making a log file and giving it its size leaves an empty
		// file, which Badger initialises and then takes for an error. The next
		// try finds a proper file without content.
		d.log.Warn("a crash has left an empty log file; opening again", "dir", cfg.Dir, "err", err)
		d.bdb, err = badger.OpenManaged(opts)
	}
	if err != nil {
		if opts.ReadOnly && unclean(err) {
			return nil, fmt.Errorf("%w: the gateway on %s was killed; start it once, then read", ErrUnclean, cfg.Dir)
		}
		return nil, fmt.Errorf("db: open: %w", classify(err, cfg.Dir))
	}
	// A tenth is left for what Badger counts that entrySize does not see.
	d.maxCount, d.maxSize = d.bdb.MaxBatchCount()*9/10, d.bdb.MaxBatchSize()*9/10
	d.version = d.bdb.MaxVersion()
	if err := d.checkFormat(); err != nil {
		return nil, errors.Join(err, d.bdb.Close())
	}
	if d.syncs() {
		if d.wal, err = openWAL(d.files); err != nil {
			return nil, errors.Join(fmt.Errorf("db: open: %w", classify(err, cfg.Dir)), d.bdb.Close())
		}
	}
	d.durable.discard = d.bdb.SetDiscardTs
	d.durable.replace(d.snapshotAt(d.version))
	if !d.readOnly {
		d.writer.Go(d.write)
	}
	return d, nil
}

// syncs reports whether commits are synced to a disk.
func (d *DB) syncs() bool { return !d.cfg.NoSync && !d.cfg.InMemory && !d.readOnly }

// prepare checks the directory as far as that is possible before Badger
// touches it, and returns Badger's options.
func (d *DB) prepare() (badger.Options, error) {
	cfg := d.cfg
	opts := badger.DefaultOptions(d.files)
	if cfg.InMemory {
		opts = badger.DefaultOptions("").WithInMemory(true)
	} else {
		if cfg.Dir == "" {
			return opts, errors.New("db: open: no directory given")
		}
		if !d.readOnly {
			if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
				return opts, fmt.Errorf("db: open: %w", classify(err, cfg.Dir))
			}
			if err := probeWrite(cfg.Dir); err != nil {
				return opts, fmt.Errorf("db: open: %w", classify(err, cfg.Dir))
			}
			d.disk = newDiskGuard(cfg.Dir, cfg.MinFree)
			if err := d.disk.check(); err != nil {
				return opts, fmt.Errorf("db: open: %w", err)
			}
		} else if _, err := os.Stat(filepath.Join(cfg.Dir, badger.ManifestFilename)); err != nil {
			return opts, fmt.Errorf("db: open: no database in %s: %w", cfg.Dir, err)
		}
	}
	opts = opts.
		WithReadOnly(d.readOnly && !d.copied()).
		WithSyncWrites(d.syncs() && !ownSync).
		WithDetectConflicts(false). // there is one writer
		WithCompression(options.None).
		WithMemTableSize(memTableSize).
		WithNumMemtables(numMemTables).
		WithBlockCacheSize(blockCacheSize).
		WithIndexCacheSize(indexCacheSize).
		WithValueLogFileSize(valueLogFileSize).
		WithNumCompactors(2).
		WithMetricsEnabled(false).
		WithLogger(badgerLog{d.log})
	if cfg.NoCompaction {
		opts = opts.WithNumCompactors(0).WithNumLevelZeroTables(100).WithNumLevelZeroTablesStall(200)
	}
	return opts, nil
}

// unclean reports whether Badger cannot open for reading what a killed process
// has left: a write-ahead file with room at its end, or an empty one, which it
// tries to give its size. Badger does not wrap these errors.
func unclean(err error) bool {
	text := err.Error()
	return strings.Contains(text, badger.ErrTruncateNeeded.Error()) || strings.Contains(text, "error while truncation")
}

// enter keeps Close from finishing until the matching leave.
func (d *DB) enter() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	d.active++
	return nil
}

func (d *DB) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active--; d.active == 0 {
		d.idle.Broadcast()
	}
}

// View runs fn on a snapshot of what is on disk and returns fn's error. It waits
// for no commit: while one is being synced it reads what was before. A write in
// fn returns an error that wraps ErrReadOnly.
func (d *DB) View(fn func(*Tx) error) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	s := d.durable.take()
	defer d.durable.drop(s)
	return fn(&Tx{db: d, txn: s.txn, nowMS: d.cfg.Now().UnixMilli()})
}

// Try runs fn on a snapshot of what is on disk, as View does, and lets it write: fn sees its own writes, and all of
// them are thrown away when it returns. Expiries go by now. AfterCommit calls nothing, and Local begins anew. It may
// run beside Update, also on a database that was opened for reading.
func (d *DB) Try(now time.Time, fn func(*Tx) error) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	s := d.durable.take()
	defer d.durable.drop(s)
	return fn(&Tx{db: d, txn: s.txn, nowMS: now.UnixMilli(), group: new(overlay), own: new(overlay), locals: map[any]any{}})
}

// Update runs fn in the next group and returns once that is synced to disk.
//
// fn runs on the writer goroutine, one at a time, possibly more than once; it
// must have no effect but through its Tx, and must not call Update or Close.
// It should be short: everybody waits. An error of fn is returned as it is and
// leaves nothing behind; a panic in fn is returned as an error.
//
// When ctx ends while fn is still queued, Update returns ctx's error and fn
// never runs. Once fn has begun Update waits for the outcome, so an error
// always means: not stored (with ErrBroken: unknown until reopened).
func (d *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	result := make(chan error, 1)
	r := &request{ctx: ctx, fn: fn, done: func(err error) { result <- err }}
	if err := d.submit(ctx, r); err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	if r.abandon() {
		return context.Cause(ctx)
	}
	return <-result
}

// Submit is Update without the waiting: done gets what Update would have
// returned. It runs on the writer goroutine, after the sync, and must be quick
// and must not block. Submit itself blocks only while the queue is full; if it
// returns an error, neither fn nor done will run.
func (d *DB) Submit(ctx context.Context, fn func(*Tx) error, done func(error)) error {
	return d.submit(ctx, &request{ctx: ctx, fn: fn, done: done})
}

// Ride is Submit for what nobody waits for, such as the removal of what has been dealt with: fn goes along with the next
// commit that somebody waits for, or has one of its own after rideFor. It keeps its place before what is submitted later.
func (d *DB) Ride(ctx context.Context, fn func(*Tx) error, done func(error)) error {
	return d.submit(ctx, &request{ctx: ctx, fn: fn, done: done, rides: true})
}

func (d *DB) submit(ctx context.Context, r *request) error {
	if d.readOnly {
		return fmt.Errorf("%w: %s was opened for reading only", ErrReadOnly, d.cfg.Dir)
	}
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.queued = time.Now()
	select {
	case d.queue <- r:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close commits what is queued, waits for running Views, and closes the
// directory. From its start on new work gets ErrClosed. A second Close waits
// for the first and returns the same.
func (d *DB) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		<-d.done
		return d.err
	}
	d.closed = true
	for d.active > 0 {
		d.idle.Wait()
	}
	d.mu.Unlock()

	close(d.queue) // no Submit is in progress and none will begin
	d.writer.Wait()
	d.durable.replace(nil)
	if err := d.bdb.Close(); err != nil {
		d.err = fmt.Errorf("db: close: %w", classify(err, d.cfg.Dir))
	}
	if d.wal != nil {
		d.err = errors.Join(d.err, d.wal.close())
	}
	if d.copied() {
		d.err = errors.Join(d.err, os.RemoveAll(d.files))
	}
	close(d.done)
	return d.err
}
