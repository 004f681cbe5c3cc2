package inputlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func open(t *testing.T, cfg Config) *Logs {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shut(t *testing.T, s *Logs) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func config(dir string) Config {
	return Config{Dir: dir, Partitions: 1, MaxAge: time.Hour, MaxBytes: 1 << 20}
}

func store(t *testing.T, l *Log, data []byte) uint64 {
	t.Helper()
	seq, _, err := l.Append(data)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// all reads what a log holds from a sequence on.
func all(t *testing.T, l *Log, from uint64) (ms []Message) {
	t.Helper()
	r := l.Read(from)
	defer r.Close()
	for {
		m, err := r.Next()
		if errors.Is(err, io.EOF) {
			return ms
		}
		if err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m)
	}
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "00", "*"+segmentExt))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestAgreesWithASlice does at random what a log can do and compares it with a slice: append, purge, close and open, read from anywhere, and
// lose bytes at the end of the last file, as a crash in the middle of a write does.
func TestAgreesWithASlice(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		cfg := config(t.TempDir())
		s := open(t, cfg)
		var want []Message // by sequence; an erased one has no data
		first := uint64(1)
		r, at := s.Of(0).Read(1), uint64(1) // a reader that goes along
		for step := range 400 {
			l := s.Of(0)
			switch k := rng.IntN(20); {
			case k < 14:
				data := make([]byte, rng.IntN(200))
				if rng.IntN(20) == 0 {
					data = make([]byte, rng.IntN(100_000)) // larger than a segment, and than what is read at once
				}
				for i := range data {
					data[i] = byte(rng.Uint32())
				}
				if seq := store(t, l, data); seq != uint64(len(want))+1 {
					t.Fatalf("seed %d, step %d: sequence %d after %d", seed, step, seq, len(want))
				}
				want = append(want, Message{Seq: uint64(len(want)) + 1, Data: data})
			case k < 15 && len(want) > 0:
				through := 1 + rng.Uint64N(uint64(len(want)))
				n, err := l.Purge(through)
				if left := int64(through+1) - int64(first); err != nil || n != max(left, 0) {
					t.Fatalf("seed %d, step %d: purged %d of %d, err %v", seed, step, n, max(left, 0), err)
				}
				first = max(first, through+1)
			case k < 16:
				r.Close()
				shut(t, s)
				if rng.IntN(2) == 0 && len(want) > 0 && first <= uint64(len(want)) {
					tear(t, cfg.Dir, 1+rng.Int64N(int64(len(want[len(want)-1].Data)+messageBytes)))
					want = want[:len(want)-1]
				}
				s = open(t, cfg)
				r, at = s.Of(0).Read(at), min(at, uint64(len(want)+1))
			case k < 18:
				m, err := r.Next()
				at = max(at, first)
				if at > uint64(len(want)) {
					if !errors.Is(err, io.EOF) {
						t.Fatalf("seed %d, step %d: read %d, err %v at the end", seed, step, m.Seq, err)
					}
					break
				}
				if err != nil || m.Seq != at || !bytes.Equal(m.Data, want[at-1].Data) {
					t.Fatalf("seed %d, step %d: read %d, err %v, want %d", seed, step, m.Seq, err, at)
				}
				at++
			default:
				from := 1 + rng.Uint64N(uint64(len(want)+1))
				got := all(t, l, from)
				if s := l.State(); s.Last != uint64(len(want)) {
					t.Fatalf("seed %d, step %d: ends with %d, want %d", seed, step, s.Last, len(want))
				} else if s.First != first {
					t.Fatalf("seed %d, step %d: begins with %d, want %d", seed, step, s.First, first)
				}
				from = max(from, first)
				if !slices.EqualFunc(got, want[min(from-1, uint64(len(want))):], func(a, b Message) bool { return a.Seq == b.Seq && bytes.Equal(a.Data, b.Data) }) {
					t.Fatalf("seed %d, step %d: read %d messages from %d on, want %d", seed, step, len(got), from, uint64(len(want))+1-from)
				}
			}
			first = max(first, s.Of(0).State().First) // segments go when there are too many bytes
		}
		r.Close()
		shut(t, s)
	}
}

// tear cuts bytes off the end of the last segment.
func tear(t *testing.T, dir string, n int64) {
	t.Helper()
	names := segments(t, dir)
	path := names[len(names)-1]
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-n); err != nil {
		t.Fatal(err)
	}
}

