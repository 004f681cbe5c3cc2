package inputlog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where the logs are and what they keep.
type Config struct {
	// Dir is made when it is missing. One process at a time may have it open; the caller sees to that.
	Dir        string
	Partitions int
	// MaxAge is how long a message is kept at most; it is kept for seven eighths of it at least, within MaxBytes.
	MaxAge time.Duration
	// MaxBytes bounds the files of each partition; the oldest segment goes first.
	MaxBytes int64
	// Sync is how often what was stored is flushed to the disk, for which nobody waits. Default 1 s.
	Sync time.Duration
	// Logger gets what fails in the background. nil: none.
	Logger *slog.Logger
}

// Logs are the logs of all partitions.
type Logs struct {
	cfg   Config
	parts []*Log

	dirty   atomic.Bool   // something was stored since the last flush began
	wake    chan struct{} // dirty has become true; capacity 1
	stop    chan struct{}
	running sync.WaitGroup
}

// State is what a log holds.
type State struct {
	Created     int64  // Unix nanoseconds: the log's identity
	First, Last uint64 // sequences; First is Last+1 when it is empty
}

// Log is the log of one partition. Safe for concurrent use.
type Log struct {
	all *Logs
	dir string

	mu      sync.Mutex
	created int64
	next    uint64     // sequence of the next message
	first   uint64     // of the first that has not been removed; what is before it in its segment is erased
	segs    []*segment // ascending; the last one is written to
	file    *os.File   // of the last one
	bytes   int64      // of all
	closed  bool
	// What the next flush has to do.
	dirty bool
	old   []*os.File // segments that were written to before; the flush closes them
	names bool       // segments were made
}

// segment is one file. Of Log.mu, but for path and first.
type segment struct {
	path  string
	first uint64 // sequence of its first message
	size  int64  // up to where it holds whole messages
	atUS  int64  // when the first message was stored; 0: it holds none
}

// ErrClosed: the log is closed.
var ErrClosed = errors.New("inputlog: closed")

// Open opens the logs of cfg, and makes those that are missing. Segments that have reached their age are removed.
func Open(cfg Config) (_ *Logs, err error) {
	cfg.Sync = cmp.Or(cfg.Sync, time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	s := &Logs{cfg: cfg, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	defer func() {
		if err != nil {
			for _, l := range s.parts {
				_ = l.close()
			}
		}
	}()
	for p := range cfg.Partitions {
		l := &Log{all: s, dir: filepath.Join(cfg.Dir, partitionName(p)), next: 1}
		s.parts = append(s.parts, l)
		if err := l.open(); err != nil {
			return nil, fmt.Errorf("inputlog: %s: %w", l.dir, err)
		}
	}
	s.running.Go(s.tend)
	return s, nil
}

// partitionName is the folder of a partition.
func partitionName(p int) string { return fmt.Sprintf("%02d", p) }

// Of is the log of partition p.
func (s *Logs) Of(p int) *Log { return s.parts[p] }

// Close flushes everything and closes the files.
func (s *Logs) Close() error {
	close(s.stop)
	s.running.Wait()
	var errs []error
	for _, l := range s.parts {
		errs = append(errs, l.Flush(), l.close())
	}
	return errors.Join(errs...)
}

// tend flushes and lets go of what is old. Nothing wakes it while nothing is stored and nothing comes of age.
func (s *Logs) tend() {
	timer := time.NewTimer(s.expire())
	defer timer.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-timer.C:
		case <-s.wake:
			if !s.flushInTurn(timer) {
				return
			}
		}
		timer.Reset(s.expire())
	}
}

