package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"footfall/internal/latency"
)

const (
	diskWatchEvery = time.Second
	gcEvery        = 5 * time.Minute
	// gcDiscard is the share of a value log file that must be garbage for it to
	// be rewritten; Badger's recommendation.
	gcDiscard = 0.5
)

// Run collects the value log's garbage and watches the disk until ctx ends; it
// then returns nil. The database works without it, but its alarm about a disk
// that fills up comes only with the first refused write.
func (d *DB) Run(ctx context.Context) error {
	watch := time.NewTicker(diskWatchEvery)
	defer watch.Stop()
	gc := time.NewTicker(gcEvery)
	defer gc.Stop()
	full := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watch.C:
			err := d.disk.check()
			switch {
			case err != nil && !full:
				d.log.Error("writing is suspended", "err", err)
			case err == nil && full:
				d.log.Warn("there is room again; writing goes on", "dir", d.cfg.Dir)
			}
			full = err != nil
		case <-gc.C:
			d.collect(ctx)
		}
	}
}

// collect rewrites value log files until none is worth it.
func (d *DB) collect(ctx context.Context) {
	if d.cfg.InMemory || d.readOnly {
		return
	}
	for ctx.Err() == nil && d.disk.check() == nil {
		if d.enter() != nil {
			return
		}
		err := d.bdb.RunValueLogGC(gcDiscard)
		d.leave()
		if err != nil {
			if !errors.Is(err, badger.ErrNoRewrite) && !errors.Is(err, badger.ErrRejected) {
				d.log.Warn("value log garbage collection", "dir", d.cfg.Dir, "err", err)
			}
			return
		}
	}
}

// Stats are counters since Open and sizes as of now.
type Stats struct {
	Groups   int64 // commits, each with one fsync
	Queued   int   // fns that wait for the writer
	LSMBytes int64 // Badger's tables and memory; refreshed by it once a minute
	LogBytes int64 // the value log
	DiskFree int64 // of the file system; -1: not known
	Broken   bool  // see ErrBroken
}

// Stage says how long one part of the way of a commit took, since Open.
type Stage struct {
	Name  string
	Times latency.Histogram
}

// Stages are the parts of the way of a commit, in their order: what waited for it ("wait", once for each fn that did not ride), its fns
// ("settle"), Badger's part of it ("write") and the flush of the disk ("sync"; elsewhere than on Linux a part of "write").
func (d *DB) Stages() []Stage {
	s := &d.stages
	return []Stage{{"wait", s.wait.Histogram()}, {"settle", s.settle.Histogram()}, {"write", s.write.Histogram()}, {"sync", s.sync.Histogram()}}
}

// stages counts what Stages returns.
type stages struct{ wait, settle, write, sync *latency.Counter }

func newStages() stages {
	// In seconds: from a commit of one small row to a disk that stands still.
	bounds := []float64{50e-6, 100e-6, 250e-6, 500e-6, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5}
	return stages{latency.NewCounter(bounds), latency.NewCounter(bounds), latency.NewCounter(bounds), latency.NewCounter(bounds)}
}

// Room reports whether the file system has the room that a commit asks for (Config.MinFree). It asks the file
// system each time. Without a disk, and when the file system does not tell, there is room.
func (d *DB) Room() bool { return d.disk == nil || d.disk.check() == nil }

// Stats returns the current figures; after Close, zeros.
func (d *DB) Stats() Stats {
	if d.enter() != nil {
		return Stats{DiskFree: -1}
	}
	defer d.leave()
	lsm, vlog := d.bdb.Size()
	return Stats{
		Groups: d.groups.Load(), Queued: len(d.queue), LSMBytes: lsm, LogBytes: vlog,
		DiskFree: d.disk.left(), Broken: d.broken.Load() != nil,
	}
}

// diskGuard refuses writes while the file system of dir is nearly full. A nil
// guard (in memory) refuses nothing.
type diskGuard struct {
	dir     string
	minFree int64
	// statfs is freeSpace; tests put a full disk in its place.
	statfs func(dir string) (free, total int64, err error)
}

const defaultMinFree = 256 << 20

func newDiskGuard(dir string, minFree int64) *diskGuard {
	g := &diskGuard{dir: dir, minFree: minFree, statfs: freeSpace}
	if minFree == 0 {
		g.minFree = defaultMinFree
		if _, total, err := g.statfs(dir); err == nil {
			g.minFree = min(g.minFree, total/8)
		}
	}
	return g
}

// check returns an ErrDiskFull when less than minFree is left. A file system
// that does not tell is trusted.
func (g *diskGuard) check() error {
	if g == nil {
		return nil
	}
	free := g.left()
	if free < 0 || free >= g.minFree {
		return nil
	}
	return fmt.Errorf("%w: %d MiB left under %s, %d MiB must stay free; delete something or enlarge the volume, writing then goes on by itself",
		ErrDiskFull, free>>20, g.dir, g.minFree>>20)
}

// left returns the free bytes, or -1 when they are not known.
func (g *diskGuard) left() int64 {
	if g == nil {
		return -1
	}
	free, _, err := g.statfs(g.dir)
	if err != nil {
		return -1
	}
	return free
}

// probeWrite checks that files can be made in dir, because Badger's own
// message about a read-only place comes late and from deep inside.
func probeWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// badgerLog passes Badger's warnings and errors on and drops its chatter.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(format string, args ...any) {
	l.log.Error("badger: " + strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (l badgerLog) Warningf(format string, args ...any) {
	l.log.Warn("badger: " + strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (badgerLog) Infof(string, ...any)  {}
func (badgerLog) Debugf(string, ...any) {}
