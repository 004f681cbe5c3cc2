package journey

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"footfall/internal/db"
)

// Key spaces.
var (
	runSpace     = db.RegisterSince(0x41, "journey runs", 2, 2) // journey, subject -> Run
	timerSpace   = db.Register(0x42, "journey timers", 1)       // shard, due, journey, subject
	parkedSpace  = db.Register(0x43, "journey parked", 1)       // journey, subject -> due
	versionSpace = db.Register(0x44, "journey versions", 1)     // journey, revision -> text
	countSpace   = db.Register(0x45, "journey counts", 1)       // journey, name -> count
)

// Shards is in how many parts timers are kept: each is looked through by itself, and a subject stays in one.
const Shards = 16

// keepEnded is how long a run that has ended is remembered at least.
const keepEnded = 7 * 24 * time.Hour

// Wake is a timer: a wait that ends: of a journey's subject, at Due (Unix ms).
type Wake struct {
	Journey, Subject string
	Due              int64
}

// Shard is the part that a subject's timers are in.
func Shard(subject string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(subject))
	return int(h.Sum32() % Shards)
}

func (t *Wake) key() []byte {
	return timerSpace.Key([]byte{byte(Shard(t.Subject))}, ms(t.Due), []byte(t.Journey), []byte(t.Subject))
}

func ms(t int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(max(t, 0))) }

func runKey(journey, subject string) []byte { return runSpace.Key([]byte(journey), []byte(subject)) }

// Get reads a subject's run; the zero Run when there is none, or it is forgotten.
func Get(tx *db.Tx, journey, subject string) (Run, error) {
	val, err := tx.Get(runKey(journey, subject))
	if errors.Is(err, db.ErrNotFound) {
		return Run{}, nil
	}
	if err != nil {
		return Run{}, fmt.Errorf("journey: read a run of %s: %w", journey, err)
	}
	return decodeRun(journey, val)
}

func decodeRun(journey string, val []byte) (r Run, err error) {
	if err := json.Unmarshal(val, &r); err != nil {
		return r, fmt.Errorf("journey: a run of %s is damaged: %w", journey, err)
	}
	return r, nil
}

// Put writes a run that was old before, and keeps its timer in step. A run that has ended is kept for as long as the
// re-entry rule asks about it, and a week at least.
func (j *Journey) Put(tx *db.Tx, subject string, old, r *Run) error {
	val, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("journey: a run of %s: %w", j.ID, err)
	}
	if old.Due != r.Due && old.Due != 0 {
		was := Wake{j.ID, subject, old.Due}
		if err := errors.Join(tx.Delete(was.key()), tx.Delete(parkedSpace.Key([]byte(j.ID), []byte(subject)))); err != nil {
			return err
		}
	}
	if r.Due != 0 && old.Due != r.Due {
		if err := tx.Set((&Wake{j.ID, subject, r.Due}).key(), nil); err != nil {
			return err
		}
	}
	var until time.Time
	if r.Ended != 0 && !j.Reentry.Never {
		until = time.UnixMilli(max(r.Ended+keepEnded.Milliseconds(), r.Entered+max(j.Reentry.After, j.Reentry.Per).Milliseconds()))
	}
	return tx.SetUntil(runKey(j.ID, subject), val, until)
}

// Carry gives a run that is under way to another subject, with its timer: r is what it becomes there, and was is the
// run that the other had before.
func (j *Journey) Carry(tx *db.Tx, from, to string, old, was, r *Run) error {
	err := errors.Join(tx.Delete(runKey(j.ID, from)), tx.Delete((&Wake{j.ID, from, old.Due}).key()), tx.Delete(parkedSpace.Key([]byte(j.ID), []byte(from))))
	if err != nil {
		return err
	}
	return j.Put(tx, to, was, r)
}

// Wakes calls fn for the timers of a shard that are due before to (Unix ms), by when they are due, from on from or behind
// after (nil: none), until fn says no more. next is when the first one that fn has not had is due; false when there is
// none.
func Wakes(tx *db.Tx, shard int, from int64, after *Wake, to int64, fn func(Wake) (more bool, err error)) (next int64, found bool, err error) {
	prefix := timerSpace.Key([]byte{byte(shard)})
	begin := timerSpace.Key([]byte{byte(shard)}, ms(from))
	if after != nil {
		begin = db.After(after.key())
	}
	more := true
	err = tx.Scan(prefix, begin, func(key, _ []byte) (bool, error) {
		parts, ok := timerSpace.Split(key)
		if !ok || len(parts) != 4 || len(parts[1]) != 8 {
			return false, fmt.Errorf("journey: damaged timer % x", key)
		}
		t := Wake{Due: int64(binary.BigEndian.Uint64(parts[1])), Journey: string(parts[2]), Subject: string(parts[3])}
		if t.Due >= to || !more {
			next, found = t.Due, true
			return false, nil
		}
		more, err = fn(t)
		return true, err
	})
	return next, found, err
}