// flushInTurn takes Config.Sync to flush every partition, each at its own time of that span: so each is flushed that often while
// something is stored. All at once would keep the disk busy for tens of milliseconds, for which a claim's flush in the ledger had to
// wait. It returns false when the logs are to be closed.
func (s *Logs) flushInTurn(timer *time.Timer) bool {
	s.dirty.Store(false) // what is stored from here on has its turn now or in the next span
	began := time.Now()
	for p, l := range s.parts {
		timer.Reset(time.Until(began.Add(s.cfg.Sync * time.Duration(p+1) / time.Duration(len(s.parts)))))
		select {
		case <-timer.C:
		case <-s.stop:
			return false
		}
		if err := l.Flush(); err != nil {
			s.cfg.Logger.Error("stored input could not be flushed to the disk; it is tried again", "dir", l.dir, "err", err)
			s.soil()
		}
	}
	return true
}

// soil notes that something is to be flushed.
func (s *Logs) soil() {
	if !s.dirty.Load() && !s.dirty.Swap(true) {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// expire removes what has reached its age and returns the time until more will.
func (s *Logs) expire() time.Duration {
	next := s.cfg.MaxAge
	for _, l := range s.parts {
		wait, err := l.expire(time.Now())
		if err != nil {
			s.cfg.Logger.Error("old input could not be removed; it is tried again", "dir", l.dir, "err", err)
		}
		next = min(next, wait)
	}
	return max(next, time.Second/10)
}

const segmentExt = ".seg"

// name is the file name of the segment that begins with first.
func (l *Log) name(first uint64) string {
	return filepath.Join(l.dir, fmt.Sprintf("%020d%s", first, segmentExt))
}

// open reads what is there.
func (l *Log) open() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, e := range entries { // by name, and so by sequence
		name, ok := strings.CutSuffix(e.Name(), segmentExt)
		if !ok {
			continue
		}
		first, err := strconv.ParseUint(name, 10, 64)
		if err != nil || first == 0 {
			return fmt.Errorf("%s is no segment", e.Name())
		}
		g := &segment{path: filepath.Join(l.dir, e.Name()), first: first}
		if err := l.look(g); err != nil {
			return err
		}
		l.segs = append(l.segs, g)
	}
	if len(l.segs) == 0 {
		l.created = time.Now().UnixNano()
		return l.begin()
	}
	// Only the last one can end in the middle of a message.
	g := l.segs[len(l.segs)-1]
	if l.file, err = os.OpenFile(g.path, os.O_RDWR, 0); err != nil {
		return err
	}
	if g.size < headerBytes { // made in the moment of a crash
		if l.created == 0 {
			l.created = time.Now().UnixNano()
		}
		if err := l.file.Truncate(0); err != nil {
			return err
		}
		if _, err := l.file.WriteAt(appendHeader(nil, l.created, g.first), 0); err != nil {
			return err
		}
		g.size = headerBytes
	}
	whole, next, err := check(l.file, g)
	if err != nil {
		return err
	}
	if whole < g.size {
		if err := l.file.Truncate(whole); err != nil {
			return err
		}
	}
	g.size, l.next, l.first, l.dirty = whole, next, l.segs[0].first, true
	if whole == headerBytes {
		g.atUS = 0
	}
	for _, g := range l.segs {
		l.bytes += g.size
	}
	return l.passErased()
}

// passErased finds the first message that has not been erased.
func (l *Log) passErased() error {
	g := l.segs[0]
	f, err := os.Open(g.path)
	if err != nil {
		return err
	}
	defer f.Close()
	for s := (scanner{file: f, at: headerBytes, seq: g.first}); ; {
		m, _, err := s.next(g.size)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errDamaged):
			return nil
		case err != nil:
			return err
		case m.sum != erasedSum:
			return nil
		}
		l.first = s.seq
	}
}

