package journey

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"footfall/internal/db"
)

// usedSpace says when a version that is not in the files was last seen in use: journey, revision -> Unix ms. A version of the
// files has none.
var usedSpace = db.Register(0x4a, "journey versions used", 1)

func usedKey(journey, revision string) []byte {
	return usedSpace.Key([]byte(journey), []byte(revision))
}

// LastUsed reads when each version that is not in the files was last seen in use, by journey and revision.
func LastUsed(tx *db.Tx) (map[[2]string]int64, error) {
	out := map[[2]string]int64{}
	err := tx.Scan(usedSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
		parts, ok := usedSpace.Split(key)
		if !ok || len(parts) != 2 || len(val) != 8 {
			return false, fmt.Errorf("journey: damaged use of a version % x", key)
		}
		out[[2]string{string(parts[0]), string(parts[1])}] = int64(binary.BigEndian.Uint64(val))
		return true, nil
	})
	return out, err
}

// PutUsed notes that a version which is not in the files was in use at a time (Unix ms).
func PutUsed(tx *db.Tx, journey, revision string, at int64) error {
	return tx.Set(usedKey(journey, revision), ms(at))
}

// DropUsed forgets it: the version is in the files again.
func DropUsed(tx *db.Tx, journey, revision string) error {
	return tx.Delete(usedKey(journey, revision))
}

// Pinned lists the revisions of a journey that runs are under way by. It reads every run of it.
func Pinned(tx *db.Tx, journey string) (map[string]bool, error) {
	out := map[string]bool{}
	err := Runs(tx, journey, "", func(_ string, r *Run) (bool, error) {
		if r.Active() {
			out[r.Revision] = true
		}
		return true, nil
	})
	return out, err
}

// DropVersion removes a version that nobody is in.
func DropVersion(tx *db.Tx, journey, revision string) error {
	return errors.Join(tx.Delete(versionSpace.Key([]byte(journey), []byte(revision))), DropUsed(tx, journey, revision))
}

// DropEnded removes up to most runs of a journey that have ended, and returns how many.
func DropEnded(tx *db.Tx, journey string, most int) (n int, err error) {
	err = tx.Scan(runSpace.Key([]byte(journey)), nil, func(key, val []byte) (bool, error) {
		r, err := decodeRun(journey, val)
		if err != nil || r.Active() {
			return err == nil, err
		}
		n++
		return n < most, tx.Delete(bytes.Clone(key))
	})
	return n, err
}

// DropCounts removes the counts of a journey, which its report is made of.
func DropCounts(tx *db.Tx, journey string) error {
	return tx.Scan(countSpace.Key([]byte(journey)), nil, func(key, _ []byte) (bool, error) {
		return true, tx.Delete(bytes.Clone(key))
	})
}