// Drop removes a timer that nobody waits for.
func Drop(tx *db.Tx, t Wake) error { return tx.Delete(t.key()) }

// Park takes a timer out of the order while its journey is paused.
func Park(tx *db.Tx, t Wake) error {
	return errors.Join(tx.Delete(t.key()), tx.Set(parkedSpace.Key([]byte(t.Journey), []byte(t.Subject)), ms(t.Due)))
}

// Unpark puts up to most parked timers of a journey back, and returns them.
func Unpark(tx *db.Tx, journey string, most int) (list []Wake, err error) {
	err = tx.Scan(parkedSpace.Key([]byte(journey)), nil, func(key, val []byte) (bool, error) {
		parts, ok := parkedSpace.Split(key)
		if !ok || len(parts) != 2 || len(val) != 8 {
			return false, fmt.Errorf("journey: damaged parked timer % x", key)
		}
		t := Wake{journey, string(parts[1]), int64(binary.BigEndian.Uint64(val))}
		list = append(list, t)
		return len(list) < most, errors.Join(tx.Delete(bytes.Clone(key)), tx.Set(t.key(), nil))
	})
	return list, err
}

// Runs calls fn for the runs of a journey in order of subject, behind after ("": from the first), until fn says no more.
func Runs(tx *db.Tx, journey, after string, fn func(subject string, r *Run) (more bool, err error)) error {
	var from []byte
	if after != "" {
		from = db.After(runKey(journey, after))
	}
	return tx.Scan(runSpace.Key([]byte(journey)), from, func(key, val []byte) (bool, error) {
		parts, ok := runSpace.Split(key)
		if !ok || len(parts) != 2 {
			return false, fmt.Errorf("journey: damaged run key % x", key)
		}
		r, err := decodeRun(journey, val)
		if err != nil {
			return false, err
		}
		return fn(string(parts[1]), &r)
	})
}

// Store keeps the journey's version, so that runs can end under it whatever becomes of the files.
func (j *Journey) Store(tx *db.Tx) error {
	return tx.Set(versionSpace.Key([]byte(j.ID), []byte(j.Revision)), []byte(j.text))
}

// Load reads every version that is kept. problems are those that this program cannot read; the others are there.
func Load(tx *db.Tx) (list []*Journey, problems []error, err error) {
	err = tx.Scan(versionSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
		parts, ok := versionSpace.Split(key)
		if !ok || len(parts) != 2 {
			return false, fmt.Errorf("journey: damaged version key % x", key)
		}
		js, err := Parse(fmt.Sprintf("journey %s version %s", parts[0], parts[1]), val)
		if err == nil && len(js) != 1 {
			err = fmt.Errorf("it holds %d journeys", len(js))
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("journey: version %s of %s cannot be read: %w", parts[1], parts[0], err))
			return true, nil
		}
		js[0].Revision = string(parts[1])
		list = append(list, js[0])
		return true, nil
	})
	return list, problems, err
}

// AddCount adds to a stored count of a journey.
func AddCount(tx *db.Tx, journey, name string, n int64) error {
	key := countSpace.Key([]byte(journey), []byte(name))
	old, err := tx.Get(key)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return fmt.Errorf("journey: count %s of %s: %w", name, journey, err)
	}
	v, _ := binary.Uvarint(old)
	return tx.Set(key, binary.AppendUvarint(nil, v+uint64(n)))
}

// Counts reads the stored counts of a journey by name.
func Counts(tx *db.Tx, journey string) (map[string]int64, error) {
	out := map[string]int64{}
	err := tx.Scan(countSpace.Key([]byte(journey)), nil, func(key, val []byte) (bool, error) {
		parts, ok := countSpace.Split(key)
		if !ok || len(parts) != 2 {
			return false, fmt.Errorf("journey: damaged count key % x", key)
		}
		v, _ := binary.Uvarint(val)
		out[string(parts[1])] = int64(v)
		return true, nil
	})
	return out, err
}

// CountOf reads one stored count.
func CountOf(tx *db.Tx, journey, name string) (int64, error) {
	val, err := tx.Get(countSpace.Key([]byte(journey), []byte(name)))
	if errors.Is(err, db.ErrNotFound) {
		return 0, nil
	}
	v, _ := binary.Uvarint(val)
	return int64(v), err
}