// TestPurgedBytesAreGone looks for a word in the files.
func TestPurgedBytesAreGone(t *testing.T) {
	cfg := config(t.TempDir())
	s := open(t, cfg)
	l := s.Of(0)
	for i := range 3000 {
		store(t, l, fmt.Appendf(nil, "%s number %d, and some bytes so that there are several files%1000d", "secret", i, i))
	}
	kept := store(t, l, []byte("kept"))
	if len(segments(t, cfg.Dir)) < 3 {
		t.Fatal("one file is no test")
	}
	if _, err := l.Purge(kept - 1); err != nil {
		t.Fatal(err)
	}
	for _, path := range segments(t, cfg.Dir) {
		if data, err := os.ReadFile(path); err != nil || bytes.Contains(data, []byte("secret")) {
			t.Errorf("%s has the word, err %v", path, err)
		}
	}
	if ms := all(t, l, 1); len(ms) != 1 || ms[0].Seq != kept || string(ms[0].Data) != "kept" {
		t.Errorf("left: %v", ms)
	}
	shut(t, s)
	s = open(t, cfg)
	if ms := all(t, s.Of(0), 1); len(ms) != 1 || ms[0].Seq != kept {
		t.Errorf("left after opening again: %v", ms)
	}
	shut(t, s)
}

// TestAge: nothing stays longer than MaxAge, nothing goes before seven eighths of it, and sequences go on afterwards.
func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t.TempDir())
		s := open(t, cfg)
		l := s.Of(0)
		stored := map[uint64]time.Time{}
		for range 500 {
			stored[store(t, l, []byte("x"))] = time.Now()
			time.Sleep(17 * time.Second)
			synctest.Wait()
			there := map[uint64]bool{}
			for _, m := range all(t, l, 1) {
				there[m.Seq] = true
			}
			for seq, at := range stored {
				switch age := time.Since(at); {
				case there[seq] && age > cfg.MaxAge+time.Second:
					t.Fatalf("%d is there at the age of %s", seq, age)
				case !there[seq] && age < cfg.MaxAge*7/8-20*time.Second:
					t.Fatalf("%d is gone at the age of %s", seq, age)
				}
			}
		}
		time.Sleep(cfg.MaxAge + time.Second)
		synctest.Wait()
		if ms := all(t, l, 1); len(ms) != 0 {
			t.Errorf("%d messages are left of a log that nobody writes to", len(ms))
		}
		shut(t, s)
		s = open(t, cfg)
		if seq := store(t, s.Of(0), nil); seq != 501 {
			t.Errorf("sequence %d, want 501", seq)
		}
		shut(t, s)
	})
}

// TestFlushedInTime: whatever the time at which something is stored, and in which partition, Config.Sync later the disk has it.
func TestFlushedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t.TempDir())
		cfg.Partitions, cfg.Sync = 16, time.Second
		s := open(t, cfg)
		defer shut(t, s)
		time.Sleep(cfg.Sync)
		synctest.Wait()
		r := rand.New(rand.NewPCG(8, 8))
		stored := make([]time.Time, cfg.Partitions) // since when something is not flushed; zero: nothing is
		for range 500 {
			for p, since := range stored {
				l := s.Of(p)
				l.mu.Lock()
				dirty := l.dirty
				l.mu.Unlock()
				if !dirty {
					stored[p] = time.Time{}
				} else if !since.IsZero() && time.Since(since) >= cfg.Sync {
					t.Fatalf("partition %d holds what was stored %v ago unflushed", p, time.Since(since))
				}
			}
			p := r.IntN(cfg.Partitions)
			store(t, s.Of(p), []byte("ping"))
			if stored[p].IsZero() {
				stored[p] = time.Now()
			}
			pause := time.Duration(r.IntN(60)) * time.Millisecond
			if r.IntN(50) == 0 {
				pause = 3 * time.Second // until nothing is owed
			}
			time.Sleep(pause)
			synctest.Wait()
		}
	})
}

// TestBytes: a partition's files stay within MaxBytes, and its newest messages are there.
func TestBytes(t *testing.T) {
	cfg := config(t.TempDir())
	s := open(t, cfg)
	defer shut(t, s)
	var last uint64
	for i := range 200 {
		last = store(t, s.Of(0), make([]byte, 30_000+i))
		var sum int64
		for _, path := range segments(t, cfg.Dir) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			sum += info.Size()
		}
		if sum > cfg.MaxBytes {
			t.Fatalf("%d bytes, at most %d", sum, cfg.MaxBytes)
		}
	}
	if ms := all(t, s.Of(0), 1); ms[len(ms)-1].Seq != last || len(ms) < 25 {
		t.Errorf("%d messages up to %d, want 25 at least up to %d", len(ms), ms[len(ms)-1].Seq, last)
	}
}