// look reads the header of a segment and the time of its first message.
func (l *Log) look(g *segment) error {
	f, err := os.Open(g.path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	g.atUS = info.ModTime().UnixMicro() // the oldest message is not younger than the file's last change
	head := make([]byte, headerBytes+messageBytes)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	created, first, ok := parseHeader(head)
	switch {
	case !ok:
		return nil // it counts as empty
	case first != g.first:
		return fmt.Errorf("%s begins with sequence %d", g.path, first)
	case l.created != 0 && created != l.created:
		return fmt.Errorf("%s belongs to another log", g.path)
	}
	l.created, g.size = created, info.Size()
	if n == len(head) {
		if m := parseMessage(head[headerBytes:]); m.seq == first {
			g.atUS = min(g.atUS, m.atUS)
		}
	}
	return nil
}

// begin makes a segment for what comes next and writes to it from here on. mu is held, or nobody else knows l.
func (l *Log) begin() error {
	g := &segment{path: l.name(l.next), first: l.next, size: headerBytes}
	f, err := os.OpenFile(g.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(appendHeader(nil, l.created, g.first), 0); err != nil {
		return errors.Join(err, f.Close(), os.Remove(g.path))
	}
	if l.file != nil {
		l.old = append(l.old, l.file)
	}
	l.file, l.names, l.dirty = f, true, true
	l.segs, l.bytes = append(l.segs, g), l.bytes+g.size
	l.first = max(l.first, l.segs[0].first)
	return nil
}

func (l *Log) last() *segment { return l.segs[len(l.segs)-1] }

// State is what the log holds now.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return State{Created: l.created, First: l.first, Last: l.next - 1}
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Append stores a message and returns its sequence and when it was stored, in Unix microseconds. data is not kept. On error
// the message is not in the log, and the next one takes its place.
func (l *Log) Append(data []byte) (seq uint64, atUS int64, err error) {
	if len(data) > maxData {
		return 0, 0, fmt.Errorf("inputlog: a message of %d bytes; at most %d", len(data), maxData)
	}
	atUS = time.Now().UnixMicro()
	seq, gone, err := l.append(data, atUS)
	if err != nil {
		return 0, 0, fmt.Errorf("inputlog: %w", err)
	}
	l.all.soil()
	if err := l.unlink(gone); err != nil {
		l.all.cfg.Logger.Error("old input could not be removed; it is tried again at the next start", "dir", l.dir, "err", err)
	}
	return seq, atUS, nil
}

// append writes a message, and returns its sequence and the segments for which there is no more room, whose files are left for
// unlink.
func (l *Log) append(data []byte, atUS int64) (seq uint64, gone []*segment, err error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, nil, ErrClosed
	}
	cfg := &l.all.cfg
	size := int64(messageBytes + len(data))
	if g := l.last(); g.atUS != 0 && (g.size+size > cfg.MaxBytes/16 || atUS-g.atUS > cfg.MaxAge.Microseconds()/8) {
		if err := l.begin(); err != nil {
			return 0, nil, err
		}
	}
	g := l.last()
	seq = l.next
	*buf = appendMessage((*buf)[:0], seq, atUS, data)
	if _, err := l.file.WriteAt(*buf, g.size); err != nil {
		return 0, nil, err
	}
	if g.atUS == 0 {
		g.atUS = atUS
	}
	g.size, l.bytes = g.size+size, l.bytes+size
	l.next, l.dirty = seq+1, true
	for l.bytes > cfg.MaxBytes && len(l.segs) > 1 {
		gone = append(gone, l.drop())
	}
	return seq, gone, nil
}

// drop takes the oldest segment out of the log; its file is left for unlink. mu is held.
func (l *Log) drop() *segment {
	g := l.segs[0]
	l.segs = slices.Delete(l.segs, 0, 1)
	l.bytes -= g.size
	if len(l.segs) > 0 {
		l.first = max(l.first, l.segs[0].first)
	}
	return g
}

// unlink removes the files of dropped segments; mu is not held, for it takes the system some time.
func (l *Log) unlink(gone []*segment) error {
	var errs []error
	for _, g := range gone {
		if err := os.Remove(g.path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// expire removes the segments whose first message has reached its age, and returns how long it will be until the next one's.
func (l *Log) expire(now time.Time) (wait time.Duration, err error) {
	l.mu.Lock()
	due := now.Add(-l.all.cfg.MaxAge).UnixMicro()
	var gone []*segment
	for !l.closed && err == nil && l.segs[0].atUS != 0 && l.segs[0].atUS <= due {
		if len(l.segs) == 1 {
			if err = l.begin(); err != nil {
				break
			}
		}
		gone = append(gone, l.drop())
	}
	wait = l.all.cfg.MaxAge
	if at := l.segs[0].atUS; at != 0 {
		wait = time.Duration(at-due) * time.Microsecond
	}
	l.mu.Unlock()
	if len(gone) > 0 {
		l.all.soil() // the new name, and what is still open
	}
	return wait, errors.Join(err, l.unlink(gone))
}

// Flush returns when the disk has what was stored. It is called every Config.Sync; one call at a time.
func (l *Log) Flush() error {
	l.mu.Lock()
	if !l.dirty {
		l.mu.Unlock()
		return nil
	}
	file, old, names := l.file, l.old, l.names
	l.dirty, l.old, l.names = false, nil, false
	l.mu.Unlock()
	var errs []error
	for _, f := range old {
		errs = append(errs, f.Sync(), f.Close())
	}
	errs = append(errs, file.Sync()) // only Flush closes it, after another has taken its place
	if names {
		errs = append(errs, syncDir(l.dir))
	}
	err := errors.Join(errs...)
	if err != nil {
		l.mu.Lock()
		l.dirty, l.names = true, names
		l.mu.Unlock()
	}
	return err
}

func (l *Log) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	var errs []error
	for _, f := range l.old {
		errs = append(errs, f.Close())
	}
	if l.file != nil {
		errs = append(errs, l.file.Close())
	}
	l.old, l.file = nil, nil
	return errors.Join(errs...)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Purge removes the messages up to and with a sequence, and returns how many there were. Those that share a segment with later
// ones are overwritten with zeros where they are. It returns when the disk has it so.
func (l *Log) Purge(through uint64) (n int64, err error) {
	gone, part, n, err := l.purge(through)
	if part != nil {
		err = errors.Join(err, part.Sync(), part.Close())
	}
	err = errors.Join(err, l.unlink(gone))
	if len(gone) > 0 {
		err = errors.Join(err, syncDir(l.dir))
	}
	if err != nil {
		return n, fmt.Errorf("inputlog: purge %s: %w", l.dir, err)
	}
	return n, nil
}

func (l *Log) purge(through uint64) (gone []*segment, part *os.File, n int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nil, 0, ErrClosed
	}
	through = min(through, l.next-1)
	n = max(int64(through+1)-int64(l.first), 0)
	if through+1 == l.next && l.last().atUS != 0 {
		if err := l.begin(); err != nil {
			return nil, nil, 0, err
		}
	}
	for len(l.segs) > 1 && l.segs[1].first <= through+1 {
		gone = append(gone, l.drop())
	}
	g := l.segs[0]
	l.first = max(l.first, through+1)
	if g.first > through {
		return gone, nil, n, nil
	}
	if part, err = os.OpenFile(g.path, os.O_RDWR, 0); err != nil {
		return gone, nil, n, err
	}
	err = erase(part, g, through)
	if errors.Is(err, errDamaged) { // nobody can read what follows, nor say what it is
		if len(l.segs) == 1 {
			if err := l.begin(); err != nil {
				return gone, part, n, err
			}
		}
		gone, err = append(gone, l.drop()), nil
	}
	return gone, part, n, err
}

// Adopt gives a log that has held nothing yet the identity of another one and the sequence from which it goes on, so that messages
// of that one can be copied to their own places.
func (l *Log) Adopt(created int64, next uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != 1 || len(l.segs) != 1 || l.last().atUS != 0 {
		return fmt.Errorf("inputlog: %s is in use", l.dir)
	}
	was := l.last()
	l.created, l.next, l.first = created, max(next, 1), max(next, 1)
	if l.next == was.first { // the same name
		_, err := l.file.WriteAt(appendHeader(nil, l.created, l.next), 0)
		return err
	}
	l.drop()
	if err := os.Remove(was.path); err != nil {
		return err
	}
	return l.begin()
}