// TestDamage turns a byte of each part of the files: readers pass over what cannot be read and go on behind it, and nobody hangs.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, config(dir))
	for i := range 1000 {
		store(t, s.Of(0), bytes.Repeat([]byte{byte(i)}, 300))
	}
	shut(t, s)
	names := segments(t, dir)
	if len(names) < 4 {
		t.Fatal("too few files")
	}
	for file, path := range names[:3] {
		for _, at := range []int64{0, 9, headerBytes, headerBytes + 4, headerBytes + 16, headerBytes + messageBytes + 7, 30_000} {
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			damaged := bytes.Clone(whole)
			damaged[at] ^= 0x40
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(config(dir))
			if err != nil {
				t.Fatalf("file %d, byte %d: %v", file, at, err)
			}
			ms := all(t, s.Of(0), 1)
			for i, m := range ms {
				if i > 0 && m.Seq <= ms[i-1].Seq || !bytes.Equal(m.Data, bytes.Repeat([]byte{byte(m.Seq - 1)}, 300)) {
					t.Errorf("file %d, byte %d: %d came after %d, or with other data", file, at, m.Seq, ms[max(i-1, 0)].Seq)
				}
			}
			if n := len(ms); n == 1000 || n < 700 || ms[n-1].Seq != 1000 {
				t.Errorf("file %d, byte %d: %d messages are left", file, at, n)
			}
			shut(t, s)
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A damaged message can still be forgotten.
	damaged, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	damaged[headerBytes+messageBytes] ^= 1
	if err := os.WriteFile(names[0], damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, config(dir))
	if _, err := s.Of(0).Purge(10); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(names[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is there, err %v", err)
	}
	shut(t, s)
}

// TestAnotherLogsSegment: a file of another log is not taken for one's own.
func TestAnotherLogsSegment(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, two} {
		s := open(t, config(dir))
		store(t, s.Of(0), []byte("x"))
		shut(t, s)
	}
	data, err := os.ReadFile(segments(t, two)[0])
	if err != nil {
		t.Fatal(err)
	}
	created, _, _ := parseHeader(data)
	data = append(appendHeader(nil, created, 7), data[headerBytes:]...)
	if err := os.WriteFile(filepath.Join(one, "00", fmt.Sprintf("%020d%s", 7, segmentExt)), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(config(one)); err == nil {
		t.Errorf("opened with %+v", s.Of(0).State())
	}
}

// TestAdopt gives a new log the identity and the sequence of another.
func TestAdopt(t *testing.T) {
	for _, next := range []uint64{1, 4711} {
		dir := t.TempDir()
		s := open(t, config(dir))
		if err := s.Of(0).Adopt(99, next); err != nil {
			t.Fatal(err)
		}
		if seq := store(t, s.Of(0), []byte("x")); seq != next {
			t.Errorf("sequence %d, want %d", seq, next)
		}
		if err := s.Of(0).Adopt(100, 1); err == nil {
			t.Error("a log in use was given away")
		}
		shut(t, s)
		s = open(t, config(dir))
		if got, want := s.Of(0).State(), (State{Created: 99, First: next, Last: next}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		shut(t, s)
	}
}

// FuzzOpen opens a log whose last segment is anything: it opens, holds only whole messages, and takes new ones.
func FuzzOpen(f *testing.F) {
	whole := appendHeader(nil, 5, 1)
	for i := range uint64(3) {
		whole = appendMessage(whole, 1+i, 1000, bytes.Repeat([]byte{byte(i)}, int(10*i)))
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(whole[:headerBytes-1])
	f.Add([]byte{})
	f.Add(append(bytes.Clone(whole), make([]byte, 100)...))
	f.Add(binary.LittleEndian.AppendUint64(bytes.Clone(whole), 1<<63))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "00"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "00", fmt.Sprintf("%020d%s", 1, segmentExt)), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(config(dir))
		if err != nil {
			return // another sequence
		}
		n := len(all(t, s.Of(0), 1))
		seq := store(t, s.Of(0), []byte("new"))
		if seq != s.Of(0).State().Last || uint64(n) >= seq {
			t.Errorf("%d messages, the new one is %d", n, seq)
		}
		shut(t, s)
		s = open(t, config(dir))
		if ms := all(t, s.Of(0), seq); len(ms) != 1 || string(ms[0].Data) != "new" {
			t.Errorf("read %v", ms)
		}
		shut(t, s)
	})
}
